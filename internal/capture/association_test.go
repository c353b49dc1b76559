package capture

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
)

// Flags of a DATA chunk.
const (
	ends = 1 << iota
	begins
	unordered
)

// dataOf is a DATA chunk, padded.
func dataOf(tsn uint32, flags byte, payload uint32, octets []byte) []byte {
	c := binary.BigEndian.AppendUint16([]byte{0, flags | unordered}, uint16(16+len(octets)))
	c = binary.BigEndian.AppendUint32(c, tsn)
	c = binary.BigEndian.AppendUint32(c, 0) // stream 0
	c = append(binary.BigEndian.AppendUint32(c, payload), octets...)
	return append(c, make([]byte, -len(octets)&3)...)
}

func wholeOf(tsn uint32, octets []byte) []byte {
	return dataOf(tsn, begins|ends, uint32(payloadMessage), octets)
}

// straightPacket is an SCTP packet of router a or, back, of router b.
type straightPacket struct {
	back   bool
	tag    uint32
	chunks []byte
}

// The routers' ends, by the version of IP.
var straightEnds = map[bool][2]netip.AddrPort{
	false: {netip.MustParseAddrPort("192.0.2.1:5091"), netip.MustParseAddrPort("192.0.2.2:5091")},
	true:  {netip.MustParseAddrPort("[2001:db8::1]:5091"), netip.MustParseAddrPort("[2001:db8::2]:5091")},
}

// straightPackets are an association, most of it, and the one after a restart. The
// TSNs of an INIT that has come to nothing are elsewhere.
var straightPackets = []straightPacket{
	{false, 0, []byte{1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0x7f, 0, 0, 1}},
	{true, 7, []byte{2, 0, 0, 20, 0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0x7f, 0, 0, 1}},
	{false, 9, slices.Concat([]byte{10, 0, 0, 6, 1, 2, 0, 0}, wholeOf(100, nodeMessage))}, // with a COOKIE ECHO
	{true, 7, []byte{11, 0, 0, 4}},
	{true, 7, slices.Concat(wholeOf(100, nodeMessage[:5]), wholeOf(101, nodeMessage[:6]))},
	{false, 9, wholeOf(100, nodeMessage)},
	{false, 9, dataOf(102, ends, uint32(payloadMessage), nodeMessage[4:])},
	{false, 9, dataOf(101, begins, uint32(payloadMessage), nodeMessage[:4])},
	{false, 9, dataOf(103, begins|ends, 46, nodeMessage)},
	{false, 9, dataOf(104, begins, uint32(payloadMessage), nodeMessage[:4])},
	{false, 11, wholeOf(100, nodeMessage[:7])},
	{false, 11, []byte{0, 3, 0, 15, 0, 0, 0, 1}},
}

// straightPcap is a capture of packets, on a raw link or an Ethernet.
func straightPcap(t testing.TB, link layers.LinkType, version int, packets ...straightPacket) []byte {
	t.Helper()
	var frames [][]byte
	for _, p := range packets {
		ends := straightEnds[version == 6]
		if p.back {
			slices.Reverse(ends[:])
		}
		stack := capturetest.SCTP(capturetest.Datagram{From: ends[0], To: ends[1], Octets: p.chunks}, p.tag)
		if link == layers.LinkTypeEthernet {
			ether := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
			if version == 6 {
				ether.EthernetType = layers.EthernetTypeIPv6
			}
			stack = append([]gopacket.SerializableLayer{ether}, stack...)
		}
		frames = append(frames, capturetest.Serialize(t, stack...))
	}
	return capturetest.PcapOf(t, link, frames...)
}

// TestStraight reads what routers say by SCTP straight over IP.
func TestStraight(t *testing.T) {
	for _, version := range []int{4, 6} {
		for _, link := range []layers.LinkType{layers.LinkTypeRaw, layers.LinkTypeEthernet} {
			c := collect(t, straightPcap(t, link, version, straightPackets...), nil, nodePort)
			a, b := straightEnds[version == 6][0], straightEnds[version == 6][1]
			c.expect(t, Router,
				sent{a, b, nodeMessage},
				sent{b, a, nodeMessage[:5]}, sent{b, a, nodeMessage[:6]},
				sent{a, b, nodeMessage}, // its fragments in the wrong order
				sent{a, b, nodeMessage[:7]},
			)
			want := Summary{Packets: uint64(len(straightPackets)), RouterMessages: 5, Control: 4, Repeated: 1, OtherPayload: 1, Incomplete: 1, BadSCTP: 1}
			if !reflect.DeepEqual(*c.summary, want) {
				t.Errorf("IPv%d, %s: %v, want %q", version, link, c, want.Sentences())
			}
		}
	}
}

// TestStraightOther counts what is no SCTP of routers.
func TestStraightOther(t *testing.T) {
	p := straightPacket{false, 9, wholeOf(100, nodeMessage)}
	file := straightPcap(t, layers.LinkTypeRaw, 4, p)
	for name, ports := range map[string]Options{"no port": {}, "a node's port": {NodePorts: []uint16{5091}}} {
		if c := collect(t, file, nil, ports); c.err != nil || !reflect.DeepEqual(*c.summary, Summary{Packets: 1, Foreign: 1}) {
			t.Errorf("%s: %v", name, c)
		}
	}
	packet := capturetest.Serialize(t, capturetest.SCTP(capturetest.Datagram{From: straightEnds[false][0], To: straightEnds[false][1], Octets: p.chunks}, p.tag)...)
	for n := 1; n < len(packet); n++ {
		c := collect(t, cutPcap(t, layers.LinkTypeRaw, packet, n), nil, nodePort)
		if want := (Summary{Packets: 1, Cut: 1}); c.err != nil || !reflect.DeepEqual(*c.summary, want) {
			t.Errorf("cut after %d octets: %v", n, c)
		}
	}
	// An IP packet that ends within SCTP's header is whole, and makes no sense.
	short := slices.Clone(packet[:20+sctpHeaderSize-1])
	short[3] = byte(len(short))
	c := collect(t, capturetest.PcapOf(t, layers.LinkTypeRaw, short), nil, nodePort)
	if want := (Summary{Packets: 1, Unreadable: 1}); c.err != nil || !reflect.DeepEqual(*c.summary, want) {
		t.Errorf("a short header: %v", c)
	}
}

// TestManyAssociations has more associations than are kept, each with a fragment
// that waits: the budget is whole when they have gone.
func TestManyAssociations(t *testing.T) {
	d := newDecoder(nodePort, func(Message) error { return nil })
	for tag := range uint32(3 * maxAssociations) {
		chunk := append(make([]byte, sctpHeaderSize), dataOf(1, begins, uint32(payloadMessage), nodeMessage)...)
		binary.BigEndian.PutUint32(chunk[4:], tag)
		if err := d.straight(frame{}, datagram{from: straightEnds[false][0], to: straightEnds[false][1], octets: chunk}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range d.routes.byPair {
		if len(r.associations) != maxAssociations || r.associations[0].tag != 2*maxAssociations {
			t.Errorf("%d associations are kept", len(r.associations))
		}
	}
	if s := d.finish(); d.routes.waiting != maxWaiting || s.Incomplete != 3*maxAssociations {
		t.Errorf("%d octets still wait; %q", maxWaiting-d.routes.waiting, s.Sentences())
	}
}
