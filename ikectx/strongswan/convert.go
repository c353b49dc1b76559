package strongswan

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Implementation is what contexts name whose State is this package's.
const Implementation = "strongswan"

// ikeVersion2 is IKEv2's octet in the IKE header.
const ikeVersion2 = 0x20

// Between what charon notes of an IKE SA and what the context says in terms that
// any IKE daemon has.
var (
	natBits = []struct {
		charon  ha.Conditions
		context ikectx.NAT
	}{{ha.CondNATHere, ikectx.NATLocal}, {ha.CondNATThere, ikectx.NATRemote}, {ha.CondNATFake, ikectx.NATForced}}

	extensionBits = []struct {
		charon  ha.Extensions
		context ikectx.Extensions
	}{
		{ha.ExtNATT, ikectx.ExtNATTraversal}, {ha.ExtMOBIKE, ikectx.ExtMOBIKE}, {ha.ExtFragmentation, ikectx.ExtFragmentation},
		{ha.ExtMessageIDSync, ikectx.ExtMessageIDSync}, {ha.ExtChildless, ikectx.ExtChildless}, {ha.ExtRedirect, ikectx.ExtRedirect},
		{ha.ExtSignatureAuth, ikectx.ExtSignatures}, {ha.ExtEAPOnly, ikectx.ExtEAPOnly}, {ha.ExtMultipleAuth, ikectx.ExtMultipleAuth},
		{ha.ExtHashAndURL, ikectx.ExtHashAndURL}, {ha.ExtPPK, ikectx.ExtPPK}, {ha.ExtIntermediate, ikectx.ExtIntermediate},
	}
)

// context is the IKE context of a client. Keys are the lineage's: the caller
// encodes it before the lineage changes.
func (l *lineage) context(now time.Time) *ikectx.Session {
	u := &l.update
	s := &ikectx.Session{
		LocalID: identity(u.LocalID), RemoteID: identity(u.RemoteID), EAPIdentity: u.RemoteEAPID.Data,
		Local: u.LocalAddr, Remote: u.RemoteAddr,
		LocalVirtual: hosts(u.LocalVIPs), RemoteVirtual: hosts(u.RemoteVIPs),
		Age: now.Sub(l.generations[0].since), Connection: u.ConfigName,
		Implementation: Implementation, State: stateOf(u).append(nil),
	}
	if u.Conditions != nil {
		s.OriginalInitiator = *u.Conditions&ha.CondOriginalInit != 0
		for _, b := range natBits {
			if *u.Conditions&b.charon != 0 {
				s.NAT |= b.context
			}
		}
	}
	if u.Extensions != nil {
		for _, b := range extensionBits {
			if *u.Extensions&b.charon != 0 {
				s.Extensions |= b.context
			}
		}
	}
	for _, a := range u.PeerAddrs {
		if !slices.Contains(s.Additional, a.Addr()) {
			s.Additional = append(s.Additional, a.Addr())
		}
	}
	for i := range l.generations {
		s.SAs = append(s.SAs, l.generations[i].context(now))
	}
	for _, c := range l.children {
		s.Children = append(s.Children, c.context(now))
	}
	return s
}

// context is one generation's. Its window is 1 on both sides: charon knows no
// other.
func (g *generation) context(now time.Time) ikectx.SA {
	a := g.add
	sa := ikectx.SA{
		Generation: g.number, InitiatorSPI: a.SA.SPIi, ResponderSPI: a.SA.SPIr, Initiator: a.SA.Initiator, Version: ikeVersion2,
		Encryption: ikectx.Cipher{ID: a.Proposal.Encr, Bits: a.Proposal.EncrBits}, Integrity: a.Proposal.Integ, PRF: a.Proposal.PRF,
		Exchange: exchange(&a.Proposal, a.NonceI, a.NonceR, a.Secret, a.AddSecret),
		OldD:     a.OldSKd, OldPRF: a.OldPRF, LocalWindow: 1, RemoteWindow: 1, Age: now.Sub(g.since),
	}
	if g.number > 1 {
		sa.Replaces = g.number - 1
	}
	return sa
}

func (c child) context(now time.Time) ikectx.Child {
	a := c.add
	child := ikectx.Child{
		Generation: c.generation, Protocol: ipsecctx.ESP, Inbound: a.InboundSPI, Outbound: a.OutboundSPI,
		Mode: ipsecctx.Tunnel, Initiator: a.Initiator, ESN: a.ESN,
		IPComp:     ikectx.IPComp{Transform: a.IPComp, Inbound: a.InboundCPI, Outbound: a.OutboundCPI},
		Encryption: ikectx.Cipher{ID: a.Proposal.Encr, Bits: a.Proposal.EncrBits}, Integrity: a.Proposal.Integ,
		Exchange: exchange(&a.Proposal, a.NonceI, a.NonceR, a.Secret, a.AddSecret),
		Local:    selectors(a.LocalTS), Remote: selectors(a.RemoteTS), Name: a.ConfigName, Age: now.Sub(c.since),
	}
	if a.Mode == ha.Transport {
		child.Mode = ipsecctx.Transport
	}
	return child
}

// exchange is what two ends agreed keys with. charon puts the secrets of several
// further key exchanges together in one.
func exchange(p *ha.Proposal, ni, nr []byte, first, further secret.Key) ikectx.Exchange {
	x := ikectx.Exchange{Method: p.KE, Ni: ni, Nr: nr}
	if !first.IsZero() {
		x.Secrets = append(x.Secrets, first)
	}
	if !further.IsZero() {
		x.Secrets = append(x.Secrets, further)
	}
	for i, method := range p.AddKEs {
		if method != 0 {
			x.Additional = append(x.Additional, ikectx.Additional{Type: firstAdditional + uint8(i), Method: method})
		}
	}
	return x
}

// firstAdditional is the transform type of Additional Key Exchange 1, RFC 9370.
const firstAdditional = 6

func identity(id ha.Identity) profile.Identity { return profile.Identity{Type: id.Type, Data: id.Data} }

func hosts(addrs []netip.Addr) []netip.Prefix {
	var all []netip.Prefix
	for _, a := range addrs {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	return all
}

func selectors(list []ha.Selector) []ikectx.TrafficSelector {
	var all []ikectx.TrafficSelector
	for _, ts := range list {
		all = append(all, ikectx.TrafficSelector{Protocol: ts.Protocol, Ports: ipsecctx.Ports{From: ts.FromPort, To: ts.ToPort}, Range: rangeOf(ts)})
	}
	return all
}

// rangeOf are the addresses of a selector. One that stands for the client's
// address has that in place of both.
func rangeOf(ts ha.Selector) ipsecctx.Range {
	if ts.Dynamic {
		return ipsecctx.Range{From: ts.From, To: ts.From}
	}
	return ipsecctx.Range{From: ts.From, To: ts.To}
}

// state is what charon notes and no other IKE daemon would: the State of a
// context whose Implementation is "strongswan". All integers are in network byte
// order.
//
//	octet 0      1, the form
//	octets 1-4   conditions
//	octets 5-8   extensions
//	octets 9-12  private conditions
//	octets 13-16 private extensions
//	octet 17     ID type of the EAP identity, 0 = none
type state struct {
	conditions                           ha.Conditions
	extensions                           ha.Extensions
	privateConditions, privateExtensions ha.Private
	eapType                              uint8
}

const (
	stateForm = 1
	stateSize = 18
)

func stateOf(u *ha.IKEUpdate) state {
	s := state{eapType: u.RemoteEAPID.Type}
	if u.Conditions != nil {
		s.conditions = *u.Conditions
	}
	if u.Extensions != nil {
		s.extensions = *u.Extensions
	}
	if u.PrivateConditions != nil {
		s.privateConditions = *u.PrivateConditions
	}
	if u.PrivateExtensions != nil {
		s.privateExtensions = *u.PrivateExtensions
	}
	return s
}

func (s state) append(b []byte) []byte {
	b = append(b, stateForm)
	for _, set := range [...]uint32{uint32(s.conditions), uint32(s.extensions), uint32(s.privateConditions), uint32(s.privateExtensions)} {
		b = binary.BigEndian.AppendUint32(b, set)
	}
	return append(b, s.eapType)
}

// readState reads the State of a context; of another implementation's there is
// none, and what the context itself says has to do.
func readState(s *ikectx.Session) (state, error) {
	if s.Implementation != Implementation {
		return state{}, nil
	}
	b := s.State
	if len(b) != stateSize || b[0] != stateForm {
		return state{}, refuse(cxtp.StatusMalformed, "the state of strongswan has %d octets and another form than %d: upgrade this gateway first", len(b), stateForm)
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[1+4*i:]) }
	return state{
		conditions: ha.Conditions(word(0)), extensions: ha.Extensions(word(1)),
		privateConditions: ha.Private(word(2)), privateExtensions: ha.Private(word(3)), eapType: b[17],
	}, nil
}
