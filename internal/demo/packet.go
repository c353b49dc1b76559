package demo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// magic begins the payload of every inner packet, so that one in clear gives
// itself away wherever it is found.
var magic = []byte("inner packet of the cxtp demo:")

const (
	ipv4Header = 20
	ipv6Header = 40
	udpHeader  = 8
	hopLimit   = 64
	protoUDP   = 17
)

// payloadSize is the length of the UDP payload: the magic octets and a number.
var payloadSize = len(magic) + 8

// appendPacket appends an inner packet: UDP in IP, with a number.
func appendPacket(dst []byte, from, to netip.AddrPort, number uint64) []byte {
	length := uint16(udpHeader + payloadSize)
	start := len(dst)
	if from.Addr().Is4() {
		dst = append(dst, 0x45, 0)
		dst = binary.BigEndian.AppendUint16(dst, ipv4Header+length)
		dst = append(dst, 0, 0, 0, 0, hopLimit, protoUDP, 0, 0)
	} else {
		dst = append(dst, 0x60, 0, 0, 0)
		dst = binary.BigEndian.AppendUint16(dst, length)
		dst = append(dst, protoUDP, hopLimit)
	}
	dst = append(dst, from.Addr().AsSlice()...)
	dst = append(dst, to.Addr().AsSlice()...)
	if header := dst[start:]; from.Addr().Is4() {
		binary.BigEndian.PutUint16(header[10:], ^sum(0, header))
	}
	udp := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, from.Port())
	dst = binary.BigEndian.AppendUint16(dst, to.Port())
	dst = binary.BigEndian.AppendUint16(dst, length)
	dst = append(dst, 0, 0)
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint64(dst, number)
	check := ^sum(pseudoHeader(from.Addr(), to.Addr(), length), dst[udp:])
	if check == 0 {
		check = 0xffff // 0 would say that there is none
	}
	binary.BigEndian.PutUint16(dst[udp+6:], check)
	return dst
}

// packetNumber finds the number of an inner packet of ours.
func packetNumber(packet []byte) (uint64, bool) {
	i := bytes.Index(packet, magic)
	if i < 0 || len(packet)-i < payloadSize {
		return 0, false
	}
	return binary.BigEndian.Uint64(packet[i+len(magic):]), true
}

// pseudoHeader is the sum over the part of the IP header that UDP's checksum
// covers (RFC 768; RFC 8200 section 8.1).
func pseudoHeader(from, to netip.Addr, length uint16) uint16 {
	s := sum(0, from.AsSlice())
	s = sum(s, to.AsSlice())
	return sum(s, []byte{0, protoUDP, byte(length >> 8), byte(length)})
}

// sum adds octets to a ones' complement sum (RFC 1071).
func sum(start uint16, octets []byte) uint16 {
	total := uint32(start)
	for ; len(octets) >= 2; octets = octets[2:] {
		total += uint32(binary.BigEndian.Uint16(octets))
	}
	if len(octets) == 1 {
		total += uint32(octets[0]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
