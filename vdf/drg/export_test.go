package drg

// AlphaOf lets tests make proofs for the wrong rounds.
var AlphaOf = alphaOf
