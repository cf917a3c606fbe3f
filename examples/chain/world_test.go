package chain

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vrf"
	"github.com/shardkit/shardkit/xshard"
)

// world is a whole chain in the simulated network: nodes, their disks, and a
// wallet that keeps sending transfers.
type world struct {
	t       testing.TB
	opt     options
	genesis *Genesis
	ids     []*simIdentity
	net     *simnet.Net
	nodes   map[shardkit.NodeID]*simNode
	wallet  *simWallet
	stakers *simStakers
	faults  []string // invariants that a block broke, as they were noticed
	hashes  map[string]shardkit.Hash
	events  map[EventKind]int
	signed  map[shardkit.NodeID]int // blocks, from epoch 2 on
	orders  map[estake.Kind]int     // staking transactions in blocks

	ledger  map[shardkit.ShardID]books // after the newest block seen
	checked int                        // blocks whose tokens were checked
	disks   map[shardkit.NodeID]map[shardkit.ShardID]*ledger.MemStore
	old     []Copy // stores that were given up
	gone    []Copy // stores that were discarded
}

type options struct {
	seed     uint64
	shards   int
	nodes    int // validators, one slot each
	accounts int
	strict   bool // who is away for most of a second has to rejoin
	stakers  bool // the load has staking transactions, a validator that joins and one that leaves
	real     bool // BLS and real network keys instead of the counting scheme
	deal     uint8
	policy   string
	blocks   uint32 // of an epoch
	net      simnet.Config
	stake    func(*estake.Params)                                         // changes the rules
	twist    func(n *simNode, list []shardkit.Message) []shardkit.Message // makes liars
	room     uint32                                                       // transactions of a block. 0: 256
	pool     ledger.MempoolConfig
	chunk    int  // bytes of state in an answer
	history  bool // of accounts
	discard  bool // stores that are out of use
	mutant   mutant
	who      int // the node that has the mutant; -1: all
}

// simIdentity is a node's keys, and those of the account that stakes for it.
type simIdentity struct {
	node    shardkit.NodeID
	network ed25519.PrivateKey
	signer  fbft.Signer
	vrf     *vrf.SecretKey
	slot    estake.Slot
	proof   []byte
	account ed25519.PrivateKey
	possess func(context []byte) []byte
}

func digest(parts ...any) [32]byte { return sha256.Sum256([]byte(fmt.Sprint(parts...))) }

func newIdentity(t testing.TB, opt options, i int) *simIdentity {
	account := beaconKey(fmt.Sprint(opt.seed, "/", i), uint32(opt.shards))
	validator := ledger.AddressOf(account.Public().(ed25519.PublicKey))
	id, err := NewIdentity(digest("node", opt.seed, i))
	require.NoError(t, err)
	slot, proof := id.Slot("sim", validator, 0)
	s := &simIdentity{id.ID(), id.Network, id.Voting, id.VRF, slot, proof, account, id.Voting.Prove}
	if !opt.real {
		s.slot.VotingKey = id.Network.Public().(ed25519.PublicKey)
		s.signer, s.proof = fbfttest.FakeSigner(s.slot.VotingKey), nil
		s.possess = func(context []byte) []byte { return fakePossession(s.slot.VotingKey, context) }
	}
	return s
}

func (s *simIdentity) sign(msg []byte) []byte { return ed25519.Sign(s.network, msg) }

// keys are the slot as a transaction registers it.
func (s *simIdentity) keys(t testing.TB, chain shardkit.Hash) estake.SlotKeys {
	k := estake.SlotKeys{VotingKey: s.slot.VotingKey, VRFKey: s.slot.VRFKey, Node: s.node}
	msg := slotMessage(chain, s.slot.Validator, &k)
	pi, err := s.vrf.Prove(msg)
	require.NoError(t, err)
	p := slotProof{Possession: s.possess(msg), VRF: pi, Network: [64]byte(ed25519.Sign(s.network, msg))}
	k.Proof = p.encode()
	return k
}

func fakePossession(key, context []byte) []byte {
	d := digest("possession", key, context)
	return d[:]
}

func (w *world) possession(key, context, proof []byte) error {
	if w.opt.real {
		return bls.VerifyPossession(key, context, proof)
	}
	if !bytes.Equal(proof, fakePossession(key, context)) {
		return errors.New("not possessed")
	}
	return nil
}

func (w *world) scheme(keys [][]byte) (fbft.Verifier, error) {
	if w.opt.real {
		return bls.NewCommittee(keys, digest("batch", w.opt.seed))
	}
	return fbfttest.Fake(keys), nil
}

const wallStart = 1_700_000_000_000

func newWorld(t testing.TB, opt options) *world {
	if opt.accounts == 0 {
		opt.accounts = 24
	}
	if opt.blocks == 0 {
		opt.blocks = 12
	}
	if opt.policy == "" {
		opt.policy = "full"
	}
	w := &world{
		t: t, opt: opt, nodes: map[shardkit.NodeID]*simNode{},
		hashes: map[string]shardkit.Hash{}, events: map[EventKind]int{}, signed: map[shardkit.NodeID]int{}, orders: map[estake.Kind]int{},
		disks: map[shardkit.NodeID]map[shardkit.ShardID]*ledger.MemStore{}, ledger: map[shardkit.ShardID]books{},
	}
	stake := estake.DefaultParams(opt.nodes)
	stake.Lambda, stake.EpochReward = 60, 1000
	stake.LockEpochs, stake.EvidenceEpochs = 4, 1
	if opt.strict {
		stake.LockEpochs, stake.EvidenceEpochs = 3, 0
		stake.GapMillis, stake.ReduceMillis, stake.InactiveMillis = 400, 300, 700
	}
	if opt.stake != nil {
		opt.stake(&stake)
	}
	w.genesis = &Genesis{
		Name: "sim", Time: wallStart, Seed: digest("genesis", opt.seed),
		Params: Params{
			Shards: uint32(opt.shards), EpochBlocks: opt.blocks, Deal: opt.deal, Policy: opt.policy, Stake: stake,
			MaxTransactions: cmp.Or(opt.room, 256), MaxBody: 1 << 20, MaxDrift: 500, MaxRun: 8,
			VDFBits: 256, VDFT: 64, VDFBound: 60_000, ShortDelay: true, DrawAfter: 2, DrawWindow: 8,
		},
	}
	for i := range opt.nodes {
		id := newIdentity(t, opt, i)
		w.ids = append(w.ids, id)
		w.genesis.Validators = append(w.genesis.Validators, estake.Genesis{
			Validator: id.slot.Validator, Stake: uint64(1_000_000 + 20_000*i), Slots: []estake.Slot{id.slot},
		})
		w.genesis.Proofs = append(w.genesis.Proofs, id.proof)
	}
	w.wallet, w.stakers = newSimWallet(w), newSimStakers(w)
	check := func(key, context, proof []byte) error { return nil }
	if opt.real {
		check = bls.VerifyPossession
	}
	require.NoError(t, w.genesis.Validate(check))
	w.start()
	return w
}

// start puts everybody on the network.
func (w *world) start() {
	cfg := w.opt.net
	cfg.Seed = w.opt.seed
	if cfg.JobTime == nil {
		cfg.JobTime = func(j shardkit.Job) time.Duration {
			switch j.Kind {
			case "vdf.eval":
				return 300 * time.Millisecond
			case "ledger.commit":
				return 3 * time.Millisecond
			}
			return 500 * time.Microsecond
		}
	}
	if cfg.SyncTime == 0 {
		cfg.SyncTime = 2 * time.Millisecond
	}
	var err error
	w.net, err = simnet.New(cfg)
	require.NoError(w.t, err)
	for i, id := range w.ids {
		w.add(id, i, false)
	}
	require.NoError(w.t, w.net.Add(w.wallet.id, func([][]byte) (simnet.Node, error) { return w.wallet, nil }))
	if w.opt.stakers {
		require.NoError(w.t, w.net.Add(w.stakers.id, func([][]byte) (simnet.Node, error) { return w.stakers, nil }))
		w.stakers.begin()
	}
}

// add puts a node on the network; its stores outlive its crashes.
func (w *world) add(id *simIdentity, i int, follow bool) {
	disks := map[shardkit.ShardID]*ledger.MemStore{}
	w.disks[id.node] = disks
	require.NoError(w.t, w.net.Add(id.node, func(log [][]byte) (simnet.Node, error) {
		cfg := Config{
			Genesis: w.genesis, Self: id.node, Signer: id.signer, Prove: id.vrf.Prove, Sign: id.sign, Scheme: w.scheme, Possession: w.possession,
			Log: log, Wall: wallStart + uint64(w.net.Now()/time.Millisecond), Follow: follow,
			Reporter:  beaconKey(fmt.Sprint("reporter ", w.opt.seed, "/", i), uint32(w.opt.shards)),
			SyncBytes: w.opt.chunk, Pool: w.opt.pool, History: w.opt.history,
			Timeout: 800 * time.Millisecond, Heartbeat: 500 * time.Millisecond, Small: 256,
			Open: func(s shardkit.ShardID, fresh bool) (ledger.Store, error) {
				if disks[s] != nil && fresh {
					w.old = append(w.old, Copy{id.node, s, disks[s]})
				}
				if disks[s] == nil || fresh {
					disks[s] = ledger.NewMemStore()
				}
				return disks[s], nil
			},
		}
		if w.opt.discard {
			cfg.Discard = func(s shardkit.ShardID) error {
				w.gone = append(w.gone, Copy{id.node, s, disks[s]})
				delete(disks, s)
				return nil
			}
		}
		for s := range shardkit.ShardID(w.opt.shards) {
			if disks[s] != nil {
				cfg.Held = append(cfg.Held, s)
			}
		}
		if w.opt.mutant != mutantNone && (w.opt.who < 0 || w.opt.who == i) {
			cfg.mutant = w.opt.mutant
		}
		core, err := New(cfg)
		if err != nil {
			return nil, err
		}
		n := &simNode{Core: core, w: w, id: id.node}
		w.nodes[id.node] = n
		core.Start(0, "")
		return n, nil
	}))
}

// simNode is a Core on the simulated network.
type simNode struct {
	*Core
	w  *world
	id shardkit.NodeID
}

func (n *simNode) Effects() simnet.Effects {
	rd := n.Ready()
	for _, e := range rd.Events {
		n.w.note(n, e)
	}
	if rd.Failed != nil {
		n.w.fault("node %v: %v", n.id, rd.Failed)
	}
	if n.w.opt.twist != nil {
		rd.Messages = n.w.opt.twist(n, rd.Messages)
	}
	return simnet.Effects{Records: rd.Records, Seq: rd.Seq, Prune: rd.Prune, Messages: rd.Messages, Jobs: rd.Jobs}
}

func (w *world) fault(format string, a ...any) {
	if len(w.faults) < 10 {
		w.faults = append(w.faults, fmt.Sprintf(format, a...))
	}
}

// note checks what can be checked after every block.
func (w *world) note(n *simNode, e Event) {
	w.events[e.Kind]++
	if e.Kind == Accused && w.opt.twist == nil {
		w.fault("node %v has evidence against an honest member of shard %d", n.id, e.Shard)
	}
	if e.Signed && e.Header.Epoch > 1 {
		w.signed[n.id]++
	}
	if e.Kind != Committed {
		if (e.Kind == Hosted || e.Kind == Retired) && testing.Verbose() {
			w.t.Logf("%v node %v shard %d kind %d", w.net.Now(), n.id, e.Shard, e.Kind)
		}
		if e.Kind == Refused && testing.Verbose() {
			w.t.Logf("%v node %v shard %d refused: %v", w.net.Now(), n.id, e.Shard, e.Err)
		}
		return
	}
	key := fmt.Sprint(e.Shard, "/", e.Header.Height)
	if old, ok := w.hashes[key]; ok && old != e.Hash {
		w.fault("fork: shard %d height %d: %v and %v", e.Shard, e.Header.Height, old, e.Hash)
	}
	if _, ok := w.hashes[key]; !ok {
		w.conserve(n.replica(e.Shard), e.Header)
	}
	w.hashes[key] = e.Hash
}

// conserve checks that a block changed its shard's tokens by exactly what it
// took in, sent away, minted and burned.
func (w *world) conserve(r *replica, h *ledger.Header) {
	if r == nil || r.chain.State().Version() != uint64(h.Height) {
		return
	}
	now, err := w.books(r, h.Height)
	if err != nil {
		w.fault("books of shard %d height %d: %v", r.shard, h.Height, err)
		return
	}
	before, ok := w.ledger[r.shard]
	if !ok && h.Height == 1 {
		before, ok = w.genesisBooks(r.shard), true
	}
	w.ledger[r.shard] = now
	if !ok || before.height+1 != h.Height {
		return
	}
	if want := before.held + now.taken - now.sent + (now.minted - before.minted) - (now.burned - before.burned); now.held != want {
		w.fault("shard %d height %d holds %d tokens, want %d", r.shard, h.Height, now.held, want)
	}
	w.checked++
}

// books are a shard's tokens after a block, and what the block moved.
type books struct {
	height               shardkit.Height
	held, minted, burned uint64
	taken, sent          uint64
}

func (w *world) genesisBooks(s shardkit.ShardID) (b books) {
	for _, a := range w.genesis.Accounts {
		if a.Address.Shard(uint32(w.opt.shards)) == s {
			b.held += a.Balance
		}
	}
	for i := range w.genesis.Validators {
		if s == 0 {
			b.held += w.genesis.Validators[i].Stake
		}
	}
	return b
}

func (w *world) books(r *replica, h shardkit.Height) (b books, err error) {
	b.height = h
	if b.held, err = holdings(r.chain.State()); err != nil {
		return b, err
	}
	st := r.chain.State().Begin()
	defer st.Discard()
	if b.minted, err = loadU64(st, keyMinted); err != nil {
		return b, err
	}
	if b.burned, err = estake.Burned(st); err != nil {
		return b, err
	}
	block, err := r.chain.Block(h)
	if err != nil {
		return b, err
	}
	var body ledger.Body
	if err := body.UnmarshalBinary(block.Body); err != nil {
		return b, err
	}
	for _, tx := range body.Transactions {
		if order, err := estake.DecodeTx(tx.Payload); err == nil {
			w.orders[order.Kind()]++
		}
	}
	if r.shard == 0 {
		if err := estake.Audit(r.chain.State().Scan); err != nil {
			return b, err
		}
	}
	it, err := decodeItems(body.Items, 8)
	if err != nil {
		return b, err
	}
	for _, l := range it.Links {
		for _, raw := range l.Batches {
			n, err := amount(raw)
			if err != nil {
				return b, err
			}
			b.taken += n
		}
	}
	for d := range shardkit.ShardID(w.opt.shards) {
		raw, ok, err := r.chain.Get(keyPacket(d, h))
		if err != nil {
			return b, err
		}
		if !ok {
			continue
		}
		p, err := decodePacket(raw)
		if err != nil {
			return b, err
		}
		n, err := amount(p.Batch)
		if err != nil {
			return b, err
		}
		b.sent += n
	}
	return b, nil
}

// amount adds up the receipts of an encoded batch.
func amount(raw []byte) (sum uint64, err error) {
	var b xshard.Batch
	if err := b.UnmarshalBinary(raw); err != nil {
		return 0, err
	}
	for _, r := range b.Receipts {
		sum += r.Amount
	}
	return sum, nil
}

// audit recomputes the invariants from the disks.
func (w *world) audit() *Report {
	var copies []Copy
	for _, id := range w.ids {
		for s := range shardkit.ShardID(w.opt.shards) {
			if d := w.disks[id.node][s]; d != nil {
				copies = append(copies, Copy{id.node, s, d.Clone()})
			}
		}
	}
	for _, c := range slices.Concat(w.old, w.gone) {
		copies = append(copies, Copy{c.Node, c.Shard, c.Store.(*ledger.MemStore).Clone()})
	}
	rep, err := Audit(w.genesis, copies, w.wallet.accepted)
	require.NoError(w.t, err)
	return rep
}

// status is a line about every replica, for failures.
func (w *world) status() (out string) {
	for _, id := range w.ids {
		n := w.nodes[id.node]
		out += fmt.Sprintf("\n%v:", id.node)
		if n == nil {
			out += " down"
			continue
		}
		for _, r := range n.replicas {
			if r.tip == nil {
				out += fmt.Sprintf(" [%d opening]", r.shard)
				if r.client != nil {
					out += fmt.Sprintf("%+v", r.client.Stats())
				}
				continue
			}
			out += fmt.Sprintf(" [%d h=%d e=%d ends=%v pool=%d draw=%d follow=%v]", r.shard, r.tip.height, r.tip.out.meta.Epoch,
				r.tip.out.meta.Ends, r.pool.Len(), r.tip.out.draw.Phase, r.following)
			for d := range r.tip.out.links {
				if q := r.relay.Arrived(shardkit.ShardID(d)); len(q) > 0 || shardkit.ShardID(d) != r.shard {
					out += fmt.Sprintf("(from %d linked %d, %d arrived)", d, r.tip.out.links[d].Height, len(q))
				}
			}
		}
	}
	return out
}
