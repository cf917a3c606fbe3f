package fbfttest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shardkit/shardkit"
)

// RunScript runs a scenario written as text and returns it as a transcript:
// the same text, with what happened under every line. A line is a command;
// lines that begin with # are comments, and lines that begin with two spaces
// are what happened in an earlier run and are ignored. So a transcript is a
// script, and a file that holds one can be checked and rewritten.
//
// Settings come first: nodes N, weights W…, leaders I… (by view), twins I…,
// silent I…, byzantine I NAME (as in ParseAdversary), heights N. Then:
//
//	run [filter]      deliver what is in flight, and what that brings about
//	drop [filter]     lose what is in flight
//	timeout I…        let the timers of actors run out
//	resend I…         let actors repeat themselves
//	hold I / sync I   keep an actor's records from the disk / let them go there
//	crash I [N]       lose an actor, with all but N of the records not on disk
//	restart I         start it again
//	state             show where everybody stands
//	expect decided NAME I… | expect undecided I… | expect safe
//
// A filter is any of from=I,… to=I,… kind=announce,newview,prepare,commit,
// prepared,committed,report view=V, all of which must hold. Blocks are named
// A, B, … in the order in which they are proposed.
func RunScript(text string) (transcript string, err error) {
	s := &script{}
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		s.out.WriteString(line + "\n")
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.command(words); err != nil {
			return s.out.String(), fmt.Errorf("line %d: %s: %w", n+1, line, err)
		}
		if s.lab != nil && s.lab.Err() != nil {
			return s.out.String(), fmt.Errorf("line %d: %s: %w", n+1, line, s.lab.Err())
		}
	}
	return s.out.String(), nil
}

type script struct {
	cfg LabConfig
	lab *Lab
	out strings.Builder
}

// command carries out one line. The first that is no setting starts the actors.
func (s *script) command(words []string) error {
	args, err := numbers(words[1:])
	switch words[0] {
	case "nodes":
		s.cfg.Nodes = first(args)
		return err
	case "heights":
		s.cfg.Heights = shardkit.Height(first(args))
		return err
	case "leaders":
		s.cfg.Leaders = args
		return err
	case "twins":
		s.cfg.Twins = args
		return err
	case "silent":
		s.cfg.Silent = args
		return err
	case "byzantine":
		return s.byzantine(words[1:])
	case "weights":
		for _, w := range args {
			s.cfg.Weights = append(s.cfg.Weights, uint64(w))
		}
		return err
	}
	if s.lab == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	return s.act(words, args, err)
}

func (s *script) byzantine(words []string) error {
	if len(words) != 2 {
		return errors.New("who, and what")
	}
	i, err := numbers(words[:1])
	if err != nil {
		return err
	}
	if s.cfg.Adversaries == nil {
		s.cfg.Adversaries = make(map[int]Adversary)
	}
	s.cfg.Adversaries[i[0]], err = ParseAdversary(words[1])
	return err
}

func first(args []int) int {
	if len(args) == 0 {
		return 0
	}
	return args[0]
}

// begin starts the actors; what they do at once is shown under the first
// command.
func (s *script) begin() error {
	lab, err := newLab(s.cfg, func(format string, args ...any) { fmt.Fprintf(&s.out, "  "+format+"\n", args...) })
	s.lab = lab
	return err
}

// act carries out a command on the running Lab.
func (s *script) act(words []string, args []int, err error) error {
	l := s.lab
	switch words[0] {
	case "run", "drop":
		pass, err := filter(l, words[1:])
		if err != nil {
			return err
		}
		if words[0] == "run" {
			l.Run(pass)
		} else {
			l.Drop(pass)
		}
		return nil
	case "state":
		s.state()
		return nil
	case "expect":
		return s.expect(words[1:])
	}
	if err != nil {
		return err
	}
	if len(args) == 0 || slices.Max(args[:1]) >= len(l.actors) {
		return errors.New("no such actor")
	}
	switch words[0] {
	case "timeout":
		l.Timeout(args...)
	case "resend":
		l.Resend(args...)
	case "hold", "sync":
		l.HoldDisk(args[0], words[0] == "hold")
	case "crash":
		l.Crash(args[0], first(args[1:]))
	case "restart":
		l.Restart(args[0], false)
	default:
		return errors.New("unknown command")
	}
	return nil
}

// state writes where everybody stands.
func (s *script) state() {
	for i, a := range s.lab.actors {
		if a.core == nil {
			fmt.Fprintf(&s.out, "  %d down\n", i)
			continue
		}
		st := a.core.Status()
		fmt.Fprintf(&s.out, "  %d height %d view %d", i, st.Height, st.View)
		if st.Reported > 0 {
			fmt.Fprintf(&s.out, " reported %d", st.Reported)
		}
		if st.Locked {
			fmt.Fprintf(&s.out, " locked in %d", st.LockView)
		}
		if st.Decided {
			s.out.WriteString(" decided")
		}
		s.out.WriteString("\n")
	}
}

// expect compares what actors have decided at height 1.
func (s *script) expect(words []string) error {
	if len(words) == 0 {
		return errors.New("expect what")
	}
	if words[0] == "safe" {
		return s.lab.Err()
	}
	name := ""
	if words[0] == "decided" && len(words) > 1 {
		name, words = words[1], words[1:]
	}
	actors, err := numbers(words[1:])
	if err != nil {
		return err
	}
	for _, i := range actors {
		hash, ok := s.lab.Decided(i, 1)
		if got := s.lab.Name(hash); ok && got != name || !ok && name != "" {
			return fmt.Errorf("actor %d: decided %s", i, got)
		}
	}
	return nil
}

func numbers(words []string) (list []int, err error) {
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no number", w)
		}
		list = append(list, n)
	}
	return list, nil
}

// filter returns the packets that words ask for.
func filter(l *Lab, words []string) (func(p Packet) bool, error) {
	var from, to, view []int
	var kinds []string
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		parts := strings.Split(value, ",")
		if key == "kind" {
			kinds = parts
			continue
		}
		list, err := numbers(parts)
		if err != nil {
			return nil, err
		}
		switch key {
		case "from":
			from = list
		case "to":
			to = list
		case "view":
			view = list
		default:
			return nil, fmt.Errorf("unknown filter %q", key)
		}
	}
	in := func(list []int, x int) bool { return list == nil || slices.Contains(list, x) }
	return func(p Packet) bool {
		kind, _, _ := strings.Cut(l.Describe(p.Data), " ")
		return in(from, p.From) && in(to, p.To) && in(view, int(p.Info.View)) &&
			(kinds == nil || slices.Contains(kinds, kind))
	}, nil
}
