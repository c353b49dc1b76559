package cxtp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// wireReader reads one message, or the data of one block, field after field.
// Its first failure sticks: what is read after it is zero.
//
// The same reading serves [Describe]: with a trace, every field is also noted
// there. The methods do not allocate without one.
type wireReader struct {
	in      []byte
	at      int    // the next octet of in
	base    int    // where in[0] is, counted from where errors count
	v4      bool   // the V flag of the message
	flags   byte   // all of them
	message string // what errors call the whole
	section string // the section that specifies the present field
	// A repeated or compound structure ("CDB", 2) whose fields are being read;
	// index 0 is for one that there is only once.
	group string
	index int
	err   *ParseError
	trace *fieldTrace
	outer string // with a trace: the name of the block whose inside is read
}

// end demands that all of in has been read.
func (r *wireReader) end() {
	if left := len(r.in) - r.at; left > 0 {
		r.fail("end", r.at, nil, "%d octets too many", left)
	}
}

// result is the error, if any, of a reading that should have used all of in.
func (r *wireReader) result() error {
	r.end()
	if r.err != nil {
		return r.err
	}
	return nil
}

// name is a field's name in errors and traces.
func (r *wireReader) name(field string) string {
	if r.group != "" && r.index > 0 {
		field = fmt.Sprintf("%s %d %s", r.group, r.index, field)
	} else if r.group != "" {
		field = r.group + " " + field
	}
	return r.outer + field
}

// fail notes what is wrong with the field that starts at octet at.
func (r *wireReader) fail(field string, at int, class error, format string, args ...any) {
	if r.err == nil {
		r.err = &ParseError{r.message, r.name(field), r.base + at, fmt.Sprintf(format, args...), class}
	}
}

// take reads n octets without noting them.
func (r *wireReader) take(field string, n int) []byte {
	if r.err != nil {
		return nil
	}
	if left := len(r.in) - r.at; left < n {
		r.fail(field, r.at, nil, "%d octets left, the field has %d", left, n)
		return nil
	}
	octets := r.in[r.at : r.at+n : r.at+n]
	r.at += n
	return octets
}

func (r *wireReader) u8(field string) (v uint8) {
	if b := r.take(field, 1); b != nil {
		v = b[0]
		r.noteNumber(field, 1, uint64(v))
	}
	return v
}

func (r *wireReader) u16(field string) (v uint16) {
	if b := r.take(field, 2); b != nil {
		v = binary.BigEndian.Uint16(b)
		r.noteNumber(field, 2, uint64(v))
	}
	return v
}

func (r *wireReader) u32(field string) (v uint32) {
	if b := r.take(field, 4); b != nil {
		v = binary.BigEndian.Uint32(b)
		r.noteNumber(field, 4, uint64(v))
	}
	return v
}

func (r *wireReader) u64(field string) (v uint64) {
	if b := r.take(field, 8); b != nil {
		v = binary.BigEndian.Uint64(b)
		r.noteNumber(field, 8, v)
	}
	return v
}

// bits reads the field that mask selects in an octet which octet has just read.
func (r *wireReader) bits(field string, octet, mask byte) byte {
	for mask&1 == 0 {
		octet, mask = octet>>1, mask>>1
	}
	if r.trace != nil && r.err == nil {
		r.trace.note(r, field, 1, strconv.Itoa(int(octet&mask)), false)
	}
	return octet & mask
}

// octets reads n octets that are no secret.
func (r *wireReader) octets(field string, n int) []byte {
	b := r.take(field, n)
	if r.trace != nil && r.err == nil && n > 0 {
		r.trace.note(r, field, n, hex.EncodeToString(b), false)
	}
	return b
}

// text reads n octets that are a name.
func (r *wireReader) text(field string, n int) string {
	s := string(r.take(field, n))
	if r.trace != nil && r.err == nil && n > 0 {
		r.trace.note(r, field, n, strconv.Quote(s), false)
	}
	return s
}

// key reads n octets of key. The key aliases the input.
func (r *wireReader) key(field string, n int) secret.Key {
	b := r.take(field, n)
	if len(b) == 0 {
		return secret.Key{}
	}
	if r.trace != nil {
		r.trace.note(r, field, n, hex.EncodeToString(b), true)
	}
	return secret.New(b)
}

// address reads an address of the family that the V flag says.
func (r *wireReader) address(field string) netip.Addr { return r.addressOf(field, r.v4) }

func (r *wireReader) addressOf(field string, v4 bool) (a netip.Addr) {
	size := 16
	if v4 {
		size = 4
	}
	b := r.take(field, size)
	if b == nil {
		return a
	}
	if a, _ = netip.AddrFromSlice(b); a.Is4In6() {
		r.fail(field, r.at-size, nil, "an IPv4 address in 16 octets: an IPv4 address has 4")
	}
	if r.trace != nil && r.err == nil {
		r.trace.note(r, field, size, a.String(), false)
	}
	return a
}

// endpoint reads what appendEndpoint writes.
func (r *wireReader) endpoint(group string) netip.AddrPort {
	r.group = group
	family := r.family()
	r.u8("Reserved")
	port := r.u16("Port")
	a := r.addressOf("Address", family == familyIPv4)
	r.group = ""
	return netip.AddrPortFrom(a, port)
}

// family reads which addresses follow.
func (r *wireReader) family() uint8 {
	family := r.u8("Family")
	if family != familyIPv4 && family != familyIPv6 {
		r.fail("Family", r.at-1, nil, "%d, it is 4 or 6", family)
	}
	return family
}

// next enters the next of structures that follow one another to the end.
func (r *wireReader) next(group string) bool {
	if r.err != nil || r.at == len(r.in) {
		r.group, r.index = "", 0
		return false
	}
	r.group, r.index = group, r.index+1
	return true
}

// nextOf enters the next of count structures.
func (r *wireReader) nextOf(group string, count int) bool {
	if r.err != nil || r.index == count {
		r.group, r.index = "", 0
		return false
	}
	r.group, r.index = group, r.index+1
	return true
}

// header reads what all messages begin with: the type must be one of kinds;
// flags names those from the second place on, a letter each, and set is the one
// in the second place.
func (r *wireReader) header(section, flags string, kinds ...Type) (kind Type, set bool) {
	r.message, r.section = "message", section
	if len(kinds) > 0 {
		r.message = kinds[0].String()
	}
	octet := r.octet("Vers.")
	if version := r.bits("Vers.", octet, 0xe0); version != Version {
		r.fail("Vers.", 0, ErrVersion, "%d, this is version %d", version, Version)
	}
	kind = named(r, Type(r.bits("Type", octet, 0x1f)))
	r.checkType(kind, kinds)

	octet = r.octet("V")
	r.v4 = r.bits("V", octet, flagFirst) == 1
	r.flags = octet
	reserved := ^byte(flagFirst)
	for i := range flags {
		r.bits(flags[i:i+1], octet, flagSecond>>i)
		reserved &^= flagSecond >> i
	}
	set = flags != "" && r.announced(flagSecond)
	r.bits("Reserved", octet, reserved)
	if length := int(r.u16("Length")); length != len(r.in) {
		r.fail("Length", 2, nil, "%d octets announced, %d are there", length, len(r.in))
	}
	return kind, set
}

// announced reports whether the header has a flag.
func (r *wireReader) announced(flag byte) bool { return r.flags&flag != 0 }

// checkType accepts one of kinds; without any, none is known at all.
func (r *wireReader) checkType(kind Type, kinds []Type) {
	for _, k := range kinds {
		if k == kind {
			r.message = kind.String()
			return
		}
	}
	if len(kinds) == 0 {
		r.fail("Type", 0, ErrUnknownType, "%d is not known", uint8(kind))
	} else {
		r.fail("Type", 0, nil, "%d, it should be %d", uint8(kind), uint8(kinds[0]))
	}
}

// octet reads an octet whose bits are fields.
func (r *wireReader) octet(field string) byte {
	if b := r.take(field, 1); b != nil {
		return b[0]
	}
	return 0
}

// statuses reads to the end of the message.
func (r *wireReader) statuses(list []ContextStatus) []ContextStatus {
	for r.next("Status") {
		var s ContextStatus
		s.FPT = named(r, FPT(r.u16("FPT")))
		s.Status = named(r, Status(r.u8("Status code")))
		r.u8("Reserved")
		list = append(list, s)
	}
	return list
}

// usualBlocks is what a session of one pair of SAs needs: a control block and
// four others.
const usualBlocks = 5

// blocks reads to the end of the message.
func (r *wireReader) blocks(list []CDB, requests bool) []CDB {
	section := r.section
	r.section = "RFC 4067 section 2.4"
	for r.next("CDB") {
		if cap(list) == 0 {
			list = make([]CDB, 0, usualBlocks)
		}
		if b := r.block(requests); r.err == nil {
			list = append(list, b)
		}
	}
	r.section = section
	return list
}

// block reads one context data block, whose data alias the input.
func (r *wireReader) block(request bool) CDB {
	start := r.at
	b := CDB{FPT: named(r, FPT(r.u16("FPT")))}
	size := 8 * int(r.u8("Length"))
	octet := r.octet("P")
	b.HasPresence = r.bits("P", octet, flagFirst) == 1
	r.bits("Reserved", octet, ^byte(flagFirst))
	switch left := len(r.in) - start; {
	case size > left:
		r.fail("Length", start+2, nil, "%d octets announced, %d left", size, left)
	case size == 0 && b.HasPresence:
		r.fail("Length", start+2, nil, "0 words, but P announces a presence vector")
	case size == 0 && !request:
		r.fail("Length", start+2, nil, "0 words, which only a request may have")
	}
	if r.err != nil || size == 0 {
		return b
	}
	if b.HasPresence {
		b.Presence = inHex(r, r.u32("Presence Vector"))
	}
	at := r.at
	b.Data = r.take("Data", start+size-at)
	if r.trace != nil {
		r.trace.data(r, b, start)
	}
	return b
}

// blockProfile is what the data of a context type of this package are read by.
type blockProfile struct {
	message  string
	section  string
	fpt      FPT
	presence bool // there is a presence vector
}

// enter begins to read the data of a block; until then base is where the block
// starts.
func (r *wireReader) enter(p blockProfile, b CDB) {
	header := b.unpadded() - len(b.Data)
	r.in, r.base, r.message, r.section = b.Data, r.base+header, p.message, p.section
	if b.FPT != p.fpt {
		r.fail("FPT", -header, nil, "%#04x, it should be %#04x", uint16(b.FPT), uint16(p.fpt))
	}
	if b.HasPresence != p.presence {
		r.fail("P", 3-header, nil, "a presence vector: %t, it should be %t", b.HasPresence, p.presence)
	}
}

// padding reads the zeros that fill the block up.
func (r *wireReader) padding() {
	n := len(r.in) - r.at
	if r.err != nil || n > 7 {
		return // too many octets: end says so
	}
	for i, octet := range r.octets("Padding", n) {
		if octet != 0 {
			r.fail("Padding", r.at-n+i, nil, "%#02x, padding is zero", octet)
		}
	}
}

func (r *wireReader) noteNumber(field string, size int, v uint64) {
	if r.trace != nil {
		r.trace.note(r, field, size, strconv.FormatUint(v, 10), false)
	}
}

// named adds its name to the number that was read last.
func named[T interface {
	~uint8 | ~uint16
	fmt.Stringer
}](r *wireReader, v T) T {
	if r.trace != nil && r.err == nil {
		r.trace.last().Value = fmt.Sprintf("%#x (%s)", uint64(v), v.String())
	}
	return v
}

// inHex shows the number that was read last with all its digits.
func inHex[T ~uint32 | ~uint64](r *wireReader, v T) T {
	if r.trace != nil && r.err == nil {
		field := r.trace.last()
		field.Value = fmt.Sprintf("0x%0*x", 2*field.Length, uint64(v))
	}
	return v
}
