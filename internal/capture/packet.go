package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// datagram is a UDP datagram, an SCTP packet or, with port 0 on both sides, an ICMP
// packet. Its octets are the frame's.
type datagram struct {
	from, to netip.AddrPort
	octets   []byte // behind the header of UDP; with that of SCTP or ICMP
	hops     uint8  // the hop limit, or TTL
	cut      bool   // octets are missing at the end
}

// finding is what a packet is.
type finding int

const (
	isDatagram finding = iota
	isICMP
	isSCTP
	isForeign  // of another protocol than these
	isFragment // a part of an IP packet
	isCut      // so short that it is not known what it is
	isUnreadable
	isOtherLinkType
)

// dissector takes off what is around a datagram. Its layers are filled again
// for each packet.
type dissector struct {
	ip4     layers.IPv4
	ip6     layers.IPv6
	udp     layers.UDP
	icmp4   rest
	icmp6   rest
	sctp    rest
	parsers map[gopacket.LayerType]*gopacket.DecodingLayerParser // by the outermost layer
	found   []gopacket.LayerType
}

// rest is a layer of a type with whatever is in it.
type rest struct {
	layers.BaseLayer
	kind gopacket.LayerType
}

func (r *rest) CanDecode() gopacket.LayerClass    { return r.kind }
func (r *rest) NextLayerType() gopacket.LayerType { return gopacket.LayerTypeZero }

func (r *rest) DecodeFromBytes(octets []byte, _ gopacket.DecodeFeedback) error {
	r.Contents = octets
	return nil
}

func newDissector() *dissector {
	d := &dissector{
		icmp4: rest{kind: layers.LayerTypeICMPv4}, icmp6: rest{kind: layers.LayerTypeICMPv6},
		sctp:    rest{kind: layers.LayerTypeSCTP},
		parsers: map[gopacket.LayerType]*gopacket.DecodingLayerParser{},
	}
	known := []gopacket.DecodingLayer{
		&layers.Ethernet{}, &layers.LinuxSLL{}, &layers.LinuxSLL2{}, &layers.Loopback{}, &layers.Dot1Q{},
		&d.ip4, &d.ip6, &layers.IPv6ExtensionSkipper{}, &layers.IPv6Fragment{}, // which the skipper must not skip
		&d.udp, &d.icmp4, &d.icmp6, &d.sctp,
	}
	for _, outermost := range []gopacket.LayerType{
		layers.LayerTypeEthernet, layers.LayerTypeLinuxSLL, layers.LayerTypeLinuxSLL2, layers.LayerTypeLoopback,
		layers.LayerTypeIPv4, layers.LayerTypeIPv6,
	} {
		d.parsers[outermost] = gopacket.NewDecodingLayerParser(outermost, known...)
	}
	return d
}

// datagram finds the datagram in a frame.
func (d *dissector) datagram(f frame) (datagram, finding) {
	parser := d.parsers[outermost(f)]
	if parser == nil {
		return datagram{}, isOtherLinkType
	}
	err := parser.DecodeLayers(f.octets, &d.found)
	var strange gopacket.UnsupportedLayerType // what follows the layers found
	switch known := !errors.As(err, &strange); {
	case gopacket.LayerType(strange) == gopacket.LayerTypeFragment:
		return datagram{}, isFragment
	case d.ends(layers.LayerTypeUDP):
		return d.packet(uint16(d.udp.SrcPort), uint16(d.udp.DstPort), d.udp.Payload, parser.Truncated), isDatagram
	case d.ends(layers.LayerTypeICMPv4):
		return d.packet(0, 0, d.icmp4.Contents, parser.Truncated), isICMP
	case d.ends(layers.LayerTypeICMPv6):
		return d.packet(0, 0, d.icmp6.Contents, parser.Truncated), isICMP
	case d.ends(layers.LayerTypeSCTP) && len(d.sctp.Contents) >= sctpHeaderSize:
		ports := d.sctp.Contents
		return d.packet(binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:]), ports, parser.Truncated), isSCTP
	case !known:
		return datagram{}, isForeign
	case f.cut:
		return datagram{}, isCut
	case err != nil, d.ends(layers.LayerTypeSCTP):
		return datagram{}, isUnreadable
	}
	return datagram{}, isForeign
}

// ends reports whether the innermost layer found is of a type.
func (d *dissector) ends(kind gopacket.LayerType) bool {
	return len(d.found) > 0 && d.found[len(d.found)-1] == kind
}

// outermost is the layer that a frame begins with. A raw one says by its first
// four bits which version of IP it is.
func outermost(f frame) gopacket.LayerType {
	const rawBSD, rawOpenBSD = 12, 14 // values of raw IP beside LinkTypeRaw
	switch f.link {
	case layers.LinkTypeEthernet:
		return layers.LayerTypeEthernet
	case layers.LinkTypeLinuxSLL:
		return layers.LayerTypeLinuxSLL
	case layers.LinkTypeLinuxSLL2:
		return layers.LayerTypeLinuxSLL2
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return layers.LayerTypeLoopback
	case layers.LinkTypeIPv6:
		return layers.LayerTypeIPv6
	case layers.LinkTypeRaw, rawBSD, rawOpenBSD:
		if len(f.octets) > 0 && f.octets[0]>>4 == 6 {
			return layers.LayerTypeIPv6
		}
		return layers.LayerTypeIPv4
	case layers.LinkTypeIPv4:
		return layers.LayerTypeIPv4
	}
	return gopacket.LayerTypeZero
}

// packet is a datagram with what the innermost IP header says of it.
func (d *dissector) packet(source, destination uint16, octets []byte, cut bool) datagram {
	g := datagram{octets: octets, cut: cut}
	var from, to netip.Addr
	for _, layer := range d.found {
		switch layer {
		case layers.LayerTypeIPv4:
			from, _ = netip.AddrFromSlice(d.ip4.SrcIP)
			to, _ = netip.AddrFromSlice(d.ip4.DstIP)
			g.hops = d.ip4.TTL
		case layers.LayerTypeIPv6:
			from, _ = netip.AddrFromSlice(d.ip6.SrcIP)
			to, _ = netip.AddrFromSlice(d.ip6.DstIP)
			g.hops = d.ip6.HopLimit
		}
	}
	g.from, g.to = netip.AddrPortFrom(from, source), netip.AddrPortFrom(to, destination)
	return g
}
