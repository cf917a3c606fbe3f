package fbfttest_test

import (
	"flag"
	"testing"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

var searchStates = flag.Int("fbft.states", 500000, "bound of the searches that do not end soon; 0: none")

// TestSearchTwoViews is complete: all 74,111 states of two views.
func TestSearchTwoViews(t *testing.T) {
	s := &fbfttest.Search{Views: 2}
	res, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	if !res.Complete {
		t.Error("the frontier did not empty")
	}
	t.Logf("%+v", res)
}

// TestSearchRestarts lets every member lose power once in two views. With
// -fbft.states 0 it is complete: 4,897,790 states.
func TestSearchRestarts(t *testing.T) {
	search(t, &fbfttest.Search{Views: 2, Restarts: 1, MaxStates: *searchStates})
}

// TestSearchThreeViews is bounded. It has been run to 60,000,000 states without
// end (44,830 states of one member) and without a broken invariant. That two
// views are complete covers every pair of neighbouring views; what a third adds
// is a proof with two different certificates, which the plays of TestMutants
// and the twins of three views go through.
func TestSearchThreeViews(t *testing.T) {
	search(t, &fbfttest.Search{Views: 3, MaxStates: *searchStates})
}

func search(t *testing.T, s *fbfttest.Search) {
	t.Helper()
	res, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", res)
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
	} {
		s := &fbfttest.Search{Views: m.views, Restarts: m.restarts, MaxStates: 3000000, Core: fbft.Config{Mutant: m.mutant}}
		res, err := s.Run()
		if err == nil {
			t.Errorf("%s: not found in %+v", m.name, res)
			continue
		}
		t.Logf("%s: %v after %d states", m.name, err, res.States)
	}
}
