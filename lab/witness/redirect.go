package witness

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Select returns the frames with a protected packet that the function wants.
func Select(frames []Frame, want func(Frame, Packet) bool) []Frame {
	var selected []Frame
	for _, f := range frames {
		if p, ok := Decode(f.Data); ok && p.Protected && want(f, p) {
			selected = append(selected, f)
		}
	}
	return selected
}

// Offsets in the headers.
const (
	ethernetSize  = 14
	ipv6Size      = 40
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	udpSum        = 6
)

// Redirect returns a copy of a frame for another destination: its Ethernet and
// its outermost IP address, with the checksums that cover that.
func Redirect(frame []byte, to netip.Addr, hardware net.HardwareAddr) ([]byte, error) {
	p, ok := Decode(frame)
	if !ok {
		return nil, fmt.Errorf("failed to redirect a frame of %d octets that holds no IP packet", len(frame))
	}
	if p.Dst.Is4() != to.Is4() {
		return nil, fmt.Errorf("failed to redirect a packet for %v to %v, of another family", p.Dst, to)
	}
	frame = slices.Clone(frame)
	copy(frame, hardware)
	ip := frame[ethernetSize:]
	var address, payload []byte
	if to.Is4() {
		address, payload = ip[16:20], ip[4*int(ip[0]&15):]
		adjust(ip[10:12], address, to.AsSlice())
	} else {
		address, payload = ip[24:40], ip[ipv6Size:]
	}
	// A UDP checksum of 0 says that there is none.
	if p.InUDP && binary.BigEndian.Uint16(payload[udpSum:]) != 0 {
		adjust(payload[udpSum:udpSum+2], address, to.AsSlice())
	}
	copy(address, to.AsSlice())
	return frame, nil
}

// adjust corrects an Internet checksum for octets that change (RFC 1624).
func adjust(sum, before, after []byte) {
	total := uint32(^binary.BigEndian.Uint16(sum))
	for i := 0; i < len(before); i += 2 {
		total += uint32(^binary.BigEndian.Uint16(before[i:])) + uint32(binary.BigEndian.Uint16(after[i:]))
	}
	for total>>16 != 0 {
		total = total&0xffff + total>>16
	}
	binary.BigEndian.PutUint16(sum, ^uint16(total))
}
