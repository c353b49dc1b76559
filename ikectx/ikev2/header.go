package ikev2

import (
	"encoding/binary"
	"fmt"
)

// ExchangeType is the exchange that a message belongs to, of IANA's "IKEv2
// Exchange Types".
type ExchangeType uint8

// Exchange types.
const (
	IKESAInit       ExchangeType = 34
	IKEAuth         ExchangeType = 35
	CreateChildSA   ExchangeType = 36
	Informational   ExchangeType = 37
	IKEIntermediate ExchangeType = 43 // RFC 9242
	IKEFollowupKE   ExchangeType = 44 // RFC 9370
)

// Header is the header of a message, which everyone can read and nobody should
// believe before [SA.Open] has (RFC 7296 section 3.1).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                 IKE SA Initiator's SPI (8)                    |
//	|                 IKE SA Responder's SPI (8)                    |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
//	|                          Message ID                           |
//	|                            Length                             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Header struct {
	SPIi, SPIr uint64
	Exchange   ExchangeType
	Initiator  bool // sent by the initiator of the SA
	Response   bool
	ID         uint32 // message ID
}

const (
	headerLen     = 28
	version2      = 0x20 // major version 2, minor version 0
	flagInitiator = 0x08
	flagResponse  = 0x20
)

// ParseHeader reads the header of a datagram (without the non-ESP marker of RFC
// 3948), and checks that it has the length that it says.
func ParseHeader(datagram []byte) (Header, error) {
	h, _, err := parseHeader(datagram)
	return h, err
}

// parseHeader also gives the type of the first payload.
func parseHeader(b []byte) (Header, PayloadType, error) {
	if len(b) < headerLen {
		return Header{}, 0, &ParseError{0, len(b), fmt.Sprintf("%d octets, the header has %d", len(b), headerLen)}
	}
	if b[17]>>4 != version2>>4 {
		return Header{}, 0, &ParseError{0, 17, fmt.Sprintf("IKE version %d, it is 2 here", b[17]>>4)}
	}
	if n := binary.BigEndian.Uint32(b[24:]); uint64(n) != uint64(len(b)) {
		return Header{}, 0, &ParseError{0, 24, fmt.Sprintf("length %d, the datagram has %d octets", n, len(b))}
	}
	return Header{
		SPIi:      binary.BigEndian.Uint64(b),
		SPIr:      binary.BigEndian.Uint64(b[8:]),
		Exchange:  ExchangeType(b[18]),
		Initiator: b[19]&flagInitiator != 0,
		Response:  b[19]&flagResponse != 0,
		ID:        binary.BigEndian.Uint32(b[20:]),
	}, PayloadType(b[16]), nil
}

// append writes the header of a message of n octets.
func (h Header) append(dst []byte, first PayloadType, n int) []byte {
	flags := byte(0)
	if h.Initiator {
		flags |= flagInitiator
	}
	if h.Response {
		flags |= flagResponse
	}
	dst = binary.BigEndian.AppendUint64(dst, h.SPIi)
	dst = binary.BigEndian.AppendUint64(dst, h.SPIr)
	dst = append(dst, byte(first), version2, byte(h.Exchange), flags)
	dst = binary.BigEndian.AppendUint32(dst, h.ID)
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}
