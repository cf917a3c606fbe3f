package fbft

import (
	"bytes"
	"sort"
	"time"

	"github.com/shardkit/shardkit"
)

// maxLimited bounds the peers a limiter remembers.
const maxLimited = 1024

// limiter keeps answers to peers rare: one per peer and period, or sooner if
// the peer has moved up since. It holds the latest answer to each of a bounded
// number of peers, sorted.
type limiter struct {
	entries []limited
}

type limited struct {
	node   shardkit.NodeID
	height shardkit.Height
	at     time.Duration
}

// allow reports whether node may have an answer about height now, and notes
// that it got it.
func (l *limiter) allow(now, period time.Duration, node shardkit.NodeID, height shardkit.Height) bool {
	i := sort.Search(len(l.entries), func(i int) bool {
		return bytes.Compare(l.entries[i].node[:], node[:]) >= 0
	})
	if i < len(l.entries) && l.entries[i].node == node {
		e := &l.entries[i]
		if now-e.at < period && height <= e.height {
			return false
		}
		e.at, e.height = now, height
		return true
	}
	if len(l.entries) == maxLimited {
		if !l.expire(now, period) {
			return false
		}
		return l.allow(now, period, node, height)
	}
	l.entries = append(l.entries, limited{})
	copy(l.entries[i+1:], l.entries[i:])
	l.entries[i] = limited{node: node, height: height, at: now}
	return true
}

// expire drops the peers whose period is over and reports whether any was.
func (l *limiter) expire(now, period time.Duration) bool {
	keep := l.entries[:0]
	for _, e := range l.entries {
		if now-e.at < period {
			keep = append(keep, e)
		}
	}
	freed := len(keep) < len(l.entries)
	l.entries = keep
	return freed
}
