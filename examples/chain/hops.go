package chain

import (
	"errors"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
)

// Claim says that Members of the committee behind Verifier signed Statement.
type Claim struct {
	Verifier  fbft.Verifier
	Statement []byte
	Members   []int // ascending
	Aggregate []byte
}

// Batch verifies claims about different committees at once: nil only if every
// one holds.
type Batch func(claims []Claim) error

// hops verifies consecutive hops, the first under committee, and keeps those
// that are good: whoever joins after this replica will ask for them.
func (d *download) hops(committee []byte, run []statesync.Hop) (good int, err error) {
	good, bad := d.rules.checkHops(committee, run)
	err = d.store.Apply(func(yield func(k, v []byte) bool) {
		for i := range run[:good] {
			if !yield(append([]byte(extraPrefix), keyHop(run[i].Epoch)...), encodeHop(&run[i])) {
				return
			}
		}
	}, nil)
	if err != nil {
		return 0, err
	}
	return good, bad
}

// checkHops verifies the first blocks of consecutive epochs, the first one
// under committee, each other one under the committee that the one before
// names. Signatures come last, in one batch: only if that fails one by one, to
// see which is wrong.
func (r *rules) checkHops(committee []byte, run []statesync.Hop) (good int, err error) {
	c, v, err := r.decodeCommittee(committee)
	if err != nil {
		return 0, err
	}
	certs := make([]*fbft.Certificate, 0, len(run))
	signers := make([]*fbft.Committee, 0, len(run))
	claims := make([]Claim, 0, len(run))
	for i := range run {
		var q *fbft.Certificate
		if q, err = r.readHop(c, &run[i]); err != nil {
			break
		}
		certs, signers = append(certs, q), append(signers, c)
		claims = append(claims, Claim{v, q.Statement(r.id, r.shard), q.Signers.Indices(), q.Aggregate})
		if c, v, err = r.namedBy(&run[i]); err != nil {
			certs = certs[:i]
			break
		}
	}
	if r.batch != nil && r.batch(claims[:len(certs)]) == nil {
		return len(certs), err
	}
	for i, q := range certs {
		if err := q.Check(r.id, r.shard, signers[i]); err != nil {
			return i, err
		}
	}
	return len(certs), err
}

// readHop checks everything about a hop but the signature of its certificate
// and the committee it names.
func (r *rules) readHop(c *fbft.Committee, hop *statesync.Hop) (*fbft.Certificate, error) {
	var h ledger.Header
	if err := h.UnmarshalBinary(hop.Header); err != nil {
		return nil, err
	}
	if h.Shard != r.shard || h.Chain != r.id || h.Epoch != hop.Epoch || h.Hop == nil {
		return nil, errors.New("not the first block of the epoch")
	}
	q, err := readCertificate(&h, h.Hash(), hop.Cert, c)
	if err != nil {
		return nil, err
	}
	return q, q.Shape(c)
}

// namedBy returns the committee of the epoch after a hop's.
func (r *rules) namedBy(hop *statesync.Hop) (*fbft.Committee, fbft.Verifier, error) {
	var h ledger.Header
	if err := h.UnmarshalBinary(hop.Header); err != nil {
		return nil, nil, err
	}
	next, v, err := r.decodeCommittee(hop.Committee)
	if err != nil {
		return nil, nil, err
	}
	if next.Hash() != h.Hop.NextCommittee {
		return nil, nil, errors.New("not the committee that the header names")
	}
	return next, v, nil
}

// decodeCommittee builds a consensus committee from its encoding.
func (r *rules) decodeCommittee(b []byte) (*fbft.Committee, fbft.Verifier, error) {
	members, quorum, err := fbft.DecodeCommittee(b)
	if err != nil {
		return nil, nil, err
	}
	keys := make([][]byte, len(members))
	for i := range members {
		keys[i] = members[i].Key
	}
	v, err := r.scheme(keys)
	if err != nil {
		return nil, nil, err
	}
	c, err := fbft.NewCommittee(members, quorum, v)
	return c, v, err
}
