package chain

import (
	"slices"

	"github.com/shardkit/shardkit"
)

// goneStore is the store of a replica that was retired in an epoch.
type goneStore struct {
	shard shardkit.ShardID
	epoch shardkit.Epoch
}

// discard has the stores removed that have been out of use for longer than
// offences are punished.
func (c *Core) discard() {
	c.gone = slices.DeleteFunc(c.gone, func(g goneStore) bool {
		if c.replica(g.shard) != nil {
			return true // in use again
		}
		if c.closing[g.shard] > 0 || c.cfg.Genesis.Params.keptEpoch(c.newest) <= g.epoch {
			return false
		}
		// A new replica waits, as it does for the store to be closed.
		c.closing[g.shard]++
		discard := c.cfg.Discard
		c.job(shardkit.Job{Kind: "store.discard", Run: func() any { return discard(g.shard) }}, g.shard, partClose, 0)
		c.event(Event{Shard: g.shard, Kind: Discarded})
		return true
	})
}
