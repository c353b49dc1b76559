package icmp

import (
	"fmt"
	"net/netip"
)

// Sizes of IP headers, in octets.
const (
	headerIPv4 = 20 // without options
	headerIPv6 = 40
)

// FromIP takes the IP header off a whole packet, as vectors have them and captures;
// sockets do it themselves. The packet's octets are those behind the header, which
// has the size returned. Extension headers of IPv6 are not looked behind: what has
// one is [ErrForeign], as is any other protocol.
func FromIP(octets []byte) (p Packet, header int, err error) {
	fail := func(err error, format string, args ...any) (Packet, int, error) {
		return Packet{}, 0, &Error{"IP header", -1, fmt.Sprintf(format, args...), err}
	}
	if len(octets) == 0 {
		return fail(nil, "there is none")
	}
	var protocol, want byte
	switch octets[0] >> 4 {
	case 4:
		header = max(headerIPv4, 4*int(octets[0]&0x0f))
		if len(octets) < header {
			return fail(nil, "%d octets, it has %d", len(octets), header)
		}
		p = Packet{netip.AddrFrom4([4]byte(octets[12:16])), netip.AddrFrom4([4]byte(octets[16:20])), octets[8], octets[header:]}
		protocol, want = octets[9], ProtocolIPv4
	case 6:
		header = headerIPv6
		if len(octets) < header {
			return fail(nil, "%d octets, it has %d", len(octets), header)
		}
		p = Packet{netip.AddrFrom16([16]byte(octets[8:24])), netip.AddrFrom16([16]byte(octets[24:40])), octets[7], octets[header:]}
		protocol, want = octets[6], ProtocolIPv6
	default:
		return fail(nil, "version %d", octets[0]>>4)
	}
	if protocol != want {
		return fail(ErrForeign, "protocol %d, ICMP is %d here", protocol, want)
	}
	return p, header, nil
}
