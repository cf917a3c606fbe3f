package loop_test

import (
	"context"
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/loop"
)

// echo is a core that writes every message down and answers when that is
// durable.
type echo struct {
	seq uint64
	eff loop.Effects
}

func (e *echo) Deliver(_ time.Duration, from shardkit.NodeID, msg []byte) error {
	e.seq++
	e.eff.Records, e.eff.Seq = append(e.eff.Records, msg), e.seq
	e.eff.Messages = append(e.eff.Messages, shardkit.Message{To: from, After: e.seq, Data: msg})
	return nil
}

func (e *echo) Done(time.Duration, any)         {}
func (e *echo) Persisted(time.Duration, uint64) {}
func (e *echo) Tick(time.Duration)              {}
func (e *echo) Wake() (time.Duration, bool)     { return 0, false }

func (e *echo) ready() (eff loop.Effects) { eff, e.eff = e.eff, loop.Effects{}; return eff }

func Example() {
	core, log := &echo{}, &disk{}
	sent := make(chan string)
	l, err := loop.New(loop.Config{
		Core:    core,
		Effects: core.ready,
		Send:    func(m shardkit.Message) error { sent <- string(m.Data); return nil },
		Log:     log,
	})
	if err != nil {
		panic(err)
	}
	go func() { _ = l.Run(context.Background()) }()
	defer l.Close()

	_ = l.Deliver(shardkit.NodeID{1}, []byte("hello"))
	fmt.Println(<-sent, log.appends)
	// Output: hello [[hello]]
}
