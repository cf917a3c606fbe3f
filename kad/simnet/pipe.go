package simnet

import "time"

const classes = 3

// packet is a message in an uplink or downlink.
type packet struct {
	from, to int32
	class    uint8
	left     time.Duration // of transmission
	data     []byte
}

// pipe is one direction of a node's access line: it carries one message at a
// time, the most urgent class first, and interrupts a less urgent one for a
// more urgent one without losing what was sent of it.
type pipe struct {
	rate  int // bytes per second; 0: unlimited
	busy  bool
	gen   uint32 // counts transmissions begun; an event of another one is void
	ends  time.Duration
	cur   packet
	queue [classes]fifo[packet]
}

// offer hands p over for transmission of size bytes and reports whether a
// transmission began, which ends at ends.
func (l *pipe) offer(now time.Duration, p packet, size int) (began bool) {
	p.class = min(p.class, classes-1)
	p.left = time.Duration(float64(size) / float64(l.rate) * float64(time.Second))
	if l.busy {
		if p.class >= l.cur.class {
			l.queue[p.class].push(p)
			return false
		}
		l.cur.left = l.ends - now
		l.queue[l.cur.class].unpop(l.cur)
	}
	l.start(now, p)
	return true
}

func (l *pipe) start(now time.Duration, p packet) {
	l.busy = true
	l.gen++
	l.cur = p
	l.ends = now + p.left
}

// finish ends the transmission under way and reports whether the next began.
func (l *pipe) finish(now time.Duration) (p packet, began bool) {
	p = l.cur
	l.cur = packet{}
	l.busy = false
	for c := range l.queue {
		if l.queue[c].len() > 0 {
			l.start(now, l.queue[c].pop())
			return p, true
		}
	}
	return p, false
}

// reset forgets everything queued.
func (l *pipe) reset() {
	*l = pipe{rate: l.rate, gen: l.gen + 1}
}
