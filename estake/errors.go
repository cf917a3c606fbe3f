package estake

import (
	"errors"
	"fmt"
)

// Why something is refused. A Refusal wraps one of them; any other error is
// the state's, or says that the state is damaged.
var (
	ErrTooFew   = errors.New("too few seats filled")
	ErrSlot     = errors.New("bad slot")
	ErrAmount   = errors.New("bad amount")
	ErrEpoch    = errors.New("wrong epoch")
	ErrRate     = errors.New("bad commission")
	ErrExists   = errors.New("exists already")
	ErrRoster   = errors.New("bad attendance")
	ErrUnknown  = errors.New("does not exist")
	ErrBanned   = errors.New("validator is banned")
	ErrSelf     = errors.New("wrong parties")
	ErrLocked   = errors.New("still locked")
	ErrKnown    = errors.New("punished already")
	ErrExpired  = errors.New("offence too old")
	ErrEvidence = errors.New("bad evidence")
)

// A Refusal is an input that the rules do not allow. The state is unchanged.
type Refusal struct {
	Reason error // one of the errors of this package
	Detail string
}

func (r *Refusal) Error() string { return "estake: " + r.Reason.Error() + ": " + r.Detail }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

func refuse(reason error, format string, args ...any) error {
	return &Refusal{reason, fmt.Sprintf(format, args...)}
}
