// Command lab runs the experiments that a chain's designer would run with
// packages estake and reshard, prints their tables, and writes them as CSV and
// as plots.
//
//	go run ./examples/lab safety            how large shards have to be
//	go run ./examples/lab reshard           what re-dealing policies hold out
//	go run ./examples/lab stake             what stake counts, and costs
//
// safety prints for sizes of shards how likely one of them ever fails, and the
// sizes that are enough; reshard how many epochs each policy holds out against
// those who leave and come back to gather in one shard, and how many validators
// it moves; stake the least stake that a third of the votes costs. Each table has
// a title that says what its figures are. The plots beside them show the same and
// more: what bids count, and the curves of absence and of slashing.
//
// Flags, after the name: -out DIR for the files (default a temporary folder,
// whose path is printed), -full for more seeds and finer grids, which takes
// minutes, -seed N for other histories.
//
// Probabilities are exact sums of integers until they are printed; the
// simulations are functions of their seeds.
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// lab is one run of an experiment.
type lab struct {
	dir  string
	out  io.Writer
	full bool
	tiny bool // for the test: as little as shows that it runs
	seed uint64
	err  error // the first; nothing is written after it
}

var experiments = []struct {
	name string
	run  func(*lab)
}{
	{"safety", (*lab).safety}, {"reshard", (*lab).reshard}, {"stake", (*lab).stake},
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return errors.New("usage: lab safety|reshard|stake [-out DIR] [-full] [-seed N]")
	}
	l := &lab{out: out}
	flags := flag.NewFlagSet("lab "+args[0], flag.ContinueOnError)
	flags.StringVar(&l.dir, "out", "", "folder for plots and CSV (default: a temporary one)")
	flags.BoolVar(&l.full, "full", false, "more seeds and finer grids")
	flags.BoolVar(&l.tiny, "tiny", false, "as little as possible")
	flags.Uint64Var(&l.seed, "seed", 1, "first seed of the simulations")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q?", flags.Arg(0))
	}
	for _, e := range experiments {
		if e.name == args[0] {
			return l.do(e.run)
		}
	}
	return fmt.Errorf("no experiment %q", args[0])
}

func (l *lab) do(experiment func(*lab)) error {
	var err error
	if l.dir == "" {
		l.dir, err = os.MkdirTemp("", "shardkit-lab-")
	} else {
		err = os.MkdirAll(l.dir, 0o755)
	}
	if err != nil {
		return err
	}
	experiment(l)
	if l.err == nil {
		fmt.Fprintln(l.out, "\nwritten to", l.dir)
	}
	return l.err
}

// fail keeps the first error.
func (l *lab) fail(err error) bool {
	if err != nil && l.err == nil {
		l.err = err
	}
	return l.err != nil
}

// table prints rows under a title and writes them as name.csv.
func (l *lab) table(name, title string, header []string, rows [][]string) {
	if l.err != nil {
		return
	}
	fmt.Fprintf(l.out, "\n%s\n", title)
	w := tabwriter.NewWriter(l.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{header}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	l.fail(w.Flush())
	l.csv(name, header, rows)
}

// csv writes rows without printing them.
func (l *lab) csv(name string, header []string, rows [][]string) {
	f, err := os.Create(filepath.Join(l.dir, name+".csv"))
	if l.fail(err) {
		return
	}
	w := csv.NewWriter(f)
	err = w.WriteAll(append([][]string{header}, rows...))
	l.fail(errors.Join(err, f.Close()))
}
