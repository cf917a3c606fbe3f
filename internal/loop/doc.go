// Package loop is what drivers share: it gives a deterministic core its
// goroutine, clock, log and workers.
//
// # Model
//
// One goroutine (Run) owns the core. It collects inputs (messages, finished
// jobs, durable records, closures), hands up to 64 of them to the core, then
// drains the effects and carries them out:
//
//  1. Records go to a writer goroutine, which makes everything that is waiting
//     durable with one Append and then reports back. The core never waits for
//     the disk.
//  2. A message whose record is durable leaves at once; one whose record is
//     not waits for exactly that, in order. All others pass it by.
//  3. Jobs go to a Pool, which several loops may share.
//
// Inputs of the node itself come before messages of peers, so a flood delays
// neither results nor durability.
//
// Who is hostile: peers. What they send waits in a queue bounded in messages,
// in bytes, and per peer; Deliver refuses with ErrFull what goes beyond.
//
// # How to drive it
//
//	l, err := loop.New(loop.Config{
//		Core:    core,
//		Effects: func() loop.Effects { r := core.Ready(); return loop.Effects{Messages: r.Messages, Jobs: r.Jobs} },
//		Send:    host.Send,
//		Log:     log,
//		Pool:    pool,
//	})
//	go l.Run(ctx)
//	// from the network: l.Deliver(from, msg)
//	// from anywhere:    l.Do(func(now time.Duration) { status = core.Status() })
//	l.Close()
//
// # What it does not do
//
// It opens no files and no sockets, and it does not restart a core that
// failed: an error of the log ends the loop, because what the core believes to
// be durable might not be.
package loop
