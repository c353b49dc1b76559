package ikev2

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
)

// Message is what is inside of a protected message. Which SA it belongs to, and
// who sent it, is the [SA]'s knowledge.
type Message struct {
	Exchange ExchangeType
	Response bool
	ID       uint32 // message ID
	Payloads []Payload
}

// maxMessage is what fits a UDP datagram in IPv4, with the non-ESP marker, in
// octets.
const maxMessage = 0xffff - 20 - 8 - 4

// Seal makes the datagram of a message that this end sends, without the non-ESP
// marker: one Encrypted payload (RFC 7296 section 3.14), under a random IV. The
// package documentation says what that risks and why a message is sealed once. It
// fails with [ErrTransform] or [ErrInput], and if the message is too large.
func (sa *SA) Seal(m *Message) ([]byte, error) {
	p, err := sa.newProtector(sa.Initiator)
	if err != nil {
		return nil, err
	}
	iv := make([]byte, p.layout().iv)
	rand.Read(iv)
	return sa.seal(p, m, iv)
}

func (sa *SA) seal(p protector, m *Message, iv []byte) ([]byte, error) {
	body, err := appendChain(nil, m.Payloads)
	if err != nil {
		return nil, err
	}
	l := p.layout()
	padding := l.align - 1 - len(body)%l.align
	body = append(body, make([]byte, padding+1)...)
	body[len(body)-1] = byte(padding)

	length := genericLen + l.iv + len(body) + l.icv
	if headerLen+length > maxMessage {
		return nil, fmt.Errorf("failed to seal an IKE message of %d octets: at most %d fit a datagram", headerLen+length, maxMessage)
	}
	h := Header{SPIi: sa.SPIi, SPIr: sa.SPIr, Exchange: m.Exchange, Initiator: sa.Initiator, Response: m.Response, ID: m.ID}
	out := h.append(make([]byte, 0, headerLen+length), PayloadEncrypted, headerLen+length)
	out = append(out, byte(firstType(m.Payloads)), 0)
	out = binary.BigEndian.AppendUint16(out, uint16(length))
	at := len(out)
	out = slices.Concat(out, iv, body, make([]byte, l.icv))
	p.seal(out, at)
	return out, nil
}

// Open authenticates and decrypts a message of the peer: one datagram with an
// Encrypted payload, or all the datagrams of a fragmented message (RFC 7383) in
// any order, repeated ones too. They are without the non-ESP marker and stay as
// they are. A message with payloads outside of the protected part is refused.
//
// It fails with [ErrOtherSA], with [ErrAuth], with [ErrIncomplete], with a
// [ParseError] or with a [CriticalError], and with [ErrTransform] or [ErrInput] if
// the SA can open nothing. Replays are the caller's to recognise, by the message
// ID.
func (sa *SA) Open(datagrams ...[]byte) (*Message, error) {
	p, err := sa.newProtector(!sa.Initiator)
	if err != nil {
		return nil, err
	}
	var parts assembly
	for _, datagram := range datagrams {
		one, err := sa.open(p, datagram)
		if err != nil {
			return nil, err
		}
		if err := parts.add(one); err != nil {
			return nil, err
		}
	}
	return parts.message()
}

// opened is the content of one datagram.
type opened struct {
	header        Header
	number, total int         // of the fragment; both 1 if it is not one
	first         PayloadType // of what is in body; 0 in a fragment that is not the first
	body          []byte
}

func (sa *SA) open(p protector, datagram []byte) (opened, error) {
	h, t, err := parseHeader(datagram)
	if err != nil {
		return opened{}, err
	}
	if h.SPIi != sa.SPIi || h.SPIr != sa.SPIr || h.Initiator == sa.Initiator {
		return opened{}, ErrOtherSA
	}
	if t != PayloadEncrypted && t != PayloadFragment {
		return opened{}, &ParseError{t, 16, "is not protected"}
	}
	body, next, _, err := parseGeneric(datagram, headerLen, t)
	if err != nil {
		return opened{}, err
	}
	if left := len(datagram) - headerLen - genericLen - len(body); left > 0 {
		return opened{}, &ParseError{t, len(datagram) - left, fmt.Sprintf("%d octets follow, it is the last payload", left)}
	}
	one := opened{header: h, number: 1, total: 1, first: next}
	at := headerLen + genericLen
	if t == PayloadFragment {
		if one.number, one.total, err = parseFragment(datagram[at:]); err != nil {
			return opened{}, err
		}
		at += fragmentLen
	}
	one.body, err = unprotect(p, t, datagram, at)
	return one, err
}

// unprotect opens what begins with an IV at the offset, and takes padding and pad
// length away.
func unprotect(p protector, t PayloadType, datagram []byte, at int) ([]byte, error) {
	l := p.layout()
	if n := len(datagram) - at - l.iv - l.icv; n < l.align || n%l.align != 0 {
		return nil, &ParseError{t, at, fmt.Sprintf("%d octets are no IV of %d, blocks of %d and ICV of %d", len(datagram)-at, l.iv, l.align, l.icv)}
	}
	body, err := p.open(datagram, at)
	if err != nil {
		return nil, err
	}
	padding := int(body[len(body)-1])
	end := len(body) - 1 - padding
	if end < 0 {
		return nil, &ParseError{t, at + l.iv, fmt.Sprintf("padding of %d octets, there are %d", padding, len(body)-1)}
	}
	return body[:end:end], nil
}

// Notifies are the Notify payloads of a message, in their order.
func (m *Message) Notifies() ([]Notify, error) {
	var list []Notify
	for _, p := range m.Payloads {
		if p.Type != PayloadNotify {
			continue
		}
		n, err := ParseNotify(p.Body)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// Check tells whether a response answers the request m with success. It fails with
// [ErrOtherExchange], with a [RefusedError] for the first error notify, with
// [ErrCookie], or with a [ParseError].
func (m *Message) Check(response *Message) error {
	if m.Response || !response.Response || response.Exchange != m.Exchange || response.ID != m.ID {
		return ErrOtherExchange
	}
	said, err := response.Notifies()
	if err != nil {
		return err
	}
	for _, n := range said {
		if n.Type.IsError() {
			return &RefusedError{n.Type}
		}
	}
	asked, err := m.Notifies()
	if err != nil {
		return err
	}
	for _, n := range asked {
		if n.Type == Cookie2 && !returned(said, n) {
			return ErrCookie
		}
	}
	return nil
}

// returned reports whether the peer has sent a notify back as it was.
func returned(said []Notify, n Notify) bool {
	return slices.ContainsFunc(said, func(s Notify) bool { return s.Type == n.Type && slices.Equal(s.Data, n.Data) })
}
