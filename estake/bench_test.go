package estake_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/stretchr/testify/require"
)

// BenchmarkElection elects 2,400 seats out of 100,000 bids of as many
// validators, and of a hundredth of them.
func BenchmarkElection(b *testing.B) {
	for _, each := range []int{1, 100} {
		b.Run(fmt.Sprintf("bids=100000/perValidator=%d", each), func(b *testing.B) {
			w, p := memory{}, estake.DefaultParams(2400)
			list := make([]estake.Genesis, 100_000/each)
			for i := range list {
				list[i] = genesis(uint64(i), uint64(each)*(1_000_000+uint64(i*7919%500_000)), each)
			}
			require.NoError(b, estake.Init(w, p, list))
			b.ReportAllocs()
			for b.Loop() {
				e, err := estake.Elect(w, p)
				if err != nil || len(e.Elected) != 2400 {
					b.Fatal(err)
				}
			}
		})
	}
}

// delegators puts n delegations on each validator, as Delegate would: with
// the price at one a point costs a token.
func delegators(b *testing.B, w memory, p estake.Params, validators, n int) {
	b.Helper()
	bank := rich{}
	for v := range uint64(validators) {
		for i := range n {
			var who [32]byte
			binary.BigEndian.PutUint64(who[:], uint64(i)+1)
			ctx := estake.Context{Sender: who, Bank: bank}
			require.NoError(b, estake.Apply(w, p, ctx, estake.Delegate{Validator: account(v), Amount: 100, Compound: i%2 == 0}))
		}
	}
}

type rich struct{}

func (rich) Debit([32]byte, uint64) error  { return nil }
func (rich) Credit([32]byte, uint64) error { return nil }

// BenchmarkEpoch pays an epoch's reward to 1,000 signers. The cost does not
// depend on the number of delegations: the benchmark shows it for none and for
// a million in all.
func BenchmarkEpoch(b *testing.B) {
	for _, each := range []int{0, 1000} {
		b.Run(fmt.Sprintf("signers=1000/delegations=%d", 1000*each), func(b *testing.B) {
			w, p := memory{}, estake.DefaultParams(1000)
			list := make([]estake.Genesis, 1000)
			for i := range list {
				list[i] = genesis(uint64(i), 1_000_000, 1)
			}
			require.NoError(b, estake.Init(w, p, list))
			delegators(b, w, p, 1000, each)
			seats := make([]estake.Seat, 1000)
			for i := range seats {
				seats[i] = estake.Seat{Slot: estake.SlotID(account(uint64(i)), 0), Weight: 1000, Signed: i%9 > 0}
			}
			b.ReportAllocs()
			epoch := shardkit.Epoch(0)
			for b.Loop() {
				b.StopTimer()
				require.NoError(b, estake.RecordSigned(w, p, estake.Attendance{Epoch: epoch, Height: 1, Seats: seats}))
				b.StartTimer()
				if _, err := estake.EndEpoch(w, p, epoch, 1_000_000, 0); err != nil {
					b.Fatal(err)
				}
				epoch++
			}
		})
	}
}

// BenchmarkRecordSigned is what one linked block costs.
func BenchmarkRecordSigned(b *testing.B) {
	for _, n := range []int{100, 600} {
		b.Run(fmt.Sprintf("seats=%d", n), func(b *testing.B) {
			w, p := memory{}, estake.DefaultParams(n)
			list := make([]estake.Genesis, n)
			a := estake.Attendance{}
			for i := range list {
				list[i] = genesis(uint64(i), 1_000_000, 1)
				a.Seats = append(a.Seats, estake.Seat{Slot: estake.SlotID(account(uint64(i)), 0), Weight: 1000, Signed: i%9 > 0})
			}
			require.NoError(b, estake.Init(w, p, list))
			b.ReportAllocs()
			for b.Loop() {
				a.Height++
				a.Time += 2000
				if err := estake.RecordSigned(w, p, a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDelegate(b *testing.B) {
	w, p := memory{}, estake.DefaultParams(4)
	require.NoError(b, estake.Init(w, p, []estake.Genesis{genesis(0, 1_000_000, 1)}))
	b.ReportAllocs()
	for b.Loop() {
		ctx := estake.Context{Sender: account(9), Bank: rich{}}
		if err := estake.Apply(w, p, ctx, estake.Delegate{Validator: account(0), Amount: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCostOfAttack(b *testing.B) {
	bids := make([]uint64, 100_000)
	for i := range bids {
		bids[i] = 1_000_000 + uint64(i*7919%500_000)
	}
	for b.Loop() {
		estake.CostOfAttack(bids, estake.DefaultParams(2400))
	}
}

// BenchmarkLocked asks for one delegator's locks with a validator that many
// have left in each of the last eight epochs.
func BenchmarkLocked(b *testing.B) {
	w, p := memory{}, estake.DefaultParams(4)
	require.NoError(b, estake.Init(w, p, []estake.Genesis{genesis(0, 1_000_000, 1)}))
	delegators(b, w, p, 1, 1000)
	for e := range shardkit.Epoch(8) {
		for i := range 1000 {
			var who [32]byte
			binary.BigEndian.PutUint64(who[:], uint64(i)+1)
			ctx := estake.Context{Epoch: e, Sender: who, Bank: rich{}}
			require.NoError(b, estake.Apply(w, p, ctx, estake.Undelegate{Validator: account(0), Amount: 1, Compound: i%2 == 0}))
		}
		_, err := estake.EndEpoch(w, p, e, 0, 0)
		require.NoError(b, err)
	}
	var who [32]byte
	who[7] = 1
	b.ReportAllocs()
	for b.Loop() {
		list, err := estake.Locked(w, p, account(0), who, 0)
		if err != nil || len(list) != 8 {
			b.Fatal(len(list), err)
		}
	}
}
