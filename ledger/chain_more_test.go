package ledger_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

// contents is every pair of a store.
func contents(t testing.TB, s ledger.Store, lo, hi string) map[string]string {
	m := map[string]string{}
	require.NoError(t, s.Scan([]byte(lo), []byte(hi), func(k, v []byte) error {
		m[string(k)] = string(v)
		return nil
	}))
	return m
}

func TestChainRewind(t *testing.T) {
	store := ledger.NewMemStore()
	c := openChain(t, store)
	grow(t, c, 6)
	want, state := contents(t, store, "c/", "c0"), c.State().Root()
	grow(t, c, 10)
	stale := c.State().Begin()
	require.ErrorIs(t, c.Rewind(11, nil), ledger.ErrNotFound)
	require.ErrorIs(t, c.Rewind(5, nil), ledger.ErrPruned, "beyond the window")
	require.NoError(t, c.Rewind(6, extra(6)))
	require.Equal(t, want, contents(t, store, "c/", "c0"), "as if the blocks had never been")
	for _, c := range []*ledger.Chain{c, openChain(t, store)} {
		head, _ := c.Head()
		require.Equal(t, shardkit.Height(6), head.Height)
		require.Equal(t, state, c.State().Root())
		v, _, err := c.Get([]byte("position"))
		require.NoError(t, err)
		require.Equal(t, "6", string(v))
	}
	_, err := stale.Root()
	require.ErrorIs(t, err, ledger.ErrStale)
	grow(t, c, 12)
	grow(t, openChain(t, store), 14)
}

// snapshot exports a chain of some blocks and accounts.
func snapshot(t testing.TB, h shardkit.Height) (*ledger.Chain, []byte) {
	c := openChain(t, ledger.NewMemStore())
	grow(t, c, h)
	var buf bytes.Buffer
	require.NoError(t, c.Export(&buf, h))
	return c, buf.Bytes()
}

func trust(want shardkit.Hash) func(*ledger.Block) error {
	return func(b *ledger.Block) error {
		if b.Hash() != want {
			return errors.New("another block")
		}
		return nil
	}
}

func TestSnapshot(t *testing.T) {
	c, file := snapshot(t, 8)
	grow(t, c, 11)
	var later bytes.Buffer
	require.NoError(t, c.Export(&later, 8), "of an older height")
	require.Equal(t, file, later.Bytes())
	require.ErrorIs(t, c.Export(io.Discard, 3), ledger.ErrPruned)
	require.ErrorIs(t, c.Export(io.Discard, 12), ledger.ErrNotFound)
	h, err := c.HeaderAt(8)
	require.NoError(t, err)

	store := ledger.NewMemStore()
	d := openChain(t, store)
	require.NoError(t, d.Import(bytes.NewReader(file), trust(h.Hash())))
	for _, d := range []*ledger.Chain{d, openChain(t, store)} {
		head, _ := d.Head()
		require.Equal(t, h, head)
		first, ok := d.First()
		require.True(t, ok)
		require.Equal(t, shardkit.Height(8), first)
		b, err := d.Block(8)
		require.NoError(t, err)
		require.NotEmpty(t, b.Body)
		require.Equal(t, h.State, d.State().Root())
		_, err = d.Block(7)
		require.ErrorIs(t, err, ledger.ErrNotFound)
	}
	// The other chain's later blocks fit.
	for height := shardkit.Height(9); height <= 11; height++ {
		want, err := c.Block(height)
		require.NoError(t, err)
		_, st := next(t, d)
		require.NoError(t, d.Commit(want, st, nil))
	}
	require.Equal(t, c.State().Root(), d.State().Root())
	require.Error(t, d.Import(bytes.NewReader(file), trust(h.Hash())), "has blocks")
	require.ErrorIs(t, d.Rewind(7, nil), ledger.ErrNotFound)
}

// TestSnapshotWithoutBody goes on from a block of which only the header came.
func TestSnapshotWithoutBody(t *testing.T) {
	c, file := snapshot(t, 5)
	head, _ := c.Head()
	store := ledger.NewMemStore()
	view, err := c.State().View(5)
	require.NoError(t, err)
	restore, err := ledger.OpenRestore(store, chainConfig.State, head.State, 5)
	require.NoError(t, err)
	chunk, err := view.ReadRange(shardkit.Hash{}, 1<<20)
	require.NoError(t, err)

	d := openChain(t, store)
	require.Nil(t, d.State(), "a restore is under way")
	bare := &ledger.Block{Header: head, Certificate: []byte("cert")}
	require.Error(t, d.InitFrom(bare, restore, nil), "not complete")
	require.NoError(t, restore.Add(shardkit.Hash{}, chunk))
	wrong := *bare
	wrong.Header.State[0]++
	require.Error(t, d.InitFrom(&wrong, restore, nil))
	require.NoError(t, d.InitFrom(bare, restore, extra(5)))
	grow(t, d, 7)
	for _, d := range []*ledger.Chain{d, openChain(t, store)} {
		b, err := d.Block(5)
		require.NoError(t, err)
		require.Equal(t, bare, b)
		b, err = d.Block(6)
		require.NoError(t, err)
		require.NotEmpty(t, b.Body)
	}
	require.NoError(t, d.Rewind(5, nil))
	var buf bytes.Buffer
	require.NoError(t, d.Export(&buf, 5))
	require.NotEqual(t, file, buf.Bytes())
	e := openChain(t, ledger.NewMemStore())
	require.NoError(t, e.Import(&buf, trust(head.Hash())))
}

// TestSnapshotRefused spoils and cuts a snapshot at every place. It is refused
// and the right one is taken afterwards.
func TestSnapshotRefused(t *testing.T) {
	c, file := snapshot(t, 5)
	head, _ := c.Head()
	check := trust(head.Hash())
	cert := bytes.Index(file, []byte("cert"))
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 4
		d := openChain(t, ledger.NewMemStore())
		if i >= cert && i < cert+4 {
			continue // it is for check to say whether the certificate is good
		}
		err := d.Import(bytes.NewReader(bad), check)
		require.True(t, errors.Is(err, ledger.ErrSnapshot) || errors.As(err, new(*ledger.WrongChainError)), "byte %d: %v", i, err)
		_, ok := d.Head()
		require.False(t, ok)
		require.ErrorIs(t, d.Import(bytes.NewReader(file[:i]), check), ledger.ErrSnapshot, "cut at %d", i)
		if i%50 == 0 {
			require.NoError(t, d.Import(bytes.NewReader(file), check))
		}
	}
	d := openChain(t, ledger.NewMemStore())
	require.ErrorIs(t, d.Import(bytes.NewReader(append(bytes.Clone(file), 0)), check), ledger.ErrSnapshot)
	require.ErrorIs(t, d.Import(bytes.NewReader(file), trust(shardkit.Hash{})), ledger.ErrSnapshot)
	require.NoError(t, d.Import(bytes.NewReader(file), check))
}

// TestSnapshotResumes imports a state of several chunks, interrupted by a
// failing disk at every write in turn.
func TestSnapshotResumes(t *testing.T) {
	c := openChain(t, ledger.NewMemStore())
	grow(t, c, 0)
	b, st := next(t, c)
	for i := range 64 {
		require.NoError(t, st.Set([]byte{'v', byte(i)}, bytes.Repeat([]byte{byte(i)}, ledger.MaxValue)))
	}
	var err error
	b.Header.State, err = st.Root()
	require.NoError(t, err)
	require.NoError(t, c.Commit(b, st, nil))
	var file bytes.Buffer
	require.NoError(t, c.Export(&file, 1))

	store := ledger.NewMemStore()
	for round := 0; ; round++ {
		flaky := &countdownStore{Store: store, left: 2}
		d, err := ledger.OpenChain(flaky, chainConfig)
		require.NoError(t, err)
		err = d.Import(bytes.NewReader(file.Bytes()), trust(b.Hash()))
		if err == nil {
			require.Greater(t, round, 1, "the state must take several rounds for the test to mean something")
			break
		}
		require.ErrorIs(t, err, errBroken)
		require.Less(t, round, 10, "does not get on")
	}
	require.Equal(t, b.Header.State, openChain(t, store).State().Root())
}

// brokenPipe takes or gives n bytes and then fails.
type brokenPipe struct {
	r io.Reader
	n int
}

func (p *brokenPipe) Write(b []byte) (int, error) {
	if p.n -= len(b); p.n < 0 {
		return 0, errBroken
	}
	return len(b), nil
}

func (p *brokenPipe) Read(b []byte) (int, error) {
	if p.n == 0 {
		return 0, errBroken
	}
	n, err := p.r.Read(b[:min(len(b), p.n)])
	p.n -= n
	return n, err
}

// TestSnapshotEndless is about a file that announces more than there can be:
// it is refused by what it announces, not by reading it.
func TestSnapshotEndless(t *testing.T) {
	_, file := snapshot(t, 2)
	start := bytes.IndexByte(file, '\n') + 1 // the length of the block
	d := openChain(t, ledger.NewMemStore())
	rest := &zeros{}
	head := append(bytes.Clone(file[:start]), 0xff, 0xff, 0xff, 0xff)
	require.ErrorIs(t, d.Import(io.MultiReader(bytes.NewReader(head), rest), trust(shardkit.Hash{})), wire.ErrLimit)
	require.Less(t, rest.read, 1<<20)
}

// zeros is a reader without end.
type zeros struct{ read int }

func (z *zeros) Read(b []byte) (int, error) {
	if z.read += len(b); z.read > 1<<26 {
		return 0, errBroken
	}
	return len(b), nil
}

// TestInitAtRefuses gives a restored state that is not the block's.
func TestInitAtRefuses(t *testing.T) {
	c, _ := snapshot(t, 3)
	head, _ := c.Head()
	for _, change := range []func(h *ledger.Header){
		func(h *ledger.Header) { h.State[0]++ },
		func(h *ledger.Header) { h.Height++ },
		func(h *ledger.Header) { h.Chain[0]++ },
	} {
		b := &ledger.Block{Header: head}
		change(&b.Header)
		d := openChain(t, ledger.NewMemStore())
		require.Error(t, d.InitAt(b, c.State()))
		_, ok := d.Head()
		require.False(t, ok)
	}
}

// TestSnapshotBroken breaks the file's medium, not the file.
func TestSnapshotBroken(t *testing.T) {
	c, file := snapshot(t, 5)
	head, _ := c.Head()
	for n := 0; n < len(file); n += 97 {
		require.ErrorIs(t, c.Export(&brokenPipe{n: n}, 5), errBroken)
		d := openChain(t, ledger.NewMemStore())
		err := d.Import(&brokenPipe{r: bytes.NewReader(file), n: n}, trust(head.Hash()))
		require.ErrorIs(t, err, errBroken)
		require.NoError(t, d.Import(bytes.NewReader(file), trust(head.Hash())))
	}
}

var errBroken = errors.New("disk")

// countdownStore fails every write after the first few.
type countdownStore struct {
	ledger.Store
	left int
}

func (s *countdownStore) Apply(sets, deletes iter.Seq2[[]byte, []byte]) error {
	if s.left--; s.left < 0 {
		return errBroken
	}
	return s.Store.Apply(sets, deletes)
}

func FuzzImport(f *testing.F) {
	c, file := snapshot(f, 3)
	head, _ := c.Head()
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) {
		d := openChain(t, ledger.NewMemStore())
		if d.Import(bytes.NewReader(data), trust(head.Hash())) == nil {
			require.Equal(t, head.State, d.State().Root())
		}
	})
}
