package ha

import (
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Mode is charon's number of an IPsec mode.
type Mode uint8

// The modes that a CHILD_SA can have.
const (
	Transport Mode = 1
	Tunnel    Mode = 2
	BEET      Mode = 3
	IPTFS     Mode = 6 // from 6.0.2, so with version 5
)

func (m Mode) String() string {
	switch m {
	case Transport:
		return "transport"
	case Tunnel:
		return "tunnel"
	case BEET:
		return "BEET"
	case IPTFS:
		return "IP-TFS"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Selector is a traffic selector, RFC 7296 section 3.13.1.
type Selector struct {
	Protocol         uint8  // 0 is any
	FromPort, ToPort uint16 // as in the RFC: 0 to 65535 is any, 65535 to 0 is OPAQUE
	From, To         netip.Addr
	// Dynamic: it stands for the peer's address, which charon puts in. A receiver
	// looks at From alone then.
	Dynamic bool
}

func (s Selector) String() string {
	text := s.From.String()
	if s.From != s.To {
		text += "-" + s.To.String()
	}
	if s.Protocol != 0 || s.FromPort != 0 || s.ToPort != 0xffff {
		text += fmt.Sprintf("[%d/%d-%d]", s.Protocol, s.FromPort, s.ToPort)
	}
	if s.Dynamic {
		text += " (dynamic)"
	}
	return text
}

// ChildAdd announces the keys of a CHILD_SA, as what they are derived from
// besides SK_d of its IKE_SA.
type ChildAdd struct {
	SA SAID
	// Initiator: the gateway initiated the exchange, so NonceI is its own and it
	// sends with the initiator's keys.
	Initiator bool
	// SPIs of ESP and CPIs of IPComp as numbers, as "ip xfrm state" prints them.
	InboundSPI, OutboundSPI uint32
	InboundCPI, OutboundCPI uint16
	Mode                    Mode
	IPComp                  uint8  // IPComp transform, 0 for none
	ConfigName              string // of the child in the connection
	Proposal                Proposal
	ESN                     bool
	NonceI, NonceR          []byte
	Secret                  secret.Key // of the key exchange, if it had its own
	AddSecret               secret.Key // of further ones, one behind the other; not in version 3
	LocalTS, RemoteTS       []Selector
}

// Type implements [Body].
func (*ChildAdd) Type() Type { return TypeChildAdd }

func (*ChildAdd) required() []Attribute {
	return []Attribute{AttrIKEID, AttrInboundSPI, AttrOutboundSPI, AttrIPsecMode, AttrConfigName, AttrNonceI, AttrNonceR, AttrLocalTS, AttrRemoteTS}
}

func (m *ChildAdd) keys() []secret.Key { return []secret.Key{m.Secret, m.AddSecret} }

func (m *ChildAdd) take(r *reader) bool {
	switch r.attribute {
	case AttrIKEID:
		m.SA = r.said()
	case AttrInitiator:
		m.Initiator = r.flag()
	case AttrInboundSPI:
		m.InboundSPI = swap(r.machine, r.u32())
	case AttrOutboundSPI:
		m.OutboundSPI = swap(r.machine, r.u32())
	case AttrInboundCPI:
		m.InboundCPI = swap(r.machine, r.u16())
	case AttrOutboundCPI:
		m.OutboundCPI = swap(r.machine, r.u16())
	case AttrIPsecMode:
		m.Mode = Mode(r.u8())
	case AttrIPComp:
		m.IPComp = r.u8()
	case AttrConfigName:
		m.ConfigName = r.text()
	case AttrESN:
		m.ESN = r.esn()
	case AttrNonceI:
		m.NonceI = r.octets()
	case AttrNonceR:
		m.NonceR = r.octets()
	case AttrSecret:
		m.Secret = r.key()
	case AttrAddSecret:
		m.AddSecret = r.key()
	case AttrLocalTS:
		m.LocalTS = append(m.LocalTS, r.selector())
	case AttrRemoteTS:
		m.RemoteTS = append(m.RemoteTS, r.selector())
	case AttrAlgPRF:
		return false // a CHILD_SA has none
	default:
		return m.Proposal.take(r)
	}
	return true
}

func (m *ChildAdd) write(w *writer) {
	w.said(AttrIKEID, m.SA)
	w.flag(AttrInitiator, m.Initiator)
	w.u32(AttrInboundSPI, swap(w.machine, m.InboundSPI))
	w.u32(AttrOutboundSPI, swap(w.machine, m.OutboundSPI))
	w.u16(AttrInboundCPI, swap(w.machine, m.InboundCPI))
	w.u16(AttrOutboundCPI, swap(w.machine, m.OutboundCPI))
	if m.Mode == IPTFS && w.version < Version5 {
		w.cannot("mode %v (RFC 9347)", m.Mode)
	}
	w.u8(AttrIPsecMode, uint8(m.Mode))
	w.u8(AttrIPComp, m.IPComp)
	w.text(AttrConfigName, m.ConfigName)
	if m.Proposal.PRF != 0 {
		w.wrong(AttrAlgPRF, "is given, a CHILD_SA has none")
	}
	m.Proposal.write(w)
	w.u16(AttrESN, uint16(octetOf(m.ESN)))
	w.chunk(AttrNonceI, m.NonceI)
	w.chunk(AttrNonceR, m.NonceR)
	w.mayKey(AttrSecret, m.Secret)
	w.mayKey(AttrAddSecret, m.AddSecret)
	m.writeSelectors(w)
}

func (m *ChildAdd) writeSelectors(w *writer) {
	if len(m.LocalTS) == 0 || len(m.RemoteTS) == 0 {
		w.wrong(0, "a CHILD_SA has a selector for either side")
	}
	for _, s := range m.LocalTS {
		w.selector(AttrLocalTS, s)
	}
	for _, s := range m.RemoteTS {
		w.selector(AttrRemoteTS, s)
	}
}

func (m *ChildAdd) describe(d *description) {
	d.add("%v", m.SA)
	d.add("%s of it", role(m.Initiator))
	d.add("inbound SPI %08x", m.InboundSPI)
	d.add("outbound SPI %08x", m.OutboundSPI)
	d.add("%v", m.Mode)
	if m.IPComp != 0 {
		d.add("IPComp %d with CPIs %04x and %04x", m.IPComp, m.InboundCPI, m.OutboundCPI)
	}
	d.add("configuration %q", m.ConfigName)
	m.Proposal.describe(d)
	if m.ESN {
		d.add("ESN")
	}
	d.key("secret", m.Secret)
	d.key("further secrets", m.AddSecret)
	each(d, "local", m.LocalTS)
	each(d, "remote", m.RemoteTS)
}

func role(initiator bool) string {
	if initiator {
		return "initiator"
	}
	return "responder"
}

// ChildDelete ends a CHILD_SA, without a word to the peer.
type ChildDelete struct {
	SA         SAID
	InboundSPI uint32 // as in [ChildAdd]
}

// Type implements [Body].
func (*ChildDelete) Type() Type { return TypeChildDelete }

func (*ChildDelete) required() []Attribute { return []Attribute{AttrIKEID, AttrInboundSPI} }
func (*ChildDelete) keys() []secret.Key    { return nil }

func (m *ChildDelete) take(r *reader) bool {
	switch r.attribute {
	case AttrIKEID:
		m.SA = r.said()
	case AttrInboundSPI:
		m.InboundSPI = swap(r.machine, r.u32())
	default:
		return false
	}
	return true
}

func (m *ChildDelete) write(w *writer) {
	w.said(AttrIKEID, m.SA)
	w.u32(AttrInboundSPI, swap(w.machine, m.InboundSPI))
}

func (m *ChildDelete) describe(d *description) {
	d.add("%v, inbound SPI %08x", m.SA, m.InboundSPI)
}
