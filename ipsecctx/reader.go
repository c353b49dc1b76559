package ipsecctx

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
)

// reader takes one block's data apart, field after field in the order of the
// layout. Its first failure sticks and makes every later field absent, so that
// the error is looked at once, at the end.
type reader struct {
	layout   *layout
	data     []byte
	at       int
	presence uint32
	field    int       // being read
	reached  uint32    // presence bits of the fields that the reader came to
	starts   [32]int16 // of each field reached, in data
	err      error
}

// open checks what can be checked before the first field is read. (It fills a
// reader that exists because a returned one would be copied.)
func (r *reader) open(b *cxtp.CDB, l *layout) {
	*r = reader{layout: l, data: b.Data, presence: b.Presence}
	switch {
	case !b.HasPresence:
		r.fault(cxtp.StatusMalformed, "P bit", 3, "0, but this context type always has a presence vector")
	case len(b.Data) > maxData:
		r.fault(cxtp.StatusMalformed, "data", dataStart, fmt.Sprintf("%d octets, at most %d fit", len(b.Data), maxData))
	case b.Presence&^l.known != 0:
		r.fault(cxtp.StatusUnknownCritical, "presence vector", 4, fmt.Sprintf("bits %#08x are not assigned in this version of the profile", b.Presence&^l.known))
	case l.mandatory&^b.Presence != 0:
		r.fault(cxtp.StatusMalformed, "presence vector", 4, l.missing(b.Presence)+" is absent, and has no default")
	}
}

func (r *reader) fault(status cxtp.Status, field string, offset int, reason string) {
	if r.err == nil {
		r.err = &features.Error{FPT: r.layout.fpt, Status: status, Err: &cxtp.ParseError{
			Message: r.layout.name, Field: field, Offset: offset, Reason: reason,
		}}
	}
}

// fail blames the current field, where the reader stands.
func (r *reader) fail(reason string) {
	r.fault(cxtp.StatusMalformed, r.layout.fields[r.field], dataStart+r.at, reason)
}

// has reports whether the field is present, and makes it the current one.
func (r *reader) has(field int) bool {
	if r.presence&bit(field) == 0 || r.err != nil {
		return false
	}
	r.field = field
	r.reached |= bit(field)
	r.starts[field] = int16(r.at)
	return true
}

// take gives the next n octets, or nil where so many are not left.
func (r *reader) take(n int) []byte {
	if len(r.data)-r.at < n || r.err != nil {
		r.short(n)
		return nil
	}
	b := r.data[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

func (r *reader) short(n int) {
	r.fail(fmt.Sprintf("%d octets wanted, %d left", n, len(r.data)-r.at))
}

func (r *reader) next8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) next16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) next32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) next64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) u8(field int, absent uint8) uint8 {
	if r.has(field) {
		return r.next8()
	}
	return absent
}

func (r *reader) u16(field int, absent uint16) uint16 {
	if r.has(field) {
		return r.next16()
	}
	return absent
}

func (r *reader) u32(field int, absent uint32) uint32 {
	if r.has(field) {
		return r.next32()
	}
	return absent
}

func (r *reader) u64(field int, absent uint64) uint64 {
	if r.has(field) {
		return r.next64()
	}
	return absent
}

// octets reads what [writer.octets] writes; it aliases the block.
func (r *reader) octets(field int) []byte {
	if r.has(field) {
		return r.string16()
	}
	return nil
}

func (r *reader) string16() []byte { return r.take(int(r.next16())) }

func (r *reader) key(field int) secret.Key {
	if b := r.octets(field); len(b) > 0 {
		return secret.New(b)
	}
	return secret.Key{}
}

func (r *reader) name(field int) Name {
	if r.has(field) {
		return r.nextName()
	}
	return Name{}
}

func (r *reader) nextName() Name {
	n := Name{Type: r.next8()}
	n.Data = r.string16()
	if n.Type == 0 {
		r.fail("identity of type 0, which means that there is none")
	}
	return n
}

// family reads an address family and gives the length of its addresses, 0 after
// a failure.
func (r *reader) family() int {
	switch f := r.next8(); f {
	case familyIPv4:
		return 4
	case familyIPv6:
		return 16
	default:
		r.fail(fmt.Sprintf("address family %d: 4 and 6 are known", f))
		return 0
	}
}

// address reads an address of 4 or 16 octets.
func (r *reader) address(size int) netip.Addr {
	b := r.take(size)
	switch len(b) {
	case 4:
		return netip.AddrFrom4([4]byte(b))
	case 16:
		return netip.AddrFrom16([16]byte(b))
	}
	return netip.Addr{}
}

func (r *reader) lifetime(field int) Lifetime {
	if !r.has(field) {
		return Lifetime{}
	}
	b := r.take(20)
	if b == nil {
		return Lifetime{}
	}
	return Lifetime{
		Time:    time.Duration(binary.BigEndian.Uint32(b)) * time.Second,
		Octets:  binary.BigEndian.Uint64(b[4:]),
		Packets: binary.BigEndian.Uint64(b[12:]),
	}
}

// seconds reads an age or a limit in whole seconds.
func (r *reader) seconds(field int) time.Duration {
	return time.Duration(r.u32(field, 0)) * time.Second
}

// unknownFlags refuses a flag that this version does not know: what a flag says
// is never something to be ignored.
func (r *reader) unknownFlags(flags uint8) {
	if flags != 0 {
		r.fault(cxtp.StatusUnknownCritical, r.layout.fields[r.field], dataStart+r.at-1, fmt.Sprintf("flags %#02x are not assigned in this version of the profile", flags))
	}
}

// finish reads the extension list, of which this version knows no member, and
// checks that nothing but padding is left.
func (r *reader) finish() error {
	if r.has(bitExtensions) {
		r.extensions()
	}
	if r.err != nil {
		return r.err
	}
	rest := r.data[r.at:]
	if len(rest) > maxPad {
		r.fault(cxtp.StatusMalformed, "padding", dataStart+r.at, fmt.Sprintf("%d octets behind the last field, padding has at most %d", len(rest), maxPad))
	}
	for i, b := range rest {
		if b != 0 {
			r.fault(cxtp.StatusMalformed, "padding", dataStart+r.at+i, fmt.Sprintf("%#02x, padding is zero", b))
		}
	}
	return r.err
}

func (r *reader) extensions() {
	end := int(r.next16()) + r.at
	if end > len(r.data) {
		r.short(end - r.at)
	}
	for r.err == nil && r.at < end {
		at := r.at
		kind, body := r.next16(), r.string16()
		switch {
		case r.err != nil:
		case r.at > end:
			r.fail(fmt.Sprintf("an extension of %d octets ends %d octets behind the list", len(body), r.at-end))
		case kind&extensionCritical != 0:
			r.fault(cxtp.StatusUnknownCritical, "extensions", dataStart+at, fmt.Sprintf("extension %#04x must be understood and is not known here", kind))
		}
	}
}
