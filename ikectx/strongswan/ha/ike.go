package ha

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// SAID names an IKE_SA.
type SAID struct {
	IKEVersion uint8  // 1 or 2
	SPIi, SPIr uint64 // as numbers whose first octet on the wire is the highest
	// Initiator: the gateway initiated this IKE_SA. It counts in charon's search,
	// so pass it on as it was announced.
	Initiator bool
}

// String is the form of charon's log, with an asterisk at the gateway's own SPI.
func (id SAID) String() string {
	own, peer := "", "*"
	if id.Initiator {
		own, peer = "*", ""
	}
	return fmt.Sprintf("%016x_i%s %016x_r%s", id.SPIi, own, id.SPIr, peer)
}

// Identity is the body of an identification payload, RFC 7296 section 3.5. The
// zero value is no identity.
type Identity struct {
	Type uint8  // ID type; 201 is charon's own, for a URI as a general name
	Data []byte // at most 255 octets
}

func (id Identity) String() string {
	switch id.Type {
	case 0:
		return "none"
	case 2, 3: // FQDN, RFC822_ADDR
		return strconv.Quote(string(id.Data))
	case 1, 5: // IPV4_ADDR, IPV6_ADDR
		if a, ok := netip.AddrFromSlice(id.Data); ok {
			return a.String()
		}
	}
	return fmt.Sprintf("type %d %x", id.Type, id.Data)
}

// Proposal are the transforms of an SA, by IANA's IKEv2 numbers; 0 is none.
type Proposal struct {
	Encr     uint16
	EncrBits uint16   // key length; 0 for a cipher with only one
	Integ    uint16   // 0 with an AEAD cipher
	PRF      uint16   // of IKE_SAs only
	KE       uint16   // key exchange method; 0 for a CHILD_SA without its own
	AddKEs   []uint16 // Additional Key Exchange 1 to 7, 0 for a gap; not in version 3
}

// take reads an attribute of a proposal; false if it is none.
func (p *Proposal) take(r *reader) bool {
	switch r.attribute {
	case AttrAlgEncr:
		p.Encr = r.u16()
	case AttrAlgEncrLen:
		p.EncrBits = r.u16()
	case AttrAlgInteg:
		p.Integ = r.u16()
	case AttrAlgPRF:
		p.PRF = r.u16()
	case AttrAlgKE:
		p.KE = r.u16()
	case AttrAlgAddKEs:
		p.AddKEs = r.keyExchanges()
	default:
		return false
	}
	return true
}

func (p *Proposal) write(w *writer) {
	w.mayU16(AttrAlgEncr, p.Encr)
	w.mayU16(AttrAlgEncrLen, p.EncrBits)
	w.mayU16(AttrAlgInteg, p.Integ)
	w.mayU16(AttrAlgPRF, p.PRF)
	w.mayU16(AttrAlgKE, p.KE)
	w.mayKeyExchanges(p.AddKEs)
}

func (p *Proposal) describe(d *description) {
	for _, t := range []struct {
		name string
		id   uint16
	}{{"ENCR", p.Encr}, {"key bits", p.EncrBits}, {"INTEG", p.Integ}, {"PRF", p.PRF}, {"KE", p.KE}} {
		if t.id != 0 {
			d.add("%s %d", t.name, t.id)
		}
	}
	if len(p.AddKEs) > 0 {
		d.add("further KEs %v", p.AddKEs)
	}
}

// IKEAdd announces the keys of an IKE_SA, as what they are derived from.
type IKEAdd struct {
	SA SAID

	// Of a rekeying, else zero: the IKE_SA that was rekeyed, its PRF and its SK_d
	// (RFC 7296 section 2.18). A message to import may have the last two alone.
	Rekeyed SAID
	OldPRF  uint16
	OldSKd  secret.Key

	Proposal       Proposal
	NonceI, NonceR []byte
	Secret         secret.Key // of the key exchange
	// AddSecret are the secrets of further key exchanges of one rekeying, one
	// behind the other; not in version 3.
	AddSecret secret.Key

	// Of IKEv1 only: the two public values of the key exchange, the preshared key,
	// or without one charon's number of the authentication method.
	LocalDH, RemoteDH []byte
	PSK               secret.Key
	AuthMethod        uint16

	RemoteAddr netip.AddrPort // zero up to strongSwan 5.3.2
}

// Type implements [Body].
func (*IKEAdd) Type() Type { return TypeIKEAdd }

// Further reports whether the message belongs to a further key exchange of an
// IKE_SA that has been announced already (RFC 9370 section 2.2.2): its keys are
// to be derived once more, from their own SK_d. Not in version 3.
func (m *IKEAdd) Further() bool {
	return m.Proposal.Encr == 0 && m.SA.IKEVersion == 2
}

func (m *IKEAdd) required() []Attribute {
	return []Attribute{AttrIKEID, AttrNonceI, AttrNonceR, AttrSecret}
}

func (m *IKEAdd) keys() []secret.Key {
	return []secret.Key{m.OldSKd, m.Secret, m.AddSecret, m.PSK}
}

func (m *IKEAdd) take(r *reader) bool {
	switch r.attribute {
	case AttrIKEVersion:
		if r.saw(AttrIKEID) {
			r.fail("comes after IKE_ID, charon has made an IKEv2 SA then")
		}
		m.SA.IKEVersion = r.ikeVersion()
	case AttrIKEID:
		m.takeID(r)
	case AttrIKERekeyID:
		if m.Rekeyed = r.said(); m.Rekeyed == m.SA {
			r.fail("is the IKE_SA itself: strongSwan 6.0.0 says so after a further key exchange, and no release can import it")
		}
	case AttrAlgOldPRF:
		m.OldPRF = r.u16()
	case AttrOldSKd:
		m.OldSKd = r.key()
	case AttrNonceI:
		m.NonceI = r.octets()
	case AttrNonceR:
		m.NonceR = r.octets()
	case AttrSecret:
		m.Secret = r.key()
	case AttrAddSecret:
		m.AddSecret = r.key()
	case AttrLocalDH:
		m.LocalDH = r.octets()
	case AttrRemoteDH:
		m.RemoteDH = r.octets()
	case AttrPSK:
		m.PSK = r.key()
	case AttrAuthMethod:
		m.AuthMethod = r.u16()
	case AttrRemoteAddr:
		m.RemoteAddr = r.host()
	default:
		return m.Proposal.take(r)
	}
	return true
}

// takeID reads IKE_ID, which has to be of the IKE version that IKE_VERSION said.
func (m *IKEAdd) takeID(r *reader) {
	announced := m.SA.IKEVersion
	if announced == 0 {
		announced = 2
	}
	if m.SA = r.said(); m.SA.IKEVersion != announced {
		r.fail("is of IKE version %d, IKE_VERSION says %d", m.SA.IKEVersion, announced)
	}
}

func (m *IKEAdd) write(w *writer) {
	w.u8(AttrIKEVersion, m.SA.IKEVersion)
	w.said(AttrIKEID, m.SA)
	switch {
	case m.Rekeyed == SAID{}:
	case m.Rekeyed == m.SA:
		w.wrong(AttrIKERekeyID, "is the IKE_SA itself")
	default:
		w.said(AttrIKERekeyID, m.Rekeyed)
	}
	w.mayU16(AttrAlgOldPRF, m.OldPRF)
	w.mayKey(AttrOldSKd, m.OldSKd)
	if w.version == Version3 && m.Further() {
		w.cannot("a further key exchange of an IKE_SA (RFC 9370)")
	}
	m.Proposal.write(w)
	w.chunk(AttrNonceI, m.NonceI)
	w.chunk(AttrNonceR, m.NonceR)
	w.key(AttrSecret, m.Secret)
	w.mayKey(AttrAddSecret, m.AddSecret)
	w.mayChunk(AttrLocalDH, m.LocalDH)
	w.mayChunk(AttrRemoteDH, m.RemoteDH)
	w.mayKey(AttrPSK, m.PSK)
	w.mayU16(AttrAuthMethod, m.AuthMethod)
	w.mayHost(AttrRemoteAddr, m.RemoteAddr)
}

func (m *IKEAdd) describe(d *description) {
	d.add("%v", m.SA)
	if m.Rekeyed != (SAID{}) {
		d.add("rekeys %v", m.Rekeyed)
	}
	if m.OldPRF != 0 {
		d.add("old PRF %d", m.OldPRF)
	}
	d.key("old SK_d", m.OldSKd)
	m.Proposal.describe(d)
	d.key("secret", m.Secret)
	d.key("further secrets", m.AddSecret)
	d.key("preshared key", m.PSK)
	if m.RemoteAddr.IsValid() {
		d.add("peer at %v", m.RemoteAddr)
	}
}

// MessageID says which message ID comes next.
type MessageID struct {
	SA SAID
	// Initiator: of the gateway's own requests; false: of the peer's.
	Initiator bool
	Next      uint32 // 0 is ignored by charon
}

// Type implements [Body].
func (m *MessageID) Type() Type {
	if m.Initiator {
		return TypeMIDInitiator
	}
	return TypeMIDResponder
}

func (*MessageID) required() []Attribute { return []Attribute{AttrIKEID, AttrMID} }
func (*MessageID) keys() []secret.Key    { return nil }

func (m *MessageID) take(r *reader) bool {
	switch r.attribute {
	case AttrIKEID:
		m.SA = r.said()
	case AttrMID:
		m.Next = r.u32()
	default:
		return false
	}
	return true
}

func (m *MessageID) write(w *writer) {
	w.said(AttrIKEID, m.SA)
	w.u32(AttrMID, m.Next)
}

func (m *MessageID) describe(d *description) { d.add("%v, next is %d", m.SA, m.Next) }

// IKEDelete ends an IKE_SA, without a word to the peer.
type IKEDelete struct{ SA SAID }

// Type implements [Body].
func (*IKEDelete) Type() Type { return TypeIKEDelete }

func (*IKEDelete) required() []Attribute { return []Attribute{AttrIKEID} }
func (*IKEDelete) keys() []secret.Key    { return nil }

func (m *IKEDelete) take(r *reader) bool {
	if r.attribute != AttrIKEID {
		return false
	}
	m.SA = r.said()
	return true
}

func (m *IKEDelete) write(w *writer)         { w.said(AttrIKEID, m.SA) }
func (m *IKEDelete) describe(d *description) { d.add("%v", m.SA) }

// IKEIV is the initialisation vector of the next message of IKEv1's phase 1.
type IKEIV struct {
	SA SAID
	IV []byte
}

// Type implements [Body].
func (*IKEIV) Type() Type { return TypeIKEIV }

func (*IKEIV) required() []Attribute { return []Attribute{AttrIKEID, AttrIV} }
func (*IKEIV) keys() []secret.Key    { return nil }

func (m *IKEIV) take(r *reader) bool {
	switch r.attribute {
	case AttrIKEID:
		m.SA = r.said()
	case AttrIV:
		m.IV = r.octets()
	default:
		return false
	}
	return true
}

func (m *IKEIV) write(w *writer) {
	w.said(AttrIKEID, m.SA)
	w.chunk(AttrIV, m.IV)
}

func (m *IKEIV) describe(d *description) { d.add("%v", m.SA) }
