package chain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// TestHistory: an account's history, asked for page by page like a wallet does,
// explains its balance to the last token, and every transfer has its fate in
// both shards.
func TestHistory(t *testing.T) {
	w := newWorld(t, options{seed: 91, shards: 2, nodes: 8, policy: "cuckoo", history: true})
	w.net.Run(6 * time.Second)
	w.wallet.stopped = true
	require.True(t, w.net.RunUntil(w.wallet.idle, w.net.Now()+10*time.Second), w.status())
	w.net.Run(w.net.Now() + 200*time.Millisecond)
	request := uint64(1 << 40)
	ask := func(s shardkit.ShardID, msg func(request uint64) []byte) *Notice {
		request++
		return w.ask(w.wallet.validator(s), msg(request), request)
	}
	pages, sent, arrived := 0, 0, 0
	for _, a := range w.wallet.accounts {
		balance := uint64(1_000_000)
		var before *ledger.Move
		for {
			p := ask(a.shard, func(n uint64) []byte { return History(a.shard, n, a.addr, before) }).Page
			require.True(t, p.Kept)
			if len(p.Lines) == 0 {
				break
			}
			pages++
			for i := range p.Lines {
				l := &p.Lines[i]
				require.Empty(t, l.Failed)
				if l.Arrived {
					arrived++
					balance += l.Receipt.Amount
					continue
				}
				if tx := l.Transaction; tx.Sender() == a.addr {
					sent++
					require.Equal(t, tx.Fee, l.Fee)
					balance -= tx.Amount + l.Fee
				}
				if l.Transaction.To == a.addr {
					balance += l.Transaction.Amount
				}
			}
			before = &p.Lines[len(p.Lines)-1].Move
		}
		acc := ask(a.shard, func(n uint64) []byte { return Accounts(a.shard, n, []ledger.Address{a.addr}) }).Accounts[0]
		require.Equal(t, acc.Balance, balance)
	}
	require.Greater(t, pages, len(w.wallet.accounts), "some have more than one")
	require.Equal(t, w.wallet.done, sent)
	require.Positive(t, arrived)

	for _, x := range w.wallet.accepted {
		find := func(s shardkit.ShardID) Fate {
			return ask(s, func(n uint64) []byte { return Find(s, n, []shardkit.Hash{x.ID}) }).Found[0]
		}
		at := find(x.Source)
		require.Positive(t, at.Included)
		require.Equal(t, uint64(1), at.Fee)
		if x.Source != x.Dest {
			require.Zero(t, at.Delivered)
			at = find(x.Dest)
			require.Equal(t, Fate{Delivered: at.Delivered}, at)
			require.Positive(t, at.Delivered)
		}
	}
	nobody := ask(0, func(n uint64) []byte { return Find(0, n, []shardkit.Hash{{1}}) }).Found
	require.Equal(t, []Fate{{}}, nobody)
	require.Empty(t, w.faults)

	w = newWorld(t, options{seed: 91, shards: 2, nodes: 8})
	w.net.Run(time.Second)
	a := w.wallet.accounts[0]
	p := ask(a.shard, func(n uint64) []byte { return History(a.shard, n, a.addr, nil) }).Page
	require.Equal(t, &Page{}, p, "it keeps none")
}

// TestAnswersLost: what a replica was asked when it was retired is not charged
// to the node's other replicas.
func TestAnswersLost(t *testing.T) {
	w := newWorld(t, options{seed: 92, shards: 2, nodes: 8})
	two := func() *simNode {
		for _, id := range w.ids {
			if n := w.nodes[id.node]; len(n.replicas) == 2 && n.replicas[0].ready() && n.replicas[1].ready() {
				return n
			}
		}
		return nil
	}
	require.True(t, w.net.RunUntil(func() bool { return two() != nil }, 20*time.Second))
	n := two()
	gone, other := n.replicas[0], n.replicas[1]
	for range maxAdmit {
		require.NoError(t, gone.wallet(w.net.Now(), w.wallet.id, Find(gone.shard, 1, nil)[5:]))
	}
	require.ErrorIs(t, gone.wallet(w.net.Now(), w.wallet.id, Find(gone.shard, 1, nil)[5:]), errBusy)
	n.retire(w.net.Now(), gone)
	for _, j := range n.Ready().Jobs {
		n.Done(w.net.Now(), j.Run())
	}
	require.NoError(t, other.wallet(w.net.Now(), w.wallet.id, Find(other.shard, 1, nil)[5:]))
}
