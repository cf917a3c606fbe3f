package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/examples/chain"
	"github.com/shardkit/shardkit/ledger"
)

// history is what happened to one of the wallet's accounts last, as the
// validators of its shard tell, the newest first.
type history struct {
	Account string           `json:"account"`
	Shard   shardkit.ShardID `json:"shard"`
	Moves   []move           `json:"moves"`
}

// move is a transfer from the account's point of view.
type move struct {
	Height    shardkit.Height  `json:"height"`
	What      string           `json:"what"` // sent or received
	Amount    uint64           `json:"amount"`
	Fee       uint64           `json:"fee"`
	Other     string           `json:"other"`               // account
	Shard     shardkit.ShardID `json:"shard"`               // of the other one
	Delivered shardkit.Height  `json:"delivered,omitempty"` // sent to another shard: the block that credited it there
}

// answerWithin is how long a validator may take to answer.
const answerWithin = 2 * time.Second

// ask sends a validator a request and returns the answer; nil if none comes.
func (w *wallet) ask(to shardkit.NodeID, msg func(request uint64) []byte) *chain.Notice {
	answer := make(chan *chain.Notice, 1)
	w.mu.Lock()
	w.request++
	request := w.request
	w.answers[request] = answer
	w.send(to, msg(request))
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.answers, request)
		w.mu.Unlock()
	}()
	select {
	case n := <-answer:
		return n
	case <-time.After(answerWithin):
		return nil
	}
}

// membersOf returns the validators of a shard.
func (w *wallet) membersOf(s shardkit.ShardID) []shardkit.NodeID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.members[s])
}

// history asks for the last n moves of the account that has sent most. Every
// validator of the shard is asked, for each knows only what came after it got
// the shard's state.
func (w *wallet) history(n int) (*history, error) {
	a := slices.MaxFunc(w.accounts, func(a, b *account) int { return cmp.Compare(a.nonce, b.nonce) })
	seen := map[ledger.Move]chain.Line{}
	answered := false
	for _, to := range w.membersOf(a.shard) {
		lines, ok := w.linesOf(to, a, n)
		answered = answered || ok
		for _, l := range lines {
			seen[l.Move] = l
		}
	}
	if !answered {
		return nil, fmt.Errorf("no validator of shard %d tells of an account's history", a.shard)
	}
	all := make([]chain.Line, 0, len(seen))
	for _, l := range seen {
		all = append(all, l)
	}
	slices.SortFunc(all, newest)
	h := &history{Account: a.addr.String(), Shard: a.shard}
	for i := range all[:min(n, len(all))] {
		h.Moves = append(h.Moves, w.tell(a, &all[i]))
	}
	return h, nil
}

// newest orders lines from the newest to the oldest: a block takes receipts
// before it executes transactions.
func newest(a, b chain.Line) int {
	switch {
	case a.Height != b.Height:
		return cmp.Compare(b.Height, a.Height)
	case a.Arrived != b.Arrived && a.Arrived:
		return 1
	case a.Arrived != b.Arrived:
		return -1
	}
	return cmp.Compare(b.Place, a.Place)
}

// linesOf reads the newest n lines that a validator has, page by page.
func (w *wallet) linesOf(to shardkit.NodeID, a *account, n int) (lines []chain.Line, ok bool) {
	var before *ledger.Move
	for len(lines) < n {
		answer := w.ask(to, func(request uint64) []byte { return chain.History(a.shard, request, a.addr, before) })
		if answer == nil || answer.Page == nil {
			return lines, ok
		}
		ok = true
		page := answer.Page.Lines
		if len(page) == 0 {
			break
		}
		lines = append(lines, page...)
		before = &page[len(page)-1].Move
	}
	return lines, ok
}

// tell puts a line into an account's words, and asks the other shard for the
// fate of what went there.
func (w *wallet) tell(a *account, l *chain.Line) move {
	if l.Arrived {
		from := ledger.Address(l.Receipt.From)
		return move{Height: l.Height, What: "received", Amount: l.Receipt.Amount, Other: from.String(), Shard: l.Receipt.Source}
	}
	tx := l.Transaction
	m := move{Height: l.Height, What: "sent", Amount: tx.Amount, Fee: l.Fee, Other: tx.To.String(), Shard: tx.To.Shard(uint32(len(w.byShard)))}
	if sender := tx.Sender(); sender != a.addr {
		m.What, m.Fee, m.Other, m.Shard = "received", 0, sender.String(), a.shard
	}
	if m.Shard != a.shard {
		m.Delivered = w.delivered(m.Shard, tx.ID())
	}
	return m
}

// delivered asks a shard which block credited a transfer from another one; 0 if
// nobody there knows of one.
func (w *wallet) delivered(s shardkit.ShardID, id shardkit.Hash) shardkit.Height {
	for _, to := range w.membersOf(s) {
		answer := w.ask(to, func(request uint64) []byte { return chain.Find(s, request, []shardkit.Hash{id}) })
		if answer != nil && len(answer.Found) == 1 && answer.Found[0].Delivered > 0 {
			return answer.Found[0].Delivered
		}
	}
	return 0
}

func (h *history) text(w io.Writer) {
	fmt.Fprintf(w, "  history       of account %s in shard %d, the newest first\n", h.Account[:16], h.Shard)
	for _, m := range h.Moves {
		to := map[string]string{"sent": "to", "received": "from"}[m.What]
		fmt.Fprintf(w, "    block %-6d %s %d %s %s in shard %d", m.Height, m.What, m.Amount, to, m.Other[:16], m.Shard)
		if m.Fee > 0 {
			fmt.Fprintf(w, ", fee %d", m.Fee)
		}
		if m.Delivered > 0 {
			fmt.Fprintf(w, ", credited there in block %d", m.Delivered)
		}
		fmt.Fprintln(w)
	}
}
