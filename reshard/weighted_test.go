package reshard_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/shardkit/shardkit/reshard"
	"github.com/stretchr/testify/require"
)

func TestWeightedTail(t *testing.T) {
	// One class is the hypergeometric tail.
	p, err := reshard.WeightedTail([]reshard.Class{{Weight: 3, Good: 60, Bad: 20}}, 30, rat(1, 3))
	require.NoError(t, err)
	require.Zero(t, p.Cmp(reshard.HypergeometricTail(80, 20, 30, 10)))

	// Against trying every draw.
	pool := []reshard.Class{{Weight: 1, Good: 3, Bad: 2}, {Weight: 2, Good: 4, Bad: 1}, {Weight: 5, Good: 1, Bad: 2}}
	type u struct {
		w   int64
		bad bool
	}
	var units []u
	for _, c := range pool {
		for i := range c.Good + c.Bad {
			units = append(units, u{int64(c.Weight), i >= c.Good})
		}
	}
	for n := 1; n <= len(units); n++ {
		for _, th := range []*big.Rat{rat(1, 3), rat(1, 2), rat(2, 5), rat(0, 1), rat(1, 1)} {
			hits, all := int64(0), int64(0)
			for set := range 1 << len(units) {
				count, bad, sum := 0, int64(0), int64(0)
				for i, x := range units {
					if set>>i&1 == 1 {
						count++
						sum += x.w
						if x.bad {
							bad += x.w
						}
					}
				}
				if count == n {
					all++
					if rat(bad, sum).Cmp(th) >= 0 {
						hits++
					}
				}
			}
			p, err := reshard.WeightedTail(pool, n, th)
			require.NoError(t, err)
			require.Zero(t, p.Cmp(rat(hits, all)), "%d units at %v: %v", n, th, p)
		}
	}

	_, err = reshard.WeightedTail(pool, 14, rat(1, 3))
	require.Error(t, err)
	_, err = reshard.WeightedTail([]reshard.Class{{Weight: 0, Good: 9}}, 4, rat(1, 3))
	require.Error(t, err)
}

// What a policy deals is part of a chain's rules: it must never change.
func TestGoldenAssignments(t *testing.T) {
	got := map[string]string{}
	for _, name := range reshard.Policies() {
		p := policy(t, name)
		prev := reshard.Assignment{}
		h := sha256.New()
		for e := range uint64(4) {
			next, moves, err := p.Assign(prev, unitRange(3*e, 60+2*e), 4, hash(e))
			require.NoError(t, err)
			for s, list := range next.Shards {
				for _, u := range list {
					h.Write(binary.BigEndian.AppendUint32(u.Slot[:], uint32(s)))
				}
			}
			h.Write([]byte{byte(len(moves))})
			prev = next
		}
		got[name] = hex.EncodeToString(h.Sum(nil)[:8])
	}
	require.Equal(t, golden, got)
}

var golden = map[string]string{
	"bounded":   "8e4af8b94820f219",
	"commensal": "708fc6728d26cfab",
	"cuckoo":    "af111e1512764930",
	"full":      "b75a1ea3e406a399",
	"gradual":   "acd536dc94338ebd",
	"pooled":    "9b23a42ac87504dd",
}
