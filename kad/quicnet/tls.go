package quicnet

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/shardkit/shardkit"
)

// certificate wraps the key in a self-signed certificate. Nobody looks at
// anything in it but the key; its validity covers every clock.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // "no well-defined expiration", RFC 5280
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("quicnet: certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// peerID returns the id that the peer of a handshake has proven: TLS 1.3 makes
// both sides sign the transcript with the key of their certificate.
func peerID(cs *tls.ConnectionState) (id shardkit.NodeID, err error) {
	if len(cs.PeerCertificates) != 1 {
		return id, fmt.Errorf("quicnet: peer sent %d certificates, want 1", len(cs.PeerCertificates))
	}
	key, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PublicKeySize {
		return id, errors.New("quicnet: peer's certificate holds no Ed25519 key")
	}
	return shardkit.NodeID(key), nil
}

// tlsConfig is common to both roles. check sees the peer's id before the
// handshake completes.
func tlsConfig(cert tls.Certificate, network string, check func(shardkit.NodeID) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{cert},
		NextProtos:             []string{"shardkit/1/" + network},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // there is no authority and no name: VerifyConnection checks the key
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			id, err := peerID(&cs)
			if err != nil {
				return err
			}
			return check(id)
		},
	}
}

// quicConfig gives every class a window of its own and the connection their
// sum, from the start: a class that nobody reads takes nothing from the others.
func quicConfig(c *Config) *quic.Config {
	window := uint64(c.Window)
	return &quic.Config{
		HandshakeIdleTimeout:           c.DialTimeout / 2, // which quic-go doubles for the whole handshake
		MaxIdleTimeout:                 c.IdleTimeout,
		KeepAlivePeriod:                c.IdleTimeout / 3,
		InitialStreamReceiveWindow:     window,
		MaxStreamReceiveWindow:         window,
		InitialConnectionReceiveWindow: classes * window,
		MaxConnectionReceiveWindow:     classes * window,
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          classes,
		RequireStreamCreditRelease:     true, // one stream per class, for good
	}
}

// resetKey lets a restarted node tell its former peers that their connections
// are gone.
func resetKey(key ed25519.PrivateKey) *quic.StatelessResetKey {
	k := quic.StatelessResetKey(sha256.Sum256(append([]byte("shardkit quicnet reset"), key.Seed()...)))
	return &k
}
