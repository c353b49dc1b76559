package cxtp_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

func TestVerifyToken(t *testing.T) {
	key, other := secret.New([]byte("a token key")), secret.New([]byte("another key"))
	node, neighbour := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	requests := []cxtp.CDB{cxtp.SessionNameBlock(cxtp.SessionID{1}), {FPT: cxtp.FPTIPsecSession}}
	token, err := cxtp.ComputeToken(key, node, 7, requests)
	if err != nil {
		t.Fatal(err)
	}
	wrong := token
	wrong[3] ^= 1
	for _, c := range []struct {
		name string
		got  bool
		want bool
	}{
		{"as computed", cxtp.VerifyToken(key, node, 7, requests, token), true},
		{"address mapped into IPv6", cxtp.VerifyToken(key, netip.AddrFrom16(node.As16()), 7, requests, token), true},
		{"another key", cxtp.VerifyToken(other, node, 7, requests, token), false},
		{"no key", cxtp.VerifyToken(secret.Key{}, node, 7, requests, token), false},
		{"another node", cxtp.VerifyToken(key, neighbour, 7, requests, token), false},
		{"no node", cxtp.VerifyToken(key, netip.Addr{}, 7, requests, token), false},
		{"another sequence number", cxtp.VerifyToken(key, node, 8, requests, token), false},
		{"a request less", cxtp.VerifyToken(key, node, 7, requests[:1], token), false},
		{"requests the other way round", cxtp.VerifyToken(key, node, 7, []cxtp.CDB{requests[1], requests[0]}, token), false},
		{"another session", cxtp.VerifyToken(key, node, 7, []cxtp.CDB{cxtp.SessionNameBlock(cxtp.SessionID{2}), requests[1]}, token), false},
		{"one bit off", cxtp.VerifyToken(key, node, 7, requests, wrong), false},
		{"null", cxtp.VerifyToken(key, node, 7, requests, cxtp.Token{}), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: token accepted: %t, want %t", c.name, c.got, c.want)
		}
	}
}

// TestUpdateMAC flips every bit of signed messages: what is still decoded to
// another message is not verified.
func TestUpdateMAC(t *testing.T) {
	key := secret.New([]byte("an update key"))
	node := netip.MustParseAddr("192.0.2.1")
	update := &cxtp.Update{Previous: node, Session: cxtp.SessionID{1}, Number: 7, Gateway: netip.MustParseAddrPort("203.0.113.2:4500")}
	lists := *update
	lists.SPIs, lists.Floors = []cxtp.SPIChange{{Protocol: 50, Old: 0x1001, New: 0x2002}}, []cxtp.SequenceFloor{{Protocol: 50, SPI: 0x3003, Number: 1 << 40}}
	ack := &cxtp.UpdateAck{Previous: node, Session: cxtp.SessionID{1}, Number: 7}
	for _, m := range []signed{update, &lists, ack} {
		if m.Verify(key) {
			t.Errorf("%s: verified before it was signed", m.Type())
		}
		if err := m.Sign(key); err != nil {
			t.Fatal(err)
		}
		if !m.Verify(key) || m.Verify(secret.New([]byte("another key"))) || m.Verify(secret.Key{}) {
			t.Errorf("%s: not verified by its key alone", m.Type())
		}
		encoded, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(encoded) {
			changed := append([]byte(nil), encoded...)
			changed[bit/8] ^= 0x80 >> (bit % 8)
			again, err := cxtp.Decode(changed)
			if err != nil {
				continue
			}
			octets, err := again.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if ignored := string(octets) == string(encoded); again.(signed).Verify(key) != ignored {
				t.Errorf("%s: bit %d changed, verified: %t", m.Type(), bit, !ignored)
			}
		}
	}
	if err := update.Sign(secret.Key{}); err == nil {
		t.Error("signed without a key")
	}
	if err := new(cxtp.UpdateAck).Sign(key); err == nil {
		t.Error("signed a message that cannot be encoded")
	}
}

type signed interface {
	cxtp.Message
	Sign(secret.Key) error
	Verify(secret.Key) bool
}

// TestUpdateIsNoAck takes an Update's MAC into an UpdateAck and the other way.
func TestUpdateIsNoAck(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := drawKey(t, 1, "key")
		update := draws[cxtp.TypeUpdate](t, true).(*cxtp.Update)
		if err := update.Sign(key); err != nil {
			t.Fatal(err)
		}
		ack := &cxtp.UpdateAck{Previous: update.Previous, Session: update.Session, Number: update.Number, MAC: update.MAC}
		if ack.Verify(key) {
			t.Fatal("an Update's MAC is good for its own acknowledgement")
		}
	})
}
