package statesync_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/statesync"
)

// A toy chain: a certificate is a hash under the committee, and the state is
// one chunk.
func seal(committee, header []byte) []byte {
	h := sha256.Sum256(append(bytes.Clone(committee), header...))
	return h[:]
}

func committeeOf(e shardkit.Epoch) []byte { return fmt.Appendf(nil, "committee %d", e) }

var errCertificate = errors.New("certificate")

func Example() {
	// The serving side is at height 35, in epoch 3.
	headHeader := []byte("header 35")
	server, err := statesync.NewServer(statesync.ServerConfig{
		Hops: func(from shardkit.Epoch, most int) func() ([]statesync.Hop, error) {
			return func() (hops []statesync.Hop, err error) {
				for e := from; e <= 3 && len(hops) < most; e++ {
					header := fmt.Appendf(nil, "epoch %d names %s", e, committeeOf(e+1))
					hops = append(hops, statesync.Hop{
						Epoch: e, Header: header, Cert: seal(committeeOf(e), header), Committee: committeeOf(e + 1),
					})
				}
				return hops, nil
			}
		},
		Head: func() func() (*statesync.Head, error) {
			return func() (*statesync.Head, error) {
				return &statesync.Head{Epoch: 3, Height: 35, Header: headHeader, Cert: seal(committeeOf(3), headHeader)}, nil
			}
		},
		Range: func(shardkit.Height, shardkit.Hash, int) func() ([]byte, error) {
			return func() ([]byte, error) { return []byte("the whole state"), nil }
		},
		Blocks: func(shardkit.Height, int, int) func() ([]statesync.Block, error) {
			return func() ([]statesync.Block, error) { return nil, nil }
		},
	})
	if err != nil {
		panic(err)
	}

	client, err := statesync.NewClient(statesync.ClientConfig{
		CheckHop: func(committee []byte, h statesync.Hop) func() error {
			return func() error {
				if !bytes.Equal(h.Cert, seal(committee, h.Header)) || !bytes.HasSuffix(h.Header, h.Committee) {
					return errCertificate
				}
				return nil
			}
		},
		CheckHead: func(committee []byte, h statesync.Head) func() error {
			return func() error {
				if !bytes.Equal(h.Cert, seal(committee, h.Header)) {
					return errCertificate
				}
				return nil
			}
		},
		Begin: func(statesync.Head) func() (shardkit.Hash, error) {
			return func() (shardkit.Hash, error) { return shardkit.Hash{}, nil }
		},
		CheckRange: func(_, _ shardkit.Hash, chunk []byte) func() (shardkit.Hash, bool, error) {
			return func() (shardkit.Hash, bool, error) { return shardkit.Hash{}, true, nil }
		},
		Write: func(_ shardkit.Hash, chunk []byte) func() error {
			return func() error { fmt.Printf("write: %s\n", chunk); return nil }
		},
		Finish:     func(statesync.Head) func() error { return func() error { return nil } },
		CheckBlock: func(statesync.Block) func() error { return func() error { return nil } },
	})
	if err != nil {
		panic(err)
	}

	// Trust the committee of epoch 1, and carry the effects to and fro.
	var here, there, now = shardkit.NodeID{1}, shardkit.NodeID{2}, time.Duration(0)
	client.SetPeers(now, []shardkit.NodeID{there})
	client.Sync(now, 0, committeeOf(1))
	for synced := false; !synced; now += time.Millisecond {
		r := client.Ready()
		for _, m := range r.Messages {
			err = errors.Join(err, server.Deliver(now, here, m.Data))
		}
		for _, j := range r.Jobs {
			client.Done(now, j.Run())
		}
		s := server.Ready()
		for _, j := range s.Jobs {
			server.Done(now, j.Run())
		}
		for _, m := range append(s.Messages, server.Ready().Messages...) {
			err = errors.Join(err, client.Deliver(now, there, m.Data))
		}
		client.Tick(now)
		if r.Synced != nil {
			fmt.Println("synced: height", r.Synced.Head.Height, "by", r.Synced.Epochs, "hops; next:", string(r.Synced.Next))
			client.Applied(now, r.Synced.Head.Height)
			synced = true
		}
	}
	fmt.Println("errors:", err)
	// Output:
	// write: the whole state
	// synced: height 35 by 3 hops; next: committee 4
	// errors: <nil>
}
