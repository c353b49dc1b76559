package cxtp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/testvectors"
)

func octetsOf(t *testing.T, digits string) []byte {
	t.Helper()
	octets, err := testvectors.Octets(digits)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// TestNodeKeyVectors checks an exchange, from both sides, against what another
// program computed.
func TestNodeKeyVectors(t *testing.T) {
	all, err := testvectors.Load("authorisation")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, v := range all {
		if v.Type != "node keys" {
			continue
		}
		checked++
		field := func(name string) []byte { return octetsOf(t, v.Fields[name]) }
		number, err := strconv.ParseUint(v.Fields["Number"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		a := agreement{SessionID(field("Session id")), number, Share(field("Gateway's share")), Share(field("Node's share"))}
		old := NodeState{Algorithm: AlgorithmHMACSHA256, UpdateKey: secret.New(octetsOf(t, v.Key))}
		for side, other := range map[string]Share{"Gateway": a.node, "Node": a.gateway} {
			x, err := newExchange(bytes.NewReader(field(side + "'s private key")))
			if err != nil {
				t.Fatal(err)
			}
			if want := Share(field(side + "'s share")); x.share != want {
				t.Errorf("%s, %s: the share is %x, want %x", v.Name, side, x.share, want)
			}
			if shared, err := x.shared(other); err != nil || hex.EncodeToString(shared.Bytes()) != v.Fields["Shared secret"] {
				t.Errorf("%s, %s: another shared secret, or none: %v", v.Name, side, err)
			}
			n, err := old.renew(x, other, a)
			if err != nil {
				t.Fatal(err)
			}
			if n.Generation != number || n.Algorithm != old.Algorithm || hex.EncodeToString(n.UpdateKey.Bytes()) != v.Fields["Update key"] {
				t.Errorf("%s, %s: generation %d, or another update key", v.Name, side, n.Generation)
			}
			for i, k := range n.Tokens {
				if want := v.Fields[fmt.Sprintf("Token key %d Key", i+1)]; k.Number != uint32(i+1) || hex.EncodeToString(k.Key.Bytes()) != want {
					t.Errorf("%s, %s: key %d is another one, or has the number %d", v.Name, side, i+1, k.Number)
				}
			}
			if len(n.Tokens) != FreshTokens {
				t.Errorf("%s, %s: %d token keys", v.Name, side, len(n.Tokens))
			}
		}
	}
	if checked == 0 {
		t.Error("no vectors")
	}
}

// TestExchangeAgrees has both sides agree, and changes one thing at a time in what
// they put into the keys: then they do not.
func TestExchangeAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.NewChaCha8([32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed")))
		gateway, err := newExchange(random)
		if err != nil {
			t.Fatal(err)
		}
		node, err := newExchange(random)
		if err != nil {
			t.Fatal(err)
		}
		a := agreement{SessionID{1}, 7, gateway.share, node.share}
		update := secret.New([]byte("update key"))
		want, err := NodeState{UpdateKey: update}.renew(gateway, node.share, a)
		if err != nil {
			t.Fatal(err)
		}
		equal := func(update secret.Key, a agreement) bool {
			got, err := NodeState{UpdateKey: update}.renew(node, gateway.share, a)
			if err != nil {
				t.Fatal(err)
			}
			same := got.UpdateKey.Equal(want.UpdateKey)
			for i := range got.Tokens {
				if got.Tokens[i].Key.Equal(want.Tokens[i].Key) != same {
					t.Fatalf("update key equal: %t, token key %d not", same, i+1)
				}
			}
			return same
		}
		if !equal(update, a) {
			t.Fatal("the two sides have different keys")
		}
		for name, other := range map[string]agreement{
			"session":       {SessionID{2}, 7, a.gateway, a.node},
			"number":        {SessionID{1}, 8, a.gateway, a.node},
			"gateway share": {SessionID{1}, 7, a.node, a.node},
			"node share":    {SessionID{1}, 7, a.gateway, a.gateway},
		} {
			if equal(update, other) {
				t.Errorf("another %s gives the same keys", name)
			}
		}
		if equal(secret.New([]byte("another key")), a) {
			t.Error("another update key gives the same keys")
		}
	})
}

// TestExchangeRefuses takes the shares of small order (RFC 7748 section 6.1), and
// no randomness.
func TestExchangeRefuses(t *testing.T) {
	x, err := newExchange(rand.NewChaCha8([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	node := NodeState{UpdateKey: secret.New([]byte("update key"))}
	for _, digits := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		if _, err := node.renew(x, Share(octetsOf(t, digits)), agreement{}); err == nil {
			t.Errorf("agreed with the share %s", digits)
		}
	}
	if _, err := (NodeState{}).renew(x, Share{9}, agreement{}); err == nil {
		t.Error("agreed without an update key")
	}
	if _, err := newExchange(nil); err == nil {
		t.Error("drew a key from nothing")
	}
	broken := errors.New("broken")
	if _, err := newExchange(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a source that fails led to %v", err)
	}
	x.wipe()
	if !wiped(x.private) {
		t.Error("the private key is not wiped")
	}
}

// wiped reports whether a key has been overwritten.
func wiped(k secret.Key) bool { return k.Equal(secret.New(make([]byte, k.Len()))) }

// TestExchangeKeysDie watches the memory of the keys that an exchange ends: those
// that came with the session, those of the node, and both private keys.
func TestExchangeKeysDie(t *testing.T) {
	s := newScript(t, "A", "B", "C")
	w := s.world
	s.dropAll["updateack"] = true
	w.start()
	ses := w.newNode("s1", 1, true, true)
	w.adopt(ses, "A", 1, true)
	w.settle()
	w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
	w.advance(time.Second)
	b := w.router("B").machine.sessions[ses.id]
	x := b.steer.exchange
	old := []secret.Key{x.private, b.node.UpdateKey, b.node.Tokens[0].Key, ses.agent.keys.current.UpdateKey, ses.agent.keys.current.Tokens[0].Key}
	for i, k := range old {
		if wiped(k) {
			t.Fatalf("key %d is wiped before the exchange is over", i)
		}
	}
	delete(s.dropAll, "updateack")
	w.advance(2 * time.Second)
	for i, k := range old {
		if !wiped(k) {
			t.Errorf("key %d is not wiped", i)
		}
	}
	if b.steer.exchange != nil || len(b.node.Tokens) != FreshTokens || wiped(b.node.UpdateKey) || wiped(ses.agent.keys.current.UpdateKey) {
		t.Errorf("the exchange has left %d token keys", len(b.node.Tokens))
	}
}

// TestExchangeEndsWithoutAnswer leaves no private key: neither when the session
// moves on, nor when the gateway gives up.
func TestExchangeEndsWithoutAnswer(t *testing.T) {
	for _, moves := range []bool{true, false} {
		s := newScript(t, "A", "B", "C")
		w := s.world
		s.dropAll["update"] = true
		w.start()
		ses := w.newNode("s1", 1, true, true)
		w.adopt(ses, "A", 1, true)
		w.settle()
		w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
		w.advance(5 * time.Second)
		x := w.router("B").machine.sessions[ses.id].steer.exchange
		if x == nil || wiped(x.private) {
			t.Fatal("there is no exchange under way")
		}
		if moves {
			w.command("B", Handover{Session: ses.id, To: "C", Ticket: 2})
			w.advance(time.Second)
		} else {
			w.advance(20 * time.Second)
		}
		if !wiped(x.private) {
			t.Errorf("moved: %t: the private key is not wiped", moves)
		}
	}
}

// TestAckFitsUpdate gives a gateway acknowledgements that are authentic, with a
// share and without, of a node with strong tokens and of one with weak ones.
func TestAckFitsUpdate(t *testing.T) {
	for _, strong := range []bool{true, false} {
		for _, share := range []Share{{}, {9}} {
			s := newScript(t, "A", "B")
			w := s.world
			s.dropAll["updateack"] = true
			w.start()
			ses := w.newNode("s1", 1, true, strong)
			w.adopt(ses, "A", 1, true)
			w.settle()
			w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
			w.advance(20 * time.Millisecond)
			ack := &UpdateAck{Previous: ses.at, Session: ses.id, Number: 1, Share: share}
			if err := ack.Sign(ses.agent.keys.current.UpdateKey); err != nil {
				t.Fatal(err)
			}
			w.step(w.router("B"), FromNode{From: ses.endpoint, Message: ack})
			if got, fits := w.router("B").machine.sessions[ses.id].steer.uplink, strong != share.IsZero(); got != fits {
				t.Errorf("strong: %t, share: %t: taken: %t", strong, !share.IsZero(), got)
			}
		}
	}
}

// BenchmarkForgedStrongToken is what a wrong tag costs a router.
func BenchmarkForgedStrongToken(b *testing.B) {
	key := secret.New(make([]byte, TagSize))
	what := Signed{SessionID{1}, simAddr(9), 7, []CDB{SessionNameBlock(SessionID{1})}}
	token := StrongToken{Role: RoleArriving, KeyNumber: 1, PAR: simAddr(0), NAR: simAddr(1)}
	b.ReportAllocs()
	for b.Loop() {
		if token.Verify(key, what) {
			b.Fatal("a tag of zeros is right")
		}
	}
}

// BenchmarkExchange is what one side of an exchange costs: a key pair, the shared
// secret, and the keys.
func BenchmarkExchange(b *testing.B) {
	random := rand.NewChaCha8([32]byte{})
	n := NodeState{UpdateKey: secret.New(make([]byte, freshKeySize))}
	b.ReportAllocs()
	for b.Loop() {
		x, err := newExchange(random)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := n.renew(x, Share{9}, agreement{SessionID{1}, 7, x.share, Share{9}}); err != nil {
			b.Fatal(err)
		}
	}
}
