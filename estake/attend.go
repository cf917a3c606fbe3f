package estake

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Seat is a member of a shard's committee at one height.
type Seat struct {
	Slot   shardkit.Hash
	Weight uint64 // effective stake or shares it votes with here: rewards are in proportion
	Signed bool   // its signature is in the block's certificate
}

// Attendance is what one block of a shard, linked into the beacon, says about
// its committee.
type Attendance struct {
	Epoch  shardkit.Epoch
	Shard  shardkit.ShardID
	Height shardkit.Height
	Time   uint64 // of the block, unix milliseconds
	Seats  []Seat // the whole committee, in the same order at every height of the epoch
}

// late is how many of the last heights can still get late signatures; twice
// as many are kept before the older half is counted in one go.
const late = 32

// tally is the recent past of one shard in one epoch. Blocks go into Recent;
// the counts per seat, a much longer record, are touched only every late
// blocks.
type tally struct {
	Seats  uint32
	Roster [32]byte // hash of the seats without Signed
	Blocks uint32   // counted, not in Recent
	Height shardkit.Height
	Time   uint64
	Recent []sight
}

// sight is one block: who signed it, and the time since the block before.
type sight struct {
	Height  shardkit.Height
	Elapsed uint32
	Signed  []byte // bit i%8 of byte i/8 is seat i
}

func (t *tally) append(b []byte) []byte {
	b = wire.AppendU32(b, t.Seats)
	b = append(b, t.Roster[:]...)
	b = wire.AppendU32(b, t.Blocks)
	b = wire.AppendU64(b, uint64(t.Height))
	b = wire.AppendU64(b, t.Time)
	b = append(b, byte(len(t.Recent)))
	for _, x := range t.Recent {
		b = wire.AppendU64(b, uint64(x.Height))
		b = wire.AppendU32(b, x.Elapsed)
		b = append(b, x.Signed...)
	}
	return b
}

func (t *tally) read(r *wire.Reader) {
	if t.Seats = r.U32(); t.Seats > MaxSeats {
		r.Fail(fmt.Errorf("%w: %d seats", wire.ErrLimit, t.Seats))
	}
	t.Roster = r.Array32()
	t.Blocks = r.U32()
	t.Height = shardkit.Height(r.U64())
	t.Time = r.U64()
	n := int(r.U8())
	if r.Err() != nil || n > 2*late {
		r.Fail(fmt.Errorf("%w: %d heights", wire.ErrLimit, n))
		return
	}
	t.Recent = make([]sight, n)
	for i := range t.Recent {
		x := &t.Recent[i]
		x.Height, x.Elapsed = shardkit.Height(r.U64()), r.U32()
		x.Signed = slices.Clone(r.Fixed(int(t.Seats+7) / 8))
	}
}

// counts are the sums of one seat in an epoch.
type counts struct {
	Signed uint32 // blocks
	Absent uint64 // milliseconds since it last signed; goes on from epoch to epoch
}

const (
	rosterSize = 32 + 8
	countsSize = 4 + 8
)

// RecordSigned takes in who signed one block of a shard. Heights of a shard
// in an epoch come in ascending order; a gap is heights about which nothing
// is known, and counts for nobody's absence. The first block of an epoch adds
// no time to anybody's absence, and no block adds more than GapMillis: while
// a shard makes no blocks nobody is absent.
func RecordSigned(s State, p Params, a Attendance) error {
	g, err := loadGlobals(s)
	if err != nil {
		return err
	}
	if a.Epoch < g.Next {
		return refuse(ErrEpoch, "epoch %d has ended", a.Epoch)
	}
	if len(a.Seats) == 0 || len(a.Seats) > MaxSeats {
		return refuse(ErrRoster, "%d seats", len(a.Seats))
	}
	// The committee of a shard is the same in a whole epoch: it is stored once,
	// and every later block is only held against its hash.
	roster := rosterOf(a.Seats)
	t := new(tally)
	ok, err := load(s, keyShard(keyTally, a.Epoch, a.Shard), t)
	switch {
	case err != nil:
		return err
	case !ok:
		if err := openTally(s, a, t, roster); err != nil {
			return err
		}
	case t.Roster != sha256.Sum256(roster):
		return refuse(ErrRoster, "not the committee of shard %d in epoch %d", a.Shard, a.Epoch)
	case a.Height <= t.Height:
		return refuse(ErrRoster, "height %d of shard %d after %d", a.Height, a.Shard, t.Height)
	}
	t.see(p, a)
	if len(t.Recent) == 2*late {
		if err := t.fold(s, a.Epoch, a.Shard, late); err != nil {
			return err
		}
	}
	return save(s, keyShard(keyTally, a.Epoch, a.Shard), t)
}

// see appends a block to the recent ones. The first block of an epoch has no
// block before it to count time from; nor can a block reach back further than
// GapMillis, however long its shard has stood still.
func (t *tally) see(p Params, a Attendance) {
	x := sight{Height: a.Height, Signed: make([]byte, (len(a.Seats)+7)/8)}
	if t.Time > 0 && a.Time > t.Time {
		x.Elapsed = uint32(min(a.Time-t.Time, p.GapMillis))
	}
	for i := range a.Seats {
		if a.Seats[i].Signed {
			x.Signed[i/8] |= 1 << (i % 8)
		}
	}
	t.Height, t.Time = a.Height, max(t.Time, a.Time)
	t.Recent = append(t.Recent, x)
}

// RecordLate takes in signatures of an earlier height that came too late for
// its certificate. The height must be one of the last 32 recorded ones of the
// shard: an older one is refused, and so is an unknown slot. A signature that
// is known already changes nothing.
func RecordLate(s State, epoch shardkit.Epoch, shard shardkit.ShardID, height shardkit.Height, slots []shardkit.Hash) error {
	t := new(tally)
	ok, err := load(s, keyShard(keyTally, epoch, shard), t)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(ErrEpoch, "no attendance of shard %d in epoch %d", shard, epoch)
	}
	at := slices.IndexFunc(t.Recent, func(x sight) bool { return x.Height == height })
	if at < 0 {
		return refuse(ErrRoster, "height %d of shard %d is not recent", height, shard)
	}
	roster, err := loadRoster(s, epoch, shard, int(t.Seats))
	if err != nil {
		return err
	}
	seat := make(map[shardkit.Hash]int, len(roster))
	for i := range roster {
		seat[roster[i].Slot] = i
	}
	for _, id := range slots {
		i, ok := seat[id]
		if !ok {
			return refuse(ErrRoster, "slot %v has no seat in shard %d", id, shard)
		}
		t.Recent[at].Signed[i/8] |= 1 << (i % 8)
	}
	return save(s, keyShard(keyTally, epoch, shard), t)
}

// openTally starts a shard's records of an epoch: its roster, the absences
// with which its members come, and its place in the epoch's list.
func openTally(s State, a Attendance, t *tally, roster []byte) error {
	// All seats are checked before anything is written.
	seen := make(map[shardkit.Hash]bool, len(a.Seats))
	sum := uint64(0)
	start := make([]byte, 0, len(a.Seats)*countsSize)
	for _, seat := range a.Seats {
		sum += min(seat.Weight, MaxTokens+1)
		if seat.Weight == 0 || sum > MaxTokens || seen[seat.Slot] {
			return refuse(ErrRoster, "slot %v of weight %d", seat.Slot, seat.Weight)
		}
		seen[seat.Slot] = true
		ref, err := refOf(s, seat.Slot)
		if err != nil {
			return err
		}
		start = counts{Absent: ref.Absent}.append(start)
	}
	if err := addShard(s, a.Epoch, a.Shard); err != nil {
		return err
	}
	t.Seats, t.Roster = uint32(len(a.Seats)), sha256.Sum256(roster)
	if err := saveBlob(s, keyShard(keyRoster, a.Epoch, a.Shard), roster); err != nil {
		return err
	}
	return saveBlob(s, keyShard(keyCounts, a.Epoch, a.Shard), start)
}

// refOf returns what is known of a slot; a zero one if it has gone.
func refOf(s State, id shardkit.Hash) (slotRef, error) {
	slot, ok, err := loadSlot(s, id)
	if err != nil || !ok {
		return slotRef{}, err
	}
	v, err := loadValidator(s, slot.Validator)
	if err != nil || v == nil {
		return slotRef{}, err
	}
	if ref := v.slot(slot.Index); ref != nil {
		return *ref, nil
	}
	return slotRef{}, nil
}

func rosterOf(seats []Seat) []byte {
	b := make([]byte, 0, len(seats)*rosterSize)
	for i := range seats {
		b = append(b, seats[i].Slot[:]...)
		b = wire.AppendU64(b, seats[i].Weight)
	}
	return b
}

func loadRoster(s State, e shardkit.Epoch, shard shardkit.ShardID, n int) ([]Seat, error) {
	b, err := loadBlob(s, keyShard(keyRoster, e, shard), n*rosterSize)
	if err != nil {
		return nil, err
	}
	seats := make([]Seat, n)
	for i := range seats {
		at := b[i*rosterSize:]
		seats[i] = Seat{Slot: shardkit.Hash(at[:32]), Weight: binary.BigEndian.Uint64(at[32:])}
	}
	return seats, nil
}

func (c counts) append(b []byte) []byte {
	return wire.AppendU64(wire.AppendU32(b, c.Signed), c.Absent)
}

func loadCounts(s State, e shardkit.Epoch, shard shardkit.ShardID, n int) ([]counts, error) {
	b, err := loadBlob(s, keyShard(keyCounts, e, shard), n*countsSize)
	if err != nil {
		return nil, err
	}
	list := make([]counts, n)
	for i := range list {
		at := b[i*countsSize:]
		list[i] = counts{binary.BigEndian.Uint32(at), binary.BigEndian.Uint64(at[4:])}
	}
	return list, nil
}

// count adds the oldest n recent blocks to the counts.
func (t *tally) count(list []counts, n int) {
	for _, x := range t.Recent[:n] {
		// In order of height: a signature ends the absence up to its block, what
		// came before does not matter any more.
		for i := range list {
			if x.Signed[i/8]>>(i%8)&1 == 1 {
				list[i].Signed++
				list[i].Absent = 0
			} else {
				list[i].Absent += uint64(x.Elapsed)
			}
		}
	}
	t.Blocks += uint32(n)
	t.Recent = t.Recent[n:]
}

func (t *tally) fold(s State, e shardkit.Epoch, shard shardkit.ShardID, n int) error {
	list, err := loadCounts(s, e, shard, int(t.Seats))
	if err != nil {
		return err
	}
	t.count(list, n)
	b := make([]byte, 0, len(list)*countsSize)
	for _, c := range list {
		b = c.append(b)
	}
	return saveBlob(s, keyShard(keyCounts, e, shard), b)
}

// shardList names the shards that recorded anything in an epoch, ascending.
type shardList []shardkit.ShardID

func (l *shardList) append(b []byte) []byte {
	b = wire.AppendU32(b, uint32(len(*l)))
	for _, s := range *l {
		b = wire.AppendU32(b, uint32(s))
	}
	return b
}

func (l *shardList) read(r *wire.Reader) {
	*l = make(shardList, r.Count(maxShards, 4))
	for i := range *l {
		(*l)[i] = shardkit.ShardID(r.U32())
		if i > 0 && (*l)[i] <= (*l)[i-1] {
			r.Fail(fmt.Errorf("%w: order of shards", wire.ErrValue))
		}
	}
}

// maxShards keeps the list of an epoch within one value.
const maxShards = 1 << 13

func addShard(s State, e shardkit.Epoch, shard shardkit.ShardID) error {
	var l shardList
	k := keyAt(keyShards, uint64(e))
	if _, err := load(s, k, &l); err != nil {
		return err
	}
	at, _ := slices.BinarySearchFunc(l, shard, cmp.Compare)
	if len(l) == maxShards {
		return refuse(ErrRoster, "%d shards in epoch %d", len(l), e)
	}
	l = slices.Insert(l, at, shard)
	return save(s, k, &l)
}
