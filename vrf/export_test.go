package vrf

// Invert is one try of Select with a given precision.
func Invert(beta []byte, digits uint, weight, total, expected uint64) (uint64, bool) {
	b := binomial{digits: digits, weight: weight, p: expected, total: total}
	return b.invert(beta)
}
