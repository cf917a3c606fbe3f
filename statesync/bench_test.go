package statesync_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/statesync"
)

// BenchmarkJoin lets a node join over links of 100 Mbit/s, 50 ms from four
// servers. x-link is its virtual time over the time that the state's bytes
// alone take on its link; x-bytes the bytes it got over those of the state.
func BenchmarkJoin(b *testing.B) {
	for _, keys := range []int{20_000, 1_000_000} {
		b.Run(fmt.Sprintf("bytes=%d", keys*64), func(b *testing.B) {
			const link = 100e6 / 8
			var took, bytes float64
			for b.Loop() {
				s := newScene(b, newWorld(keys, 205), simnet.Config{
					Bandwidth: link,
					Latency:   func(_, _ shardkit.NodeID) time.Duration { return 25 * time.Millisecond },
				})
				s.w.window = 1000
				for range 4 {
					s.host(func(c *statesync.ServerConfig) { c.MaxBytes = 0 })
				}
				s.edit = func(c *statesync.ClientConfig) {
					c.MaxBytes = 512 << 10
					c.CheckRange = trusting()
				}
				s.join()
				require.True(b, s.net.RunUntil(func() bool { return s.node().synced != nil }, time.Hour))
				took += s.net.Now().Seconds()
				bytes += float64(s.node().client.Stats().Bytes)
			}
			state := float64(keys * 64 * b.N)
			b.ReportMetric(took*link/state, "x-link")
			b.ReportMetric(bytes/state, "x-bytes")
		})
	}
}

// trusting finds where a chunk ends, and checks nothing.
func trusting() func(root, from shardkit.Hash, chunk []byte) func() (shardkit.Hash, bool, error) {
	return func(_, _ shardkit.Hash, chunk []byte) func() (shardkit.Hash, bool, error) {
		return func() (next shardkit.Hash, done bool, err error) {
			if chunk[32] == 1 {
				return next, true, nil
			}
			next = shardkit.Hash(chunk[len(chunk)-64:])
			next[31]++ // fits in a benchmark
			return next, false, nil
		}
	}
}

// epochs is a chain of hops with real certificates: committees of n members of
// which each epoch a tenth is new.
type epochs struct {
	n       int
	keys    []*bls.SecretKey
	headers [][]byte
	certs   [][]byte // of all members but the last tenth
}

func newEpochs(b *testing.B, n, count int) *epochs {
	e := &epochs{n: n}
	for i := range n + n/10*count {
		k, err := bls.GenerateKey(fmt.Appendf(nil, "the seed of a benchmark key, number %06d", i))
		require.NoError(b, err)
		e.keys = append(e.keys, k)
	}
	for i := range count {
		header := fmt.Appendf(nil, "header of epoch %d", i)
		var sigs [][]byte
		for _, m := range e.signers() {
			sig, err := e.keys[i*n/10+m].Sign(header)
			require.NoError(b, err)
			sigs = append(sigs, sig)
		}
		c, err := bls.NewCommittee(e.committee(i), [32]byte{})
		require.NoError(b, err)
		cert, bad := c.Combine(header, e.signers(), sigs)
		require.Empty(b, bad)
		e.headers, e.certs = append(e.headers, header), append(e.certs, cert)
	}
	return e
}

func (e *epochs) signers() (members []int) {
	for i := range e.n - e.n/10 {
		members = append(members, i)
	}
	return members
}

func (e *epochs) committee(epoch int) (keys [][]byte) {
	for _, k := range e.keys[epoch*e.n/10:][:e.n] {
		keys = append(keys, k.Public())
	}
	return keys
}

// BenchmarkHops verifies 64 epochs of a committee of 100, as CheckHop does one
// by one, and as CheckHops can: with the keys of the epoch before known and
// all certificates in one batch. It includes what a hop's committee costs.
func BenchmarkHops(b *testing.B) {
	const n, count = 100, 64
	e := newEpochs(b, n, count)
	committees := make([][][]byte, count)
	for i := range committees {
		committees[i] = e.committee(i)
	}
	report := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*count), "µs/epoch")
		b.ReportMetric(float64(n*bls.KeySize+len(e.headers[0])+len(e.certs[0])), "B/epoch")
	}
	b.Run("batch=1", func(b *testing.B) {
		for b.Loop() {
			for i, keys := range committees {
				c, err := bls.NewCommittee(keys, [32]byte{})
				require.NoError(b, err)
				require.NoError(b, c.Verify(e.headers[i], e.signers(), e.certs[i]))
			}
		}
		report(b)
	})
	b.Run("batch=64", func(b *testing.B) {
		for b.Loop() {
			ring := bls.NewKeyring(2 * n)
			var claims []bls.Claim
			for i, keys := range committees {
				c, err := ring.NewCommittee(keys, [32]byte{})
				require.NoError(b, err)
				claims = append(claims, bls.Claim{
					Committee: c, Statement: e.headers[i], Members: e.signers(), Aggregate: e.certs[i],
				})
			}
			require.NoError(b, bls.VerifyClaims(sha256.Sum256([]byte("seed")), claims))
		}
		report(b)
	})
}

// BenchmarkServe is the cost of a request on the serving side, without the
// reading.
func BenchmarkServe(b *testing.B) {
	chunk := make([]byte, 64<<10)
	cfg := newWorld(1, 1).serving()
	cfg.Range = func(shardkit.Height, shardkit.Hash, int) func() ([]byte, error) {
		return func() ([]byte, error) { return chunk, nil }
	}
	s, err := statesync.NewServer(cfg)
	require.NoError(b, err)
	// A range request as on the wire: version, kind, id, height, from, most.
	question := slices.Concat([]byte{1, 3}, make([]byte, 8), make([]byte, 8), make([]byte, 32), []byte{0, 1, 0, 0})
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Deliver(0, shardkit.NodeID{1}, question); err != nil {
			b.Fatal(err)
		}
		for _, j := range s.Ready().Jobs {
			s.Done(0, j.Run())
		}
		if len(s.Ready().Messages) != 1 {
			b.Fatal("no answer")
		}
	}
}

// BenchmarkFollow is the cost of a block to the core of a client that catches
// up, without checks, network and application.
func BenchmarkFollow(b *testing.B) {
	w := newWorld(1, 1<<40)
	cfg := w.serving()
	block := statesync.Block{Header: make([]byte, 300), Cert: make([]byte, 100), Body: make([]byte, 20_000)}
	cfg.Blocks = func(from shardkit.Height, most, _ int) func() ([]statesync.Block, error) {
		return func() ([]statesync.Block, error) { return slices.Repeat([]statesync.Block{block}, most), nil }
	}
	cfg.MaxBytes = 512 << 10
	s, err := statesync.NewServer(cfg)
	require.NoError(b, err)
	peer := nodeID(0)
	j := newJoiner(b, w, &disk{}, []shardkit.NodeID{peer}, func(c *statesync.ClientConfig) {
		c.CheckBlock = func(statesync.Block) func() error { return func() error { return nil } }
	})
	c, height, blocks := j.client, shardkit.Height(100), 0
	c.Follow(0, height)
	b.ReportAllocs()
	for b.Loop() {
		r := c.Ready()
		for _, m := range r.Messages {
			require.NoError(b, s.Deliver(0, m.To, m.Data))
			for _, job := range s.Ready().Jobs {
				s.Done(0, job.Run())
			}
			require.NoError(b, c.Deliver(0, peer, s.Ready().Messages[0].Data))
		}
		for _, job := range r.Jobs {
			c.Done(0, job.Run())
		}
		if n := len(r.Blocks); n > 0 {
			blocks += n
			c.Applied(0, r.Blocks[n-1].Height)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(blocks), "µs/block")
}
