package ha

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// writer writes one message. Its first failure sticks. Methods named may leave
// out an attribute whose value is zero.
type writer struct {
	out     []byte
	base    int // where the message starts in out
	version Version
	machine byteOrder
	kind    Type
	err     error
}

// room makes room for n more octets. What it leaves behind when it has to move
// may hold keys and is wiped.
func (w *writer) room(n int) []byte {
	at := len(w.out)
	if cap(w.out)-at < n {
		grown := make([]byte, at, 2*cap(w.out)+n)
		copy(grown, w.out)
		clear(w.out[w.base:])
		w.out = grown
	}
	w.out = w.out[:at+n]
	return w.out[at:]
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// wrong blames the value of an attribute.
func (w *writer) wrong(a Attribute, format string, args ...any) {
	w.fail(&ValueError{w.kind, a, fmt.Sprintf(format, args...)})
}

// cannot blames the version.
func (w *writer) cannot(format string, args ...any) {
	w.fail(&UnsupportedError{w.version, w.kind, fmt.Sprintf(format, args...)})
}

// attribute begins an attribute with a value of n octets, and gives the room for
// those.
func (w *writer) attribute(a Attribute, n int) []byte {
	octet, ok := a.octet(w.version)
	if !ok {
		w.cannot("%s, which is for several key exchanges (RFC 9370)", a)
	}
	b := w.room(1 + n)
	b[0] = octet
	return b[1:]
}

func (w *writer) u8(a Attribute, v uint8)   { w.attribute(a, 1)[0] = v }
func (w *writer) u16(a Attribute, v uint16) { binary.BigEndian.PutUint16(w.attribute(a, 2), v) }
func (w *writer) u32(a Attribute, v uint32) { binary.BigEndian.PutUint32(w.attribute(a, 4), v) }

// flags writes a public set of conditions or extensions, and the private one
// where the version has it.
func (w *writer) flags(a Attribute, public *uint32, private *Private) {
	if public != nil {
		if w.version >= Version5 && *public&privateMark != 0 {
			w.wrong(a, "has bit 31, by which version 5 tells private sets")
		}
		w.u32(a, *public)
	}
	switch {
	case private == nil:
	case *private&privateMark != 0:
		w.wrong(a, "has bit 31 in the private set: there are bits 0 to 30")
	case w.version >= Version5:
		w.u32(a, uint32(*private)|privateMark)
	case *private != 0:
		w.cannot("private %s (%v)", a, *private)
	}
}

func (w *writer) flag(a Attribute, v bool) { w.u8(a, octetOf(v)) }

func octetOf(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

func (w *writer) mayU16(a Attribute, v uint16) {
	if v != 0 {
		w.u16(a, v)
	}
}

func (w *writer) said(a Attribute, id SAID) {
	if id.IKEVersion != 1 && id.IKEVersion != 2 {
		w.wrong(a, "is of IKE version %d, it is 1 or 2", id.IKEVersion)
	}
	b := w.attribute(a, 18)
	b[0] = id.IKEVersion
	binary.BigEndian.PutUint64(b[1:], id.SPIi)
	binary.BigEndian.PutUint64(b[9:], id.SPIr)
	b[17] = octetOf(id.Initiator)
}

func (w *writer) mayIdentity(a Attribute, id Identity) {
	switch {
	case id.Type == 0 && len(id.Data) == 0:
		return
	case id.Type == 0:
		w.wrong(a, "is of type 0, which stands for any")
	case len(id.Data) > 0xff:
		w.wrong(a, "has %d octets, charon cuts the length to 255", len(id.Data))
	}
	b := w.attribute(a, 2+len(id.Data))
	b[0], b[1] = id.Type, uint8(len(id.Data))
	copy(b[2:], id.Data)
}

func (w *writer) mayHost(a Attribute, host netip.AddrPort) {
	if host != (netip.AddrPort{}) {
		w.host(a, host)
	}
}

func (w *writer) host(a Attribute, host netip.AddrPort) {
	addr := host.Addr()
	if !addr.IsValid() || addr.Zone() != "" {
		w.wrong(a, "is %q: an address without zone is wanted", addr)
		return
	}
	octets := addr.AsSlice()
	b := w.attribute(a, 3+len(octets))
	binary.BigEndian.PutUint16(b, host.Port())
	b[2] = familyIPv6
	if addr.Is4() {
		b[2] = familyIPv4
	}
	copy(b[3:], octets)
}

func (w *writer) text(a Attribute, s string) {
	if s == "" || strings.Contains(s, "\x00") {
		w.wrong(a, "is %q: a name without NUL is wanted", s)
	}
	copy(w.attribute(a, len(s)+1), s+"\x00")
}

func (w *writer) chunk(a Attribute, b []byte) {
	if len(b) == 0 || len(b) > 0xffff {
		w.wrong(a, "has %d octets, there are 1 to 65535", len(b))
		return
	}
	room := w.attribute(a, 2+len(b))
	binary.BigEndian.PutUint16(room, uint16(len(b)))
	copy(room[2:], b)
}

func (w *writer) mayChunk(a Attribute, b []byte) {
	if len(b) > 0 {
		w.chunk(a, b)
	}
}

func (w *writer) key(a Attribute, k secret.Key)    { w.chunk(a, k.Bytes()) }
func (w *writer) mayKey(a Attribute, k secret.Key) { w.mayChunk(a, k.Bytes()) }

func (w *writer) mayKeyExchanges(list []uint16) {
	if len(list) == 0 {
		return
	}
	if len(list) > maxAddKEs {
		w.wrong(AttrAlgAddKEs, "has %d methods, there are at most %d", len(list), maxAddKEs)
		return
	}
	b := w.attribute(AttrAlgAddKEs, 2+2*len(list))
	binary.BigEndian.PutUint16(b, uint16(2*len(list)))
	for i, method := range list {
		binary.BigEndian.PutUint16(b[2+2*i:], method)
	}
}

func (w *writer) selector(a Attribute, s Selector) {
	from, to := s.From.AsSlice(), s.To.AsSlice()
	if len(from) == 0 || len(from) != len(to) || s.From.Zone()+s.To.Zone() != "" {
		w.wrong(a, "is from %s to %s: two addresses of one family, without zone, are wanted", s.From, s.To)
		return
	}
	b := w.attribute(a, 7+2*len(from))
	b[0] = selectorIPv6
	if len(from) == 4 {
		b[0] = selectorIPv4
	}
	b[1] = s.Protocol
	binary.BigEndian.PutUint16(b[2:], s.FromPort)
	binary.BigEndian.PutUint16(b[4:], s.ToPort)
	b[6] = octetOf(s.Dynamic)
	copy(b[7:], from)
	copy(b[7+len(from):], to)
}
