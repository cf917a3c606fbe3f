package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/examples/chain"
	"github.com/shardkit/shardkit/ledger"
)

// accountsPerShard is how many accounts the load spreads over, on average.
const accountsPerShard = 1500

// secret derives bytes from the run's seed.
func secret(seed uint64, tag string, n int) [32]byte {
	b := binary.BigEndian.AppendUint64([]byte("shardkit/localnet/"+tag+"/"), seed)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(n)))
}

// setup is what a run is made of before anything starts: keys, stakes and
// accounts, all from the seed.
type setup struct {
	genesis    *chain.Genesis
	identities []*chain.Identity
	accounts   []*account
	newcomer   *newcomer
}

// saved is what a data directory remembers of its first run.
type saved struct {
	Seed        uint64
	Shards      int
	Validators  int
	EpochBlocks int
	Deal        string
	Policy      string
	Lambda      uint64
	Time        uint64
}

func (o *options) saved() saved {
	return saved{
		Seed: o.seed, Shards: o.shards, Validators: o.validators, EpochBlocks: o.epochBlocks,
		Deal: o.deal, Policy: o.policy, Lambda: o.lambda,
	}
}

// remember reads the data directory's past, or writes it if it is new.
func remember(dir string, o *options) (saved, error) {
	name := filepath.Join(dir, "localnet.json")
	now := o.saved()
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		now.Time = uint64(time.Now().UnixMilli())
		return now, now.write(dir)
	}
	if err != nil {
		return saved{}, err
	}
	var past saved
	if err := json.Unmarshal(b, &past); err != nil {
		return saved{}, fmt.Errorf("%s: %w", name, err)
	}
	now.Time = past.Time
	if now != past {
		return saved{}, fmt.Errorf("%s holds another chain: it was begun with -seed %d -shards %d -validators %d -epoch-blocks %d -deal %s -policy %s -lambda %d",
			dir, past.Seed, past.Shards, past.Validators, past.EpochBlocks, past.Deal, past.Policy, past.Lambda)
	}
	return past, nil
}

func (s saved) write(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "localnet.json"), append(b, '\n'), 0o644)
}

// newSetup makes keys, stakes and accounts.
func newSetup(o *options, start uint64) (*setup, error) {
	n := o.shards * o.validators
	s := &setup{genesis: &chain.Genesis{Name: "localnet", Time: start, Seed: secret(o.seed, "genesis", 0), Params: o.params()}}
	for i := range n {
		id, err := chain.NewIdentity(secret(o.seed, "node", i))
		if err != nil {
			return nil, err
		}
		s.identities = append(s.identities, id)
		validator := secret(o.seed, "validator", i)
		slot, proof := id.Slot(s.genesis.Name, validator, 0)
		s.genesis.Validators = append(s.genesis.Validators, estake.Genesis{
			Validator: validator, Stake: stakeOf(i), Slots: []estake.Slot{slot}, Restake: true,
		})
		s.genesis.Proofs = append(s.genesis.Proofs, proof)
	}
	var err error
	if s.newcomer, err = newNewcomer(o); err != nil {
		return nil, err
	}
	s.accounts = newAccounts(o)
	s.genesis.Accounts = append(s.genesis.Accounts, chain.Allocation{Address: s.newcomer.addr, Balance: 2 * joinStake})
	for _, a := range s.accounts {
		s.genesis.Accounts = append(s.genesis.Accounts, chain.Allocation{Address: a.addr, Balance: 1_000_000_000})
	}
	return s, nil
}

// newAccounts derives the keys of all accounts, on all cores.
func newAccounts(o *options) []*account {
	out := make([]*account, accountsPerShard*o.shards)
	var wg sync.WaitGroup
	for first := range workers() {
		wg.Go(func() {
			for i := first; i < len(out); i += workers() {
				seed := secret(o.seed, "account", i)
				key := ed25519.NewKeyFromSeed(seed[:])
				addr := ledger.AddressOf(key.Public().(ed25519.PublicKey))
				out[i] = &account{key: key, addr: addr, shard: addr.Shard(uint32(o.shards))}
			}
		})
	}
	wg.Wait()
	return out
}

// stakeOf gives validators differing stakes, near enough to each other that
// none gets a third of a committee of four.
func stakeOf(i int) uint64 { return 1_000_000 + uint64(i*37%23)*8_000 }

// params are the rules of the local chain. Its delay function is far too short
// to be safe, as the report says: a safe one takes minutes.
func (o *options) params() chain.Params {
	stake := estake.DefaultParams(o.shards * o.validators)
	stake.Lambda = o.lambda
	stake.EpochReward = 100_000
	stake.MinBidPPM = 500_000 // a bid far below the median buys votes below their price
	p := chain.Params{
		Shards: uint32(o.shards), EpochBlocks: uint32(o.epochBlocks), Policy: o.policy, Stake: stake,
		MaxTransactions: 4096, MaxBody: 2 << 20, MaxDrift: 500, MaxRun: 16,
		VDFBits: 512, VDFT: 20_000, VDFBound: 60_000, ShortDelay: true,
		DrawAfter: 2, DrawWindow: uint32(o.epochBlocks) / 2,
	}
	if o.deal == "shares" {
		p.Deal = chain.DealShares
	}
	return p
}
