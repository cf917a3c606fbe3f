package fbfttest_test

import (
	"flag"
	"testing"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

var searchLong = flag.Bool("fbft.search", false, "search three views with power failures, and for the mutant that takes three")

// TestSearch is complete: there is no other state of the committee in views 0
// to 2, nor in views 0 and 1 if every member may lose power twice.
func TestSearch(t *testing.T) {
	search(t, &fbfttest.Search{Views: 2})
	search(t, &fbfttest.Search{Views: 2, Restarts: 2})
	if !testing.Short() {
		search(t, &fbfttest.Search{Views: 3})
	}
}

// TestSearchLong lets every member lose power once in views 0 to 2.
func TestSearchLong(t *testing.T) {
	if !*searchLong {
		t.Skip("-fbft.search")
	}
	search(t, &fbfttest.Search{Views: 3, Restarts: 1})
}

func search(t *testing.T, s *fbfttest.Search) {
	t.Helper()
	res, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	if !res.Complete {
		t.Error("the frontier did not empty")
	}
	t.Logf("views 0 to %d, %d power failures: %+v", s.Views-1, s.Restarts, res)
}

// TestSearchMutants shows that the search has power: each of these rules is
// missed.
func TestSearchMutants(t *testing.T) {
	for _, m := range []struct {
		name     string
		mutant   mutant.Set
		views    uint64
		restarts int
	}{
		{"vote after report", mutant.VoteAfterReport, 2, 0},
		{"votes lost at restart", mutant.ForgetVotes, 2, 1},
		{"certificate not durable with the COMMIT", mutant.ForgetLock, 2, 1},
		{"COMMIT on a lower view's certificate", mutant.CommitLower, 3, 0},
	} {
		if m.views > 2 && !*searchLong {
			continue
		}
		s := &fbfttest.Search{Views: m.views, Restarts: m.restarts, Core: fbft.Config{Mutant: m.mutant}}
		res, err := s.Run()
		if err == nil {
			t.Errorf("%s: not found in %+v", m.name, res)
			continue
		}
		t.Logf("%s: %v after %d states", m.name, err, res.States)
	}
}
