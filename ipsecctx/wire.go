package ipsecctx

import (
	"errors"
	"math/bits"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
)

// ErrTooLarge says that something does not fit into one context data block of
// [cxtp.MaxBlock] octets, or into the count in front of a list. The profile has
// no way to spread one SA over several blocks.
var ErrTooLarge = errors.New("does not fit into one context data block")

const (
	// dataStart is where a block's data start: behind its header and the
	// presence vector, which the blocks of this profile always have.
	dataStart = 8
	maxData   = cxtp.MaxBlock - dataStart
	maxPad    = 7
	// bitExtensions is the presence bit of the extension list, in every block.
	bitExtensions = 31
	// extensionCritical marks an extension type that refuses the block where it
	// is not known.
	extensionCritical = 0x8000
)

// layout is what the writer and the reader of one block type share: its fields
// in the order of the presence bits, which is the order of the data.
type layout struct {
	fpt       cxtp.FPT
	name      string
	mandatory uint32 // fields that have no default
	known     uint32
	fields    [32]string
}

// bit is the presence bit of a field: field 0 has the most significant one.
func bit(field int) uint32 { return 0x8000_0000 >> (uint(field) & 31) }

func newLayout(fpt cxtp.FPT, name string, mandatory []int, fields []string) *layout {
	l := &layout{fpt: fpt, name: name, known: bit(bitExtensions)}
	for i, f := range fields {
		l.fields[i] = f
		l.known |= bit(i)
	}
	l.fields[bitExtensions] = "extensions"
	for _, f := range mandatory {
		l.mandatory |= bit(f)
	}
	return l
}

// missing names the first field without a default that presence lacks; the
// caller knows that there is one.
func (l *layout) missing(presence uint32) string {
	return l.fields[bits.LeadingZeros32(l.mandatory&^presence)]
}

// Address families, in one octet: the version of IP.
const (
	familyIPv4 = 4
	familyIPv6 = 6
)

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}
