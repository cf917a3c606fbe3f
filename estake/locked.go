package estake

import "github.com/shardkit/shardkit"

// Lock is what an account undelegated or redelegated in one epoch and has not
// withdrawn yet.
type Lock struct {
	Withdraw Withdraw // the transaction that ends it
	// Amount is what that would pay, or of a redelegation the worth of what it
	// would turn into an ordinary delegation, in tokens at today's prices. A
	// slash may lower it until the lock is over, to 0 even.
	Amount uint64
	Ready  bool           // the lock is over
	Until  shardkit.Epoch // the lock is over when all epochs below have ended
}

// Locked returns what an account has undelegated or redelegated from a
// validator, itself maybe, since an epoch and not withdrawn yet, the latest
// first; nothing of an unknown validator. With since 0 it is everything. What is
// still locked is no older than LockEpochs before now.
//
// It reads two records of each epoch from now back to since, three of an epoch
// in which somebody left the validator, and those of redelegations: one for each
// target of the epoch, of which there are 32 at most. It stops at the oldest
// epoch of which anybody has something left to withdraw, however early since is.
func Locked(s State, p Params, address, account [32]byte, since shardkit.Epoch) ([]Lock, error) {
	v, err := loadValidator(s, address)
	if err != nil || v == nil {
		return nil, err
	}
	g, err := loadGlobals(s)
	if err != nil {
		return nil, err
	}
	var list []Lock
	// v.Open counts the batches and lists of liens that there are, of all accounts.
	for e, open := g.Latest, v.Open; open > 0 && e >= since; e-- {
		n := len(list)
		for _, look := range []func(State, *validator, [32]byte, shardkit.Epoch, *[]Lock) (bool, error){lockedBatch, lockedLiens} {
			there, err := look(s, v, account, e, &list)
			if err != nil {
				return nil, err
			}
			if there {
				open--
			}
		}
		for i := range list[n:] {
			l := &list[n+i]
			l.Withdraw.Validator, l.Withdraw.Epoch = address, e
			l.Until = e + shardkit.Epoch(p.LockEpochs)
			l.Ready = g.Next >= l.Until
		}
		if e == 0 {
			break
		}
	}
	return list, nil
}

// lockedBatch adds an account's part of what was undelegated in an epoch, and
// reports whether anybody has one.
func lockedBatch(s State, v *validator, account [32]byte, e shardkit.Epoch, list *[]Lock) (bool, error) {
	b, there, err := loadBatch(s, v.Address, e)
	if err != nil || !there {
		return false, err
	}
	if account == v.Address {
		if b.Self > 0 {
			*list = append(*list, Lock{Amount: b.Self})
		}
		return true, nil
	}
	var points uint64
	mine, err := load(s, keyLocked(v.Address, e, account), words{&points})
	if mine {
		*list = append(*list, Lock{Amount: b.Pool.value(points)})
	}
	return true, err
}

// lockedLiens does the same for what was redelegated.
func lockedLiens(s State, v *validator, account [32]byte, e shardkit.Epoch, list *[]Lock) (bool, error) {
	moved, there, err := loadLiens(s, v.Address, e)
	if err != nil || !there {
		return false, err
	}
	for _, l := range moved {
		var points uint64
		mine, err := load(s, keyMover(v.Address, e, l.To, account), words{&points})
		if err != nil {
			return true, err
		}
		if !mine {
			continue
		}
		w, err := loadValidator(s, l.To)
		if err != nil || w == nil {
			return true, damaged(err, keyValidator, l.To)
		}
		share := pool{Tokens: l.Held, Points: l.Points}
		*list = append(*list, Lock{Withdraw: Withdraw{Moved: true, To: l.To}, Amount: w.Compound.value(share.value(points))})
	}
	return true, nil
}
