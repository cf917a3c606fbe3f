package chain

import (
	"encoding/binary"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// The composition's own entries in a shard's state. They stand beside the
// accounts and are covered by the state root, so a node that has synced the
// state knows the epoch, the committees and its links.
var (
	keyMeta   = []byte("sys/meta")   // meta
	keyInbox  = []byte("sys/inbox")  // xshard.Inbox: receipts taken, by source
	keyOutbox = []byte("sys/outbox") // uint64 per shard: receipts sent
	keyFees   = []byte("sys/fees")   // fees of this epoch so far
	keyPool   = []byte("sys/pool")   // beacon: fees of all shards, not yet paid out
	keyMinted = []byte("sys/minted") // beacon: tokens minted since genesis
	keyDraw   = []byte("sys/draw")   // beacon: the drawing under way
	keyBooks  = []byte("sys/books")  // beacon: the epoch whose books are open
)

func keyLink(source shardkit.ShardID) []byte {
	return binary.BigEndian.AppendUint32([]byte("sys/link/"), uint32(source))
}

func keyCredited(source shardkit.ShardID) []byte {
	return binary.BigEndian.AppendUint32([]byte("sys/credited/"), uint32(source))
}

// keySeen is where the beacon keeps the sightings of a shard that wait.
func keySeen(s shardkit.ShardID) []byte {
	return binary.BigEndian.AppendUint32([]byte("sys/seen/"), uint32(s))
}

func keyNode(n shardkit.NodeID) []byte { return append([]byte("sys/node/"), n[:]...) } // beacon: account that registered it

func keySeats(e shardkit.Epoch, s shardkit.ShardID) []byte {
	b := binary.BigEndian.AppendUint64([]byte("sys/seats/"), uint64(e))
	return binary.BigEndian.AppendUint32(b, uint32(s))
}

// meta is a shard's place in time after a block.
type meta struct {
	Epoch  shardkit.Epoch
	Start  shardkit.Height // of the first block of Epoch
	First  shardkit.Hash   // hash of that block; zero in its own state
	Ends   bool            // the next block is the first of Epoch+1
	Beacon shardkit.Hash   // if Ends, and not in the beacon: hash of the beacon's first block of Epoch+1
	Time   uint64          // of the block, unix ms
	Oldest shardkit.Epoch  // whose committees are in the state
}

func (m *meta) encode() []byte {
	b := wire.AppendU64(nil, uint64(m.Epoch))
	b = wire.AppendU64(b, uint64(m.Start))
	b = append(b, m.First[:]...)
	b = wire.AppendBool(b, m.Ends)
	b = append(b, m.Beacon[:]...)
	return wire.AppendU64(wire.AppendU64(b, m.Time), uint64(m.Oldest))
}

func (m *meta) decode(b []byte) error {
	r := wire.NewReader(b)
	*m = meta{
		Epoch: shardkit.Epoch(r.U64()), Start: shardkit.Height(r.U64()), First: r.Array32(),
		Ends: r.Bool(), Beacon: r.Array32(), Time: r.U64(), Oldest: shardkit.Epoch(r.U64()),
	}
	return r.Close()
}

// next returns the epoch of the block after the one m describes.
func (m *meta) next() shardkit.Epoch {
	if m.Ends {
		return m.Epoch + 1
	}
	return m.Epoch
}

// advance returns the meta of block h before its items are applied, and the
// hash of the first block of the epoch before if h begins a new one.
func (m meta) advance(h shardkit.Height, parent shardkit.Hash) (out meta, previous shardkit.Hash) {
	if m.Start+1 == h {
		m.First = parent
	}
	if !m.Ends {
		return m, shardkit.Hash{}
	}
	return meta{Epoch: m.Epoch + 1, Start: h, Oldest: m.Oldest}, m.First
}

// linkState is how far another shard has been linked.
type linkState struct {
	Height shardkit.Height
	Hash   shardkit.Hash
	Epoch  shardkit.Epoch
	First  shardkit.Hash // of Epoch
}

func (l *linkState) encode() []byte {
	b := wire.AppendU64(nil, uint64(l.Height))
	b = append(b, l.Hash[:]...)
	b = wire.AppendU64(b, uint64(l.Epoch))
	return append(b, l.First[:]...)
}

func (l *linkState) decode(b []byte) error {
	r := wire.NewReader(b)
	*l = linkState{Height: shardkit.Height(r.U64()), Hash: r.Array32(), Epoch: shardkit.Epoch(r.U64()), First: r.Array32()}
	return r.Close()
}

// The phases of a drawing.
const (
	drawIdle   uint8 = iota // the epoch's drawing has not begun, or is done
	drawInputs              // alpha is fixed, an input set is awaited
	drawDelay               // the set is final, the delay function runs
	drawDone                // the committees of Epoch+2 are in the state
)

// draw is the state of the epoch's drawing, on the beacon.
type draw struct {
	Phase   uint8
	Epoch   shardkit.Epoch // the epoch whose committees are drawn
	Attempt uint32
	Opened  shardkit.Height // of the block that fixed Alpha
	Alpha   shardkit.Hash
	PRnd    shardkit.Hash
	Rnd     shardkit.Hash
}

func (d *draw) encode() []byte {
	b := append([]byte(nil), d.Phase)
	b = wire.AppendU64(b, uint64(d.Epoch))
	b = wire.AppendU32(b, d.Attempt)
	b = wire.AppendU64(b, uint64(d.Opened))
	b = append(b, d.Alpha[:]...)
	b = append(b, d.PRnd[:]...)
	return append(b, d.Rnd[:]...)
}

func (d *draw) decode(b []byte) error {
	r := wire.NewReader(b)
	*d = draw{
		Phase: r.U8(), Epoch: shardkit.Epoch(r.U64()), Attempt: r.U32(), Opened: shardkit.Height(r.U64()),
		Alpha: r.Array32(), PRnd: r.Array32(), Rnd: r.Array32(),
	}
	return r.Close()
}

// decoder is any of the entries above.
type decoder interface{ decode([]byte) error }

// load reads a system entry. An entry that is missing leaves v as it is.
func load(s ledger.KV, key []byte, v decoder) error {
	b, ok, err := s.Get(key)
	if err != nil || !ok {
		return err
	}
	if err := v.decode(b); err != nil {
		return fmt.Errorf("chain: state entry %q: %w", key, err)
	}
	return nil
}

func loadU64(s ledger.KV, key []byte) (uint64, error) {
	b, ok, err := s.Get(key)
	if err != nil || !ok {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("chain: state entry %q: %w", key, wire.ErrValue)
	}
	return binary.BigEndian.Uint64(b), nil
}

func saveU64(s ledger.KV, key []byte, v uint64) error { return s.Set(key, wire.AppendU64(nil, v)) }

func addU64(s ledger.KV, key []byte, n uint64) error {
	v, err := loadU64(s, key)
	if err != nil {
		return err
	}
	return saveU64(s, key, v+n)
}

func loadInbox(s ledger.KV) (*xshard.Inbox, error) {
	in := new(xshard.Inbox)
	b, ok, err := s.Get(keyInbox)
	if err != nil || !ok {
		return in, err
	}
	return in, in.UnmarshalBinary(b)
}

func saveInbox(s ledger.KV, in *xshard.Inbox) error {
	b, err := in.AppendBinary(nil)
	if err != nil {
		return err
	}
	return s.Set(keyInbox, b)
}

// loadOutbox returns the next sequence number for each shard.
func loadOutbox(s ledger.KV, shards uint32) ([]uint64, error) {
	next := make([]uint64, shards)
	b, ok, err := s.Get(keyOutbox)
	if err != nil || !ok {
		return next, err
	}
	r := wire.NewReader(b)
	for i := range next {
		next[i] = r.U64()
	}
	return next, r.Close()
}

func saveOutbox(s ledger.KV, next []uint64) error {
	var b []byte
	for _, n := range next {
		b = wire.AppendU64(b, n)
	}
	return s.Set(keyOutbox, b)
}

func loadSeats(s ledger.KV, e shardkit.Epoch, shard shardkit.ShardID) ([]Seat, bool, error) {
	b, ok, err := s.Get(keySeats(e, shard))
	if err != nil || !ok {
		return nil, false, err
	}
	seats, err := decodeSeats(b)
	return seats, err == nil, err
}

// saveSets writes the committees of an epoch.
func saveSets(s ledger.KV, c *Committees) error {
	for i, seats := range c.Shards {
		if err := s.Set(keySeats(c.Epoch, shardkit.ShardID(i)), appendSeats(nil, seats)); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the committees of epochs before e: those that no block to be
// linked can refer to any more.
func forget(s ledger.KV, m *meta, e shardkit.Epoch, shards uint32) error {
	for ; m.Oldest < e; m.Oldest++ {
		for i := range shardkit.ShardID(shards) {
			if err := s.Delete(keySeats(m.Oldest, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadSets reads the committees of an epoch; nil if they are not known.
func loadSets(s ledger.KV, e shardkit.Epoch, shards uint32) (*Committees, error) {
	c := &Committees{Epoch: e}
	for i := range shards {
		seats, ok, err := loadSeats(s, e, shardkit.ShardID(i))
		if err != nil || !ok {
			return nil, err
		}
		c.Shards = append(c.Shards, seats)
	}
	return c, nil
}
