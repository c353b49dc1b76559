package strongswan

import (
	"slices"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// protected is what the client's CHILD SAs protect, for the kernel to find the SAs
// of: they have no keys here.
func (l *lineage) protected(sa IKESA) *ipsecctx.Session {
	s := &ipsecctx.Session{
		Inner: l.inner(), Initiator: l.update.Conditions != nil && *l.update.Conditions&ha.CondOriginalInit != 0,
		LocalID: identity(l.update.LocalID), RemoteID: identity(l.update.RemoteID), EAPIdentity: slices.Clone(l.update.RemoteEAPID.Data),
	}
	for i, c := range l.children {
		selectors := selectorsBetween(c.add.LocalTS, c.add.RemoteTS)
		for _, d := range []ipsecctx.Direction{ipsecctx.Inbound, ipsecctx.Outbound} {
			one := ipsecctx.SA{Direction: d, Protocol: ipsecctx.ESP, SPI: c.add.InboundSPI, Mode: ipsecctx.Tunnel, Pair: uint32(i + 1),
				Local: sa.Local.Addr(), Remote: sa.Remote.Addr(), Selectors: selectors}
			if d == ipsecctx.Outbound {
				one.SPI = c.add.OutboundSPI
			}
			if c.add.Mode == ha.Transport {
				one.Mode = ipsecctx.Transport
			}
			s.SAs = append(s.SAs, one)
		}
	}
	return s
}

// selectorsBetween are the selectors that two sets of IKE's are: each of one with
// each of the other, where their protocols go together.
func selectorsBetween(local, remote []ha.Selector) []ipsecctx.Selector {
	var all []ipsecctx.Selector
	for _, l := range local {
		for _, r := range remote {
			if l.From.Is4() != r.From.Is4() || l.Protocol != r.Protocol && l.Protocol != 0 && r.Protocol != 0 {
				continue
			}
			one := ipsecctx.Selector{
				Local: []ipsecctx.Range{rangeOf(l)}, Remote: []ipsecctx.Range{rangeOf(r)},
				LocalPort: ipsecctx.Ports{From: l.FromPort, To: l.ToPort}, RemotePort: ipsecctx.Ports{From: r.FromPort, To: r.ToPort},
			}
			if p := max(l.Protocol, r.Protocol); p != 0 {
				one.Protocol = ipsecctx.NextProtocol{Match: ipsecctx.MatchValue, Number: p}
			}
			all = append(all, one)
		}
	}
	return all
}
