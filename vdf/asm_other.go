//go:build !amd64 || purego

package vdf

var mulx = false

func rounds(e *euclid, limit int) int { return 0 }

func mul(z, x, y []uint64) { mulWords(z, x, y) }

func addProduct(z, x, y []uint64) { addProductWords(z, x, y) }

func divideOdd(p, q, x []uint64, inv uint64) { divideWords(p, q, x, inv) }

func modDigits(p, d []uint64, top uint64) { modWords(p, d, top) }
