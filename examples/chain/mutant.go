package chain

// mutant names a deliberate defect. The tests run the whole chain with each of
// them to show that the invariants notice; a real node has none.
type mutant uint8

// The defects, one per invariant.
const (
	mutantNone         mutant = iota
	mutantDoubleCredit        // a receipt is credited twice
	mutantDropReceipt         // some receipts are not credited
	mutantMint                // transfers credit more than they debit
	mutantFork                // decides without a certificate
	mutantDiverge             // one replica stores another state
)
