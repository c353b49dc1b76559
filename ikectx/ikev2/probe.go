package ikev2

import (
	"crypto/rand"
	"encoding/binary"
)

// Probe asks whether an IKE daemon can be reached, at an address from which it has
// never heard anything: it is a message of a major version that there is not. The
// daemon drops it, and says so to whoever has sent it (RFC 7296 section 2.5). No
// IKE SA comes of it, and none is concerned.
type Probe struct{ SPIi, SPIr uint64 }

// NewProbe is a probe that nobody can answer who has not seen it.
func NewProbe() Probe {
	var spis [16]byte
	rand.Read(spis[:])
	spis[0] |= 1 // the initiator's is never 0
	return Probe{binary.BigEndian.Uint64(spis[:]), binary.BigEndian.Uint64(spis[8:])}
}

// version3 is the lowest major version above ours.
const version3 = 0x30

// Datagram is the message, without the non-ESP marker.
func (p Probe) Datagram() []byte {
	h := Header{SPIi: p.SPIi, SPIr: p.SPIr, Exchange: Informational, Initiator: true}
	b := h.append(nil, 0, headerLen)
	b[17] = version3
	return b
}

// AnsweredBy reports whether a datagram, without the non-ESP marker, is the answer.
func (p Probe) AnsweredBy(datagram []byte) bool {
	h, err := ParseHeader(datagram)
	return err == nil && h.Response && h.SPIi == p.SPIi && h.SPIr == p.SPIr
}
