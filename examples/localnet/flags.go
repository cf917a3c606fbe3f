package main

import (
	"flag"
	"fmt"
	"io"

	"github.com/shardkit/shardkit/reshard"
)

// options are what the command line says.
type options struct {
	shards      int
	validators  int
	epochs      int
	epochBlocks int
	rate        int
	cross       float64
	deal        string
	policy      string
	lambda      uint64
	seed        uint64
	data        string
	kill        bool
	join        bool
	history     int
	json        string
	verbose     bool
}

// parse reads the command line; what makes no sense is an error of one line.
func parse(args []string) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("localnet", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.shards, "shards", 4, "shards; shard 0 is the beacon")
	f.IntVar(&o.validators, "validators", 4, "average members of a shard")
	f.IntVar(&o.epochs, "epochs", 3, "epochs to walk")
	f.IntVar(&o.epochBlocks, "epoch-blocks", 24, "beacon blocks of an epoch, at least")
	f.IntVar(&o.rate, "rate", 0, "transfers offered per second; 0: as fast as they are accepted")
	f.Float64Var(&o.cross, "cross", 0.75, "share of transfers that go to another shard")
	f.StringVar(&o.deal, "deal", "slots", "what is dealt to shards: slots or shares")
	f.StringVar(&o.policy, "policy", "full", "how slots or shares are dealt anew: full, cuckoo, ...")
	f.Uint64Var(&o.lambda, "lambda", 600, "voting shares of a shard")
	f.Uint64Var(&o.seed, "seed", 1, "of keys, stakes, accounts and the load")
	f.StringVar(&o.data, "data", "", "data directory, kept and continued; empty: a temporary one")
	f.BoolVar(&o.kill, "kill", false, "cut off a validator, and later a leader, and restart them")
	f.BoolVar(&o.join, "join", false, "a validator joins by a staking transaction: its fresh node syncs, gets a seat and signs")
	f.IntVar(&o.history, "history", 0, "keep the histories of accounts, and show so many moves of one at the end; 0: neither")
	f.StringVar(&o.json, "json", "", "write the report as JSON to this file; -: standard output")
	f.BoolVar(&o.verbose, "v", false, "log what the nodes do, to standard error")
	if err := f.Parse(args); err != nil {
		if err == flag.ErrHelp {
			out := flag.CommandLine.Output()
			f.SetOutput(out)
			fmt.Fprintln(out, "localnet runs a whole sharded chain in this process, puts a load on it, prints a\nline a second, and ends with a report and whether every invariant held. Flags:")
			f.PrintDefaults()
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.check()
}

func (o *options) check() error {
	between := func(name string, v, lo, hi int) error {
		if v < lo || v > hi {
			return fmt.Errorf("-%s %d: want %d to %d", name, v, lo, hi)
		}
		return nil
	}
	for _, err := range []error{
		between("shards", o.shards, 1, 64),
		between("validators", o.validators, 4, 400),
		between("epochs", o.epochs, 1, 10_000),
		between("epoch-blocks", o.epochBlocks, 12, 100_000),
		between("rate", o.rate, 0, 1_000_000),
		between("history", o.history, 0, 10_000),
	} {
		if err != nil {
			return err
		}
	}
	if o.cross < 0 || o.cross > 1 || (o.cross > 0 && o.shards == 1) {
		return fmt.Errorf("-cross %v: want 0 to 1, and 0 with one shard", o.cross)
	}
	if o.deal != "slots" && o.deal != "shares" {
		return fmt.Errorf("-deal %q: want slots or shares", o.deal)
	}
	if o.lambda < 8 || o.lambda > 1_000_000 {
		return fmt.Errorf("-lambda %d: want 8 to 1000000", o.lambda)
	}
	if _, err := reshard.ParsePolicy(o.policy); err != nil {
		return fmt.Errorf("-policy: %w", err)
	}
	return nil
}
