package fbfttest

import "testing"

// TestReductions compares a search with one that reduces nothing: whatever the
// members have signed in a state of the latter, they have signed it all in some
// state of the former, under some names of members and blocks.
func TestReductions(t *testing.T) {
	full, reduced := &Search{Views: 2, plain: true}, &Search{Views: 2}
	for _, s := range []*Search{full, reduced} {
		res, err := s.Run()
		if err != nil || !res.Complete {
			t.Fatal(err)
		}
		t.Logf("%+v", res)
	}
	images := reduced.run.said(true)
	done := make(map[[3]uint64]bool)
	for _, a := range full.run.said(false) {
		if done[a] {
			continue
		}
		done[a] = true
		found := false
		for k := 0; k < len(images) && !found; k++ {
			found = covers(images[k], a)
		}
		if !found {
			t.Fatalf("not covered: %b", a)
		}
	}
	t.Logf("%d different sets of statements, covered by %d", len(done), len(images))
}

// said lists what the members have signed in every state, with the mirror
// images if those were left out.
func (r *run) said(images bool) (list [][3]uint64) {
	add := func(at [3]uint32) {
		var sets [3]uint64
		for i, a := range at {
			for k := range r.q.statements {
				sets[i] |= r.q.said[a] >> k & 1 << k
			}
		}
		list = append(list, sets)
	}
	for _, key := range r.seen.slots {
		if key == 0 {
			continue
		}
		at := unpack(key - 1)
		add(at)
		if m := r.q.mirror; images && m != nil {
			add([3]uint32{m[at[0]], m[at[1]], m[at[2]]})
		}
	}
	return list
}

// covers reports whether b is contained in a under some names of members.
func covers(a, b [3]uint64) bool {
	for _, p := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		if b[0]&^a[p[0]] == 0 && b[1]&^a[p[1]] == 0 && b[2]&^a[p[2]] == 0 {
			return true
		}
	}
	return false
}
