package chain

import (
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vdf/drg"
)

var storms = flag.Int("storms", 3, "seeds of the test of a double voter in bad weather")

// doubleVotes makes a node sign every commit vote of view 0 twice: once for
// the block, once for another.
func doubleVotes(liar func() *simIdentity) func(*simNode, []shardkit.Message) []shardkit.Message {
	return func(n *simNode, list []shardkit.Message) []shardkit.Message {
		if len(list) == 0 || n.id != liar().node {
			return list
		}
		for _, m := range list {
			rd := wire.NewReader(m.Data)
			proto, shard := rd.U8(), shardkit.ShardID(rd.U32())
			rd.U8() // version
			kind := rd.U8()
			rd.U32()
			height, view, phase, block := shardkit.Height(rd.U64()), rd.U64(), fbft.Phase(rd.U8()), shardkit.Hash(rd.Array32())
			r := n.replica(shard)
			if rd.Err() != nil || proto != protoConsensus || kind != 2 || phase != fbft.Commit || view != 0 || !r.ready() || r.tip.height+1 != height {
				continue
			}
			block[0] ^= 1
			ct := fbft.Certificate{
				Phase: phase, Epoch: r.tip.out.meta.next(), Height: height, Block: block, Committee: r.tip.out.committee.Hash(),
			}
			sig, err := liar().signer.Sign(ct.Statement(n.ID(), shard))
			if err != nil {
				panic(err)
			}
			const heading = 5 + 14
			data := append([]byte(nil), m.Data[:heading+8+1]...)
			data = append(append(data, block[:]...), make([]byte, 32)...)
			m.Data = wire.AppendBytes(data, sig)
			list = append(list, m)
		}
		return list
	}
}

// TestDoubleVote: in a shard that is not the beacon somebody votes for two
// blocks. It is found out, reported to the beacon, slashed, and elected no more;
// nobody else is.
func TestDoubleVote(t *testing.T) {
	for _, real := range []bool{false, true} {
		if real && (raceEnabled || testing.Short()) {
			break
		}
		var w *world
		opt := options{seed: 51, shards: 2, nodes: 10, real: real}
		var liar int
		opt.stake = func(p *estake.Params) { p.EvidenceEpochs, p.LockEpochs = 2, 5 }
		opt.twist = doubleVotes(func() *simIdentity { return w.ids[liar] })
		w = newWorld(t, opt)
		homes := w.genesis.Homes()
		for homes[w.ids[liar].node] != 1 {
			liar++
		}
		banned := func() bool { return w.beacon() != nil && w.verdict(liar).Reason == estake.Banned }
		require.True(t, w.net.RunUntil(banned, 10*time.Second), w.status())
		require.Zero(t, w.beacon().tip.out.meta.Epoch, "none of those who saw it has a seat in the beacon")
		st := w.beacon().chain.State().Begin()
		burned, err := estake.Burned(st)
		st.Discard()
		require.NoError(t, err)
		require.Positive(t, burned)
		require.Positive(t, w.events[Accused])
		if real {
			break // the rest has nothing to do with signatures
		}
		unseated := func() bool {
			sets := w.beacon().core.sets
			return !sets[len(sets)-1].Has(w.ids[liar].node)
		}
		require.True(t, w.net.RunUntil(unseated, 20*time.Second), w.status())
		w.net.Run(w.net.Now() + 4*time.Second)
		for i := range w.ids {
			require.Equal(t, i == liar, w.verdict(i).Reason == estake.Banned, "node %d", i)
		}
		w.wallet.stopped = true
		require.True(t, w.net.RunUntil(w.wallet.idle, 20*time.Second), w.status())
		require.Empty(t, w.faults)
		require.True(t, w.audit().OK())
	}
}

// TestEvidenceUnderLoad: who reports an offence pays nothing, and need not have
// anything to pay with. The report has its place in a block all the same when
// there are more transactions than blocks have room for, and no one else would
// be admitted without a fee.
func TestEvidenceUnderLoad(t *testing.T) {
	var w *world
	var liar int
	w = newWorld(t, options{
		seed: 57, shards: 2, nodes: 10, room: 2, pool: ledger.MempoolConfig{MinFee: 1, MaxCount: 8},
		twist: doubleVotes(func() *simIdentity { return w.ids[liar] }),
	})
	homes := w.genesis.Homes()
	for homes[w.ids[liar].node] != 1 {
		liar++
	}
	banned := func() bool { return w.beacon() != nil && w.verdict(liar).Reason == estake.Banned }
	require.True(t, w.net.RunUntil(banned, 5*time.Second), w.status())
	require.Greater(t, w.beacon().pool.Len(), 2, "else there was room for it")
	w.wallet.stopped = true
	require.True(t, w.net.RunUntil(w.wallet.idle, 60*time.Second), w.status())
	require.Empty(t, w.faults)
	for _, id := range w.ids {
		if r := w.nodes[id.node].replica(0); r != nil && r.seated() {
			require.Zero(t, r.docket.Len(), "what was filed twice has gone")
		}
	}
	require.True(t, w.audit().OK())
}

// TestEvidenceRefused: what does not prove that a slot's owner double-signed
// in a shard and epoch of this chain punishes nobody.
func TestEvidenceRefused(t *testing.T) {
	w := newWorld(t, options{seed: 52, shards: 2, nodes: 8, stake: func(p *estake.Params) { p.EvidenceEpochs, p.LockEpochs = 2, 5 }})
	w.wallet.stopped = true
	past := func(e shardkit.Epoch) func() bool {
		return func() bool { return w.beacon() != nil && w.beacon().committedEpoch() >= e }
	}
	require.True(t, w.net.RunUntil(past(1), 20*time.Second))
	b := w.beacon()
	const epoch = 0
	state := func() *ledger.Stage { return w.beacon().chain.State().Begin() }
	seats, ok, err := loadSeats(state(), epoch, 1)
	require.NoError(t, err)
	require.True(t, ok)
	committee, err := b.rules.committee(seats)
	require.NoError(t, err)
	liar := w.of(seats[0])
	// half is a vote of the liar.
	half := func(chain shardkit.Hash, shard shardkit.ShardID, epoch shardkit.Epoch, block byte) fbft.Half {
		ct := fbft.Certificate{Phase: fbft.Commit, Epoch: epoch, Height: 3, Block: shardkit.Hash{block}, Committee: committee.Hash()}
		sig, err := liar.signer.Sign(ct.Statement(chain, shard))
		require.NoError(t, err)
		v, err := w.scheme(keysOf(seats))
		require.NoError(t, err)
		h := fbft.Half{Phase: fbft.Commit, Block: ct.Block, Signers: fbft.NewBitmap(len(seats))}
		h.Signers.Set(0)
		h.Aggregate, _ = v.Combine(ct.Statement(chain, shard), []int{0}, [][]byte{sig})
		return h
	}
	proof := func(chain shardkit.Hash, shard shardkit.ShardID, epoch shardkit.Epoch, change func(*fbft.Evidence)) []byte {
		ev := fbft.Evidence{Epoch: epoch, Height: 3, Committee: committee.Hash(), First: half(chain, shard, epoch, 1), Second: half(chain, shard, epoch, 2)}
		if change != nil {
			change(&ev)
		}
		raw, err := ev.AppendBinary(nil)
		require.NoError(t, err)
		return EvidenceProof(1, raw)
	}
	id := b.core.id
	good := proof(id, 1, epoch, nil)
	report := func(slot shardkit.Hash, epoch shardkit.Epoch, proof []byte, state *ledger.Stage) error {
		key := beaconKey("somebody", 2)
		public := [32]byte(key.Public().(ed25519.PublicKey))
		acc, err := ledger.GetAccount(state, ledger.AddressOf(public[:]))
		require.NoError(t, err)
		tx, err := NewStaking(id, estake.Evidence{Slot: slot, Epoch: epoch, Proof: proof}, acc.Nonce, 0)
		require.NoError(t, err)
		tx.From = public
		var m meta
		require.NoError(t, load(state, keyMeta, &m))
		ctx := &ledger.Context{Chain: id, Shards: 2, Epoch: m.next()}
		_, err = b.rules.executor.Execute(ctx, state, &tx, nil)
		return err
	}
	refused := func(why error, slot shardkit.Hash, epoch shardkit.Epoch, proof []byte) {
		t.Helper()
		require.ErrorContains(t, report(slot, epoch, proof, state()), string(StakingReason(why)))
	}
	guilty := seats[0].Slot
	refused(estake.ErrEvidence, guilty, epoch, good[1:])
	refused(estake.ErrEvidence, guilty, epoch, append(good[:len(good):len(good)], 0))
	refused(estake.ErrEvidence, seats[1].Slot, epoch, good)
	refused(estake.ErrEvidence, guilty, epoch, proof(shardkit.Hash{1}, 1, epoch, nil)) // another chain's votes
	refused(estake.ErrEvidence, guilty, epoch, proof(id, 0, epoch, nil))               // another shard's
	refused(estake.ErrEvidence, guilty, epoch+1, good)                                 // it claims another epoch
	refused(estake.ErrEvidence, guilty, epoch, proof(id, 1, epoch, func(ev *fbft.Evidence) { ev.Height++ }))
	refused(estake.ErrEvidence, guilty, epoch, proof(id, 1, epoch, func(ev *fbft.Evidence) { ev.Second = ev.First }))
	refused(estake.ErrEvidence, seats[1].Slot, epoch, proof(id, 1, epoch, func(ev *fbft.Evidence) {
		ev.First.Signers.Set(1)
		ev.Second.Signers.Set(1)
	}))
	refused(estake.ErrUnknown, shardkit.Hash{1}, epoch, good)

	ahead := func(proof []byte) error {
		key := beaconKey("somebody", 2)
		tx, err := NewStaking(id, estake.Evidence{Slot: guilty, Epoch: epoch, Proof: proof}, 1, 0)
		require.NoError(t, err)
		tx.Sign(key)
		raw, err := tx.AppendBinary(nil)
		require.NoError(t, err)
		_, _, errs := b.rules.admit(b.chain.State(), [][]byte{raw})
		return errs[0]
	}
	require.ErrorContains(t, ahead(good), string(ledger.ReasonNonceHigh), "nobody could say yet whether it is true when its turn comes")

	once := state()
	require.NoError(t, report(guilty, epoch, good, once))
	other := proof(id, 1, epoch, func(ev *fbft.Evidence) { ev.Second = half(id, 1, epoch, 3) })
	err = report(guilty, epoch, other, once)
	require.ErrorContains(t, err, string(StakingReason(estake.ErrKnown)), "one epoch's offences are one")

	// It stays good to the end of the evidence period and no longer, though
	// every shard has left that epoch behind.
	require.True(t, w.net.RunUntil(func() bool {
		out := w.beacon().tip.out
		return out.meta.Epoch == 2 && out.links[1].Epoch == 2 && w.beacon().committed == w.beacon().tip.height
	}, 20*time.Second))
	require.NoError(t, report(guilty, epoch, good, state()))
	require.True(t, w.net.RunUntil(past(3), 20*time.Second))
	refused(estake.ErrExpired, guilty, epoch, good)
	require.True(t, w.net.RunUntil(past(4), 20*time.Second))
	_, ok, err = loadSeats(state(), epoch, 1)
	require.NoError(t, err)
	require.False(t, ok, "the committees of an epoch whose offences are past go")
}

// committedEpoch is the epoch of the block after the committed state.
func (r *replica) committedEpoch() shardkit.Epoch {
	st := r.chain.State().Begin()
	defer st.Discard()
	var m meta
	if err := load(st, keyMeta, &m); err != nil {
		panic(err)
	}
	return m.next()
}

// of returns whose seat it is.
func (w *world) of(s Seat) *simIdentity {
	for _, id := range w.ids {
		if id.node == s.Node {
			return id
		}
	}
	return nil
}

// TestEvidenceGossip: evidence from strangers, and floods of it, are not kept.
func TestEvidenceGossip(t *testing.T) {
	w := newWorld(t, options{seed: 53, shards: 2, nodes: 8})
	w.net.Run(time.Second)
	b := w.beacon()
	now := w.net.Now()
	require.ErrorContains(t, b.onEvidence(now, shardkit.NodeID{1}, []byte{1}), "without a seat")
	seated := w.ids[0].node
	if seated == b.core.cfg.Self {
		seated = w.ids[1].node
	}
	require.ErrorContains(t, b.onEvidence(now, seated, make([]byte, estake.MaxEvidence+1)), "too long")
	require.Error(t, b.onEvidence(now, seated, []byte{1}), "not even of the form of evidence")
	forged := func(i int) []byte {
		return InputProof(&drg.Evidence{Epoch: drawAhead, Attempt: uint32(i), Slot: shardkit.Hash{byte(i)}})
	}
	for i := range 100 {
		require.NoError(t, b.onEvidence(now, seated, forged(i)))
	}
	require.Len(t, b.core.accusations, maxFrom)
	for i := range 100 {
		require.NoError(t, b.core.accuse(now, b.core.cfg.Self, forged(100+i)))
	}
	require.Len(t, b.core.accusations, maxFrom+maxAccusations)
	for i := range 100 {
		require.NoError(t, b.core.accuse(now, shardkit.NodeID{1, byte(i)}, forged(200+i)))
	}
	require.Len(t, b.core.accusations, 2*maxAccusations, "however many peers there are")
	w.net.Run(now + time.Second)
	require.Empty(t, b.core.accusations, "none of it is evidence")
}

func TestEvidenceProofGolden(t *testing.T) {
	require.Equal(t, "01"+"01"+"00000007"+"00000002"+"abcd", hex.EncodeToString(EvidenceProof(7, []byte{0xab, 0xcd})))
}

func FuzzEvidenceProof(f *testing.F) {
	half := func(block byte) fbft.Half {
		return fbft.Half{Phase: fbft.Commit, Block: shardkit.Hash{block}, Signers: fbft.Bitmap{1}, Aggregate: []byte{1}}
	}
	raw, _ := (&fbft.Evidence{Epoch: 1, Height: 2, First: half(1), Second: half(2)}).AppendBinary(nil)
	f.Add(InputProof(&drg.Evidence{Epoch: 7, Attempt: 1}))
	reencode(f, EvidenceProof(3, raw), decodeProof, func(o *offence) []byte {
		if o.input != nil {
			return InputProof(o.input)
		}
		raw, _ := o.votes.AppendBinary(nil)
		return EvidenceProof(o.shard, raw)
	})
}

// TestDoubleVoteStorm: the same in bad weather. The shards outlive it, and
// nobody else is punished.
func TestDoubleVoteStorm(t *testing.T) {
	n := uint64(*storms)
	if raceEnabled || testing.Short() {
		n = min(n, 1)
	}
	for seed := range n {
		var w *world
		liar := int(seed % 10)
		w = newWorld(t, options{
			seed: 500 + seed, shards: 2, nodes: 10, net: storm(seed),
			twist: doubleVotes(func() *simIdentity { return w.ids[liar] }),
		})
		require.Empty(t, w.play(3*time.Second, 60*time.Second), "seed %d", seed)
		banned := func() bool { return w.beacon() != nil && w.verdict(liar).Reason == estake.Banned }
		require.True(t, w.net.RunUntil(banned, w.net.Now()+20*time.Second), "seed %d: %s", seed, w.status())
		for i := range w.ids {
			require.Equal(t, i == liar, w.verdict(i).Reason == estake.Banned, "seed %d node %d", seed, i)
		}
	}
}

// falseInputs makes a node send and sign what is not its VRF output.
func falseInputs(liar func() *simIdentity) func(*simNode, []shardkit.Message) []shardkit.Message {
	const heading = 5 + 2 + 8 + 4 // of the node's message, and of the contribution up to its slot
	return func(n *simNode, list []shardkit.Message) []shardkit.Message {
		if len(list) == 0 || n.id != liar().node {
			return list
		}
		for i, m := range list {
			if m.Data[0] != protoDraw {
				continue
			}
			data := append([]byte(nil), m.Data...)
			round, pi := data[heading-12:heading], data[heading+32:heading+32+80]
			pi[len(pi)-1] ^= 1
			id, alpha := n.ID(), n.replica(0).round.alpha
			msg := append([]byte("shardkit/drg/input/1shardkit/drg/vrf/1"), id[:]...)
			msg = append(append(msg, round...), alpha[:]...)
			msg = append(append(msg, data[heading:heading+32]...), pi...)
			copy(data[len(data)-64:], liar().sign(msg))
			list[i].Data = data
		}
		return list
	}
}

// TestFalseInput: a member of the beacon contributes to a drawing what is not
// its VRF output. The drawing goes on without it, and it is punished; nobody
// else is.
func TestFalseInput(t *testing.T) {
	var w *world
	var liar int
	w = newWorld(t, options{seed: 54, shards: 2, nodes: 10, twist: falseInputs(func() *simIdentity { return w.ids[liar] })})
	homes := w.genesis.Homes()
	for homes[w.ids[liar].node] != 0 {
		liar++
	}
	banned := func() bool { return w.beacon() != nil && w.verdict(liar).Reason == estake.Banned }
	require.True(t, w.net.RunUntil(banned, 20*time.Second), w.status())
	w.net.Run(w.net.Now() + 2*time.Second)
	for i := range w.ids {
		require.Equal(t, i == liar, w.verdict(i).Reason == estake.Banned, "node %d", i)
	}
	require.Positive(t, w.events[Elected], "drawn without it")
	require.Empty(t, w.faults)
}

// TestEvidenceAfterCrash: somebody votes for two blocks once. Those who have
// seen it crash before the beacon hears of it, the only witnesses that there
// are; what they found is filed after their restart.
func TestEvidenceAfterCrash(t *testing.T) {
	for _, blocks := range []shardkit.Height{0, 12} {
		var w *world
		var liar int
		mute := true // nobody files evidence, and none leaves a node
		witnesses, reporters := map[shardkit.NodeID]bool{}, map[shardkit.NodeID]ed25519.PrivateKey{}
		lies := doubleVotes(func() *simIdentity { return w.ids[liar] })
		opt := options{seed: 55, shards: 2, nodes: 10, stake: func(p *estake.Params) { p.EvidenceEpochs, p.LockEpochs = 2, 5 }}
		opt.twist = func(n *simNode, list []shardkit.Message) []shardkit.Message {
			if mute && n.cfg.Reporter != nil {
				reporters[n.id], n.cfg.Reporter = n.cfg.Reporter, nil
			}
			if len(n.accusations) > 0 {
				witnesses[n.id] = true
			}
			if len(witnesses) == 0 {
				list = lies(n, list)
			}
			return slices.DeleteFunc(list, func(m shardkit.Message) bool { return mute && m.Data[0] == protoEvidence })
		}
		w = newWorld(t, opt)
		homes := w.genesis.Homes()
		for homes[w.ids[liar].node] != 1 {
			liar++
		}
		require.True(t, w.net.RunUntil(func() bool { return len(witnesses) > 0 }, 10*time.Second))
		// The log goes on, and what is old in it is dropped.
		until := w.height(1) + blocks
		require.True(t, w.net.RunUntil(func() bool { return w.height(1) >= until }, w.net.Now()+10*time.Second))
		w.net.Run(w.net.Now() + 100*time.Millisecond)
		for _, id := range w.ids {
			if witnesses[id.node] {
				w.crash(id.node)
			}
		}
		w.net.Run(w.net.Now() + 100*time.Millisecond)
		mute = false
		for _, id := range w.ids {
			w.restart(id.node)
			w.nodes[id.node].cfg.Reporter = reporters[id.node]
		}
		banned := func() bool { return w.beacon() != nil && w.verdict(liar).Reason == estake.Banned }
		require.True(t, w.net.RunUntil(banned, w.net.Now()+5*time.Second), w.status())
		require.Empty(t, w.faults)
	}
}

// height is how far a shard is, at the node that is furthest.
func (w *world) height(s shardkit.ShardID) (h shardkit.Height) {
	for _, id := range w.ids {
		if n := w.nodes[id.node]; n != nil {
			h = max(h, n.height(s))
		}
	}
	return h
}

// TestEvidenceExpires: what a node has found it tells again and again, until
// the offence is too old to be punished.
func TestEvidenceExpires(t *testing.T) {
	w := newWorld(t, options{seed: 56, shards: 2, nodes: 8, stake: func(p *estake.Params) { p.EvidenceEpochs = 1 }})
	w.net.Run(100 * time.Millisecond)
	n := w.nodes[w.ids[0].node]
	n.cfg.Reporter = nil
	require.NoError(t, n.accuse(w.net.Now(), n.cfg.Self, InputProof(&drg.Evidence{Epoch: drawAhead})))
	in := func(e shardkit.Epoch) func() bool { return func() bool { return n.newest >= e } }
	require.True(t, w.net.RunUntil(in(1), 20*time.Second))
	require.Len(t, n.accusations, 1)
	tries := n.accusations[0].tries
	require.Positive(t, tries)
	require.True(t, w.net.RunUntil(in(2), 20*time.Second))
	w.net.Run(w.net.Now() + time.Second)
	require.Empty(t, n.accusations)
}
