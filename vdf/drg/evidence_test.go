package drg_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/vdf/drg"
	"github.com/shardkit/shardkit/vrf"
)

// deliver gives a message of member 1 to a core that signs, and returns what
// comes of it.
func deliver(t *testing.T, w *world, msg []byte) drg.Ready {
	core, err := drg.New(drg.Config{Params: demo, Self: w.ids[0], Sign: w.signers[0]})
	require.NoError(t, err)
	require.NoError(t, core.Start(0, w.round))
	require.NoError(t, core.Deliver(0, w.ids[1], msg))
	core.Done(0, core.Ready().Jobs[0].Run())
	return core.Ready()
}

// badEvidence is what convicts member 1 of w for a bit that is wrong.
func badEvidence(t *testing.T, w *world) drg.Evidence {
	m := w.round.Members[1]
	pi, err := w.keys[1].Prove(drg.AlphaOf(demo.Chain, &w.round, m.Slot))
	require.NoError(t, err)
	pi[70] ^= 1
	r := deliver(t, w, drg.InputBytes(demo.Chain, &w.round, m.Slot, pi, w.signers[1]))
	require.Equal(t, []drg.Member{m}, r.Invalid)
	require.Len(t, r.Evidence, 1)
	return r.Evidence[0]
}

func TestEvidence(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{}, nil)
	m := w.round.Members[1]
	e := badEvidence(t, w)
	require.NoError(t, e.Verify(demo.Chain, m))

	enc, err := e.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, goldenEvidence, hex.EncodeToString(enc))
	var again drg.Evidence
	require.NoError(t, again.UnmarshalBinary(enc))
	require.Equal(t, e, again)
	for n := range enc {
		require.ErrorIs(t, again.UnmarshalBinary(enc[:n]), drg.ErrMalformed)
	}
	require.ErrorIs(t, again.UnmarshalBinary(append(enc, 0)), drg.ErrMalformed)

	// Any other statement is not what was signed.
	for name, change := range map[string]func(e *drg.Evidence, chain *shardkit.Hash, m *drg.Member){
		"chain":     func(_ *drg.Evidence, chain *shardkit.Hash, _ *drg.Member) { chain[0]++ },
		"epoch":     func(e *drg.Evidence, _ *shardkit.Hash, _ *drg.Member) { e.Epoch++ },
		"attempt":   func(e *drg.Evidence, _ *shardkit.Hash, _ *drg.Member) { e.Attempt++ },
		"alpha":     func(e *drg.Evidence, _ *shardkit.Hash, _ *drg.Member) { e.Alpha[0]++ },
		"slot":      func(e *drg.Evidence, _ *shardkit.Hash, m *drg.Member) { e.Slot[0]++; m.Slot = e.Slot },
		"proof":     func(e *drg.Evidence, _ *shardkit.Hash, _ *drg.Member) { e.Proof[1]++ },
		"signature": func(e *drg.Evidence, _ *shardkit.Hash, _ *drg.Member) { e.Signature[1]++ },
		"node":      func(_ *drg.Evidence, _ *shardkit.Hash, m *drg.Member) { m.Node = w.ids[2] },
		"member":    func(_ *drg.Evidence, _ *shardkit.Hash, m *drg.Member) { *m = w.round.Members[2] },
		"no key":    func(_ *drg.Evidence, _ *shardkit.Hash, m *drg.Member) { m.Key = nil },
		"small key": func(_ *drg.Evidence, _ *shardkit.Hash, m *drg.Member) { m.Key = make([]byte, 32) },
	} {
		e, chain, m := e, demo.Chain, m
		change(&e, &chain, &m)
		require.ErrorIs(t, e.Verify(chain, m), drg.ErrEvidence, name)
	}
}

// A correct member's message convicts nobody: not as it is, and not with
// anything about it changed by another.
func TestNoEvidenceAgainstTheCorrect(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{}, nil)
	m := w.round.Members[1]
	pi, err := w.keys[1].Prove(drg.AlphaOf(demo.Chain, &w.round, m.Slot))
	require.NoError(t, err)
	msg := drg.InputBytes(demo.Chain, &w.round, m.Slot, pi, w.signers[1])
	r := deliver(t, w, msg)
	require.Empty(t, r.Invalid)
	require.Empty(t, r.Evidence)

	e := drg.Evidence{Epoch: w.round.Epoch, Attempt: w.round.Attempt, Alpha: w.round.Alpha, Slot: m.Slot}
	copy(e.Proof[:], pi)
	copy(e.Signature[:], msg[len(msg)-64:])
	err = e.Verify(demo.Chain, m)
	require.ErrorIs(t, err, drg.ErrEvidence)
	require.ErrorContains(t, err, "valid")

	// Nor does it convict another slot of the same node, which has another key.
	other := w.round.Members[2]
	other.Node = m.Node
	require.ErrorIs(t, e.Verify(demo.Chain, other), drg.ErrEvidence)

	// What was changed on the way is named, but convicts nobody.
	for i := len(msg) - len(pi) - 64; i < len(msg); i += 7 {
		bad := bytes.Clone(msg)
		bad[i] ^= 1
		r := deliver(t, w, bad)
		require.Empty(t, r.Evidence)
		require.Equal(t, i < len(msg)-64, len(r.Invalid) == 1) // a good proof needs no signature
	}
}

// A node that was given the wrong VRF key signs nothing that would convict it,
// and one that cannot sign sends nothing.
func TestWrongKeySendsNothing(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{}, nil)
	w.round.Leaders = w.ids[:1]
	for _, cfg := range []drg.Config{
		{Params: demo, Self: w.ids[1], Prove: w.keys[2].Prove, Sign: w.signers[1]},
		{Params: demo, Self: w.ids[1], Prove: w.keys[1].Prove, Sign: func([]byte) []byte { return nil }},
	} {
		core, err := drg.New(cfg)
		require.NoError(t, err)
		require.NoError(t, core.Start(0, w.round))
		core.Done(0, core.Ready().Jobs[0].Run())
		require.Empty(t, core.Ready().Messages)
	}
}

// Where all sign, a message without a signature is refused before anything is
// computed; where nobody does, a wrong output is named and that is all.
func TestUnsigned(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{}, nil)
	m := w.round.Members[1]
	msg := drg.InputBytes(demo.Chain, &w.round, m.Slot, make([]byte, vrf.EdwardsELL2.ProofSize()), nil)
	core, err := drg.New(drg.Config{Params: demo, Self: w.ids[0], Sign: w.signers[0]})
	require.NoError(t, err)
	require.NoError(t, core.Start(0, w.round))
	require.ErrorIs(t, core.Deliver(0, w.ids[1], msg), drg.ErrUnsigned)
	require.Empty(t, core.Ready().Jobs)

	core, err = drg.New(drg.Config{Params: demo, Self: w.ids[0]})
	require.NoError(t, err)
	require.NoError(t, core.Start(0, w.round))
	require.NoError(t, core.Deliver(0, w.ids[1], msg))
	core.Done(0, core.Ready().Jobs[0].Run())
	r := core.Ready()
	require.Equal(t, []drg.Member{m}, r.Invalid)
	require.Empty(t, r.Evidence)
	require.NoError(t, core.Deliver(0, w.ids[1], msg)) // it had its verification
	require.Empty(t, core.Ready().Jobs)
}

func FuzzEvidence(f *testing.F) {
	golden, err := hex.DecodeString(goldenEvidence)
	require.NoError(f, err)
	f.Add(golden)
	node, _ := identity(1)
	key, err := vrf.GenerateKey(vrf.EdwardsELL2, make([]byte, vrf.SeedSize))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		var e drg.Evidence
		if e.UnmarshalBinary(b) != nil {
			return
		}
		again, err := e.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, b, again)
		_ = e.Verify(demo.Chain, drg.Member{Node: node, Slot: e.Slot, Key: key.Public()})
	})
}

const goldenEvidence = "0105000000000000000500000000090000000000000000000000000000000000000000000000000000000000000017c53a7f" +
	"fb03a43de8d11b78f2dde1e5344c994518872e988c4fa3f5255da65bf0a7ab93b3bb0b23b14c7a51442182edc0d1242cdc2b" +
	"05b1b33a6284d0cf36dcfbfd758e048c87daf6f8bd410c2a662160fab423d03124945d5bd470c31bedb6c81693308d209436" +
	"251cef4cb5a80203ddeb5851339c18196607d985564fd91953c16f0c044ec9e27895eaa6a38f8b8a84635c09f501b9057fab" +
	"f2249b1d36e8f235631de774529a651de4ceacd2da0d"
