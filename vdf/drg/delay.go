package drg

import (
	"fmt"
	"time"

	"github.com/shardkit/shardkit/vdf"
)

// withDefaults fills in the zero values.
func (p Params) withDefaults() Params {
	if p.Spread == 0 {
		p.Spread = 3
	}
	if p.Bound == 0 {
		p.Bound = 30 * time.Second
	}
	if p.Views == 0 {
		p.Views = 13
	}
	if p.ViewTimeout == 0 {
		p.ViewTimeout = 30 * time.Second
	}
	if p.Advantage == 0 {
		p.Advantage = 10
	}
	return p
}

// check validates all but the safety of the delay.
func (p *Params) check() error {
	if p.Bits < vdf.MinBits || p.Bits > vdf.MaxBits || p.Bits%64 != 0 {
		return fmt.Errorf("drg: discriminant of %d bits", p.Bits)
	}
	if p.T == 0 || p.T > vdf.MaxT {
		return fmt.Errorf("drg: T of %d squarings", p.T)
	}
	if p.Spread < 0 || p.Bound < 0 || p.Views < 0 || p.ViewTimeout < 0 || !(p.Advantage >= 1) {
		return fmt.Errorf("drg: negative parameter, or an adversary slower than the fastest known squarer")
	}
	return nil
}

// SafeDelay returns the least T for which nobody knows the delay's output
// while the input set can still be changed or withheld:
//
//	T / (fastest known rate * Advantage) > Bound + Views * ViewTimeout
//
// The outputs of honest members are public soon after alpha, so an adversary
// evaluates candidate sets from then on. Bound ends the time in which a new
// set is accepted, and Views faulty leaders in a row can hold back the
// decision about one that was prepared before. The error says that p.T is
// below; it is a *vdf.DelayError.
func SafeDelay(p Params) (least uint64, err error) {
	p = p.withDefaults()
	if err := p.check(); err != nil {
		return 0, err
	}
	d := vdf.Delay{Bits: p.Bits, Advantage: p.Advantage, Window: p.Bound, Views: p.Views, ViewTimeout: p.ViewTimeout}
	if err := d.Check(p.T); err != nil {
		least, _ := d.T()
		return least, fmt.Errorf("drg: %w", err)
	}
	return d.T()
}
