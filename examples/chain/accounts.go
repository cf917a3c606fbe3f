package chain

import (
	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// maxRecent is how many blocks an account may have been read before it is used;
// else it is read again.
const maxRecent = 16

// recentAccounts are the accounts that the last decided blocks touched. A job
// reads accounts from the committed state, and while it runs blocks are decided
// that change them. A mempool that was told of the older ones would wait for
// transactions that are in a block already.
type recentAccounts struct {
	newest map[ledger.Address]recentAccount
	blocks [][]touched // of the last heights, oldest first
	height shardkit.Height
}

type recentAccount struct {
	height  shardkit.Height // of the block
	account ledger.Account
}

// begin starts at a height whose state is committed.
func (a *recentAccounts) begin(h shardkit.Height) {
	*a = recentAccounts{newest: map[ledger.Address]recentAccount{}, height: h}
}

// add takes in the next block.
func (a *recentAccounts) add(list []touched) {
	a.height++
	for i := range list {
		a.newest[list[i].addr] = recentAccount{a.height, list[i].account}
	}
	a.blocks = append(a.blocks, list)
	if len(a.blocks) <= maxRecent {
		return
	}
	old := a.height - maxRecent
	for _, t := range a.blocks[0] {
		if a.newest[t.addr].height == old {
			delete(a.newest, t.addr)
		}
	}
	a.blocks = a.blocks[1:]
}

// know reports whether accounts read from the state at a height can be brought
// up to date.
func (a *recentAccounts) know(h shardkit.Height) bool {
	return h+shardkit.Height(len(a.blocks)) >= a.height
}

// at returns an account after the newest block, given as it was at a height.
func (a *recentAccounts) at(addr ledger.Address, h shardkit.Height, was ledger.Account) ledger.Account {
	if n, ok := a.newest[addr]; ok && n.height > h {
		return n.account
	}
	return was
}
