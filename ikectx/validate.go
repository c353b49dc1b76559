package ikectx

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Validate checks that the session means something by itself: that everything in
// it is in range, that transforms and keys go together, and that every key that
// is missing can be derived from what is there. Whether a gateway can carry it on
// is [Backend.Supports]'s question.
//
// The error is a [features.Error]: StatusAlgorithm for an unknown transform or a
// key that does not fit it, StatusUnsupported for what this profile knows but does
// not move, and StatusMalformed for what contradicts itself.
func (s *Session) Validate() error {
	if err := s.checkShared(); err != nil {
		return malformed(cxtp.FPTIKESession, "%w", err)
	}
	generations := map[uint32]*SA{}
	for i := range s.SAs {
		sa := &s.SAs[i]
		if err := sa.validate(generations); err != nil {
			return err
		}
		generations[sa.Generation] = sa
	}
	if err := s.Current().complete(generations); err != nil {
		return err
	}
	inbound, outbound := map[childKey]bool{}, map[childKey]bool{}
	for i := range s.Children {
		c := &s.Children[i]
		if err := c.validate(generations); err != nil {
			return err
		}
		in, out := childKey{c.Protocol, c.Inbound}, childKey{c.Protocol, c.Outbound}
		if inbound[in] || outbound[out] {
			return malformed(cxtp.FPTIKEChild, "%s: another one has one of its SPIs", c)
		}
		inbound[in], outbound[out] = true, true
	}
	return nil
}

// childKey is what no two CHILD SAs have in common in one direction.
type childKey struct {
	protocol ipsecctx.Protocol
	spi      uint32
}

func (s *Session) checkShared() error {
	if len(s.SAs) == 0 {
		return fmt.Errorf("session without an IKE SA: there is nothing to move")
	}
	for _, id := range [...]struct {
		side string
		id   profile.Identity
	}{{"local", s.LocalID}, {"remote", s.RemoteID}} {
		if id.id.Type == 0 {
			return fmt.Errorf("no %s identity: an IKE SA that is not authenticated is not moved", id.side)
		}
		if err := id.id.Check(); err != nil {
			return fmt.Errorf("%s %w", id.side, err)
		}
	}
	if err := profile.CheckText(s.EAPIdentity); err != nil {
		return fmt.Errorf("EAP %w", err)
	}
	if err := s.checkAddresses(); err != nil {
		return err
	}
	switch {
	case s.NAT&^natKnown != 0 || s.Extensions&^extKnown != 0:
		return fmt.Errorf("NAT %#02x, protocol extensions %#08x: some are not known", uint8(s.NAT), uint32(s.Extensions))
	case len(s.State) > 0 && s.Implementation == "":
		return fmt.Errorf("implementation state of no implementation")
	}
	for _, name := range [...]string{s.Connection, s.Implementation} {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return checkAges(s.Age, s.Reauthenticate)
}

func (s *Session) checkAddresses() error {
	for _, end := range [...]netip.AddrPort{s.Local, s.Remote} {
		if reason := profile.Unicast(end.Addr()); reason != "" {
			return fmt.Errorf("outer address %s %s", end.Addr(), reason)
		}
		if end.Port() == 0 {
			return fmt.Errorf("outer address %s without a port", end.Addr())
		}
	}
	if s.Local.Addr().Is4() != s.Remote.Addr().Is4() {
		return fmt.Errorf("outer addresses %s and %s are not of one family", s.Local.Addr(), s.Remote.Addr())
	}
	for _, a := range s.Additional {
		if reason := profile.Unicast(a); reason != "" {
			return fmt.Errorf("additional address %s %s", a, reason)
		}
	}
	for _, list := range [...][]netip.Prefix{s.LocalVirtual, s.RemoteVirtual} {
		for _, p := range list {
			if err := profile.CheckPrefix(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkName checks the name of a configuration, which ends up in logs.
func checkName(name string) error {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("name %q is not UTF-8, or has a character that cannot be shown", name)
	}
	return nil
}

func checkAges(ages ...time.Duration) error {
	for _, a := range ages {
		if a < 0 {
			return fmt.Errorf("age or limit of %v", a)
		}
	}
	return nil
}

// firstSPI is the first that is not reserved, RFC 4303 section 2.1.
const firstSPI = 256

func (c *Child) validate(generations map[uint32]*SA) error {
	refuse := func(status cxtp.Status, format string, args ...any) error {
		return features.Refuse(cxtp.FPTIKEChild, status, "%s: %w", c, fmt.Errorf(format, args...))
	}
	by := generations[c.Generation]
	switch {
	case by == nil:
		return refuse(cxtp.StatusMalformed, "made by generation %d, which is not in the context", c.Generation)
	case c.Inbound < firstSPI || c.Outbound < firstSPI:
		return refuse(cxtp.StatusMalformed, "SPI below %d", firstSPI)
	case c.Replaces == c.Inbound:
		return refuse(cxtp.StatusMalformed, "it replaces itself")
	case c.Protocol != ipsecctx.ESP && c.Protocol != ipsecctx.AH:
		return refuse(cxtp.StatusUnsupported, "protocol %d: 50 is ESP, 51 AH", c.Protocol)
	case c.Mode != ipsecctx.Tunnel && c.Mode != ipsecctx.Transport:
		return refuse(cxtp.StatusUnsupported, "mode %d: 1 is tunnel, 2 transport", c.Mode)
	case len(c.Local) == 0 || len(c.Remote) == 0:
		return refuse(cxtp.StatusMalformed, "no traffic selectors")
	case len(c.Exchange.Ni) == 0 && by.Replaces != 0:
		return refuse(cxtp.StatusMalformed, "no nonces, but generation %d was not made by IKE_SA_INIT", by.Generation)
	case len(c.Exchange.Ni) == 0 && c.Exchange.Method != 0:
		return refuse(cxtp.StatusMalformed, "a key exchange without nonces")
	}
	for _, t := range append(c.Local[:len(c.Local):len(c.Local)], c.Remote...) {
		if from, to := t.Range.From, t.Range.To; !from.IsValid() || from.Is4() != to.Is4() || from.Is4In6() || to.Is4In6() || to.Less(from) {
			return refuse(cxtp.StatusMalformed, "traffic selector from %s to %s", from, to)
		}
	}
	if err := checkName(c.Name); err != nil {
		return refuse(cxtp.StatusMalformed, "%w", err)
	}
	if err := checkAges(c.Age, c.Rekey); err != nil {
		return refuse(cxtp.StatusMalformed, "%w", err)
	}
	if err := c.Exchange.check(); err != nil {
		return refuse(cxtp.StatusMalformed, "%w", err)
	}
	return nil
}
