package erasure_test

import (
	"fmt"
	"testing"

	"github.com/shardkit/shardkit/erasure"
)

var benchShapes = [][2]int{{2, 4}, {8, 22}, {34, 100}, {84, 250}}

func BenchmarkEncode(b *testing.B) {
	for _, s := range benchShapes {
		for _, size := range []int{64 << 10, 2 << 20} {
			b.Run(fmt.Sprintf("k=%d/n=%d/bytes=%d", s[0], s[1], size), func(b *testing.B) {
				coder, _ := encode(b, s[0], s[1], body(size))
				data := body(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := coder.Encode(data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRebuild is from the last K chunks, with all proofs verified and the
// second encoding.
func BenchmarkRebuild(b *testing.B) {
	for _, s := range benchShapes {
		for _, size := range []int{64 << 10, 2 << 20} {
			b.Run(fmt.Sprintf("k=%d/n=%d/bytes=%d", s[0], s[1], size), func(b *testing.B) {
				coder, coded := encode(b, s[0], s[1], body(size))
				var chunks []erasure.Chunk
				for i := s[1] - s[0]; i < s[1]; i++ {
					chunks = append(chunks, coded.Chunk(i))
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					for i := range chunks {
						if err := coded.Ref.Verify(&chunks[i]); err != nil {
							b.Fatal(err)
						}
					}
					if _, err := coder.Rebuild(coded.Ref, chunks); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkNewDeal(b *testing.B) {
	for _, m := range []int{4, 250, 1000} {
		b.Run(fmt.Sprintf("members=%d", m), func(b *testing.B) {
			ws := equal(m)
			for i := range ws {
				ws[i] += uint64(i % 17)
			}
			g := group(ws...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := erasure.NewDeal(g); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
