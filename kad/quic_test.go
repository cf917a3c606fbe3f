package kad_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/loop"
	"github.com/shardkit/shardkit/kad"
	"github.com/shardkit/shardkit/kad/quicnet"
)

// peer is a Core with a real loop and a real network.
type peer struct {
	self    kad.Contact
	core    *kad.Core
	loop    *loop.Loop
	host    *quicnet.Host
	members []kad.Members
	found   []kad.Found
}

func startPeer(t *testing.T, i, bits int, bootstrap ...kad.Contact) *peer {
	p := &peer{}
	ready := make(chan struct{})
	var err error
	p.host, err = quicnet.Listen(quicnet.Config{
		Key:     ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i))),
		Network: "kad test",
		Handle:  func(from shardkit.NodeID, _ uint8, msg []byte) { <-ready; _ = p.loop.Deliver(from, msg) },
	})
	require.NoError(t, err)
	p.self = kad.Contact{ID: p.host.ID(), Shard: shardkit.ShardID(i % (1 << bits)), Addr: p.host.Addr()}
	p.core, err = kad.New(kad.Config{Self: p.self, ShardBits: bits, Bootstrap: bootstrap, Seed: uint64(i)})
	require.NoError(t, err)
	p.loop, err = loop.New(loop.Config{
		Core: p.core,
		Effects: func() loop.Effects {
			r := p.core.Ready()
			for _, c := range r.Routes {
				p.host.SetAddr(c.ID, c.Addr)
			}
			p.members = append(p.members, r.Members...)
			p.found = append(p.found, r.Found...)
			return loop.Effects{Messages: r.Messages, Jobs: r.Jobs}
		},
		Send: p.host.Send,
	})
	require.NoError(t, err)
	close(ready)
	go func() { _ = p.loop.Run(context.Background()) }()
	t.Cleanup(func() { p.loop.Close(); p.host.Close() })
	p.loop.Do(p.core.Start)
	return p
}

// Twenty real hosts that know one of them find all members of every shard.
func TestOverQUIC(t *testing.T) {
	const count, bits = 20, 1
	first := startPeer(t, 0, bits)
	peers := []*peer{first}
	for i := 1; i < count; i++ {
		peers = append(peers, startPeer(t, i, bits, first.self))
	}
	for i, p := range peers {
		var got []kad.Contact
		require.Eventually(t, func() bool {
			p.loop.Do(func(now time.Duration) {
				for _, m := range p.members {
					got = m.Contacts
				}
				p.members = nil
				p.core.FindShard(now, shardkit.ShardID(1-i%2), count)
			})
			return len(got) == count/2
		}, 20*time.Second, 20*time.Millisecond, "node %d", i)
	}
	far := peers[count-1].self
	require.Eventually(t, func() bool {
		ok := false
		first.loop.Do(func(now time.Duration) {
			for _, f := range first.found {
				ok = ok || f.OK && f.Contact == far
			}
			first.core.Find(now, far.Shard, far.ID)
		})
		return ok
	}, 20*time.Second, 20*time.Millisecond)
}
