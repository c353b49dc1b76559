package soft

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/ipsecctx"
)

// Inspector opens the ESP packets of one SA for a witness on the wire: it
// checks the ICV as a receiver does, but accepts any packet any number of
// times, so that repeated sequence numbers and IVs come to light. It is not
// safe for concurrent use.
type Inspector struct {
	spi    uint32
	esn    bool
	suite  suite
	layout layout
	last   uint64 // sequence number of the last packet opened
}

// NewInspector makes an Inspector from the transforms, keys and SPI of a valid SA;
// its direction does not matter. The keys are copied into the ciphers. It starts
// in the first 2^32 sequence numbers.
func NewInspector(sa *ipsecctx.SA) (*Inspector, error) {
	if err := sa.Validate(); err != nil {
		return nil, err
	}
	inbound := *sa
	inbound.Direction = ipsecctx.Inbound // an IV mode matters only to who sends
	s, err := newSuite(&inbound)
	if err != nil {
		return nil, err
	}
	return &Inspector{spi: sa.SPI, esn: sa.ESN, suite: s, layout: s.layout()}, nil
}

// Start tells the Inspector of an SA with ESN about a sequence number near
// those that it will see.
func (i *Inspector) Start(seq uint64) { i.last = seq }

// Open opens an ESP packet, which begins at its SPI, and returns its 64-bit
// sequence number, its IV and its payload: the inner packet, or what is inside
// a dummy packet. Of the high-order half of the sequence number it takes the one
// nearest to the last packet's. The packet is left as it is, and the results
// are copies.
func (i *Inspector) Open(esp []byte) (seq uint64, iv, inner []byte, err error) {
	if !wellFormed(i.layout, esp) {
		return 0, nil, nil, errMalformed
	}
	if spi := binary.BigEndian.Uint32(esp); spi != i.spi {
		return 0, nil, nil, fmt.Errorf("packet of SPI %#x given to the inspector of %#x", spi, i.spi)
	}
	seq = uint64(binary.BigEndian.Uint32(esp[4:]))
	if i.esn {
		seq = extend(i.last, 0, uint32(seq))
	}
	packet := slices.Clone(esp)
	if err := i.suite.open(packet, seq); err != nil {
		return 0, nil, nil, err
	}
	i.last = seq
	inner, next, err := payload(i.layout, packet)
	if err != nil {
		return 0, nil, nil, err
	}
	iv = packet[headerLen : headerLen+i.layout.iv]
	if next == protoNone {
		return seq, iv, inner, nil
	}
	inner, _, err = tunnelled(inner, next)
	return seq, iv, inner, err
}
