package simnet

import (
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
)

// minTick is the least time between two ticks of a node, so that a node that
// always wants the next at once cannot stop the time.
const minTick = time.Microsecond

// host is a node with its machine: clock, access line, disk, workers.
type host struct {
	id    shardkit.NodeID
	name  string
	boot  Boot
	index int32
	group int
	drift int64 // of the clock, parts per million

	node  Node   // nil: down
	life  uint32 // counts boots and crashes; events of another life are void
	born  time.Duration
	timer time.Duration // of the tick event that counts; 0: none
	tick  time.Duration // time of the last tick

	up, down pipe

	// The disk: durable records of all lives, the batch being made durable,
	// and what waits for the next batch. Only this life's records have
	// numbers that effects refer to: base+i of durable[i] is number i-older+1.
	durable [][]byte
	older   int // how many of durable are from earlier lives
	pruned  uint64
	saved   uint64 // number of the last durable record of this life
	last    uint64 // number of the last record handed out
	syncing batch
	waiting batch
	isSync  bool
	held    []shardkit.Message // for records that are not durable
	running int
	jobs    fifo[*pricedJob]

	stats NodeStats
}

// batch is records on their way to the disk.
type batch struct {
	records [][]byte
	seq     uint64
	prune   uint64
}

// clock is the node's own time at network time t.
func (h *host) clock(t time.Duration) time.Duration {
	d := t - h.born
	return d + time.Duration(int64(d/1e3)*h.drift/1e3)
}

// when is the least network time at which the node's clock shows local or more.
func (h *host) when(local time.Duration) time.Duration {
	if h.drift == 0 {
		return h.born + local
	}
	t := h.born + time.Duration(float64(local)*1e6/float64(1e6+h.drift))
	for h.clock(t) < local {
		t += time.Microsecond
	}
	return t
}

func (h *host) durableRecords() [][]byte {
	return append([][]byte(nil), h.durable...)
}

// start boots a node that is down.
func (n *Net) start(h *host) error {
	h.older = len(h.durable)
	h.born = n.now
	node, err := h.boot(h.durableRecords())
	if err != nil {
		return fmt.Errorf("simnet: boot of %v: %w", h.id, err)
	}
	h.node = node
	h.life++
	h.stats.Lives++
	h.timer, h.tick = 0, -minTick
	h.pruned, h.saved, h.last = 0, 0, 0
	n.trace.add(trBoot, n.now, h.index, -1, uint64(h.older), nil)
	n.trace.line(trBoot, n.now, h.name, "", 0, h.older, "")
	n.settle(h, h.life)
	return nil
}

// crash takes a node down.
func (n *Net) crash(h *host) {
	h.node = nil
	h.life++
	if n.cfg.Torn && h.isSync {
		keep := n.rng.IntN(len(h.syncing.records) + 1)
		h.durable = append(h.durable, h.syncing.records[:keep]...)
	}
	h.syncing, h.waiting, h.isSync = batch{}, batch{}, false
	h.held = nil
	h.running, h.jobs = 0, fifo[*pricedJob]{}
	h.up.reset()
	h.down.reset()
	n.trace.add(trCrash, n.now, h.index, -1, uint64(len(h.durable)), nil)
	n.trace.line(trCrash, n.now, h.name, "", 0, len(h.durable), "")
}

// settle carries out a node's effects after an input, sets its timer and
// calls OnStep. It stops when a hook has crashed the node.
func (n *Net) settle(h *host, life uint32) {
	eff := h.node.Effects()
	n.store(h, &eff)
	for i := range eff.Messages {
		if h.life != life {
			return
		}
		m := eff.Messages[i]
		if m.After > h.saved {
			h.held = append(h.held, m)
			continue
		}
		n.send(h, m)
	}
	if h.life != life {
		return
	}
	for _, j := range eff.Jobs {
		n.submit(h, j)
	}
	n.setTimer(h)
	if n.cfg.OnStep != nil {
		n.cfg.OnStep(h.id, h.node)
	}
}

// setTimer makes sure that a tick event is due when the node wants one. An
// event that comes too early is let stand and asks again.
func (n *Net) setTimer(h *host) {
	at, ok := h.node.Wake()
	if !ok {
		return
	}
	t := max(h.when(at), n.now, h.tick+minTick)
	if h.timer == 0 || t < h.timer {
		h.timer = max(t, 1) // 0 stands for none
		n.queue.push(h.timer, event{kind: evTick, node: h.index, life: h.life})
	}
}

// store takes records to the disk. A node that numbers them wrongly has a bug
// that would let messages leave too early: panic.
func (n *Net) store(h *host, eff *Effects) {
	if len(eff.Records) > 0 {
		h.last += uint64(len(eff.Records))
		if eff.Seq != h.last {
			panic(fmt.Sprintf("simnet: node %v hands out records up to %d, expected %d", h.id, eff.Seq, h.last))
		}
		h.waiting.records = append(h.waiting.records, eff.Records...)
		h.waiting.seq = eff.Seq
	}
	h.waiting.prune = max(h.waiting.prune, eff.Prune)
	if !h.isSync && len(h.waiting.records) > 0 {
		n.sync(h)
	}
}

// sync begins to make what waits durable.
func (n *Net) sync(h *host) {
	h.syncing, h.waiting, h.isSync = h.waiting, batch{}, true
	n.queue.push(n.now+n.cfg.SyncTime, event{kind: evSync, node: h.index, life: h.life})
}

// synced ends it: records are durable, those not needed are dropped, messages
// that waited leave.
func (n *Net) synced(h *host) {
	b := h.syncing
	h.syncing, h.isSync = batch{}, false
	h.durable = append(h.durable, b.records...)
	h.saved = b.seq
	h.stats.Records += uint64(len(b.records))
	h.stats.Syncs++
	h.prune(b.prune)
	n.trace.add(trDurable, n.now, h.index, -1, b.seq, nil)
	n.trace.line(trDurable, n.now, h.name, "", 0, len(b.records), "")
	life := h.life
	if held := h.held; len(held) > 0 {
		h.held = nil
		for _, m := range held {
			if h.life != life {
				return
			}
			if m.After > h.saved {
				h.held = append(h.held, m)
				continue
			}
			n.send(h, m)
		}
		if h.life != life {
			return
		}
	}
	if len(h.waiting.records) > 0 {
		n.sync(h)
	}
	h.node.Persisted(h.clock(n.now), b.seq)
	n.settle(h, life)
}

// prune drops records of earlier lives and this life's up to seq.
func (h *host) prune(seq uint64) {
	seq = min(seq, h.saved)
	if seq <= h.pruned {
		return
	}
	drop := h.older + int(seq-h.pruned)
	h.durable = append([][]byte(nil), h.durable[drop:]...)
	h.older, h.pruned = 0, seq
}

// submit prices a job and gives it to a worker or puts it in the queue.
func (n *Net) submit(h *host, job shardkit.Job) {
	p := &pricedJob{Job: job}
	if n.cfg.JobTime != nil {
		p.cost = max(n.cfg.JobTime(job), 0)
	}
	p.long = p.cost >= n.cfg.LongJob
	if !p.long {
		if h.running >= n.cfg.Workers {
			h.jobs.push(p)
			return
		}
		h.running++
	}
	n.work(h, p)
}

func (n *Net) work(h *host, p *pricedJob) {
	n.queue.push(n.now+p.cost, event{kind: evJob, node: h.index, life: h.life, job: p})
}

// done runs a job whose time is over and hands in the result.
func (n *Net) done(h *host, p *pricedJob) {
	h.stats.Jobs++
	h.stats.JobTime += p.cost
	n.trace.add(trDone, n.now, h.index, -1, uint64(p.Size), []byte(p.Kind))
	n.trace.line(trDone, n.now, h.name, "", 0, p.Size, p.Kind)
	if !p.long {
		h.running--
		if h.jobs.len() > 0 {
			h.running++
			n.work(h, h.jobs.pop())
		}
	}
	life := h.life
	result := p.Run()
	if h.life != life {
		return
	}
	h.node.Done(h.clock(n.now), result)
	n.settle(h, life)
}
