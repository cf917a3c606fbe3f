package estake_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/stretchr/testify/require"
)

var histories = flag.Int("histories", 100_000, "random histories of TestHistories")

// A world is a small chain: four validators at the start, some delegators,
// their accounts outside, and every token that ever existed.
type world struct {
	memory
	writes   int
	p        estake.Params
	r        *rand.Rand
	accounts map[[32]byte]uint64
	minted   uint64
	epoch    shardkit.Epoch
	height   shardkit.Height
	election *estake.Election
	log      []event
	exits    []exit
}

// event is a line of a failing history's report.
type event struct {
	epoch  shardkit.Epoch
	sender [32]byte
	tx     estake.Tx
	err    error
}

func (e event) String() string {
	return fmt.Sprintf("%d: %x: %T%+v: %v", e.epoch, e.sender[:2], e.tx, e.tx, e.err)
}

// exit is something that waits to be withdrawn.
type exit struct {
	who [32]byte
	tx  estake.Withdraw
}

func (w *world) Set(key, value []byte) error {
	w.writes++
	return w.memory.Set(key, value)
}

func (w *world) Delete(key []byte) error {
	w.writes++
	return w.memory.Delete(key)
}

var errPoor = errors.New("not enough on the account")

func (w *world) Debit(a [32]byte, n uint64) error {
	if w.accounts[a] < n {
		return errPoor
	}
	w.accounts[a] -= n
	return nil
}

func (w *world) Credit(a [32]byte, n uint64) error {
	w.accounts[a] += n
	return nil
}

func (w *world) scan(fn func(key, value []byte) error) error {
	for k, v := range w.memory {
		if err := fn([]byte(k), []byte(v)); err != nil {
			return err
		}
	}
	return nil
}

const people = 9 // accounts 0 to 3 are validators, 4 and 5 may become one

func newWorld(seed uint64) (*world, error) {
	w := &world{memory: memory{}, r: rand.New(rand.NewPCG(seed, 1)), accounts: map[[32]byte]uint64{}}
	w.p = estake.DefaultParams(5)
	w.p.LockEpochs, w.p.EvidenceEpochs, w.p.DutyEpochs = 4, 2, 1
	w.p.GapMillis, w.p.ReduceMillis, w.p.InactiveMillis = 1000, 700, 1400
	w.p.MinDelegation = w.r.Uint64N(3)
	var list []estake.Genesis
	for i := range uint64(4) {
		g := genesis(i, 1+w.r.Uint64N(3000), 1+w.r.IntN(2))
		g.Restake = w.r.IntN(2) == 0
		g.MaxCommissionPPM, g.MaxChangePPM = 500_000, 100_000
		w.minted += g.Stake
		list = append(list, g)
	}
	for i := range uint64(people) {
		w.accounts[account(i)] = 1000 + w.r.Uint64N(5000)
		w.minted += w.accounts[account(i)]
	}
	return w, estake.Init(w, w.p, list)
}

func (w *world) apply(sender [32]byte, tx estake.Tx) error {
	enc, err := tx.AppendBinary(nil)
	if err != nil {
		return err
	}
	if tx, err = estake.DecodeTx(enc); err != nil {
		return err
	}
	before, have := w.writes, w.accounts[sender]
	err = estake.Apply(w, w.p, estake.Context{
		Epoch: w.epoch, Sender: sender, Bank: w,
		CheckSlot:     func([32]byte, *estake.SlotKeys) error { return nil },
		CheckEvidence: func(*estake.Slot, *estake.Evidence) error { return nil },
	}, tx)
	w.log = append(w.log, event{w.epoch, sender, tx, err})
	if err == nil {
		switch tx := tx.(type) {
		case estake.Undelegate:
			w.exits = append(w.exits, exit{sender, estake.Withdraw{Validator: tx.Validator, Epoch: w.epoch}})
		case estake.Redelegate:
			w.exits = append(w.exits, exit{sender, estake.Withdraw{Validator: tx.From, Epoch: w.epoch, Moved: true, To: tx.To}})
		}
		return nil
	}
	var r *estake.Refusal
	if !errors.As(err, &r) && !errors.Is(err, errPoor) {
		return err
	}
	if w.writes != before || w.accounts[sender] != have {
		return fmt.Errorf("refused, but the state has changed: %w", err)
	}
	return nil
}

// randomTx is any transaction, mostly one that makes sense.
func (w *world) randomTx() ([32]byte, estake.Tx) {
	r := w.r
	who, v, to := account(r.Uint64N(people)), account(r.Uint64N(6)), account(r.Uint64N(6))
	if r.IntN(4) > 0 { // a smaller circle, in which more is possible
		who, v, to = account(6+r.Uint64N(2)), account(r.Uint64N(3)), account(r.Uint64N(3))
	}
	amount := 1 + r.Uint64N(800)
	if r.IntN(5) == 0 {
		amount = estake.Everything
	}
	compound, epoch := r.IntN(2) == 0, w.epoch-min(w.epoch, shardkit.Epoch(r.IntN(7)))
	index := uint32(r.IntN(3))
	switch r.IntN(12) {
	case 0:
		tx := estake.Stake{Amount: amount, Restake: compound}
		if r.IntN(2) == 0 {
			keys := slotKeys(r.Uint64N(1000), 77)
			tx.Slots = []estake.SlotKeys{{VotingKey: keys.VotingKey, VRFKey: keys.VRFKey, Node: keys.Node}}
		}
		return account(r.Uint64N(6)), tx
	case 1, 2, 3:
		return who, estake.Delegate{Validator: v, Amount: amount, Compound: compound}
	case 4, 5:
		return who, estake.Undelegate{Validator: v, Amount: amount, Compound: compound}
	case 6:
		return who, estake.Redelegate{From: v, To: to, Amount: amount, Compound: compound}
	case 7:
		keys := slotKeys(r.Uint64N(1000), 78)
		tx := estake.Edit{SetCommission: compound, SetRestake: true, Restake: r.IntN(2) == 0}
		if compound {
			tx.CommissionPPM = uint32(r.IntN(300_000))
		}
		if r.IntN(2) == 0 {
			tx.Retire = []uint32{index}
		} else {
			tx.Add = []estake.SlotKeys{{VotingKey: keys.VotingKey, Node: keys.Node}}
		}
		return v, tx
	case 8:
		v = account(r.Uint64N(4))
		return v, estake.Rejoin{Slots: []uint32{uint32(r.IntN(2))}}
	case 9:
		return who, estake.Claim{Validator: v, Restake: compound}
	case 10:
		if compound {
			return who, estake.Withdraw{Validator: v, Epoch: epoch}
		}
		return who, estake.Withdraw{Validator: v, Epoch: epoch, Moved: true, To: to}
	}
	if r.IntN(4) > 0 {
		return who, estake.Claim{Validator: v}
	}
	return who, estake.Evidence{Slot: estake.SlotID(v, index), Epoch: epoch}
}

// block records that some of the committee signed.
func (w *world) block() error {
	if w.election == nil {
		e, err := estake.Elect(w, w.p)
		if errors.Is(err, estake.ErrTooFew) {
			return nil
		}
		if err != nil {
			return err
		}
		w.election = e
	}
	w.height++
	a := estake.Attendance{Epoch: w.epoch, Height: w.height, Time: uint64(w.height) * 700}
	for _, x := range w.election.Elected {
		if x.Effective > 0 {
			a.Seats = append(a.Seats, estake.Seat{Slot: x.Slot.ID, Weight: x.Effective, Signed: w.r.IntN(2) > 0})
		}
	}
	if len(a.Seats) == 0 {
		return nil
	}
	return estake.RecordSigned(w, w.p, a)
}

func (w *world) end() error {
	minted, fees := w.r.Uint64N(300), w.r.Uint64N(9)
	_, err := estake.EndEpoch(w, w.p, w.epoch, minted, fees)
	w.minted += minted + fees
	w.epoch++
	w.election = nil
	return err
}

func (w *world) step() error {
	switch n := w.r.IntN(10); {
	case n == 0:
		return w.end()
	case n <= 2:
		return w.block()
	}
	return w.apply(w.randomTx())
}

// conserved counts every token.
func (w *world) conserved() error {
	held, err := estake.TotalTokens(w)
	if err != nil {
		return err
	}
	burned, err := estake.Burned(w)
	if err != nil {
		return err
	}
	sum := held + burned
	for i := range uint64(people) {
		sum += w.accounts[account(i)]
	}
	if sum != w.minted {
		return fmt.Errorf("%d tokens, %d were made", sum, w.minted)
	}
	return nil
}

// leave lets everybody take out everything; what stays behind is dust.
func (w *world) leave() error {
	for i := range uint64(people) {
		for j := range uint64(6) {
			for _, compound := range []bool{false, true} {
				tx := estake.Undelegate{Validator: account(j), Amount: estake.Everything, Compound: compound}
				if err := w.apply(account(i), tx); err != nil {
					return err
				}
			}
		}
	}
	for range w.p.LockEpochs {
		if _, err := estake.EndEpoch(w, w.p, w.epoch, 0, 0); err != nil {
			return err
		}
		w.epoch++
	}
	for _, x := range w.exits {
		if err := w.apply(x.who, x.tx); err != nil {
			return err
		}
	}
	w.exits = w.exits[:0]
	for i := range uint64(people) {
		for j := range uint64(6) {
			if err := w.apply(account(i), estake.Claim{Validator: account(j)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// dust is what is left when all have left twice (the second time with what
// was redelegated the first time).
func (w *world) dust() (uint64, error) {
	for range 2 {
		if err := w.leave(); err != nil {
			return 0, err
		}
	}
	held, err := estake.TotalTokens(w)
	if err != nil {
		return 0, err
	}
	pot, err := estake.Pot(w)
	return held - pot, err
}

// history plays one; careful is slower and names the step that went wrong.
func history(seed uint64, careful bool) (w *world, err error) {
	if w, err = newWorld(seed); err != nil {
		return w, err
	}
	for range 8 + w.r.IntN(32) {
		if err := w.step(); err != nil {
			return w, err
		}
		if !careful {
			continue
		}
		if err := errors.Join(w.conserved(), estake.Audit(w.scan)); err != nil {
			return w, err
		}
	}
	if err := w.conserved(); err != nil {
		return w, err
	}
	if err := estake.Audit(w.scan); err != nil {
		return w, err
	}
	if seed%32 != 0 { // leaving takes longer than the whole history
		return w, nil
	}
	left, err := w.dust()
	if err != nil {
		return w, err
	}
	if left > 40 {
		return w, fmt.Errorf("%d tokens cannot be taken out", left)
	}
	if err := w.conserved(); err != nil {
		return w, err
	}
	return w, estake.Audit(w.scan)
}

func TestHistories(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1)
				if seed > int64(*histories) || t.Failed() {
					return
				}
				if _, err := history(uint64(seed), false); err != nil {
					w, err := history(uint64(seed), true)
					var b bytes.Buffer
					for _, line := range w.log {
						fmt.Fprintln(&b, line)
					}
					t.Errorf("seed %d: %v\n%s", seed, err, b.String())
					return
				}
			}
		})
	}
	wg.Wait()
}

// Every kind of transaction must succeed often in the histories, or they show
// nothing.
func TestHistoriesAreBusy(t *testing.T) {
	done := map[estake.Kind]int{}
	for seed := range uint64(1000) {
		w, err := history(1+seed, true)
		require.NoError(t, err)
		for _, e := range w.log {
			if e.err == nil {
				done[e.tx.Kind()]++
			}
		}
	}
	t.Log(done)
	for kind := estake.KindStake; kind <= estake.KindEvidence; kind++ {
		require.Greater(t, done[kind], 20, "kind %d", kind)
	}
}
