package simnet

import (
	"encoding/json"
	"time"

	"github.com/shardkit/shardkit"
)

// Reasons of a loss, as the trace names them.
const (
	lostChance  = "chance"
	lostFilter  = "filter"
	lostBlocked = "blocked"
	lostDown    = "down"
	lostUnknown = "unknown"
)

// handle lets one event happen.
func (n *Net) handle(ev *event) {
	if ev.kind == evFunc {
		ev.fn()
		return
	}
	h := n.nodes[ev.node]
	switch ev.kind {
	case evArrive:
		n.arrive(h, ev.from, ev.class, ev.data)
	case evUp:
		if ev.life == h.up.gen {
			p, began := h.up.finish(n.now)
			if began {
				n.queue.push(h.up.ends, event{kind: evUp, node: h.index, life: h.up.gen})
			}
			n.travel(h, n.nodes[p.to], p.class, p.data)
		}
	case evDown:
		if ev.life == h.down.gen {
			p, began := h.down.finish(n.now)
			if began {
				n.queue.push(h.down.ends, event{kind: evDown, node: h.index, life: h.down.gen})
			}
			n.deliver(h, n.nodes[p.from], p.class, p.data)
		}
	default:
		if ev.life == h.life {
			n.own(h, ev)
		}
	}
}

// own lets an event of the node's present life happen.
func (n *Net) own(h *host, ev *event) {
	switch ev.kind {
	case evTick:
		n.ticked(h)
	case evJob:
		n.done(h, ev.job)
	case evSync:
		n.synced(h)
	}
}

// ticked serves a tick event, unless it was replaced by an earlier one or the
// node no longer wants it.
func (n *Net) ticked(h *host) {
	if h.timer != n.now {
		return
	}
	h.timer = 0
	at, ok := h.node.Wake()
	if !ok {
		return
	}
	if h.when(at) > n.now {
		n.setTimer(h)
		return
	}
	h.tick = n.now
	n.trace.add(trTick, n.now, h.index, -1, 0, nil)
	n.trace.line(trTick, n.now, h.name, "", 0, 0, "")
	h.node.Tick(h.clock(n.now))
	n.settle(h, h.life)
}

// send lets a message leave: through the filter and the uplink.
func (n *Net) send(h *host, m shardkit.Message) {
	n.stats.Sent++
	n.stats.SentBytes += uint64(len(m.Data))
	h.stats.Sent++
	h.stats.SentBytes += uint64(len(m.Data))
	i, ok := n.ids[m.To]
	if !ok {
		n.stats.Lost++
		n.trace.add(trLost, n.now, h.index, -1, uint64(m.Class), m.Data)
		n.trace.line(trLost, n.now, h.name, m.To.String(), m.Class, len(m.Data), lostUnknown)
		return
	}
	to := n.nodes[i]
	n.trace.add(trSend, n.now, h.index, i, uint64(m.Class), m.Data)
	n.trace.line(trSend, n.now, h.name, to.name, m.Class, len(m.Data), "")
	if h.up.rate == 0 {
		n.travel(h, to, m.Class, m.Data)
		return
	}
	if h.up.offer(n.now, packet{from: h.index, to: i, class: m.Class, data: m.Data}, n.size(m.Data)) {
		n.queue.push(h.up.ends, event{kind: evUp, node: h.index, life: h.up.gen})
	}
}

func (n *Net) size(msg []byte) int {
	if n.cfg.Size != nil {
		return max(n.cfg.Size(msg), 0)
	}
	return len(msg)
}

// travel takes a message over the link.
func (n *Net) travel(h, to *host, class uint8, data []byte) {
	copies := 1
	var delay time.Duration
	if n.cfg.Filter != nil {
		v := n.cfg.Filter(h.id, to.id, data)
		if v.Drop {
			n.lose(h, to, class, data, lostFilter)
			return
		}
		copies += max(v.Extra, 0)
		delay = max(v.Delay, 0)
		if v.Data != nil {
			data = v.Data
		}
	}
	if n.cut(h, to) {
		n.lose(h, to, class, data, lostBlocked)
		return
	}
	if n.cfg.Loss > 0 && n.rng.Float64() < n.cfg.Loss {
		n.lose(h, to, class, data, lostChance)
		return
	}
	if n.cfg.Duplicate > 0 && n.rng.Float64() < n.cfg.Duplicate {
		copies++
	}
	for range copies {
		at := n.now + delay + n.latency(h, to)
		n.queue.push(at, event{kind: evArrive, class: class, node: to.index, from: h.index, data: data})
	}
}

// cut reports whether the link is blocked.
func (n *Net) cut(h, to *host) bool {
	return n.split && h.group != to.group ||
		len(n.blocked) > 0 && n.blocked[link(h.index, to.index)]
}

// latency draws how long a message is on its way.
func (n *Net) latency(h, to *host) time.Duration {
	if h == to {
		return 0
	}
	d := time.Millisecond
	if n.cfg.Latency != nil {
		d = max(n.cfg.Latency(h.id, to.id), 0)
	}
	whole := d + n.cfg.Jitter
	if n.cfg.Jitter > 0 {
		d += time.Duration(n.rng.Int64N(int64(n.cfg.Jitter)))
	}
	if n.cfg.Reorder > 0 && n.rng.Float64() < n.cfg.Reorder {
		d += time.Duration(n.rng.Int64N(10*int64(whole) + 1))
	}
	return d
}

func (n *Net) lose(h, to *host, class uint8, data []byte, why string) {
	n.stats.Lost++
	n.trace.add(trLost, n.now, h.index, to.index, uint64(class), nil)
	n.trace.line(trLost, n.now, h.name, to.name, class, len(data), why)
}

// arrive takes a message from the link into the downlink.
func (n *Net) arrive(h *host, from int32, class uint8, data []byte) {
	if h.down.rate == 0 || h.node == nil {
		n.deliver(h, n.nodes[from], class, data)
		return
	}
	if h.down.offer(n.now, packet{from: from, to: h.index, class: class, data: data}, n.size(data)) {
		n.queue.push(h.down.ends, event{kind: evDown, node: h.index, life: h.down.gen})
	}
}

// deliver hands a message to its receiver.
func (n *Net) deliver(h, from *host, class uint8, data []byte) {
	if h.node == nil {
		n.lose(from, h, class, data, lostDown)
		return
	}
	n.stats.Delivered++
	h.stats.Received++
	h.stats.ReceivedBytes += uint64(len(data))
	n.trace.add(trDeliver, n.now, h.index, from.index, uint64(class), nil)
	n.trace.line(trDeliver, n.now, h.name, from.name, class, len(data), "")
	life := h.life
	err := h.node.Deliver(h.clock(n.now), from.id, data)
	if err != nil {
		n.refused(h, from, err)
	}
	if h.life == life {
		n.settle(h, life)
	}
}

func (n *Net) refused(h, from *host, err error) {
	n.stats.Refused++
	h.stats.Refused++
	n.trace.add(trRefuse, n.now, h.index, from.index, 0, []byte(err.Error()))
	n.trace.line(trRefuse, n.now, h.name, from.name, 0, 0, err.Error())
	if n.cfg.OnError != nil {
		n.cfg.OnError(h.id, from.id, err)
	}
}

func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
