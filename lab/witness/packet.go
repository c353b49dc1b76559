// Package witness looks at what was on the wire, and so says, without asking
// any gateway, whether the laws of a move were kept: that no sequence number of
// an SA was used twice, and that no packet of a protected selector passed in
// clear.
package witness

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Frame is an Ethernet frame as it was captured.
type Frame struct {
	At   time.Time
	From string // the node on whose link it was
	Out  bool   // the node sent it; else it was on its way to the node
	Data []byte // with the Ethernet header
}

// Protocol numbers of IP.
const (
	protocolESP  = 50
	protocolAH   = 51
	protocolUDP  = 17
	protocolTCP  = 6
	protocolSCTP = 132
)

// Ports that IKE and ESP in UDP use (RFC 3948, RFC 7296).
const (
	portIKE = 500
	portNAT = 4500
)

// Packet is what a frame carried.
type Packet struct {
	Src, Dst         netip.Addr // of the outermost IP header
	Protocol         uint8      // of what follows it, past IPv6's extension headers
	SrcPort, DstPort uint16     // where the protocol has ports and this is no later fragment

	// Of ESP, in UDP or not, and of AH:
	Protected bool
	SPI       uint32
	Sequence  uint32 // the low 32 bits of it
	Body      []byte // what follows the sequence number: in ESP the IV first
	InUDP     bool
	IKE       bool // UDP that is IKE's, or a keepalive of its NAT traversal
}

// Decode reads a frame; it reports false for what is not IP, or is not whole.
func Decode(frame []byte) (Packet, bool) {
	parsed := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	var p Packet
	var payload []byte
	later := false // a later fragment: what follows the IP header is not a header
	switch ip := parsed.NetworkLayer().(type) {
	case *layers.IPv4:
		p.Src, _ = netip.AddrFromSlice(ip.SrcIP.To4())
		p.Dst, _ = netip.AddrFromSlice(ip.DstIP.To4())
		p.Protocol, payload, later = uint8(ip.Protocol), ip.Payload, ip.FragOffset > 0
	case *layers.IPv6:
		p.Src, _ = netip.AddrFromSlice(ip.SrcIP)
		p.Dst, _ = netip.AddrFromSlice(ip.DstIP)
		p.Protocol, payload, later = skipExtensions(uint8(ip.NextHeader), ip.Payload)
	default:
		return Packet{}, false
	}
	if !later {
		p.transport(payload)
	}
	return p, true
}

// IPv6 extension headers (RFC 8200 section 4).
const (
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	destination = 60
)

// skipExtensions goes past the extension headers of an IPv6 packet, and
// reports whether what is left belongs to a later fragment.
func skipExtensions(next uint8, rest []byte) (uint8, []byte, bool) {
	later := false
	for next == hopByHop || next == routing || next == fragment || next == destination {
		if len(rest) < 8 {
			return next, nil, later
		}
		length := 8 + 8*int(rest[1])
		if next == fragment {
			length = 8
			later = later || binary.BigEndian.Uint16(rest[2:])>>3 > 0
		}
		if length > len(rest) {
			return next, nil, later
		}
		next, rest = rest[0], rest[length:]
	}
	return next, rest, later
}

// transport reads what follows the IP headers.
func (p *Packet) transport(b []byte) {
	switch p.Protocol {
	case protocolESP:
		p.esp(b)
	case protocolAH:
		p.ah(b)
	case protocolTCP, protocolSCTP, protocolUDP:
		if len(b) < 8 {
			return
		}
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if p.Protocol == protocolUDP {
			p.udp(b[8:])
		}
	}
}

// udp tells ESP and IKE from other datagrams (RFC 3948 section 2).
func (p *Packet) udp(b []byte) {
	switch {
	case p.SrcPort == portIKE || p.DstPort == portIKE:
		p.IKE = true
	case p.SrcPort != portNAT && p.DstPort != portNAT:
	case len(b) < 8 || binary.BigEndian.Uint32(b) == 0:
		p.IKE = true // a keepalive, or behind the marker that is no SPI
	default:
		p.InUDP = true
		p.esp(b)
	}
}

func (p *Packet) esp(b []byte) {
	if len(b) >= 8 {
		p.Protected, p.SPI, p.Sequence, p.Body = true, binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), b[8:]
	}
}

func (p *Packet) ah(b []byte) {
	if len(b) >= 12 {
		p.Protected, p.SPI, p.Sequence, p.Body = true, binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[12:]
	}
}
