// Package mutant names the ways in which fbft can be made wrong on purpose, so
// that its tests can show that they would notice. Only packages below fbft can
// name one; production cores carry the empty set.
package mutant

// Set is a set of mutations.
type Set uint32

// The mutations. The first group breaks safety, the second liveness.
const (
	VoteAfterReport     Set = 1 << iota // votes below a view it has reported
	ForgetLock                          // the certificate is not durable with the COMMIT
	TrustClaim                          // a report counts without the certificate it claims
	FirstCertificate                    // the lowest claim of a proof decides, not the highest
	CommitLower                         // COMMIT on the certificate of a lower view
	NoView                              // votes do not sign their view
	QuorumLess                          // the quorum is one unit too low
	ForgetVotes                         // votes are not restored at a restart
	SendFirst                           // messages do not wait for their record
	CountHeads                          // members count, not their weight
	OwnLock                             // an own lock is held against a valid NEWVIEW: no view change passes it
	RepeatOne                           // only the later of vote and report is repeated
	EnterExact                          // entering a view counts reports of exactly it
	TimerFromReport                     // the timer runs from the own report, not from entry
	JoinWithCertificate                 // a bare report does not count for joining
	ReportUnheld                        // a report names a block whose body is not held
	SilentPast                          // decided heights are not answered
	NoReportAfterCommit                 // whoever has sent COMMIT never reports
)

// Has reports whether m is in the set.
func (s Set) Has(m Set) bool { return s&m != 0 }

// List returns every mutation with its name, safety first.
func List() []struct {
	Name   string
	Mutant Set
	Safety bool
} {
	return []struct {
		Name   string
		Mutant Set
		Safety bool
	}{
		{"vote after report", VoteAfterReport, true},
		{"certificate not durable with the COMMIT", ForgetLock, true},
		{"report counted without its certificate", TrustClaim, true},
		{"first certificate wins", FirstCertificate, true},
		{"COMMIT on a lower view's certificate", CommitLower, true},
		{"no view in votes", NoView, true},
		{"quorum off by one", QuorumLess, true},
		{"votes lost at restart", ForgetVotes, true},
		{"send before persist", SendFirst, true},
		{"heads instead of weight", CountHeads, true},
		{"own lock against a valid NEWVIEW", OwnLock, false},
		{"only the later of vote and report repeated", RepeatOne, false},
		{"entering counts reports of exactly the view", EnterExact, false},
		{"timer runs from the own report", TimerFromReport, false},
		{"a bare report does not count for joining", JoinWithCertificate, false},
		{"a report names a body that is not held", ReportUnheld, false},
		{"certificate published once, old heights not answered", SilentPast, false},
		{"no report after COMMIT", NoReportAfterCommit, false},
	}
}
