package xfrm

import (
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"pgregory.net/rapid"
)

// TestBlocks covers a range exactly.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint16().Draw(t, "from")
		to := rapid.Uint16Range(from, 65535).Draw(t, "to")
		covered := map[uint16]int{}
		all := blocks(from, to)
		for _, b := range all {
			for v := 0; v < 65536; v++ {
				if (uint16(v)^b.value)&b.mask == 0 {
					covered[uint16(v)]++
				}
			}
		}
		for v := 0; v < 65536; v++ {
			want := 0
			if int(from) <= v && v <= int(to) {
				want = 1
			}
			if covered[uint16(v)] != want {
				t.Fatalf("%d to %d: %d is covered %d times", from, to, v, covered[uint16(v)])
			}
		}
		if len(all) > 30 {
			t.Fatalf("%d blocks", len(all))
		}
	})
}

// flow is what the kernel compares of an outbound packet.
type flow struct {
	src, dst         netip.Addr
	proto            uint8
	srcPort, dstPort uint16 // or ICMP type and code, or Mobility Header type
}

func matches(s *uapi.Selector, f flow) bool {
	return s.Src.Contains(f.src) && s.Dst.Contains(f.dst) && (s.Proto == 0 || s.Proto == f.proto) &&
		(s.SrcPort^f.srcPort)&s.SrcMask == 0 && (s.DstPort^f.dstPort)&s.DstMask == 0
}

// TestSelectorMeaning compares the kernel's selectors with RFC 4301's rules,
// packet by packet, in both directions.
func TestSelectorMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addr := func(label string) netip.Addr {
			return netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 1).Draw(t, label)), rapid.Byte().Draw(t, label)})
		}
		span := func(label string) []ipsecctx.Range {
			if rapid.Bool().Draw(t, label) {
				return nil
			}
			a, b := addr(label), addr(label)
			if b.Less(a) {
				a, b = b, a
			}
			return []ipsecctx.Range{{From: a, To: b}}
		}
		ports := func(label string) ipsecctx.Ports {
			if rapid.Bool().Draw(t, label) {
				return ipsecctx.AnyPort
			}
			from := rapid.Uint16Range(0, 300).Draw(t, label)
			return ipsecctx.Ports{From: from, To: from + rapid.Uint16Range(0, 7).Draw(t, label)}
		}
		s := ipsecctx.Selector{Local: span("local"), Remote: span("remote"), LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort, MobilityHeader: ipsecctx.AnyPort}
		proto := rapid.SampledFrom([]uint8{0, 1, 17, 135}).Draw(t, "protocol")
		if proto != 0 {
			s.Protocol = ipsecctx.NextProtocol{Match: ipsecctx.MatchValue, Number: proto}
		}
		switch proto {
		case 1:
			from := rapid.Uint16Range(0, 2000).Draw(t, "ICMP")
			to := from + rapid.Uint16Range(0, 1500).Draw(t, "ICMP")
			s.ICMP = ipsecctx.ICMPRange{Match: ipsecctx.MatchValue, TypeFrom: uint8(from >> 8), CodeFrom: uint8(from), TypeTo: uint8(to >> 8), CodeTo: uint8(to)}
		case 17:
			s.LocalPort, s.RemotePort = ports("local port"), ports("remote port")
		case 135:
			s.MobilityHeader = ports("Mobility Header")
			s.MobilityHeader.To = min(s.MobilityHeader.To, 255)
			s.MobilityHeader.From = min(s.MobilityHeader.From, 255)
		}
		out, err := selectorsOf(&s, uapi.DirOut)
		if err != nil {
			wantStatus(t, err, cxtp.StatusUnsupported)
			return
		}
		in, err := selectorsOf(&s, uapi.DirFwd)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			f := flow{addr("src"), addr("dst"), rapid.SampledFrom([]uint8{1, 6, 17, 135}).Draw(t, "proto"),
				rapid.Uint16Range(0, 310).Draw(t, "port"), rapid.Uint16Range(0, 310).Draw(t, "port")}
			if f.proto == 1 {
				f.srcPort, f.dstPort = f.srcPort%15, f.dstPort%256
			}
			if f.proto == 135 {
				f.srcPort, f.dstPort = f.srcPort%256, 0
			}
			want := meant(&s, f)
			back := flow{f.dst, f.src, f.proto, f.dstPort, f.srcPort}
			if f.proto == 1 || f.proto == 135 {
				back.srcPort, back.dstPort = f.srcPort, f.dstPort
			}
			for name, got := range map[string]int{"out": count(out, f), "fwd": count(in, back)} {
				if (got > 0) != want {
					t.Fatalf("%s: %+v matches %d of %+v, want %t", name, f, got, s, want)
				}
			}
		}
	})
}

func count(selectors []uapi.Selector, f flow) (n int) {
	for i := range selectors {
		if matches(&selectors[i], f) {
			n++
		}
	}
	return n
}

// meant is RFC 4301 section 4.4.1.1 for an outbound packet whose fields are all
// there.
func meant(s *ipsecctx.Selector, f flow) bool {
	within := func(list []ipsecctx.Range, a netip.Addr) bool {
		for _, r := range list {
			if r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0 {
				return true
			}
		}
		return len(list) == 0
	}
	inPorts := func(p ipsecctx.Ports, v uint16) bool { return p.From <= v && v <= p.To }
	if !within(s.Local, f.src) || !within(s.Remote, f.dst) {
		return false
	}
	if s.Protocol.Match == ipsecctx.MatchAny {
		return true
	}
	if s.Protocol.Number != f.proto {
		return false
	}
	switch f.proto {
	case 1:
		n := f.srcPort<<8 | f.dstPort
		return uint16(s.ICMP.TypeFrom)<<8|uint16(s.ICMP.CodeFrom) <= n && n <= uint16(s.ICMP.TypeTo)<<8|uint16(s.ICMP.CodeTo)
	case 135:
		return inPorts(s.MobilityHeader, f.srcPort)
	}
	return inPorts(s.LocalPort, f.srcPort) && inPorts(s.RemotePort, f.dstPort)
}

// TestOpaque refuses what the kernel cannot compare: without it more would match.
func TestOpaque(t *testing.T) {
	for name, change := range map[string]func(*ipsecctx.Selector){
		"protocol": func(s *ipsecctx.Selector) { s.Protocol.Match = ipsecctx.MatchOpaque },
		"port": func(s *ipsecctx.Selector) {
			s.Protocol = ipsecctx.NextProtocol{Match: ipsecctx.MatchValue, Number: 17}
			s.LocalPort = ipsecctx.OpaquePort
		},
		"any protocol's port": func(s *ipsecctx.Selector) { s.RemotePort = ipsecctx.OpaquePort },
		"ICMP": func(s *ipsecctx.Selector) {
			s.Protocol = ipsecctx.NextProtocol{Match: ipsecctx.MatchValue, Number: 58}
			s.ICMP.Match = ipsecctx.MatchOpaque
		},
		"Mobility Header": func(s *ipsecctx.Selector) {
			s.Protocol = ipsecctx.NextProtocol{Match: ipsecctx.MatchValue, Number: 135}
			s.MobilityHeader = ipsecctx.OpaquePort
		},
	} {
		b := newBench(t, newJudge())
		s := testSession()
		change(&s.SAs[1].Selectors[1])
		t.Run(name, func(t *testing.T) {
			wantStatus(t, b.Supports(&s.SAs[1]), cxtp.StatusUnsupported)
			wantStatus(t, b.Stage(ctx, testID, s), cxtp.StatusUnsupported)
			b.kernel.empty(t)
		})
	}
}
