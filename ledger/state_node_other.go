//go:build !amd64

package ledger

// nodeSums sets each digest to the SHA-256 of two chunks.
func nodeSums(digests, chunks [][32]byte) {
	for i := range digests {
		var b hashBlock
		copy(b[:32], chunks[2*i][:])
		copy(b[32:], chunks[2*i+1][:])
		digests[i] = b.sum(64)
	}
}
