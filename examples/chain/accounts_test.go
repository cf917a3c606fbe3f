package chain

import (
	"crypto/ed25519"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// TestAdmittedLate: a transaction's signature is checked, and its sender's
// account read, while the block with the one before it is decided. It can go
// into the next block all the same; also if that took so long that the account
// has to be read again.
func TestAdmittedLate(t *testing.T) {
	for _, slow := range []bool{false, true} {
		w := newWorld(t, options{seed: 93, shards: 2, nodes: 8, blocks: 200})
		w.net.Run(time.Second)
		a := w.wallet.accounts[0]
		seated := func() (list []*replica) {
			for _, id := range w.ids {
				if r := w.nodes[id.node].replica(a.shard); r != nil && r.seated() {
					list = append(list, r)
				}
			}
			return list
		}
		waits := func() bool {
			return a.tx != nil && !slices.ContainsFunc(seated(), func(r *replica) bool { return nonceOf(t, r, a) != a.tx.Nonce })
		}
		require.True(t, w.net.RunUntil(waits, 10*time.Second))
		w.wallet.stopped = true
		next := *a.tx
		next.Nonce++
		next.Sign(a.key)
		raw, err := next.AppendBinary(nil)
		require.NoError(t, err)
		var r *replica
		var res admittedResult
		for _, r = range seated() {
			require.NoError(t, r.admit(r.core.cfg.Self, 0, false, [][]byte{raw}))
			res = r.core.Ready().Jobs[0].Run().(routed).result.(admittedResult)
			require.Equal(t, a.tx.Nonce, res.accounts[0].Nonce, "else the test shows nothing")
		}
		late := func() bool {
			_, recent := r.recent.newest[a.addr]
			return a.tx == nil && recent != slow
		}
		require.True(t, w.net.RunUntil(late, w.net.Now()+20*time.Second), w.status())
		w.net.Run(w.net.Now() + 50*time.Millisecond)
		r.onAdmitted(w.net.Now(), res)
		for _, j := range r.core.Ready().Jobs {
			r.core.Done(w.net.Now(), j.Run())
		}
		require.Len(t, r.pool.Select(10, 1<<20, nil), 1, "slow %v", slow)
	}
}

// nonceOf reads an account's nonce from a replica's committed state.
func nonceOf(t *testing.T, r *replica, a *simAccount) uint64 {
	st := r.chain.State().Begin()
	defer st.Discard()
	acc, err := ledger.GetAccount(st, a.addr)
	require.NoError(t, err)
	return acc.Nonce
}

// TestRecentAccounts: an account read from any state from which the blocks are
// still known becomes the newest one; what is too old is known to be.
func TestRecentAccounts(t *testing.T) {
	const begin, blocks = 7, 4 * maxRecent
	addr := func(h shardkit.Height) ledger.Address { return ledger.Address{byte(h % 5)} }
	var a recentAccounts
	a.begin(begin)
	states := []map[ledger.Address]ledger.Account{begin: {}}
	for h := shardkit.Height(begin + 1); h < begin+blocks; h++ {
		next := maps.Clone(states[h-1])
		next[addr(h)] = ledger.Account{Nonce: uint64(h)}
		states = append(states, next)
		a.add([]touched{{addr(h), next[addr(h)]}})
		for from := shardkit.Height(begin); from <= h; from++ {
			require.Equal(t, from+maxRecent >= h, a.know(from), "%d of %d", from, h)
			for x := range next {
				if a.know(from) {
					require.Equal(t, next[x], a.at(x, from, states[from][x]), "%d of %d", from, h)
				}
			}
		}
	}
	require.LessOrEqual(t, len(a.newest), 5)
}

// TestNoWork: a transaction that waits for one before it is no reason to make
// blocks: whoever sends it pays nothing.
func TestNoWork(t *testing.T) {
	w := newWorld(t, options{seed: 94, shards: 2, nodes: 8, blocks: 200})
	w.net.Run(time.Second)
	w.wallet.stopped = true
	require.True(t, w.net.RunUntil(w.wallet.idle, w.net.Now()+20*time.Second), w.status())
	a := w.wallet.accounts[0]
	made := func() shardkit.Height {
		before := w.height(a.shard)
		w.net.Run(w.net.Now() + 4*time.Second)
		return w.height(a.shard) - before
	}
	idle := made()
	require.Positive(t, idle, "heartbeats")
	tx := ledger.Transaction{
		Chain: w.genesis.ID(), Shard: a.shard, From: [32]byte(a.key.Public().(ed25519.PublicKey)),
		Nonce: a.nonce + 1, To: a.addr, Amount: 1, Fee: 1,
	}
	tx.Sign(a.key)
	msg, err := Submit(a.shard, 1<<40, []ledger.Transaction{tx})
	require.NoError(t, err)
	for _, id := range w.ids {
		w.wallet.send(id.node, msg)
	}
	w.net.Run(w.net.Now() + time.Second)
	holds := func(id *simIdentity) bool {
		r := w.nodes[id.node].replica(a.shard)
		return r != nil && r.pool.Has(tx.ID())
	}
	require.True(t, slices.ContainsFunc(w.ids, holds))
	require.LessOrEqual(t, made(), idle+2)
}
