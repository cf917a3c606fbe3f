package chain

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

// The wallet protocol: what a node answers to anybody. Messages are bounded,
// answers are no longer than what was asked for deserves, and a wallet that
// watches costs one small message a block.
const (
	walletSubmit   uint8 = iota + 1 // transactions; answered by noticeAdmitted
	walletWatch                     // answered by noticeBlock after each block
	walletFind                      // transaction ids; answered by noticeFound
	walletMembers                   // answered by noticeMembers
	walletAccounts                  // addresses; answered by noticeAccounts
	walletHoldings                  // an account and validators; answered by noticeHoldings
	walletHistory                   // an account and a line; answered by noticeHistory
)

const (
	noticeAdmitted uint8 = iota + 1
	noticeBlock
	noticeFound
	noticeMembers
	noticeAccounts
	noticeHoldings
	noticeHistory
)

// Limits of the wallet protocol.
const (
	MaxSubmit   = 512 // transactions of a request
	MaxFind     = 512 // ids of a request
	maxWatchers = 32  // of a replica; a newcomer takes the oldest one's place
	maxAdmit    = 64  // jobs for wallets of a replica at a time
	maxReason   = 64  // bytes of a refusal's reason
)

// wallets are those who watch.
type wallets struct {
	watching []watcher
}

type watcher struct {
	node  shardkit.NodeID
	shard shardkit.ShardID
}

// Submit encodes a request to admit transactions.
func Submit(shard shardkit.ShardID, request uint64, txs []ledger.Transaction) ([]byte, error) {
	b := walletHead(shard, walletSubmit, request)
	b = wire.AppendU32(b, uint32(len(txs)))
	for i := range txs {
		raw, err := txs[i].AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		b = wire.AppendBytes(b, raw)
	}
	return b, nil
}

// Watch encodes a request to be told of every block.
func Watch(shard shardkit.ShardID) []byte { return walletHead(shard, walletWatch, 0) }

// Find encodes a question for the fate of transactions.
func Find(shard shardkit.ShardID, request uint64, ids []shardkit.Hash) []byte {
	b := walletHead(shard, walletFind, request)
	b = wire.AppendU32(b, uint32(len(ids)))
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

// Members encodes a question for the committee of a shard's next block.
func Members(shard shardkit.ShardID) []byte { return walletHead(shard, walletMembers, 0) }

// Accounts encodes a question for the state of accounts.
func Accounts(shard shardkit.ShardID, request uint64, list []ledger.Address) []byte {
	b := walletHead(shard, walletAccounts, request)
	b = wire.AppendU32(b, uint32(len(list)))
	for _, a := range list {
		b = append(b, a[:]...)
	}
	return b
}

// Holdings encodes a question to the beacon for what an account has bonded with
// validators, and for its rewards.
func Holdings(request uint64, account ledger.Address, validators []ledger.Address) []byte {
	b := walletHead(0, walletHoldings, request)
	b = wire.AppendU32(b, uint32(1+len(validators)))
	b = append(b, account[:]...)
	for _, v := range validators {
		b = append(b, v[:]...)
	}
	return b
}

func walletHead(shard shardkit.ShardID, kind uint8, request uint64) []byte {
	b := wire.AppendU32([]byte{protoWallet}, uint32(shard))
	return wire.AppendU64(append(b, kind), request)
}

// Notice is what a node tells a wallet.
type Notice struct {
	Shard    shardkit.ShardID
	Request  uint64            // that this answers
	Admitted []string          // one for each transaction of Submit: empty if admitted, else the reason
	Found    []Fate            // one for each id of Find
	Accounts []ledger.Account  // one for each address of Accounts
	Holdings []estake.Position // one for each validator of Holdings
	Members  []shardkit.NodeID // the committee of the shard's next block
	Page     *Page             // of History
	Block    *BlockNotice
}

// BlockNotice tells what a durable block holds.
type BlockNotice struct {
	Height    shardkit.Height
	Epoch     shardkit.Epoch
	Included  []shardkit.Hash // transactions
	Delivered []shardkit.Hash // transfers from other shards that it credits
}

// DecodeNotice reads a node's message to a wallet.
func DecodeNotice(b []byte) (*Notice, error) {
	r := wire.NewReader(b)
	r.Expect(protoNotice, "protocol")
	n := &Notice{Shard: shardkit.ShardID(r.U32())}
	kind := r.U8()
	n.Request = r.U64()
	switch kind {
	case noticeAdmitted:
		for range r.Count(MaxSubmit, 4) {
			n.Admitted = append(n.Admitted, string(r.Bytes(maxReason)))
		}
	case noticeFound:
		n.Found = decodeFates(r)
	case noticeAccounts:
		for range r.Count(MaxFind, 16) {
			n.Accounts = append(n.Accounts, ledger.Account{Nonce: r.U64(), Balance: r.U64()})
		}
	case noticeHoldings:
		for range r.Count(MaxFind, 24) {
			n.Holdings = append(n.Holdings, estake.Position{Plain: r.U64(), Compound: r.U64(), Rewards: r.U64()})
		}
	case noticeMembers:
		for range r.Count(MaxSeats, 32) {
			n.Members = append(n.Members, r.Array32())
		}
	case noticeHistory:
		n.Page = decodePage(r)
	case noticeBlock:
		n.Block = &BlockNotice{Height: shardkit.Height(r.U64()), Epoch: shardkit.Epoch(r.U64())}
		n.Block.Included = readHashes(r)
		n.Block.Delivered = readHashes(r)
	default:
		r.Fail(fmt.Errorf("%w: notice %d", wire.ErrValue, kind))
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("chain: notice: %w", err)
	}
	return n, nil
}

func readHashes(r *wire.Reader) (out []shardkit.Hash) {
	for range r.Count(1<<20, 32) {
		out = append(out, r.Array32())
	}
	return out
}

func appendHashes(b []byte, list []shardkit.Hash) []byte {
	b = wire.AppendU32(b, uint32(len(list)))
	for _, h := range list {
		b = append(b, h[:]...)
	}
	return b
}

func (r *replica) notice(to shardkit.NodeID, class uint8, kind uint8, request uint64, data []byte) {
	b := wire.AppendU64([]byte{kind}, request)
	r.core.send(to, class, 0, protoNotice, r.shard, append(b, data...))
}

// wallet takes a wallet's request.
func (r *replica) wallet(now time.Duration, from shardkit.NodeID, body []byte) error {
	rd := wire.NewReader(body)
	kind, request := rd.U8(), rd.U64()
	switch kind {
	case walletSubmit:
		return r.submit(from, request, rd)
	case walletFind, walletAccounts, walletHoldings:
		return r.lookUp(from, kind, request, rd)
	case walletHistory:
		return r.history(from, request, rd)
	case walletWatch, walletMembers:
		if err := rd.Close(); err != nil {
			return fmt.Errorf("chain: wallet: %w", err)
		}
		if kind == walletWatch {
			r.core.wallets.watch(watcher{from, r.shard})
			return nil
		}
		members := r.tip.out.committee.Members()
		b := wire.AppendU32(nil, uint32(len(members)))
		for _, m := range members {
			b = append(b, m.Node[:]...)
		}
		r.notice(from, shardkit.ClassBlock, noticeMembers, request, b)
		return nil
	}
	return fmt.Errorf("chain: wallet: %w: kind %d", wire.ErrValue, kind)
}

func (w *wallets) watch(n watcher) {
	if slices.Contains(w.watching, n) {
		return
	}
	if len(w.watching) >= maxWatchers {
		w.watching = w.watching[1:]
	}
	w.watching = append(w.watching, n)
}

// notify tells those who watch a shard of a durable block.
func (w *wallets) notify(r *replica, t *tip) {
	var b []byte
	for _, n := range w.watching {
		if n.shard != r.shard {
			continue
		}
		if b == nil {
			b = wire.AppendU64(nil, uint64(t.height))
			b = wire.AppendU64(b, uint64(t.header.Epoch))
			b = appendHashes(b, t.out.included)
			b = appendHashes(b, t.out.delivered)
		}
		r.notice(n.node, shardkit.ClassBlock, noticeBlock, 0, b)
	}
}

// submit checks a wallet's transactions in a job.
func (r *replica) submit(from shardkit.NodeID, request uint64, rd *wire.Reader) error {
	n := rd.Count(MaxSubmit, 4)
	raw := make([][]byte, 0, n)
	for range n {
		raw = append(raw, slices.Clone(rd.Bytes(ledger.MaxTransaction)))
	}
	if err := rd.Close(); err != nil {
		return fmt.Errorf("chain: wallet: %w", err)
	}
	return r.admit(from, request, true, raw)
}

// gossip takes transactions that another member has admitted.
func (r *replica) gossip(_ time.Duration, from shardkit.NodeID, body []byte) error {
	if _, ok := r.tip.out.committee.Index(from); !ok {
		return errors.New("chain: transactions from a node without a seat")
	}
	rd := wire.NewReader(body)
	n := rd.Count(MaxSubmit, 4)
	raw := make([][]byte, 0, n)
	for range n {
		raw = append(raw, slices.Clone(rd.Bytes(ledger.MaxTransaction)))
	}
	if err := rd.Close(); err != nil {
		return fmt.Errorf("chain: gossip: %w", err)
	}
	return r.admit(from, 0, false, raw)
}

// errBusy refuses transactions when too many are being checked already.
var errBusy = errors.New("chain: too many transactions at once")

// admit checks signatures and reads the senders' accounts.
func (r *replica) admit(from shardkit.NodeID, request uint64, wallet bool, raw [][]byte) error {
	if r.asked >= maxAdmit {
		return errBusy
	}
	r.asked++
	rules, state := r.rules, r.chain.State()
	r.job("tx.admit", len(raw), func() any {
		res := admittedResult{from: from, request: request, wallet: wallet, raw: raw, height: shardkit.Height(state.Version())}
		res.txs, res.accounts, res.errs = rules.admit(state, raw)
		return res
	})
	return nil
}

type admittedResult struct {
	from     shardkit.NodeID
	request  uint64
	wallet   bool
	raw      [][]byte
	txs      []*ledger.Transaction // nil where decoding failed
	accounts []ledger.Account      // of the senders
	height   shardkit.Height       // of the state that they were read from, or before
	errs     []error
}

func (r *rules) admit(state *ledger.State, raw [][]byte) ([]*ledger.Transaction, []ledger.Account, []error) {
	txs := make([]*ledger.Transaction, len(raw))
	accounts := make([]ledger.Account, len(raw))
	errs := make([]error, len(raw))
	var good []*ledger.Transaction
	var place []int
	for i, b := range raw {
		t := new(ledger.Transaction)
		if errs[i] = t.UnmarshalBinary(b); errs[i] != nil {
			continue
		}
		if errs[i] = r.place(t); errs[i] != nil {
			continue
		}
		txs[i] = t
		good, place = append(good, t), append(place, i)
	}
	for j, err := range ledger.VerifyBatch(good, r.sigs) {
		errs[place[j]] = err
	}
	err := readState(state, func(st *ledger.Stage) (err error) {
		for i, t := range txs {
			if t == nil || errs[i] != nil {
				continue
			}
			if accounts[i], err = ledger.GetAccount(st, t.Sender()); err != nil {
				return err
			}
		}
		return r.rehearse(st, txs, errs)
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return txs, accounts, errs
}

// place refuses transactions that belong elsewhere before their signatures
// cost anything.
func (r *rules) place(t *ledger.Transaction) error {
	switch {
	case t.Chain != r.id:
		return &ledger.TxError{ID: t.ID(), Reason: ledger.ReasonChain}
	case t.Shard != r.shard || t.Sender().Shard(r.genesis.Params.Shards) != r.shard:
		return &ledger.TxError{ID: t.ID(), Reason: ledger.ReasonShard}
	case t.Kind != ledger.KindTransfer && (t.Kind != KindStaking || r.shard != 0):
		return &ledger.TxError{ID: t.ID(), Reason: ledger.ReasonKind}
	}
	return nil
}

// readState reads committed state while blocks go on being committed: with a
// stage that has gone stale in between it begins anew.
func readState(state *ledger.State, read func(*ledger.Stage) error) (err error) {
	for range 8 {
		st := state.Begin()
		err = read(st)
		st.Discard()
		if !errors.Is(err, ledger.ErrStale) {
			break
		}
	}
	return err
}

// onAdmitted puts what is good into the mempool, tells the wallet, and passes
// the news on to the other members.
func (r *replica) onAdmitted(now time.Duration, res admittedResult) {
	r.asked--
	if !r.recent.know(res.height) {
		_ = r.admit(res.from, res.request, res.wallet, res.raw) // that took long: once more; there is room
		return
	}
	var fresh [][]byte
	reasons := wire.AppendU32(nil, uint32(len(res.txs)))
	for i, t := range res.txs {
		err := res.errs[i]
		if err == nil && !r.core.cfg.mutant.loses(t) {
			err = r.queueOf(t).Add(t, r.recent.at(t.Sender(), res.height, res.accounts[i]), r.tip.height+1)
		}
		if err == nil && res.wallet {
			raw, _ := t.AppendBinary(nil)
			fresh = append(fresh, raw)
		}
		reasons = wire.AppendBytes(reasons, []byte(reasonOf(err)))
	}
	if res.wallet {
		r.notice(res.from, shardkit.ClassBlock, noticeAdmitted, res.request, reasons)
	}
	r.spreadNews(fresh)
	r.work(now)
	r.propose(now)
}

// spreadNews sends freshly admitted transactions to the other members.
func (r *replica) spreadNews(raw [][]byte) {
	if len(raw) == 0 {
		return
	}
	b := wire.AppendU32(nil, uint32(len(raw)))
	for _, t := range raw {
		b = wire.AppendBytes(b, t)
	}
	for _, m := range r.tip.out.committee.Members() {
		if m.Node != r.core.cfg.Self {
			r.core.send(m.Node, shardkit.ClassBlock, 0, protoGossip, r.shard, b)
		}
	}
}

// reasonOf is the short form of a refusal.
func reasonOf(err error) string {
	var te *ledger.TxError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &te):
		return string(te.Reason)
	}
	return "malformed"
}
