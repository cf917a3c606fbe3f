// Command localnet runs a whole sharded chain in one process: validators with
// keys and stores of their own, talking over QUIC on the loopback, while a
// wallet sends transfers within and across shards. It walks some epochs, in
// which randomness re-deals the validators to shards, and at the end recomputes
// from the stores whether every invariant holds.
//
//	go run ./examples/localnet                    4 shards of 4 validators, 3 epochs
//	go run ./examples/localnet -kill -join        with two crashes and a newcomer
//	go run ./examples/localnet -rate 500 -history 10   a light load; an account's history
//	go run ./examples/localnet -h                 all flags
//
// While it runs it prints a line a second, on a terminal a table in its place:
// the time since the process began, the transfers that reached their receivers
// in the last second and how long they took on average, and then for every
// shard its height (h), how often the leader of the next block has been
// replaced (v), its epoch (e) and the transfers that arrived there. What stays
// are notes: who was cut off and came back, who joined.
//
// The report at the end says, in this order: how many blocks each shard made and
// how soon; what became of the transfers; throughput and latency as the wallet
// saw them, from the first signature to the receipt at the destination; how
// bodies and addresses travelled; each election; the state syncs of validators
// that moved; faults; with -join when the newcomer first voted; with -history
// the last moves of one account, as the validators tell; memory; and then six
// invariants, true or false, each false with its reason. -json gives the same
// to a program.
//
// The exit status is 0 if every invariant holds and every transfer arrived, 1
// if not or if something failed, and 2 if the command line makes no sense.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/shardkit/shardkit"
)

// began is as near to the start of the process as Go code gets.
var began = time.Now()

func workers() int { return runtime.GOMAXPROCS(0) }

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "localnet: %v\n", err)
		os.Exit(2)
	}
	ok, err := run(o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "localnet: %v\n", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// Limits of a run.
const (
	drainLimit = 20 * time.Second // from the end of the load to the last receipt
	idleEpoch  = 90 * time.Second // an epoch that takes longer ends the run
)

// run does everything; it reports whether every invariant holds.
func run(o *options) (bool, error) {
	dir := o.data
	if dir == "" {
		tmp, err := os.MkdirTemp("", "localnet-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	past, err := remember(dir, o)
	if err != nil {
		return false, err
	}
	s, err := newSetup(o, past.Time)
	if err != nil {
		return false, err
	}
	c := newCluster(o, s, dir, began)
	if err := c.startAll(); err != nil {
		return false, errors.Join(err, c.closeAll())
	}
	w, err := newWallet(s, o, c.addresses(), dir)
	if err != nil {
		return false, errors.Join(err, c.closeAll())
	}
	w.run()
	r := &runner{o: o, c: c, w: w, screen: newScreen(o)}
	err = r.walk()
	drained := r.drain()
	told, herr := r.history()
	err = errors.Join(err, herr, w.close())
	rep := r.report(drained)
	rep.History = told
	if cerr := c.closeAll(); err == nil {
		err = cerr
	}
	if err != nil {
		return false, err
	}
	accepted := append(w.journal.settled(uint32(o.shards)), w.stats.transfers...)
	if rep.Invariants, err = c.audit(accepted); err != nil {
		return false, err
	}
	return rep.Invariants.OK() && drained, rep.print(o)
}

// runner is a run under way.
type runner struct {
	o      *options
	c      *cluster
	w      *wallet
	screen *screen
	kills  int
	weight float64
}

// walk waits until the beacon has gone on by the epochs that were asked for,
// from where its data left off, while faults happen.
func (r *runner) walk() error {
	start, err := r.c.ready()
	if err != nil {
		return err
	}
	target := start + shardkit.Epoch(r.o.epochs)
	done := make(chan struct{})
	killed := make(chan error, 1)
	if r.o.kill {
		go func() {
			n, err := r.c.kills(done, r.screen.say)
			r.kills = n
			killed <- err
		}()
	} else {
		killed <- nil
	}
	err = r.wait(target)
	close(done)
	return errors.Join(err, <-killed)
}

func (r *runner) wait(target shardkit.Epoch) error {
	last, epoch := time.Now(), shardkit.Epoch(0)
	begun := !r.o.join // or as soon as every shard has a block
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		<-tick.C
		r.screen.show(r)
		r.weigh()
		if err := r.c.failed(); err != nil {
			return err
		}
		if e := r.c.epoch(); e > epoch {
			epoch, last = e, time.Now()
		}
		if !begun && r.c.allBegun() {
			begun = true
			if err := r.join(); err != nil {
				return err
			}
		}
		if epoch >= target {
			done, err := r.settled(epoch, target)
			if done || err != nil {
				tick.Stop()
				return err
			}
		}
		if time.Since(last) > idleEpoch {
			return fmt.Errorf("epoch %d did not end within %v", epoch, idleEpoch)
		}
	}
}

// settled reports whether what was asked for beside the epochs has happened.
func (r *runner) settled(epoch, target shardkit.Epoch) (bool, error) {
	if r.o.kill && r.kills < 2 {
		return false, nil
	}
	if r.o.join {
		return r.joined(epoch, target)
	}
	return true, nil
}

// weigh notes the largest part of a committee that one node holds.
func (r *runner) weigh() {
	for _, m := range r.c.up() {
		for _, s := range m.status() {
			if s.Total > 0 {
				r.weight = max(r.weight, float64(s.Weight)/float64(s.Total))
			}
		}
	}
}

// drain stops the load and waits for what is under way.
func (r *runner) drain() bool {
	r.w.stop()
	r.screen.say("load stops; %d transfers under way", r.w.pending())
	for end := time.Now().Add(drainLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if r.w.pending() == 0 {
			return true
		}
	}
	r.screen.say("%d transfers have no receipt after %v", r.w.pending(), drainLimit)
	return r.w.pending() == 0
}

// history asks for what -history wants to know; nil if nothing.
func (r *runner) history() (*history, error) {
	if r.o.history == 0 {
		return nil, nil
	}
	return r.w.history(r.o.history)
}

// addresses are where the nodes listen.
func (c *cluster) addresses() map[shardkit.NodeID]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[shardkit.NodeID]string{}
	for _, m := range c.nodes {
		out[m.identity.ID()] = m.addr
	}
	return out
}
