package fbft

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// The kinds of record. A record is written when the thing is decided; what
// reveals it leaves only once the record is durable.
const (
	recVote     = 1 // a vote of this replica
	recLock     = 2 // a prepared certificate with the header of its block
	recReport   = 3 // a report of this replica
	recProposal = 4 // a NEWVIEW prepared on, or an own proposal: the message's bytes
	recDecided  = 5 // a commit certificate
)

// logged is one record of the log. Which fields count depends on the kind. A
// record is what binds its maker, not how it looked on the wire: words are
// signed again from it, and come out the same byte for byte.
type logged struct {
	kind   uint8
	epoch  shardkit.Epoch
	height shardkit.Height
	view   uint64 // vote, report, proposal
	vote   vote   // without signature: signing is deterministic
	claim  claim
	own    bool // proposal: made by this replica
	cert   *Certificate
	data   []byte // lock: header; proposal: message
}

// encode gives each record its shard, epoch and height, so that one log holds
// many heights and a record read at another binds to nothing there.
func (l *logged) encode(shard shardkit.ShardID) []byte {
	b := []byte{version, l.kind}
	b = wire.AppendU32(b, uint32(shard))
	b = wire.AppendU64(b, uint64(l.epoch))
	b = wire.AppendU64(b, uint64(l.height))
	switch l.kind {
	case recVote:
		b = l.vote.appendTo(b)
	case recLock:
		b = wire.AppendBytes(l.cert.appendTo(b), l.data)
	case recReport:
		b = l.claim.appendTo(wire.AppendU64(b, l.view))
	case recProposal:
		b = wire.AppendBytes(wire.AppendBool(wire.AppendU64(b, l.view), l.own), l.data)
	case recDecided:
		b = l.cert.appendTo(b)
	}
	return b
}

// maxRecord bounds the byte strings in a record, which are this replica's own.
const maxRecord = 1 << 26

// decodeRecord is as strict with the own disk as with a peer: a record misread
// would be a vote forgotten, and a second one in its place a fork.
func decodeRecord(b []byte, shard shardkit.ShardID) (*logged, error) {
	r := wire.NewReader(b)
	r.Expect(version, "version")
	l := &logged{kind: r.U8()}
	// Two shards that were given the same directory would each take the other's
	// promises for its own.
	if s := shardkit.ShardID(r.U32()); r.Err() == nil && s != shard {
		return nil, fmt.Errorf("of shard %d, not %d", s, shard)
	}
	l.epoch = shardkit.Epoch(r.U64())
	l.height = shardkit.Height(r.U64())
	switch l.kind {
	case recVote:
		l.vote = readVote(r)
		l.view = l.vote.view
	case recLock:
		l.cert = readCertificate(r)
		l.data = clip(r.Bytes(maxRecord))
	case recReport:
		l.view = readView(r)
		l.claim = readClaim(r)
	case recProposal:
		l.view = readView(r)
		l.own = r.Bool()
		l.data = clip(r.Bytes(maxRecord))
	case recDecided:
		l.cert = readCertificate(r)
	// It may be the promise of a later version. To skip it would be to break
	// it.
	default:
		r.Fail(errors.New("unknown kind"))
	}
	return l, r.Close()
}
