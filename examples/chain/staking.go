package chain

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// KindStaking is the Kind of a transaction whose Payload is an encoded
// estake.Tx. It is executed on the beacon, where its sender's account has to
// be: tokens of another shard are sent there first, by an ordinary transfer.
const KindStaking uint8 = 1

// What is dear to check is counted as gas: a staking transaction's Gas is the
// number of slots it brings, 1 if it is evidence.
const (
	MaxOrderGas = 8  // of one transaction
	MaxBlockGas = 64 // of a block's transactions together
)

// NewStaking returns the transaction that carries out an order of package
// estake for an account of the beacon. It is not signed yet.
func NewStaking(chain shardkit.Hash, order estake.Tx, nonce, fee uint64) (ledger.Transaction, error) {
	payload, err := order.AppendBinary(nil)
	if err != nil {
		return ledger.Transaction{}, fmt.Errorf("chain: staking: %w", err)
	}
	if gas := gasOf(order); gas > MaxOrderGas {
		return ledger.Transaction{}, fmt.Errorf("chain: staking: %d slots, at most %d in one transaction", gas, MaxOrderGas)
	}
	return ledger.Transaction{Kind: KindStaking, Chain: chain, Nonce: nonce, Fee: fee, Gas: gasOf(order), Payload: payload}, nil
}

// gasOf counts what is dear to check in an order.
func gasOf(order estake.Tx) uint64 {
	if order.Kind() == estake.KindEvidence {
		return 1
	}
	return uint64(len(slotsOf(order)))
}

// slotsOf are the slots that an order wants to register.
func slotsOf(order estake.Tx) []estake.SlotKeys {
	switch o := order.(type) {
	case estake.Stake:
		return o.Slots
	case estake.Edit:
		return o.Add
	}
	return nil
}

// Staking executes KindStaking. It stands beside the executor of transfers in
// a ledger.Kinds. The bank is the ledger's accounts: what is staked comes off
// the sender's balance, what is paid out is credited to it.
//
// A node may be registered for one slot only, once in the life of the chain: a
// committee with a node in it twice could not exist. Staking keeps a list of
// them in the state.
type Staking struct {
	Params    estake.Params
	CheckSlot func(account [32]byte, keys *estake.SlotKeys) error // as in estake.Context
	// CheckEvidence is that of estake.Context, on a state; err is the state's.
	CheckEvidence func(s ledger.KV, slot *estake.Slot, proof *estake.Evidence) (why, err error)

	mutant mutant
}

// StakingReason is the reason of a refusal by the rules of package estake,
// whose errors say why.
func StakingReason(why error) ledger.Reason { return ledger.Reason("staking: " + why.Error()) }

// Execute implements ledger.Executor. A refusal of package estake is one of
// the transaction, which then has no place in a block; its sender pays nothing.
func (st *Staking) Execute(ctx *ledger.Context, s ledger.KV, tx *ledger.Transaction, _ *xshard.Outbox) (ledger.Result, error) {
	order, err := decodeOrder(ctx, tx)
	if err != nil {
		return ledger.Result{}, err
	}
	acc, err := ledger.Charge(ctx, s, tx)
	if err != nil {
		return ledger.Result{}, err
	}
	// The overlay is dropped with a refusal, wherever it comes from.
	o, sender := ledger.NewOverlay(s), tx.Sender()
	if err := ledger.SetAccount(o, sender, acc); err != nil {
		return ledger.Result{}, err
	}
	if err := enlist(o, tx, slotsOf(order)); err != nil {
		return ledger.Result{}, err
	}
	var broken error // of the state: no verdict on the transaction
	err = estake.Apply(o, st.Params, estake.Context{
		Epoch: ctx.Epoch, Sender: sender, Bank: &bank{o, tx, st.mutant}, CheckSlot: st.CheckSlot,
		CheckEvidence: func(slot *estake.Slot, proof *estake.Evidence) (why error) {
			why, broken = st.CheckEvidence(o, slot, proof)
			return errors.Join(why, broken)
		},
	}, order)
	if broken != nil {
		return ledger.Result{}, broken
	}
	var refused *estake.Refusal
	if errors.As(err, &refused) {
		return ledger.Result{}, refuse(tx, StakingReason(refused.Reason), "%s", refused.Detail)
	}
	if err != nil {
		return ledger.Result{}, err
	}
	return ledger.Result{Fee: ctx.FeeOf(tx), Gas: tx.Gas}, o.Flush()
}

// decodeOrder reads a transaction's order. All that the order has no use for
// is zero, so that one order has one transaction.
func decodeOrder(ctx *ledger.Context, tx *ledger.Transaction) (estake.Tx, error) {
	if tx.Sender().Shard(max(ctx.Shards, 1)) != ctx.Shard {
		return nil, refuse(tx, ledger.ReasonShard, "the sender's account is not on the beacon")
	}
	if tx.Amount != 0 || tx.To != (ledger.Address{}) || tx.Gas > MaxOrderGas {
		return nil, refuse(tx, ledger.ReasonMalformed, "amount %d, receiver %v, gas %d", tx.Amount, tx.To, tx.Gas)
	}
	order, err := estake.DecodeTx(tx.Payload)
	if err != nil {
		return nil, refuse(tx, ledger.ReasonMalformed, "%v", err)
	}
	if gas := gasOf(order); tx.Gas != gas {
		return nil, refuse(tx, ledger.ReasonMalformed, "gas %d, want %d", tx.Gas, gas)
	}
	return order, nil
}

// enlist notes the nodes of new slots, and refuses those that have one.
func enlist(s ledger.KV, tx *ledger.Transaction, slots []estake.SlotKeys) error {
	sender := tx.Sender()
	for i := range slots {
		key := keyNode(slots[i].Node)
		_, taken, err := s.Get(key)
		if err != nil {
			return err
		}
		if taken {
			return refuse(tx, StakingReason(estake.ErrSlot), "node %v has a slot, or had one", slots[i].Node)
		}
		if err := s.Set(key, sender[:]); err != nil {
			return err
		}
	}
	return nil
}

func refuse(tx *ledger.Transaction, why ledger.Reason, format string, args ...any) error {
	return &ledger.TxError{ID: tx.ID(), Reason: why, Detail: fmt.Sprintf(format, args...)}
}

// bank is the accounts of the beacon as package estake sees them.
type bank struct {
	s      ledger.KV
	tx     *ledger.Transaction
	mutant mutant
}

// Debit implements estake.Bank.
func (b *bank) Debit(account [32]byte, amount uint64) error {
	acc, err := ledger.GetAccount(b.s, account)
	if err != nil {
		return err
	}
	if acc.Balance < amount {
		return refuse(b.tx, ledger.ReasonBalance, "has %d, needs %d", acc.Balance, amount)
	}
	acc.Balance -= b.mutant.price(amount)
	return ledger.SetAccount(b.s, account, acc)
}

// Credit implements estake.Bank.
func (b *bank) Credit(account [32]byte, amount uint64) error {
	acc, err := ledger.GetAccount(b.s, account)
	if err != nil {
		return err
	}
	if acc.Balance+amount < amount {
		return refuse(b.tx, ledger.ReasonOverflow, "has %d, gets %d", acc.Balance, amount)
	}
	acc.Balance += amount
	return ledger.SetAccount(b.s, account, acc)
}

// maxRehearsed is how many staking transactions of one request are admitted.
const maxRehearsed = 8

// rehearse executes staking transactions on a committed state, each by itself
// and to no effect: what the rules of package estake refuse is refused at once,
// with the reason, and the proofs of new slots have been verified before a block
// is built. Of one whose turn has not come only the proofs are checked; evidence
// then is refused.
func (r *rules) rehearse(st *ledger.Stage, txs []*ledger.Transaction, errs []error) error {
	var m meta
	if err := load(st, keyMeta, &m); err != nil {
		return err
	}
	ctx := ledger.Context{Chain: r.id, Shard: r.shard, Shards: r.genesis.Params.Shards, Epoch: m.next()}
	seen := 0
	for i, t := range txs {
		if t == nil || errs[i] != nil || t.Kind != KindStaking {
			continue
		}
		if seen++; seen > maxRehearsed {
			errs[i] = refuse(t, ledger.ReasonSpace, "more than %d staking transactions at once", maxRehearsed)
			continue
		}
		var refused *ledger.TxError
		_, err := r.executor.Execute(&ctx, ledger.NewOverlay(st), t, nil)
		switch {
		case errors.As(err, &refused) && refused.Reason == ledger.ReasonNonceHigh && !filesEvidence(t):
			errs[i] = r.checkSlots(t)
		case errors.As(err, &refused):
			errs[i] = refused
		case err != nil:
			return err
		}
	}
	return nil
}

// checkSlots verifies the proofs of a transaction's slots.
func (r *rules) checkSlots(t *ledger.Transaction) error {
	order, err := estake.DecodeTx(t.Payload)
	if err != nil {
		return refuse(t, ledger.ReasonMalformed, "%v", err)
	}
	slots := slotsOf(order)
	for i := range slots {
		if err := r.checkSlot(t.Sender(), &slots[i]); err != nil {
			return refuse(t, StakingReason(estake.ErrSlot), "%v", err)
		}
	}
	return nil
}
