package mld

import (
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// StatusNoLink is the status of contexts whose prefix is of no link here. It is the
// multicast listener context's own: other context types may give the number another
// meaning (RFC 4067 section 4).
const StatusNoLink cxtp.Status = 0x02

// Context is one group that a node listens to: the data of a context data block
// (RFC 4067 appendix B). Neither field has a default:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                                                               |
//	+            Subnet prefix on the nAR's interface               +
//	|                                                               |
//	+---------------------------------------------------------------+
//	~             IPv6 multicast address (16 octets)                ~
//	+---------------------------------------------------------------+
type Context struct {
	// Prefix is a /64 of the target's link that the node listens on.
	Prefix netip.Prefix
	Group  netip.Addr
}

func (c Context) String() string { return fmt.Sprintf("%s on %s", c.Group, c.Prefix) }

const (
	prefixBits  = 64
	groupAt     = 8
	contextSize = 24
	maxPad      = 7
	// presenceAll has a bit for each of the two fields: RFC 4067 section 2.4.
	presenceAll = 0xC000_0000
)

// dataStart is where a block's data start in it, in octets.
func dataStart(b cxtp.CDB) int {
	if b.HasPresence {
		return 8
	}
	return 4
}

// The names of the fields, in errors and descriptions.
const (
	fieldPresence = "presence vector"
	fieldPrefix   = "subnet prefix"
	fieldGroup    = "multicast address"
	fieldPadding  = "padding"
)

// Encode gives a block for each context. The error is a [features.Error].
func Encode(contexts []Context) ([]cxtp.CDB, error) {
	blocks := make([]cxtp.CDB, len(contexts))
	for i, c := range contexts {
		if err := c.Check(); err != nil {
			return nil, features.Refuse(cxtp.FPTMulticastListener, cxtp.StatusMalformed, "failed to encode %s: %w", c, err)
		}
		prefix, group := c.Prefix.Addr().As16(), c.Group.As16()
		blocks[i] = cxtp.CDB{FPT: cxtp.FPTMulticastListener, Data: append(prefix[:groupAt:groupAt], group[:]...)}
	}
	return blocks, nil
}

// Check says why a context cannot be sent.
func (c Context) Check() error {
	switch {
	case !c.Prefix.IsValid() || c.Prefix.Addr().Is4() || c.Prefix.Bits() != prefixBits || c.Prefix != c.Prefix.Masked():
		return fmt.Errorf("%s is no IPv6 prefix of %d bits", c.Prefix, prefixBits)
	case c.Group.Zone() != "":
		return fmt.Errorf("%s has a zone, which means nothing to another router", c.Group)
	}
	if why := listened(c.Group); why != "" {
		return fmt.Errorf("%s %s", c.Group, why)
	}
	return nil
}

// listened says why MLD never speaks of an address (RFC 3810 section 6: of scopes 0
// and 1 it sends nothing); "" = it does.
func listened(group netip.Addr) string {
	octets := group.As16()
	switch {
	case !group.Is6() || octets[0] != 0xff:
		return "is no IPv6 multicast address"
	case octets[1]&0xf < 2:
		return "has a scope that never leaves a host"
	}
	return ""
}

// Decode reads the multicast listener contexts among blocks; those of other types
// are left alone. A group that is there twice is there once. The error is a
// [features.Error] around a [cxtp.ParseError].
func Decode(blocks []cxtp.CDB) ([]Context, error) {
	var contexts []Context
	seen := map[Context]bool{}
	for _, b := range blocks {
		if b.FPT != cxtp.FPTMulticastListener {
			continue
		}
		c, err := decode(b)
		if err != nil {
			return nil, err
		}
		if !seen[c] {
			seen[c] = true
			contexts = append(contexts, c)
		}
	}
	return contexts, nil
}

// decode reads one block. With an error comes what was read before it.
func decode(b cxtp.CDB) (c Context, err error) {
	start := dataStart(b)
	fail := func(status cxtp.Status, field string, at int, reason string, args ...any) (Context, error) {
		return c, &features.Error{FPT: cxtp.FPTMulticastListener, Status: status, Err: &cxtp.ParseError{
			Message: "multicast listener block", Field: field, Offset: at, Reason: fmt.Sprintf(reason, args...)}}
	}
	unknown := b.Presence &^ presenceAll
	switch {
	case b.HasPresence && unknown != 0:
		return fail(cxtp.StatusUnknownCritical, fieldPresence, 4, "bits %#08x: the context has two fields", unknown)
	case b.HasPresence && b.Presence != presenceAll:
		return fail(cxtp.StatusMalformed, fieldPresence, 4, "a field is absent, and neither has a default")
	case len(b.Data) < groupAt:
		return fail(cxtp.StatusMalformed, fieldPrefix, start, "%d octets wanted, %d left", groupAt, len(b.Data))
	}
	var prefix [16]byte
	copy(prefix[:], b.Data[:groupAt])
	c.Prefix = netip.PrefixFrom(netip.AddrFrom16(prefix), prefixBits)
	if n := len(b.Data) - groupAt; n < contextSize-groupAt {
		return fail(cxtp.StatusMalformed, fieldGroup, start+groupAt, "%d octets wanted, %d left", contextSize-groupAt, n)
	}
	group := netip.AddrFrom16([16]byte(b.Data[groupAt:contextSize]))
	if why := listened(group); why != "" {
		return fail(cxtp.StatusMalformed, fieldGroup, start+groupAt, "%s %s", group, why)
	}
	c.Group = group
	rest := b.Data[contextSize:]
	if len(rest) > maxPad {
		return fail(cxtp.StatusMalformed, fieldPadding, start+contextSize, "%d octets behind the last field, padding has at most %d", len(rest), maxPad)
	}
	for i, octet := range rest {
		if octet != 0 {
			return fail(cxtp.StatusMalformed, fieldPadding, start+contextSize+i, "%#02x, padding is zero", octet)
		}
	}
	return c, nil
}
