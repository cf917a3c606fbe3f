package kad_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad"
)

// joined returns a network in which everybody has joined through node 0.
func joined(t testing.TB, seed uint64, count, bits int, change func(i int, c *kad.Config)) *world {
	w := newWorld(t, seed, count, bits, func(i int, c *kad.Config) {
		c.Bootstrap = []kad.Contact{contact(0, bits)}
		if change != nil {
			change(i, c)
		}
	})
	for i := range count {
		w.start(i)
	}
	w.net.Run(w.net.Now() + time.Minute)
	return w
}

func ids(list []kad.Contact) (out []shardkit.NodeID) {
	for _, c := range list {
		out = append(out, c.ID)
	}
	return out
}

// At an epoch's end everybody changes shards, some serve two; a minute later
// every member knows every other, and outsiders find them.
func TestShardsChange(t *testing.T) {
	const count, bits = 64, 2
	w := joined(t, 1, count, bits, nil)
	serves := func(i int) []shardkit.ShardID {
		s := []shardkit.ShardID{shardkit.ShardID(i / 16)}
		if i%8 == 0 {
			s = append(s, shardkit.ShardID((i/16+1)%4))
		}
		return s
	}
	var want [4][]shardkit.NodeID
	for i := range count {
		for _, s := range serves(i) {
			want[s] = append(want[s], nodeID(i))
		}
		w.net.At(w.net.Now()+time.Duration(i)*50*time.Millisecond, func() {
			w.do(i, func(now time.Duration, c *kad.Core) {
				require.NoError(t, c.SetSelf(now, serves(i), contact(i, bits).Addr))
			})
		})
	}
	w.net.Run(w.net.Now() + 90*time.Second)
	for i := range count {
		for _, s := range serves(i) {
			others := slices.DeleteFunc(slices.Clone(want[s]), func(id shardkit.NodeID) bool { return id == nodeID(i) })
			require.ElementsMatch(t, others, ids(w.nodes[i].core.Members(s)), "node %d, shard %d", i, s)
		}
	}
	for s := range shardkit.ShardID(4) {
		outside := int(s+2) % 4 * 16
		require.ElementsMatch(t, want[s], ids(w.findShard(outside, s, 100)), "shard %d", s)
	}
	f := w.find(5, 24)
	require.True(t, f.OK)
}

// Members that are dead are not reported.
func TestDeadMembers(t *testing.T) {
	const count, bits = 80, 2
	w := joined(t, 2, count, bits, nil)
	var alive []shardkit.NodeID
	for i := range count {
		switch {
		case i%4 == 1 && i%3 == 0:
			w.net.Crash(nodeID(i))
		case i%4 == 1:
			alive = append(alive, nodeID(i))
		}
	}
	require.ElementsMatch(t, alive, ids(w.findShard(0, 1, 100)))
}

// Where a committee is known, nobody else passes for a member.
func TestOnlyMembersCount(t *testing.T) {
	const count, bits = 64, 1
	member := func(s shardkit.ShardID, id shardkit.NodeID) bool { return id[15]%4 == byte(s) }
	w := joined(t, 3, count, bits, func(_ int, c *kad.Config) { c.Member = member })
	var want []shardkit.NodeID
	for i := range count {
		if i%4 == 1 {
			want = append(want, nodeID(i))
		}
	}
	require.ElementsMatch(t, want, ids(w.findShard(0, 1, 100)))
	require.Len(t, w.nodes[1].core.Members(1), len(want)-1)
}

// A node that kept its contacts needs no bootstrap node.
func TestKnownContacts(t *testing.T) {
	const count, bits = 50, 1
	var known []kad.Contact
	w := joined(t, 4, count, bits, func(i int, c *kad.Config) {
		if known != nil {
			c.Bootstrap, c.Known = nil, known
		}
	})
	saved := kad.AppendContacts(nil, w.nodes[7].core.Contacts())
	w.net.Crash(nodeID(7))
	w.net.Crash(nodeID(0)) // the bootstrap node
	known, _ = kad.DecodeContacts(saved)
	require.NoError(t, w.net.Restart(nodeID(7)))
	w.start(7)
	w.net.Run(w.net.Now() + time.Minute)
	require.True(t, w.find(7, 31).OK)
	require.Len(t, w.nodes[7].core.Members(1), count/2-1)
}

// A bootstrap node that comes late is waited for.
func TestLateBootstrap(t *testing.T) {
	w := newWorld(t, 5, 10, 0, func(_ int, c *kad.Config) { c.Bootstrap = []kad.Contact{contact(0, 0)} })
	w.net.Crash(nodeID(0))
	for i := 1; i < 10; i++ {
		w.start(i)
	}
	w.net.Run(20 * time.Second)
	require.NoError(t, w.net.Restart(nodeID(0)))
	w.start(0)
	w.net.Run(2 * time.Minute)
	for i := range 10 {
		require.Len(t, w.nodes[i].core.Contacts(), 9)
	}
}

// After a partition both sides find each other again, and nobody was thrown
// out whom one needs to do so.
func TestPartition(t *testing.T) {
	const count, bits = 40, 1
	w := joined(t, 6, count, bits, func(_ int, c *kad.Config) { c.Refresh = time.Minute })
	var half []shardkit.NodeID
	for i := range count / 2 {
		half = append(half, nodeID(i))
	}
	w.net.Partition(half)
	w.net.Run(w.net.Now() + 2*time.Minute)
	require.False(t, w.find(3, 30).OK)
	require.True(t, w.find(3, 4).OK)
	w.net.Heal()
	w.net.Run(w.net.Now() + 10*time.Minute)
	require.True(t, w.find(3, 30).OK)
}

// Lookups go on while nodes come and go: every other second one does.
func TestChurn(t *testing.T) {
	const count, bits = 150, 2
	w := joined(t, 7, count, bits, func(_ int, c *kad.Config) { c.Refresh = 2 * time.Minute })
	down := map[int]bool{}
	found, tried := 0, 0
	for range 150 {
		i := 1 + w.net.Rand().IntN(count-1)
		if down[i] {
			require.NoError(t, w.net.Restart(nodeID(i)))
			w.start(i)
		} else {
			w.net.Crash(nodeID(i))
		}
		down[i] = !down[i]
		w.net.Run(w.net.Now() + 2*time.Second)
		a, b := w.net.Rand().IntN(count), w.net.Rand().IntN(count)
		if a == b || down[a] || down[b] || !w.settled(b) {
			continue
		}
		tried++
		if w.find(a, b).OK {
			found++
		}
	}
	t.Logf("found %d of %d", found, tried)
	require.GreaterOrEqual(t, found*100, tried*97)
}

// settled reports whether a node has joined.
func (w *world) settled(i int) bool { return len(w.nodes[i].core.Contacts()) > 0 }

func TestSameSeedSameHistory(t *testing.T) {
	digest := func(seed uint64) shardkit.Hash {
		w := joined(t, seed, 40, 2, nil)
		w.findShard(3, 1, 5)
		return w.net.Digest()
	}
	require.Equal(t, digest(1), digest(1))
	require.NotEqual(t, digest(1), digest(2))
}

// A message that every node hands to the contact nearest to its goal crosses
// at most log2(shards) shards. With a third of the nodes dropping it, one sent
// along several first hops still arrives where one sent along a single path
// often does not.
func TestRouting(t *testing.T) {
	const count, bits = 2000, 4
	w := newWorld(t, 8, count, bits, nil)
	w.fill(16)
	byID := map[shardkit.NodeID]int{}
	for i := range count {
		byID[nodeID(i)] = i
	}
	// route goes from node to node until it is there, dropped, or lost.
	route := func(from, to int, drops func(int) bool) (crossed, hops int, ok bool) {
		for from != to && hops < 20 {
			next := w.nodes[from].core.Closest(contact(to, bits).Shard, nodeID(to), 1)[0]
			at := byID[next.ID]
			if drops(at) && at != to {
				return crossed, hops, false
			}
			if next.Shard != contact(from, bits).Shard {
				crossed++
			}
			from = at
			hops++
		}
		return crossed, hops, from == to
	}
	single, several, tried := 0, 0, 300
	for range tried {
		from, to := w.net.Rand().IntN(count), w.net.Rand().IntN(count)
		crossed, hops, ok := route(from, to, func(int) bool { return false })
		require.True(t, ok)
		require.LessOrEqual(t, crossed, bits)
		require.Less(t, hops, 11) // log2 of 2000

		bad := func(i int) bool { return i%3 == (from+1)%3 }
		if _, _, ok := route(from, to, bad); ok {
			single++
		}
		for _, first := range w.nodes[from].core.Closest(contact(to, bits).Shard, nodeID(to), 8) {
			if at := byID[first.ID]; at == to || !bad(at) {
				if _, _, ok := route(at, to, bad); ok {
					several++
					break
				}
			}
		}
	}
	t.Logf("a third drops: %d of %d along one path, %d along eight", single, tried, several)
	require.Less(t, single, several)
	require.Greater(t, several, tried*98/100)
}
