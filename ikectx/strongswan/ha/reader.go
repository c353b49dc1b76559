package ha

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// byteOrder reads and writes numbers as charon's machine has them in memory.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// swap undoes or does what charon's second byte swap makes of a number that it
// keeps in network byte order. It is its own inverse, and nothing at all on a
// big-endian machine.
func swap[N uint16 | uint32](machine byteOrder, n N) N {
	switch v := any(n).(type) {
	case uint16:
		return N(machine.Uint16(binary.BigEndian.AppendUint16(nil, v)))
	case uint32:
		return N(machine.Uint32(binary.BigEndian.AppendUint32(nil, v)))
	}
	return n
}

// Address families as Linux numbers them.
const (
	familyIPv4 = 2
	familyIPv6 = 10
)

// Traffic selector types, RFC 7296 section 3.13.1.
const (
	selectorIPv4 = 7
	selectorIPv6 = 8
)

// maxAddKEs is how many further key exchanges RFC 9370 has.
const maxAddKEs = 7

// reader reads one message, attribute after attribute. Its first failure sticks:
// what is read after it is zero.
type reader struct {
	in      []byte
	at      int // the next octet of in
	version Version
	machine byteOrder
	kind    Type

	attribute Attribute // being read, 0 if its number is not known
	start     int       // where it starts
	private   int       // 1 if it is a private set of version 5, else 0
	seen      [2]uint64 // attributes so far, private sets in the second word
	err       *ParseError
}

// next enters the next attribute.
func (r *reader) next() bool {
	if r.err != nil || r.at == len(r.in) {
		return false
	}
	r.start, r.private = r.at, 0
	r.attribute = r.version.attribute(r.in[r.at])
	r.at++
	return true
}

// note records that the attribute is there, and refuses one too many.
func (r *reader) note() {
	bit := uint64(1) << r.attribute
	if r.seen[r.private]&bit != 0 && !r.attribute.repeats() {
		r.fail("is there twice")
	}
	r.seen[r.private] |= bit
}

func (r *reader) saw(a Attribute) bool { return r.seen[0]>>a&1 != 0 }

// fail blames the current attribute.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &ParseError{Type: r.kind, Attribute: r.attribute, Offset: r.start, Reason: fmt.Sprintf(format, args...)}
	}
}

// take gives the next n octets, or nil where so many are not left.
func (r *reader) take(n int) []byte {
	if left := len(r.in) - r.at; left < n {
		r.fail("%d octets left, %d wanted", left, n)
	}
	if r.err != nil {
		return nil
	}
	b := r.in[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

func (r *reader) u8() (v uint8) {
	if b := r.take(1); b != nil {
		v = b[0]
	}
	return v
}

func (r *reader) u16() (v uint16) {
	if b := r.take(2); b != nil {
		v = binary.BigEndian.Uint16(b)
	}
	return v
}

func (r *reader) u32() (v uint32) {
	if b := r.take(4); b != nil {
		v = binary.BigEndian.Uint32(b)
	}
	return v
}

// flags reads a set of conditions or extensions, of which version 5 has a public
// and a private one.
func (r *reader) flags() (set uint32) {
	set = r.u32()
	if r.version >= Version5 && set&privateMark != 0 {
		r.private = 1
		set &^= privateMark
	}
	return set
}

func (r *reader) flag() bool {
	v := r.u8()
	if v > 1 {
		r.fail("%d, it is 0 or 1", v)
	}
	return v == 1
}

func (r *reader) esn() bool {
	v := r.u16()
	if v > 1 {
		r.fail("transform %d of Extended Sequence Numbers, they are 0 and 1", v)
	}
	return v == 1
}

func (r *reader) ikeVersion() uint8 {
	v := r.u8()
	if r.err == nil && v != 1 && v != 2 {
		r.fail("IKE version %d, it is 1 or 2", v)
	}
	return v
}

func (r *reader) said() SAID {
	id := SAID{IKEVersion: r.ikeVersion()}
	if b := r.take(16); b != nil {
		id.SPIi = binary.BigEndian.Uint64(b)
		id.SPIr = binary.BigEndian.Uint64(b[8:])
	}
	id.Initiator = r.flag()
	return id
}

func (r *reader) identity() Identity {
	id := Identity{Type: r.u8()}
	id.Data = bytes.Clone(r.take(int(r.u8())))
	if id.Type == 0 {
		r.fail("an identity of type 0, which stands for any")
	}
	return id
}

func (r *reader) host() netip.AddrPort {
	port := r.u16()
	size := 0
	switch family := r.u8(); family {
	case familyIPv4:
		size = 4
	case familyIPv6:
		size = 16
	default:
		r.fail("address family %d, Linux has 2 and 10", family)
	}
	return netip.AddrPortFrom(r.address(size), port)
}

func (r *reader) address(size int) netip.Addr {
	a, _ := netip.AddrFromSlice(r.take(size))
	return a
}

func (r *reader) text() string {
	rest := r.in[r.at:]
	end := bytes.IndexByte(rest, 0)
	switch {
	case end < 0:
		r.fail("a string without an end")
		return ""
	case end == 0:
		r.fail("is empty")
	}
	r.at += end + 1
	return string(rest[:end])
}

// chunk gives octets with a length before them. They alias the input.
func (r *reader) chunk() []byte {
	b := r.take(int(r.u16()))
	if len(b) == 0 {
		r.fail("is empty")
	}
	return b
}

func (r *reader) octets() []byte  { return bytes.Clone(r.chunk()) }
func (r *reader) key() secret.Key { return secret.Clone(r.chunk()) }

func (r *reader) keyExchanges() []uint16 {
	b := r.chunk()
	if len(b)%2 != 0 || len(b) > 2*maxAddKEs {
		r.fail("%d octets, they are two each for at most %d", len(b), maxAddKEs)
		return nil
	}
	list := make([]uint16, len(b)/2)
	for i := range list {
		list[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return list
}

func (r *reader) selector() (s Selector) {
	kind := r.u8()
	s.Protocol, s.FromPort, s.ToPort, s.Dynamic = r.u8(), r.u16(), r.u16(), r.flag()
	size := 0
	switch kind {
	case selectorIPv4:
		size = 4
	case selectorIPv6:
		size = 16
	default:
		r.fail("traffic selector of type %d, charon reads 7 and 8", kind)
	}
	s.From, s.To = r.address(size), r.address(size)
	return s
}
