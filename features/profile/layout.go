package profile

import (
	"errors"
	"math/bits"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
)

// ErrTooLarge says that something does not fit into one context data block of
// [cxtp.MaxBlock] octets, or into the count in front of a list. No profile of
// ours spreads one thing over several blocks.
var ErrTooLarge = errors.New("does not fit into one context data block")

const (
	// DataStart is where a block's data start: behind its header and the
	// presence vector, which the blocks of our profiles always have.
	DataStart = 8
	// MaxData is the room for fields, in octets.
	MaxData = cxtp.MaxBlock - DataStart
	maxPad  = 7
	// BitExtensions is the presence bit of the extension list, in every block.
	BitExtensions = 31
	// extensionCritical marks an extension type that refuses the block where it
	// is not known.
	extensionCritical = 0x8000
)

// Layout is what the writer and the reader of one block type share: its fields
// in the order of the presence bits, which is the order of the data.
type Layout struct {
	fpt       cxtp.FPT
	name      string
	mandatory uint32 // fields that have no default
	known     uint32
	fields    [32]string
}

// Bit is the presence bit of a field: field 0 has the most significant one.
func Bit(field int) uint32 { return 0x8000_0000 >> (uint(field) & 31) }

// NewLayout describes a block type: its name, the fields that have no default,
// and the names of all fields, for errors and dumps.
func NewLayout(fpt cxtp.FPT, name string, mandatory []int, fields []string) *Layout {
	l := &Layout{fpt: fpt, name: name, known: Bit(BitExtensions)}
	for i, f := range fields {
		l.fields[i] = f
		l.known |= Bit(i)
	}
	l.fields[BitExtensions] = "extensions"
	for _, f := range mandatory {
		l.mandatory |= Bit(f)
	}
	return l
}

// missing names the first field without a default that presence lacks; the
// caller knows that there is one.
func (l *Layout) missing(presence uint32) string {
	return l.fields[bits.LeadingZeros32(l.mandatory&^presence)]
}

// Address families, in one octet: the version of IP.
const (
	IPv4 = 4
	IPv6 = 6
)

// FamilyOf is the octet that stands in front of an address.
func FamilyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}
