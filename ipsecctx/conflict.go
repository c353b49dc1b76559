package ipsecctx

import (
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// SPIConflict says that the SPI of an SA is taken at a gateway: another SA has it,
// or this one is there already.
type SPIConflict struct {
	SA  ID
	Err error
}

func (c *SPIConflict) Error() string { return c.Err.Error() }

func (c *SPIConflict) Unwrap() error { return c.Err }

// RefuseSPI is the refusal of a [Backend] to stage an SA whose SPI is taken: a
// [features.Error] with StatusSPIConflict, which wraps an [*SPIConflict].
func RefuseSPI(sa ID, format string, args ...any) error {
	return &features.Error{FPT: cxtp.FPTIPsecSA, Status: cxtp.StatusSPIConflict, Err: &SPIConflict{sa, fmt.Errorf(format, args...)}}
}

// Conflicts reports whether two sessions cannot be at one gateway. The error is
// a [features.Error]: StatusSPIConflict when an inbound packet could belong to
// either, StatusPolicyConflict when an inner address is in both, or an outbound
// packet could be sent on either. Two sessions of one node count as two.
//
// Whether an SPI is free at the gateway at all is [Backend.Stage]'s question.
func Conflicts(a, b *Session) error {
	for _, p := range a.Inner {
		for _, q := range b.Inner {
			if p.Overlaps(q) {
				return refusal(cxtp.FPTIPsecSession, cxtp.StatusPolicyConflict, "inner addresses %s and %s overlap", p, q)
			}
		}
	}
	for i := range a.SAs {
		for j := range b.SAs {
			if err := conflict(&a.SAs[i], &b.SAs[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

func conflict(a, b *SA) error {
	if a.Direction != b.Direction {
		return nil
	}
	if a.Direction == Inbound {
		if a.ID() == b.ID() && a.Local == b.Local {
			return RefuseSPI(a.ID(), "%s is in use at %s", a.ID(), a.Local)
		}
		return nil
	}
	for i := range a.Selectors {
		for j := range b.Selectors {
			if a.Selectors[i].overlaps(&b.Selectors[j]) {
				return refusal(cxtp.FPTIPsecSA, cxtp.StatusPolicyConflict, "selector %d of the %s overlaps selector %d of the %s", i+1, a.ID(), j+1, b.ID())
			}
		}
	}
	return nil
}

// overlaps reports whether a packet can match both selectors. It errs on the
// side of yes where one says OPAQUE, or names a user rather than a packet.
func (s *Selector) overlaps(o *Selector) bool {
	if !rangesOverlap(s.Local, o.Local) || !rangesOverlap(s.Remote, o.Remote) {
		return false
	}
	if s.Protocol.Match != MatchValue || o.Protocol.Match != MatchValue {
		return true
	}
	if s.Protocol.Number != o.Protocol.Number {
		return false
	}
	switch s.Protocol.kind() {
	case kindICMP:
		return s.ICMP.overlaps(o.ICMP)
	case kindMobility:
		return s.MobilityHeader.overlaps(o.MobilityHeader)
	}
	return s.LocalPort.overlaps(o.LocalPort) && s.RemotePort.overlaps(o.RemotePort)
}

func rangesOverlap(a, b []Range) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	for _, r := range a {
		for _, q := range b {
			if within(r.From, q) || within(q.From, r) {
				return true
			}
		}
	}
	return false
}

// within compares numbers; addresses of two families are never within.
func within(a netip.Addr, r Range) bool {
	return a.Is4() == r.From.Is4() && !a.Less(r.From) && !r.To.Less(a)
}

func (p Ports) overlaps(q Ports) bool {
	if p == OpaquePort || q == OpaquePort {
		return true
	}
	return p.From <= q.To && q.From <= p.To
}

func (c ICMPRange) overlaps(o ICMPRange) bool {
	if c.Match != MatchValue || o.Match != MatchValue {
		return true
	}
	from, to := c.bounds()
	otherFrom, otherTo := o.bounds()
	return from <= otherTo && otherFrom <= to
}
