package mutant_test

import (
	"math/bits"
	"testing"

	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

// TestList: every mutation is a bit of its own with a name of its own, and none
// is missing, so that whoever goes through the list goes through all.
func TestList(t *testing.T) {
	var all mutant.Set
	names := map[string]bool{}
	for _, m := range mutant.List() {
		if bits.OnesCount32(uint32(m.Mutant)) != 1 || all.Has(m.Mutant) || names[m.Name] || m.Name == "" {
			t.Errorf("%q, %b", m.Name, m.Mutant)
		}
		all |= m.Mutant
		names[m.Name] = true
	}
	if last := mutant.NoReportAfterCommit; all != last|(last-1) {
		t.Errorf("the list has %b", all)
	}
	if mutant.Set(0).Has(mutant.OwnLock) || !(mutant.OwnLock | mutant.NoView).Has(mutant.NoView) {
		t.Error("Has")
	}
}
