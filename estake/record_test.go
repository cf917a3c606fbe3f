package estake

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/shardkit/shardkit/internal/wire"
)

// records returns one empty record of every kind that is more than numbers.
func records() []record {
	return []record{&globals{}, &validator{}, &Slot{}, &tally{}, &shardList{}, &liens{}}
}

func FuzzRecords(f *testing.F) {
	full := []record{
		&globals{Validators: 1, Pot: 9},
		&validator{Status: StatusBanned, Slots: []slotRef{{Index: 1}, {Index: 2, Status: SlotRetired, Since: 3}}},
		&Slot{VotingKey: []byte{1}, VRFKey: []byte{2}},
		&tally{Seats: 9, Recent: []sight{{Height: 1, Signed: []byte{3, 1}}}},
		&shardList{1, 4}, &liens{{Held: 1, Points: 2}},
	}
	for i, r := range full {
		f.Add(byte(i), r.append(nil))
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		list := records()
		rec := list[int(kind)%len(list)]
		r := wire.NewReader(data)
		rec.read(r)
		if r.Close() != nil {
			return
		}
		if enc := rec.append(nil); !bytes.Equal(enc, data) {
			t.Fatalf("%T: %x became %x", rec, data, enc)
		}
	})
}

// The state is part of the consensus: a record's bytes must never change.
func TestGoldenRecords(t *testing.T) {
	zeros := func(n int) string { return hex.EncodeToString(make([]byte, n)) }
	for _, c := range []struct {
		rec  record
		want string
	}{
		{&globals{Validators: 1, Next: 2, Latest: 3, Bonded: 4, Unbonding: 5, Owed: 6, Pot: 7, Burned: 8},
			"0000000000000001000000000000000200000000000000030000000000000004" + "0000000000000005000000000000000600000000000000070000000000000008"},
		{&Slot{Validator: [32]byte{1}, Index: 2, VotingKey: []byte{3}, VRFKey: []byte{4}, Node: [32]byte{5}},
			"01" + zeros(31) + "00000002" + "0000000103" + "0000000104" + "05" + zeros(31)},
		{&validator{Status: StatusBanned, Listed: true, Self: 1, CommissionPPM: 2, Slots: []slotRef{{Index: 3, Status: SlotInactive, Absent: 4, Since: 5}}},
			"01" + "01" + "00" + "00" + zeros(8) + "0000000000000001" + zeros(11*8) + "00000002" + zeros(16) + "00000001" + "00000003" + "01" + "0000000000000004" + "0000000000000005"},
		{&tally{Seats: 9, Roster: [32]byte{1}, Blocks: 2, Height: 3, Time: 4, Recent: []sight{{5, 6, []byte{7, 1}}}},
			"00000009" + "01" + zeros(31) + "00000002" + "0000000000000003" + "0000000000000004" + "01" + "0000000000000005" + "00000006" + "0701"},
		{&shardList{1, 2}, "00000002" + "00000001" + "00000002"},
		{&liens{{[32]byte{1}, 2, 3}}, "00000001" + "01" + zeros(31) + "0000000000000002" + "0000000000000003"},
	} {
		if got := hex.EncodeToString(c.rec.append(nil)); got != c.want {
			t.Errorf("%T: %s, want %s", c.rec, got, c.want)
		}
	}
}

// Whoever comes, goes, or does both again and again: the points of those who
// stay never lose worth by it, and nobody takes out more than went in.
func TestPoolIsFair(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		p := pool{Tokens: r.Uint64N(500), Points: 1 + r.Uint64N(500)}
		stay := r.Uint64N(p.Points + 1)
		before := p.value(stay)
		points, cost := p.quote(1 + r.Uint64N(100))
		p.buy(points, cost)
		if got := p.value(stay); got < before {
			t.Fatalf("%+v: %d points were worth %d, now %d", p, stay, before, got)
		}
		if out := p.sell(points); out > cost {
			t.Fatalf("%+v: paid %d, got %d", p, cost, out)
		}
		leave := r.Uint64N(p.Points - stay + 1)
		p.sell(leave)
		if got := p.value(stay); got < before {
			t.Fatalf("%+v: %d points were worth %d, now %d after %d left", p, stay, before, got, leave)
		}
		if p.Points == 0 && p.Tokens > 0 {
			t.Fatalf("%+v: tokens of nobody", p)
		}
	}
}

// Parts of a splitter add up to the whole and differ from the exact part by
// less than one.
func TestSplitter(t *testing.T) {
	for amount := range uint64(60) {
		weights := []uint64{0, 3, 1, 0, 7, 2, amount}
		s := splitter{amount: amount}
		for _, w := range weights {
			s.total += w
		}
		sum := uint64(0)
		for _, w := range weights {
			part := s.next(w)
			if lo := amount * w / s.total; part < lo || part > lo+1 {
				t.Fatalf("part %d of %d for %d of %d", part, amount, w, s.total)
			}
			sum += part
		}
		if sum != amount {
			t.Fatalf("%d of %d", sum, amount)
		}
	}
}

// Sums that do not fit into 64 bits are scaled, not wrapped.
func TestTotalPoints(t *testing.T) {
	all := make([]earning, 100)
	for i := range all {
		all[i].points = 1 << 60
	}
	total := totalPoints(all)
	if total != 100*all[0].points || all[0].points < 1<<55 {
		t.Fatalf("total %d of %d each", total, all[0].points)
	}
}
