package reshard

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Shares makes the units of an epoch in which every share is dealt by itself,
// out of slots whose weights are their numbers of shares. A share that a slot
// keeps has the number it had. If a slot has fewer shares than before, which
// ones leave is drawn from the seed: were it known in advance, an owner could
// have a share leave where it is of little use, and join again. New shares get
// the lowest free numbers.
func Shares(prev Assignment, slots []Unit, seed shardkit.Hash) ([]Unit, error) {
	list, err := sorted(slots)
	if err != nil {
		return nil, err
	}
	old, err := flatten(prev)
	if err != nil {
		return nil, err
	}
	var units []Unit
	for _, slot := range list {
		if slot.Share != 0 || slot.Weight > uint64(MaxUnits-len(units)) {
			return nil, fmt.Errorf("reshard: slot %v/%d with %d shares", slot.Slot, slot.Share, slot.Weight)
		}
		for len(old) > 0 && bytes.Compare(old[0].unit.Slot[:], slot.Slot[:]) < 0 {
			old = old[1:]
		}
		n := 0
		for n < len(old) && old[n].unit.Slot == slot.Slot {
			n++
		}
		for _, share := range numbers(old[:n], slot, seed) {
			units = append(units, Unit{Slot: slot.Slot, Share: share, Weight: 1, Owner: slot.Owner})
		}
	}
	return units, nil
}

// numbers returns the numbers of a slot's shares, ascending.
func numbers(old []placed, slot Unit, seed shardkit.Hash) []uint32 {
	list := make([]uint32, len(old), max(len(old), int(slot.Weight)))
	for i, p := range old {
		list[i] = p.unit.Share
	}
	if len(list) > int(slot.Weight) {
		lot := func(share uint32) uint64 {
			b := append(append([]byte("shardkit/reshard/leave/v1"), seed[:]...), slot.Slot[:]...)
			h := sha256.Sum256(wire.AppendU32(b, share))
			return binary.BigEndian.Uint64(h[:])
		}
		slices.SortFunc(list, func(a, b uint32) int { return cmp.Compare(lot(a), lot(b)) })
		list = list[:slot.Weight]
	}
	slices.Sort(list)
	kept := slices.Clone(list)
	for next := uint32(0); len(list) < int(slot.Weight); next++ {
		if _, taken := slices.BinarySearch(kept, next); !taken {
			list = append(list, next)
		}
	}
	slices.Sort(list)
	return list
}
