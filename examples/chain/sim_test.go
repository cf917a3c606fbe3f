package chain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWorldRuns(t *testing.T) {
	w := newWorld(t, options{seed: 1, shards: 2, nodes: 8})
	w.net.Run(20 * time.Second)
	t.Log(w.status(), w.wallet.done, w.events)
	w.wallet.stopped = true
	ok := w.net.RunUntil(w.wallet.idle, 60*time.Second)
	t.Log(ok, w.status(), w.wallet.done, w.events)
	require.Empty(t, w.faults)
	rep := w.audit()
	require.True(t, rep.OK(), "%v", rep.Why)
}
