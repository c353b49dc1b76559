package sctp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// ErrUnprotected: what is said between two routers would not be encrypted by IPsec, or
// nobody can tell that it would. The error around it has the reason.
var ErrUnprotected = errors.New("not protected by IPsec")

// protocol is SCTP's number in IP headers and selectors.
const protocol = 132

// flow is what the packets of an association are in one direction.
type flow struct {
	dir      uapi.Dir
	src, dst netip.AddrPort
}

func (f flow) String() string {
	if f.dir == uapi.DirOut {
		return fmt.Sprintf("to %s from %s", f.dst, f.src)
	}
	return fmt.Sprintf("from %s to %s", f.src, f.dst)
}

// match is whether a policy takes the packets of a flow.
type match int

const (
	never match = iota
	perhaps
	always
)

// covered returns the policies among which those are that the kernel applies to a
// flow, or why they are not enough: the first that surely applies has to demand ESP,
// and none that may apply in its place may do less. Of the same priority, the kernel
// takes the one that it got first, which nobody can see.
func covered(policies []*uapi.Policy, f flow) ([]*uapi.Policy, error) {
	byPriority := slices.SortedStableFunc(slices.Values(policies), func(a, b *uapi.Policy) int {
		return cmp.Compare(a.Priority, b.Priority)
	})
	var found []*uapi.Policy
	var sure *uapi.Policy
	for _, p := range byPriority {
		if sure != nil && p.Priority > sure.Priority {
			break
		}
		m := f.match(p)
		if m == never || p.Action == uapi.Block && m == perhaps {
			continue
		}
		if why := weakness(p); why != "" {
			return nil, fmt.Errorf("%w: of what is said %s, the policy %s %s", ErrUnprotected, f, p.ID(), why)
		}
		if found = append(found, p); m == always {
			sure = p
		}
	}
	if sure == nil {
		return nil, fmt.Errorf("%w: no policy covers what is said %s by SCTP: configure IPsec between the two, with ESP that is required in both directions", ErrUnprotected, f)
	}
	return found, nil
}

// match says whether a policy applies to the packets. Perhaps is what depends on the
// interface that they take.
func (f flow) match(p *uapi.Policy) match {
	s := &p.Selector
	family := uapi.IPv4
	if f.src.Addr().Is6() {
		family = uapi.IPv6
	}
	switch {
	case p.Dir != f.dir, p.Type != uapi.PolicyMain, s.Family != family,
		p.IfID != 0, p.Mark.Value != 0, // our packets have neither
		!contains(s.Src, f.src.Addr()), !contains(s.Dst, f.dst.Addr()),
		s.Proto != 0 && s.Proto != protocol,
		(s.SrcPort^f.src.Port())&s.SrcMask != 0, (s.DstPort^f.dst.Port())&s.DstMask != 0:
		return never
	case s.IfIndex != 0 || p.SecCtx != nil:
		return perhaps
	}
	return always
}

// about tells whether a policy may apply to packets of a local address.
func about(p *uapi.Policy, local netip.Addr) bool {
	return p.Dir == uapi.DirOut && contains(p.Selector.Src, local) || p.Dir == uapi.DirIn && contains(p.Selector.Dst, local)
}

func contains(p netip.Prefix, a netip.Addr) bool { return !p.IsValid() || p.Contains(a) }

// weakness says why a policy does not keep packets secret; "" = it does.
func weakness(p *uapi.Policy) string {
	if p.Action == uapi.Block {
		return "blocks it: take it away, or the routers cannot reach each other"
	}
	if len(p.Templates) == 0 {
		return "lets it pass in the clear: take it away, or have it demand ESP"
	}
	optional := false
	for _, t := range p.Templates {
		if t.Proto == uapi.ESP && t.Optional == 0 {
			return ""
		}
		optional = optional || t.Proto == uapi.ESP
	}
	if optional {
		return "has ESP as an option: make it required"
	}
	return "does not encrypt: have it demand ESP, keys pass here"
}

// exposes says why an SA does not keep packets secret or intact; "" = it does.
func exposes(s *uapi.State) string {
	switch {
	case s.AEAD != nil && s.AEAD.Name != "rfc4543(gcm(aes))":
		return ""
	case s.AEAD != nil, s.Crypt == nil, s.Crypt.Name == "ecb(cipher_null)", s.Crypt.Name == "cipher_null":
		return "does not encrypt: negotiate a cipher"
	case s.Auth == nil, s.Auth.Name == "digest_null":
		return "does not authenticate: negotiate an integrity algorithm, or a combined mode"
	}
	return ""
}
