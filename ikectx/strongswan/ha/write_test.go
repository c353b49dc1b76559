package ha

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// validAdd and validChild give bodies to spoil.
func validAdd() *IKEAdd {
	return &IKEAdd{
		SA: testSA, Proposal: Proposal{Encr: 20, EncrBits: 256, PRF: 7, KE: 31},
		NonceI: []byte("nonce i"), NonceR: []byte("nonce r"), Secret: keyOf("zqj secret"), OldSKd: keyOf("zqj old SK_d"), PSK: keyOf("zqj PSK"),
	}
}

func validChild() *ChildAdd {
	anywhere := Selector{ToPort: 65535, From: netip.MustParseAddr("0.0.0.0"), To: netip.MustParseAddr("255.255.255.255")}
	return &ChildAdd{
		SA: testSA, InboundSPI: 1, OutboundSPI: 2, Mode: Tunnel, ConfigName: "net", Proposal: Proposal{Encr: 20, EncrBits: 256},
		NonceI: []byte("nonce i"), NonceR: []byte("nonce r"), Secret: keyOf("zqj secret"),
		LocalTS: []Selector{anywhere}, RemoteTS: []Selector{anywhere},
	}
}

func spoil[B any](body B, how func(B)) B {
	how(body)
	return body
}

// TestUnsupported: what an older version has no words for is named; a newer one
// says it.
func TestUnsupported(t *testing.T) {
	for _, c := range []struct {
		body Body
		can  Version // the first that can
		what string
	}{
		{spoil(validAdd(), func(m *IKEAdd) { m.AddSecret = keyOf("more") }), Version4, "ADD_SECRET"},
		{spoil(validAdd(), func(m *IKEAdd) { m.Proposal.AddKEs = []uint16{0, 36} }), Version4, "ALG_ADD_KES"},
		{spoil(validAdd(), func(m *IKEAdd) { m.Proposal = Proposal{} }), Version4, "further key exchange"},
		{spoil(validChild(), func(m *ChildAdd) { m.AddSecret = keyOf("more") }), Version4, "ADD_SECRET"},
		{spoil(validChild(), func(m *ChildAdd) { m.Mode = IPTFS }), Version5, "IP-TFS"},
		{&IKEUpdate{SA: testSA, PrivateConditions: new(Private(4))}, Version5, "private CONDITIONS (bit 2)"},
		{&IKEUpdate{SA: testSA, PrivateExtensions: new(Private(1))}, Version5, "private EXTENSIONS (bit 0)"},
	} {
		for v := Version3; v <= Version5; v++ {
			_, err := Message{Version: v, Body: c.body}.Append(nil)
			var refused *UnsupportedError
			if v >= c.can {
				if err != nil {
					t.Errorf("%s in version %d: %v", c.what, v, err)
				}
			} else if !errors.As(err, &refused) || refused.Version != v || refused.Type != c.body.Type() || !strings.Contains(err.Error(), c.what) {
				t.Errorf("%s in version %d: %v", c.what, v, err)
			}
		}
	}
}

// TestEmptyPrivateSets: a gateway of version 5 says them always, and nothing is
// lost when an older one is not told.
func TestEmptyPrivateSets(t *testing.T) {
	m := Message{Version: Version5, Body: &IKEUpdate{
		SA: testSA, Conditions: new(CondNATAny), Extensions: new(ExtMOBIKE),
		PrivateConditions: new(Private(0)), PrivateExtensions: new(Private(0)),
	}}
	m = mustParse(t, mustAppend(t, m, binary.LittleEndian), binary.LittleEndian)
	m.Version = Version3
	want := unhex(t, "03 02 01"+testSAID+"09 00000001 0a 00000002")
	if got := mustAppend(t, m, binary.LittleEndian); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// TestUnwritable: a value that no version can say is refused, and dst is given
// back as it was.
func TestUnwritable(t *testing.T) {
	zoned := netip.MustParseAddr("fe80::1%eth0")
	for name, body := range map[string]Body{
		"no body":           nil,
		"no IKE version":    &IKEDelete{},
		"rekeys itself":     spoil(validAdd(), func(m *IKEAdd) { m.Rekeyed = m.SA }),
		"no nonce":          spoil(validAdd(), func(m *IKEAdd) { m.NonceR = nil }),
		"no secret":         spoil(validAdd(), func(m *IKEAdd) { m.Secret = secret.Key{} }),
		"endless nonce":     spoil(validAdd(), func(m *IKEAdd) { m.NonceI = make([]byte, 65536) }),
		"eight more KEs":    spoil(validAdd(), func(m *IKEAdd) { m.Proposal.AddKEs = make([]uint16, 8) }),
		"no name":           spoil(validChild(), func(m *ChildAdd) { m.ConfigName = "" }),
		"NUL in the name":   spoil(validChild(), func(m *ChildAdd) { m.ConfigName = "a\x00b" }),
		"PRF":               spoil(validChild(), func(m *ChildAdd) { m.Proposal.PRF = 5 }),
		"no selectors":      spoil(validChild(), func(m *ChildAdd) { m.RemoteTS = nil }),
		"two families":      spoil(validChild(), func(m *ChildAdd) { m.LocalTS[0].To = netip.IPv6Unspecified() }),
		"no address":        &IKEUpdate{SA: testSA, RemoteVIPs: []netip.Addr{{}}},
		"a zone":            &IKEUpdate{SA: testSA, LocalAddr: netip.AddrPortFrom(zoned, 500)},
		"long identity":     &IKEUpdate{SA: testSA, RemoteID: Identity{Type: 9, Data: make([]byte, 256)}},
		"identity of any":   &IKEUpdate{SA: testSA, RemoteID: Identity{Data: []byte("x")}},
		"public bit 31":     &IKEUpdate{SA: testSA, Conditions: new(Conditions(1 << 31))},
		"private bit 31":    &IKEUpdate{SA: testSA, PrivateConditions: new(Private(1 << 31))},
		"no segment action": &Segments{Action: TypeIKEDelete},
	} {
		dst := append(make([]byte, 0, 1<<17), "before"...)
		got, err := Message{Version: Version5, Body: body}.Append(dst)
		var refused *ValueError
		if !errors.As(err, &refused) || string(got) != "before" {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
		if behind := dst[len(dst):cap(dst)]; slices.ContainsFunc(behind, func(b byte) bool { return b != 0 }) {
			t.Errorf("%s: something was left behind", name)
		}
	}
	if _, err := (Message{Version: 6, Body: &IKEDelete{SA: testSA}}).Append(nil); err == nil {
		t.Error("version 6 was written")
	}
}

// TestAppendMoves: when dst is too small, no key stays in it.
func TestAppendMoves(t *testing.T) {
	m := Message{Version: Version3, Body: validAdd()}
	for size := 6; size < 200; size++ {
		dst := append(make([]byte, 0, size), "before"...)
		out, err := m.Append(dst)
		if err != nil || string(out[:6]) != "before" || !bytes.Contains(out, []byte("zqj secret")) {
			t.Fatalf("room for %d: %q, error %v", size, out, err)
		}
		if &out[0] != &dst[:1][0] && bytes.Contains(dst[:cap(dst)], []byte("zqj")) {
			t.Fatalf("room for %d: a key was left in %q", size, dst[:cap(dst)])
		}
	}
}

// TestSecrets: no form of a message shows a key, and Wipe reaches all of them.
func TestSecrets(t *testing.T) {
	for _, m := range []Message{
		{Version: Version4, Body: spoil(validAdd(), func(m *IKEAdd) { m.AddSecret = keyOf("zqj further") })},
		{Version: Version4, Body: spoil(validChild(), func(m *ChildAdd) { m.AddSecret = keyOf("zqj further") })},
		{Version: Version4, Body: &IKEDelete{SA: testSA}, Unread: keyOf("zqj unread")},
	} {
		for _, text := range []string{fmt.Sprint(m), fmt.Sprintf("%+v", m), fmt.Sprintf("%#v", m.Body), fmt.Sprintf("%+v", m.Body), fmt.Sprintf("%x", m)} {
			if strings.Contains(text, "zqj") || strings.Contains(text, "7a716a") || strings.Contains(text, "0x7a, 0x71, 0x6a") {
				t.Errorf("a key shows in %s", text)
			}
		}
		m.Wipe()
		keys := []secret.Key{m.Unread}
		for _, field := range reflect.ValueOf(m.Body).Elem().Fields() {
			if k, ok := field.Interface().(secret.Key); ok {
				keys = append(keys, k)
			}
		}
		for _, k := range keys {
			if len(bytes.Trim(k.Bytes(), "\x00")) > 0 {
				t.Errorf("%s: a key outlived Wipe", m.Body.Type())
			}
		}
	}
	Message{}.Wipe()
}

// TestParseOwns: a message shares nothing with the datagram, so that this can be
// wiped.
func TestParseOwns(t *testing.T) {
	for _, rec := range recorded(t) {
		m := mustParse(t, rec.octets, binary.LittleEndian)
		before := bytes.Clone(rec.octets)
		clear(rec.octets)
		if got := mustAppend(t, m, binary.LittleEndian); !bytes.Equal(got, before) {
			t.Errorf("%s changed with its datagram: %x", rec.kind, got)
		}
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		m    Message
		want string
	}{
		{Message{}, "no message"},
		{Message{Version: Version5, Body: &MessageID{SA: testSA, Next: 3}},
			"IKE_MID_RESPONDER v5: 0102030405060708_i 1112131415161718_r*, next is 3"},
		{Message{Version: Version3, Body: &Segments{Action: TypeResync, Numbers: []uint16{1, 2}}}, "RESYNC v3: segments [1 2]"},
		{Message{Version: Version3, Body: &IKEDelete{SA: testOld}, Unread: keyOf("abc")},
			"IKE_DELETE v3: 2122232425262728_i* 3132333435363738_r, 3 octets not understood"},
		{Message{Version: Version3, Body: &IKEUpdate{
			SA: testSA, LocalID: Identity{Type: 2, Data: []byte("a\nb")}, RemoteID: Identity{Type: 1, Data: []byte{192, 0, 2, 1}},
			RemoteAddr: testHost, Conditions: new(CondNATAny | 1<<20), Extensions: new(Extensions(0)), ConfigName: "c",
			RemoteVIPs: []netip.Addr{testHost.Addr()},
		}}, `IKE_UPDATE v3: 0102030405060708_i 1112131415161718_r*, local identity "a\nb", remote identity 192.0.2.1, remote 192.0.2.1:4500, conditions NAT_ANY bit 20, extensions none, configuration "c", remote VIP 192.0.2.1`},
		{Message{Version: Version3, Body: validChild()},
			`CHILD_ADD v3: 0102030405060708_i 1112131415161718_r*, responder of it, inbound SPI 00000001, outbound SPI 00000002, tunnel, configuration "net", ENCR 20, key bits 256, secret of 10 octets, local 0.0.0.0-255.255.255.255, remote 0.0.0.0-255.255.255.255`},
	} {
		if got := c.m.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
