package witness

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"
)

var (
	node4, gateway4, other4 = addr("198.51.100.2"), addr("192.0.2.11"), addr("192.0.2.12")
	node6, gateway6, other6 = addr("2001:db8:100::2"), addr("2001:db8:2::11"), addr("2001:db8:2::12")
	inner, host             = addr("10.1.0.2"), addr("10.2.0.1")
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// frame builds an Ethernet frame around what follows the IP header.
func frame(t testing.TB, src, dst netip.Addr, protocol uint8, payload []byte) []byte {
	t.Helper()
	kind := layers.EthernetTypeIPv4
	var ip gopacket.SerializableLayer = &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocol(protocol), SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
	if src.Is6() {
		kind = layers.EthernetTypeIPv6
		ip = &layers.IPv6{
			Version: 6, HopLimit: 64, NextHeader: layers.IPProtocol(protocol), SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
		}
	}
	ethernet := &layers.Ethernet{
		SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: kind,
	}
	return serialize(t, ethernet, ip, gopacket.Payload(payload))
}

func serialize(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, parts...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// espPacket is an ESP packet with eight octets of IV.
func espPacket(spi, seq uint32, iv uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, spi)
	b = binary.BigEndian.AppendUint32(b, seq)
	return append(binary.BigEndian.AppendUint64(b, iv), "sealed"...)
}

func ahPacket(spi, seq uint32) []byte {
	b := []byte{4, 4, 0, 0}
	b = binary.BigEndian.AppendUint32(b, spi)
	b = binary.BigEndian.AppendUint32(b, seq)
	return append(b, "integrity..."...)
}

// datagram is a UDP datagram without a checksum.
func datagram(src, dst uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

func TestDecode(t *testing.T) {
	extension := func(next uint8, b []byte) []byte { return append([]byte{next, 0, 0, 0, 0, 0, 0, 0}, b...) }
	laterFragment := func(next uint8, b []byte) []byte { return append([]byte{next, 0, 0, 8, 0, 0, 0, 0}, b...) }
	for _, c := range []struct {
		name  string
		frame []byte
		want  Packet
	}{
		{"ESP", frame(t, node4, gateway4, protocolESP, espPacket(7, 9, 1)),
			Packet{Src: node4, Dst: gateway4, Protocol: protocolESP, Protected: true, SPI: 7, Sequence: 9}},
		{"ESP over IPv6", frame(t, node6, gateway6, protocolESP, espPacket(7, 9, 1)),
			Packet{Src: node6, Dst: gateway6, Protocol: protocolESP, Protected: true, SPI: 7, Sequence: 9}},
		{"ESP behind extension headers", frame(t, node6, gateway6, destination, extension(routing, extension(protocolESP, espPacket(7, 9, 1)))),
			Packet{Src: node6, Dst: gateway6, Protocol: protocolESP, Protected: true, SPI: 7, Sequence: 9}},
		{"a later fragment", frame(t, node6, gateway6, fragment, laterFragment(protocolESP, espPacket(7, 9, 1))),
			Packet{Src: node6, Dst: gateway6, Protocol: protocolESP}},
		{"AH", frame(t, node4, gateway4, protocolAH, ahPacket(7, 9)),
			Packet{Src: node4, Dst: gateway4, Protocol: protocolAH, Protected: true, SPI: 7, Sequence: 9}},
		{"ESP in UDP", frame(t, node4, gateway4, protocolUDP, datagram(40000, portNAT, espPacket(7, 9, 1))),
			Packet{Src: node4, Dst: gateway4, Protocol: protocolUDP, SrcPort: 40000, DstPort: portNAT, Protected: true, InUDP: true, SPI: 7, Sequence: 9}},
		{"IKE beside ESP", frame(t, node4, gateway4, protocolUDP, datagram(portNAT, 40000, make([]byte, 32))),
			Packet{Src: node4, Dst: gateway4, Protocol: protocolUDP, SrcPort: portNAT, DstPort: 40000, IKE: true}},
		{"keepalive", frame(t, node4, gateway4, protocolUDP, datagram(40000, portNAT, []byte{0xff})),
			Packet{Src: node4, Dst: gateway4, Protocol: protocolUDP, SrcPort: 40000, DstPort: portNAT, IKE: true}},
		{"UDP", frame(t, inner, host, protocolUDP, datagram(5005, 5005, []byte("12345678"))),
			Packet{Src: inner, Dst: host, Protocol: protocolUDP, SrcPort: 5005, DstPort: 5005}},
		{"ESP cut off", frame(t, node4, gateway4, protocolESP, espPacket(7, 9, 1)[:7]),
			Packet{Src: node4, Dst: gateway4, Protocol: protocolESP}},
	} {
		got, ok := Decode(c.frame)
		body := got.Body
		got.Body = nil
		if !ok || !equal(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, ok, c.want)
		}
		if c.want.Protected != (len(body) > 0) {
			t.Errorf("%s: body %q", c.name, body)
		}
	}
	if _, ok := Decode([]byte("short")); ok {
		t.Error("a short frame was decoded")
	}
}

func equal(a, b Packet) bool {
	a.Body, b.Body = nil, nil
	return a.Src == b.Src && a.Dst == b.Dst && a.Protocol == b.Protocol && a.SrcPort == b.SrcPort && a.DstPort == b.DstPort &&
		a.Protected == b.Protected && a.SPI == b.SPI && a.Sequence == b.Sequence && a.InUDP == b.InUDP && a.IKE == b.IKE
}

// Whatever a frame holds, decoding it ends.
func TestDecodeAnything(t *testing.T) {
	whole := frame(t, node6, gateway6, destination, append([]byte{protocolESP, 0, 0, 0, 0, 0, 0, 0}, espPacket(7, 9, 1)...))
	rapid.Check(t, func(t *rapid.T) {
		b := append([]byte(nil), whole...)
		for range rapid.IntRange(0, 4).Draw(t, "changes") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "octet")
		}
		Decode(b[:rapid.IntRange(0, len(b)).Draw(t, "length")])
	})
}

// wire is a capture under construction.
type wire struct {
	t      testing.TB
	frames []Frame
}

func (w *wire) send(node string, src, dst netip.Addr, protocol uint8, payload []byte) {
	at := time.Unix(0, int64(len(w.frames)))
	w.frames = append(w.frames, Frame{At: at, From: node, Out: true, Data: frame(w.t, src, dst, protocol, payload)})
}

func (w *wire) esp(node string, seq uint32, iv uint64) {
	w.send(node, gateway4, node4, protocolESP, espPacket(7, seq, iv))
}

var rules = Rules{
	Protected: []Selector{{A: netip.MustParsePrefix("10.1.0.0/24"), B: netip.MustParsePrefix("10.2.0.0/24")}},
	Gateways:  []string{"sg1", "sg2"},
	IV:        8,
}

func TestAGoodMove(t *testing.T) {
	w := &wire{t: t}
	for seq := range uint32(5) {
		w.esp("sg1", seq+1, uint64(seq))
	}
	for seq := range uint32(5) {
		w.esp("sg2", seq+6, uint64(seq)+100)
	}
	// The node's SA has the same SPI, and is another.
	w.send("mn", node4, gateway4, protocolESP, espPacket(7, 1, 0))
	// What is on its way to a node is not sent once more.
	w.frames = append(w.frames, Frame{From: "mn", Data: w.frames[0].Data})
	r := Examine(w.frames, rules)
	if !r.Kept() || r.Packets != 11 || len(r.SAs) != 2 {
		t.Fatalf("%v: %+v", r, r)
	}
	if u := r.SAs[0]; u.Sender != "gateways" || u.First != 1 || u.Last != 10 || strings.Join(u.Senders, " ") != "sg1 sg2" || !u.InTurn {
		t.Fatalf("%+v", u)
	}
}

func TestWhatBreaksALaw(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(*wire)
		want string
	}{
		{"both gateways use a number", func(w *wire) { w.esp("sg1", 5, 1); w.esp("sg2", 5, 2) },
			"1 numbers reused, 0 IVs, 0 in clear; SPI 00000007 number 5 by sg1 and sg2"},
		{"one gateway uses it twice", func(w *wire) { w.esp("sg1", 5, 1); w.esp("sg1", 5, 1) },
			"1 numbers reused, 1 IVs, 0 in clear; SPI 00000007 number 5 by sg1 and sg1; SPI 00000007 number 5 by sg1 and sg1"},
		{"in UDP at one, bare at the other", func(w *wire) {
			w.esp("sg1", 5, 1)
			w.send("sg2", gateway4, node4, protocolUDP, datagram(portNAT, portNAT, espPacket(7, 5, 2)))
		}, "1 numbers reused, 0 IVs, 0 in clear; SPI 00000007 number 5 by sg1 and sg2"},
		{"an IV", func(w *wire) { w.esp("sg1", 5, 1); w.esp("sg2", 6, 1) },
			"0 numbers reused, 1 IVs, 0 in clear; SPI 00000007 number 6 by sg1 and sg2"},
		{"AH", func(w *wire) {
			w.send("sg1", gateway4, node4, protocolAH, ahPacket(8, 3))
			w.send("sg2", other4, node4, protocolAH, append(ahPacket(8, 3), 1))
		}, "1 numbers reused, 0 IVs, 0 in clear; SPI 00000008 number 3 by sg1 and sg2"},
		{"cleartext", func(w *wire) { w.send("sg1", host, inner, protocolUDP, datagram(1, 2, nil)) },
			"0 numbers reused, 0 IVs, 1 in clear; protocol 17 from 10.2.0.1 to 10.1.0.2 on the link of sg1"},
		{"cleartext that arrives", func(w *wire) {
			w.send("", inner, host, protocolUDP, datagram(1, 2, nil))
			w.frames[0].From, w.frames[0].Out = "sg2", false
		}, "0 numbers reused, 0 IVs, 1 in clear; protocol 17 from 10.1.0.2 to 10.2.0.1 on the link of sg2"},
		{"only the number wraps", func(w *wire) { w.esp("sg1", 0xfffffffe, 1); w.esp("sg1", 1, 2); w.esp("sg2", 1, 3) },
			"1 numbers reused, 0 IVs, 0 in clear; SPI 00000007 number 4294967297 by sg1 and sg2"},
	} {
		w := &wire{t: t}
		c.act(w)
		r := Examine(w.frames, rules)
		if _, got, _ := strings.Cut(r.String(), "packets, "); got != c.want || r.Kept() {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWhatBreaksNone(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(*wire)
	}{
		{"the high half differs", func(w *wire) {
			w.esp("sg1", 3, 1)
			w.esp("sg1", 1<<31, 2)
			w.esp("sg1", 1<<32-9, 3)
			w.esp("sg2", 3, 4)
		}},
		{"other traffic in clear", func(w *wire) { w.send("sg1", gateway4, node4, protocolUDP, datagram(9, 9, nil)) }},
		{"sent on by another gateway", func(w *wire) { w.esp("sg1", 5, 1); w.esp("sg2", 5, 1) }},
		{"another SA", func(w *wire) {
			w.esp("sg1", 5, 1)
			w.send("sg2", other4, node4, protocolESP, espPacket(8, 5, 2))
		}},
	} {
		w := &wire{t: t}
		c.act(w)
		if r := Examine(w.frames, rules); !r.Kept() {
			t.Errorf("%s: %v", c.name, r)
		}
	}
}

// Where the outer addresses are what is protected, IKE between them is not.
func TestIKEIsNoCleartext(t *testing.T) {
	w := &wire{t: t}
	w.send("sg1", gateway4, node4, protocolUDP, datagram(portNAT, portNAT, make([]byte, 32)))
	w.send("sg1", gateway4, node4, protocolUDP, datagram(portIKE, portIKE, nil))
	transport := Rules{Protected: []Selector{{A: netip.PrefixFrom(node4, 32), B: netip.PrefixFrom(gateway4, 32)}}}
	if r := Examine(w.frames, transport); !r.Kept() {
		t.Fatal(r)
	}
	w.send("sg1", gateway4, node4, protocolUDP, datagram(9, 9, nil))
	if r := Examine(w.frames, transport); len(r.Cleartext) != 1 {
		t.Fatal(r)
	}
}

// A 64-bit sequence number is known from its low half as long as fewer than
// 2^31 packets in a row are missing or late.
func TestExtend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		highest := rapid.Uint64Range(0, 1<<63).Draw(t, "highest")
		step := rapid.Int64Range(-(1<<31)+1, 1<<31-1).Draw(t, "step")
		if step < 0 && uint64(-step) > highest {
			step = -step
		}
		want := highest + uint64(step)
		if got := extend(highest, uint32(want)); got != want {
			t.Fatalf("after %d: %d, want %d", highest, got, want)
		}
	})
}

// A redirected packet differs in its destination and is otherwise as whole as
// before: its checksums are those that it would have been made with.
func TestRedirect(t *testing.T) {
	hardware := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	sealed := espPacket(7, 9, 1)
	checked := func(src, dst netip.Addr) []byte {
		udp := &layers.UDP{SrcPort: portNAT, DstPort: portNAT}
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		ethernet := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: hardware, EthernetType: layers.EthernetTypeIPv6}
		return serialize(t, ethernet, ip, udp, gopacket.Payload(sealed))
	}
	aimed := func(f []byte) []byte { return append(hardware[:6:6], f[6:]...) }
	for _, c := range []struct {
		name         string
		before, want []byte
		to           netip.Addr
	}{
		{"ESP", frame(t, node4, gateway4, protocolESP, sealed), aimed(frame(t, node4, other4, protocolESP, sealed)), other4},
		{"ESP over IPv6", frame(t, node6, gateway6, protocolESP, sealed), aimed(frame(t, node6, other6, protocolESP, sealed)), other6},
		{"in UDP", frame(t, node4, gateway4, protocolUDP, datagram(portNAT, portNAT, sealed)),
			aimed(frame(t, node4, other4, protocolUDP, datagram(portNAT, portNAT, sealed))), other4},
		{"in UDP with its checksum", checked(node6, gateway6), checked(node6, other6), other6},
		{"to where it was going", frame(t, node4, gateway4, protocolESP, sealed), aimed(frame(t, node4, gateway4, protocolESP, sealed)), gateway4},
	} {
		got, err := Redirect(c.before, c.to, hardware)
		if err != nil || string(got) != string(c.want) {
			t.Errorf("%s: %v\ngot  %x\nwant %x", c.name, err, got, c.want)
		}
	}
	if _, err := Redirect(frame(t, node4, gateway4, protocolESP, sealed), other6, hardware); err == nil {
		t.Error("redirected an IPv4 packet to an IPv6 address")
	}
	if _, err := Redirect([]byte("short"), other4, hardware); err == nil {
		t.Error("redirected what is no packet")
	}
}

func TestSelect(t *testing.T) {
	w := &wire{t: t}
	w.esp("sg1", 1, 1)
	w.esp("sg2", 2, 2)
	w.send("sg1", host, inner, protocolUDP, datagram(1, 2, nil))
	selected := Select(w.frames, func(f Frame, p Packet) bool { return f.From == "sg2" && p.Sequence == 2 })
	if len(selected) != 1 || selected[0].From != "sg2" {
		t.Fatalf("%v", selected)
	}
}
