package soft

import (
	"encoding/binary"
	"errors"

	"github.com/cxtp/cxtp/ipsecctx"
)

const (
	protoIPv4 = 4  // next header of an IPv4 packet in a tunnel
	protoIPv6 = 41 // next header of an IPv6 packet in a tunnel
	protoNone = 59 // next header of a dummy packet, RFC 4303 section 2.6

	// headroom and tailroom are what encapsulate may need around a payload:
	// header and IV before it; padding, the two octets of trailer and the ICV
	// after it.
	headroom = headerLen + maxIV
	tailroom = maxAlign + 2 + maxICV
)

// errMalformed says that a packet does not have the form that its transform, or
// RFC 4303 section 2, gives it.
var errMalformed = errors.New("malformed ESP packet")

// encapsulate makes the ESP packet of the payload buf[start:end], in place, and
// returns it as a part of buf. There must be headroom before and tailroom after
// the payload. The padding is the shortest that aligns, with the octets that
// RFC 4303 section 2.4 gives by default.
func encapsulate(s suite, buf []byte, start, end int, spi uint32, seq uint64, next uint8) []byte {
	l := s.layout()
	begin := start - l.iv - headerLen
	s.makeIV(buf[start-l.iv:start], seq)
	return finish(s, buf, begin, start, end, spi, seq, next)
}

// finish is encapsulate for a packet that has its IV already.
func finish(s suite, buf []byte, begin, start, end int, spi uint32, seq uint64, next uint8) []byte {
	l := s.layout()
	binary.BigEndian.PutUint32(buf[begin:], spi)
	binary.BigEndian.PutUint32(buf[begin+4:], uint32(seq))
	padding := l.protected(end-start) - (end - start) - 2
	for i := range padding {
		buf[end+i] = byte(i + 1)
	}
	buf[end+padding] = byte(padding)
	buf[end+padding+1] = next
	packet := buf[begin : end+padding+2+l.icv]
	s.seal(packet, seq)
	return packet
}

// protected is the length of the encrypted part of a packet with a payload of n
// octets: the payload, the padding that aligns, and the trailer's two octets.
func (l layout) protected(n int) int { return (n + 2 + l.align - 1) / l.align * l.align }

// wellFormed reports whether an ESP packet has a length that its transform can
// produce.
func wellFormed(l layout, packet []byte) bool {
	body := len(packet) - headerLen - l.iv - l.icv
	return body >= l.align && body%l.align == 0
}

// payload finds the payload of an opened ESP packet and its next header. It
// checks the padding as RFC 4303 section 2.4 asks.
func payload(l layout, packet []byte) ([]byte, uint8, error) {
	body := packet[headerLen+l.iv : len(packet)-l.icv]
	padding, next := int(body[len(body)-2]), body[len(body)-1]
	end := len(body) - 2 - padding
	if end < 0 {
		return nil, 0, errMalformed
	}
	for i, b := range body[end : len(body)-2] {
		if b != byte(i+1) {
			return nil, 0, errMalformed
		}
	}
	return body[:end], next, nil
}

// tunnelled checks that a payload is the IP packet that the next header
// announces, and returns it without the traffic flow confidentiality padding
// that may follow (RFC 4303 section 2.7), and what the SPD needs to know of it.
func tunnelled(body []byte, next uint8) ([]byte, flow, error) {
	f, n, err := parse(body)
	if err != nil || next != f.tunnelHeader() {
		return nil, flow{}, errMalformed
	}
	return body[:n], f, nil
}

// blind is how far behind the highest sequence number a packet may be, for the
// inference of the high-order half, where there is no window to say so.
const blind = 1 << 31

// extend infers the 64-bit sequence number of a packet from the low-order half
// on the wire, as RFC 4303 appendix A2.2 describes. The window's size is in
// packets. There is nothing before number 0, so in the first subspace a low half
// that would belong to one before it is taken as a jump forward.
func extend(highest uint64, window, low uint32) uint64 {
	if window == 0 {
		window = blind
	}
	high := highest >> 32
	bottom := uint32(highest) - window + 1
	if uint32(highest) >= window-1 { // case A: the window lies in one subspace
		if low < bottom {
			high++
		}
	} else if low >= bottom && high > 0 { // case B: it spans two
		high--
	}
	return high<<32 | uint64(low)
}

// maxSequence is the last sequence number that an SA may use.
func maxSequence(sa *ipsecctx.SA) uint64 {
	if sa.ESN {
		return 1<<64 - 1
	}
	return 1<<32 - 1
}
