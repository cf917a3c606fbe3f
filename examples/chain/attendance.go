package chain

import (
	"errors"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/internal/wire"
)

// A shard adds blocks to its epoch after the beacon's has ended, and those who
// sign them must not work for nothing. So the books of an epoch, in package
// estake, stay open until every shard has begun the next one: then all its
// blocks have been linked, all its fees are in the pool, and both are paid out.
// They cannot be open for two epochs at once, for those who were absent are
// absent from where they were at the end of the epoch before. What is known of
// the next epoch meanwhile waits.

// sighting is a block of which the beacon knows who signed it.
type sighting struct {
	Height  shardkit.Height
	Time    uint64 // of the beacon's block that knows it
	Signers fbft.Bitmap
}

// maxSightings is how many blocks of a shard wait. There are more only if some
// shard stands still, and then every second one is forgotten: what a member is
// paid goes by the part of the blocks that it signed.
const maxSightings = 256

func encodeSightings(list []sighting) []byte {
	b := wire.AppendU32(nil, uint32(len(list)))
	for i := range list {
		b = wire.AppendU64(wire.AppendU64(b, uint64(list[i].Height)), list[i].Time)
		b = wire.AppendBytes(b, list[i].Signers)
	}
	return b
}

func decodeSightings(raw []byte) ([]sighting, error) {
	r := wire.NewReader(raw)
	list := make([]sighting, r.Count(maxSightings, 8+8+4))
	for i := range list {
		list[i] = sighting{shardkit.Height(r.U64()), r.U64(), slices.Clone(r.Bytes(estake.MaxSeats / 8))}
	}
	return list, r.Close()
}

func (x *execution) sightings(shard shardkit.ShardID) ([]sighting, error) {
	b, ok, err := x.stage.Get(keySeen(shard))
	if err != nil || !ok {
		return nil, err
	}
	return decodeSightings(b)
}

// books returns the epoch whose books are open.
func (x *execution) books() (shardkit.Epoch, error) {
	e, err := loadU64(x.stage, keyBooks)
	return shardkit.Epoch(e), err
}

// signed credits the signers of a certificate.
func (x *execution) signed(shard shardkit.ShardID, cert *fbft.Certificate) error {
	open, err := x.books()
	if err != nil {
		return err
	}
	s := sighting{cert.Height, x.ctx.Time, cert.Signers}
	switch cert.Epoch {
	case open:
		return x.record(shard, open, &s)
	case open + 1:
		return x.wait(shard, s)
	}
	return invalid("signers of shard %d in epoch %d, the books are those of epoch %d", shard, cert.Epoch, open)
}

// record hands a sighting to package estake.
func (x *execution) record(shard shardkit.ShardID, e shardkit.Epoch, s *sighting) error {
	seats, _, err := loadSeats(x.stage, e, shard)
	if err != nil {
		return err
	}
	a := estake.Attendance{Epoch: e, Shard: shard, Height: s.Height, Time: s.Time}
	for i, seat := range seats {
		a.Seats = append(a.Seats, estake.Seat{Slot: seat.Slot, Weight: seat.Weight, Signed: s.Signers.Has(i)})
	}
	return estake.RecordSigned(x.stage, x.genesis.Params.Stake, a)
}

// wait keeps a sighting until the books of its epoch are open.
func (x *execution) wait(shard shardkit.ShardID, s sighting) error {
	list, err := x.sightings(shard)
	if err != nil {
		return err
	}
	if len(list) == maxSightings {
		for i := range maxSightings / 2 {
			list[i] = list[2*i]
		}
		list = list[:maxSightings/2]
	}
	return x.stage.Set(keySeen(shard), encodeSightings(append(list, s)))
}

// creditLate is the beacon's part: it credits the signers of late votes that a
// certified header had, or that are for its own. Late votes for a block inside a
// run are passed over: that block counts for nobody, because the beacon does not
// have its certificate. If it counted for those who were late only, those who
// were in time would be absent. So it is the last block of each run by which all
// are measured, and who signs late is paid as who signs in time.
func (x *execution) creditLate(shard shardkit.ShardID, e shardkit.Epoch, votes []lateVotes) error {
	if x.shard != 0 || len(votes) == 0 {
		return nil
	}
	open, err := x.books()
	if err != nil {
		return err
	}
	if e != open {
		return x.waitLate(shard, votes)
	}
	seats, _, err := loadSeats(x.stage, e, shard)
	if err != nil {
		return err
	}
	for _, v := range votes {
		var slots []shardkit.Hash
		for i := range seats {
			if v.Signers.Has(i) {
				slots = append(slots, seats[i].Slot)
			}
		}
		err := estake.RecordLate(x.stage, e, shard, v.Height, slots)
		if err != nil && !errors.As(err, new(*estake.Refusal)) {
			return err
		}
	}
	return nil
}

// waitLate adds late votes to the sightings that wait.
func (x *execution) waitLate(shard shardkit.ShardID, votes []lateVotes) error {
	list, err := x.sightings(shard)
	if err != nil {
		return err
	}
	for _, v := range votes {
		at := slices.IndexFunc(list, func(s sighting) bool { return s.Height == v.Height })
		if at < 0 {
			continue
		}
		for _, i := range v.Signers.Indices() {
			if i/8 < len(list[at].Signers) {
				list[at].Signers.Set(i)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return x.stage.Set(keySeen(shard), encodeSightings(list))
}

// closeBooks pays the epoch before the beacon's own, if that is still to be
// done, and goes on with those of the beacon's. Every shard has begun it.
func (x *execution) closeBooks() error {
	open, err := x.books()
	if err != nil || open == x.out.meta.Epoch {
		return err
	}
	if err := x.reward(open); err != nil {
		return err
	}
	for s := range shardkit.ShardID(x.genesis.Params.Shards) {
		list, err := x.sightings(s)
		if err != nil {
			return err
		}
		for i := range list {
			if err := x.record(s, open+1, &list[i]); err != nil {
				return err
			}
		}
		if err := x.stage.Delete(keySeen(s)); err != nil {
			return err
		}
	}
	return saveU64(x.stage, keyBooks, uint64(open+1))
}

// reward pays an epoch's new tokens and fees to those who signed.
func (x *execution) reward(e shardkit.Epoch) error {
	fees, err := loadU64(x.stage, keyPool)
	if err != nil {
		return err
	}
	minted := x.genesis.Params.Stake.Issuance(e)
	if _, err := estake.EndEpoch(x.stage, x.genesis.Params.Stake, e, minted, fees); err != nil {
		return err
	}
	return errors.Join(addU64(x.stage, keyMinted, minted), saveU64(x.stage, keyPool, 0))
}

// poolFees puts the beacon's own fees of the epoch to those of the other
// shards.
func (x *execution) poolFees() error {
	fees, err := loadU64(x.stage, keyFees)
	if err != nil {
		return err
	}
	return errors.Join(addU64(x.stage, keyPool, fees), saveU64(x.stage, keyFees, 0))
}
