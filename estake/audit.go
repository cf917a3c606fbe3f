package estake

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit/internal/wire"
)

// Audit reads a whole state and checks that every sum kept in it is the sum
// of its parts, to the last unit. scan calls its argument for every key and
// value, in any order; keys of others are ignored. It is for tests and for
// operators, not for execution: it takes time and memory in proportion to the
// number of delegators.
func Audit(scan func(fn func(key, value []byte) error) error) error {
	a := &auditor{
		validators: make(map[[32]byte]*validator),
		index:      make(map[[32]byte]uint64),
		batches:    make(map[string]*batch),
		liens:      make(map[string]*lien),
		plain:      make(map[[32]byte]uint64), compound: make(map[[32]byte]uint64),
		owed: make(map[[32]byte]uint64), pending: make(map[[32]byte]uint64),
		open: make(map[[32]byte]uint64), points: make(map[string]uint64),
	}
	// Validators first: the other records are judged by them.
	for _, step := range []func(kind byte, k, v []byte) error{a.first, a.second} {
		err := scan(func(k, v []byte) error {
			if !bytes.HasPrefix(k, []byte(prefix)) || len(k) == len(prefix) {
				return nil
			}
			return step(k[len(prefix)], bytes.Clone(k[len(prefix)+1:]), v)
		})
		if err != nil {
			return err
		}
	}
	return a.check()
}

// auditor holds what is recorded beside what it adds up to.
type auditor struct {
	g          globals
	order      []*validator
	validators map[[32]byte]*validator
	index      map[[32]byte]uint64
	batches    map[string]*batch // by validator and epoch
	names      []string          // of batches and liens
	liens      map[string]*lien  // by validator, epoch and target

	plain, compound, owed, pending, open map[[32]byte]uint64 // sums by validator
	points                               map[string]uint64   // sums by batch or lien
}

// readRecord is load, for a value that is there.
func readRecord(v []byte, rec record) error {
	r := wire.NewReader(v)
	r.Expect(recordVersion, "version")
	rec.read(r)
	return r.Close()
}

// first takes in the globals, the index and the validators.
func (a *auditor) first(kind byte, k, v []byte) error {
	switch kind {
	case keyGlobals:
		return readRecord(v, &a.g)
	case keyIndex:
		r := wire.NewReader(k)
		a.index[[32]byte(v)] = r.U64()
	case keyValidator:
		w := &validator{Address: [32]byte(k)}
		a.validators[w.Address] = w
		a.order = append(a.order, w)
		return readRecord(v, w)
	}
	return nil
}

// second sums up what belongs to the validators.
func (a *auditor) second(kind byte, k, v []byte) error {
	if slices.Contains([]byte{keyDelegation, keyBatch, keyUnbonding, keyLiens, keyMoved}, kind) &&
		a.validators[[32]byte(k[:32])] == nil {
		return fmt.Errorf("estake: record %c%x of no validator", kind, k)
	}
	switch kind {
	case keyDelegation:
		d := new(delegation)
		if err := readRecord(v, d.words()); err != nil {
			return err
		}
		id := [32]byte(k[:32])
		due, _ := a.validators[id].Acc.sub(d.Acc).times(d.Plain)
		a.plain[id] += d.Plain
		a.compound[id] += d.Compound
		a.owed[id] += d.Owed
		a.pending[id] += due
	case keyBatch:
		b := new(batch)
		a.batches[string(k)] = b
		a.names = append(a.names, string(k))
		a.open[[32]byte(k[:32])]++
		return readRecord(v, b.words())
	case keyLiens:
		var list liens
		if err := readRecord(v, &list); err != nil {
			return err
		}
		a.open[[32]byte(k[:32])]++
		for _, l := range list {
			name := string(k) + string(l.To[:])
			a.liens[name] = &l
			a.names = append(a.names, name)
			a.compound[l.To] += l.Held
		}
	case keyUnbonding, keyMoved:
		var n uint64
		if err := readRecord(v, words{&n}); err != nil {
			return err
		}
		a.points[string(k[:len(k)-32])] += n
	}
	return nil
}

// check compares the recorded sums with those of the parts.
func (a *auditor) check() error {
	var bonded, unbonding, owed, listed uint64
	for _, v := range a.order {
		id := v.Address
		bonded += v.tokens()
		owed += v.Earned + v.Owed + v.Settled
		if v.Listed {
			listed++
		}
		position, ok := a.index[id]
		switch {
		case v.Plain.Points != a.plain[id] || v.Compound.Points != a.compound[id]:
			return fmt.Errorf("estake: validator %x: points %d and %d, its delegators have %d and %d",
				id[:8], v.Plain.Points, v.Compound.Points, a.plain[id], a.compound[id])
		case v.Plain.Points == 0 && v.Plain.Tokens > 0 || v.Compound.Points == 0 && v.Compound.Tokens > 0:
			return fmt.Errorf("estake: validator %x: tokens of nobody", id[:8])
		case v.Settled != a.owed[id] || a.pending[id] > v.Owed:
			return fmt.Errorf("estake: validator %x: owes %d and %d, its delegators wait for %d and %d",
				id[:8], v.Settled, v.Owed, a.owed[id], a.pending[id])
		case v.Open != a.open[id]:
			return fmt.Errorf("estake: validator %x: %d open records of %d", id[:8], a.open[id], v.Open)
		case v.Listed != ok || ok && position != v.Position:
			return fmt.Errorf("estake: validator %x: position %d in the index, not %d", id[:8], position, v.Position)
		}
	}
	for _, name := range a.names {
		b, l := a.batches[name], a.liens[name]
		if b != nil {
			unbonding += b.Self + b.Pool.Tokens
		}
		if b != nil && b.Pool.Points != a.points[name] || l != nil && l.Points != a.points[name] {
			return fmt.Errorf("estake: points of %x: %d owned", name, a.points[name])
		}
	}
	g := &a.g
	if bonded != g.Bonded || unbonding != g.Unbonding || owed != g.Owed || listed != g.Validators || listed != uint64(len(a.index)) {
		return fmt.Errorf("estake: sums: %d bonded, %d unbonding, %d owed, %d listed; recorded %d, %d, %d, %d",
			bonded, unbonding, owed, listed, g.Bonded, g.Unbonding, g.Owed, g.Validators)
	}
	return nil
}
