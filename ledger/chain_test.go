package ledger_test

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// flakyStore fails the writes it is told to.
type flakyStore struct {
	ledger.Store
	fail error
}

func (s *flakyStore) Apply(sets, deletes iter.Seq2[[]byte, []byte]) error {
	if s.fail != nil {
		return s.fail
	}
	return s.Store.Apply(sets, deletes)
}

var chainConfig = ledger.ChainConfig{Chain: testChain, Shard: 1, State: ledger.StateConfig{Undo: 4}}

// next makes an executed block on the head of c: height h pays its height to
// an account of its own.
func next(t testing.TB, c *ledger.Chain) (*ledger.Block, *ledger.Stage) {
	t.Helper()
	b := &ledger.Block{Header: ledger.Header{Chain: testChain, Shard: 1, Time: 1}, Certificate: []byte("cert")}
	if head, ok := c.Head(); ok {
		b.Header.Height, b.Header.Parent, b.Header.Time = head.Height+1, head.Hash(), head.Time+1
	}
	st := c.State().Begin()
	fund(t, st, addressOf(key(int(b.Header.Height))), 1+uint64(b.Header.Height))
	var err error
	b.Header.State, err = st.Root()
	require.NoError(t, err)
	b.Body, err = (&ledger.Body{Items: [][]byte{fmt.Append(nil, b.Header.Height)}}).AppendBinary(nil)
	require.NoError(t, err)
	b.Header.Body = ledger.BodyHash(b.Body)
	return b, st
}

// grow commits blocks up to height h.
func grow(t testing.TB, c *ledger.Chain, h shardkit.Height) {
	t.Helper()
	for {
		b, st := next(t, c)
		switch {
		case b.Header.Height > h:
			st.Discard()
			return
		case b.Header.Height == 0:
			require.NoError(t, c.Init(b, st))
		default:
			require.NoError(t, c.Commit(b, st, extra(b.Header.Height)))
		}
	}
}

// extra is what the tests keep beside a block.
func extra(h shardkit.Height) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) { yield([]byte("position"), fmt.Append(nil, h)) }
}

func openChain(t testing.TB, s ledger.Store) *ledger.Chain {
	t.Helper()
	c, err := ledger.OpenChain(s, chainConfig)
	require.NoError(t, err)
	return c
}

func TestChain(t *testing.T) {
	store := ledger.NewMemStore()
	c := openChain(t, store)
	_, ok := c.Head()
	require.False(t, ok)
	require.ErrorIs(t, c.Commit(&ledger.Block{}, c.State().Begin(), nil), ledger.ErrNotNext, "before the first block")
	grow(t, c, 9)

	for _, c := range []*ledger.Chain{c, openChain(t, store)} {
		head, ok := c.Head()
		require.True(t, ok)
		require.Equal(t, shardkit.Height(9), head.Height)
		require.Equal(t, head.State, c.State().Root())
		for h := range shardkit.Height(10) {
			b, err := c.Block(h)
			require.NoError(t, err)
			var body ledger.Body
			require.NoError(t, body.UnmarshalBinary(b.Body))
			require.Equal(t, fmt.Append(nil, h), body.Items[0])
			require.Equal(t, []byte("cert"), b.Certificate)
			header, err := c.HeaderAt(h)
			require.NoError(t, err)
			require.Equal(t, b.Header, header)
			at, err := c.HeightOf(header.Hash())
			require.NoError(t, err)
			require.Equal(t, h, at)
			acc, err := ledger.GetAccount(c.State().Begin(), addressOf(key(int(h))))
			require.NoError(t, err)
			require.Equal(t, 1+uint64(h), acc.Balance)
		}
		v, ok, err := c.Get([]byte("position"))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "9", string(v))
		_, err = c.Block(10)
		require.ErrorIs(t, err, ledger.ErrNotFound)
		_, err = c.HeaderAt(10)
		require.ErrorIs(t, err, ledger.ErrNotFound)
		_, err = c.HeightOf(shardkit.Hash{1})
		require.ErrorIs(t, err, ledger.ErrNotFound)
	}
}

func TestChainRefuses(t *testing.T) {
	c := openChain(t, ledger.NewMemStore())
	grow(t, c, 1)
	b, st := next(t, c)
	b.Header.Epoch = 3
	require.NoError(t, c.Commit(b, st, nil))
	before, _ := c.Head()
	wrong, none := new(*ledger.WrongChainError), any(nil) // the body may be a peer's fault: not the block's
	for name, tc := range map[string]struct {
		want   any
		change func(*ledger.Block)
	}{
		"height":      {ledger.ErrNotNext, func(b *ledger.Block) { b.Header.Height++ }},
		"parent":      {ledger.ErrNotNext, func(b *ledger.Block) { b.Header.Parent[0]++ }},
		"time":        {ledger.ErrInvalid, func(b *ledger.Block) { b.Header.Time-- }},
		"epoch":       {ledger.ErrInvalid, func(b *ledger.Block) { b.Header.Epoch-- }},
		"state":       {ledger.ErrInvalid, func(b *ledger.Block) { b.Header.State[0]++ }},
		"body":        {none, func(b *ledger.Block) { b.Body[0]++ }},
		"chain":       {wrong, func(b *ledger.Block) { b.Header.Chain[0]++ }},
		"shard":       {wrong, func(b *ledger.Block) { b.Header.Shard++ }},
		"late":        {ledger.ErrInvalid, func(b *ledger.Block) { b.Header.Late = make([]byte, ledger.MaxLate+1) }},
		"certificate": {ledger.ErrInvalid, func(b *ledger.Block) { b.Certificate = make([]byte, ledger.MaxCertificate+1) }},
	} {
		b, st := next(t, c)
		b.Header.Epoch = 3
		tc.change(b)
		err := c.Commit(b, st, nil)
		require.Error(t, err, name)
		if is, ok := tc.want.(error); ok {
			require.ErrorIs(t, err, is, name)
		} else if tc.want != nil {
			require.ErrorAs(t, err, tc.want, name)
		}
		head, _ := c.Head()
		require.Equal(t, before, head)
		require.Equal(t, before.State, c.State().Root())
	}
	b, st = next(t, c)
	b.Header.Epoch = 3
	require.Error(t, c.Init(b, st), "has blocks")
	require.Error(t, c.InitAt(b, c.State()), "has blocks")
	require.NoError(t, c.Commit(b, st, nil))
}

func TestChainStoreFails(t *testing.T) {
	store := &flakyStore{Store: ledger.NewMemStore()}
	c := openChain(t, store)
	grow(t, c, 2)
	b, st := next(t, c)
	store.fail = errors.New("no space left on device")
	require.ErrorIs(t, c.Commit(b, st, nil), store.fail)
	head, _ := c.Head()
	require.Equal(t, shardkit.Height(2), head.Height, "not acknowledged")
	store.fail = nil
	c = openChain(t, store)
	grow(t, c, 4)
}

func TestChainOfAnother(t *testing.T) {
	store := ledger.NewMemStore()
	grow(t, openChain(t, store), 1)
	for _, cfg := range []ledger.ChainConfig{{Chain: shardkit.Hash{9}, Shard: 1}, {Chain: testChain, Shard: 2}} {
		_, err := ledger.OpenChain(store, cfg)
		var wrong *ledger.WrongChainError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, cfg.Chain, wrong.WantChain)
		require.Equal(t, testChain, wrong.Chain)
	}
	for _, prefix := range []string{"c", "c/", "x/s", "x"} {
		_, err := ledger.OpenChain(store, ledger.ChainConfig{State: ledger.StateConfig{Prefix: []byte(prefix)}})
		require.Error(t, err)
	}
}

// TestChainDamage changes or removes one stored pair at a time. What was
// written is read back, or the damage is reported; nothing else.
func TestChainDamage(t *testing.T) {
	store := ledger.NewMemStore()
	c := openChain(t, store)
	grow(t, c, 3)
	var want []*ledger.Block
	for h := range shardkit.Height(4) {
		b, err := c.Block(h)
		require.NoError(t, err)
		want = append(want, b)
	}
	var keys [][]byte
	require.NoError(t, store.Scan([]byte("c/"), []byte("c0"), func(k, _ []byte) error {
		keys = append(keys, append([]byte(nil), k...))
		return nil
	}))
	require.Len(t, keys, 3+3*4)
	for _, k := range keys {
		v, _, err := store.Get(k, nil)
		require.NoError(t, err)
		for _, bad := range damages(v) {
			s := store.Clone()
			sets, deletes := maps.All(map[string][]byte{}), maps.All(map[string][]byte{})
			if bad == nil {
				deletes = maps.All(map[string][]byte{string(k): nil})
			} else {
				sets = maps.All(map[string][]byte{string(k): bad})
			}
			require.NoError(t, s.Apply(byteKeys(sets), byteKeys(deletes)))
			checkDamaged(t, s, want, fmt.Sprintf("%q", k))
		}
	}
}

// TestChainMixed opens stores whose parts are whole, but of different heights.
func TestChainMixed(t *testing.T) {
	store := ledger.NewMemStore()
	c := openChain(t, store)
	grow(t, c, 2)
	older := store.Clone()
	grow(t, c, 3)
	mixed := func(what, lo, hi string) {
		s := store.Clone()
		old := contents(t, older, lo, hi)
		sets := func(yield func(k, v []byte) bool) {
			for k, v := range old {
				if !yield([]byte(k), []byte(v)) {
					return
				}
			}
		}
		require.NoError(t, s.Apply(sets, byteKeys(maps.All(map[string][]byte{lo: []byte(hi)}))))
		_, err := ledger.OpenChain(s, chainConfig)
		var damage *ledger.DamageError
		require.ErrorAs(t, err, &damage, what)
	}
	mixed("state of the block before", "s/", "s0")
	mixed("head of the block before", "c/head", "c/head0")
	mixed("blocks of the block before", "c/h/", "c/h0")

	// Another block of the same height and state, and one of another height.
	twin := older.Clone()
	d := openChain(t, twin)
	b, st := next(t, d)
	b.Header.Time += 5
	require.NoError(t, d.Commit(b, st, nil))
	record := func(s ledger.Store, h byte) []byte {
		v, ok, err := s.Get(append([]byte("c/h/"), 0, 0, 0, 0, 0, 0, 0, h), nil)
		require.NoError(t, err)
		require.True(t, ok)
		return v
	}
	for _, tc := range []struct {
		at     byte
		record []byte
	}{{3, record(twin, 3)}, {1, record(store, 2)}} {
		s := store.Clone()
		require.NoError(t, s.Apply(byteKeys(maps.All(map[string][]byte{"c/h/\x00\x00\x00\x00\x00\x00\x00" + string(tc.at): tc.record})), nil))
		e, err := ledger.OpenChain(s, chainConfig)
		if err == nil {
			_, err = e.HeaderAt(shardkit.Height(tc.at))
		}
		require.ErrorAs(t, err, new(*ledger.DamageError), "block %d", tc.at)
	}

	first := func(h byte) ledger.Store {
		s := store.Clone()
		require.NoError(t, s.Apply(byteKeys(maps.All(map[string][]byte{"c/first": {0, 0, 0, 0, 0, 0, 0, h, 1}})), nil))
		return s
	}
	_, err := ledger.OpenChain(first(3), chainConfig)
	require.NoError(t, err)
	_, err = ledger.OpenChain(first(4), chainConfig)
	require.ErrorAs(t, err, new(*ledger.DamageError))
}

func damages(v []byte) [][]byte {
	out := [][]byte{nil, {}, v[:len(v)-1], append(v[:len(v):len(v)], 0)}
	for _, i := range []int{0, len(v) / 2, len(v) - 1} {
		bad := append([]byte(nil), v...)
		bad[i] ^= 1
		out = append(out, bad)
	}
	return out
}

func byteKeys(m iter.Seq2[string, []byte]) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for k, v := range m {
			if !yield([]byte(k), v) {
				return
			}
		}
	}
}

func checkDamaged(t *testing.T, s ledger.Store, want []*ledger.Block, what string) {
	t.Helper()
	isDamage := func(err error) bool {
		return errors.As(err, new(*ledger.DamageError)) || errors.As(err, new(*ledger.WrongChainError))
	}
	c, err := ledger.OpenChain(s, chainConfig)
	if err != nil {
		require.True(t, isDamage(err), "%s: %v", what, err)
		return
	}
	for h, b := range want {
		got, err := c.Block(shardkit.Height(h))
		if err != nil {
			require.True(t, isDamage(err) || errors.Is(err, ledger.ErrNotFound), "%s: %v", what, err)
			continue
		}
		require.Equal(t, b, got, what)
		at, err := c.HeightOf(b.Hash())
		if err != nil {
			require.True(t, isDamage(err) || errors.Is(err, ledger.ErrNotFound), "%s: %v", what, err)
			continue
		}
		require.Equal(t, shardkit.Height(h), at, what)
	}
}
