package estake_test

import (
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/shardkit/shardkit/estake"
	"github.com/stretchr/testify/require"
)

func txs() []estake.Tx {
	k := estake.SlotKeys{VotingKey: []byte("vote"), VRFKey: []byte("vrf"), Node: [32]byte{7}, Proof: []byte("proof")}
	return []estake.Tx{
		estake.Stake{Amount: 1, CommissionPPM: 2, MaxCommissionPPM: 3, MaxChangePPM: 4, Restake: true, Slots: []estake.SlotKeys{k}},
		estake.Stake{Amount: 5},
		estake.Delegate{Validator: [32]byte{1}, Amount: 2, Compound: true},
		estake.Undelegate{Validator: [32]byte{1}, Amount: estake.Everything},
		estake.Redelegate{From: [32]byte{1}, To: [32]byte{2}, Amount: 3, Compound: true},
		estake.Edit{SetCommission: true, CommissionPPM: 9, SetRestake: true, Restake: true, Add: []estake.SlotKeys{k, k}, Retire: []uint32{1, 5}},
		estake.Rejoin{Slots: []uint32{3}},
		estake.Claim{Validator: [32]byte{1}, Restake: true},
		estake.Withdraw{Validator: [32]byte{1}, Epoch: 2},
		estake.Withdraw{Validator: [32]byte{1}, Epoch: 2, Moved: true, To: [32]byte{4}},
		estake.Evidence{Slot: [32]byte{1}, Epoch: 2, Proof: []byte{3}},
	}
}

func TestTxRoundTrip(t *testing.T) {
	for _, tx := range txs() {
		enc, err := tx.AppendBinary([]byte("before"))
		require.NoError(t, err)
		require.Equal(t, "before", string(enc[:6]))
		got, err := estake.DecodeTx(enc[6:])
		require.NoError(t, err)
		require.Equal(t, tx, got)
		require.Equal(t, byte(tx.Kind()), enc[7])
		for i := range len(enc) - 6 {
			_, err := estake.DecodeTx(enc[6 : 6+i])
			require.Error(t, err)
		}
		_, err = estake.DecodeTx(append(enc[6:], 0))
		require.Error(t, err)
	}
}

func TestTxGolden(t *testing.T) {
	zero := "00000000000000000000000000000000000000000000000000000000000000"
	for _, c := range []struct {
		tx   estake.Tx
		want string
	}{
		{estake.Stake{Amount: 5, Slots: []estake.SlotKeys{{VotingKey: []byte{0xaa}, Node: [32]byte{0xbb}}}},
			"0101" + "0000000000000005" + "000000000000000000000000" + "00" + "00000001" + "00000001aa" + "00000000" + "bb" + zero + "00000000"},
		{estake.Delegate{Validator: [32]byte{1}, Amount: 2, Compound: true}, "0102" + "01" + zero + "0000000000000002" + "01"},
		{estake.Undelegate{Validator: [32]byte{1}, Amount: 2}, "0103" + "01" + zero + "0000000000000002" + "00"},
		{estake.Redelegate{From: [32]byte{1}, To: [32]byte{2}, Amount: 3}, "0104" + "01" + zero + "02" + zero + "0000000000000003" + "00"},
		{estake.Edit{SetCommission: true, CommissionPPM: 9, Retire: []uint32{4}}, "0105" + "01" + "00000009" + "0000" + "00000000" + "0000000100000004"},
		{estake.Rejoin{Slots: []uint32{3}}, "0106" + "0000000100000003"},
		{estake.Claim{Validator: [32]byte{1}}, "0107" + "01" + zero + "00"},
		{estake.Withdraw{Validator: [32]byte{1}, Epoch: 2}, "0108" + "01" + zero + "0000000000000002" + "00" + "00" + zero},
		{estake.Evidence{Slot: [32]byte{1}, Epoch: 2, Proof: []byte{3}}, "0109" + "01" + zero + "0000000000000002" + "0000000103"},
	} {
		enc, err := c.tx.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, c.want, hex.EncodeToString(enc), "%T", c.tx)
	}
}

// What cannot be read is not written either.
func TestTxRefusedByTheEncoder(t *testing.T) {
	for _, tx := range []estake.Tx{
		estake.Stake{Slots: []estake.SlotKeys{{VotingKey: make([]byte, estake.MaxKey+1)}}},
		estake.Stake{Slots: make([]estake.SlotKeys, estake.MaxTxSlots+1)},
		estake.Edit{CommissionPPM: 1},
		estake.Edit{Restake: true},
		estake.Edit{Retire: []uint32{2, 2}},
		estake.Rejoin{Slots: []uint32{2, 1}},
		estake.Withdraw{To: [32]byte{1}},
		estake.Evidence{Proof: make([]byte, estake.MaxEvidence+1)},
	} {
		_, err := tx.AppendBinary(nil)
		require.Error(t, err, "%T", tx)
	}
}

func FuzzTx(f *testing.F) {
	for _, tx := range txs() {
		enc, err := tx.AppendBinary(nil)
		require.NoError(f, err)
		f.Add(enc)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tx, err := estake.DecodeTx(data)
		if err != nil {
			return
		}
		enc, err := tx.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, data, enc)
	})
}

func FuzzParams(f *testing.F) {
	enc, _ := estake.DefaultParams(9).AppendBinary(nil)
	f.Add(enc)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p estake.Params
		if p.UnmarshalBinary(data) != nil {
			return
		}
		enc, err := p.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, data, enc)
		require.NoError(t, p.Validate())
	})
}

// A node that reads a damaged value says so and does not crash: every record
// of a busy state is cut and flipped in turn.
func TestDamagedState(t *testing.T) {
	w, err := history(32*7, true)
	require.NoError(t, err)
	for k, v := range w.memory {
		for _, bad := range []string{"", v[:len(v)/2], v + "x", "\x02" + v[min(1, len(v)):], v[:len(v)-1] + "\xff"} {
			if bad == v {
				continue
			}
			w.memory[k] = bad
			for _, call := range []func() error{
				func() error { _, err := estake.Elect(w, w.p); return err },
				func() error { _, err := estake.ExplainElection(w, w.p, account(1)); return err },
				func() error { _, err := estake.TotalTokens(w); return err },
			} {
				_ = call() // an error or, for records it does not read, none; never a panic
			}
		}
		w.memory[k] = v
	}
}

// Records have one encoding each, whatever was done to get there.
func TestParamsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*estake.Params){
		"no slots":  func(p *estake.Params) { p.Slots = 0 },
		"minimum":   func(p *estake.Params) { p.MinSlots = p.Slots + 1 },
		"bound":     func(p *estake.Params) { p.BoundPPM = estake.PPM },
		"floor":     func(p *estake.Params) { p.Floor = 7 },
		"lambda":    func(p *estake.Params) { p.Lambda = 0 },
		"lock":      func(p *estake.Params) { p.LockEpochs = p.DutyEpochs + p.EvidenceEpochs },
		"long lock": func(p *estake.Params) { p.LockEpochs = estake.MaxLock + 1 },
		"slash":     func(p *estake.Params) { p.SlashMinPPM = estake.PPM + 1 },
		"absence":   func(p *estake.Params) { p.InactiveMillis = p.ReduceMillis },
		"gap":       func(p *estake.Params) { p.GapMillis = 1 << 40 },
		"reward":    func(p *estake.Params) { p.EpochReward = 1 << 61 },
	} {
		p := estake.DefaultParams(10)
		spoil(&p)
		require.Error(t, p.Validate(), name)
		if enc, err := p.AppendBinary(nil); err == nil {
			require.Error(t, new(estake.Params).UnmarshalBinary(enc), name)
		}
	}
	// Every field is in the encoding.
	p := estake.DefaultParams(10)
	base, err := p.AppendBinary(nil)
	require.NoError(t, err)
	v := reflect.ValueOf(&p).Elem()
	for i := range v.NumField() {
		old := reflect.ValueOf(v.Field(i).Interface())
		if v.Field(i).CanInt() {
			v.Field(i).SetInt(old.Int() + 1)
		} else {
			v.Field(i).SetUint(old.Uint() + 1)
		}
		enc, err := p.AppendBinary(nil)
		require.NoError(t, err)
		require.NotEqual(t, base, enc, v.Type().Field(i).Name)
		v.Field(i).Set(old)
	}
	enc, err := p.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, base, enc)
}
