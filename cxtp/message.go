package cxtp

import "fmt"

// Version is the protocol version of RFC 4067 section 2.2, in the three most
// significant bits of a message's first octet.
const Version = 1

// Type is a message type: the five bits beside the version.
type Type uint8

const (
	TypeCTAR  Type = 1
	TypeCTAA  Type = 2
	TypeCTD   Type = 3
	TypePCTD  Type = 4
	TypeCTDR  Type = 5
	TypeCTC   Type = 6
	TypeCTReq Type = 7

	// Private and experimental: they count down from the top of the five bits.
	TypeOutcome   Type = 31
	TypeUpdate    Type = 30 // gateway update
	TypeUpdateAck Type = 29
)

var typeNames = map[Type]string{
	TypeCTAR:      "CTAR",
	TypeCTAA:      "CTAA",
	TypeCTD:       "CTD",
	TypePCTD:      "PCTD",
	TypeCTDR:      "CTDR",
	TypeCTC:       "CTC",
	TypeCTReq:     "CT-Req",
	TypeOutcome:   "Outcome",
	TypeUpdate:    "Update",
	TypeUpdateAck: "UpdateAck",
}

func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("message type %d", uint8(t))
}

// MaxMessage is the length of the longest message in octets: the Length field
// has 16 bits.
const MaxMessage = 65535

// Message is a CXTP message. [Decode] returns one of the pointer types of this
// package; Append is the inverse.
//
// All addresses of a message must be of one family, except where a field has a
// family of its own: there is a single V flag.
//
// Each type also has a Decode method, which reads its own type only, and fills
// the receiver again: its slices keep their room, so that a reused receiver
// costs no allocation. After an error the receiver's content is of no use.
type Message interface {
	Type() Type
	// Append adds the encoded message to dst. It fails when the message cannot
	// be expressed: addresses of two families, a block or the whole too long.
	Append(dst []byte) ([]byte, error)

	read(r *wireReader)
}

// Decode reads one whole message, RFC 4067 section 2.5 or control profile
// sections 3 and 4. The data of its blocks and its key alias b. Any error is a
// [*ParseError].
func Decode(b []byte) (Message, error) {
	r := wireReader{in: b}
	m := r.readMessage()
	if err := r.result(); err != nil {
		return nil, err
	}
	return m, nil
}

// readMessage reads a message of any type. (It calls each type's method by name:
// through the interface, every reader would go to the heap.)
func (r *wireReader) readMessage() Message {
	switch r.peekType() {
	case TypeCTAR:
		m := new(CTAR)
		m.read(r)
		return m
	case TypeCTAA:
		m := new(CTAA)
		m.read(r)
		return m
	case TypeCTD, TypePCTD:
		m := new(CTD)
		m.read(r)
		return m
	case TypeCTDR:
		m := new(CTDR)
		m.read(r)
		return m
	case TypeCTC:
		m := new(CTC)
		m.read(r)
		return m
	case TypeCTReq:
		m := new(CTReq)
		m.read(r)
		return m
	case TypeOutcome:
		m := new(Outcome)
		m.read(r)
		return m
	case TypeUpdate:
		m := new(Update)
		m.read(r)
		return m
	case TypeUpdateAck:
		m := new(UpdateAck)
		m.read(r)
		return m
	}
	r.header("RFC 4067 section 2.2", "") // finds out what is wrong with it
	return nil
}

func (r *wireReader) peekType() Type {
	if len(r.in) == 0 {
		return 0
	}
	return Type(r.in[0] & 0x1f)
}
