package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the command: the tests run it as a child.
func TestMain(m *testing.M) {
	if os.Getenv("LOCALNET_CHILD") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LOCALNET_CHILD=1")
	return cmd
}

// TestKilled kills the whole process with -9 in the middle, and runs it again
// on the same data: the chain goes on, and every transfer that the wallet had a
// receipt for is still there.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole network, twice")
	}
	t.Parallel()
	dir := t.TempDir()
	args := []string{"-shards", "2", "-validators", "4", "-epochs", "1", "-epoch-blocks", "14", "-rate", "300", "-data", dir}
	first := child(args...)
	out, err := first.StdoutPipe()
	require.NoError(t, err)
	first.Stderr = os.Stderr
	require.NoError(t, first.Start())
	before := 0
	for lines := bufio.NewScanner(out); lines.Scan() && before < 100; {
		before = receipts(t, dir)
	}
	require.GreaterOrEqual(t, before, 100, "the first run got nowhere")
	require.NoError(t, first.Process.Signal(syscall.SIGKILL))
	require.Error(t, first.Wait())

	report := filepath.Join(t.TempDir(), "report.json")
	second := child(append(args, "-json", report)...)
	said, err := second.CombinedOutput()
	require.NoError(t, err, "%s", said)
	b, err := os.ReadFile(report)
	require.NoError(t, err)
	var rep summary
	require.NoError(t, json.Unmarshal(b, &rep))
	require.True(t, rep.Invariants.AllAccepted)
	require.True(t, rep.Invariants.Supply)
	require.True(t, rep.Invariants.Agree)
	require.Positive(t, rep.Committed)
	require.Greater(t, receipts(t, dir), before)

	other := child(append(args, "-seed", "2")...)
	said, err = other.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), "holds another chain")
}

// TestJoin: a validator that is not in the genesis stakes, is elected, and its
// node signs blocks; and goes on doing so in a later run.
func TestJoin(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole network, twice")
	}
	t.Parallel()
	dir := t.TempDir()
	report := filepath.Join(dir, "report.json")
	args := []string{"-shards", "2", "-validators", "4", "-epoch-blocks", "12", "-rate", "100", "-history", "5", "-data", dir, "-json", report}
	for _, more := range [][]string{{"-epochs", "2", "-join"}, {"-epochs", "1", "-join"}} {
		said, err := child(append(args, more...)...).CombinedOutput()
		require.NoError(t, err, "%s", said)
		b, err := os.ReadFile(report)
		require.NoError(t, err)
		var rep summary
		require.NoError(t, json.Unmarshal(b, &rep))
		require.GreaterOrEqual(t, rep.Join.Signed, joinSigned)
		require.GreaterOrEqual(t, rep.Join.Epoch, 2, "whoever votes before was not elected")
		require.NotEmpty(t, rep.History.Moves)
		require.LessOrEqual(t, len(rep.History.Moves), 5)
		require.Positive(t, rep.History.Moves[0].Height)
		require.True(t, rep.Invariants.Supply)
		require.True(t, rep.Invariants.Agree)
	}
}

// receipts counts the receipts in the wallet's journal, while it is being
// written.
func receipts(t *testing.T, dir string) int {
	b, err := os.ReadFile(filepath.Join(dir, "wallet"))
	if err != nil {
		return 0
	}
	name := filepath.Join(t.TempDir(), "wallet")
	require.NoError(t, os.WriteFile(name, b, 0o644))
	j, err := openJournal(filepath.Dir(name))
	require.NoError(t, err)
	require.NoError(t, j.close())
	return len(j.done)
}

// summary is what the test wants of the JSON report, by the names users see.
type summary struct {
	Committed int `json:"tx_committed"`
	Join      struct {
		Epoch  int `json:"epoch"`
		Signed int `json:"signed"`
	} `json:"join"`
	History struct {
		Moves []struct {
			Height int `json:"height"`
		} `json:"moves"`
	} `json:"history"`
	Invariants struct {
		Supply      bool `json:"supply_conserved"`
		Agree       bool `json:"replicas_agree"`
		AllAccepted bool `json:"all_accepted_committed"`
	} `json:"invariants"`
}

// TestBadFlags: one clear line, exit status 2.
func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-shards", "0"}, {"-shards", "x"}, {"-validators", "3"}, {"-cross", "2"}, {"-deal", "cards"},
		{"-policy", "none"}, {"-epochs", "-1"}, {"-no-such-flag"}, {"stray"}, {"-lambda", "0"}, {"-shards", "1", "-cross", "0.5"},
	} {
		out, err := child(args...).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%v", args)
		require.Equal(t, 2, exit.ExitCode(), "%v: %s", args, out)
		require.Equal(t, 1, strings.Count(string(out), "\n"), "%v: %s", args, out)
		require.True(t, strings.HasPrefix(string(out), "localnet: "), "%s", out)
	}
}

// TestDisk shows what pulling the plug does: what was synced stays, the rest
// is gone, and the old life cannot write any more.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	d := newDisk()
	f, err := logDisk{d}.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("safe"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	_, err = f.WriteAt([]byte("lost"), 4)
	require.NoError(t, err)
	lock, err := d.Lock(filepath.Join(dir, "LOCK"))
	require.NoError(t, err)
	require.NoError(t, d.pull())
	b, err := os.ReadFile(filepath.Join(dir, "log"))
	require.NoError(t, err)
	require.Equal(t, "safe", string(b))
	_, err = f.WriteAt([]byte("late"), 4)
	require.ErrorIs(t, err, errPulled)
	require.ErrorIs(t, f.Sync(), errPulled)
	_, err = newDisk().Lock(filepath.Join(dir, "LOCK"))
	require.NoError(t, err, "the lock went with the power")
	require.NoError(t, lock.Close())
}
