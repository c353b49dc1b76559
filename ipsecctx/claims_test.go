package ipsecctx

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"pgregory.net/rapid"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

func addrRange(from, to string) Range {
	return Range{netip.MustParseAddr(from), netip.MustParseAddr(to)}
}

func TestClaims(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Session)
		want   cxtp.Claims
	}{
		{"selectors within the inner addresses", func(*Session) {},
			cxtp.Claims{Identity: "fqdn:node1.example", Inner: prefixes("10.4.0.7/32")}},
		{"a selector beyond them", func(s *Session) {
			s.SAs[1].Selectors[1].Remote = []Range{addrRange("10.4.0.7", "10.4.0.9")}
		}, cxtp.Claims{Identity: "fqdn:node1.example", Inner: prefixes("10.4.0.7/32", "10.4.0.8/31")}},
		{"a selector for everything", func(s *Session) { s.SAs[1].Selectors[0].Remote = nil },
			cxtp.Claims{Identity: "fqdn:node1.example", Inner: prefixes("10.4.0.7/32", "0.0.0.0/0")}},
		{"one for everything in both families", func(s *Session) { s.SAs[1].Selectors[0].Remote, s.SAs[1].Selectors[0].Local = nil, nil },
			cxtp.Claims{Identity: "fqdn:node1.example", Inner: prefixes("10.4.0.7/32", "0.0.0.0/0", "::/0")}},
		{"no inner addresses", func(s *Session) { s.Inner = nil },
			cxtp.Claims{Identity: "fqdn:node1.example", Inner: prefixes("10.4.0.7/32")}},
		{"EAP", func(s *Session) { s.EAPIdentity = []byte("ann") },
			cxtp.Claims{Identity: "eap:ann", Inner: prefixes("10.4.0.7/32")}},
		{"nobody", func(s *Session) { s.RemoteID = Name{} },
			cxtp.Claims{Inner: prefixes("10.4.0.7/32")}},
	} {
		s := testSession()
		c.change(s)
		c.want.Gateways = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:4500")}
		if got := s.Claims(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: claims %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestPrefixesCoverTheRange: no address more, none less, none twice.
func TestPrefixesCoverTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRanges(t, rapid.Bool().Draw(t, "IPv4"))
		if len(r) == 0 {
			return
		}
		next := r[0].From
		for _, p := range appendPrefixes(nil, r[0]) {
			if p.Addr() != next || p.Masked() != p {
				t.Fatalf("prefix %s, want one that starts at %s", p, next)
			}
			if r[0].To.Less(last(p)) {
				t.Fatalf("prefix %s reaches beyond %s", p, r[0].To)
			}
			if last(p) == r[0].To {
				next = netip.Addr{}
				continue
			}
			next = last(p).Next()
		}
		if next.IsValid() {
			t.Fatalf("the prefixes end before %s, want %s", next, r[0].To)
		}
	})
	for _, c := range []struct{ r, want string }{{"0.0.0.0", "255.255.255.255"}, {"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}} {
		if got := appendPrefixes(nil, addrRange(c.r, c.want)); len(got) != 1 || got[0].Bits() != 0 {
			t.Errorf("everything is %v, want one prefix of length 0", got)
		}
	}
}

func TestIdentities(t *testing.T) {
	for _, c := range []struct {
		name Name
		want string
	}{
		{Name{}, ""},
		{Name{Type: IDIPv4, Data: []byte{192, 0, 2, 1}}, "ipv4:192.0.2.1"},
		{Name{Type: IDIPv6, Data: netip.MustParseAddr("2001:db8::1").AsSlice()}, "ipv6:2001:db8::1"},
		{Name{Type: IDFQDN, Data: []byte("node1.example")}, "fqdn:node1.example"},
		{Name{Type: IDRFC822, Data: []byte("ann@example.com")}, "rfc822:ann@example.com"},
		{Name{Type: IDDN, Data: []byte("\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05node1")}, "dn:CN=node1"},
		{Name{Type: IDDN, Data: []byte("\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05no\ne1")}, "dn:3010310e300c06035504030c056e6f0a6531"},
		{Name{Type: IDDN, Data: []byte{0x30, 0}}, "dn:3000"},
		{Name{Type: IDGN, Data: []byte{0x30, 0x80}}, "gn:3080"},
		{Name{Type: IDKeyID, Data: []byte{0, 0xff}}, "keyid:00ff"},
		{Name{Type: 201, Data: []byte{1}}, "id201:01"},
		{Name{Type: IDFQDN, Data: []byte("a\x1b[2J")}, `fqdn:"a\x1b[2J"`},
	} {
		if got := c.name.String(); got != c.want {
			t.Errorf("type %d, %x is %q, want %q", c.name.Type, c.name.Data, got, c.want)
		}
	}
}

func TestConflicts(t *testing.T) {
	other := func(change func(*Session)) *Session {
		s := testSession()
		s.Inner = prefixes("10.4.0.8/32")
		for i := range s.SAs {
			s.SAs[i].SPI += 0x100
			for j := range s.SAs[i].Selectors {
				s.SAs[i].Selectors[j].Remote = []Range{addrRange("10.4.0.8", "10.4.0.8")}
			}
		}
		change(s)
		return s
	}
	sameRemote := func(s *Session, index int) *Selector {
		sel := &s.SAs[1].Selectors[index]
		sel.Remote = []Range{addrRange("10.4.0.0", "10.4.0.255")}
		return sel
	}
	for _, c := range []struct {
		name   string
		change func(*Session)
		want   cxtp.Status
	}{
		{"nothing in common", func(*Session) {}, cxtp.StatusOK},
		{"inner address", func(s *Session) { s.Inner = prefixes("10.4.0.0/24") }, cxtp.StatusPolicyConflict},
		{"inbound SPI", func(s *Session) { s.SAs[0].SPI = 0xc0000001 }, cxtp.StatusSPIConflict},
		{"inbound SPI at another address", func(s *Session) {
			s.SAs[0].SPI, s.SAs[0].Local = 0xc0000001, netip.MustParseAddr("192.0.2.2")
		}, cxtp.StatusOK},
		{"inbound SPI of AH", func(s *Session) { s.SAs[0].SPI, s.SAs[0].Protocol = 0xc0000001, AH }, cxtp.StatusOK},
		{"outbound SPI", func(s *Session) { s.SAs[1].SPI = 0xc0000002 }, cxtp.StatusOK},
		{"selector", func(s *Session) { sameRemote(s, 0) }, cxtp.StatusPolicyConflict},
		{"selector that is ANY", func(s *Session) { s.SAs[1].Selectors[0] = Selector{LocalPort: AnyPort, RemotePort: AnyPort} }, cxtp.StatusPolicyConflict},
		{"selector of another protocol", func(s *Session) { sameRemote(s, 0).Protocol.Number = 17 }, cxtp.StatusOK},
		{"selector of another port", func(s *Session) { sameRemote(s, 0).LocalPort = Ports{80, 442} }, cxtp.StatusOK},
		{"selector of OPAQUE ports", func(s *Session) { sameRemote(s, 0).LocalPort = OpaquePort }, cxtp.StatusPolicyConflict},
		{"selector of other local addresses", func(s *Session) { sameRemote(s, 0).Local = []Range{addrRange("10.1.0.0", "10.1.0.1")} }, cxtp.StatusOK},
		{"ICMP", func(s *Session) { sameRemote(s, 1) }, cxtp.StatusPolicyConflict},
		{"ICMP of another type", func(s *Session) { sameRemote(s, 1).ICMP = ICMPRange{MatchValue, 0, 0, 0, 255} }, cxtp.StatusOK},
		{"ICMP that is ANY", func(s *Session) { sameRemote(s, 1).ICMP = ICMPRange{} }, cxtp.StatusPolicyConflict},
		{"inbound selectors only", func(s *Session) { s.SAs[0].Selectors = testSession().SAs[0].Selectors }, cxtp.StatusOK},
	} {
		a, b := testSession(), other(c.change)
		for _, err := range []error{Conflicts(a, b), Conflicts(b, a)} {
			if status(err) != c.want {
				t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
			}
		}
	}
}

func TestManifest(t *testing.T) {
	got := Manifest(testSession(), testDynamic())
	want := []cxtp.ManifestEntry{
		{FPT: cxtp.FPTIPsecSA, Direction: 1, Protocol: 50, SPI: 0xc0000001},
		{FPT: cxtp.FPTIPsecSA, Direction: 2, Protocol: 50, SPI: 0xc0000002, Ceiling: 0x1_0000_4002},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("manifest %+v, want %+v", got, want)
	}
}
