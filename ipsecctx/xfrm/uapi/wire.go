package uapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
)

// Sizes of the kernel's structures in octets, on 64-bit machines.
const (
	sizeNlmsghdr     = 16
	sizeSelector     = 56
	sizeID           = 24 // xfrm_id
	sizeLimits       = 64
	sizeUsage        = 32
	sizeUserSA       = 224
	sizeUserSAID     = 24
	sizeUserSPI      = sizeUserSA + 8
	sizeUserPolicy   = 168
	sizePolicyID     = 64
	sizeTemplate     = 64
	sizeAEventID     = 48
	sizeExpire       = sizeUserSA + 8
	sizePolicyExpire = sizeUserPolicy + 8
	sizeAcquire      = 280
	sizeMapping      = 64
	sizeReplay       = 12
	sizeReplayESN    = 24 // without the bitmap
	sizeAlgo         = 68 // without the key, as are the next two
	sizeAlgoAuth     = 72
	sizeAlgoAEAD     = 72
	sizeAlgoName     = 64
	sizeEncap        = 24
	sizeMark         = 8
	sizeAddress      = 16
	sizeOffload      = 8
	sizeSecCtx       = 8 // without the label
	sizePolicyType   = 6
	sizeAddrFilter   = 36
	sizeSADInfo      = 4
	sizeSPDInfo      = 4
	sizeSADHashInfo  = 8
)

// Attribute types, XFRMA_*.
const (
	attrUnspecified  = 0
	attrAlgAuth      = 1
	attrAlgCrypt     = 2
	attrAlgComp      = 3
	attrEncap        = 4
	attrTemplates    = 5
	attrState        = 6
	attrPolicy       = 7
	attrSecCtx       = 8
	attrUsage        = 9
	attrReplay       = 10
	attrReplayThresh = 11
	attrETimerThresh = 12
	attrCoAddr       = 14
	attrLastUsed     = 15
	attrPolicyType   = 16
	attrAlgAEAD      = 18
	attrAlgAuthTrunc = 20
	attrMark         = 21
	attrTFCPad       = 22
	attrReplayESN    = 23
	attrExtraFlags   = 24
	attrProto        = 25
	attrAddrFilter   = 26
	attrPad          = 27
	attrOffload      = 28
	attrSetMark      = 29
	attrSetMarkMask  = 30
	attrIfID         = 31
	attrMTimerThresh = 32
	attrDir          = 33
	attrNATKeepalive = 34
	attrPCPU         = 35
	attrTableSize    = 64 // types below this are looked up by number
	attrSADCount     = 1  // in NEWSADINFO
	attrPolicyHash4  = 3  // in NEWSPDINFO; that of IPv6 is the next
	attrSADHashInfo  = 2
	sizeAttrHeader   = 4
	maxAttrPayload   = 1<<16 - 1 - sizeAttrHeader
	netlinkAlignment = 4
)

var (
	native  = binary.NativeEndian
	network = binary.BigEndian
)

func align(n int) int { return (n + netlinkAlignment - 1) &^ (netlinkAlignment - 1) }

// failure keeps the first thing that was wrong, so that reading and writing
// need not stop at every field: what comes after it is of no consequence.
type failure struct{ err error }

func (f *failure) failf(what, why string, args ...any) {
	if f.err == nil {
		f.err = &FormatError{What: what, Why: fmt.Sprintf(why, args...)}
	}
}

// writer builds netlink messages one behind the other. What it holds may be
// keys, so it wipes the arrays that it grows out of; its owner wipes the last.
type writer struct {
	failure
	b []byte
}

// extend appends n zero octets, and after them as many as alignment wants, and
// returns the n.
func (w *writer) extend(n int) []byte {
	start, end := len(w.b), len(w.b)+align(n)
	if end > cap(w.b) {
		grown := make([]byte, start, max(2*cap(w.b), end))
		copy(grown, w.b)
		w.wipe()
		w.b = grown
	}
	w.b = w.b[:end]
	clear(w.b[start:])
	return w.b[start : start+n]
}

// attr appends an attribute of n octets and returns them.
func (w *writer) attr(kind uint16, n int) []byte {
	if n > maxAttrPayload {
		w.failf("attribute", "type %d has %d octets, %d are the most", kind, n, maxAttrPayload)
	}
	b := w.extend(sizeAttrHeader + n)
	native.PutUint16(b, uint16(len(b)))
	native.PutUint16(b[2:], kind)
	return b[sizeAttrHeader:]
}

func (w *writer) attr32(kind uint16, v uint32) { native.PutUint32(w.attr(kind, 4), v) }

// attrNonZero appends an attribute unless it is 0, which for the attributes
// that it is used for means the same as its absence.
func (w *writer) attrNonZero(kind uint16, v uint32) {
	if v != 0 {
		w.attr32(kind, v)
	}
}

// attrOptional32 appends an attribute for which 0 and its absence differ.
func (w *writer) attrOptional32(kind uint16, v *uint32) {
	if v != nil {
		w.attr32(kind, *v)
	}
}

func (w *writer) attrs(list []Attr) {
	for _, a := range list {
		copy(w.attr(a.Type, len(a.Data)), a.Data)
	}
}

// begin appends the header of a message; the number that it returns is for end.
func (w *writer) begin(kind, flags uint16, seq, port uint32) int {
	start := len(w.b)
	b := w.extend(sizeNlmsghdr)
	native.PutUint16(b[4:], kind)
	native.PutUint16(b[6:], flags)
	native.PutUint32(b[8:], seq)
	native.PutUint32(b[12:], port)
	return start
}

// end completes the message that began at start, or, if something was wrong
// with it, takes it back and says what.
func (w *writer) end(start int) error {
	err := w.err
	if err != nil {
		clear(w.b[start:])
		w.b, w.err = w.b[:start], nil
		return err
	}
	native.PutUint32(w.b[start:], uint32(len(w.b)-start))
	return nil
}

// addFlags adds to the flags of the message that began at start.
func (w *writer) addFlags(start int, flags uint16) {
	b := w.b[start+6:]
	native.PutUint16(b, native.Uint16(b)|flags)
}

// wipe overwrites what was written and makes room for more.
func (w *writer) wipe() {
	clear(w.b)
	w.b = w.b[:0]
}

// addr writes an address of the family; the zero Addr is that family's
// unspecified one.
func (w *writer) addr(b []byte, what string, a netip.Addr, f Family) {
	switch {
	case !a.IsValid():
	case familyOf(a) != f:
		w.failf(what, "%v is not of address family %d", a, f)
	case a.Is4():
		octets := a.As4()
		copy(b, octets[:])
	default:
		octets := a.As16()
		copy(b, octets[:])
	}
}

// familyOf is the family of an address; the zero Addr has FamilyAny.
func familyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return FamilyAny
}

// reader is a message's payload: a structure, and attributes, all in the
// memory that the message was read into.
type reader struct {
	failure
	b       []byte // the structure
	data    [attrTableSize][]byte
	present uint64 // bit = type; what take returned is not present any more
	other   []Attr // of types that the table has no room for
}

// open takes a payload with a structure of n octets apart. Of several attributes
// of one type the last counts, as in the kernel.
func (r *reader) open(what string, payload []byte, n int) error {
	if len(payload) < n {
		r.failf(what, "%d octets, %d are the least", len(payload), n)
		return r.err
	}
	r.b = payload[:n]
	for b := payload[min(align(n), len(payload)):]; len(b) > 0 && r.err == nil; {
		b = r.openAttr(b)
	}
	return r.err
}

// openAttr takes one attribute off b.
func (r *reader) openAttr(b []byte) []byte {
	if len(b) < sizeAttrHeader {
		r.failf("attributes", "%d octets left over", len(b))
		return nil
	}
	n, kind := int(native.Uint16(b)), native.Uint16(b[2:])
	if n < sizeAttrHeader || n > len(b) {
		r.failf("attribute", "type %d says %d octets, %d are there", kind, n, len(b))
		return nil
	}
	payload := b[sizeAttrHeader:n:n]
	if kind < attrTableSize {
		r.data[kind], r.present = payload, r.present|1<<kind
	} else {
		r.other = append(r.other, Attr{kind, payload})
	}
	return b[min(align(n), len(b)):]
}

// take returns an attribute, nil if it is not there. It must have least octets;
// if it has more, that is a later kernel's business.
func (r *reader) take(kind uint16, least int) []byte {
	if r.present&(1<<kind) == 0 {
		return nil
	}
	r.present &^= 1 << kind
	b := r.data[kind]
	if len(b) < least {
		r.failf("attribute", "type %d has %d octets, %d are the least", kind, len(b), least)
		return nil
	}
	return b
}

// take32 returns an integer attribute; absent, it is 0.
func (r *reader) take32(kind uint16) uint32 {
	if b := r.take(kind, 4); b != nil {
		return native.Uint32(b)
	}
	return 0
}

// takeOptional32 returns an integer attribute; absent, it is nil.
func (r *reader) takeOptional32(kind uint16) *uint32 {
	if b := r.take(kind, 4); b != nil {
		return new(native.Uint32(b))
	}
	return nil
}

// rest returns copies of the attributes that were not taken.
func (r *reader) rest() []Attr {
	r.present &^= 1<<attrPad | 1<<attrUnspecified
	var list []Attr
	for left := r.present; left != 0; left &= left - 1 {
		kind := uint16(bits.TrailingZeros64(left))
		list = append(list, Attr{kind, bytes.Clone(r.data[kind])})
	}
	for _, a := range r.other {
		list = append(list, Attr{a.Type, bytes.Clone(a.Data)})
	}
	return list
}

// addr reads an address.
func (r *reader) addr(b []byte, what string, f Family) netip.Addr {
	switch f {
	case IPv4:
		return netip.AddrFrom4([4]byte(b))
	case IPv6:
		return netip.AddrFrom16([16]byte(b))
	}
	r.failf(what, "address family %d", f)
	return netip.Addr{}
}

// optionalAddr reads an address for which unspecified means none.
func (r *reader) optionalAddr(b []byte, what string, f Family) netip.Addr {
	if a := r.addr(b, what, f); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}
