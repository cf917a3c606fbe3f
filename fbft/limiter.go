package fbft

import (
	"bytes"
	"slices"
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
	i, ok := l.find(node)
	if ok {
		e := &l.entries[i]
		if now-e.at < period && height <= e.height {
			return false
		}
		e.at, e.height = now, height
		return true
	}
	if len(l.entries) == maxLimited {
		// All have been answered within the period: a newcomer waits. To make
		// room by forgetting one would give that one two answers.
		if !l.expire(now, period) {
			return false
		}
		i, _ = l.find(node)
	}
	l.entries = slices.Insert(l.entries, i, limited{node: node, height: height, at: now})
	return true
}

// raise notes that the answer just allowed went up to a height.
func (l *limiter) raise(node shardkit.NodeID, height shardkit.Height) {
	if i, ok := l.find(node); ok {
		l.entries[i].height = max(l.entries[i].height, height)
	}
}

func (l *limiter) find(node shardkit.NodeID) (int, bool) {
	return slices.BinarySearchFunc(l.entries, node, func(e limited, node shardkit.NodeID) int {
		return bytes.Compare(e.node[:], node[:])
	})
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
