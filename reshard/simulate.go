package reshard

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Attack is what the adversary of a Simulation does between two epochs. All
// but Churn let its units leave and join again, at the rate given, and differ
// in which ones they keep.
type Attack uint8

// The attacks.
const (
	Greedy  Attack = iota // keeps what sits in the shard where it has most
	Target                // keeps what sits in shard 0
	Patient               // keeps what sits where it has more than the average
	Churn                 // no plan: members of all kinds rejoin at random
)

var attacks = []string{"greedy", "target", "patient", "churn"}

func (a Attack) String() string { return attacks[min(int(a), len(attacks)-1)] }

// Simulation describes a network under attack. Its units are equal.
type Simulation struct {
	Policy Policy
	Shards int
	Size   int // units per shard at the start

	// Group is how many units belong to one slot and come and go together: 1
	// when slots are dealt, the shares of a slot when shares are. 0: 1
	Group int

	BadPPM             int // the adversary's part of all slots
	FailNum, FailDenom int // part of a shard's units at which it has failed. 0/0: 1/3

	Attack   Attack
	RatePPM  int // part of its slots that the adversary lets rejoin each epoch
	Rejoins  int // instead of RatePPM: how many of its slots
	HonestPM int // per thousand: honest slots that rejoin each epoch
	Wait     int // epochs that a slot has to stay away (see Cooldown)

	Epochs int // to simulate at most
}

// Outcome is one history of a Simulation.
type Outcome struct {
	Failed  bool
	Epoch   int    // in which a shard failed, 0 the first deal; or Epochs
	Rejoins uint64 // of the adversary's slots
	Moved   uint64 // units that changed shards, those that rejoined not counted
	Synced  uint64 // shards that a slot had to download: it had no unit there before
	WorstBad, WorstSize,
	MinSize, MaxSize int // the shard with the largest bad part, and the extremes of all sizes
}

// Bytes is the state that slots had to download, if a shard's state has so
// many bytes.
func (o Outcome) Bytes(state uint64) uint64 { return o.Synced * state }

// A battle is a Simulation in progress.
type battle struct {
	Simulation
	d     *deal
	bad   []bool // by slot
	where []int32
	count []int // bad units by shard
	rng   stream
	away  [][]int32 // slots that wait, by epochs since they left
	out   Outcome
}

func (s Simulation) defaults() (Simulation, error) {
	if s.Group == 0 {
		s.Group = 1
	}
	if s.FailNum == 0 && s.FailDenom == 0 {
		s.FailNum, s.FailDenom = 1, 3
	}
	units := s.Shards * s.Size
	switch {
	case s.Policy == nil:
		return s, fmt.Errorf("reshard: simulation of no policy")
	case s.Shards < 1 || s.Size < 1 || s.Shards > MaxShards || units > MaxUnits || s.Group < 1 || units%s.Group != 0:
		return s, fmt.Errorf("reshard: simulation of %d shards of %d units in groups of %d", s.Shards, s.Size, s.Group)
	case s.BadPPM < 0 || s.BadPPM > 1e6 || s.RatePPM < 0 || s.RatePPM > 1e6 || s.HonestPM < 0 || s.HonestPM > 1000:
		return s, fmt.Errorf("reshard: simulation of %d ppm bad at a rate of %d ppm, %d ‰ of the honest", s.BadPPM, s.RatePPM, s.HonestPM)
	case s.FailNum < 1 || s.FailDenom < s.FailNum || s.Epochs < 0 || s.Wait < 0 || s.Rejoins < 0 || s.Attack > Churn:
		return s, fmt.Errorf("reshard: simulation: a number is out of range")
	}
	return s, nil
}

// Run plays one history. It is a function of the simulation and the seed.
func (s Simulation) Run(seed uint64) (Outcome, error) {
	s, err := s.defaults()
	if err != nil {
		return Outcome{}, err
	}
	b := newBattle(s, seed)
	if err := b.first(); err != nil {
		return Outcome{}, err
	}
	for b.out.Epoch = 0; !b.look(); {
		if b.out.Epoch == s.Epochs {
			return b.out, nil
		}
		b.out.Epoch++
		if err := b.step(); err != nil {
			return Outcome{}, err
		}
	}
	b.out.Failed = true
	return b.out, nil
}

func newBattle(s Simulation, seed uint64) *battle {
	units := s.Shards * s.Size
	b := &battle{Simulation: s, bad: make([]bool, units/s.Group), where: make([]int32, units), count: make([]int, s.Shards)}
	// The policies' own randomness and the adversary's choices come from one
	// stream: a history is a function of the seed.
	key := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("shardkit/reshard/simulation"), seed))
	b.rng.src = rand.NewChaCha8(key)
	b.rng.pos = len(b.rng.buf)
	for i := range len(b.bad) * s.BadPPM / 1e6 {
		b.bad[i] = true
	}
	b.d = &deal{lists: make([][]int32, s.Shards), min: 1, rng: b.rng}
	b.out.MinSize = units
	b.away = make([][]int32, s.Wait)
	return b
}

// first deals everybody by a permutation, as every policy does.
func (b *battle) first() error {
	for i := range b.where {
		b.where[i] = -1
		b.d.joiners = append(b.d.joiners, int32(i))
	}
	b.d.permute()
	b.note()
	b.out.Synced = 0
	return nil
}

// step is an epoch: some leave, those whose waiting is over join, and the
// policy deals.
func (b *battle) step() error {
	gone := b.leavers()
	b.remove(gone)
	if b.Wait > 0 {
		last := b.away[b.Wait-1]
		copy(b.away[1:], b.away)
		b.away[0], gone = gone, last
	}
	b.d.joiners = b.d.joiners[:0]
	for _, slot := range gone {
		for k := range b.Group {
			b.d.joiners = append(b.d.joiners, int32(int(slot)*b.Group+k))
		}
	}
	if p, ok := b.Policy.(dealer); ok {
		p.deal(b.d)
		b.d.joiners = nil
		b.d.level()
	} else if err := b.foreign(); err != nil {
		return err
	}
	b.note()
	return nil
}

// leavers draws the slots that leave: first the adversary's with the least in
// the shards it keeps, then honest ones.
func (b *battle) leavers() []int32 {
	keeps := b.keeps()
	// Slots with the fewest units where the adversary wants them go first.
	bySize := make([][]int32, b.Group) // by units in kept shards; all of them: stays
	var honest []int32
	bad := 0
	for slot := range b.bad {
		if b.where[slot*b.Group] < 0 {
			continue // away
		}
		if !b.bad[slot] && b.Attack != Churn {
			if b.HonestPM > 0 {
				honest = append(honest, int32(slot))
			}
			continue
		}
		bad++
		kept := 0
		for _, s := range b.where[slot*b.Group : (slot+1)*b.Group] {
			if keeps[s] {
				kept++
			}
		}
		if kept < b.Group {
			bySize[kept] = append(bySize[kept], int32(slot))
		}
	}
	want := b.Rejoins
	if want == 0 {
		want = bad * b.RatePPM / 1e6
	}
	var out []int32
	for _, list := range bySize {
		for len(out) < want && len(list) > 0 {
			out = append(out, b.rng.take(&list))
		}
	}
	b.out.Rejoins += uint64(len(out))
	for range len(honest) * b.HonestPM / 1000 {
		out = append(out, b.rng.take(&honest))
	}
	return out
}

// keeps marks the shards in which the adversary leaves its units.
func (b *battle) keeps() []bool {
	keeps := make([]bool, b.Shards)
	switch b.Attack {
	case Greedy:
		best := 0
		for s, n := range b.count {
			if n > b.count[best] {
				best = s
			}
		}
		keeps[best] = true
	case Target:
		keeps[0] = true
	case Patient:
		sum := 0
		for _, n := range b.count {
			sum += n
		}
		for s, n := range b.count {
			keeps[s] = n*b.Shards > sum
		}
	}
	return keeps
}

func (b *battle) remove(slots []int32) {
	touched := make([]bool, b.Shards)
	for _, slot := range slots {
		for i := int(slot) * b.Group; i < (int(slot)+1)*b.Group; i++ {
			touched[b.where[i]] = true
			b.where[i] = -1
		}
	}
	for s, list := range b.d.lists {
		if !touched[s] { // one rejoin at a time should not cost a pass over all
			continue
		}
		kept := list[:0]
		for _, i := range list {
			if b.where[i] >= 0 {
				kept = append(kept, i)
			}
		}
		b.d.lists[s] = kept
	}
}

// note takes in where everybody is now.
func (b *battle) note() {
	var old []int32
	if b.Group > 1 { // a lone unit's downloads are its moves
		old = append(old, b.where...)
	}
	clear(b.count)
	for s, list := range b.d.lists {
		b.out.MinSize, b.out.MaxSize = min(b.out.MinSize, len(list)), max(b.out.MaxSize, len(list))
		for _, i := range list {
			if b.bad[int(i)/b.Group] {
				b.count[s]++
			}
			if was := b.where[i]; was != int32(s) {
				if was >= 0 {
					b.out.Moved++
				}
				b.where[i] = int32(s)
				if b.Group == 1 {
					b.out.Synced++
				}
			}
		}
	}
	if b.Group > 1 {
		b.sync(old)
	}
}

// sync counts the shards that are new to a slot.
func (b *battle) sync(old []int32) {
	for lo := 0; lo < len(b.where); lo += b.Group {
		was, is := old[lo:lo+b.Group], b.where[lo:lo+b.Group]
		for i, s := range is {
			if s >= 0 && !contains(was, s) && !contains(is[:i], s) {
				b.out.Synced++
			}
		}
	}
}

func contains(list []int32, x int32) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

// look says whether a shard has failed, and keeps the worst.
func (b *battle) look() bool {
	failed := false
	for s, n := range b.count {
		size := len(b.d.lists[s])
		if b.out.WorstSize == 0 || n*b.out.WorstSize > b.out.WorstBad*size {
			b.out.WorstBad, b.out.WorstSize = n, size
		}
		failed = failed || n*b.FailDenom >= size*b.FailNum
	}
	return failed
}

// foreign lets a policy deal that is not of this package.
func (b *battle) foreign() error {
	unit := func(i int32) Unit {
		u := Unit{Share: uint32(int(i) % b.Group), Weight: 1}
		binary.BigEndian.PutUint32(u.Slot[:], uint32(int(i)/b.Group))
		u.Owner = u.Slot
		return u
	}
	var units []Unit
	prev := Assignment{Shards: make([][]Unit, b.Shards)}
	for s, list := range b.d.lists {
		for _, i := range list {
			prev.Shards[s] = append(prev.Shards[s], unit(i))
		}
		units = append(units, prev.Shards[s]...)
	}
	for _, i := range b.d.joiners {
		units = append(units, unit(i))
	}
	var seed shardkit.Hash
	copy(seed[:], wire.AppendU64(wire.AppendU64(nil, b.rng.uint64()), b.rng.uint64()))
	next, _, err := b.Policy.Assign(prev, units, b.Shards, seed)
	if err != nil {
		return err
	}
	if len(next.Shards) != b.Shards {
		return fmt.Errorf("reshard: simulation: %s made %d shards of %d", b.Policy.Name(), len(next.Shards), b.Shards)
	}
	b.d.joiners = nil
	for s, list := range next.Shards {
		b.d.lists[s] = b.d.lists[s][:0]
		for _, u := range list {
			b.d.lists[s] = append(b.d.lists[s], int32(int(binary.BigEndian.Uint32(u.Slot[:]))*b.Group+int(u.Share)))
		}
	}
	return nil
}
