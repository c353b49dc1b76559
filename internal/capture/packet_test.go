package capture

import (
	"net"
	"net/netip"
	"reflect"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
)

// stack is layers around a message.
type stack []gopacket.SerializableLayer

func around(d capturetest.Datagram, outer ...gopacket.SerializableLayer) stack {
	return append(outer, capturetest.Packet(d)...)
}

// TestLinkTypes reads a message of the node link from every kind of link.
func TestLinkTypes(t *testing.T) {
	v4 := capturetest.Datagram{From: alice, To: bob, Octets: nodeMessage}
	v6 := capturetest.Datagram{
		From:   netip.MustParseAddrPort("[2001:db8::10]:40000"),
		To:     netip.MustParseAddrPort("[2001:db8::1]:5092"),
		Octets: nodeMessage,
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	ether := func(next layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: next}
	}
	vlan := func(next layers.EthernetType) *layers.Dot1Q { return &layers.Dot1Q{VLANIdentifier: 7, Type: next} }
	cooked := gopacket.Payload([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00})
	cooked2 := gopacket.Payload([]byte{0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0})
	for name, test := range map[string]struct {
		link  layers.LinkType
		stack stack
		from  netip.AddrPort
	}{
		"Ethernet":            {layers.LinkTypeEthernet, around(v4, ether(layers.EthernetTypeIPv4)), v4.From},
		"Ethernet, IPv6":      {layers.LinkTypeEthernet, around(v6, ether(layers.EthernetTypeIPv6)), v6.From},
		"VLAN":                {layers.LinkTypeEthernet, around(v4, ether(layers.EthernetTypeDot1Q), vlan(layers.EthernetTypeIPv4)), v4.From},
		"VLAN in VLAN, IPv6":  {layers.LinkTypeEthernet, around(v6, ether(layers.EthernetTypeQinQ), vlan(layers.EthernetTypeDot1Q), vlan(layers.EthernetTypeIPv6)), v6.From},
		"Linux cooked":        {layers.LinkTypeLinuxSLL, around(v4, cooked), v4.From},
		"Linux cooked 2":      {layers.LinkTypeLinuxSLL2, around(v6, cooked2), v6.From},
		"raw":                 {layers.LinkTypeRaw, around(v4), v4.From},
		"raw, IPv6":           {layers.LinkTypeRaw, around(v6), v6.From},
		"raw on BSD":          {12, around(v6), v6.From},
		"IPv4":                {layers.LinkTypeIPv4, around(v4), v4.From},
		"IPv6":                {layers.LinkTypeIPv6, around(v6), v6.From},
		"loopback":            {layers.LinkTypeNull, around(v4, &layers.Loopback{Family: layers.ProtocolFamilyIPv4}), v4.From},
		"loopback, IPv6":      {layers.LinkTypeNull, around(v6, &layers.Loopback{Family: layers.ProtocolFamilyIPv6Darwin}), v6.From},
		"loopback of OpenBSD": {layers.LinkTypeLoop, around(v6, gopacket.Payload{0, 0, 0, 24}), v6.From},
		"IPv6 with options":   {layers.LinkTypeRaw, withOptions(v6), v6.From},
		"IPv4 in IPv6":        {layers.LinkTypeRaw, around(v4, &layers.IPv6{Version: 6, HopLimit: 9, NextHeader: layers.IPProtocolIPv4, SrcIP: v6.From.Addr().AsSlice(), DstIP: v6.To.Addr().AsSlice()}), v4.From},
	} {
		file := capturetest.PcapOf(t, test.link, capturetest.Serialize(t, test.stack...))
		c := collect(t, file, nil, nodePort)
		if len(c.messages) != 1 || c.messages[0].From != test.from || c.messages[0].To.Port() != 5092 ||
			string(c.messages[0].Octets) != string(nodeMessage) {
			t.Errorf("%s: %v, want a message from %v", name, c, test.from)
		}
	}
}

// withOptions is a datagram behind destination options and an atomic fragment
// header (RFC 6946), which is no fragment.
func withOptions(d capturetest.Datagram) stack {
	packet := capturetest.Packet(d)
	ip := packet[0].(*layers.IPv6)
	ip.NextHeader = layers.IPProtocolIPv6Destination
	return append(stack{
		ip,
		gopacket.Payload([]byte{byte(layers.IPProtocolIPv6Fragment), 0, 1, 4, 0, 0, 0, 0}),
		gopacket.Payload([]byte{byte(layers.IPProtocolUDP), 0, 0, 0, 0, 0, 0, 1}),
	}, packet[1:]...)
}

// TestOtherPackets counts what is no message, each once and as what it is.
func TestOtherPackets(t *testing.T) {
	message := capturetest.Datagram{From: alice, To: bob, Octets: nodeMessage}
	to := func(port string, octets ...byte) []byte {
		return capturetest.Frame(t, capturetest.Datagram{From: alice, To: netip.MustParseAddrPort("192.0.2.1:" + port), Octets: octets})
	}
	ipv4 := func(change func(*layers.IPv4)) []byte {
		packet := capturetest.Packet(message)
		change(packet[0].(*layers.IPv4))
		ether := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
		return capturetest.Serialize(t, append(stack{ether}, packet...)...)
	}
	bad := capturetest.Frame(t, message)
	bad[14] = 0x41 // a header of four octets
	for name, test := range map[string]struct {
		frame []byte
		want  Summary
	}{
		"another port":          {to("53", 1, 2, 3), Summary{Foreign: 1}},
		"not UDP":               {ipv4(func(ip *layers.IPv4) { ip.Protocol = layers.IPProtocolICMPv4 }), Summary{Foreign: 1}},
		"not IP":                {[]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xcc, 0, 0}, Summary{Foreign: 1}},
		"empty":                 {to("5092"), Summary{NotCXTP: 1}},
		"another version":       {to("5092", 0x46, 0, 0, 8, 1, 2, 3, 4), Summary{NotCXTP: 1}},
		"another type":          {to("5092", 0x2c, 0, 0, 8, 1, 2, 3, 4), Summary{NotCXTP: 1}},
		"damaged":               {to("5092", 0x26, 0, 0, 9, 1, 2, 3, 4), Summary{NodeMessages: 1}},
		"no DTLS":               {to("5091", nodeMessage...), Summary{NotDTLS: 1}},
		"no version of DTLS":    {to("5091", 22, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0), Summary{NotDTLS: 1}},
		"DTLS that is cut":      {to("5091", 22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0), Summary{NotDTLS: 1}},
		"alert":                 {to("5091", 21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0), Summary{Handshake: 1}},
		"short hello":           {to("5091", 22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xfe), Summary{Handshake: 1}},
		"fragment, the first":   {ipv4(func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }), Summary{Fragments: 1}},
		"fragment, a later one": {ipv4(func(ip *layers.IPv4) { ip.FragOffset = 100 }), Summary{Fragments: 1}},
		"fragment of IPv6":      {ipv6Fragment(t), Summary{Fragments: 1}},
		"nonsense":              {bad, Summary{Unreadable: 1}},
	} {
		test.want.Packets = 1
		c := collect(t, capturetest.PcapOf(t, layers.LinkTypeEthernet, test.frame), nil, nodePort)
		if c.err != nil || !reflect.DeepEqual(*c.summary, test.want) {
			t.Errorf("%s: %v, want %q", name, c, test.want.Sentences())
		}
	}
	c := collect(t, capturetest.PcapOf(t, layers.LinkTypePPP, bad, bad), nil, nodePort)
	if want := (Summary{Packets: 2, OtherLinkTypes: 2}); c.err != nil || !reflect.DeepEqual(*c.summary, want) {
		t.Errorf("another link type: %v", c)
	}
}

// ipv6Fragment is the first part of a datagram.
func ipv6Fragment(t *testing.T) []byte {
	packet := capturetest.Packet(capturetest.Datagram{
		From: netip.MustParseAddrPort("[2001:db8::10]:40000"), To: netip.MustParseAddrPort("[2001:db8::1]:5092"), Octets: nodeMessage,
	})
	ip := packet[0].(*layers.IPv6)
	ip.NextHeader = layers.IPProtocolIPv6Fragment
	ether := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv6}
	more := gopacket.Payload([]byte{byte(layers.IPProtocolUDP), 0, 0, 1, 0, 0, 0, 1})
	return capturetest.Serialize(t, append(stack{ether, ip, more}, packet[1:]...)...)
}

// TestCutPackets cuts a frame everywhere, as a short snap length does.
func TestCutPackets(t *testing.T) {
	ether := capturetest.Frame(t, capturetest.Datagram{From: alice, To: bob, Octets: nodeMessage})
	for n := 1; n < 14+20+8+len(nodeMessage); n++ { // what follows is padding
		c := collect(t, cutPcap(t, layers.LinkTypeEthernet, ether, n), nil, nodePort)
		if want := (Summary{Packets: 1, Cut: 1}); c.err != nil || !reflect.DeepEqual(*c.summary, want) {
			t.Errorf("Ethernet, cut after %d octets: %v", n, c)
		}
	}
	whole := capturetest.Serialize(t, around(capturetest.Datagram{From: alice, To: bob, Octets: nodeMessage})...)
	other := capturetest.Serialize(t, around(capturetest.Datagram{From: alice, To: alice, Octets: nodeMessage})...)
	const ports = 20 + 8 // octets until the end of UDP's header
	for n := 1; n < len(whole); n++ {
		c := collect(t, cutPcap(t, layers.LinkTypeRaw, whole, n), nil, nodePort)
		if want := (Summary{Packets: 1, Cut: 1}); c.err != nil || !reflect.DeepEqual(*c.summary, want) {
			t.Errorf("cut after %d octets: %v", n, c)
		}
		c = collect(t, cutPcap(t, layers.LinkTypeRaw, other, n), nil, nodePort)
		want := Summary{Packets: 1, Cut: 1}
		if n >= ports {
			want = Summary{Packets: 1, Foreign: 1}
		}
		if c.err != nil || !reflect.DeepEqual(*c.summary, want) {
			t.Errorf("foreign, cut after %d octets: %v", n, c)
		}
	}
}
