package xshard_test

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/xshard"
)

var seeds = flag.Int("xshard.seeds", 60, "seeds of the simulation")

const (
	simShards = 3
	simBlocks = 40
	simEpoch  = 10 // blocks of an epoch; the beacon's blocks say who certifies the next
	simPace   = 100 * ms
)

// simHeader is a source block's header, as far as receipts go.
type simHeader struct {
	shard  shardkit.ShardID
	height shardkit.Height
	epoch  uint64
	parent shardkit.Hash
	outbox shardkit.Hash
}

func (h *simHeader) encode() []byte {
	b := wire.AppendU32(nil, uint32(h.shard))
	b = wire.AppendU64(b, uint64(h.height))
	b = wire.AppendU64(b, h.epoch)
	b = append(b, h.parent[:]...)
	return append(b, h.outbox[:]...)
}

func decodeSimHeader(b []byte) (h simHeader, err error) {
	rd := wire.NewReader(b)
	h.shard = shardkit.ShardID(rd.U32())
	h.height = shardkit.Height(rd.U64())
	h.epoch = rd.U64()
	h.parent = rd.Array32()
	h.outbox = rd.Array32()
	return h, rd.Close()
}

// certify stands for a committee's certificate.
func certify(header []byte) []byte {
	h := sha256.Sum256(append([]byte("certificate"), header...))
	return h[:]
}

// world is what the shards decided: the same at all their replicas.
type world struct {
	net    *simnet.Net
	chains [simShards][]map[shardkit.ShardID]xshard.Packet // by height-1 and destination
	sent   [simShards][simShards]uint64
}

func newWorld(t testing.TB, rng *rand.Rand) *world {
	w := &world{}
	for s := range shardkit.ShardID(simShards) {
		var parent shardkit.Hash
		for h := shardkit.Height(1); h <= simBlocks; h++ {
			out := xshard.NewOutbox(s, simShards, func(d shardkit.ShardID) uint64 { return w.sent[s][d] })
			for range rng.IntN(6) {
				if d := shardkit.ShardID(rng.IntN(simShards)); d != s {
					_, err := out.Add(receipt(d, int(h)))
					require.NoError(t, err)
				}
			}
			header := (&simHeader{s, h, uint64(h-1) / simEpoch, parent, out.Root()}).encode()
			parent = sha256.Sum256(header)
			packets := map[shardkit.ShardID]xshard.Packet{}
			for d := range shardkit.ShardID(simShards) {
				if d == s {
					continue
				}
				batch := out.Batch(d)
				enc, err := batch.AppendBinary(nil)
				require.NoError(t, err)
				packets[d] = xshard.Packet{Source: s, Height: h, Header: header, Cert: certify(header), Batch: enc}
				w.sent[s][d] = out.Next(d)
			}
			w.chains[s] = append(w.chains[s], packets)
		}
	}
	return w
}

// disk is what a replica keeps over a crash: its ledger.
type disk struct {
	height   shardkit.Height // own blocks committed
	included [simShards]shardkit.Height
	inbox    xshard.Inbox
	digest   shardkit.Hash // of all receipts taken, in order
}

// replica is a member of a shard: a relay with the little of a chain that it
// needs.
type replica struct {
	t     testing.TB
	w     *world
	self  shardkit.NodeID
	shard shardkit.ShardID
	disk  *disk
	relay *xshard.Relay
	next  time.Duration
	liar  *rand.Rand // nil: honest
	lies  []shardkit.Message
}

func newReplica(t testing.TB, w *world, s shardkit.ShardID, i, members int, d *disk, liar *rand.Rand) (*replica, error) {
	r := &replica{t: t, w: w, self: node(s, i), shard: s, disk: d, liar: liar}
	var err error
	r.relay, err = xshard.NewRelay(xshard.RelayConfig{
		Self: r.self, Shard: s, Poll: 200 * ms, MaxQueue: 16, MaxPacket: 1 << 16,
		Load:  r.load,
		Check: r.check,
	})
	for s := range shardkit.ShardID(simShards) {
		r.relay.Included(0, s, d.included[s])
		r.relay.SetMembers(0, s, nodes(s, members))
	}
	return r, err
}

func (r *replica) load(dest shardkit.ShardID, from shardkit.Height, n, _ int) func() []xshard.Packet {
	head := r.disk.height
	return func() (ps []xshard.Packet) {
		for h := max(from, 1); h <= head && len(ps) < n; h++ {
			ps = append(ps, r.w.chains[r.shard][h-1][dest])
		}
		return ps
	}
}

// known is the last epoch whose committees the replica knows, from the beacon
// blocks that its own chain has linked.
func (r *replica) known() uint64 {
	h := r.disk.included[0]
	if r.shard == 0 {
		h = r.disk.height
	}
	return 1 + uint64(h)/simEpoch
}

func (r *replica) check(run []xshard.Packet) func() (int, error) {
	known := r.known()
	for i := range run {
		require.Equal(r.t, run[0].Height+shardkit.Height(i), run[i].Height, "a run is consecutive")
	}
	return func() (int, error) {
		for i, p := range run {
			h, err := decodeSimHeader(p.Header)
			if err != nil {
				return i, err
			}
			if h.epoch > known {
				return i, nil
			}
			var b xshard.Batch
			switch {
			case h.height != p.Height || h.shard != p.Source:
				return i, errors.New("another block")
			case !slices.Equal(p.Cert, certify(p.Header)):
				return i, errForged
			}
			if err := errors.Join(b.UnmarshalBinary(p.Batch), b.Expect(h.shard, r.shard, simShards), xshard.VerifyBatch(h.outbox, &b)); err != nil {
				return i, err
			}
		}
		return len(run), nil
	}
}

// step is one round of the own chain: commit what is due, include what came.
func (r *replica) step(now time.Duration) {
	r.next = now + 50*ms
	for r.disk.height < simBlocks && r.w.net.Now() >= time.Duration(r.disk.height+1)*simPace {
		r.disk.height++
		var out []xshard.Addressed
		for d := range shardkit.ShardID(simShards) {
			if d != r.shard {
				out = append(out, xshard.Addressed{Dest: d, Packet: r.w.chains[r.shard][r.disk.height-1][d]})
			}
		}
		r.relay.Committed(now, out)
	}
	for s := range shardkit.ShardID(simShards) {
		arrived := r.relay.Arrived(s)
		for _, p := range arrived[:min(len(arrived), 5)] {
			r.include(p)
		}
		r.relay.Included(now, s, r.disk.included[s])
	}
}

func (r *replica) include(p xshard.Packet) {
	d := r.disk
	require.Equal(r.t, d.included[p.Source]+1, p.Height)
	require.Equal(r.t, r.w.chains[p.Source][p.Height-1][r.shard], p, "only what was sent")
	var b xshard.Batch
	require.NoError(r.t, b.UnmarshalBinary(p.Batch))
	require.NoError(r.t, d.inbox.Accept(&b), "exactly once, in order")
	d.included[p.Source] = p.Height
	d.digest = sha256.Sum256(append(d.digest[:], p.Batch...))
}

func (r *replica) done() bool {
	for s := range shardkit.ShardID(simShards) {
		if s != r.shard && r.disk.included[s] < simBlocks {
			return false
		}
	}
	return true
}

func (r *replica) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	return r.relay.Deliver(now, from, msg)
}
func (r *replica) Done(now time.Duration, result any)      { r.relay.Done(now, result) }
func (r *replica) Persisted(now time.Duration, seq uint64) { r.relay.Persisted(now, seq) }
func (r *replica) Wake() (at time.Duration, ok bool) {
	at, ok = r.relay.Wake()
	if !ok || r.next < at {
		at = r.next
	}
	return at, true
}

func (r *replica) Tick(now time.Duration) {
	r.relay.Tick(now)
	if now >= r.next {
		r.step(now)
		r.lie()
	}
}

func (r *replica) Effects() simnet.Effects {
	ready := r.relay.Ready()
	if r.liar != nil { // it withholds half of what it should send
		ready.Messages = slices.DeleteFunc(ready.Messages, func(shardkit.Message) bool { return r.liar.IntN(2) == 0 })
	}
	e := simnet.Effects{Messages: append(ready.Messages, r.lies...), Jobs: ready.Jobs}
	r.lies = nil
	return e
}

// lie sends what a hostile member might: forged certificates, blocks of epochs
// that nobody can judge yet, good blocks with bytes changed, floods of polls.
func (r *replica) lie() {
	if r.liar == nil {
		return
	}
	for d := range shardkit.ShardID(simShards) {
		if d == r.shard {
			continue
		}
		to := node(d, r.liar.IntN(4))
		h := shardkit.Height(1 + r.liar.IntN(simBlocks))
		p := r.w.chains[r.shard][h-1][d]
		header, _ := decodeSimHeader(p.Header)
		msg := pushMsg(d, p)
		switch r.liar.IntN(4) {
		case 0:
			header.outbox[0]++
			p.Header = header.encode()
			msg = pushMsg(d, p)
		case 1:
			header.epoch = 1000
			p.Header = header.encode()
			msg = pushMsg(d, p)
		case 2:
			msg[r.liar.IntN(len(msg))]++
		case 3:
			msg = pollMsg(d, r.shard, r.liar.Uint64(), h, 256)
		}
		r.lies = append(r.lies, shardkit.Message{To: to, Data: msg})
	}
}

// simulate runs one history: three shards of four members, one of each hostile,
// on a bad network, with members that crash.
func simulate(t testing.TB, seed uint64) shardkit.Hash {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, rng)
	net, err := simnet.New(simnet.Config{
		Seed: seed, Jitter: 30 * ms, Loss: 0.1, Duplicate: 0.1, Reorder: 0.05,
		JobTime: func(shardkit.Job) time.Duration { return 3 * ms },
	})
	require.NoError(t, err)
	w.net = net
	const members = 4
	var honest []*disk
	var shards []shardkit.ShardID
	all := map[shardkit.NodeID]*replica{}
	for s := range shardkit.ShardID(simShards) {
		for i := range members {
			d := &disk{}
			var liar *rand.Rand
			if i == int(seed)%members {
				liar = rand.New(rand.NewPCG(seed, uint64(s)+2))
			} else {
				honest, shards = append(honest, d), append(shards, s)
			}
			require.NoError(t, net.Add(node(s, i), func([][]byte) (simnet.Node, error) {
				r, err := newReplica(t, w, s, i, members, d, liar)
				all[node(s, i)] = r
				return r, err
			}))
		}
	}
	for range 6 {
		id := node(shardkit.ShardID(rng.IntN(simShards)), rng.IntN(members))
		at := time.Duration(rng.IntN(4000)) * ms
		net.At(at, func() { net.Crash(id) })
		net.At(at+time.Duration(100+rng.IntN(1000))*ms, func() {
			if net.Node(id) == nil {
				require.NoError(t, net.Restart(id))
			}
		})
	}
	net.At(time.Second, func() { net.Partition(nodes(0, members), nodes(1, members)) })
	net.At(2*time.Second, net.Heal)

	done := func() bool {
		for s := range shardkit.ShardID(simShards) {
			for i := range members {
				if r := all[node(s, i)]; r.liar == nil && !r.done() {
					return false
				}
			}
		}
		return true
	}
	require.True(t, net.RunUntil(done, time.Minute), "seed %d: receipts did not arrive", seed)
	for i, d := range honest {
		for s := range shardkit.ShardID(simShards) {
			if s != shards[i] {
				require.Equal(t, w.sent[s][shards[i]], d.inbox.Next(s))
			}
		}
	}
	return net.Digest()
}

// TestExactlyOnceInOrder is the promise of the package, on bad networks.
func TestExactlyOnceInOrder(t *testing.T) {
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, seed)
		})
	}
}

func TestSameSeedSameHistory(t *testing.T) {
	require.Equal(t, simulate(t, 7), simulate(t, 7))
}
