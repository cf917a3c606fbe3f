package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// key returns the n-th key of the tests.
func key(n int) ed25519.PrivateKey {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("key"), uint64(n)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func addressOf(priv ed25519.PrivateKey) ledger.Address {
	return ledger.AddressOf(priv.Public().(ed25519.PublicKey))
}

var testChain = shardkit.Hash{0xc4}

// transfer returns a signed transfer of the test chain.
func transfer(from ed25519.PrivateKey, nonce uint64, to ledger.Address, amount, fee uint64) *ledger.Transaction {
	tx := &ledger.Transaction{Chain: testChain, Nonce: nonce, To: to, Amount: amount, Fee: fee}
	tx.Sign(from)
	return tx
}

// multi returns a transaction of a 2-of-3 account.
func multi(t testing.TB) *ledger.Transaction {
	t.Helper()
	var keys [][]byte
	for i := range 3 {
		keys = append(keys, key(i).Public().(ed25519.PublicKey))
	}
	p, err := ledger.NewPolicy(2, keys...)
	require.NoError(t, err)
	tx := &ledger.Transaction{Chain: testChain, To: addressOf(key(9)), Amount: 5, Fee: 1}
	require.NoError(t, tx.SignMulti(p, key(2)))
	require.NoError(t, tx.SignMulti(p, key(0)))
	return tx
}

// call returns a transaction of a kind that no package knows.
func call() *ledger.Transaction {
	tx := &ledger.Transaction{Kind: 7, Chain: testChain, Shard: 3, Nonce: 1, Gas: 99, Fee: 2, Expiry: 5,
		Memo: []byte("memo"), Payload: []byte("payload")}
	tx.Sign(key(1))
	return tx
}

func encode(t testing.TB, tx *ledger.Transaction) []byte {
	t.Helper()
	b, err := tx.AppendBinary(nil)
	require.NoError(t, err)
	require.Len(t, b, tx.Size())
	return b
}

// golden compares with testdata/name.hex. The files are written by hand-run
// of the test with UPDATE_GOLDEN=1 and never change within a format.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), hex.EncodeToString(got))
}

func TestTransactionCodec(t *testing.T) {
	for name, tx := range map[string]*ledger.Transaction{
		"tx-transfer": transfer(key(1), 7, addressOf(key(2)), 100, 3),
		"tx-multi":    multi(t),
		"tx-call":     call(),
	} {
		t.Run(name, func(t *testing.T) {
			enc := encode(t, tx)
			golden(t, name, enc)
			var got ledger.Transaction
			require.NoError(t, got.UnmarshalBinary(enc))
			require.Equal(t, enc, encode(t, &got))
			require.Equal(t, tx.ID(), got.ID())
			require.Equal(t, tx.Sender(), got.Sender())
			require.Equal(t, tx.Multi, got.Multi)
			for i := range enc {
				require.Error(t, new(ledger.Transaction).UnmarshalBinary(enc[:i]), "cut at %d", i)
			}
			require.Error(t, new(ledger.Transaction).UnmarshalBinary(append(bytes.Clone(enc), 0)))
			for _, at := range []int{0, 2} { // format, authorisation
				bad := bytes.Clone(enc)
				bad[at] += 2
				require.Error(t, new(ledger.Transaction).UnmarshalBinary(bad))
			}
			data := bytes.Clone(enc)
			require.NoError(t, got.UnmarshalBinary(data))
			clear(data)
			require.Equal(t, enc, encode(t, &got), "kept a slice of its input")
		})
	}
}

func TestTransactionID(t *testing.T) {
	tx := call()
	seen := map[shardkit.Hash]string{}
	note := func(what string, tx *ledger.Transaction) {
		id := tx.ID()
		require.Empty(t, seen[id], what)
		seen[id] = what
	}
	note("as it is", tx)
	for what, change := range map[string]func(*ledger.Transaction){
		"kind":    func(tx *ledger.Transaction) { tx.Kind++ },
		"chain":   func(tx *ledger.Transaction) { tx.Chain[0]++ },
		"shard":   func(tx *ledger.Transaction) { tx.Shard++ },
		"from":    func(tx *ledger.Transaction) { tx.From[0]++ },
		"nonce":   func(tx *ledger.Transaction) { tx.Nonce++ },
		"to":      func(tx *ledger.Transaction) { tx.To[0]++ },
		"amount":  func(tx *ledger.Transaction) { tx.Amount++ },
		"fee":     func(tx *ledger.Transaction) { tx.Fee++ },
		"expiry":  func(tx *ledger.Transaction) { tx.Expiry++ },
		"memo":    func(tx *ledger.Transaction) { tx.Memo = nil },
		"gas":     func(tx *ledger.Transaction) { tx.Gas++ },
		"payload": func(tx *ledger.Transaction) { tx.Payload = nil },
	} {
		c := tx.Unsigned()
		change(&c)
		note(what, &c)
	}
	again := tx.Unsigned()
	require.Equal(t, tx.ID(), again.ID(), "signatures are not part of the id")
	// A decoded one remembers its id; what is made from it does not.
	var decoded ledger.Transaction
	require.NoError(t, decoded.UnmarshalBinary(encode(t, tx)))
	again = decoded.Unsigned()
	again.Nonce++
	again.From[0]++
	note("made from a decoded one", &again)
	require.NotEqual(t, decoded.Sender(), again.Sender())
}

func TestTransactionMalformed(t *testing.T) {
	long := transfer(key(1), 0, ledger.Address{}, 0, 0)
	long.Memo = make([]byte, ledger.MaxMemo+1)
	gas := transfer(key(1), 0, ledger.Address{}, 0, 0)
	gas.Gas = 1
	few := multi(t)
	few.Multi.Signatures = few.Multi.Signatures[:1]
	twice := multi(t)
	twice.Multi.Signatures[1] = twice.Multi.Signatures[0]
	foreign := multi(t)
	foreign.From[0]++
	for name, tx := range map[string]*ledger.Transaction{
		"memo too long": long, "transfer with gas": gas, "one signature too few": few,
		"a key signs twice": twice, "policy of another account": foreign,
	} {
		_, err := tx.AppendBinary(nil)
		requireReason(t, ledger.ReasonMalformed, err, name)
		requireReason(t, ledger.ReasonMalformed, ledger.VerifyBatch([]*ledger.Transaction{tx}, nil)[0], name)
	}
}

func requireReason(t testing.TB, want ledger.Reason, err error, msg ...any) {
	t.Helper()
	var refused *ledger.TxError
	require.ErrorAs(t, err, &refused, msg...)
	require.Equal(t, want, refused.Reason, msg...)
}

func TestPolicy(t *testing.T) {
	a, b := key(1).Public().(ed25519.PublicKey), key(2).Public().(ed25519.PublicKey)
	p, err := ledger.NewPolicy(1, a, b)
	require.NoError(t, err)
	q, err := ledger.NewPolicy(1, b, a)
	require.NoError(t, err)
	require.Equal(t, p.Address(), q.Address(), "order of keys does not matter")
	r, err := ledger.NewPolicy(2, a, b)
	require.NoError(t, err)
	require.NotEqual(t, p.Address(), r.Address())
	for _, bad := range []func() (ledger.Policy, error){
		func() (ledger.Policy, error) { return ledger.NewPolicy(0, a) },
		func() (ledger.Policy, error) { return ledger.NewPolicy(2, a) },
		func() (ledger.Policy, error) { return ledger.NewPolicy(1, a, a) },
		func() (ledger.Policy, error) { return ledger.NewPolicy(1, a[:31]) },
	} {
		_, err := bad()
		require.Error(t, err)
	}
	tx := ledger.Transaction{Chain: testChain}
	require.Error(t, tx.SignMulti(p, key(3)), "not a key of the policy")
	require.NoError(t, tx.SignMulti(p, key(1)))
	require.Error(t, tx.SignMulti(p, key(2)), "one of two is enough")
	require.Equal(t, p.Address(), tx.Sender())
}

func TestAddressShard(t *testing.T) {
	require.Equal(t, shardkit.ShardID(0), ledger.Address{}.Shard(4))
	require.Equal(t, shardkit.ShardID(3), ledger.Sink().Shard(4))
	require.Equal(t, shardkit.ShardID(0), ledger.Sink().Shard(0))
	for n := range 1000 {
		a := addressOf(key(n % 50))
		require.Equal(t, a.Shard(8)/2, a.Shard(4), "doubling the shards splits each")
	}
}

func FuzzTransaction(f *testing.F) {
	f.Add(encode(f, transfer(key(1), 7, addressOf(key(2)), 100, 3)))
	f.Add(encode(f, multi(f)))
	f.Add(encode(f, call()))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tx ledger.Transaction
		if tx.UnmarshalBinary(data) != nil {
			return
		}
		require.Equal(t, data, encode(t, &tx))
		fresh := tx.Unsigned()
		fresh.Multi = tx.Multi
		require.Equal(t, fresh.ID(), tx.ID())
		require.Equal(t, fresh.Sender(), tx.Sender())
	})
}
