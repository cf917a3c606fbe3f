package chain

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// A node has one log for all its replicas. A record is a vote record of the
// consensus core, or a body that a later vote record depends on, or what the
// vote rests on (see archive.go), or evidence of an offence (see accuse.go): all
// become durable in order, by the same sync.
const (
	recordVote uint8 = iota + 1
	recordBody
	recordArchive
	recordEvidence // of no shard and height: whoever holds it writes it again
)

const maxRecord = 16 << 20

// recordLog numbers records and knows which are still needed.
type recordLog struct {
	seq       uint64 // of the last record handed out
	persisted uint64
	live      []liveRecord // in order; a recovered one has seq 0
	pruned    uint64

	votes    map[shardkit.ShardID][][]byte // recovered, until the replica is open
	bodies   map[shardkit.ShardID][]bodyRecord
	archives map[shardkit.ShardID][]archiveRecord
	evidence [][]byte // recovered
}

type liveRecord struct {
	seq    uint64
	shard  shardkit.ShardID
	height shardkit.Height
}

// bodyRecord is a block's content as the log keeps it.
type bodyRecord struct {
	height shardkit.Height
	header []byte
	body   []byte
}

// archiveRecord is a message that a vote at a height rests on.
type archiveRecord struct {
	height  shardkit.Height
	message []byte
}

func encodeRecord(kind uint8, shard shardkit.ShardID, h shardkit.Height, parts ...[]byte) []byte {
	n := 1 + 4 + 8
	for _, p := range parts {
		n += 4 + len(p)
	}
	b := append(make([]byte, 0, n), kind)
	b = wire.AppendU32(b, uint32(shard))
	b = wire.AppendU64(b, uint64(h))
	for _, p := range parts {
		b = wire.AppendBytes(b, p)
	}
	return b
}

// recover sorts the records of former lives by replica.
func (l *recordLog) recover(records [][]byte) error {
	l.votes = map[shardkit.ShardID][][]byte{}
	l.bodies = map[shardkit.ShardID][]bodyRecord{}
	l.archives = map[shardkit.ShardID][]archiveRecord{}
	for i, rec := range records {
		r := wire.NewReader(rec)
		kind, shard, height := r.U8(), shardkit.ShardID(r.U32()), shardkit.Height(r.U64())
		switch kind {
		case recordVote:
			l.votes[shard] = append(l.votes[shard], r.Bytes(maxRecord))
		case recordBody:
			l.bodies[shard] = append(l.bodies[shard], bodyRecord{height, r.Bytes(maxHeader), r.Bytes(maxRecord)})
		case recordArchive:
			l.archives[shard] = append(l.archives[shard], archiveRecord{height, r.Bytes(maxRecord)})
		case recordEvidence:
			l.evidence = append(l.evidence, r.Bytes(maxRecord))
		default:
			r.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, kind))
		}
		if err := r.Close(); err != nil {
			return fmt.Errorf("chain: log record %d: %w", i, err)
		}
		if kind != recordEvidence {
			l.live = append(l.live, liveRecord{0, shard, height})
		}
	}
	return nil
}

// next numbers a record that does not keep the log from being pruned.
func (l *recordLog) next() uint64 {
	l.seq++
	return l.seq
}

// add numbers a record that is needed until its height is dropped.
func (l *recordLog) add(shard shardkit.ShardID, h shardkit.Height) uint64 {
	seq := l.next()
	l.live = append(l.live, liveRecord{seq, shard, h})
	return seq
}

// drop says that a shard's records of heights up to h are no longer needed:
// the ledger has them.
func (l *recordLog) drop(shard shardkit.ShardID, h shardkit.Height) {
	for i := range l.live {
		if r := &l.live[i]; r.shard == shard && r.height <= h {
			r.height = 0
		}
	}
	n := 0
	for n < len(l.live) && l.live[n].height == 0 {
		l.pruned = l.live[n].seq
		n++
	}
	l.live = l.live[n:]
}

func (l *recordLog) dropShard(shard shardkit.ShardID) { l.drop(shard, 1<<63) }

// prune returns the newest record up to which none is needed, once for each.
func (l *recordLog) prune() uint64 {
	p := l.pruned
	l.pruned = 0
	return p
}
