// Package simnet runs protocol cores on a simulated network: discrete events,
// virtual time, one seed. Thousands of nodes live in one process, an hour
// passes in seconds, and a seed replays one history byte for byte.
//
// # Model
//
// A node is a core (or a core made of cores) with six methods, see Node. The
// network hands it inputs one at a time and carries out the effects it gets
// back:
//
//   - A message travels: uplink, link, downlink. A link has latency and
//     jitter, may lose, duplicate or hold back a message, and can be blocked in
//     one direction. Uplink and downlink have a bandwidth and send one message
//     at a time, the more urgent class first; an urgent message interrupts a
//     less urgent one, which later continues where it was (the behaviour of a
//     host that gives each class its own stream). Messages of one class leave
//     in the order in which they were sent.
//   - A record is durable SyncTime after it was handed out; records that come
//     while a write is under way share the next one. A message that names a
//     record in After leaves when that record is durable.
//   - A job is run at the end of its price (JobTime) on one of the node's
//     Workers; jobs that cost LongJob or more run beside them, so that they
//     hold up no others.
//   - A crash loses what is not durable, drops jobs that are not finished and
//     messages that have not left; what is on its way arrives. A restart builds
//     the node again, from its durable records, and its clock starts from 0.
//
// Who is hostile: nobody, unless the scenario makes them so. Filter sees every
// message and may drop, delay, repeat or replace it; a Byzantine node is a
// Node that misbehaves.
//
// # What a scenario does
//
//	net, err := simnet.New(simnet.Config{Seed: 7, Loss: 0.05, Jitter: 20 * time.Millisecond})
//	for _, id := range ids {
//		err = net.Add(id, func(log [][]byte) (simnet.Node, error) { return newNode(id, log) })
//	}
//	net.At(3*time.Second, func() { net.Crash(ids[0]) })
//	net.At(5*time.Second, func() { err = net.Restart(ids[0]) })
//	ok := net.RunUntil(func() bool { return allDecided(net) }, time.Minute)
//	fmt.Println(net.Digest()) // equal for equal seeds
//
// Do calls a node's own methods and carries out the effects. At runs scenario
// code at a time. Hooks (Filter, OnError, OnStep, At) may call any method of
// Net except the Run methods; crashing the very node that is being served is
// allowed and takes place between two of its effects.
//
// # Determinism
//
// All chance comes from ChaCha8 under Config.Seed; events of one instant
// happen in the order in which they were made. Digest covers every event and
// the content of every message. Two runs of one scenario that disagree in it
// have found a hidden input: a range over a map, a clock, a goroutine.
//
// # What it does not do
//
// There are no connections, packets or congestion control: a message arrives
// whole or not at all. Computation outside jobs takes no time. A Net is not
// safe for concurrent use.
package simnet
