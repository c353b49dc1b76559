package sctp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

var (
	here  = netip.MustParseAddrPort("203.0.113.1:5091")
	there = netip.MustParseAddrPort("203.0.113.2:5091")
	out   = flow{uapi.DirOut, here, there}
)

// protecting is a policy that covers the flow out as it should be, with changes.
func protecting(change ...func(*uapi.Policy)) *uapi.Policy {
	p := &uapi.Policy{
		Selector: uapi.Selector{Family: uapi.IPv4, Src: netip.MustParsePrefix("203.0.113.1/32"), Dst: netip.MustParsePrefix("203.0.113.2/32")},
		Dir:      uapi.DirOut, Priority: 100,
		Templates: []uapi.Template{{Family: uapi.IPv4, Proto: uapi.ESP, Mode: uapi.Transport}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func selecting(change func(*uapi.Selector)) func(*uapi.Policy) {
	return func(p *uapi.Policy) { change(&p.Selector) }
}

func priority(n uint32) func(*uapi.Policy) { return func(p *uapi.Policy) { p.Priority = n } }

func inClear(p *uapi.Policy) { p.Templates = nil }

func onInterface(p *uapi.Policy) { p.Selector.IfIndex = 3 }

func blocks(p *uapi.Policy) { p.Action = uapi.Block }

func everywhere(p *uapi.Policy) { p.Selector.Src, p.Selector.Dst = netip.Prefix{}, netip.Prefix{} }

func template(change func(*uapi.Template)) func(*uapi.Policy) {
	return func(p *uapi.Policy) { change(&p.Templates[0]) }
}

// The table has what a kernel would do with a packet, and so what may be said: "" is
// that the flow is covered.
func TestCovered(t *testing.T) {
	const uncovered = "no policy covers"
	port := func(s *uapi.Selector) { s.SrcPort, s.SrcMask = 5091, 0xffff }
	for _, test := range []struct {
		name     string
		policies []*uapi.Policy
		want     string
	}{
		{"nothing", nil, uncovered},
		{"transport mode", []*uapi.Policy{protecting()}, ""},
		{"everything there is", []*uapi.Policy{protecting(everywhere)}, ""},
		{"SCTP alone", []*uapi.Policy{protecting(selecting(func(s *uapi.Selector) { s.Proto = 132 }))}, ""},
		{"this port alone", []*uapi.Policy{protecting(selecting(port))}, ""},
		{"another port", []*uapi.Policy{protecting(selecting(func(s *uapi.Selector) { s.DstPort, s.DstMask = 5090, 0xffff }))}, uncovered},
		{"UDP alone", []*uapi.Policy{protecting(selecting(func(s *uapi.Selector) { s.Proto = 17 }))}, uncovered},
		{"another peer", []*uapi.Policy{protecting(selecting(func(s *uapi.Selector) { s.Dst = netip.MustParsePrefix("203.0.113.3/32") }))}, uncovered},
		{"the other direction", []*uapi.Policy{protecting(func(p *uapi.Policy) { p.Dir = uapi.DirIn })}, uncovered},
		{"forwarded packets", []*uapi.Policy{protecting(func(p *uapi.Policy) { p.Dir = uapi.DirFwd })}, uncovered},
		{"one socket's", []*uapi.Policy{protecting(func(p *uapi.Policy) { p.Dir = 4 })}, uncovered},
		{"the other family", []*uapi.Policy{protecting(everywhere, selecting(func(s *uapi.Selector) { s.Family = uapi.IPv6 }))}, uncovered},
		{"an xfrm interface", []*uapi.Policy{protecting(func(p *uapi.Policy) { p.IfID = 7 })}, uncovered},
		{"marked packets", []*uapi.Policy{protecting(func(p *uapi.Policy) { p.Mark = uapi.Mark{Value: 1, Mask: 1} })}, uncovered},
		{"unmarked packets", []*uapi.Policy{protecting(func(p *uapi.Policy) { p.Mark = uapi.Mark{Mask: 1} })}, ""},
		{"one interface", []*uapi.Policy{protecting(onInterface)}, uncovered},
		{"optional", []*uapi.Policy{protecting(template(func(t *uapi.Template) { t.Optional = 1 }))}, "make it required"},
		{"AH", []*uapi.Policy{protecting(template(func(t *uapi.Template) { t.Proto = uapi.AH }))}, "does not encrypt"},
		{"AH and ESP", []*uapi.Policy{protecting(func(p *uapi.Policy) {
			p.Templates = append([]uapi.Template{{Proto: uapi.AH}}, p.Templates...)
		})}, ""},
		{"clear", []*uapi.Policy{protecting(inClear)}, "in the clear"},
		{"blocked", []*uapi.Policy{protecting(blocks)}, "blocks it"},
		{"clear first", []*uapi.Policy{protecting(), protecting(inClear, everywhere, priority(99))}, "in the clear"},
		{"clear last", []*uapi.Policy{protecting(inClear, everywhere, priority(101)), protecting()}, ""},
		{"clear, as good", []*uapi.Policy{protecting(), protecting(inClear, everywhere)}, "in the clear"},
		{"as good", []*uapi.Policy{protecting(), protecting(everywhere)}, ""},
		{"clear first on an interface", []*uapi.Policy{protecting(inClear, onInterface, priority(1)), protecting()}, "in the clear"},
		{"blocked first on an interface", []*uapi.Policy{protecting(blocks, onInterface, priority(1)), protecting()}, ""},
		{"blocked on an interface, as good", []*uapi.Policy{protecting(), protecting(blocks, onInterface)}, ""},
		{"protected first on an interface", []*uapi.Policy{protecting(onInterface, priority(1)), protecting()}, ""},
		{"protected first on an interface, then clear", []*uapi.Policy{protecting(onInterface, priority(1)), protecting(inClear)}, "in the clear"},
		{"clear first for others", []*uapi.Policy{protecting(inClear, selecting(func(s *uapi.Selector) { s.Proto = 17 }), priority(1)), protecting()}, ""},
	} {
		_, err := covered(test.policies, out)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (!errors.Is(err, ErrUnprotected) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// All policies that the kernel may take are returned, for their SAs to be looked at.
func TestCoveredReturnsWhatMayApply(t *testing.T) {
	a, b, c := protecting(onInterface, priority(1)), protecting(), protecting(everywhere)
	found, err := covered([]*uapi.Policy{c, b, a, protecting(priority(200))}, out)
	if err != nil || len(found) != 3 {
		t.Errorf("%d policies, %v; want 3", len(found), err)
	}
}

func TestExposes(t *testing.T) {
	hmac := &uapi.Auth{Name: "hmac(sha256)"}
	for _, test := range []struct {
		state *uapi.State
		want  string
	}{
		{&uapi.State{AEAD: &uapi.AEAD{Name: "rfc4106(gcm(aes))"}}, ""},
		{&uapi.State{Crypt: &uapi.Cipher{Name: "cbc(aes)"}, Auth: hmac}, ""},
		{&uapi.State{AEAD: &uapi.AEAD{Name: "rfc4543(gcm(aes))"}}, "does not encrypt"},
		{&uapi.State{Crypt: &uapi.Cipher{Name: "ecb(cipher_null)"}, Auth: hmac}, "does not encrypt"},
		{&uapi.State{Auth: hmac}, "does not encrypt"},
		{&uapi.State{Crypt: &uapi.Cipher{Name: "cbc(aes)"}}, "does not authenticate"},
	} {
		if got := exposes(test.state); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.state, got, test.want)
		}
	}
}
