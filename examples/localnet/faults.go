package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit/examples/chain"
)

// downtime is how long a victim stays away.
const downtime = 2 * time.Second

// kills cuts off a validator, and when it has caught up, a leader that has
// just announced a block. It reports how many nodes it cut off.
func (c *cluster) kills(done <-chan struct{}, say func(string, ...any)) (n int, err error) {
	for !c.allBegun() {
		select {
		case <-done:
			return n, nil
		case <-time.After(10 * time.Millisecond):
		}
	}
	victim := c.choose(done, func(s chain.ReplicaStatus) bool { return s.Shard != 0 && s.Seated && !s.Leads })
	if victim == nil {
		return n, nil
	}
	if err := c.cycle(victim, say, "a validator"); err != nil {
		return n, err
	}
	n++
	if !c.caughtUp(victim, done) {
		return n, nil
	}
	leader := c.choose(done, func(s chain.ReplicaStatus) bool { return s.Seated && s.Leads })
	if leader == nil {
		return n, nil
	}
	if err := c.cycle(leader, say, "a leader in the middle of a height"); err != nil {
		return n, err
	}
	return n + 1, nil
}

// allBegun reports whether every shard has a block.
func (c *cluster) allBegun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.Contains(c.counts.heights, 0)
}

// cycle cuts a node off and starts it again some time later.
func (c *cluster) cycle(m *member, say func(string, ...any), who string) error {
	if err := c.cut(m); err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	say("killed %s, node %v", who, m.identity.ID())
	time.Sleep(downtime)
	if err := c.startNode(m); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	say("node %v is back", m.identity.ID())
	return nil
}

// choose waits for a node with a replica in the given situation, and returns
// it at once. A victim holds less than a third of each of its committees.
func (c *cluster) choose(done <-chan struct{}, is func(chain.ReplicaStatus) bool) *member {
	for {
		for _, m := range c.up() {
			found, light := false, true
			for _, s := range m.status() {
				found = found || (s.Ready && is(s))
				light = light && 3*s.Weight < s.Total || !s.Seated
			}
			if found && light && !m.follow {
				return m
			}
		}
		select {
		case <-done:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

// caughtUp waits until a node's replicas stand where the others do.
func (c *cluster) caughtUp(m *member, done <-chan struct{}) bool {
	for {
		select {
		case <-done:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		behind := false
		status := m.status()
		c.mu.Lock()
		for _, s := range status {
			behind = behind || !s.Ready || s.Height+2 < c.counts.heights[s.Shard]
		}
		c.mu.Unlock()
		if len(status) > 0 && !behind {
			return true
		}
	}
}
