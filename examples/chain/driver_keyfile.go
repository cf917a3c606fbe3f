package chain

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/shardkit/shardkit/internal/wire"
)

// A key file holds a node's 32 secret bytes under a passphrase:
//
//	"shardkit/keyfile/1" time u32 memory u32 salt [16] nonce [24] sealed [48]
//
// The key is Argon2id of the passphrase (RFC 9106), the seal is
// XChaCha20-Poly1305 over the secret with everything before it as associated
// data.
const (
	keyFileMagic  = "shardkit/keyfile/1"
	keyFileTime   = 3        // passes
	keyFileMemory = 64 << 10 // KiB
	keyFileMost   = 1 << 20  // KiB that a file may ask for
	keyFileSealed = 32 + 16
)

// ErrKeyFile says that a key file cannot be opened: the passphrase is wrong, or
// the file is damaged; which of the two cannot be told.
var ErrKeyFile = errors.New("chain: key file: wrong passphrase or damaged")

// WriteKeyFile seals a node's secret into a new file that only its owner can
// read. randomness is crypto/rand.Reader. It does not replace a file.
func WriteKeyFile(name string, secret [32]byte, passphrase []byte, randomness io.Reader) error {
	head := wire.AppendU32(wire.AppendU32([]byte(keyFileMagic), keyFileTime), keyFileMemory)
	random := make([]byte, 16+chacha20poly1305.NonceSizeX)
	if _, err := io.ReadFull(randomness, random); err != nil {
		return fmt.Errorf("chain: key file: %w", err)
	}
	head = append(head, random...)
	aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, random[:16], keyFileTime, keyFileMemory, 1, chacha20poly1305.KeySize))
	if err != nil {
		return fmt.Errorf("chain: key file: %w", err)
	}
	sealed := aead.Seal(head, random[16:], secret[:], head)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("chain: key file: %w", err)
	}
	_, err = f.Write(sealed)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("chain: key file: %w", err)
	}
	return nil
}

// ReadKeyFile opens a key file.
func ReadKeyFile(name string, passphrase []byte) (secret [32]byte, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return secret, fmt.Errorf("chain: key file: %w", err)
	}
	r := wire.NewReader(b)
	magic := string(r.Fixed(len(keyFileMagic)))
	passes, memory := r.U32(), r.U32()
	salt, nonce := r.Fixed(16), r.Fixed(chacha20poly1305.NonceSizeX)
	head := b[:len(b)-r.Len()]
	sealed := r.Fixed(keyFileSealed)
	if r.Close() != nil || magic != keyFileMagic || passes == 0 || passes > 64 || memory > keyFileMost {
		return secret, ErrKeyFile
	}
	aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, salt, passes, memory, 1, chacha20poly1305.KeySize))
	if err != nil {
		return secret, fmt.Errorf("chain: key file: %w", err)
	}
	plain, err := aead.Open(nil, nonce, sealed, head)
	if err != nil {
		return secret, ErrKeyFile
	}
	copy(secret[:], plain)
	return secret, nil
}
