package cxtp

import (
	"encoding/binary"
	"fmt"
)

// FPT is a Feature Profile Type: what the data of a context data block mean
// (RFC 4067 section 2.3). rfc/codepoints.md lists the ones in use here.
type FPT uint16

const (
	FPTMulticastListener FPT = 0x0001 // RFC 4065 section 6
	// The private ones count down from the top of the number space, which IANA
	// has not assigned.
	FPTControl      FPT = 0xFFF0 // control block: what the move is about
	FPTNode         FPT = 0xFFF1 // node block: agent, update key, token keys
	FPTSessionName  FPT = 0xFFF2 // names a session in a request
	FPTError        FPT = 0xFFF3 // error indication instead of a context
	FPTToken        FPT = 0xFFF4 // strong token, in a request
	FPTIPsecSession FPT = 0xFFE0 // what the SAs of one session share
	FPTIPsecSA      FPT = 0xFFE1 // one SA, static part
	FPTIPsecDynamic FPT = 0xFFE2 // one SA, dynamic part
	FPTIKESession   FPT = 0xFFD0 // what a node's IKE SA is apart from its keys
	FPTIKESA        FPT = 0xFFD1 // one generation of it
	FPTIKEChild     FPT = 0xFFD2 // one CHILD SA, as IKE knows it
	FPTIKEDynamic   FPT = 0xFFD3 // message IDs, and what is under way
	FPTIPsecOuter   FPT = 0xFFE3 // shared outer addresses that are the target's now
)

var fptNames = map[FPT]string{
	FPTMulticastListener: "multicast listener",
	FPTControl:           "control",
	FPTNode:              "node",
	FPTSessionName:       "session name",
	FPTError:             "error indication",
	FPTToken:             "strong token",
	FPTIPsecSession:      "IPsec session",
	FPTIPsecSA:           "IPsec SA",
	FPTIPsecDynamic:      "IPsec dynamic",
	FPTIKESession:        "IKE session",
	FPTIKESA:             "IKE SA",
	FPTIKEChild:          "IKE child",
	FPTIKEDynamic:        "IKE dynamic",
	FPTIPsecOuter:        "IPsec outer addresses",
}

func (f FPT) String() string {
	if name, ok := fptNames[f]; ok {
		return name
	}
	return fmt.Sprintf("context type %#04x", uint16(f))
}

const (
	// MaxBlock is the size of the largest context data block in octets, header
	// included: the Length field has 8 bits and counts 8-octet words.
	MaxBlock = 255 * 8
	// blockHeader is FPT, Length, P and Reserved.
	blockHeader  = 4
	presenceSize = 4
)

// CDB is a context data block, RFC 4067 section 2.4:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+---------------+-+-------------+
//	|              FPT              | Length/8      |P|  Reserved   |
//	+-------------------------------+---------------+-+-------------+
//	|                  Presence vector, if P = 1                    |
//	+---------------------------------------------------------------+
//	~             Data, zero-padded to a multiple of 8              ~
//
// Its data may be keys, so a CDB prints as its type and size only.
type CDB struct {
	FPT         FPT
	HasPresence bool
	// Presence has one bit a field, the first field in the most significant
	// bit. Present (1) means: carried, not the default.
	Presence uint32
	// Data after decoding aliases the input and includes the padding, at most
	// seven zero octets, because a block does not say how much it padded.
	Data []byte
}

// Format keeps the data of a block out of logs whatever the verb.
func (b CDB) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "CDB{FPT %#04x, %d octets}", uint16(b.FPT), len(b.Data))
}

// IsRequest reports whether the block only names a context type: four octets
// with Length 0, our reading of RFC 4067's "only the first 4 octets are
// typically necessary" (rfc/interpretations.md, I-3).
func (b CDB) IsRequest() bool { return !b.HasPresence && len(b.Data) == 0 }

// Size is the encoded size in octets, padding included.
func (b CDB) Size() int {
	if b.IsRequest() {
		return blockHeader
	}
	return (b.unpadded() + 7) &^ 7
}

func (b CDB) unpadded() int {
	n := blockHeader + len(b.Data)
	if b.HasPresence {
		n += presenceSize
	}
	return n
}

// Append adds the encoded block to dst. The error says that the block is
// larger than [MaxBlock].
func (b CDB) Append(dst []byte) ([]byte, error) {
	dst, err := b.appendHead(dst)
	if err != nil {
		return dst, err
	}
	dst = append(dst, b.Data...)
	return append(dst, make([]byte, b.padding())...), nil
}

// appendHead adds what stands before the data.
func (b CDB) appendHead(dst []byte) ([]byte, error) {
	size := b.Size()
	if size > MaxBlock {
		return dst, fmt.Errorf("context data block of type %#04x has %d octets: at most %d fit", uint16(b.FPT), size, MaxBlock)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(b.FPT))
	if b.IsRequest() {
		return append(dst, 0, 0), nil
	}
	dst = append(dst, byte(size/8))
	if b.HasPresence {
		return binary.BigEndian.AppendUint32(append(dst, 0x80), b.Presence), nil
	}
	return append(dst, 0), nil
}

// padding is how many zero octets follow the data.
func (b CDB) padding() int { return b.Size() - b.unpadded() }

// appendBlocks adds the encoded blocks to dst.
func appendBlocks(dst []byte, blocks []CDB) ([]byte, error) {
	for _, b := range blocks {
		var err error
		if dst, err = b.Append(dst); err != nil {
			return dst, err
		}
	}
	return dst, nil
}
