package vdf_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/vdf"
)

func params(t testing.TB, bits int) *vdf.Params {
	p, err := vdf.NewParams([]byte("seed"), bits)
	require.NoError(t, err)
	return p
}

func TestEvaluateVerify(t *testing.T) {
	x := []byte("input")
	for _, bits := range []int{256, 512, 1024} {
		p := params(t, bits)
		d := p.Discriminant()
		require.Equal(t, bits, d.BitLen())
		require.Negative(t, d.Sign())
		require.EqualValues(t, 1, new(big.Int).Mod(d, big.NewInt(8)).Int64())
		for _, n := range []uint64{1, 2, 255, 256, 257, 300, 1000, 5003} {
			out, err := p.Evaluate(context.Background(), x, n, vdf.Options{Workers: int(n % 4)})
			require.NoError(t, err)
			require.Len(t, out, p.OutputSize())
			require.NoError(t, p.Verify(x, n, out))
			require.ErrorIs(t, p.Verify(x, n+1, out), vdf.ErrProof)
			require.ErrorIs(t, p.Verify([]byte("other"), n, out), vdf.ErrProof)
		}
	}
}

// Every number of workers and every plan gives the same bytes.
func TestProofIsUnique(t *testing.T) {
	p := params(t, 256)
	var first []byte
	for workers := 1; workers < 9; workers++ {
		out, err := p.Evaluate(context.Background(), []byte("x"), 20_000, vdf.Options{Workers: workers})
		require.NoError(t, err)
		if first == nil {
			first = out
		}
		require.Equal(t, first, out)
	}
}

// golden fixes the derivation of the discriminant from "seed" and the output
// for the input "x" and T = 1000, at 256 bits. Another value is another format.
var golden = struct{ d, out string }{
	d:   "-80c0fd700b955b4b763fe305f19128e19ae4331d0b91cb6404f2a2c1c3862d5f",
	out: "43b574cecf2ac2e5cf0bbb42884447c03e418106c8004fa4b6bbfc8ca220cfae1b9aebbe39737ef84d77ad2d1d743051065085cb7f1690734e614d44af92cb26",
}

func TestGolden(t *testing.T) {
	p := params(t, 256)
	require.Equal(t, golden.d, p.Discriminant().Text(16))
	out, err := p.Evaluate(context.Background(), []byte("x"), 1000, vdf.Options{})
	require.NoError(t, err)
	require.Equal(t, golden.out, hex.EncodeToString(out))
}

func TestTamper(t *testing.T) {
	p := params(t, 256)
	out, err := p.Evaluate(context.Background(), []byte("x"), 1000, vdf.Options{})
	require.NoError(t, err)
	for i := range 8 * len(out) {
		bad := bytes.Clone(out)
		bad[i/8] ^= 1 << (i % 8)
		require.Error(t, p.Verify([]byte("x"), 1000, bad), "bit %d", i)
	}
	require.ErrorIs(t, p.Verify([]byte("x"), 1000, out[1:]), vdf.ErrEncoding)
	require.ErrorIs(t, p.Verify([]byte("x"), 1000, append(out, 0)), vdf.ErrEncoding)
	require.ErrorIs(t, p.Verify([]byte("x"), 0, out), vdf.ErrParams)
	require.ErrorIs(t, p.Verify([]byte("x"), vdf.MaxT+1, out), vdf.ErrParams)
	for _, bits := range []int{0, 255, 128, 300, 8192, -64} {
		_, err := vdf.NewParams(nil, bits)
		require.ErrorIs(t, err, vdf.ErrParams)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	p := params(t, 256)
	calls := 0
	_, err := p.Evaluate(ctx, nil, 1<<40, vdf.Options{Progress: func(done, total uint64) {
		require.Equal(t, uint64(1<<40), total)
		if calls++; done > 10_000 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Greater(t, calls, 1)
}

// dying is a journal that fails after some writes, in the middle of one.
type dying struct {
	bytes.Buffer
	left int
}

var errDied = errors.New("no space left")

func (d *dying) Write(p []byte) (int, error) {
	if d.left--; d.left < 0 {
		d.Buffer.Write(p[:len(p)/2])
		return len(p) / 2, errDied
	}
	return d.Buffer.Write(p)
}

func TestJournal(t *testing.T) {
	p := params(t, 256)
	ctx, x, n := context.Background(), []byte("x"), uint64(30_000)
	want, err := p.Evaluate(ctx, x, n, vdf.Options{})
	require.NoError(t, err)

	// Three lives, each of which dies in a write.
	var journal []byte
	for range 3 {
		d := &dying{left: 500}
		_, err := p.Evaluate(ctx, x, n, vdf.Options{Journal: d, Resume: journal})
		require.ErrorIs(t, err, errDied)
		journal = journal[:p.JournalSize(int64(len(journal)))]
		journal = append(journal, d.Bytes()...)
	}
	first := uint64(1 << 63)
	got, err := p.Evaluate(ctx, x, n, vdf.Options{Resume: journal, Progress: func(done, _ uint64) { first = min(first, done) }})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Greater(t, first, uint64(1500))

	// A journal of something else, or a damaged one, is refused.
	for _, o := range []struct {
		x []byte
		n uint64
	}{{[]byte("y"), n}, {x, n + 1}} {
		_, err := p.Evaluate(ctx, o.x, o.n, vdf.Options{Resume: journal})
		require.ErrorIs(t, err, vdf.ErrEncoding)
	}
	journal[100] ^= 1
	_, err = p.Evaluate(ctx, x, n, vdf.Options{Resume: journal})
	require.ErrorIs(t, err, vdf.ErrEncoding)
}

func TestDelay(t *testing.T) {
	d := vdf.Delay{Bits: 1024, Window: 30 * time.Second, Views: 13, ViewTimeout: 10 * time.Second}
	require.Equal(t, 160*time.Second, d.Decision())
	least, err := d.T()
	require.NoError(t, err)
	require.NoError(t, d.Check(least))
	var de *vdf.DelayError
	require.ErrorAs(t, d.Check(least-1), &de)
	require.Equal(t, least, de.Least)
	require.LessOrEqual(t, de.Adversary, de.Decision)

	// The 100 seconds for which the ancestor was set, at its own speed on 2048
	// bits, are no delay at all for a fast squarer.
	old := vdf.Delay{Bits: 2048, Advantage: 1, Window: time.Second}
	require.ErrorAs(t, old.Check(74_000), &de)

	fast := d
	fast.Measured = 1e6 // a machine faster than all that is known counts
	more, err := fast.T()
	require.NoError(t, err)
	require.Greater(t, more, least)
	for _, bad := range []vdf.Delay{{}, {Bits: 1024, Advantage: 0.5}, {Bits: 1024, Views: -1}, {Bits: 1024, Window: 1 << 62}} {
		_, err := bad.T()
		require.ErrorIs(t, err, vdf.ErrParams)
	}
	rate, err := vdf.Calibrate(256, time.Millisecond)
	require.NoError(t, err)
	require.Positive(t, rate)
}

func FuzzVerify(f *testing.F) {
	p := params(f, 256)
	out, err := p.Evaluate(context.Background(), []byte("x"), 300, vdf.Options{})
	require.NoError(f, err)
	f.Add(out, uint64(300))
	f.Add(bytes.Repeat([]byte{0}, len(out)), uint64(300))
	f.Fuzz(func(t *testing.T, b []byte, n uint64) {
		if p.Verify([]byte("x"), n, b) == nil && !(n == 300 && bytes.Equal(b, out)) {
			t.Fatal("a forged proof")
		}
	})
}

func FuzzResume(f *testing.F) {
	p := params(f, 256)
	var j bytes.Buffer
	_, err := p.Evaluate(context.Background(), []byte("x"), 100, vdf.Options{Journal: &j})
	require.NoError(f, err)
	f.Add(j.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = p.Evaluate(context.Background(), []byte("x"), 100, vdf.Options{Resume: b, Workers: 1})
	})
}

func Example() {
	// The seed is public and not of anybody's choice: an epoch's number, say.
	p, err := vdf.NewParams([]byte("epoch 7"), 512)
	if err != nil {
		panic(err)
	}
	const t = 10_000 // see Delay for how to choose it
	output, err := p.Evaluate(context.Background(), []byte("input"), t, vdf.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(output), p.Verify([]byte("input"), t, output))
	fmt.Println(p.Verify([]byte("another"), t, output))
	// Output:
	// 128 <nil>
	// vdf: proof does not hold
}

// How long must the delay be if an input is collected for 20 s and five faulty
// leaders in a row can each hold up the decision by 10 s?
func ExampleDelay() {
	d := vdf.Delay{
		Bits:        1024,
		Advantage:   10, // the adversary's machine over the fastest known
		Window:      20 * time.Second,
		Views:       5,
		ViewTimeout: 10 * time.Second,
	}
	t, err := d.T()
	if err != nil {
		panic(err)
	}
	fmt.Println(t, "squarings")
	fmt.Println(d.Check(t / 100))
	// Output:
	// 238000001 squarings
	// vdf: unsafe delay: an adversary does 2380000 squarings in 700ms, the decision takes up to 1m10s; at least 238000001 are needed
}

// The main function of a command for operators: how long will this machine take
// for the delay that the protocol needs? It prints what it measures, so there
// is no output to compare.
func ExampleCalibrate() {
	var d vdf.Delay
	flag.IntVar(&d.Bits, "bits", 1024, "size of the discriminant")
	flag.Float64Var(&d.Advantage, "advantage", 10, "of the adversary over the fastest machine known")
	flag.DurationVar(&d.Window, "window", 20*time.Second, "for which the input is collected")
	flag.IntVar(&d.Views, "views", 5, "faulty leaders in a row")
	flag.DurationVar(&d.ViewTimeout, "timeout", 10*time.Second, "of a view, at the most")
	flag.Parse()
	rate, err := vdf.Calibrate(d.Bits, 2*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	d.Measured = rate
	t, err := d.T()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.0f squarings/s, T = %d\n", rate, t)
	fmt.Printf("the adversary needs %v, this machine %v\n", d.Decision(),
		time.Duration(float64(t)/rate*float64(time.Second)).Round(time.Second))
}
