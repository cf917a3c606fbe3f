package drg

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/vdf"
	"github.com/shardkit/shardkit/vrf"
)

// ErrSet and ErrOutput say that a block's proposal is not valid: a block with
// it must not be accepted.
var (
	ErrSet    = errors.New("invalid input set")
	ErrOutput = errors.New("invalid output")
)

// MaxMembers bounds a round.
const MaxMembers = 4096

// maxWeight bounds a round's total weight, as everywhere in this module.
const maxWeight = 1 << 60

// entry is one VRF output in a set: the member's place in order of slots, and
// the proof in batch-compatible form.
type entry struct {
	index uint16
	pi    []byte
}

// sorted returns the members in order of slot.
func (r *Round) sorted() []Member {
	m := slices.Clone(r.Members)
	slices.SortFunc(m, func(a, b Member) int { return bytes.Compare(a.Slot[:], b.Slot[:]) })
	return m
}

// check validates a round, whose members are in order of slot.
func (r *Round) check(members []Member) error {
	if len(members) == 0 || len(members) > MaxMembers {
		return fmt.Errorf("drg: round of %d members", len(members))
	}
	var total uint64
	for i := range members {
		if i > 0 && members[i].Slot == members[i-1].Slot {
			return fmt.Errorf("drg: slot %v twice in a round", members[i].Slot)
		}
		if members[i].Weight > maxWeight-total {
			return fmt.Errorf("drg: total weight of a round over %d", uint64(maxWeight))
		}
		total += members[i].Weight
	}
	if r.Need == 0 || r.Need > total {
		return fmt.Errorf("drg: round needs weight %d of %d", r.Need, total)
	}
	return nil
}

// appendSet encodes the entries, which are in ascending order.
func appendSet(b []byte, r *Round, entries []entry) []byte {
	b = append(b, version, kindSet)
	b = wire.AppendU64(b, uint64(r.Epoch))
	b = wire.AppendU32(b, r.Attempt)
	b = wire.AppendU32(b, uint32(len(entries)))
	for _, e := range entries {
		b = wire.AppendU16(b, e.index)
		b = append(b, e.pi...)
	}
	return b
}

// parseSet decodes a set of round r over count members: strictly ascending,
// so that there is one encoding of a set and nobody is in it twice.
func parseSet(r *Round, count int, set []byte) ([]entry, error) {
	rd := wire.NewReader(set)
	rd.Expect(version, "version")
	rd.Expect(kindSet, "kind")
	if epoch, attempt := rd.U64(), rd.U32(); rd.Err() == nil && (epoch != uint64(r.Epoch) || attempt != r.Attempt) {
		rd.Fail(fmt.Errorf("of epoch %d, attempt %d, want %d and %d", epoch, attempt, r.Epoch, r.Attempt))
	}
	entries := make([]entry, rd.Count(count, 2+suite.BatchProofSize()))
	for i := range entries {
		e := entry{rd.U16(), rd.Fixed(suite.BatchProofSize())}
		if int(e.index) >= count || i > 0 && e.index <= entries[i-1].index {
			rd.Fail(fmt.Errorf("member %d in place %d: %w", e.index, i, wire.ErrValue))
		}
		entries[i] = e
	}
	if err := rd.Close(); err != nil {
		return nil, fmt.Errorf("drg: %w: %w", ErrSet, err)
	}
	return entries, nil
}

// CheckSet checks the input set that a block proposes in round r and returns
// pRnd, the hash of its outputs in order of slots. It is pure, and slow: it
// belongs into the job that validates the block.
func CheckSet(p Params, r Round, set []byte) (pRnd shardkit.Hash, err error) {
	members := r.sorted()
	if err := r.check(members); err != nil {
		return pRnd, err
	}
	entries, err := parseSet(&r, len(members), set)
	if err != nil {
		return pRnd, err
	}
	var weight uint64
	for _, e := range entries {
		weight += members[e.index].Weight
	}
	if weight < r.Need {
		return pRnd, fmt.Errorf("drg: %w: weight %d, need %d", ErrSet, weight, r.Need)
	}
	items := make([]vrf.Item, len(entries))
	for i, e := range entries {
		m := &members[e.index]
		items[i] = vrf.Item{Public: m.Key, Alpha: alphaOf(p.Chain, &r, m.Slot), Proof: e.pi}
	}
	betas, err := vrf.VerifyBatch(suite, items)
	if err != nil {
		var bad *vrf.BatchError
		if errors.As(err, &bad) {
			return pRnd, fmt.Errorf("drg: %w: member %v: %w", ErrSet, members[entries[bad.Bad[0]].index].Node, err)
		}
		return pRnd, fmt.Errorf("drg: %w: %w", ErrSet, err)
	}
	h := []byte("shardkit/drg/prnd/1")
	h = append(h, p.Chain[:]...)
	h = wire.AppendU64(h, uint64(r.Epoch))
	h = wire.AppendU32(h, r.Attempt)
	h = append(h, r.Alpha[:]...)
	for i, e := range entries {
		h = append(append(h, members[e.index].Slot[:]...), betas[i]...)
	}
	return sha256.Sum256(h), nil
}

// CheckOutput checks the VDF output that a block proposes for pRnd and returns
// the epoch's randomness. It is pure, and slow.
func CheckOutput(p Params, epoch shardkit.Epoch, pRnd shardkit.Hash, output []byte) (rnd shardkit.Hash, err error) {
	v, err := p.vdf(epoch)
	if err != nil {
		return rnd, err
	}
	if err := v.Verify(p.vdfInput(epoch, pRnd), p.T, output); err != nil {
		return rnd, fmt.Errorf("drg: %w: %w", ErrOutput, err)
	}
	h := []byte("shardkit/drg/rnd/1")
	h = append(h, p.Chain[:]...)
	h = wire.AppendU64(h, uint64(epoch))
	h = append(h, pRnd[:]...)
	h = append(h, output[:len(output)/2]...) // y; the proof that follows adds nothing
	return sha256.Sum256(h), nil
}

// vdf returns the class group of an epoch. It changes with the epoch, so that
// work on the order of one group is of no use for the next.
func (p *Params) vdf(epoch shardkit.Epoch) (*vdf.Params, error) {
	seed := append([]byte("shardkit/drg/group/1"), p.Chain[:]...)
	v, err := p.Memo.Params(wire.AppendU64(seed, uint64(epoch)), p.Bits)
	if err != nil {
		return nil, fmt.Errorf("drg: %w", err)
	}
	return v, nil
}

// vdfInput is what the VDF delays.
func (p *Params) vdfInput(epoch shardkit.Epoch, pRnd shardkit.Hash) []byte {
	b := append([]byte("shardkit/drg/vdf/1"), p.Chain[:]...)
	return append(wire.AppendU64(b, uint64(epoch)), pRnd[:]...)
}
