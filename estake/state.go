package estake

import (
	"crypto/sha256"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// State is the key-value view an execution has. Keys are this package's own,
// under the prefix "estake/". Values that Get returns are neither changed nor
// kept; the implementation may keep those given to Set.
type State interface {
	Get(key []byte) (value []byte, ok bool, err error)
	Set(key, value []byte) error
	Delete(key []byte) error
}

const prefix = "estake/"

// The kinds of records: the byte after the prefix, then what names the record
// within its kind.
const (
	keyGlobals   = 'g' // the one
	keyIndex     = 'i' // position → validator
	keyValidator = 'v' // validator
	keySlot      = 's' // slot id → slot
	keyVoting    = 'k' // hash of a voting key → slot id
	keyShards    = 'e' // epoch → shards that recorded signatures in it
	keyTally     = 't' // epoch, shard → recent heights
	keyRoster    = 'r' // epoch, shard, chunk → seats
	keyCounts    = 'c' // epoch, shard, chunk → counts of the seats
)

func key(kind byte) []byte { return append(append(make([]byte, 0, 96), prefix...), kind) }

func keyOf(kind byte, id [32]byte) []byte { return append(key(kind), id[:]...) }

func keyAt(kind byte, n uint64) []byte { return wire.AppendU64(key(kind), n) }

func keyShard(kind byte, e shardkit.Epoch, s shardkit.ShardID) []byte {
	return wire.AppendU32(keyAt(kind, uint64(e)), uint32(s))
}

// A record is what stands under a key. Its encoding begins with a version.
type record interface {
	append(b []byte) []byte
	read(r *wire.Reader)
}

const recordVersion = 1

// load reads the record under k, if there is one.
func load(s State, k []byte, rec record) (bool, error) {
	v, ok, err := s.Get(k)
	if err != nil || !ok {
		return false, err
	}
	r := wire.NewReader(v)
	r.Expect(recordVersion, "version")
	rec.read(r)
	if err := r.Close(); err != nil {
		return false, fmt.Errorf("estake: damaged record %q: %w", k, err)
	}
	return true, nil
}

func save(s State, k []byte, rec record) error {
	return s.Set(k, rec.append([]byte{recordVersion}))
}

// chunkSize keeps long lists under the 64 KiB that a state's values may have.
const chunkSize = 32 << 10

// saveBlob stores data in chunks under k and a number each. The reader knows
// the length.
func saveBlob(s State, k, data []byte) error {
	for i := 0; len(data) > 0; i++ {
		n := min(len(data), chunkSize)
		if err := s.Set(wire.AppendU16(k[:len(k):len(k)], uint16(i)), data[:n:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func loadBlob(s State, k []byte, size int) ([]byte, error) {
	data := make([]byte, 0, size)
	for i := 0; len(data) < size; i++ {
		v, ok, err := s.Get(wire.AppendU16(k[:len(k):len(k)], uint16(i)))
		if err != nil {
			return nil, err
		}
		if !ok || len(v) != min(size-len(data), chunkSize) {
			return nil, fmt.Errorf("estake: damaged record %q: chunk %d", k, i)
		}
		data = append(data, v...)
	}
	return data, nil
}

func deleteBlob(s State, k []byte, size int) error {
	for i := 0; i*chunkSize < size; i++ {
		if err := s.Delete(wire.AppendU16(k[:len(k):len(k)], uint16(i))); err != nil {
			return err
		}
	}
	return nil
}

// globals are the sums over everything: what this package holds, and what
// went through it.
type globals struct {
	Validators uint64         // positions 0 to Validators−1 of the index are taken
	Next       shardkit.Epoch // the first epoch not yet ended
	Latest     shardkit.Epoch // the latest epoch a transaction was applied in
	Bonded     uint64         // own stakes and pools
	Unbonding  uint64         // undelegated, not yet withdrawn
	Owed       uint64         // rewards not yet claimed
	Pot        uint64         // rewards that nobody earned, for the next epoch
	Burned     uint64         // no longer held: slashed and not given to a reporter
}

func (g *globals) words() []*uint64 {
	return []*uint64{&g.Validators, (*uint64)(&g.Next), (*uint64)(&g.Latest), &g.Bonded, &g.Unbonding, &g.Owed, &g.Pot, &g.Burned}
}

func (g *globals) append(b []byte) []byte {
	for _, v := range g.words() {
		b = wire.AppendU64(b, *v)
	}
	return b
}

func (g *globals) read(r *wire.Reader) {
	for _, v := range g.words() {
		*v = r.U64()
	}
}

func (g *globals) held() uint64 { return g.Bonded + g.Unbonding + g.Owed + g.Pot }

func loadGlobals(s State) (*globals, error) {
	g := new(globals)
	_, err := load(s, key(keyGlobals), g)
	return g, err
}

// TotalTokens returns all tokens this package holds: bonded, unbonding, owed
// as rewards, and in the pot. What enters (stakes, delegations, minted tokens
// and fees of EndEpoch) minus what leaves (withdrawals, claims, rewards of
// reporters, burned tokens) is exactly its change.
func TotalTokens(s State) (uint64, error) {
	g, err := loadGlobals(s)
	return g.held(), err
}

// Slot is the unit of election: a seat bid for by a validator, with the keys
// and the node that would serve it.
type Slot struct {
	ID        shardkit.Hash // SlotID(Validator, Index)
	Validator [32]byte      // the validator's account
	Index     uint32
	VotingKey []byte
	VRFKey    []byte
	Node      shardkit.NodeID
}

// SlotID returns the identity of a validator's slot.
func SlotID(validator [32]byte, index uint32) shardkit.Hash {
	b := append(make([]byte, 0, 64), "shardkit/estake/slot/v1"...)
	b = append(b, validator[:]...)
	return sha256.Sum256(wire.AppendU32(b, index))
}

func (s *Slot) append(b []byte) []byte {
	b = append(b, s.Validator[:]...)
	b = wire.AppendU32(b, s.Index)
	b = wire.AppendBytes(b, s.VotingKey)
	b = wire.AppendBytes(b, s.VRFKey)
	return append(b, s.Node[:]...)
}

func (s *Slot) read(r *wire.Reader) {
	s.Validator = r.Array32()
	s.Index = r.U32()
	s.VotingKey = r.Bytes(MaxKey)
	s.VRFKey = r.Bytes(MaxKey)
	s.Node = r.Array32()
}

// loadSlot reads a slot that is known to exist, with its own copies.
func loadSlot(s State, id shardkit.Hash) (Slot, bool, error) {
	slot := Slot{ID: id}
	ok, err := load(s, keyOf(keySlot, id), &slot)
	slot.VotingKey = append([]byte(nil), slot.VotingKey...)
	slot.VRFKey = append([]byte(nil), slot.VRFKey...)
	return slot, ok, err
}

func votingIndex(votingKey []byte) []byte { return keyOf(keyVoting, sha256.Sum256(votingKey)) }

// damaged is the error for a record that must be there and is not.
func damaged(err error, kind byte, id [32]byte) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("estake: no record %q", keyOf(kind, id))
}

// Burned returns the tokens that slashes have destroyed so far.
func Burned(s State) (uint64, error) {
	g, err := loadGlobals(s)
	return g.Burned, err
}

// Pot returns the rewards that nobody has earned yet; they add to the budget
// of the next EndEpoch.
func Pot(s State) (uint64, error) {
	g, err := loadGlobals(s)
	return g.Pot, err
}
