package soft

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/cxtp/cxtp/ipsecctx"
)

// errPacket says that octets are not one whole IP packet.
var errPacket = errors.New("not an IP packet")

// Next-layer protocols that selectors look into (RFC 4301 section 4.4.1.1).
const (
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoDCCP     = 33
	protoICMPv6   = 58
	protoSCTP     = 132
	protoMobility = 135
	protoUDPLite  = 136
)

// IPv6 extension headers that stand before the next-layer protocol.
const (
	extHopByHop     = 0
	extRouting      = 43
	extFragment     = 44
	extDestinations = 60
)

// flow is what the SPD looks at in an inner packet. Fields that the packet does
// not show, because it is a fragment or encrypted, are opaque.
type flow struct {
	src, dst    netip.Addr
	dscp        uint8
	protocol    uint8
	hasProtocol bool // protocol is the next layer's; else opaque
	hasFields   bool // the fields below are there, where the protocol has them; else opaque

	srcPort, dstPort uint16 // of protocols with ports
	icmpType         uint8  // of ICMP
	icmpCode         uint8
	mhType           uint8 // of the Mobility Header
}

// tunnelHeader is the next header value that announces the packet in a tunnel.
func (f *flow) tunnelHeader() uint8 {
	if f.src.Is4() {
		return protoIPv4
	}
	return protoIPv6
}

// parse reads the headers of an IP packet at the start of b and returns the
// packet's length in octets, which may be less than that of b.
func parse(b []byte) (flow, int, error) {
	if len(b) == 0 {
		return flow{}, 0, errPacket
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	}
	return flow{}, 0, errPacket
}

func parse4(b []byte) (flow, int, error) {
	if len(b) < 20 {
		return flow{}, 0, errPacket
	}
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total < header || total > len(b) {
		return flow{}, 0, errPacket
	}
	f := flow{
		src:         netip.AddrFrom4([4]byte(b[12:16])),
		dst:         netip.AddrFrom4([4]byte(b[16:20])),
		dscp:        b[1] >> 2,
		protocol:    b[9],
		hasProtocol: true,
	}
	if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 { // else not the first fragment
		f.fields(b[header:total])
	}
	return f, total, nil
}

func parse6(b []byte) (flow, int, error) {
	if len(b) < 40 {
		return flow{}, 0, errPacket
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return flow{}, 0, errPacket
	}
	f := flow{
		src:      netip.AddrFrom16([16]byte(b[8:24])),
		dst:      netip.AddrFrom16([16]byte(b[24:40])),
		dscp:     uint8(binary.BigEndian.Uint16(b) >> 6 & 0x3f),
		protocol: b[6],
	}
	rest, first := b[40:total], true
	for {
		switch f.protocol {
		case extHopByHop, extRouting, extDestinations, extFragment:
		default:
			f.hasProtocol = true
			if first {
				f.fields(rest)
			}
			return f, total, nil
		}
		if !first { // a later fragment shows no header but its own
			return f, total, nil
		}
		if len(rest) < 8 {
			return flow{}, 0, errPacket
		}
		size := 8
		if f.protocol == extFragment {
			first = binary.BigEndian.Uint16(rest[2:])&0xfff8 == 0
		} else {
			size += 8 * int(rest[1])
		}
		if size > len(rest) {
			return flow{}, 0, errPacket
		}
		f.protocol, rest = rest[0], rest[size:]
	}
}

// fields reads the next layer's selector fields, as far as they are there.
func (f *flow) fields(b []byte) {
	switch {
	case hasPorts(f.protocol):
		if f.hasFields = len(b) >= 4; f.hasFields {
			f.srcPort, f.dstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		}
	case f.protocol == protoICMP || f.protocol == protoICMPv6:
		if f.hasFields = len(b) >= 2; f.hasFields {
			f.icmpType, f.icmpCode = b[0], b[1]
		}
	case f.protocol == protoMobility:
		if f.hasFields = len(b) >= 3; f.hasFields {
			f.mhType = b[2]
		}
	}
}

func hasPorts(protocol uint8) bool {
	switch protocol {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		return true
	}
	return false
}

// carries reports whether an SA may carry a packet of the flow. The packet goes
// in the SA's direction, so of an outbound one the source is local.
func carries(sa *ipsecctx.SA, f *flow) bool {
	local, remote, localPort, remotePort := f.src, f.dst, f.srcPort, f.dstPort
	if sa.Direction == ipsecctx.Inbound {
		local, remote, localPort, remotePort = remote, local, remotePort, localPort
	}
	for i := range sa.Selectors {
		s := &sa.Selectors[i]
		if within(s.Local, local) && within(s.Remote, remote) && matchNext(s, f, localPort, remotePort) {
			return true
		}
	}
	return false
}

func within(ranges []ipsecctx.Range, a netip.Addr) bool {
	for _, r := range ranges {
		if r.From.BitLen() == a.BitLen() && r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0 {
			return true
		}
	}
	return len(ranges) == 0
}

// matchNext compares the next-layer protocol and its fields. ANY takes what is
// opaque too; OPAQUE takes nothing else (RFC 4301 section 4.4.1.1).
func matchNext(s *ipsecctx.Selector, f *flow, localPort, remotePort uint16) bool {
	switch s.Protocol.Match {
	case ipsecctx.MatchValue:
		if !f.hasProtocol || f.protocol != s.Protocol.Number {
			return false
		}
	case ipsecctx.MatchOpaque:
		if f.hasProtocol {
			return false
		}
	}
	switch {
	case s.Protocol.Match == ipsecctx.MatchValue && (f.protocol == protoICMP || f.protocol == protoICMPv6):
		return matchICMP(&s.ICMP, f)
	case s.Protocol.Match == ipsecctx.MatchValue && f.protocol == protoMobility:
		return matchPort(s.MobilityHeader, uint16(f.mhType), f.hasFields)
	}
	there := f.hasFields && hasPorts(f.protocol)
	return matchPort(s.LocalPort, localPort, there) && matchPort(s.RemotePort, remotePort, there)
}

func matchPort(want ipsecctx.Ports, have uint16, there bool) bool {
	switch want {
	case ipsecctx.AnyPort:
		return true
	case ipsecctx.OpaquePort:
		return !there
	}
	return there && want.From <= have && have <= want.To
}

// matchICMP compares type and code as one number of 16 bits.
func matchICMP(want *ipsecctx.ICMPRange, f *flow) bool {
	switch want.Match {
	case ipsecctx.MatchAny:
		return true
	case ipsecctx.MatchOpaque:
		return !f.hasFields
	}
	have := uint16(f.icmpType)<<8 | uint16(f.icmpCode)
	return f.hasFields &&
		uint16(want.TypeFrom)<<8|uint16(want.CodeFrom) <= have && have <= uint16(want.TypeTo)<<8|uint16(want.CodeTo)
}

// hop takes one from the hop limit of an inner packet, whose headers are known
// to be whole. It reports false, and changes nothing, when the packet may go no
// further (RFC 4301 section 5.1.2 note 2).
func hop(packet []byte) bool {
	if packet[0]>>4 == 6 {
		if packet[7] <= 1 {
			return false
		}
		packet[7]--
		return true
	}
	if packet[8] <= 1 {
		return false
	}
	packet[8]--
	// The word with the TTL in its upper octet became 0x0100 less, so the
	// checksum becomes that much more, in ones' complement (RFC 1624).
	sum := uint32(binary.BigEndian.Uint16(packet[10:])) + 0x0100
	if sum >= 0xffff {
		sum++
	}
	binary.BigEndian.PutUint16(packet[10:], uint16(sum))
	return true
}
