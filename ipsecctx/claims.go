package ipsecctx

import (
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// Claims is what the session would make a gateway responsible for. The identity
// is the one that was authenticated: the EAP identity, as "eap:ann", where there
// is one, else the node's IKE identity as [Name.String] writes it. The prefixes
// are the session's inner addresses and every remote address that a selector
// names, or else all addresses: a context must not capture traffic that it did
// not claim. The gateways are the SAs' local ends.
//
// The session must be valid.
func (s *Session) Claims() cxtp.Claims {
	c := cxtp.Claims{Identity: profile.Authenticated(s.RemoteID, s.EAPIdentity), Inner: slices.Clone(s.Inner)}
	for i := range s.SAs {
		if g := netip.AddrPortFrom(s.SAs[i].Local, s.SAs[i].Encap.LocalPort); !slices.Contains(c.Gateways, g) {
			c.Gateways = append(c.Gateways, g)
		}
		for j := range s.SAs[i].Selectors {
			for _, p := range s.SAs[i].Selectors[j].remotePrefixes() {
				c.Inner = claim(c.Inner, p)
			}
		}
	}
	return c
}

// claim adds a prefix that none of the others contains.
func claim(claimed []netip.Prefix, p netip.Prefix) []netip.Prefix {
	for _, c := range claimed {
		if c.Bits() <= p.Bits() && c.Overlaps(p) {
			return claimed
		}
	}
	return append(claimed, p)
}

var everywhere = []netip.Prefix{
	netip.PrefixFrom(netip.IPv4Unspecified(), 0),
	netip.PrefixFrom(netip.IPv6Unspecified(), 0),
}

// remotePrefixes covers the remote addresses of a selector exactly. ANY is
// narrowed to the family of the local addresses, where there are some.
func (s *Selector) remotePrefixes() []netip.Prefix {
	if len(s.Remote) > 0 {
		var all []netip.Prefix
		for _, r := range s.Remote {
			all = appendPrefixes(all, r)
		}
		return all
	}
	if len(s.Local) == 0 {
		return everywhere
	}
	if s.Local[0].From.Is4() {
		return everywhere[:1]
	}
	return everywhere[1:]
}

// appendPrefixes cuts a range into the fewest prefixes, at most two for each bit
// of an address: from the low end on, always the largest that starts there and
// does not reach beyond the high end.
func appendPrefixes(dst []netip.Prefix, r Range) []netip.Prefix {
	for from := r.From; ; {
		bits := from.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(from, bits-1)
			if wider.Masked().Addr() != from || r.To.Less(last(wider)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(from, bits)
		dst = append(dst, p)
		end := last(p)
		if end == r.To {
			return dst
		}
		from = end.Next()
	}
}

// last is the highest address of a masked prefix.
func last(p netip.Prefix) netip.Addr {
	octets := p.Addr().As16()
	for i := 128 - p.Addr().BitLen() + p.Bits(); i < 128; i++ {
		octets[i/8] |= 0x80 >> (i % 8)
	}
	a := netip.AddrFrom16(octets)
	if p.Addr().Is4() {
		a = a.Unmap()
	}
	return a
}
