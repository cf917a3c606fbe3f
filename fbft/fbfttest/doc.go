// Package fbfttest is for testing what package fbft drives and what drives it:
// a signature scheme without cryptography, and whole committees of production
// cores over kad/simnet with faults, adversaries and invariants.
package fbfttest
