package fbft

import (
	"bytes"

	"github.com/shardkit/shardkit"
)

const (
	maxAhead = 4       // heights ahead whose messages are kept
	maxEarly = 2 << 10 // bytes of a vote, and of a certificate with an aggregate of constant length

	// earlyShare is the bytes that a member adds to a certificate that lists
	// its signers' signatures.
	earlyShare = 96

	// maxStrangers bounds what is kept of a height for those who have no such
	// part in this one: its committee may be another.
	maxStrangers = 16
)

// earlyBox keeps messages of a later height until it starts: of every member
// the latest of each kind and phase. There are as many boxes as heights ahead,
// so each holds one height at a time.
type earlyBox struct {
	height    shardkit.Height
	list      []early // in order of arrival
	strangers int
}

type early struct {
	from shardkit.NodeID
	slot uint8 // kind, and phase of votes and certificates
	data []byte
}

// phaseOf returns the phase that a vote or certificate message names: byte 8 of
// a vote and byte 2 of a certificate message; 0 if there is none. It is a guess
// about bytes not yet decoded, good to choose a place by: what is wrong is
// refused when the height begins.
func phaseOf(kind uint8, msg []byte) Phase {
	at := headingSize + 8
	if kind == kindCertificate {
		at = headingSize + 2
	}
	if kind == kindProposal || kind == kindReport || len(msg) <= at || msg[at] > byte(Commit) {
		return 0
	}
	return Phase(msg[at])
}

// put keeps a message in place of an earlier one of its kind. Of strangers it
// keeps only so many.
func (b *earlyBox) put(from shardkit.NodeID, h heading, msg []byte, stranger bool) {
	phase := phaseOf(h.kind, msg)
	if h.kind != kindProposal && phase == 0 {
		return
	}
	if b.height != h.height {
		*b = earlyBox{height: h.height}
	}
	slot := h.kind<<4 | byte(phase)
	// The latest: honest members repeat, and their last word is what counts.
	for k := range b.list {
		if e := &b.list[k]; e.from == from && e.slot == slot {
			if !bytes.Equal(e.data, msg) {
				e.data = clip(msg)
			}
			return
		}
	}
	if stranger {
		if b.strangers == maxStrangers {
			return
		}
		b.strangers++
	}
	b.list = append(b.list, early{from: from, slot: slot, data: clip(msg)})
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
