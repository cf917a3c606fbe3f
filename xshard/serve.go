package xshard

import (
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
)

// loaded is the result of a Load job.
type loaded struct {
	dest    shardkit.ShardID
	peer    shardkit.NodeID
	ask     message
	packets []Packet
}

// polled queues the poll of a member of dest. A member has at most one poll
// waiting or being read; and to ask again for what it was just sent, it has to
// wait, as an honest asker does, who turns to another member first.
func (r *Relay) polled(now time.Duration, dest *shard, peer *member, m *message) error {
	switch {
	case peer.asked != nil || peer.loads:
		return fmt.Errorf("xshard: %v: %w: a poll of it is being answered", peer.node, ErrBusy)
	case m.from < peer.served && now < peer.when+r.cfg.Poll/2:
		return fmt.Errorf("xshard: %v: %w: height %d again", peer.node, ErrBusy, m.from)
	case m.max < 1:
		return fmt.Errorf("xshard: %v: poll for nothing", peer.node)
	case r.height > 0 && m.from > r.height:
		r.answer(dest, peer, m, nil) // known without a look at the disk
		return nil
	}
	peer.when = now
	peer.asked = &message{id: m.id, from: m.from, max: min(m.max, maxAnswer)}
	dest.waiting = append(dest.waiting, peer.node)
	r.startLoads()
	return nil
}

// startLoads reads for waiting polls, the asking shards taking turns: many
// members of one shard who ask at once do not make the others wait.
func (r *Relay) startLoads() {
	for idle := 0; r.loads < maxLoads && idle < len(r.shards); {
		r.turn = (r.turn + 1) % len(r.shards)
		s := r.shards[r.turn]
		if len(s.waiting) == 0 {
			idle++
			continue
		}
		idle = 0
		peer := s.member(s.waiting[0]) // SetMembers keeps only members waiting
		s.waiting = s.waiting[1:]
		r.load(s.id, peer)
	}
}

func (r *Relay) load(dest shardkit.ShardID, peer *member) {
	res := loaded{dest: dest, peer: peer.node, ask: *peer.asked}
	peer.asked, peer.loads = nil, true
	r.loads++
	// One more than asked for tells whether there are more.
	read := r.cfg.Load(dest, res.ask.from, res.ask.max+1, r.cfg.MaxPacket)
	r.ready.Jobs = append(r.ready.Jobs, shardkit.Job{
		Kind: "xshard.load",
		Size: res.ask.max,
		Run: func() any {
			res.packets = read()
			return res
		},
	})
}

func (r *Relay) loaded(res loaded) {
	r.loads--
	if s := r.shard(res.dest); s != nil {
		if peer := s.member(res.peer); peer != nil {
			peer.loads = false
			n := r.answer(s, peer, &res.ask, res.packets)
			peer.served = res.ask.from + shardkit.Height(max(1, n))
		}
	}
	r.startLoads()
}

// answer sends as many of packets as were asked for and fit into one message:
// at least one, if the first is within the limit. It returns how many.
func (r *Relay) answer(dest *shard, peer *member, ask *message, packets []Packet) int {
	m := message{kind: kindAnswer, target: dest.id, origin: r.cfg.Shard, id: ask.id}
	n, size := 0, 0
	for n < len(packets) && n < ask.max && packets[n].Height == ask.from+shardkit.Height(n) {
		if size += packets[n].size(); size > r.cfg.MaxPacket {
			size -= packets[n].size()
			break
		}
		n++
	}
	m.packets = packets[:n]
	m.more = n > 0 && n < len(packets)
	r.send(peer.node, m.append(make([]byte, 0, size+messageOverhead)))
	r.stats.Answers++
	return n
}
