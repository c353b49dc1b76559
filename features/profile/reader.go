package profile

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
)

// Reader takes one block's data apart, field after field in the order of the
// layout. Methods that are named after a type read a field, or give its default;
// those named Next read a part of a field that [Reader.Has] has found. The first
// failure makes every later field absent and every later part zero.
type Reader struct {
	layout   *Layout
	data     []byte
	at       int
	presence uint32
	field    int       // being read
	reached  uint32    // presence bits of the fields that the reader came to
	starts   [32]int16 // of each field reached, in data
	err      error
}

// Open checks what can be checked before the first field is read. (It fills a
// reader that exists because a returned one would be copied.)
func (r *Reader) Open(b *cxtp.CDB, l *Layout) {
	*r = Reader{layout: l, data: b.Data, presence: b.Presence}
	switch {
	case !b.HasPresence:
		r.fault(cxtp.StatusMalformed, "P bit", 3, "0, but this context type always has a presence vector")
	case len(b.Data) > MaxData:
		r.fault(cxtp.StatusMalformed, "data", DataStart, fmt.Sprintf("%d octets, at most %d fit", len(b.Data), MaxData))
	case b.Presence&^l.known != 0:
		r.fault(cxtp.StatusUnknownCritical, "presence vector", 4, fmt.Sprintf("bits %#08x are not assigned in this version of the profile", b.Presence&^l.known))
	case l.mandatory&^b.Presence != 0:
		r.fault(cxtp.StatusMalformed, "presence vector", 4, l.missing(b.Presence)+" is absent, and has no default")
	}
}

func (r *Reader) fault(status cxtp.Status, field string, offset int, reason string) {
	if r.err == nil {
		r.err = &features.Error{FPT: r.layout.fpt, Status: status, Err: &cxtp.ParseError{
			Message: r.layout.name, Field: field, Offset: offset, Reason: reason,
		}}
	}
}

// Fail blames the current field, where the reader stands.
func (r *Reader) Fail(reason string) {
	r.fault(cxtp.StatusMalformed, r.layout.fields[r.field], DataStart+r.at, reason)
}

// Err is the first failure: a [features.Error] around a [cxtp.ParseError].
func (r *Reader) Err() error { return r.err }

// Has reports whether the field is present, and makes it the current one.
func (r *Reader) Has(field int) bool {
	if r.presence&Bit(field) == 0 || r.err != nil {
		return false
	}
	r.field = field
	r.reached |= Bit(field)
	r.starts[field] = int16(r.at)
	return true
}

// Take gives the next n octets, or nil where so many are not left.
func (r *Reader) Take(n int) []byte {
	if len(r.data)-r.at < n || r.err != nil {
		r.short(n)
		return nil
	}
	b := r.data[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

func (r *Reader) short(n int) {
	r.Fail(fmt.Sprintf("%d octets wanted, %d left", n, len(r.data)-r.at))
}

// Next8 gives the next octet.
func (r *Reader) Next8() uint8 {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// NextCount reads how many entries a list has: one at least, because a list without
// any is left out.
func (r *Reader) NextCount() int {
	n := int(r.Next8())
	if n == 0 {
		r.Fail("a list of no entries: it is left out instead")
	}
	return n
}

// Next16 gives the next two octets.
func (r *Reader) Next16() uint16 {
	if b := r.Take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Next32 gives the next four octets.
func (r *Reader) Next32() uint32 {
	if b := r.Take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Next64 gives the next eight octets.
func (r *Reader) Next64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// U8 reads a field of one octet.
func (r *Reader) U8(field int, absent uint8) uint8 {
	if r.Has(field) {
		return r.Next8()
	}
	return absent
}

// U16 reads a field of two octets.
func (r *Reader) U16(field int, absent uint16) uint16 {
	if r.Has(field) {
		return r.Next16()
	}
	return absent
}

// U32 reads a field of four octets.
func (r *Reader) U32(field int, absent uint32) uint32 {
	if r.Has(field) {
		return r.Next32()
	}
	return absent
}

// U64 reads a field of eight octets.
func (r *Reader) U64(field int, absent uint64) uint64 {
	if r.Has(field) {
		return r.Next64()
	}
	return absent
}

// Octets reads what [Writer.Octets] writes; it aliases the block.
func (r *Reader) Octets(field int) []byte {
	if r.Has(field) {
		return r.NextString()
	}
	return nil
}

// NextString reads what [Writer.PutString] writes; it aliases the block.
func (r *Reader) NextString() []byte { return r.Take(int(r.Next16())) }

// Key is Octets for a secret.
func (r *Reader) Key(field int) secret.Key { return keyOf(r.Octets(field)) }

// NextKey is NextString for a secret.
func (r *Reader) NextKey() secret.Key { return keyOf(r.NextString()) }

func keyOf(b []byte) secret.Key {
	if len(b) == 0 {
		return secret.Key{}
	}
	return secret.New(b)
}

// Identity reads what [Writer.Identity] writes.
func (r *Reader) Identity(field int) Identity {
	if r.Has(field) {
		return r.NextIdentity()
	}
	return Identity{}
}

// NextIdentity reads what [Writer.PutIdentity] writes.
func (r *Reader) NextIdentity() Identity {
	n := Identity{Type: r.Next8()}
	n.Data = r.NextString()
	if n.Type == 0 {
		r.Fail("identity of type 0, which means that there is none")
	}
	return n
}

// NextFamily reads an address family and gives the length of its addresses, 0
// after a failure.
func (r *Reader) NextFamily() int {
	switch f := r.Next8(); f {
	case IPv4:
		return 4
	case IPv6:
		return 16
	default:
		r.Fail(fmt.Sprintf("address family %d: 4 and 6 are known", f))
		return 0
	}
}

// NextAddress reads an address of 4 or 16 octets.
func (r *Reader) NextAddress(size int) netip.Addr {
	b := r.Take(size)
	switch len(b) {
	case 4:
		return netip.AddrFrom4([4]byte(b))
	case 16:
		return netip.AddrFrom16([16]byte(b))
	}
	return netip.Addr{}
}

// Prefixes appends what [Writer.Prefixes] writes to dst. The octets of an address
// are all there, whatever the prefix length.
func (r *Reader) Prefixes(field int, dst []netip.Prefix) []netip.Prefix {
	if !r.Has(field) {
		return dst
	}
	for n := r.NextCount(); n > 0 && r.err == nil; n-- {
		size := r.NextFamily()
		length := int(r.Next8())
		if length > 8*size {
			r.Fail(fmt.Sprintf("prefix of %d bits in an address of %d octets", length, size))
		}
		dst = append(dst, netip.PrefixFrom(r.NextAddress(size), length))
	}
	return dst
}

// Seconds reads an age or a limit.
func (r *Reader) Seconds(field int) time.Duration {
	if r.Has(field) {
		return r.NextSeconds()
	}
	return 0
}

// NextSeconds reads an age or a limit.
func (r *Reader) NextSeconds() time.Duration { return time.Duration(r.Next32()) * time.Second }

// Unassigned refuses flags that this version does not know, which stand in the
// octets just read: what a flag says is never something to be ignored.
func (r *Reader) Unassigned(what string, flags uint32, octets int) {
	if flags != 0 {
		r.fault(cxtp.StatusUnknownCritical, r.layout.fields[r.field], DataStart+r.at-octets,
			fmt.Sprintf("%s %#0*x are not assigned in this version of the profile", what, 2+2*octets, flags))
	}
}

// Finish reads the extension list, of which this version knows no member, and
// checks that nothing but padding is left.
func (r *Reader) Finish() error {
	if r.Has(BitExtensions) {
		r.extensions()
	}
	if r.err != nil {
		return r.err
	}
	rest := r.data[r.at:]
	if len(rest) > maxPad {
		r.fault(cxtp.StatusMalformed, "padding", DataStart+r.at, fmt.Sprintf("%d octets behind the last field, padding has at most %d", len(rest), maxPad))
	}
	for i, b := range rest {
		if b != 0 {
			r.fault(cxtp.StatusMalformed, "padding", DataStart+r.at+i, fmt.Sprintf("%#02x, padding is zero", b))
		}
	}
	return r.err
}

func (r *Reader) extensions() {
	end := int(r.Next16()) + r.at
	if end > len(r.data) {
		r.short(end - r.at)
	}
	for r.err == nil && r.at < end {
		at := r.at
		kind, body := r.Next16(), r.NextString()
		switch {
		case r.err != nil:
		case r.at > end:
			r.Fail(fmt.Sprintf("an extension of %d octets ends %d octets behind the list", len(body), r.at-end))
		case kind&extensionCritical != 0:
			r.fault(cxtp.StatusUnknownCritical, "extensions", DataStart+at, fmt.Sprintf("extension %#04x must be understood and is not known here", kind))
		}
	}
}
