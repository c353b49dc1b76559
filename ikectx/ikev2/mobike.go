package ikev2

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// AddressNotice is the request by which the end that did not initiate the first
// IKE SA says which addresses it has besides the one that it sends this from
// (RFC 4555 section 3.6). The peer takes the list, and strongSwan takes the
// source as the gateway's address. id is the next message ID.
func AddressNotice(id uint32, others ...netip.Addr) *Message {
	m := &Message{Exchange: Informational, ID: id}
	for _, a := range others {
		t := AdditionalIP6Address
		if a = a.Unmap(); a.Is4() {
			t = AdditionalIP4Address
		}
		m.Payloads = append(m.Payloads, Notify{Type: t, Data: a.AsSlice()}.Payload())
	}
	if len(others) == 0 {
		m.Payloads = []Payload{Notify{Type: NoAdditionalAddresses}.Payload()}
	}
	return m
}

// cookieLen is the length of our COOKIE2 in octets; RFC 4555 section 4.2.5 allows
// 8 to 64.
const cookieLen = 16

// AddressUpdate is the request by which the end that initiated the first IKE SA
// moves the SAs to the addresses that this message travels between (RFC 4555
// section 3.5). Both ends see from it whether there is a NAT, and COOKIE2 shows
// that the peer can be reached there. id is the next message ID.
func (sa *SA) AddressUpdate(id uint32, local, remote netip.AddrPort) *Message {
	notifies := []Notify{
		{Type: UpdateSAAddresses},
		{Type: NATDetectionSourceIP, Data: sa.natDetection(local)},
		{Type: NATDetectionDestinationIP, Data: sa.natDetection(remote)},
	}
	m := &Message{Exchange: Informational, ID: id}
	for _, n := range notifies {
		m.Payloads = append(m.Payloads, n.Payload())
	}
	m.AddCookie()
	return m
}

// AddCookie adds COOKIE2 to a request, which [Message.Check] then wants back: so
// the response is to this request, and not to one that had its message ID before
// (RFC 4555 section 3.7).
func (m *Message) AddCookie() {
	cookie := make([]byte, cookieLen)
	rand.Read(cookie)
	m.Payloads = append(m.Payloads, Notify{Type: Cookie2, Data: cookie}.Payload())
}

// natDetection is the hash of the SPIs, an address and a port (RFC 7296 section
// 2.23).
func (sa *SA) natDetection(at netip.AddrPort) []byte {
	b := binary.BigEndian.AppendUint64(nil, sa.SPIi)
	b = binary.BigEndian.AppendUint64(b, sa.SPIr)
	b = append(b, at.Addr().Unmap().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, at.Port())
	sum := sha1.Sum(b)
	return sum[:]
}

// MessageIDSync is the data of IKEV2_MESSAGE_ID_SYNC, by which a gateway that has
// taken over and its peer agree which message IDs come next (RFC 6311 section
// 6.3). Request and response have message ID 0 and no other payloads; Section 5.1
// there has the rules for the numbers.
type MessageIDSync struct {
	Nonce        [4]byte // the same in both
	NextRequest  uint32  // that the sender of this will send
	NextExpected uint32  // that it expects
}

// Notify writes it.
func (s MessageIDSync) Notify() Notify {
	data := append([]byte(nil), s.Nonce[:]...)
	data = binary.BigEndian.AppendUint32(data, s.NextRequest)
	data = binary.BigEndian.AppendUint32(data, s.NextExpected)
	return Notify{Type: IKEv2MessageIDSync, Data: data}
}

// ParseMessageIDSync reads the data of the notify.
func ParseMessageIDSync(data []byte) (s MessageIDSync, err error) {
	if len(data) != 12 {
		return s, &ParseError{PayloadNotify, 4, fmt.Sprintf("IKEV2_MESSAGE_ID_SYNC of %d octets, it has 12", len(data))}
	}
	copy(s.Nonce[:], data)
	s.NextRequest = binary.BigEndian.Uint32(data[4:])
	s.NextExpected = binary.BigEndian.Uint32(data[8:])
	return s, nil
}
