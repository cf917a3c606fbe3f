package statesync_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/statesync"
)

// world is a chain that everybody can compute: epoch e has blocks
// e·epochBlocks … and a committee whose "certificate" is a hash.
type world struct {
	net      *simnet.Net
	keys     []shardkit.Hash // of the state, ascending
	blockDue time.Duration   // time between blocks
	base     uint64          // height at time 0
	window   uint64          // heights whose state is served
	padding  int             // bytes in each committee
}

const epochBlocks = 10

func newWorld(keys, base int) *world {
	w := &world{blockDue: 500 * time.Millisecond, base: uint64(base), window: 20}
	for i := range keys {
		w.keys = append(w.keys, sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))))
	}
	slices.SortFunc(w.keys, func(a, b shardkit.Hash) int { return bytes.Compare(a[:], b[:]) })
	return w
}

func (w *world) height() uint64 {
	if w.net == nil {
		return w.base
	}
	return w.base + uint64(w.net.Now()/w.blockDue)
}

func (w *world) committee(e shardkit.Epoch) []byte {
	return append(fmt.Appendf(nil, "committee %d", e), make([]byte, w.padding)...)
}

func digest(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return h.Sum(nil)
}

func (w *world) header(h uint64) []byte {
	header := fmt.Appendf(nil, "header %d of epoch %d root %x", h, h/epochBlocks, w.root(h))
	if h%epochBlocks == 0 {
		header = fmt.Appendf(header, " next %x", digest(w.committee(shardkit.Epoch(h/epochBlocks+1))))
	}
	return header
}

func (w *world) cert(h uint64) []byte {
	return digest([]byte("certificate"), w.committee(shardkit.Epoch(h/epochBlocks)), w.header(h))
}

func (w *world) body(h uint64) []byte { return bytes.Repeat([]byte{byte(h)}, int(h%7)*100) }

func (w *world) root(h uint64) shardkit.Hash {
	return shardkit.Hash(digest([]byte("root"), binary.BigEndian.AppendUint64(nil, h)))
}

// value of a key at a height: most never change.
func (w *world) value(h uint64, k shardkit.Hash) []byte {
	if k[31]%16 == 0 {
		return fmt.Appendf(nil, "value at %d", h)
	}
	return k[:k[30]%32]
}

// chunk is the pairs after from: root, done, from, then the pairs.
func (w *world) chunk(h uint64, from shardkit.Hash, maxBytes int) []byte {
	i, _ := slices.BinarySearchFunc(w.keys, from, func(a, b shardkit.Hash) int { return bytes.Compare(a[:], b[:]) })
	root := w.root(h)
	out := append(append(slices.Clone(root[:]), 0), from[:]...)
	for n := 0; i < len(w.keys) && (n == 0 || len(out) < maxBytes); n++ {
		out = append(append(out, w.keys[i][:]...), digest(w.value(h, w.keys[i]))...)
		i++
	}
	if i == len(w.keys) {
		out[32] = 1
	}
	return out
}

var errForged = errors.New("forged")

// checkChunk compares a chunk with the truth and returns its pairs.
func (w *world) checkChunk(root, from shardkit.Hash, chunk []byte) (pairs []byte, next shardkit.Hash, done bool, err error) {
	if len(chunk) < 65 || shardkit.Hash(chunk) != root || shardkit.Hash(chunk[33:]) != from {
		return nil, next, false, errForged
	}
	h := uint64(0)
	for ; w.root(h) != root; h++ {
		if h > 10_000 {
			return nil, next, false, errForged
		}
	}
	if !bytes.Equal(chunk, w.chunk(h, from, len(chunk))) {
		return nil, next, false, errForged
	}
	pairs = chunk[65:]
	if chunk[32] == 1 {
		return pairs, next, true, nil
	}
	next = shardkit.Hash(pairs[len(pairs)-64:])
	for i := 31; i >= 0; i-- { // the hash after the last one
		if next[i]++; next[i] != 0 {
			break
		}
	}
	return pairs, next, false, nil
}

func (w *world) hop(e shardkit.Epoch) statesync.Hop {
	h := uint64(e) * epochBlocks
	return statesync.Hop{Epoch: e, Header: w.header(h), Cert: w.cert(h), Committee: w.committee(e + 1)}
}

func (w *world) head(h uint64) *statesync.Head {
	return &statesync.Head{
		Epoch: shardkit.Epoch(h / epochBlocks), Height: shardkit.Height(h), Root: w.root(h),
		Header: w.header(h), Cert: w.cert(h),
	}
}

func (w *world) block(h uint64) statesync.Block {
	return statesync.Block{Height: shardkit.Height(h), Header: w.header(h), Cert: w.cert(h), Body: w.body(h)}
}

// serving is the honest server's configuration.
func (w *world) serving() statesync.ServerConfig {
	return statesync.ServerConfig{
		Hops: func(from shardkit.Epoch, most int) func() ([]statesync.Hop, error) {
			return func() (out []statesync.Hop, err error) {
				for e := from; len(out) < most && uint64(e) <= w.height()/epochBlocks; e++ {
					out = append(out, w.hop(e))
				}
				return out, nil
			}
		},
		Head: func() func() (*statesync.Head, error) {
			return func() (*statesync.Head, error) { return w.head(w.height()), nil }
		},
		Range: func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() ([]byte, error) {
			return func() ([]byte, error) {
				if now := w.height(); uint64(h) > now || uint64(h)+w.window < now {
					return nil, errors.New("pruned")
				}
				return w.chunk(uint64(h), from, maxBytes), nil
			}
		},
		Blocks: func(from shardkit.Height, most, maxBytes int) func() ([]statesync.Block, error) {
			return func() (out []statesync.Block, err error) {
				for h := uint64(from); len(out) < most && h <= w.height(); h++ {
					out = append(out, w.block(h))
				}
				return out, nil
			}
		},
		MaxBytes: 4096,
	}
}

// host is a serving node.
type host struct{ *statesync.Server }

func (h host) Effects() simnet.Effects {
	r := h.Ready()
	return simnet.Effects{Messages: r.Messages, Jobs: r.Jobs}
}

// disk is what survives a crash of a joining node.
type disk struct {
	head   *statesync.Head
	chunks map[shardkit.Hash][]byte
	hops   shardkit.Epoch // newest verified
	ready  bool
	ranges int // written in this and earlier lives
	begins int
}

// joiner is a joining node: the client and the little that an application does.
type joiner struct {
	t       testing.TB
	w       *world
	disk    *disk
	client  *statesync.Client
	now     time.Duration
	synced  *statesync.Synced
	applied shardkit.Height
	bad     []statesync.BadPeer
	err     error
	stall   bool // blocks are taken and not applied
	onDisk  bool // a job is at the disk
	waiting int  // chunks checked and not written
	given   int

	maxBytes int
}

func newJoiner(t testing.TB, w *world, d *disk, peers []shardkit.NodeID, edit func(*statesync.ClientConfig)) *joiner {
	j := &joiner{t: t, w: w, disk: d}
	cfg := statesync.ClientConfig{
		CheckHop: func(committee []byte, h statesync.Hop) func() error {
			return func() error {
				want := w.hop(h.Epoch)
				if !bytes.Equal(h.Header, want.Header) || !bytes.Equal(h.Committee, want.Committee) ||
					!bytes.Equal(h.Cert, digest([]byte("certificate"), committee, h.Header)) {
					return errForged
				}
				d.hops = max(d.hops, h.Epoch)
				return nil
			}
		},
		CheckHead: func(committee []byte, h statesync.Head) func() error {
			return func() error {
				want := w.head(uint64(h.Height))
				if h.Epoch != want.Epoch || h.Root != want.Root || !bytes.Equal(h.Header, want.Header) ||
					!bytes.Equal(h.Cert, digest([]byte("certificate"), committee, h.Header)) {
					return errForged
				}
				return nil
			}
		},
		Begin: func(h statesync.Head) func() (shardkit.Hash, error) {
			return func() (shardkit.Hash, error) { return j.begin(h), nil }
		},
		Gaps: func() func() ([]statesync.Gap, error) {
			return func() ([]statesync.Gap, error) { return j.gaps(), nil }
		},
		CheckRange: func(root, from shardkit.Hash, chunk []byte) func() (shardkit.Hash, bool, error) {
			return func() (shardkit.Hash, bool, error) {
				if string(chunk) == "loop" {
					return from, false, nil
				}
				_, next, done, err := w.checkChunk(root, from, chunk)
				return next, done, err
			}
		},
		Write: func(from shardkit.Hash, chunk []byte) func() error {
			return func() error {
				require.Equal(t, d.head.Root, shardkit.Hash(chunk), "written under the head that was begun")
				d.chunks[from] = chunk
				d.ranges++
				return nil
			}
		},
		Finish: func(h statesync.Head) func() error { return func() error { return j.finish(h) } },
		CheckBlock: func(b statesync.Block) func() error {
			return func() error {
				want := w.block(uint64(b.Height))
				if !bytes.Equal(b.Header, want.Header) || !bytes.Equal(b.Cert, want.Cert) || !bytes.Equal(b.Body, want.Body) {
					return errForged
				}
				return nil
			}
		},
		MaxBytes: 4096,
	}
	if edit != nil {
		edit(&cfg)
	}
	j.maxBytes = cfg.MaxBytes
	c, err := statesync.NewClient(cfg)
	require.NoError(t, err)
	j.client = c
	c.SetPeers(0, peers)
	if d.ready {
		j.applied = d.head.Height
		c.Follow(0, j.applied+1)
		return j
	}
	if d.head != nil {
		c.Resume(*d.head)
	}
	c.Trust(d.hops, w.committee(d.hops))
	c.Sync(0, d.hops, w.committee(d.hops+1))
	return j
}

// begin finds the first gap in what was written for this head.
func (j *joiner) begin(h statesync.Head) (resume shardkit.Hash) {
	j.disk.begins++
	if j.disk.head == nil || j.disk.head.Root != h.Root {
		j.disk.head, j.disk.chunks = &h, map[shardkit.Hash][]byte{}
	}
	for {
		chunk, ok := j.disk.chunks[resume]
		if !ok {
			return resume
		}
		_, next, done, err := j.w.checkChunk(h.Root, resume, chunk)
		require.NoError(j.t, err)
		if done {
			return resume
		}
		resume = next
	}
}

// gaps finds all gaps.
func (j *joiner) gaps() (gaps []statesync.Gap) {
	root := j.disk.head.Root
	starts := slices.SortedFunc(maps.Keys(j.disk.chunks), func(a, b shardkit.Hash) int { return bytes.Compare(a[:], b[:]) })
	at, end := shardkit.Hash{}, false
	for _, from := range starts {
		if !end && bytes.Compare(from[:], at[:]) > 0 {
			gaps = append(gaps, statesync.Gap{From: at, To: from})
		}
		_, next, done, err := j.w.checkChunk(root, from, j.disk.chunks[from])
		require.NoError(j.t, err)
		if end = end || done; bytes.Compare(next[:], at[:]) > 0 {
			at = next
		}
	}
	if !end {
		gaps = append(gaps, statesync.Gap{From: at})
	}
	return gaps
}

// finish checks that the written chunks are the whole state.
func (j *joiner) finish(h statesync.Head) error {
	covered := map[shardkit.Hash]bool{}
	for from, chunk := range j.disk.chunks {
		pairs, _, _, err := j.w.checkChunk(h.Root, from, chunk)
		if err != nil {
			return err
		}
		for ; len(pairs) > 0; pairs = pairs[64:] {
			covered[shardkit.Hash(pairs)] = true
		}
	}
	if len(covered) != len(j.w.keys) {
		return fmt.Errorf("%d of %d keys", len(covered), len(j.w.keys))
	}
	j.disk.ready = true
	return nil
}

func (j *joiner) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	j.now = now
	return j.client.Deliver(now, from, msg)
}
func (j *joiner) Done(now time.Duration, r any)           { j.now = now; j.client.Done(now, r) }
func (j *joiner) Persisted(now time.Duration, seq uint64) { j.client.Persisted(now, seq) }
func (j *joiner) Tick(now time.Duration)                  { j.now = now; j.client.Tick(now) }
func (j *joiner) Wake() (at time.Duration, ok bool)       { return j.client.Wake() }
func (j *joiner) height() uint64                          { return uint64(j.applied) }
func (j *joiner) Effects() (e simnet.Effects) {
	for {
		r := j.client.Ready()
		for i := range r.Jobs {
			j.watch(&r.Jobs[i])
		}
		e.Messages, e.Jobs = append(e.Messages, r.Messages...), append(e.Jobs, r.Jobs...)
		j.bad = append(j.bad, r.Bad...)
		if r.Err != nil {
			j.err = r.Err
		}
		if r.Synced != nil {
			j.synced = r.Synced
			h := r.Synced.Head
			require.Equal(j.t, j.w.committee(h.Epoch), r.Synced.Committee)
			require.Equal(j.t, j.w.committee(h.Epoch+1), r.Synced.Next)
			j.applied = h.Height
			j.client.Applied(j.now, h.Height)
		}
		for _, b := range r.Blocks {
			j.given++
			if j.stall {
				continue
			}
			require.Equal(j.t, j.applied+1, b.Height, "blocks come in order")
			require.Equal(j.t, j.w.block(uint64(b.Height)), b)
			j.applied = b.Height
			j.disk.head = j.w.head(uint64(b.Height))
		}
		if len(r.Blocks) > 0 && !j.stall {
			j.client.Applied(j.now, j.applied)
		}
		if r.Synced == nil && len(r.Blocks) == 0 {
			return e
		}
	}
}

// watch checks what must hold of jobs: one at a time touches the disk, and what
// is checked is not larger than what may be asked for.
func (j *joiner) watch(job *shardkit.Job) {
	kind := job.Kind
	switch kind {
	case "statesync.range":
		require.LessOrEqual(j.t, job.Size, 2*j.maxBytes+256<<10)
		run := job.Run
		job.Run = func() any {
			j.waiting++
			return run()
		}
	case "statesync.begin", "statesync.write", "statesync.finish":
		require.False(j.t, j.onDisk, job.Kind)
		j.onDisk = true
		run := job.Run
		job.Run = func() any {
			j.onDisk = false
			if kind == "statesync.write" {
				j.waiting--
			}
			return run()
		}
	}
}

func nodeID(i int) shardkit.NodeID { return shardkit.NodeID{byte(i >> 8), byte(i), 1} }

// scene is a network of servers and one joining node.
type scene struct {
	t      testing.TB
	w      *world
	net    *simnet.Net
	hosts  []shardkit.NodeID
	silent []shardkit.NodeID // of hosts: what they send to the joiner is lost
	joiner shardkit.NodeID
	disk   *disk
	edit   func(*statesync.ClientConfig)
}

func newScene(t testing.TB, w *world, cfg simnet.Config) *scene {
	if cfg.Latency == nil {
		cfg.Latency = func(_, _ shardkit.NodeID) time.Duration { return 20 * time.Millisecond }
	}
	net, err := simnet.New(cfg)
	require.NoError(t, err)
	w.net = net
	return &scene{t: t, w: w, net: net, joiner: shardkit.NodeID{255}, disk: &disk{}}
}

// host adds a server; edit makes it misbehave.
func (s *scene) host(edit func(*statesync.ServerConfig)) shardkit.NodeID {
	id := nodeID(len(s.hosts))
	s.hosts = append(s.hosts, id)
	require.NoError(s.t, s.net.Add(id, func([][]byte) (simnet.Node, error) {
		cfg := s.w.serving()
		if edit != nil {
			edit(&cfg)
		}
		server, err := statesync.NewServer(cfg)
		return host{server}, err
	}))
	return id
}

// join adds the joining node.
func (s *scene) join() {
	require.NoError(s.t, s.net.Add(s.joiner, func([][]byte) (simnet.Node, error) {
		return newJoiner(s.t, s.w, s.disk, s.hosts, s.edit), nil
	}))
	for _, id := range s.silent {
		s.net.Block(id, s.joiner, true)
	}
}

func (s *scene) node() *joiner {
	n, _ := s.net.Node(s.joiner).(*joiner)
	return n
}

// upToDate reports whether the node has every block but the newest few.
func (s *scene) upToDate() bool {
	j := s.node()
	return j != nil && s.disk.ready && j.height()+3 >= s.w.height()
}
