package soft

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/ipsecctx"
)

// fragment4 turns an IPv4 packet into a fragment at the offset, in octets.
func fragment4(p []byte, offset int) []byte {
	p = slices.Clone(p)
	p[6], p[7] = byte(offset>>11)|0x20, byte(offset>>3)
	return p
}

// fragment6 is an IPv6 packet with a Fragment header at the offset.
func fragment6(next uint8, offset int, data []byte) []byte {
	return ipPacket(host6, node6, extFragment, append([]byte{next, 0, byte(offset >> 8), byte(offset) | 1, 0, 0, 0, 1}, data...))
}

func TestSelectors(t *testing.T) {
	value := func(n uint8) ipsecctx.NextProtocol {
		return ipsecctx.NextProtocol{Match: ipsecctx.MatchValue, Number: n}
	}
	with := func(change func(*ipsecctx.Selector)) ipsecctx.Selector {
		s := selector()
		change(&s)
		return s
	}
	web := with(func(s *ipsecctx.Selector) {
		s.Protocol, s.LocalPort = value(protoTCP), ipsecctx.Ports{From: 80, To: 90}
	})
	opaquePort := with(func(s *ipsecctx.Selector) {
		s.Protocol, s.LocalPort, s.RemotePort = value(protoTCP), ipsecctx.OpaquePort, ipsecctx.OpaquePort
	})
	anyTCP := with(func(s *ipsecctx.Selector) { s.Protocol = value(protoTCP) })
	opaque := with(func(s *ipsecctx.Selector) { s.Protocol.Match = ipsecctx.MatchOpaque })
	ping := with(func(s *ipsecctx.Selector) {
		s.Protocol = value(protoICMP)
		s.ICMP = ipsecctx.ICMPRange{Match: ipsecctx.MatchValue, TypeFrom: 3, CodeFrom: 4, TypeTo: 8, CodeTo: 0}
	})
	anyICMP := with(func(s *ipsecctx.Selector) { s.Protocol = value(protoICMP) })
	opaqueICMP := with(func(s *ipsecctx.Selector) { s.Protocol, s.ICMP.Match = value(protoICMP), ipsecctx.MatchOpaque })
	mobility := with(func(s *ipsecctx.Selector) {
		s.Protocol, s.MobilityHeader = value(protoMobility), ipsecctx.Ports{From: 1, To: 5}
	})
	addresses := with(func(s *ipsecctx.Selector) {
		s.Local = []ipsecctx.Range{{From: netip.MustParseAddr("10.0.0.0"), To: netip.MustParseAddr("10.1.0.9")}}
		s.Remote = single(node4)
	})
	names := map[string]ipsecctx.Selector{
		"any": selector(), "web": web, "opaque port": opaquePort, "any TCP": anyTCP, "opaque": opaque,
		"ping": ping, "any ICMP": anyICMP, "opaque ICMP": opaqueICMP, "mobility": mobility, "addresses": addresses,
	}

	tcp := ipPacket(host4, node4, protoTCP, []byte{0, 80, 1, 1, 0, 0, 0, 0})
	ports := []byte{0, 80, 1, 1, 0, 0, 0, 0}
	options := append([]byte{protoTCP, 0, 1, 4, 0, 0, 0, 0}, ports...)
	for _, c := range []struct {
		name   string
		packet []byte
		want   []string // besides any; addresses too where IPv4
	}{
		{"TCP from 80", tcp, []string{"web", "any TCP", "addresses"}},
		{"TCP from 91", ipPacket(host4, node4, protoTCP, []byte{0, 91, 0, 80}), []string{"any TCP", "addresses"}},
		{"TCP from a neighbour", ipPacket(host4.Next(), node4, protoTCP, ports), []string{"web", "any TCP"}},
		{"first fragment", fragment4(tcp, 0), []string{"web", "any TCP", "addresses"}},
		{"later fragment", fragment4(tcp, 8), []string{"any TCP", "opaque port", "addresses"}},
		{"TCP cut short", ipPacket(host4, node4, protoTCP, []byte{0, 80, 1}), []string{"any TCP", "opaque port", "addresses"}},
		{"unreachable 3/4", ipPacket(host4, node4, protoICMP, []byte{3, 4}), []string{"ping", "any ICMP", "addresses"}},
		{"unreachable 3/3", ipPacket(host4, node4, protoICMP, []byte{3, 3}), []string{"any ICMP", "addresses"}},
		{"redirect 5/9", ipPacket(host4, node4, protoICMP, []byte{5, 9}), []string{"ping", "any ICMP", "addresses"}},
		{"echo 8/0", ipPacket(host4, node4, protoICMP, []byte{8, 0}), []string{"ping", "any ICMP", "addresses"}},
		{"ICMP fragment", fragment4(ipPacket(host4, node4, protoICMP, []byte{8, 0}), 16), []string{"opaque ICMP", "any ICMP", "addresses"}},
		{"GRE", ipPacket(host4, node4, 47, []byte{0, 80, 0, 80}), []string{"addresses"}},
		{"TCP over IPv6", ipPacket(host6, node6, protoTCP, ports), []string{"web", "any TCP"}},
		{"behind options", ipPacket(host6, node6, extHopByHop, append([]byte{extDestinations, 0, 1, 4, 0, 0, 0, 0}, options...)), []string{"web", "any TCP"}},
		{"IPv6 first fragment", fragment6(protoTCP, 0, ports), []string{"web", "any TCP"}},
		{"IPv6 later fragment", fragment6(protoTCP, 8, ports), []string{"any TCP", "opaque port"}},
		{"IPv6 later fragment of options", fragment6(extDestinations, 256, ports), []string{"opaque"}},
		{"binding update", ipPacket(host6, node6, protoMobility, []byte{59, 0, 5, 0, 0, 0, 0, 0}), []string{"mobility"}},
		{"binding acknowledgement", ipPacket(host6, node6, protoMobility, []byte{59, 0, 6, 0, 0, 0, 0, 0}), nil},
	} {
		f, n, err := parse(c.packet)
		if err != nil || n != len(c.packet) {
			t.Errorf("%s: parse: %d, %v", c.name, n, err)
			continue
		}
		back := f // the same packet as an inbound SA would carry it, ends swapped
		back.src, back.dst, back.srcPort, back.dstPort = f.dst, f.src, f.dstPort, f.srcPort
		for name, sel := range names {
			want := name == "any" || slices.Contains(c.want, name)
			out := ipsecctx.SA{Direction: ipsecctx.Outbound, Selectors: []ipsecctx.Selector{{Remote: single(host4.Next())}, sel}}
			in := ipsecctx.SA{Direction: ipsecctx.Inbound, Selectors: out.Selectors}
			if carries(&out, &f) != want || carries(&in, &back) != want {
				t.Errorf("%s carries %s: %v out, %v in, want %v", name, c.name, carries(&out, &f), carries(&in, &back), want)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good4, good6 := udpPacket(host4, node4, 1, 2, nil), udpPacket(host6, node6, 1, 2, nil)
	short := slices.Clone(good4)
	short[0] = 0x44
	inverted := slices.Clone(good4)
	inverted[2], inverted[3] = 0, 19
	for name, p := range map[string][]byte{
		"nothing":                  {},
		"version 5":                append([]byte{0x50}, good4[1:]...),
		"IPv4 cut":                 good4[:len(good4)-1],
		"IPv4 header cut":          good4[:19],
		"IPv4 header of 16 octets": short,
		"IPv4 total of 19":         inverted,
		"IPv6 cut":                 good6[:len(good6)-1],
		"IPv6 header cut":          good6[:39],
		"extension header cut":     ipPacket(host6, node6, extRouting, []byte{protoUDP, 0, 0, 0}),
		"extension header missing": ipPacket(host6, node6, extRouting, []byte{protoUDP, 1, 0, 0, 0, 0, 0, 0}),
	} {
		if f, n, err := parse(p); err == nil {
			t.Errorf("%s: %+v, %d octets", name, f, n)
		}
	}
}

func TestOverlap(t *testing.T) {
	tcp := func(local, remote ipsecctx.Ports) ipsecctx.Selector {
		return ipsecctx.Selector{
			Protocol:  ipsecctx.NextProtocol{Match: ipsecctx.MatchValue, Number: protoTCP},
			LocalPort: local, RemotePort: remote,
		}
	}
	p := func(from, to uint16) ipsecctx.Ports { return ipsecctx.Ports{From: from, To: to} }
	udp := tcp(ipsecctx.AnyPort, ipsecctx.AnyPort)
	udp.Protocol.Number = protoUDP
	for _, c := range []struct {
		name string
		a, b ipsecctx.Selector
		want bool
	}{
		{"any", selector(), selector(), true},
		{"addresses", selector(node4), selector(node4.Next()), false},
		{"families", selector(node4), selector(node6), false},
		{"any protocol", selector(), udp, true},
		{"protocols", tcp(ipsecctx.AnyPort, ipsecctx.AnyPort), udp, false},
		{"ports", tcp(p(1, 5), ipsecctx.AnyPort), tcp(p(6, 9), ipsecctx.AnyPort), false},
		{"touching ports", tcp(p(1, 6), ipsecctx.AnyPort), tcp(p(6, 9), ipsecctx.AnyPort), true},
		{"one side's ports", tcp(p(1, 6), p(1, 1)), tcp(p(6, 9), p(2, 2)), false},
		{"opaque and a port", tcp(ipsecctx.OpaquePort, ipsecctx.AnyPort), tcp(p(6, 9), ipsecctx.AnyPort), false},
		{"opaque and any", tcp(ipsecctx.OpaquePort, ipsecctx.AnyPort), tcp(ipsecctx.AnyPort, ipsecctx.AnyPort), true},
		{"opaque twice", tcp(ipsecctx.OpaquePort, ipsecctx.AnyPort), tcp(ipsecctx.OpaquePort, ipsecctx.AnyPort), true},
	} {
		if got, back := overlapSelectors(&c.a, &c.b), overlapSelectors(&c.b, &c.a); got != c.want || back != c.want {
			t.Errorf("%s: %v and %v, want %v", c.name, got, back, c.want)
		}
	}
}
