package xfrm

import (
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// maxSelectors bounds the policies that one SA's selectors become in one
// direction: a range of ports or addresses that is not a power of two is several.
const maxSelectors = 256

// IP protocols whose selectors have other fields than ports.
const (
	protoICMP     = 1
	protoICMPv6   = 58
	protoMobility = 135
)

// block is an aligned range of a power of two: the values that have the bits of
// mask in common with value.
type block struct{ value, mask uint16 }

// blocks cuts an inclusive range into as few of them as possible.
func blocks(from, to uint16) []block {
	var all []block
	for at := uint32(from); at <= uint32(to); {
		size := uint32(1)
		for at&(2*size-1) == 0 && at+2*size-1 <= uint32(to) {
			size *= 2
		}
		all = append(all, block{uint16(at), uint16(-size)})
		at += size
	}
	return all
}

// upper is what a selector says of the next layer: a protocol and, of the two
// fields that the kernel compares, the blocks that go together.
type upper struct {
	proto uint8
	pairs [][2]block // local and remote port, or ICMP type and code
	ports bool       // the pair changes places with the direction
}

// upperOf reads the next layer's part of a selector. What the kernel cannot
// compare is refused, because leaving it out would let more through.
func upperOf(s *ipsecctx.Selector) (upper, error) {
	any := block{}
	switch s.Protocol.Match {
	case ipsecctx.MatchOpaque:
		return upper{}, opaque("next-layer protocol")
	case ipsecctx.MatchAny:
		if s.LocalPort == ipsecctx.OpaquePort || s.RemotePort == ipsecctx.OpaquePort {
			return upper{}, opaque("ports")
		}
		return upper{pairs: [][2]block{{any, any}}}, nil
	}
	u := upper{proto: s.Protocol.Number}
	switch s.Protocol.Number {
	case protoICMP, protoICMPv6:
		switch s.ICMP.Match {
		case ipsecctx.MatchOpaque:
			return upper{}, opaque("ICMP type and code")
		case ipsecctx.MatchAny:
			u.pairs = [][2]block{{any, any}}
			return u, nil
		}
		// Type and code are compared as one number (RFC 4301 section 4.4.1.1). A
		// block of it is one of types, or of the codes of one type.
		from, to := uint16(s.ICMP.TypeFrom)<<8|uint16(s.ICMP.CodeFrom), uint16(s.ICMP.TypeTo)<<8|uint16(s.ICMP.CodeTo)
		for _, b := range blocks(from, to) {
			u.pairs = append(u.pairs, [2]block{{b.value >> 8, b.mask >> 8}, {b.value & 0xff, b.mask & 0xff}})
		}
		return u, nil
	case protoMobility:
		if s.MobilityHeader == ipsecctx.OpaquePort {
			return upper{}, opaque("Mobility Header type")
		}
		for _, b := range portBlocks(s.MobilityHeader) {
			u.pairs = append(u.pairs, [2]block{b, any})
		}
		return u, nil
	}
	if s.LocalPort == ipsecctx.OpaquePort || s.RemotePort == ipsecctx.OpaquePort {
		return upper{}, opaque("ports")
	}
	u.ports = true
	for _, local := range portBlocks(s.LocalPort) {
		for _, remote := range portBlocks(s.RemotePort) {
			u.pairs = append(u.pairs, [2]block{local, remote})
		}
	}
	return u, nil
}

func portBlocks(p ipsecctx.Ports) []block { return blocks(p.From, p.To) }

func opaque(what string) error {
	return refuse(cxtp.StatusUnsupported, "OPAQUE as %s: Linux compares fields and not whether they are there", what)
}

// selectorsOf are the kernel's selectors that match exactly what a selector of
// an outbound SA matches, seen in the direction given. User stays 0: see block
// policies.
func selectorsOf(s *ipsecctx.Selector, dir uapi.Dir) ([]uapi.Selector, error) {
	u, err := upperOf(s)
	if err != nil {
		return nil, err
	}
	var all []uapi.Selector
	for _, family := range families(s) {
		for _, local := range prefixes(s.Local, family) {
			for _, remote := range prefixes(s.Remote, family) {
				for _, pair := range u.pairs {
					if len(all) == maxSelectors {
						return nil, refuse(cxtp.StatusUnsupported, "a selector that takes more than %d policies: Linux has prefixes and port masks, no ranges", maxSelectors)
					}
					all = append(all, u.selector(family, local, remote, pair, dir))
				}
			}
		}
	}
	return all, nil
}

func (u *upper) selector(family uapi.Family, local, remote netip.Prefix, pair [2]block, dir uapi.Dir) uapi.Selector {
	k := uapi.Selector{
		Family: family, Proto: u.proto, Src: local, Dst: remote,
		SrcPort: pair[0].value, SrcMask: pair[0].mask, DstPort: pair[1].value, DstMask: pair[1].mask,
	}
	if dir == uapi.DirOut {
		return k
	}
	k.Src, k.Dst = k.Dst, k.Src
	if u.ports {
		k.SrcPort, k.SrcMask, k.DstPort, k.DstMask = k.DstPort, k.DstMask, k.SrcPort, k.SrcMask
	}
	return k
}

// families are those of a selector's addresses, both where it has none.
func families(s *ipsecctx.Selector) []uapi.Family {
	for _, list := range [...][]ipsecctx.Range{s.Local, s.Remote} {
		if len(list) > 0 {
			return []uapi.Family{familyOf(list[0].From)}
		}
	}
	return []uapi.Family{uapi.IPv4, uapi.IPv6}
}

// prefixes are those of a list of ranges, everything where it is empty.
func prefixes(list []ipsecctx.Range, family uapi.Family) []netip.Prefix {
	if len(list) == 0 {
		return []netip.Prefix{everything(family)}
	}
	var all []netip.Prefix
	for _, r := range list {
		all = append(all, r.Prefixes()...)
	}
	return all
}

func everything(family uapi.Family) netip.Prefix {
	if family == uapi.IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
