package ikev2

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// NotifyType is what a Notify payload says, of IANA's "IKEv2 Notify Message
// Types". Those below 16384 are errors.
type NotifyType uint16

// Notify types that this package makes, or that answer what it makes.
const (
	UnacceptableAddresses     NotifyType = 40 // RFC 4555
	UnexpectedNATDetected     NotifyType = 41 // RFC 4555
	NATDetectionSourceIP      NotifyType = 16388
	NATDetectionDestinationIP NotifyType = 16389
	AdditionalIP4Address      NotifyType = 16397 // RFC 4555
	AdditionalIP6Address      NotifyType = 16398 // RFC 4555
	NoAdditionalAddresses     NotifyType = 16399 // RFC 4555
	UpdateSAAddresses         NotifyType = 16400 // RFC 4555
	Cookie2                   NotifyType = 16401 // RFC 4555
	IKEv2MessageIDSync        NotifyType = 16422 // RFC 6311
	firstStatus               NotifyType = 16384
)

var notifyNames = map[NotifyType]string{
	UnacceptableAddresses:     "UNACCEPTABLE_ADDRESSES",
	UnexpectedNATDetected:     "UNEXPECTED_NAT_DETECTED",
	NATDetectionSourceIP:      "NAT_DETECTION_SOURCE_IP",
	NATDetectionDestinationIP: "NAT_DETECTION_DESTINATION_IP",
	AdditionalIP4Address:      "ADDITIONAL_IP4_ADDRESS",
	AdditionalIP6Address:      "ADDITIONAL_IP6_ADDRESS",
	NoAdditionalAddresses:     "NO_ADDITIONAL_ADDRESSES",
	UpdateSAAddresses:         "UPDATE_SA_ADDRESSES",
	Cookie2:                   "COOKIE2",
	IKEv2MessageIDSync:        "IKEV2_MESSAGE_ID_SYNC",
}

func (t NotifyType) String() string {
	if name, ok := notifyNames[t]; ok {
		return name
	}
	return "notify " + strconv.Itoa(int(t))
}

// IsError reports whether the type is an error.
func (t NotifyType) IsError() bool { return t < firstStatus }

// IANA's "IKEv2 Security Protocol Identifiers".
const (
	ProtocolIKE uint8 = 1
	ProtocolAH  uint8 = 2
	ProtocolESP uint8 = 3
)

// Notify is the body of a Notify payload (RFC 7296 section 3.10).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Protocol ID  |   SPI Size    |      Notify Message Type      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                 SPI, then Notification Data                   ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Notify struct {
	Type     NotifyType
	Protocol uint8  // of the SA that it is about; 0 = about none
	SPI      []byte // of that SA, at most 255 octets
	Data     []byte
}

// Payload writes it.
func (n Notify) Payload() Payload {
	body := []byte{n.Protocol, byte(len(n.SPI))}
	body = binary.BigEndian.AppendUint16(body, uint16(n.Type))
	body = append(body, n.SPI...)
	return Payload{Type: PayloadNotify, Body: append(body, n.Data...)}
}

// ParseNotify reads the body of a Notify payload, which it aliases.
func ParseNotify(body []byte) (Notify, error) {
	if len(body) < 4 {
		return Notify{}, &ParseError{PayloadNotify, 0, fmt.Sprintf("%d octets, it has at least 4", len(body))}
	}
	size := int(body[1])
	if len(body) < 4+size {
		return Notify{}, &ParseError{PayloadNotify, 1, fmt.Sprintf("SPI size %d, %d octets left", size, len(body)-4)}
	}
	n := Notify{Type: NotifyType(binary.BigEndian.Uint16(body[2:])), Protocol: body[0]}
	if size > 0 {
		n.SPI = body[4 : 4+size]
	}
	if rest := body[4+size:]; len(rest) > 0 {
		n.Data = rest
	}
	return n, nil
}

// Delete is the body of a Delete payload (RFC 7296 section 3.11).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Protocol ID   |   SPI Size    |          Num of SPIs          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~               Security Parameter Index(es) (SPI)              ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Delete struct {
	Protocol uint8
	SPIs     []uint32 // that the sender receives with; none with ProtocolIKE: the IKE SA itself
}

// Payload writes it. More than 16,000 SPIs do not fit a message.
func (d Delete) Payload() Payload {
	body := []byte{d.Protocol, 4}
	if d.Protocol == ProtocolIKE {
		body[1] = 0
	}
	body = binary.BigEndian.AppendUint16(body, uint16(len(d.SPIs)))
	for _, spi := range d.SPIs {
		body = binary.BigEndian.AppendUint32(body, spi)
	}
	return Payload{Type: PayloadDelete, Body: body}
}

// ParseDelete reads the body of a Delete payload.
func ParseDelete(body []byte) (Delete, error) {
	if len(body) < 4 {
		return Delete{}, &ParseError{PayloadDelete, 0, fmt.Sprintf("%d octets, it has at least 4", len(body))}
	}
	d := Delete{Protocol: body[0]}
	size, count, list := int(body[1]), int(binary.BigEndian.Uint16(body[2:])), body[4:]
	switch {
	case d.Protocol == ProtocolIKE && size == 0 && count == 0:
	case (d.Protocol == ProtocolAH || d.Protocol == ProtocolESP) && size == 4:
	default:
		return Delete{}, &ParseError{PayloadDelete, 0, fmt.Sprintf("protocol %d with %d SPIs of %d octets", d.Protocol, count, size)}
	}
	if len(list) != size*count {
		return Delete{}, &ParseError{PayloadDelete, 2, fmt.Sprintf("%d SPIs, there are %d octets", count, len(list))}
	}
	for ; len(list) > 0; list = list[4:] {
		d.SPIs = append(d.SPIs, binary.BigEndian.Uint32(list))
	}
	return d, nil
}
