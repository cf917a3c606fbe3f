package fbft

import (
	"slices"

	"github.com/shardkit/shardkit"
)

const (
	maxAhead = 4       // heights ahead whose messages are kept
	maxEarly = 2 << 10 // bytes of a vote or certificate, and of an announcement beside header and reference
)

// earlyBox keeps messages of a later height until it starts: of every member
// the latest of each kind and phase.
type earlyBox struct {
	height shardkit.Height
	list   []early // in order of arrival
}

type early struct {
	from shardkit.NodeID
	slot uint8 // kind, and phase of votes and certificates
	data []byte
}

// put keeps a message in place of an earlier one of its kind.
func (b *earlyBox) put(from shardkit.NodeID, h heading, msg []byte) {
	slot := h.kind << 4
	if h.kind != kindProposal {
		// The phase is byte 8 of a vote and byte 2 of a certificate message.
		at := headingSize + 8
		if h.kind == kindCertificate {
			at = headingSize + 2
		}
		if len(msg) <= at || len(msg) > maxEarly || msg[at] > byte(Commit) {
			return
		}
		slot |= msg[at]
	}
	if b.height != h.height {
		b.height, b.list = h.height, nil
	}
	e := early{from: from, slot: slot, data: clip(msg)}
	same := func(o early) bool { return o.from == from && o.slot == slot }
	if k := slices.IndexFunc(b.list, same); k >= 0 {
		b.list[k] = e
		return
	}
	b.list = append(b.list, e)
}

// take empties the box and returns what is for a height.
func (b *earlyBox) take(h shardkit.Height) []early {
	if b.height > h {
		return nil
	}
	list := b.list
	if b.height != h {
		list = nil
	}
	*b = earlyBox{}
	return list
}
