package kad_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/kad"
)

// knowing returns a Core that knows contacts 1 to n.
func knowing(t *testing.T, n int) *hand {
	h := newHand(t, nil)
	for i := 1; i <= n; i++ {
		require.True(t, h.meet(contact(i, 0)))
	}
	h.take()
	return h
}

// answer answers every question to known contacts with the given ones, and
// returns what was sent to others.
func (h *hand) answer(known int, named func(i int) []kad.Contact) (others []sent) {
	for _, s := range h.take() {
		i := -1
		for j := 1; j <= known; j++ {
			if contact(j, 0).ID == s.to {
				i = j
			}
		}
		if i < 0 {
			others = append(others, s)
		} else if s.kind == kad.KindFind {
			require.NoError(h.t, h.say(contact(i, 0), kad.KindNodes, s.req, named(i)...))
		}
	}
	return others
}

// A lookup asks no more than ten nodes of one network that others name.
func TestLookupLimitsPrefixes(t *testing.T) {
	h := knowing(t, 2)
	h.core.Find(h.now, 0, nodeID(9999))
	asked := map[string]bool{}
	for range 400 {
		for _, s := range h.answer(2, func(i int) (list []kad.Contact) {
			for j := range 20 {
				c := contact(1000+20*i+j, 0)
				c.Addr = fmt.Sprintf("100.1.1.%d:1", 20*i+j)
				list = append(list, c)
			}
			return list
		}) {
			asked[s.addr] = true
		}
		h.pass(50 * time.Millisecond)
	}
	require.Len(t, asked, 10)
}

// The node that is wanted is asked at every address it is said to have, one
// after the other, and the one named most often comes before the rest.
func TestWantedAtManyAddresses(t *testing.T) {
	const known = 8
	h := knowing(t, known)
	target := contact(500, 0)
	h.core.Find(h.now, 0, target.ID)
	var asked []string
	for range 400 {
		for _, s := range h.answer(known, func(i int) []kad.Contact {
			c := target
			if i%2 == 0 {
				c.Addr = fmt.Sprintf("200.1.%d.1:1", i)
			}
			return []kad.Contact{c}
		}) {
			require.Equal(t, target.ID, s.to)
			asked = append(asked, s.addr)
		}
		h.pass(50 * time.Millisecond)
	}
	require.Len(t, asked, 1+known/2, "%v", asked)
	require.Contains(t, asked[:2], target.Addr)
	require.False(t, h.last.Found != nil && h.last.Found[0].OK)
}

// A contact that has just failed to answer is not named to others.
func TestSilentContactsAreNotNamed(t *testing.T) {
	h := knowing(t, 3)
	names := func() int {
		require.NoError(t, h.say(contact(2, 0), kad.KindFind, 77))
		for _, m := range h.core.Ready().Messages {
			var x kad.Message
			require.NoError(t, x.UnmarshalBinary(m.Data))
			if kind, req, _, _ := x.Request(); kind == kad.KindNodes && req == 77 {
				return len(x.Contacts())
			}
		}
		return -1
	}
	require.Equal(t, 2, names(), "all but who asks")
	h.core.Find(h.now, 0, nodeID(9999))
	for range 60 { // contact 1 does not answer
		for _, s := range h.take() {
			for _, i := range []int{2, 3} {
				if s.to == contact(i, 0).ID && s.kind == kad.KindFind {
					require.NoError(t, h.say(contact(i, 0), kad.KindNodes, s.req))
				}
			}
		}
		h.pass(20 * time.Millisecond)
	}
	require.Equal(t, 1, names())
}
