package vdf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/shardkit/shardkit/internal/wire"
)

// batch is how many squarings are done between two looks at the context.
const batch = 4096

// evaluation is the sequential part of an evaluation.
type evaluation struct {
	d     *big.Int
	start form
	plan  plan
	opts  Options
	label []byte // names the statement in the journal

	points *points // powers of start at multiples of plan.step
	y      form
}

// evaluate returns y = start^(2^t) and the proof of it for the challenge that y
// leads to. label names the statement.
func evaluate(ctx context.Context, d *big.Int, start form, t uint64, label []byte, o Options,
	challenge func(y form) *big.Int) (y, pi form, err error) {
	e := evaluation{d: d, start: start, plan: makePlan(t), opts: o, label: label}
	if err := e.run(ctx); err != nil {
		return y, pi, fmt.Errorf("vdf: evaluation: %w", err)
	}
	b := challenge(e.y)
	if pi, err = prove(ctx, d, e.plan, e.points, b, o.Workers); err != nil {
		return y, pi, fmt.Errorf("vdf: proof: %w", err)
	}
	// It may have been hours on one machine: a flipped bit must not get out.
	if !holds(d, start, e.y, pi, b, remainder(t, b)) {
		return y, pi, fmt.Errorf("vdf: this machine has computed wrongly: %w", ErrProof)
	}
	return e.y, pi, nil
}

// remainder returns 2^t mod b.
func remainder(t uint64, b *big.Int) *big.Int {
	return new(big.Int).Exp(big.NewInt(2), new(big.Int).SetUint64(t), b)
}

// run does the squarings.
func (e *evaluation) run(ctx context.Context) error {
	s := newSquarer(e.d)
	z := s.newElement()
	e.points = newPoints(s.half, int(e.plan.count()))
	if err := e.resume(s, z); err != nil {
		return err
	}
	step := e.plan.step()
	done := uint64(e.points.len()-1) * step
	for done < e.plan.t {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.opts.Progress != nil {
			e.opts.Progress(done, e.plan.t)
		}
		for stop := min(done+batch, e.plan.t); done < stop; {
			next := min(stop, done-done%step+step)
			for ; done < next; done++ {
				s.square(z, z)
			}
			if done%step == 0 {
				if err := e.keep(z); err != nil {
					return err
				}
			}
		}
	}
	if e.opts.Progress != nil {
		e.opts.Progress(e.plan.t, e.plan.t)
	}
	e.y = z.form()
	return nil
}

// keep stores a point, and writes it to the journal.
func (e *evaluation) keep(z *element) error {
	e.points.append(z)
	if e.opts.Journal == nil {
		return nil
	}
	rec := e.record(uint64(e.points.len()-1), appendForm(nil, z.form(), e.d.BitLen()))
	if _, err := e.opts.Journal.Write(rec); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// checkSize is the length of a record's check.
const checkSize = 8

// record encodes point i: the form and a check that binds it to its place in
// this evaluation.
func (e *evaluation) record(i uint64, enc []byte) []byte {
	h := sha256.Sum256(append(wire.AppendU64(bytes.Clone(e.label), i), enc...))
	return append(enc[:len(enc):len(enc)], h[:checkSize]...)
}

// resume takes the points of an earlier journal, and sets z to the last.
func (e *evaluation) resume(s *squarer, z *element) error {
	z.setForm(e.start)
	e.points.append(z)
	size := formSize(e.d.BitLen())
	for p := e.opts.Resume; len(p) >= size+checkSize; p = p[size+checkSize:] {
		i := uint64(e.points.len())
		if i >= e.plan.count() {
			return fmt.Errorf("journal: %w: too long", ErrEncoding)
		}
		if !bytes.Equal(e.record(i, p[:size]), p[:size+checkSize]) {
			return fmt.Errorf("journal: %w: record %d is damaged or of another evaluation", ErrEncoding, i)
		}
		f, err := parseForm(e.d, e.d.BitLen(), p[:size])
		if err != nil {
			return fmt.Errorf("journal: record %d: %w", i, err)
		}
		z.setForm(f)
		e.points.append(z)
	}
	return nil
}

// JournalSize returns how many bytes of a journal of n bytes are whole
// records.
func (p *Params) JournalSize(n int64) int64 {
	size := int64(formSize(p.bits) + checkSize)
	return n - n%size
}
