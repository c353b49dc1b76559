package ha

import (
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// IKEUpdate completes or changes an IKE_SA. What is zero or nil is not said, and
// stays as it is at the receiver.
type IKEUpdate struct {
	SA          SAID
	LocalID     Identity
	RemoteID    Identity
	RemoteEAPID Identity // only if it is not RemoteID
	LocalAddr   netip.AddrPort
	RemoteAddr  netip.AddrPort
	ConfigName  string // of the connection

	Conditions *Conditions
	Extensions *Extensions
	// The private sets that version 5 has. Its gateways always say them, empty or
	// not. Other versions cannot, unless they are empty.
	PrivateConditions *Private
	PrivateExtensions *Private

	PeerAddrs  []netip.AddrPort // more addresses of a MOBIKE peer
	LocalVIPs  []netip.Addr     // virtual addresses of the gateway, which charon never says
	RemoteVIPs []netip.Addr     // virtual addresses of the peer
}

// Type implements [Body].
func (*IKEUpdate) Type() Type { return TypeIKEUpdate }

func (*IKEUpdate) required() []Attribute { return []Attribute{AttrIKEID} }
func (*IKEUpdate) keys() []secret.Key    { return nil }

func (m *IKEUpdate) take(r *reader) bool {
	if r.attribute != AttrIKEID && !r.saw(AttrIKEID) {
		r.fail("comes before IKE_ID, charon drops what does")
	}
	switch r.attribute {
	case AttrIKEID:
		m.SA = r.said()
	case AttrLocalID:
		m.LocalID = r.identity()
	case AttrRemoteID:
		m.RemoteID = r.identity()
	case AttrRemoteEAPID:
		m.RemoteEAPID = r.identity()
	case AttrLocalAddr:
		m.LocalAddr = r.host()
	case AttrRemoteAddr:
		m.RemoteAddr = r.host()
	case AttrConfigName:
		m.ConfigName = r.text()
	case AttrConditions:
		takeFlags(r, &m.Conditions, &m.PrivateConditions)
	case AttrExtensions:
		takeFlags(r, &m.Extensions, &m.PrivateExtensions)
	case AttrPeerAddr:
		m.PeerAddrs = append(m.PeerAddrs, r.host())
	case AttrLocalVIP:
		m.LocalVIPs = append(m.LocalVIPs, r.host().Addr())
	case AttrRemoteVIP:
		m.RemoteVIPs = append(m.RemoteVIPs, r.host().Addr())
	default:
		return false
	}
	return true
}

// takeFlags reads a public or a private set; the first of each kind counts, and
// the reader refuses a second.
func takeFlags[F ~uint32](r *reader, public **F, private **Private) {
	if set := r.flags(); r.private == 1 {
		*private = new(Private(set))
	} else {
		*public = new(F(set))
	}
}

func (m *IKEUpdate) write(w *writer) {
	w.said(AttrIKEID, m.SA)
	w.mayIdentity(AttrLocalID, m.LocalID)
	w.mayIdentity(AttrRemoteID, m.RemoteID)
	w.mayIdentity(AttrRemoteEAPID, m.RemoteEAPID)
	w.mayHost(AttrLocalAddr, m.LocalAddr)
	w.mayHost(AttrRemoteAddr, m.RemoteAddr)
	w.flags(AttrConditions, (*uint32)(m.Conditions), m.PrivateConditions)
	w.flags(AttrExtensions, (*uint32)(m.Extensions), m.PrivateExtensions)
	if m.ConfigName != "" {
		w.text(AttrConfigName, m.ConfigName)
	}
	for _, host := range m.PeerAddrs {
		w.host(AttrPeerAddr, host)
	}
	for _, addr := range m.LocalVIPs {
		w.host(AttrLocalVIP, netip.AddrPortFrom(addr, 0))
	}
	for _, addr := range m.RemoteVIPs {
		w.host(AttrRemoteVIP, netip.AddrPortFrom(addr, 0))
	}
}

func (m *IKEUpdate) describe(d *description) {
	d.add("%v", m.SA)
	for _, id := range []struct {
		name string
		id   Identity
	}{{"local", m.LocalID}, {"remote", m.RemoteID}, {"remote EAP", m.RemoteEAPID}} {
		if id.id.Type != 0 {
			d.add("%s identity %v", id.name, id.id)
		}
	}
	if m.LocalAddr.IsValid() {
		d.add("local %v", m.LocalAddr)
	}
	if m.RemoteAddr.IsValid() {
		d.add("remote %v", m.RemoteAddr)
	}
	if m.Conditions != nil {
		d.add("conditions %v", *m.Conditions)
	}
	if m.Extensions != nil {
		d.add("extensions %v", *m.Extensions)
	}
	if m.PrivateConditions != nil && *m.PrivateConditions != 0 {
		d.add("private conditions %v", *m.PrivateConditions)
	}
	if m.PrivateExtensions != nil && *m.PrivateExtensions != 0 {
		d.add("private extensions %v", *m.PrivateExtensions)
	}
	if m.ConfigName != "" {
		d.add("configuration %q", m.ConfigName)
	}
	each(d, "peer address", m.PeerAddrs)
	each(d, "local VIP", m.LocalVIPs)
	each(d, "remote VIP", m.RemoteVIPs)
}
