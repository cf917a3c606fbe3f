package fbft

import "errors"

// What Deliver holds against the sender. None of them can be provoked by
// delay, loss or reordering: a driver may count them against the peer. What
// only a job can find out (a bad signature) is in Ready.Blame.
var (
	ErrMalformed = errors.New("malformed")           // not an encoding of this package
	ErrMember    = errors.New("not a member")        // the sender may not send this
	ErrRole      = errors.New("not its turn")        // only the view's leader sends this
	ErrInvalid   = errors.New("breaks the protocol") // well-formed, but no honest member sends it
)
