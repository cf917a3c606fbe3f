package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/examples/chain"
)

// report is the outcome of a run.
type report struct {
	Shards         int               `json:"shards"`
	Validators     int               `json:"validators"`
	Replicas       int               `json:"replicas"`
	Deal           string            `json:"deal"`
	Policy         string            `json:"policy"`
	Epochs         int               `json:"epochs"`
	Blocks         []shardkit.Height `json:"blocks"`
	Submitted      int               `json:"tx_submitted"`
	Accepted       int               `json:"tx_accepted"`
	Committed      int               `json:"tx_committed"`
	Refused        map[string]int    `json:"tx_refused"`
	CrossSent      int               `json:"cross_sent"`
	CrossDelivered int               `json:"cross_delivered"`
	TPS            float64           `json:"tps"`
	Window         int64             `json:"tps_window_ms"`
	Latency        struct {
		InShard    percentiles `json:"in_shard"`
		CrossShard percentiles `json:"cross_shard"`
		Mean       float64     `json:"mean"`
	} `json:"latency_ms"`
	FirstBlock     int64         `json:"first_block_ms"`
	ViewChanges    uint64        `json:"view_changes"`
	Kills          int           `json:"kills"`
	LargestWeight  float64       `json:"largest_weight"`
	ChunksSent     uint64        `json:"chunks_sent"`
	BlocksByChunks int           `json:"blocks_by_chunks"`
	Lookups        uint64        `json:"kad_lookups"`
	Epoch          []epochReport `json:"epoch"`
	VDFDelay       string        `json:"vdf_delay"`
	Statesync      struct {
		Bytes  int   `json:"bytes"`
		Millis int64 `json:"ms"`
		Epochs int   `json:"epochs"`
		Ranges int   `json:"ranges"`
		Count  int   `json:"count"`
	} `json:"statesync"`
	Join       *joining      `json:"join,omitempty"`
	History    *history      `json:"history,omitempty"`
	Drained    bool          `json:"drained"`
	RSS        uint64        `json:"rss_bytes"`
	Seconds    float64       `json:"seconds"`
	Cores      int           `json:"cores"`
	Invariants *chain.Report `json:"invariants"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

type epochReport struct {
	Epoch      shardkit.Epoch `json:"epoch"`
	Randomness string         `json:"randomness"`
	VDF        float64        `json:"vdf_ms"`
	VotePrice  uint64         `json:"vote_price"`
	Shares     []uint64       `json:"shares"`
	Moved      int            `json:"moved"`
	Elected    int            `json:"elected"`
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func percentilesOf(list []time.Duration) (p percentiles) {
	if len(list) == 0 {
		return p
	}
	list = slices.Clone(list)
	slices.Sort(list)
	at := func(q int) float64 { return millis(list[min(len(list)*q/100, len(list)-1)]) }
	return percentiles{at(50), at(90), at(99)}
}

// report gathers what the run did; the invariants are filled in later, from
// the stores.
func (r *runner) report(drained bool) *report {
	rep := &report{
		Shards: r.o.shards, Validators: r.o.validators, Deal: r.o.deal, Policy: r.o.policy, Epochs: r.o.epochs,
		Kills: r.kills, LargestWeight: r.weight, VDFDelay: "demo", Drained: drained, Cores: workers(),
	}
	rep.Join = r.joining()
	r.nodes(rep)
	r.load(rep)
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.counts
	rep.Blocks, rep.BlocksByChunks = k.heights, k.rebuilt
	for _, v := range k.views {
		rep.ViewChanges += v
	}
	for _, d := range k.first {
		rep.FirstBlock = max(rep.FirstBlock, d.Milliseconds())
	}
	for _, e := range k.synced {
		rep.Statesync.Bytes += e.Bytes
		rep.Statesync.Millis = max(rep.Statesync.Millis, e.Took.Milliseconds())
		rep.Statesync.Epochs += e.Epochs
		rep.Statesync.Ranges += e.Ranges
		rep.Statesync.Count++
	}
	rep.epochs(k)
	rep.RSS = peakRSS()
	rep.Seconds = time.Since(began).Seconds()
	return rep
}

// nodes adds what only the nodes know.
func (r *runner) nodes(rep *report) {
	for _, m := range r.c.up() {
		rep.Replicas += len(m.status())
		m.node.Inspect(func(c *chain.Core) {
			st := c.Stats()
			rep.ChunksSent += st.ChunksSent
			rep.Lookups += st.Lookups
		})
	}
}

// load adds what the wallet saw.
func (r *runner) load(rep *report) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	l := &r.w.stats
	rep.Submitted, rep.Accepted, rep.Committed, rep.Refused = l.submitted, l.accepted, l.committed, l.refused
	rep.CrossSent, rep.CrossDelivered = l.crossSent, l.crossDelivered
	if window := l.last.Sub(l.first); window > 0 {
		rep.Window = window.Milliseconds()
		rep.TPS = float64(l.beforeStop) / window.Seconds()
	}
	rep.Latency.InShard, rep.Latency.CrossShard = percentilesOf(l.inShard), percentilesOf(l.crossShard)
	var sum time.Duration
	for _, d := range l.inShard {
		sum += d
	}
	for _, d := range l.crossShard {
		sum += d
	}
	if l.committed > 0 {
		rep.Latency.Mean = millis(sum) / float64(l.committed)
	}
}

func (rep *report) epochs(k *counts) {
	var list []shardkit.Epoch
	for e, c := range k.epochs {
		if c.report != nil {
			list = append(list, e)
		}
	}
	slices.Sort(list)
	for _, e := range list {
		c := k.epochs[e]
		out := epochReport{
			Epoch: e, Randomness: hex.EncodeToString(c.report.Randomness[:]), VotePrice: c.report.VotePrice,
			Shares: c.report.Shares, Moved: c.report.Moved, Elected: c.report.Elected,
		}
		if len(c.vdf) > 0 {
			out.VDF = millis(slices.Min(c.vdf))
		}
		rep.Epoch = append(rep.Epoch, out)
	}
}

// peakRSS reads the most memory the process ever held; 0 if the system does
// not say.
func peakRSS() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// print writes the report for people and, if asked, as JSON.
func (rep *report) print(o *options) error {
	out := io.Writer(os.Stdout)
	if o.json == "-" {
		out = os.Stderr
	}
	rep.text(out)
	if o.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if o.json == "-" {
		_, err = os.Stdout.Write(b)
		return err
	}
	return os.WriteFile(o.json, b, 0o644)
}

func (rep *report) text(w io.Writer) {
	p := func(format string, a ...any) { fmt.Fprintf(w, format+"\n", a...) }
	p("")
	p("%d shards x %d validators, dealing %s by %s, on %d cores: %.1f s", rep.Shards, rep.Validators, rep.Deal, rep.Policy, rep.Cores, rep.Seconds)
	p("  blocks        %v, first on every shard after %d ms, %d view changes", rep.Blocks, rep.FirstBlock, rep.ViewChanges)
	p("  transfers     %d submitted, %d accepted, %d committed; refused %v", rep.Submitted, rep.Accepted, rep.Committed, rep.Refused)
	p("  cross-shard   %d sent, %d delivered", rep.CrossSent, rep.CrossDelivered)
	p("  throughput    %.0f tx/s over %.1f s", rep.TPS, float64(rep.Window)/1000)
	p("  latency ms    in shard %.0f / %.0f / %.0f, cross-shard %.0f / %.0f / %.0f (p50 / p90 / p99), mean %.0f",
		rep.Latency.InShard.P50, rep.Latency.InShard.P90, rep.Latency.InShard.P99,
		rep.Latency.CrossShard.P50, rep.Latency.CrossShard.P90, rep.Latency.CrossShard.P99, rep.Latency.Mean)
	p("  broadcast     %d chunks sent, %d bodies rebuilt from chunks", rep.ChunksSent, rep.BlocksByChunks)
	p("  routing       %d lookups", rep.Lookups)
	for _, e := range rep.Epoch {
		p("  epoch %-3d     randomness %s…, VDF %.0f ms, %d elected, %d moved, vote price %d, shares %v",
			e.Epoch, e.Randomness[:16], e.VDF, e.Elected, e.Moved, e.VotePrice, e.Shares)
	}
	p("  state sync    %d joins, %d bytes in %d ranges, %d epochs hopped, slowest %d ms",
		rep.Statesync.Count, rep.Statesync.Bytes, rep.Statesync.Ranges, rep.Statesync.Epochs, rep.Statesync.Millis)
	p("  faults        %d kills; the largest weight in a committee was %.1f %%", rep.Kills, 100*rep.LargestWeight)
	if j := rep.Join; j != nil {
		p("  joined        epoch %d, shard %d, signed %d blocks; staked in block %d of the beacon", j.Epoch, j.Shard, j.Signed, j.Staked)
	}
	if rep.History != nil {
		rep.History.text(w)
	}
	p("  memory        %.0f MiB at most", float64(rep.RSS)/(1<<20))
	p("  delay         %s: far too short to keep a real attacker from the randomness", rep.VDFDelay)
	iv := rep.Invariants
	for _, x := range []struct {
		name string
		ok   bool
	}{
		{"supply conserved", iv.SupplyConserved}, {"one block per height", iv.OneBlockPerHeight},
		{"replicas agree", iv.ReplicasAgree}, {"no receipt twice", iv.NoReceiptTwice},
		{"all receipts delivered", iv.AllReceiptsDelivered}, {"all accepted committed", iv.AllAcceptedCommitted},
	} {
		p("  %-24s %v", x.name, x.ok)
	}
	for _, why := range iv.Why {
		p("    %s", why)
	}
}
