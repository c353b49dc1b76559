package ha

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

func keyOf(text string) secret.Key { return secret.Clone([]byte(text)) }

var (
	testSA   = SAID{IKEVersion: 2, SPIi: 0x0102030405060708, SPIr: 0x1112131415161718}
	testOld  = SAID{IKEVersion: 2, SPIi: 0x2122232425262728, SPIr: 0x3132333435363738, Initiator: true}
	testSAID = "02 0102030405060708 1112131415161718 00"
	testHost = netip.MustParseAddrPort("192.0.2.1:4500")
)

// The octets below are made by hand from the attribute lists in strongSwan's
// ha_message.h.
var handMade = []struct {
	name   string
	octets string
	want   Message
}{
	{"rekeying with three key exchanges", `04 01 26 02 01` + testSAID + `
		02 02 2122232425262728 3132333435363738 01  15 0005  13 0001 73
		16 0014 17 0100 14 0007 19 001f 1a 0004 0024 0025
		0f 0002 6e69 10 0002 6e72 11 0001 78 12 0002 797a`,
		Message{Version: Version4, Body: &IKEAdd{
			SA: testSA, Rekeyed: testOld, OldPRF: 5, OldSKd: keyOf("s"),
			Proposal: Proposal{Encr: 20, EncrBits: 256, PRF: 7, KE: 31, AddKEs: []uint16{36, 37}},
			NonceI:   []byte("ni"), NonceR: []byte("nr"), Secret: keyOf("x"), AddSecret: keyOf("yz"),
		}}},
	{"further key exchange", `05 01 26 02 01` + testSAID + `
		0f 0002 6e69 10 0002 6e72 11 0001 78 07 1194 02 c0000201`,
		Message{Version: Version5, Body: &IKEAdd{
			SA: testSA, NonceI: []byte("ni"), NonceR: []byte("nr"), Secret: keyOf("x"), RemoteAddr: testHost,
		}}},
	{"public and private sets", `05 02 01` + testSAID + `
		09 00004001 09 80000004 0a 00020002 0a 80000000`,
		Message{Version: Version5, Body: &IKEUpdate{
			SA: testSA, Conditions: new(CondNATAny | CondAuthenticated), PrivateConditions: new(Private(4)),
			Extensions: new(ExtMOBIKE | ExtIntermediate), PrivateExtensions: new(Private(0)),
		}}},
	{"bit 31 means nothing special in version 3", `03 02 01` + testSAID + `09 80000004`,
		Message{Version: Version3, Body: &IKEUpdate{SA: testSA, Conditions: new(Conditions(0x80000004))}}},
	{"child with IPComp, ESN and IPv6", `05 06 01` + testSAID + `
		0e 01 1d d4c3b2c1 1e 78563412 1f 3412 20 7856 1b 06 1c 02 08 6e657400
		16 000c 17 0080 18 000c 25 0001 0f 0002 6e69 10 0002 6e72
		21 08 06 01bb 01bb 00 20010db8000000000000000000000000 20010db800000000ffffffffffffffff
		22 07 00 0000 ffff 01 c0000201 c0000201`,
		Message{Version: Version5, Body: &ChildAdd{
			SA: testSA, Initiator: true, InboundSPI: 0xc1b2c3d4, OutboundSPI: 0x12345678,
			InboundCPI: 0x1234, OutboundCPI: 0x5678, Mode: IPTFS, IPComp: 2, ConfigName: "net",
			Proposal: Proposal{Encr: 12, EncrBits: 128, Integ: 12}, ESN: true,
			NonceI: []byte("ni"), NonceR: []byte("nr"),
			LocalTS: []Selector{{
				Protocol: 6, FromPort: 443, ToPort: 443,
				From: netip.MustParseAddr("2001:db8::"), To: netip.MustParseAddr("2001:db8::ffff:ffff:ffff:ffff"),
			}},
			RemoteTS: []Selector{{ToPort: 65535, From: testHost.Addr(), To: testHost.Addr(), Dynamic: true}},
		}}},
	{"IKEv1", `03 01 24 01 01 01` + testSAID[2:] + `
		15 0003 13 0002 18 000e 0f 0002 6e69 10 0002 6e72 11 0001 78 25 0001 61 26 0001 62 27 0003 70736b`,
		Message{Version: Version3, Body: &IKEAdd{
			SA:       SAID{IKEVersion: 1, SPIi: testSA.SPIi, SPIr: testSA.SPIr},
			Proposal: Proposal{Encr: 3, PRF: 2, KE: 14},
			NonceI:   []byte("ni"), NonceR: []byte("nr"), Secret: keyOf("x"),
			LocalDH: []byte("a"), RemoteDH: []byte("b"), PSK: keyOf("psk"),
		}}},
	{"IV of IKEv1", `03 0c 01 01` + testSAID[2:] + `28 0002 6976`,
		Message{Version: Version3, Body: &IKEIV{SA: SAID{IKEVersion: 1, SPIi: testSA.SPIi, SPIr: testSA.SPIr}, IV: []byte("iv")}}},
	{"own requests", `05 03 01` + testSAID + `23 00000009`,
		Message{Version: Version5, Body: &MessageID{SA: testSA, Initiator: true, Next: 9}}},
	{"end of an IKE_SA", `04 05 01` + testSAID, Message{Version: Version4, Body: &IKEDelete{SA: testSA}}},
	{"end of a CHILD_SA", `04 07 01` + testSAID + `1d d4c3b2c1`,
		Message{Version: Version4, Body: &ChildDelete{SA: testSA, InboundSPI: 0xc1b2c3d4}}},
	{"status of nothing", `03 0a`, Message{Version: Version3, Body: &Segments{Action: TypeStatus}}},
	{"segments", `05 09 24 0001 24 0010`, Message{Version: Version5, Body: &Segments{Action: TypeSegmentTake, Numbers: []uint16{1, 16}}}},
	{"segments in version 3", `03 08 22 0002`, Message{Version: Version3, Body: &Segments{Action: TypeSegmentDrop, Numbers: []uint16{2}}}},
}

func TestHandMade(t *testing.T) {
	for _, c := range handMade {
		octets := unhex(t, c.octets)
		if got := mustParse(t, octets, binary.LittleEndian); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\n got %v\nwant %v", c.name, got, c.want)
		}
		if got := mustAppend(t, c.want, binary.LittleEndian); !bytes.Equal(got, octets) {
			t.Errorf("%s is written as\n%x, want\n%x", c.name, got, octets)
		}
	}
}

// TestByteOrder: only SPIs and CPIs depend on the gateway's machine.
func TestByteOrder(t *testing.T) {
	m := Message{Version: Version3, Body: &ChildDelete{SA: testSA, InboundSPI: 0xc1b2c3d4}}
	for _, c := range []struct {
		machine byteOrder
		want    string
	}{{binary.LittleEndian, "1b d4c3b2c1"}, {binary.BigEndian, "1b c1b2c3d4"}} {
		octets := mustAppend(t, m, c.machine)
		if want := unhex(t, "0307 01"+testSAID+c.want); !bytes.Equal(octets, want) {
			t.Errorf("%v: %x, want %x", c.machine, octets, want)
		}
		if got := mustParse(t, octets, c.machine); !reflect.DeepEqual(got, m) {
			t.Errorf("%v: %v, want %v", c.machine, got, m)
		}
	}
	if got := swap(binary.LittleEndian, uint16(0x1234)); got != 0x3412 {
		t.Errorf("CPI 1234 is %04x", got)
	}
}

// TestMalformed: each fault is found where it is.
func TestMalformed(t *testing.T) {
	child := "03 06 01" + testSAID
	for _, c := range []struct {
		name, octets string
		attribute    Attribute
		offset       int
		class        error
	}{
		{"nothing", "", 0, 0, nil},
		{"no type", "03", 0, 1, nil},
		{"version 2", "02 05", 0, 0, ErrVersion},
		{"version 6", "06 05", 0, 0, ErrVersion},
		{"type 0", "03 00", 0, 1, ErrUnknownType},
		{"type 13", "03 0d", 0, 1, ErrUnknownType},
		{"whom it is about is missing", "03 05", 0, 2, nil},
		{"whom it is about is behind something unknown", "03 05 ff", 0, 3, nil},
		{"no message ID", "03 04 01" + testSAID, 0, 21, nil},
		{"IKE version 3", "03 05 01 03" + testSAID[2:], AttrIKEID, 2, nil},
		{"initiator 2", "03 05 01" + testSAID[:len(testSAID)-1] + "2", AttrIKEID, 2, nil},
		{"twice the same", "03 05 01" + testSAID + "01" + testSAID, AttrIKEID, 21, nil},
		{"IKE_VERSION late", "03 01 01" + testSAID + "24 02", AttrIKEVersion, 21, nil},
		{"IKE_VERSION differs", "03 01 24 01 01" + testSAID, AttrIKEID, 4, nil},
		{"rekeys itself", "03 01 24 02 01" + testSAID + "02" + testSAID, AttrIKERekeyID, 23, nil},
		{"IKE_ID not first", "03 02 08 6100 01" + testSAID, AttrConfigName, 2, nil},
		{"an identity of any", "03 02 01" + testSAID + "03 00 00", AttrLocalID, 21, nil},
		{"address family 3", "03 02 01" + testSAID + "06 1194 03 c0000201", AttrLocalAddr, 21, nil},
		{"a name without end", "03 02 01" + testSAID + "08 6161", AttrConfigName, 21, nil},
		{"an empty name", "03 02 01" + testSAID + "08 00", AttrConfigName, 21, nil},
		{"three conditions", "05 02 01" + testSAID + "09 00000001 09 80000001 09 80000000", AttrConditions, 31, nil},
		{"two conditions in version 4", "04 02 01" + testSAID + "09 00000001 09 80000001", AttrConditions, 26, nil},
		{"an empty nonce", child + "0f 0000", AttrNonceI, 21, nil},
		{"a long nonce", child + "0f 0003 6e69", AttrNonceI, 21, nil},
		{"half a key exchange", "04 06 01" + testSAID + "1a 0003 000000", AttrAlgAddKEs, 21, nil},
		{"eight further key exchanges", "04 06 01" + testSAID + "1a 0010" + strings.Repeat("0024", 8), AttrAlgAddKEs, 21, nil},
		{"ESN 2", child + "23 0002", AttrESN, 21, nil},
		{"a security label", child + "1f 0a 00 0000 ffff 00", AttrLocalTS, 21, nil},
	} {
		_, err := parse(unhex(t, c.octets), binary.LittleEndian)
		var blame *ParseError
		if !errors.As(err, &blame) || blame.Attribute != c.attribute || blame.Offset != c.offset || blame.Err != c.class {
			t.Errorf("%s: %v, want %v at octet %d (%v)", c.name, err, c.attribute, c.offset, c.class)
		}
	}
}

// TestTruncated: of no prefix is more made than is there. One that ends between
// attributes may be a message; what is in it is in the whole one too.
func TestTruncated(t *testing.T) {
	whole := [][]byte{}
	for _, rec := range recorded(t) {
		whole = append(whole, rec.octets)
	}
	for _, c := range handMade {
		whole = append(whole, unhex(t, c.octets))
	}
	for _, octets := range whole {
		for n := range octets {
			m, err := parse(octets[:n], binary.LittleEndian)
			if err != nil {
				var blame *ParseError
				if !errors.As(err, &blame) || blame.Offset > n {
					t.Fatalf("%x: %v", octets[:n], err)
				}
				continue
			}
			if again, err := m.append(nil, binary.LittleEndian); err == nil && len(again) > n+3 {
				t.Fatalf("%d octets were read and written as %d: %x", n, len(again), again) // 3: ESN, always written
			}
		}
	}
}

// TestUnread: what is not known ends the reading and is kept, and the message is
// not passed on as if it were whole.
func TestUnread(t *testing.T) {
	for _, c := range []struct{ octets, unread string }{
		{"03 05 01" + testSAID + "2a 00", "2a 00"},                  // no attribute of version 3
		{"05 05 01" + testSAID + "2c 00", "2c 00"},                  // of no version
		{"05 05 01" + testSAID + "00", "00"},                        // there is no attribute 0
		{"03 05 01" + testSAID + "0f 0001 6e", "0f 0001 6e"},        // has no place here
		{"03 04 01" + testSAID + "ff 21 00000001", "ff21000000 01"}, // before what is required
		{"04 06 01" + testSAID + "14 0005", "14 0005"},              // a CHILD_SA has no PRF
	} {
		octets := unhex(t, c.octets)
		m := mustParse(t, octets, binary.LittleEndian)
		clear(octets)
		if want := unhex(t, c.unread); !bytes.Equal(m.Unread.Bytes(), want) {
			t.Errorf("%s: unread %x, want %x", c.octets, m.Unread.Bytes(), want)
		}
		var refused *ValueError
		if _, err := m.Append(nil); !errors.As(err, &refused) {
			t.Errorf("%s: written again, error %v", c.octets, err)
		}
	}
}
