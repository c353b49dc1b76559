package ha

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
)

type recording struct {
	doing  string
	kind   string
	octets []byte
}

// recorded reads what charon said: testdata/recorded.txt, and testdata/made.txt
// for the versions that could not be recorded.
func recorded(t testing.TB) (list []recording) {
	t.Helper()
	for _, name := range []string{"testdata/recorded.txt", "testdata/made.txt"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		doing := ""
		for line := range strings.Lines(string(text)) {
			octets, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch octets {
			case "":
			case "#":
				doing = kind
			default:
				list = append(list, recording{doing, kind, unhex(t, octets)})
			}
		}
	}
	return list
}

// TestRecorded: whatever charon said is understood to the last octet, and
// written again as charon wrote it, also after a detour through each version that
// can say it.
func TestRecorded(t *testing.T) {
	for _, rec := range recorded(t) {
		m, err := parse(rec.octets, binary.LittleEndian)
		if err != nil {
			t.Errorf("%s: %v", rec.doing, err)
			continue
		}
		if got := m.Body.Type().String(); got != rec.kind || !m.Unread.IsZero() {
			t.Errorf("%s: read as %s with %d octets unread, charon calls it %s", rec.doing, got, m.Unread.Len(), rec.kind)
		}
		for _, v := range []Version{Version3, Version4, Version5} {
			detour := Message{Version: v, Body: m.Body}
			octets, err := detour.append(nil, binary.LittleEndian)
			var refused *UnsupportedError
			if errors.As(err, &refused) && v < m.Version {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %s in version %d: %v", rec.doing, rec.kind, v, err)
			}
			detour = mustParse(t, octets, binary.LittleEndian)
			if detour.Version = m.Version; !reflect.DeepEqual(detour, m) {
				t.Fatalf("%s: in version %d\n got %v\nwant %v", rec.doing, v, detour, m)
			}
			if got := mustAppend(t, detour, binary.LittleEndian); !bytes.Equal(got, rec.octets) {
				t.Fatalf("%s: %s is written as\n%x, it came as\n%x", rec.doing, rec.kind, got, rec.octets)
			}
		}
	}
}

func mustParse(t testing.TB, octets []byte, machine byteOrder) Message {
	t.Helper()
	m, err := parse(octets, machine)
	if err != nil {
		t.Fatalf("%x: %v", octets, err)
	}
	return m
}

func mustAppend(t testing.TB, m Message, machine byteOrder) []byte {
	t.Helper()
	octets, err := m.append(nil, machine)
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return octets
}

// TestRecordedValues: the figures of one session's set-up. That the SPIs are the
// right way round shows in their first digit: charon's are from c0000000 to
// cfffffff.
func TestRecordedValues(t *testing.T) {
	list := recorded(t)
	id := SAID{IKEVersion: 2, SPIi: 0x56e309f3e9aabdfc, SPIr: 0xbc279e87dac5bbc5}
	add := mustParse(t, list[0].octets, binary.LittleEndian).Body.(*IKEAdd)
	if add.SA != id || add.Rekeyed != (SAID{}) || add.Further() {
		t.Errorf("IKE_ADD is of %v, rekeyed %v, further %t", add.SA, add.Rekeyed, add.Further())
	}
	if want := (Proposal{Encr: 20, EncrBits: 128, PRF: 5, KE: 31}); !reflect.DeepEqual(add.Proposal, want) {
		t.Errorf("IKE proposal %+v, want %+v", add.Proposal, want)
	}
	if len(add.NonceI) != 32 || len(add.NonceR) != 32 || add.Secret.Len() != 32 || add.Secret.Bytes()[0] != 0xc6 {
		t.Errorf("nonces of %d and %d octets, secret of %d", len(add.NonceI), len(add.NonceR), add.Secret.Len())
	}
	if want := netip.MustParseAddrPort("198.51.100.2:500"); add.RemoteAddr != want {
		t.Errorf("peer at %v, want %v", add.RemoteAddr, want)
	}
	mid := mustParse(t, list[1].octets, binary.LittleEndian).Body
	if want := (&MessageID{SA: id, Next: 2}); !reflect.DeepEqual(mid, want) {
		t.Errorf("message ID %+v, want %+v", mid, want)
	}
	update := mustParse(t, list[2].octets, binary.LittleEndian).Body
	want := &IKEUpdate{
		SA:         id,
		LocalID:    Identity{Type: 2, Data: []byte("vpn.example")},
		RemoteID:   Identity{Type: 2, Data: []byte("mn.example")},
		LocalAddr:  netip.MustParseAddrPort("192.0.2.10:4500"),
		RemoteAddr: netip.MustParseAddrPort("198.51.100.2:4500"),
		Conditions: new(CondCertReqSeen | CondAuthenticated),
		Extensions: new(ExtNATT | ExtMOBIKE | ExtMultipleAuth | ExtEAPOnly | ExtDPD | ExtFragmentation | ExtSignatureAuth | ExtRedirect),
		ConfigName: "clients",
		PeerAddrs: []netip.AddrPort{
			netip.MustParseAddrPort("198.51.100.2:4500"),
			netip.MustParseAddrPort("[2001:db8:100::2]:0"),
		},
	}
	if !reflect.DeepEqual(update, want) {
		t.Errorf("IKE_UPDATE\n got %+v\nwant %+v", update, want)
	}
	child := mustParse(t, list[3].octets, binary.LittleEndian).Body.(*ChildAdd)
	if child.InboundSPI != 0xcd8a2ff2 || child.OutboundSPI != 0xce6fb61f || child.Initiator || child.ESN {
		t.Errorf("CHILD_ADD %+v", child)
	}
	if want := []Selector{{ToPort: 0xffff, From: netip.MustParseAddr("10.2.0.0"), To: netip.MustParseAddr("10.2.0.255")}}; !reflect.DeepEqual(child.LocalTS, want) {
		t.Errorf("local selectors %v, want %v", child.LocalTS, want)
	}
	if want := (Proposal{Encr: 20, EncrBits: 128}); !reflect.DeepEqual(child.Proposal, want) || child.Mode != Tunnel || child.ConfigName != "net" {
		t.Errorf("CHILD_ADD %+v", child)
	}
	vip := mustParse(t, list[4].octets, binary.LittleEndian).Body
	if want := (&IKEUpdate{SA: id, RemoteVIPs: []netip.Addr{netip.MustParseAddr("10.4.0.1")}}); !reflect.DeepEqual(vip, want) {
		t.Errorf("IKE_UPDATE %+v, want %+v", vip, want)
	}
}

// TestMadeValues: the values that testdata/made.txt was made from.
func TestMadeValues(t *testing.T) {
	peer := netip.MustParseAddrPort("198.51.100.2:4500")
	inner := netip.MustParseAddr("2001:db8::2")
	transforms := Proposal{Encr: 20, EncrBits: 256, PRF: 7, KE: 31, AddKEs: []uint16{36, 37}}
	child := Proposal{Encr: 12, EncrBits: 128, Integ: 12, KE: 31, AddKEs: []uint16{36, 37}}
	want := map[string]Body{
		"IKE_ADD": &IKEAdd{
			SA: testSA, Rekeyed: testOld, OldPRF: 5, OldSKd: keyOf("old SK_d"), Proposal: transforms,
			NonceI: []byte("nonce i"), NonceR: []byte("nonce r"),
			Secret: keyOf("first secret"), AddSecret: keyOf("others"), RemoteAddr: peer,
		},
		"IKE_UPDATE": &IKEUpdate{
			SA: testSA, LocalID: Identity{Type: 2, Data: []byte("vpn.example")},
			RemoteID: Identity{Type: 3, Data: []byte("mn@example.com")}, RemoteEAPID: Identity{Type: 2, Data: []byte("ann")},
			LocalAddr: testHost, RemoteAddr: peer, ConfigName: "clients",
			Conditions: new(CondNATAny | CondNATThere | CondAuthenticated), PrivateConditions: new(Private(0)),
			Extensions: new(ExtMOBIKE | ExtDPD), PrivateExtensions: new(Private(4)),
			PeerAddrs:  []netip.AddrPort{peer, netip.AddrPortFrom(inner, 0)},
			RemoteVIPs: []netip.Addr{peer.Addr(), inner},
		},
		"CHILD_ADD": &ChildAdd{
			SA: testSA, Initiator: true, InboundSPI: 0xc1b2c3d4, OutboundSPI: 0x12345678, InboundCPI: 0x1234, OutboundCPI: 0x5678,
			Mode: Tunnel, IPComp: 2, ConfigName: "net", Proposal: child, ESN: true,
			NonceI: []byte("nonce i"), NonceR: []byte("nonce r"), Secret: keyOf("first secret"), AddSecret: keyOf("others"),
			LocalTS: []Selector{
				{ToPort: 65535, From: netip.MustParseAddr("10.2.0.0"), To: netip.MustParseAddr("10.2.0.255")},
				{Protocol: 6, FromPort: 443, ToPort: 443, From: netip.MustParseAddr("2001:db8::"), To: netip.MustParseAddr("2001:db8::ffff:ffff:ffff:ffff")},
			},
			RemoteTS: []Selector{{ToPort: 65535, From: peer.Addr(), To: peer.Addr()}},
		},
	}
	for _, rec := range recorded(t) {
		m := mustParse(t, rec.octets, binary.LittleEndian)
		if body := want[rec.kind]; rec.doing == "6.0.6" && body != nil {
			if !reflect.DeepEqual(m.Body, body) {
				t.Errorf("got  %+v\nwant %+v", m.Body, body)
			}
			delete(want, rec.kind)
		}
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}
