package strongswan

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// lineageOf is the lineage that a context describes, as if charon had told of it.
// Keys are copied. What the ha plugin cannot import is refused.
func lineageOf(s *ikectx.Session, now time.Time) (*lineage, error) {
	st, err := readState(s)
	if err != nil {
		return nil, err
	}
	if st.conditions&ha.CondPPK != 0 {
		return nil, refuse(cxtp.StatusUnsupported, "its keys have a post-quantum preshared key in them, which charon cannot be told: rekey the IKE SA first")
	}
	l := &lineage{update: updateOf(s, st)}
	for i := range s.SAs {
		g, err := generationOf(s, &s.SAs[i], now)
		if err != nil {
			l.wipe()
			return nil, err
		}
		l.generations = append(l.generations, g)
	}
	for i := range s.Children {
		c, err := childOf(l, &s.Children[i], now)
		if err != nil {
			l.wipe()
			return nil, err
		}
		l.children = append(l.children, c)
	}
	return l, nil
}

// updateOf is what completes the IKE SA in use.
func updateOf(s *ikectx.Session, st state) ha.IKEUpdate {
	u := ha.IKEUpdate{
		LocalID: ha.Identity{Type: s.LocalID.Type, Data: bytes.Clone(s.LocalID.Data)}, RemoteID: ha.Identity{Type: s.RemoteID.Type, Data: bytes.Clone(s.RemoteID.Data)},
		LocalAddr: s.Local, RemoteAddr: s.Remote, ConfigName: s.Connection,
		LocalVIPs: addresses(s.LocalVirtual), RemoteVIPs: addresses(s.RemoteVirtual),
	}
	if len(s.EAPIdentity) > 0 {
		u.RemoteEAPID = ha.Identity{Type: st.eapType, Data: bytes.Clone(s.EAPIdentity)}
		if u.RemoteEAPID.Type == 0 {
			u.RemoteEAPID.Type = idOfUser(s.EAPIdentity)
		}
	}
	conditions, extensions := conditionsOf(s, st), extensionsOf(s, st)
	u.Conditions, u.Extensions = &conditions, &extensions
	if st.privateConditions != 0 || st.privateExtensions != 0 {
		u.PrivateConditions, u.PrivateExtensions = &st.privateConditions, &st.privateExtensions
	}
	for _, a := range s.Additional {
		u.PeerAddrs = append(u.PeerAddrs, netip.AddrPortFrom(a, s.Remote.Port()))
	}
	return u
}

// idOfUser is the ID type that charon gives to a user name of EAP.
func idOfUser(name []byte) uint8 {
	if bytes.IndexByte(name, '@') >= 0 {
		return ipsecctx.IDRFC822
	}
	return ipsecctx.IDFQDN
}

// conditionsOf are the context's where it has words for them, the state's where
// it has none.
func conditionsOf(s *ikectx.Session, st state) ha.Conditions {
	c := st.conditions | ha.CondAuthenticated
	set := func(bit ha.Conditions, on bool) {
		c &^= bit
		if on {
			c |= bit
		}
	}
	for _, b := range natBits {
		set(b.charon, s.NAT&b.context != 0)
	}
	set(ha.CondNATAny, s.NAT != 0)
	set(ha.CondOriginalInit, s.OriginalInitiator)
	return c
}

func extensionsOf(s *ikectx.Session, st state) ha.Extensions {
	e := st.extensions
	for _, b := range extensionBits {
		e &^= b.charon
		if s.Extensions&b.context != 0 {
			e |= b.charon
		}
	}
	return e
}

// generationOf is an IKE SA of a context.
func generationOf(s *ikectx.Session, sa *ikectx.SA, now time.Time) (generation, error) {
	if sa.Exchange.Method == 0 || len(sa.Exchange.Secrets) == 0 {
		return generation{}, refuse(cxtp.StatusUnsupported, "%v has keys and not what they were derived from: charon takes nothing else", sa)
	}
	a := &ha.IKEAdd{
		SA: nameOf(sa), OldPRF: sa.OldPRF, OldSKd: cloneKey(sa.OldD),
		Proposal: proposal(sa.Encryption, sa.Integrity, sa.PRF, &sa.Exchange),
		NonceI:   bytes.Clone(sa.Exchange.Ni), NonceR: bytes.Clone(sa.Exchange.Nr),
		RemoteAddr: s.Remote,
	}
	a.Secret, a.AddSecret = secretsOf(&sa.Exchange)
	if i := slices.IndexFunc(s.SAs, func(o ikectx.SA) bool { return o.Generation == sa.Replaces }); i >= 0 && sa.Replaces != 0 {
		a.Rekeyed = nameOf(&s.SAs[i])
	}
	return generation{number: sa.Generation, add: a, since: now.Add(-sa.Age)}, nil
}

func nameOf(sa *ikectx.SA) ha.SAID {
	return ha.SAID{IKEVersion: 2, SPIi: sa.InitiatorSPI, SPIr: sa.ResponderSPI, Initiator: sa.Initiator}
}

func proposal(c ikectx.Cipher, integrity, prf uint16, x *ikectx.Exchange) ha.Proposal {
	p := ha.Proposal{Encr: c.ID, EncrBits: c.Bits, Integ: integrity, PRF: prf, KE: x.Method}
	for _, a := range x.Additional {
		for len(p.AddKEs) <= int(a.Type-firstAdditional) {
			p.AddKEs = append(p.AddKEs, 0)
		}
		p.AddKEs[a.Type-firstAdditional] = a.Method
	}
	return p
}

// secretsOf are the secrets of an exchange as charon says them: the first, and
// all others behind each other.
func secretsOf(x *ikectx.Exchange) (first, further secret.Key) {
	if len(x.Secrets) == 0 {
		return first, further
	}
	first = cloneKey(x.Secrets[0])
	var rest []byte
	for _, k := range x.Secrets[1:] {
		rest = append(rest, k.Bytes()...)
	}
	if len(rest) > 0 {
		further = secret.New(rest)
	}
	return first, further
}

func cloneKey(k secret.Key) secret.Key {
	if k.IsZero() {
		return secret.Key{}
	}
	return secret.Clone(k.Bytes())
}

// childOf is a CHILD SA of a context.
func childOf(l *lineage, c *ikectx.Child, now time.Time) (child, error) {
	if c.Protocol != ipsecctx.ESP {
		return child{}, refuse(cxtp.StatusUnsupported, "%v: charon's ha plugin makes an ESP SA of it", c)
	}
	i := slices.IndexFunc(l.generations, func(g generation) bool { return g.number == c.Generation })
	if i < 0 {
		return child{}, refuse(cxtp.StatusMalformed, "%v was made by generation %d, which is not there", c, c.Generation)
	}
	made := l.generations[i].add
	a := &ha.ChildAdd{
		SA: made.SA, Initiator: c.Initiator, InboundSPI: c.Inbound, OutboundSPI: c.Outbound,
		InboundCPI: c.IPComp.Inbound, OutboundCPI: c.IPComp.Outbound, IPComp: c.IPComp.Transform, Mode: ha.Tunnel,
		ConfigName: c.Name, Proposal: proposal(c.Encryption, c.Integrity, 0, &c.Exchange), ESN: c.ESN,
		NonceI: bytes.Clone(c.Exchange.Ni), NonceR: bytes.Clone(c.Exchange.Nr),
		LocalTS: charonSelectors(c.Local), RemoteTS: charonSelectors(c.Remote),
	}
	if len(a.NonceI) == 0 { // made in IKE_AUTH
		a.NonceI, a.NonceR = bytes.Clone(made.NonceI), bytes.Clone(made.NonceR)
	}
	if c.Mode == ipsecctx.Transport {
		a.Mode = ha.Transport
	}
	a.Secret, a.AddSecret = secretsOf(&c.Exchange)
	return child{add: a, generation: c.Generation, since: now.Add(-c.Age)}, nil
}

func charonSelectors(list []ikectx.TrafficSelector) []ha.Selector {
	var all []ha.Selector
	for _, ts := range list {
		all = append(all, ha.Selector{Protocol: ts.Protocol, FromPort: ts.Ports.From, ToPort: ts.Ports.To, From: ts.Range.From, To: ts.Range.To})
	}
	return all
}

func addresses(prefixes []netip.Prefix) []netip.Addr {
	var all []netip.Addr
	for _, p := range prefixes {
		all = append(all, p.Addr())
	}
	return all
}

// script is what an empty charon has to be told for the lineage to be there. The
// order is the one in which it came to be: a CHILD SA's keys are derived from the
// IKE SA that made it, before the next one takes its place.
func (l *lineage) script() []ha.Body {
	var all []ha.Body
	for i := range l.generations {
		g := &l.generations[i]
		all = append(all, g.add)
		for _, f := range g.further {
			all = append(all, f)
		}
		if i > 0 {
			all = append(all, &ha.IKEDelete{SA: l.generations[i-1].add.SA})
		}
		update := l.update
		update.SA, update.LocalVIPs, update.RemoteVIPs = g.add.SA, nil, nil
		all = append(all, &update)
		for _, c := range l.children {
			if c.generation == g.number {
				all = append(all, c.add)
			}
		}
	}
	// The virtual addresses come last: pools reserve them for a configuration that
	// is known, and a rekey leaves them out.
	if len(l.update.LocalVIPs)+len(l.update.RemoteVIPs) > 0 {
		all = append(all, &ha.IKEUpdate{SA: l.id(), LocalVIPs: l.update.LocalVIPs, RemoteVIPs: l.update.RemoteVIPs})
	}
	return all
}
