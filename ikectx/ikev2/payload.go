package ikev2

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// PayloadType is the type of a payload, of IANA's "IKEv2 Payload Types".
type PayloadType uint8

// Payload types that this package uses by name.
const (
	PayloadSA        PayloadType = 33
	PayloadNonce     PayloadType = 40
	PayloadNotify    PayloadType = 41
	PayloadDelete    PayloadType = 42
	PayloadEncrypted PayloadType = 46 // "SK"
	PayloadFragment  PayloadType = 53 // "SKF", RFC 7383
)

// payloadNames are the notations of RFC 7296 section 3.2. All types of that
// document are here: those are the ones whose critical bit means nothing.
var payloadNames = map[PayloadType]string{
	33: "SA", 34: "KE", 35: "IDi", 36: "IDr", 37: "CERT", 38: "CERTREQ", 39: "AUTH", 40: "Nonce",
	41: "N", 42: "D", 43: "V", 44: "TSi", 45: "TSr", 46: "SK", 47: "CP", 48: "EAP", 53: "SKF",
}

func (t PayloadType) String() string {
	if name, ok := payloadNames[t]; ok {
		return name
	}
	return strconv.Itoa(int(t))
}

// Payload is one payload of a message, without the generic header (RFC 7296
// section 3.2).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Next Payload  |C|  RESERVED   |         Payload Length        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Payload struct {
	Type PayloadType
	Body []byte
}

const genericLen = 4 // octets of the generic header

// appendChain writes payloads, each with the type of the next one.
func appendChain(dst []byte, payloads []Payload) ([]byte, error) {
	for i, p := range payloads {
		if len(p.Body) > 0xffff-genericLen {
			return dst, fmt.Errorf("failed to write payload %v: %d octets are too many", p.Type, len(p.Body))
		}
		dst = append(dst, byte(firstType(payloads[i+1:])), 0)
		dst = binary.BigEndian.AppendUint16(dst, uint16(genericLen+len(p.Body)))
		dst = append(dst, p.Body...)
	}
	return dst, nil
}

// firstType is the type that stands before a chain, 0 if it is empty.
func firstType(payloads []Payload) PayloadType {
	if len(payloads) == 0 {
		return 0
	}
	return payloads[0].Type
}

// parseChain reads all of b as payloads of which the first has the type next.
// They alias b.
func parseChain(b []byte, next PayloadType) ([]Payload, error) {
	var list []Payload
	at := 0
	for next != 0 {
		body, following, critical, err := parseGeneric(b, at, next)
		if err != nil {
			return nil, err
		}
		switch _, known := payloadNames[next]; {
		case next == PayloadEncrypted || next == PayloadFragment:
			return nil, &ParseError{next, at, "stands among payloads, it has to be the only one of a message"}
		case !known && critical:
			return nil, &CriticalError{next}
		}
		list = append(list, Payload{Type: next, Body: body})
		at += genericLen + len(body)
		next = following
	}
	if at != len(b) {
		return nil, &ParseError{0, at, fmt.Sprintf("%d octets after the last payload", len(b)-at)}
	}
	return list, nil
}

// parseGeneric reads the payload at an offset of b.
func parseGeneric(b []byte, at int, t PayloadType) (body []byte, next PayloadType, critical bool, err error) {
	left := b[at:]
	if len(left) < genericLen {
		return nil, 0, false, &ParseError{t, at, fmt.Sprintf("%d octets left, its header has %d", len(left), genericLen)}
	}
	n := int(binary.BigEndian.Uint16(left[2:]))
	if n < genericLen || n > len(left) {
		return nil, 0, false, &ParseError{t, at, fmt.Sprintf("length %d, there are %d to %d octets", n, genericLen, len(left))}
	}
	return left[genericLen:n:n], PayloadType(left[0]), left[1]&0x80 != 0, nil
}
