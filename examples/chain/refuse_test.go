package chain

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
	"github.com/shardkit/shardkit/xshard"
)

// TestRefusedTransactions sends what must not be admitted, and expects to be
// told why.
func TestRefusedTransactions(t *testing.T) {
	w := newWorld(t, options{seed: 21, shards: 2, nodes: 8})
	w.wallet.stopped = true
	w.net.Run(time.Second)
	a := w.wallet.accounts[0]
	var to shardkit.NodeID
	for _, id := range w.ids {
		if w.nodes[id.node].replica(a.shard) != nil {
			to = id.node
		}
	}
	other := w.wallet.accounts[1]
	for _, b := range w.wallet.accounts {
		if b.shard != a.shard {
			other = b
		}
	}
	make := func(change func(*ledger.Transaction), key ed25519.PrivateKey) ledger.Transaction {
		tx := ledger.Transaction{
			Chain: w.genesis.ID(), Shard: a.shard, From: [32]byte(a.key.Public().(ed25519.PublicKey)), To: other.addr, Amount: 1, Fee: 1,
		}
		change(&tx)
		tx.Sign(key)
		return tx
	}
	txs := []ledger.Transaction{
		make(func(tx *ledger.Transaction) {}, a.key),
		make(func(tx *ledger.Transaction) {}, a.key),
		make(func(tx *ledger.Transaction) { tx.Chain[0] ^= 1 }, a.key),
		make(func(tx *ledger.Transaction) { tx.Shard ^= 1 }, a.key),
		make(func(tx *ledger.Transaction) { tx.Nonce = 1 << 40 }, a.key),
		make(func(tx *ledger.Transaction) { tx.Amount, tx.Nonce = 1<<50, 1 }, a.key),
		make(func(tx *ledger.Transaction) { tx.Expiry = 1 }, a.key),
		make(func(tx *ledger.Transaction) {
			tx.From, tx.Shard = [32]byte(other.key.Public().(ed25519.PublicKey)), a.shard
		}, other.key),
	}
	txs[1].Signature[40] ^= 1
	require.Equal(t, []string{
		"", "signature", "other chain", "other shard", "nonce too high", "insufficient balance", "expired", "other shard",
	}, w.submit(to, a.shard, txs))
}

// TestForeignCertificate: a header is worth what its own committee's
// certificate says, not another's.
func TestForeignCertificate(t *testing.T) {
	w := newWorld(t, options{seed: 22, shards: 2, nodes: 8})
	w.net.Run(time.Second)
	var r *replica
	for _, id := range w.ids {
		if n := w.nodes[id.node]; n.replicas[0].committed > 4 {
			r = n.replicas[0]
		}
	}
	block, err := r.chain.Block(3)
	require.NoError(t, err)
	raw, err := block.Header.AppendBinary(nil)
	require.NoError(t, err)
	seats := w.nodes[w.ids[0].node].sets[0].Shards
	check := func(seats []Seat, cert []byte) error {
		return r.rules.checkBlock(seats, statesync.Block{Height: 3, Header: raw, Cert: cert, Body: block.Body})
	}
	require.NoError(t, check(seats[r.shard], block.Certificate))
	require.ErrorContains(t, check(seats[1-r.shard], block.Certificate), "another committee")
	next, err := r.chain.Block(4)
	require.NoError(t, err)
	require.ErrorContains(t, check(seats[r.shard], next.Certificate), "another block")
	require.Error(t, check(seats[r.shard], block.Certificate[1:]))
	var q fbft.Certificate
	require.NoError(t, q.UnmarshalBinary(block.Certificate))
	q.Aggregate = append([]byte(nil), q.Aggregate...)
	q.Aggregate[0] ^= 1
	forged, err := q.AppendBinary(nil)
	require.NoError(t, err)
	require.Error(t, check(seats[r.shard], forged))
}

// TestForeignLink: links that skip a block, come from the own shard, or hold
// back receipts are invalid.
func TestForeignLink(t *testing.T) {
	w := newWorld(t, options{seed: 23, shards: 2, nodes: 8})
	w.net.Run(2 * time.Second)
	var from, to *replica
	for _, id := range w.ids {
		for _, r := range w.nodes[id.node].replicas {
			if r.shard == 1 {
				if len(r.loadPackets(0, 1, 1, 1<<20)()) > 0 { // or it has joined later
					from = r
				}
			} else {
				to = r
			}
		}
	}
	packets := from.loadPackets(0, 1, 10, 1<<20)()
	require.NotEmpty(t, packets)
	fresh := ledger.NewMemStore()
	res, err := to.rules.openChain(fresh, 0, true)
	require.NoError(t, err)
	link := func(packets ...xshard.Packet) error {
		l := &Link{Source: 1}
		for _, p := range packets {
			pk, err := decodePacket(p.Batch)
			require.NoError(t, err)
			l.Headers, l.Batches, l.Cert = append(l.Headers, p.Header), append(l.Batches, pk.Batch), p.Cert
		}
		_, err := to.rules.link(new(ledger.Context), res.chain.State().Begin(), new(xshard.Inbox), l)
		return err
	}
	require.NoError(t, link(packets[0], packets[1]))
	require.ErrorContains(t, link(packets[1]), "follows height 0")
	require.ErrorContains(t, link(packets[0], packets[0]), "follows height 1")
	cut := packets[1]
	cut.Cert = packets[0].Cert
	require.ErrorContains(t, link(packets[0], cut), "another block")
	for i, p := range packets {
		pk, _ := decodePacket(p.Batch)
		if !pk.Useful {
			continue
		}
		var b xshard.Batch
		require.NoError(t, b.UnmarshalBinary(pk.Batch))
		b.Receipts = nil
		pk.Batch, _ = b.AppendBinary(nil)
		bad := append([]xshard.Packet(nil), packets[:i+1]...)
		bad[i].Batch = pk.encode()
		require.ErrorIs(t, link(bad...), ErrInvalid, "receipts of height %d are held back", p.Height)
		return
	}
	t.Fatal("no block sent receipts")
}

// TestForeignData: a directory of another chain, or a damaged one, is refused
// with a clear error.
func TestForeignData(t *testing.T) {
	genesis := func(name string) (*Genesis, *Identity) {
		g := &Genesis{Name: name, Time: wallStart, Params: Params{
			Shards: 1, EpochBlocks: 100, Policy: "full", Stake: estake.DefaultParams(1), MaxTransactions: 10, MaxBody: 1 << 20,
			MaxDrift: 500, MaxRun: 4, VDFBits: 256, VDFT: 10, VDFBound: 1000, ShortDelay: true, DrawAfter: 2, DrawWindow: 5,
		}}
		id, err := NewIdentity([32]byte{1})
		require.NoError(t, err)
		slot, proof := id.Slot(name, [32]byte{2}, 0)
		g.Validators = []estake.Genesis{{Validator: [32]byte{2}, Stake: 1000, Slots: []estake.Slot{slot}}}
		g.Proofs = [][]byte{proof}
		return g, id
	}
	dir := t.TempDir()
	start := func(name string) error {
		g, id := genesis(name)
		final := make(chan struct{}, 100)
		n, err := StartNode(NodeConfig{Genesis: g, Identity: id, Dir: dir, Tune: func(c *Config) { c.Heartbeat = 20 * time.Millisecond },
			Events: func(_ time.Duration, e Event) {
				if e.Kind == Committed {
					select {
					case final <- struct{}{}:
					default:
					}
				}
			}})
		if err != nil {
			return err
		}
		select {
		case <-final:
		case <-n.Done():
		case <-time.After(20 * time.Second):
			t.Error("neither a block nor a failure")
		}
		return n.Close()
	}
	require.NoError(t, start("one"))
	require.NoError(t, start("one"), "it goes on")
	require.ErrorContains(t, start("two"), "another chain")

	stores, err := Stores(dir)
	require.NoError(t, err)
	for name := range stores {
		manifests, err := filepath.Glob(filepath.Join(name, "MANIFEST-*"))
		require.NoError(t, err)
		for _, m := range manifests {
			require.NoError(t, os.WriteFile(m, []byte("not a manifest"), 0o644))
		}
	}
	require.ErrorContains(t, start("one"), "open")

	g, _ := genesis("one")
	g.Proofs[0][5] ^= 1
	require.ErrorIs(t, g.Validate(bls.VerifyPossession), ErrGenesis)
}

// TestLogRecords: the node's log comes back sorted by replica, and what is not
// a record is refused.
func TestLogRecords(t *testing.T) {
	var l recordLog
	require.NoError(t, l.recover([][]byte{
		encodeRecord(recordBody, 1, 5, []byte("header"), []byte("body")), encodeRecord(recordVote, 1, 5, []byte("vote")),
		encodeRecord(recordVote, 2, 7, []byte("other")), encodeRecord(recordEvidence, 0, 0, []byte("evidence")),
	}))
	require.Equal(t, [][]byte{[]byte("vote")}, l.votes[1])
	require.Equal(t, []bodyRecord{{5, []byte("header"), []byte("body")}}, l.bodies[1])
	require.Equal(t, [][]byte{[]byte("evidence")}, l.evidence)
	require.Equal(t, uint64(1), l.add(2, 8))
	l.drop(1, 5)
	require.Zero(t, l.prune(), "an earlier life's record is still needed")
	l.drop(2, 8)
	require.Equal(t, uint64(1), l.prune())
	for _, bad := range [][]byte{nil, {9}, encodeRecord(9, 1, 1), append(encodeRecord(recordVote, 1, 1, nil), 0)} {
		require.ErrorContains(t, l.recover([][]byte{bad}), "log record 0")
	}
}
