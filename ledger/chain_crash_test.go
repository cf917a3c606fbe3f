package ledger_test

import (
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

var crashRounds = flag.Int("crash-rounds", 1, "histories in which every disk operation is a crash point; above 1, every one also fails once")

// life is a chain on a disk that is watched: which height the chain has
// acknowledged, and which it may have reached.
type life struct {
	acked, begun atomic.Int64
}

// live opens the chain in fs and commits blocks up to limit, rewinding now and
// then, until something fails.
func (l *life) live(t *testing.T, fs vfs.FS, limit shardkit.Height) error {
	s, err := pebblestore.Open("chain", pebblestore.Options{FS: fs})
	if err != nil {
		return err
	}
	defer s.Close()
	c, err := ledger.OpenChain(s, chainConfig)
	if err != nil {
		return err
	}
	var rewound shardkit.Height
	for {
		b, st := next(t, c)
		h := b.Header.Height
		if h > limit {
			return nil
		}
		l.begun.Store(max(l.begun.Load(), int64(h)))
		if h == 0 {
			err = c.Init(b, st)
		} else {
			err = c.Commit(b, st, extra(h))
		}
		if err != nil {
			return err
		}
		l.acked.Store(int64(h))
		if h%9 == 5 && h > rewound {
			rewound = h
			l.acked.Store(int64(h) - 2)
			if err := c.Rewind(h-2, extra(h-2)); err != nil {
				return err
			}
		}
	}
}

// checkDisk opens what is left and checks that it is a chain at a height that
// is possible, whole and consistent, and can go on.
func checkDisk(t *testing.T, fs vfs.FS, acked, begun int64) {
	t.Helper()
	s, err := pebblestore.Open("chain", pebblestore.Options{FS: fs})
	if err != nil && begun < 0 {
		return // pebble had not finished creating its directory
	}
	require.NoError(t, err)
	defer s.Close()
	c, err := ledger.OpenChain(s, chainConfig)
	require.NoError(t, err)
	head, ok := c.Head()
	if !ok {
		require.Less(t, acked, int64(0), "everything is lost")
		grow(t, c, 1)
		return
	}
	require.GreaterOrEqual(t, int64(head.Height), acked, "an acknowledged block is lost")
	require.LessOrEqual(t, int64(head.Height), begun)
	accounts := 0
	require.NoError(t, ledger.EachAccount(c.State(), func(_ ledger.Address, acc ledger.Account) error {
		accounts++
		return nil
	}))
	require.Equal(t, int(head.Height)+1, accounts, "each block makes one account")
	for h := range head.Height + 1 {
		_, err := c.Block(h)
		require.NoError(t, err)
	}
	if head.Height > 0 {
		v, _, err := c.Get([]byte("position"))
		require.NoError(t, err)
		require.Equal(t, string(firstExtra(head.Height)), string(v), "what is kept beside the block is of the block")
	}
	grow(t, c, head.Height+1)
}

func firstExtra(h shardkit.Height) (v []byte) {
	for _, v = range extra(h) {
	}
	return v
}

// TestChainCrash cuts the power at every operation on the disk. What was not
// synced is kept in part.
func TestChainCrash(t *testing.T) {
	points := 0
	for round := range *crashRounds {
		rng := rand.New(rand.NewPCG(uint64(round), 11))
		disk := vfs.NewCrashableMem()
		type crash struct {
			fs           *vfs.MemFS
			acked, begun int64
		}
		var mu sync.Mutex
		var crashes []crash
		l := new(life)
		l.acked.Store(-1)
		l.begun.Store(-1)
		watched := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				mu.Lock()
				defer mu.Unlock()
				acked := l.acked.Load() // before the clone: it holds at least this
				fs := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(4) * 33, RNG: rng})
				crashes = append(crashes, crash{fs, acked, l.begun.Load()})
			}
			return nil
		}))
		require.NoError(t, l.live(t, watched, 40))
		for _, c := range crashes {
			checkDisk(t, c.fs, c.acked, c.begun)
		}
		points += len(crashes)
	}
	t.Logf("%d crash points", points)
	require.Greater(t, points, 80**crashRounds)
}

// TestChainDiskErrors lets every operation on the disk fail once, and all
// after it: the chain says so and writes nothing more, and what it had
// acknowledged is there when the disk works again.
func TestChainDiskErrors(t *testing.T) {
	failed := 0
	for index := int64(0); ; index++ {
		disk := vfs.NewCrashableMem()
		l := new(life)
		l.acked.Store(-1)
		l.begun.Store(-1)
		var ops atomic.Int64
		broken := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && ops.Add(1) > index {
				return errBroken
			}
			return nil
		}))
		err := l.live(t, broken, 20)
		if ops.Load() <= index {
			require.NoError(t, err)
			break
		}
		if err != nil {
			failed++
			require.ErrorIs(t, err, errBroken)
		}
		checkDisk(t, disk.CrashClone(vfs.CrashCloneCfg{}), l.acked.Load(), l.begun.Load())
		if *crashRounds == 1 {
			index += index / 8 // the first ones are the most telling
		}
	}
	require.Greater(t, failed, 10)
}
