package statesync

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shardkit/shardkit"
)

// Limits of the serving side that are not worth a setting.
const (
	maxServing = 256  // requests under way, of all peers
	maxPieces  = 256  // hops or blocks in one answer
	maxAskers  = 4096 // peers that are remembered
	burst      = 4    // seconds of its rate that a peer may take at once
	leastBytes = 1024 // what the smallest answer counts for
)

// Server answers the requests of joining nodes for one replica. It is a core:
// one goroutine owns it. What it reads is read in jobs; each request costs one
// job whose answer is bounded, a peer has few of them at a time, and nothing
// is kept once the answer is out.
type Server struct {
	cfg     ServerConfig
	askers  map[shardkit.NodeID]*asker
	order   []*asker // the same, to look through
	turn    int      // in order
	serving int
	hopSize int // bytes of a hop, as last seen: how many are read for an answer
	ready   ServerReady
	stats   ServerStats
}

// asker is what a Server remembers of a peer, while requests are under way or
// it has taken more than its rate.
type asker struct {
	node     shardkit.NodeID
	underway int
	debt     int // bytes sent, less what its rate has made up for since
	at       time.Duration
}

// ServerReady holds the effects of a Server since the last call of Ready.
type ServerReady struct {
	Messages []shardkit.Message
	Jobs     []shardkit.Job
}

// ServerStats counts what a Server did.
type ServerStats struct {
	Served  uint64 // answers
	Bytes   uint64 // in them
	Refused uint64 // requests over the limits, or for what is not there
}

// served is the result of a job.
type served struct {
	server  *Server
	to      *asker
	data    []byte
	hopSize int
	failed  bool
}

// NewServer returns a Server.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Hops == nil || cfg.Head == nil || cfg.Range == nil || cfg.Blocks == nil {
		return nil, errors.New("statesync: server needs Hops, Head, Range and Blocks")
	}
	if cfg.MaxBytes < 0 || cfg.PerPeer < 0 || cfg.Rate < 0 || cfg.Rate > math.MaxInt32 {
		return nil, errors.New("statesync: server: setting out of range")
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 512 << 10
	}
	if cfg.PerPeer == 0 {
		cfg.PerPeer = 4
	}
	return &Server{cfg: cfg, askers: make(map[shardkit.NodeID]*asker), hopSize: cfg.MaxBytes / 16}, nil
}

// Deliver takes a request.
func (s *Server) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	q, err := decodeRequest(msg)
	if err != nil {
		return fmt.Errorf("statesync: request: %w", err)
	}
	a := s.asker(now, from)
	if a == nil || a.underway >= s.cfg.PerPeer || a.debt > burst*s.cfg.Rate || s.serving >= maxServing {
		s.stats.Refused++
		s.send(from, (&answer{kind: ansRefused, id: q.id, reason: refusedBusy}).appendTo(nil))
		return nil
	}
	a.underway++
	s.serving++
	s.ready.Jobs = append(s.ready.Jobs, s.job(a, q))
	return nil
}

// asker returns what is remembered of a peer, nil if there is no room for it.
// It looks at two others as well, and forgets those that are done, so that the
// list does not grow by peers that come and go.
func (s *Server) asker(now time.Duration, node shardkit.NodeID) *asker {
	for i := 0; i < 2 && len(s.order) > 0; i++ {
		s.turn %= len(s.order)
		a := s.order[s.turn]
		s.makeUp(a, now)
		if a.underway > 0 || a.debt > 0 {
			s.turn++
			continue
		}
		delete(s.askers, a.node)
		last := len(s.order) - 1
		s.order[s.turn], s.order[last] = s.order[last], nil
		s.order = s.order[:last]
	}
	a := s.askers[node]
	if a == nil && len(s.order) < maxAskers {
		a = &asker{node: node, at: now}
		s.askers[node] = a
		s.order = append(s.order, a)
	}
	if a != nil {
		s.makeUp(a, now)
	}
	return a
}

// makeUp lowers the debt of a peer by what its rate allows since last time.
func (s *Server) makeUp(a *asker, now time.Duration) {
	const second = int64(time.Second)
	passed, rate := int64(max(now-a.at, 0)), int64(max(s.cfg.Rate, 1))
	if passed >= int64(a.debt)*second/rate { // no overflow: a debt is few seconds of the rate
		a.debt, a.at = 0, max(a.at, now)
		return
	}
	bytes := passed * rate / second
	a.debt -= int(bytes)
	a.at += time.Duration(bytes * second / rate) // what did not make up a byte counts next time
}

// job returns the job that answers q. The functions of the Config are called
// here, so that they capture one state; what they return runs in the job.
func (s *Server) job(a *asker, q request) shardkit.Job {
	most := max(1, min(q.most, maxPieces))
	maxBytes := s.cfg.MaxBytes
	if q.maxBytes > 0 {
		maxBytes = min(maxBytes, q.maxBytes)
	}
	res := served{server: s, to: a}
	switch q.kind {
	case askHops:
		most = max(1, min(most, maxBytes/max(s.hopSize, 1)))
		read := s.cfg.Hops(shardkit.Epoch(q.from), most)
		return shardkit.Job{Kind: "statesync.serve.hops", Size: most, Run: func() any {
			return res.hops(q, read, most, maxBytes)
		}}
	case askHead:
		read := s.cfg.Head()
		return shardkit.Job{Kind: "statesync.serve.head", Size: 1, Run: func() any {
			h, err := read()
			return res.answer(answer{kind: ansHead, id: q.id, head: h}, err)
		}}
	case askRange:
		read := s.cfg.Range(shardkit.Height(q.from), q.start, maxBytes)
		return shardkit.Job{Kind: "statesync.serve.range", Size: maxBytes, Run: func() any {
			chunk, err := read()
			return res.answer(answer{kind: ansChunk, id: q.id, chunk: chunk}, err)
		}}
	default: // askBlocks: decodeRequest knows no other
		read := s.cfg.Blocks(shardkit.Height(q.from), most, maxBytes)
		return shardkit.Job{Kind: "statesync.serve.blocks", Size: most, Run: func() any {
			return res.blocks(q, read, most, maxBytes)
		}}
	}
}

// answer fills in the bytes to send.
func (r served) answer(a answer, err error) served {
	if err != nil {
		r.failed = true
		a = answer{kind: ansRefused, id: a.id, reason: refusedGone}
	}
	r.data = a.appendTo(make([]byte, 0, a.size()))
	return r
}

func (r served) hops(q request, read func() ([]Hop, error), most, maxBytes int) served {
	list, err := read()
	n, size := fit(len(list), maxBytes, func(i int) int {
		return len(list[i].Header) + len(list[i].Cert) + len(list[i].Committee)
	})
	if n > 0 {
		r.hopSize = size / n
	}
	return r.answer(answer{kind: ansHops, id: q.id, hops: list[:n], more: n < len(list) || len(list) >= most}, err)
}

func (r served) blocks(q request, read func() ([]Block, error), most, maxBytes int) served {
	list, err := read()
	n, size := fit(len(list), maxBytes, func(i int) int {
		return len(list[i].Header) + len(list[i].Cert) + len(list[i].Body)
	})
	more := n < len(list) || len(list) >= most || size >= maxBytes
	return r.answer(answer{kind: ansBlocks, id: q.id, blocks: list[:n], more: more}, err)
}

// fit returns how many pieces make up about maxBytes, at least one, and their
// size.
func fit(n, maxBytes int, size func(i int) int) (fits, total int) {
	for fits < n && (fits == 0 || total+size(fits) <= maxBytes) {
		total += size(fits)
		fits++
	}
	return fits, total
}

// Done takes the result of a job.
func (s *Server) Done(now time.Duration, result any) {
	r, ok := result.(served)
	if !ok || r.server != s {
		return
	}
	s.serving--
	r.to.underway--
	if s.cfg.Rate > 0 {
		s.makeUp(r.to, now)
		r.to.debt += max(len(r.data), leastBytes)
	}
	if r.hopSize > 0 {
		s.hopSize = r.hopSize
	}
	if r.failed {
		s.stats.Refused++
	} else {
		s.stats.Served++
		s.stats.Bytes += uint64(len(r.data))
	}
	s.send(r.to.node, r.data)
}

func (s *Server) send(to shardkit.NodeID, data []byte) {
	s.ready.Messages = append(s.ready.Messages, shardkit.Message{To: to, Class: shardkit.ClassSync, Data: data})
}

// Persisted is part of every core; a Server persists nothing.
func (s *Server) Persisted(time.Duration, uint64) {}

// Tick is part of every core; a Server waits for nothing.
func (s *Server) Tick(time.Duration) {}

// Wake is part of every core.
func (s *Server) Wake() (at time.Duration, ok bool) { return 0, false }

// Ready drains the effects.
func (s *Server) Ready() ServerReady {
	ready := s.ready
	s.ready = ServerReady{}
	return ready
}

// Stats returns the counters.
func (s *Server) Stats() ServerStats { return s.stats }
