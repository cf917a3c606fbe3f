package kad_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/kad"
)

// hand drives one Core by hand: what it sends waits to be looked at.
type hand struct {
	t    *testing.T
	core *kad.Core
	now  time.Duration
	last kad.Ready
}

type sent struct {
	to     shardkit.NodeID
	addr   string // of the last route
	kind   uint8
	req    uint64
	target [4]uint64
}

func newHand(t *testing.T, change func(*kad.Config)) *hand {
	cfg := kad.Config{Self: contact(0, 0), Seed: 1}
	if change != nil {
		change(&cfg)
	}
	core, err := kad.New(cfg)
	require.NoError(t, err)
	return &hand{t: t, core: core, now: time.Second}
}

// take collects what the Core did.
func (h *hand) take() []sent {
	h.last = h.core.Ready()
	routes := map[shardkit.NodeID]string{}
	for _, c := range h.last.Routes {
		routes[c.ID] = c.Addr
	}
	var out []sent
	for _, m := range h.last.Messages {
		var x kad.Message
		require.NoError(h.t, x.UnmarshalBinary(m.Data))
		kind, req, target, _ := x.Request()
		out = append(out, sent{m.To, routes[m.To], kind, req, target})
	}
	return out
}

// say delivers a message of a node that calls itself c.
func (h *hand) say(c kad.Contact, kind uint8, req uint64, contacts ...kad.Contact) error {
	m := kad.NewMessage(kind, req, c.Addr, []shardkit.ShardID{c.Shard}, [4]uint64{}, 0, contacts)
	data, err := m.AppendBinary(nil)
	require.NoError(h.t, err)
	return h.core.Deliver(h.now, c.ID, data)
}

// meet makes c known in the proper way: it asks, is pinged and answers.
func (h *hand) meet(c kad.Contact) bool {
	h.take()
	require.NoError(h.t, h.say(c, kad.KindPing, 7))
	h.pong(c)
	for _, x := range h.core.Contacts() {
		if x.ID == c.ID {
			return true
		}
	}
	return false
}

// pong answers every ping that the Core has sent to c.
func (h *hand) pong(c kad.Contact) {
	for _, s := range h.take() {
		if s.kind == kad.KindPing && s.to == c.ID {
			require.NoError(h.t, h.say(c, kad.KindPong, s.req))
		}
	}
}

// pass lets time pass.
func (h *hand) pass(d time.Duration) {
	for end := h.now + d; h.now < end; {
		at, ok := h.core.Wake()
		if !ok || at > end {
			h.now = end
			return
		}
		h.now = max(at, h.now)
		h.core.Tick(h.now)
	}
}

func TestContactsMustAnswer(t *testing.T) {
	h := newHand(t, nil)
	a, b := contact(1, 0), contact(2, 0)
	require.NoError(t, h.say(a, kad.KindPing, 7))
	out := h.take()
	require.Equal(t, []sent{{to: a.ID, addr: a.Addr, kind: kad.KindPong, req: 7}, {to: a.ID, addr: a.Addr, kind: kad.KindPing, req: 1}}, out)
	require.Empty(t, h.core.Contacts(), "a question is no answer")
	require.NoError(t, h.say(b, kad.KindPong, 1), "somebody else answers")
	require.NoError(t, h.say(a, kad.KindPong, 99), "an answer to no question")
	require.Equal(t, uint64(2), h.core.Stats().Late)
	require.Empty(t, h.core.Contacts())
	require.NoError(t, h.say(a, kad.KindPong, 1))
	require.Equal(t, []kad.Contact{a}, h.core.Contacts())
	require.NoError(t, h.say(a, kad.KindPong, 1), "again")
	require.Equal(t, uint64(3), h.core.Stats().Late)

	silent := contact(3, 0)
	require.NoError(t, h.say(silent, kad.KindPing, 7))
	h.pass(time.Minute)
	require.NotContains(t, h.core.Contacts(), silent)
}

// A contact that says it has moved counts there once it answers there.
func TestMove(t *testing.T) {
	h := newHand(t, nil)
	a := contact(1, 0)
	require.True(t, h.meet(a))
	moved := a
	moved.Addr = contact(5, 0).Addr
	require.NoError(t, h.say(moved, kad.KindPing, 8))
	require.Equal(t, []kad.Contact{a}, h.core.Contacts())
	for _, s := range h.take() {
		if s.kind == kad.KindPing {
			require.Equal(t, moved.Addr, s.addr)
			require.NoError(t, h.say(moved, kad.KindPong, s.req))
		}
	}
	require.Equal(t, []kad.Contact{moved}, h.core.Contacts())

	// Who says something else at every address is not followed around.
	c := contact(3, 0)
	require.NoError(t, h.say(c, kad.KindPing, 9))
	for _, s := range h.take() {
		if s.kind == kad.KindPing {
			c.Addr = contact(6, 0).Addr
			require.NoError(t, h.say(c, kad.KindPong, s.req))
		}
	}
	require.Empty(t, h.take())
	require.Equal(t, []kad.Contact{moved}, h.core.Contacts())

	// It serves another shard now: said from the address we know, that counts.
	g := newHand(t, func(c *kad.Config) { c.ShardBits = 2; c.Self = contact(0, 2) })
	b := contact(1, 2)
	require.True(t, g.meet(b))
	b.Shard = 3
	require.NoError(t, g.say(b, kad.KindPing, 8))
	require.Equal(t, []kad.Contact{b}, g.core.Contacts())
	require.Equal(t, []kad.Contact{b}, g.core.Members(3))
	require.Empty(t, g.core.Members(1))
}

func TestRefusals(t *testing.T) {
	h := newHand(t, func(c *kad.Config) { c.ShardBits = 2; c.Self = contact(0, 2) })
	good, err := kad.NewMessage(kad.KindPing, 1, "1.2.3.4:5", []shardkit.ShardID{1}, [4]uint64{}, 0, nil).AppendBinary(nil)
	require.NoError(t, err)
	encode := func(kind uint8, addr string, shards ...shardkit.ShardID) []byte {
		b, err := kad.NewMessage(kind, 1, addr, shards, [4]uint64{}, 0, nil).AppendBinary(nil)
		require.NoError(t, err)
		return b
	}
	a := nodeID(1)
	for what, tt := range map[string]struct {
		from shardkit.NodeID
		msg  []byte
	}{
		"empty":           {a, nil},
		"short":           {a, good[:len(good)-1]},
		"trailing":        {a, append(good[:len(good):len(good)], 0)},
		"version":         {a, append([]byte{2}, good[1:]...)},
		"kind":            {a, encode(9, "1.2.3.4:5", 1)},
		"from ourselves":  {nodeID(0), good},
		"no address":      {a, encode(kad.KindPing, "", 1)},
		"bad address":     {a, encode(kad.KindPing, "1.2.3.4", 1)},
		"no shard":        {a, encode(kad.KindPing, "1.2.3.4:5")},
		"unknown shard":   {a, encode(kad.KindPing, "1.2.3.4:5", 4)},
		"unsorted shards": {a, encode(kad.KindPing, "1.2.3.4:5", 2, 1)},
		"too many shards": {a, encode(kad.KindPing, "1.2.3.4:5", 0, 1, 2, 3, 4, 5, 6, 7, 8)},
	} {
		before := h.core.Stats()
		require.ErrorContains(t, h.core.Deliver(h.now, tt.from, tt.msg), "kad: ", what)
		require.Empty(t, h.take(), what)
		before.Refused++
		require.Equal(t, before, h.core.Stats(), what)
	}
	require.NoError(t, h.core.Deliver(h.now, a, good))
}

func TestLimitOfRequests(t *testing.T) {
	h := newHand(t, nil)
	refused := 0
	for range 1000 {
		if err := h.say(contact(1, 0), kad.KindFind, 1); err != nil {
			require.ErrorIs(t, err, kad.ErrRate)
			refused++
		}
	}
	require.Equal(t, 800, refused)
	require.Equal(t, uint64(800), h.core.Stats().Refused)
	require.NoError(t, h.say(contact(2, 0), kad.KindFind, 1), "others are served")
	h.now += time.Second
	require.NoError(t, h.say(contact(1, 0), kad.KindFind, 1))
}

// Somebody with many keys but one network takes 2 places of a bucket and 10 of
// the table, and no place of a live contact.
func TestEclipse(t *testing.T) {
	h := newHand(t, nil)
	attacker := func(i int) kad.Contact {
		c := contact(1000+i, 0)
		c.Addr = fmt.Sprintf("100.1.1.%d:9000", i%250+1)
		return c
	}
	inside := 0
	for i := range 500 {
		if h.meet(attacker(i)) {
			inside++
		}
		h.now += 100 * time.Millisecond
	}
	require.Equal(t, 10, inside)
	require.Equal(t, inside, h.core.Stats().Contacts)
	buckets := map[int]int{}
	for _, c := range h.core.Contacts() {
		buckets[kad.Shared(kad.Place(c.ID, 0, 0), kad.Place(nodeID(0), 0, 0))]++
	}
	for b, n := range buckets {
		require.LessOrEqual(t, n, 2, "bucket %d", b)
	}

	// Enough honest ones to fill the far buckets, then attackers of many
	// networks.
	var honest []kad.Contact
	for i := range 200 {
		if c := contact(1+i, 0); h.meet(c) {
			honest = append(honest, c)
		}
		h.now += 100 * time.Millisecond
	}
	before := h.core.Contacts()
	for i := range 500 {
		c := contact(5000+i, 0)
		require.NoError(t, h.say(c, kad.KindPing, 7))
		for _, s := range h.take() {
			for _, x := range append(honest, c) { // all are alive
				if s.kind == kad.KindPing && s.to == x.ID {
					require.NoError(t, h.say(x, kad.KindPong, s.req))
				}
			}
		}
		h.now += 100 * time.Millisecond
	}
	after := h.core.Contacts()
	for _, c := range before {
		require.Contains(t, after, c, "a live contact stays")
	}
}

// A contact that stops answering goes, and a spare takes its place; but if
// everybody stops, nobody goes.
func TestEviction(t *testing.T) {
	fill := func() (*hand, []kad.Contact) {
		h := newHand(t, func(c *kad.Config) { c.K = 2 })
		var far []kad.Contact // of bucket 0
		self := kad.Place(nodeID(0), 0, 0)
		for i := 1; len(far) < 3; i++ {
			if c := contact(i, 0); kad.Shared(kad.Place(c.ID, 0, 0), self) == 0 {
				far = append(far, c)
			}
		}
		require.True(t, h.meet(far[0]) && h.meet(far[1]))
		require.False(t, h.meet(far[2]), "the bucket is full")
		return h, far
	}
	h, far := fill()
	h.core.Start(h.now)
	h.take()
	for range 20 { // far[0] is dead, the others answer
		h.pass(500 * time.Millisecond)
		for _, s := range h.take() {
			for _, c := range far[1:] {
				if s.to == c.ID {
					kind := uint8(kad.KindPong)
					if s.kind != kad.KindPing {
						kind = kad.KindNodes
					}
					require.NoError(t, h.say(c, kind, s.req))
				}
			}
		}
	}
	require.ElementsMatch(t, far[1:], h.core.Contacts())
	require.Equal(t, uint64(1), h.core.Stats().Evicted)

	h, far = fill()
	h.core.Start(h.now)
	h.pass(24 * time.Hour) // nobody answers: it is us
	require.ElementsMatch(t, far[:2], h.core.Contacts())
}

// A public node takes no loopback addresses from anybody: they would escape
// the limits.
func TestLoopback(t *testing.T) {
	h := newHand(t, nil)
	c := contact(1, 0)
	c.Addr = "127.0.0.1:9000"
	require.False(t, h.meet(c))
	h = newHand(t, func(c *kad.Config) { c.Self.Addr = "127.0.0.1:1" })
	for i := range 16 {
		c := contact(1+i, 0)
		c.Addr = fmt.Sprintf("127.0.0.1:%d", 9000+i)
		require.True(t, h.meet(c))
	}
}

func TestSetSelfErrors(t *testing.T) {
	h := newHand(t, func(c *kad.Config) { c.ShardBits = 1; c.Self = contact(0, 1) })
	require.Error(t, h.core.SetSelf(0, nil, "1.2.3.4:5"))
	require.Error(t, h.core.SetSelf(0, []shardkit.ShardID{2}, "1.2.3.4:5"))
	require.Error(t, h.core.SetSelf(0, make([]shardkit.ShardID, 9), "1.2.3.4:5"))
	require.Error(t, h.core.SetSelf(0, []shardkit.ShardID{1}, "nonsense"))
	require.NoError(t, h.core.SetSelf(0, []shardkit.ShardID{1, 0}, "example.org:5"))
}

func TestConfigErrors(t *testing.T) {
	good := contact(0, 0)
	for i, cfg := range []kad.Config{
		{},
		{Self: kad.Contact{Addr: "1.2.3.4:5", Shard: 1}},
		{Self: good, ShardBits: 33},
		{Self: good, K: 33},
		{Self: good, Paths: 17},
		{Self: good, Alpha: -1},
		{Self: good, Timeout: -1},
		{Self: good, Bootstrap: []kad.Contact{{Addr: "x"}}},
		{Self: good, Known: []kad.Contact{{Addr: ":1"}}},
	} {
		_, err := kad.New(cfg)
		require.Error(t, err, "%d", i)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		addr string
		ok   bool
	}{
		{"1.2.3.4:5", true}, {"[2001:db8::1]:5", true}, {"node-1.example.org:9000", true}, {"localhost:1", true},
		{"", false}, {"1.2.3.4", false}, {"1.2.3.4:0", false}, {"0.0.0.0:1", false}, {"[::]:1", false}, {"224.0.0.1:1", false},
		{":80", false}, {"host:", false}, {"host:port", false}, {"a b:1", false}, {"a:1:2", false}, {"a:123456", false},
		{"<script>:1", false}, {fmt.Sprintf("%064d:1", 0), false},
	} {
		_, err := kad.New(kad.Config{Self: kad.Contact{Addr: tt.addr}})
		require.Equal(t, tt.ok, err == nil, "%q: %v", tt.addr, err)
	}
}

func TestContactsFile(t *testing.T) {
	list := []kad.Contact{contact(1, 2), contact(2, 2)}
	data := kad.AppendContacts(nil, list)
	got, err := kad.DecodeContacts(data)
	require.NoError(t, err)
	require.Equal(t, list, got)
	for i := range data {
		_, err := kad.DecodeContacts(data[:i])
		require.Error(t, err)
	}
	_, err = kad.DecodeContacts(append(data, 0))
	require.ErrorIs(t, err, wire.ErrTrailing)
}
