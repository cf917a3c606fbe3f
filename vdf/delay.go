package vdf

import (
	"fmt"
	"math"
	"time"
)

// Delay computes the T that a protocol needs in which something must be
// decided before the fastest adversary knows the output:
//
//	T / (fastest rate * Advantage) > Window + Views * ViewTimeout
type Delay struct {
	Bits int // of the discriminant
	// Measured is the squarings per second of the best machine at hand, from
	// Calibrate. It counts if it is above FastestKnown. 0: none
	Measured float64
	// Advantage is how much faster the adversary is than the fastest machine
	// known: hardware made for it, cooled and overclocked. 0: 10. At least 1
	Advantage float64
	// Window is the time from the moment at which an adversary can know the
	// input to the moment at which it is fixed for honest parties.
	Window time.Duration
	// Views and ViewTimeout are for consensus: how many faulty leaders in a row
	// can put off the decision, each for one capped timeout.
	Views       int
	ViewTimeout time.Duration
}

// DelayError says that a T is too small.
type DelayError struct {
	T, Least  uint64
	Adversary time.Duration // in which the adversary is through
	Decision  time.Duration // in which everything is decided
}

func (e *DelayError) Error() string {
	return fmt.Sprintf("vdf: unsafe delay: an adversary does %d squarings in %v, the decision takes up to %v; at least %d are needed",
		e.T, e.Adversary, e.Decision, e.Least)
}

// FastestKnown returns the squarings per second of the fastest squarer known
// to the authors, for a discriminant of the given size, with some air above
// it. That is this package, on one core of an AMD EPYC 9004: it does 324
// thousand at 1024 bits and 148 thousand at 2048.
func FastestKnown(bits int) float64 {
	const at1024, slope = 340e3, 1.15
	return at1024 * math.Pow(1024/float64(bits), slope)
}

// rate returns the squarings per second of the assumed adversary.
func (d *Delay) rate() (float64, error) {
	advantage := d.Advantage
	if advantage == 0 {
		advantage = 10
	}
	if d.Bits < MinBits || d.Bits > MaxBits || !(advantage >= 1) || !(d.Measured >= 0) ||
		d.Window < 0 || d.Views < 0 || d.ViewTimeout < 0 {
		return 0, fmt.Errorf("vdf: %w: delay %+v", ErrParams, *d)
	}
	return max(d.Measured, FastestKnown(d.Bits)) * advantage, nil
}

// AdversaryRate returns the squarings per second that the fastest adversary is
// taken to do: 0 if d is not valid.
func (d *Delay) AdversaryRate() float64 {
	r, _ := d.rate()
	return r
}

// Decision returns the time in which everything is decided.
func (d *Delay) Decision() time.Duration {
	return d.Window + time.Duration(d.Views)*d.ViewTimeout
}

// T returns the least safe number of squarings.
func (d *Delay) T() (uint64, error) {
	rate, err := d.rate()
	if err != nil {
		return 0, err
	}
	t := math.Floor(rate*d.Decision().Seconds()) + 1
	if !(t <= MaxT) {
		return 0, fmt.Errorf("vdf: %w: %g squarings", ErrParams, t)
	}
	return uint64(t), nil
}

// Check returns a *DelayError if t is below the least safe number.
func (d *Delay) Check(t uint64) error {
	least, err := d.T()
	if err != nil {
		return err
	}
	if t >= least {
		return nil
	}
	rate, _ := d.rate()
	return &DelayError{
		T: t, Least: least, Decision: d.Decision(),
		Adversary: time.Duration(float64(t) / rate * float64(time.Second)),
	}
}

// Calibrate measures the squarings per second of one core of this machine, for
// about as long as it is told to.
func Calibrate(bits int, length time.Duration) (float64, error) {
	p, err := NewParams([]byte("calibration"), bits)
	if err != nil {
		return 0, err
	}
	s := newSquarer(p.d)
	z := s.newElement()
	z.setForm(p.input(nil))
	const round = 256
	n := 0
	start := time.Now()
	for n == 0 || time.Since(start) < length {
		for range round {
			s.square(z, z)
		}
		n += round
	}
	return float64(n) / time.Since(start).Seconds(), nil
}
