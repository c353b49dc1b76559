package ipsecctx

import (
	"fmt"

	"github.com/cxtp/cxtp/features/profile"
)

// maxMobilityType is the last Mobility Header type.
const maxMobilityType = 255

func checkSelectors(sa *SA) *fault {
	if len(sa.Selectors) == 0 {
		return wrong("no selector: an SA for everything has one that is ANY")
	}
	for i := range sa.Selectors {
		if err := sa.Selectors[i].check(); err != nil {
			return wrong("selector %d: %v", i+1, err)
		}
	}
	return nil
}

// check says what is wrong with a selector.
func (s *Selector) check() error {
	family, err := rangesFamily(s.Local, s.Remote)
	if err != nil {
		return err
	}
	if err := s.Protocol.check(family); err != nil {
		return err
	}
	if err := s.checkDependent(); err != nil {
		return err
	}
	return s.Name.Check()
}

// rangesFamily checks the address lists of a selector and gives their common
// family; 0 = there is no address in them.
func rangesFamily(lists ...[]Range) (family uint8, err error) {
	for _, list := range lists {
		for _, r := range list {
			switch {
			case !r.From.IsValid() || !r.To.IsValid():
				return 0, fmt.Errorf("a range without an address: ANY is an empty list")
			case r.From.Is4() != r.To.Is4() || r.To.Less(r.From):
				return 0, fmt.Errorf("range %s to %s is not ordered within one family", r.From, r.To)
			case r.From.Is4In6() || r.To.Is4In6():
				return 0, fmt.Errorf("range %s to %s is IPv4 written as IPv6", r.From, r.To)
			case r.From.Zone() != "" || r.To.Zone() != "":
				return 0, fmt.Errorf("range %s to %s has a zone, which means nothing to another gateway", r.From, r.To)
			case family != 0 && family != profile.FamilyOf(r.From):
				return 0, fmt.Errorf("addresses of two families (RFC 4301 section 4.4.1.1)")
			}
			family = profile.FamilyOf(r.From)
		}
	}
	return family, nil
}

func (p NextProtocol) check(family uint8) error {
	switch {
	case p.Match > MatchOpaque:
		return fmt.Errorf("next-layer protocol match %d: 0 is ANY, 1 a value, 2 OPAQUE", p.Match)
	case p.Match != MatchValue && p.Number != 0:
		return fmt.Errorf("next-layer protocol %d beside ANY or OPAQUE", p.Number)
	case p.Match == MatchValue && p.Number == 0:
		return fmt.Errorf("next-layer protocol 0: IKE writes ANY so")
	case p.Match == MatchOpaque && family == profile.IPv4:
		return fmt.Errorf("next-layer protocol OPAQUE with IPv4 addresses (RFC 4301 section 4.4.1.1)")
	}
	return nil
}

func (s *Selector) checkDependent() error {
	switch s.Protocol.kind() {
	case kindICMP:
		return s.ICMP.check()
	case kindMobility:
		if m := s.MobilityHeader; m != AnyPort && m != OpaquePort && (m.From > m.To || m.To > maxMobilityType) {
			return fmt.Errorf("types %d to %d of Mobility Header: %d is the last, ANY is 0 to 65535, OPAQUE 65535 to 0", m.From, m.To, maxMobilityType)
		}
		return nil
	}
	for _, p := range [...]Ports{s.LocalPort, s.RemotePort} {
		switch {
		case p == AnyPort || p == OpaquePort:
		case s.Protocol.Match != MatchValue:
			return fmt.Errorf("ports %d to %d without a next-layer protocol: ANY is 0 to 65535", p.From, p.To)
		case p.From > p.To:
			return fmt.Errorf("ports %d to %d are not ordered: OPAQUE is 65535 to 0", p.From, p.To)
		}
	}
	return nil
}

func (c ICMPRange) check() error {
	switch {
	case c.Match > MatchOpaque:
		return fmt.Errorf("ICMP match %d: 0 is ANY, 1 a range, 2 OPAQUE", c.Match)
	case c.Match != MatchValue && c != ICMPRange{Match: c.Match}:
		return fmt.Errorf("ICMP types beside ANY or OPAQUE")
	}
	if from, to := c.bounds(); from > to {
		return fmt.Errorf("ICMP type %d code %d to type %d code %d is not ordered", c.TypeFrom, c.CodeFrom, c.TypeTo, c.CodeTo)
	}
	return nil
}

// bounds are the first and the last value of type and code as one number, the
// way RFC 4301 section 4.4.1.1 compares them.
func (c ICMPRange) bounds() (from, to uint16) {
	return uint16(c.TypeFrom)<<8 | uint16(c.CodeFrom), uint16(c.TypeTo)<<8 | uint16(c.CodeTo)
}
