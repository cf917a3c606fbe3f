package ledger_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

var crashRounds = flag.Int("crash-rounds", 1, "histories in which every disk operation is a crash point; above 1, every one also fails")

// life is a chain on a disk that is watched: which height the chain has
// acknowledged, and which it may have reached. Every block has a transaction,
// and all but the first a receipt of another shard, for an account that all
// share; both are in the indexes.
type life struct {
	acked, begun atomic.Int64
}

func newLife() *life {
	l := new(life)
	l.acked.Store(-1)
	l.begun.Store(-1)
	return l
}

var everybody = ledger.Address{0xee}

func lifeTx(h shardkit.Height) *ledger.Transaction {
	tx := unsigned(int(h)+1, 0, 1)
	tx.To = everybody
	return tx
}

// lived is the next block of a life.
func lived(t testing.TB, c *ledger.Chain) (*ledger.Block, *ledger.Executed) {
	b, st := next(t, c)
	h := b.Header.Height
	x := &ledger.Executed{
		Stage: st, Body: &ledger.Body{Transactions: []ledger.Transaction{*lifeTx(h)}}, Results: []ledger.Result{{Fee: uint64(h)}},
		Arrived: []ledger.Arrival{{Receipt: receipt(0, uint64(h), byte(h), everybody, uint64(h))}},
	}
	var err error
	b.Body, err = x.Body.AppendBinary(nil)
	require.NoError(t, err)
	b.Header.Body = ledger.BodyHash(b.Body)
	return b, x
}

// live opens the chain in a store and commits blocks up to limit, rewinding
// now and then, until something fails. It tells what it has acknowledged.
func (l *life) live(t testing.TB, s ledger.Store, limit shardkit.Height, tell func(acked int64)) error {
	c, err := ledger.OpenChain(s, indexedConfig())
	if err != nil {
		return err
	}
	var rewound shardkit.Height
	ack := func(h shardkit.Height) {
		l.acked.Store(int64(h))
		tell(int64(h))
	}
	for {
		b, x := lived(t, c)
		h := b.Header.Height
		if h > limit {
			return nil
		}
		l.begun.Store(max(l.begun.Load(), int64(h)))
		if h == 0 {
			err = c.Init(b, x.Stage)
		} else {
			err = c.CommitExecuted(b, x, extra(h))
		}
		if err != nil {
			return err
		}
		ack(h)
		if h%9 == 5 && h > rewound {
			rewound = h
			ack(h - 2)
			if err := c.Rewind(h-2, extra(h-2)); err != nil {
				return err
			}
		}
	}
}

// liveOn is live on a file system.
func (l *life) liveOn(t testing.TB, fs vfs.FS, limit shardkit.Height) error {
	s, err := pebblestore.Open("chain", pebblestore.Options{FS: fs})
	if err != nil {
		return err
	}
	return errors.Join(l.live(t, s, limit, func(int64) {}), s.Close())
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
	checkLife(t, s, acked, begun)
}

// checkLife returns the height of the block that it has added.
func checkLife(t *testing.T, s ledger.Store, acked, begun int64) int64 {
	t.Helper()
	c, err := ledger.OpenChain(s, indexedConfig())
	require.NoError(t, err)
	h, ok := c.Head()
	if !ok {
		require.Less(t, acked, int64(0), "everything is lost")
		b, x := lived(t, c)
		require.NoError(t, c.Init(b, x.Stage))
		return 0
	}
	require.GreaterOrEqual(t, int64(h.Height), acked, "an acknowledged block is lost")
	require.LessOrEqual(t, int64(h.Height), begun)
	accounts := 0
	require.NoError(t, ledger.EachAccount(c.State(), func(ledger.Address, ledger.Account) error {
		accounts++
		return nil
	}))
	require.Equal(t, int(h.Height)+1, accounts, "each block makes one account")
	if h.Height > 0 {
		v, _, err := c.Get([]byte("position"))
		require.NoError(t, err)
		require.Equal(t, string(firstExtra(h.Height)), string(v), "what is kept beside the block is of the block")
	}
	checkIndexes(t, c, h.Height, shardkit.Height(max(begun, 0)))
	b, x := lived(t, c)
	require.NoError(t, c.CommitExecuted(b, x, extra(b.Header.Height)))
	return int64(b.Header.Height)
}

// checkIndexes compares the indexes with the blocks up to the head; they hold
// nothing of those after it.
func checkIndexes(t *testing.T, c *ledger.Chain, head, begun shardkit.Height) {
	t.Helper()
	for h := range head + 1 {
		tx, found, err := c.Transaction(lifeTx(h).ID())
		require.NoError(t, err)
		require.Equal(t, everybody, tx.To)
		require.Equal(t, h, found.Height)
		if h == 0 {
			require.Nil(t, found.Result)
			continue
		}
		require.Equal(t, uint64(h), found.Result.Fee)
		a, err := c.ArrivalAt(h, 0)
		require.NoError(t, err)
		require.Equal(t, uint64(h), a.Receipt.Amount)
	}
	require.Len(t, movesOf(t, c, everybody, 100), 2*int(head)+1)
	for h := head + 1; h <= begun; h++ {
		_, err := c.Find(lifeTx(h).ID())
		require.ErrorIs(t, err, ledger.ErrNotFound)
		_, err = c.ArrivalAt(h, 0)
		require.ErrorIs(t, err, ledger.ErrNotFound)
	}
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
		l := newLife()
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
		require.NoError(t, l.liveOn(t, watched, 40))
		for _, c := range crashes {
			checkDisk(t, c.fs, c.acked, c.begun)
		}
		points += len(crashes)
	}
	t.Logf("%d crash points", points)
	require.Greater(t, points, 80**crashRounds)
}

// TestChainDiskErrors lets operations on the disk fail, from each one in turn
// on: the chain says so and writes nothing more, and what it had acknowledged
// is there when the disk works again. After a single failure it may go on or
// not.
func TestChainDiskErrors(t *testing.T) {
	for name, fault := range map[string]struct {
		kind errorfs.OpReadWrite
		err  error
		once bool
	}{
		"broken": {errorfs.OpIsWrite, errBroken, false},
		"once":   {errorfs.OpIsWrite, errBroken, true},
		"full":   {errorfs.OpIsWrite, syscall.ENOSPC, false},
		"reads":  {errorfs.OpIsRead, errBroken, false},
	} {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for index := int64(0); ; index++ {
				disk := vfs.NewCrashableMem()
				l := newLife()
				var ops atomic.Int64
				broken := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
					if op.Kind.ReadOrWrite() != fault.kind {
						return nil
					}
					if n := ops.Add(1) - 1; n == index || n > index && !fault.once {
						return fault.err
					}
					return nil
				}))
				err := l.liveOn(t, broken, 20)
				if ops.Load() <= index {
					require.NoError(t, err)
					break
				}
				if err != nil {
					failed++
					require.True(t, fault.once || errors.Is(err, fault.err), "%v", err)
				}
				checkDisk(t, disk.CrashClone(vfs.CrashCloneCfg{}), l.acked.Load(), l.begun.Load())
				if *crashRounds == 1 {
					index += index / 8 // the first ones are the most telling
				}
			}
			require.Positive(t, failed)
		})
	}
}

// TestChainKill kills a process that commits and rewinds as fast as it can,
// again and again on the same directory, and compares what it said with what
// is there.
func TestChainKill(t *testing.T) {
	if dir := os.Getenv("LEDGER_KILL_CHAIN"); dir != "" {
		s, err := pebblestore.Open(dir, pebblestore.Options{})
		require.NoError(t, err)
		_ = newLife().live(t, s, 1<<20, func(acked int64) { fmt.Printf("acked %d.\n", acked) })
		return
	}
	dir := filepath.Join(t.TempDir(), "chain")
	acked := int64(-1)
	for round := range *killRounds {
		var begun int64
		acked, begun = killChain(t, dir, 20+50*round, acked)
		s, err := pebblestore.Open(dir, pebblestore.Options{})
		require.NoError(t, err)
		acked = checkLife(t, s, acked, begun)
		require.NoError(t, s.Close())
	}
}

// killChain starts the child and kills it while it works, some time after it
// has said so many times that a block is durable. It returns what the chain
// must have at least, and what it may have.
func killChain(t *testing.T, dir string, times int, acked int64) (least, most int64) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestChainKill$")
	cmd.Env = append(os.Environ(), "LEDGER_KILL_CHAIN="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	least, most = acked, acked+1
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if n, err := fmt.Sscanf(lines.Text(), "acked %d.", &acked); n == 0 || err != nil {
			continue // not a whole line
		}
		least, most = acked, max(most, acked+1)
		if times--; times == 0 {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "killed")
	require.LessOrEqual(t, times, 0, "the child ended by itself")
	return least, most
}
