package capture

import (
	"encoding/binary"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/pion/sctp"
)

// What package transport sends over SCTP says which it is.
const (
	payloadMessage   sctp.PayloadProtocolIdentifier = 0x43585450 // 'CXTP'
	payloadKeepalive sctp.PayloadProtocolIdentifier = 0x4358544b // 'CXTK'
)

// sctpHeaderSize is that of what is before a packet's chunks, in octets.
const sctpHeaderSize = 12

// chunk is a DATA chunk (RFC 9260 section 3.3.1) or an I-DATA chunk (RFC 8260
// section 2.1): a message, or a fragment of one.
type chunk struct {
	tsn        uint32
	place      place
	begin, end bool
	payload    sctp.PayloadProtocolIdentifier // of a fragment: where begin is set
	data       []byte
}

// place is where a fragment belongs: numbers that follow each other in one
// sequence make a message. The fragments of a DATA message have consecutive
// TSNs, all in one sequence; those of an I-DATA message have a numbering of
// their own, so that those of other messages may come in between.
type place struct {
	sequence uint64
	number   uint32
}

// chunkIData is the type of an I-DATA chunk, which the library does not read.
const chunkIData = 64

// packet takes an SCTP packet that one side sent.
func (d *decoder) packet(f frame, g datagram, from *end, octets []byte) error {
	data := false
	packet := gopacket.NewPacket(octets, layers.LayerTypeSCTP, gopacket.DecodeOptions{NoCopy: true})
	for _, layer := range packet.Layers() {
		var c chunk
		switch l := layer.(type) {
		case *layers.SCTPInit: // INIT or INIT ACK, a side's first words
			from.arrived.begin(l.InitialTSN)
			continue
		case *gopacket.DecodeFailure:
			d.summary.BadSCTP++
			continue
		case *layers.SCTPData:
			c = dataChunk(l)
		case *layers.SCTPUnknownChunkType:
			var ok bool
			if c, ok = iDataChunk(l.SCTPChunk); !ok {
				continue
			}
		default:
			continue
		}
		data = true
		if err := d.chunk(f, g, from, c); err != nil {
			return err
		}
	}
	if !data {
		d.summary.Control++
	}
	return nil
}

func dataChunk(l *layers.SCTPData) chunk {
	return chunk{
		tsn: l.TSN, place: place{0, l.TSN}, begin: l.BeginFragment, end: l.EndFragment,
		payload: sctp.PayloadProtocolIdentifier(l.PayloadProtocol), data: l.Payload,
	}
}

// iDataChunk reads an I-DATA chunk.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+-------+-+-+-+-+-------------------------------+
//	|   Type = 64   |       |I|U|B|E|            Length             |
//	+---------------+-------+-+-+-+-+-------------------------------+
//	|                              TSN                              |
//	+-------------------------------+-------------------------------+
//	|           Stream              |           (reserved)          |
//	+-------------------------------+-------------------------------+
//	|                      Message Identifier                       |
//	+---------------------------------------------------------------+
//	|   B: Payload Protocol Identifier; else: Fragment Sequence     |
//	+---------------------------------------------------------------+
func iDataChunk(l layers.SCTPChunk) (c chunk, ok bool) {
	const headerSize = 20
	octets := l.Contents
	if l.Type != chunkIData || l.Length < headerSize || len(octets) < int(l.Length) {
		return chunk{}, false
	}
	flags := octets[1]
	stream, message := binary.BigEndian.Uint16(octets[8:]), binary.BigEndian.Uint32(octets[12:])
	unordered := uint64(flags >> 2 & 1) // has message identifiers of its own
	c = chunk{
		tsn:   binary.BigEndian.Uint32(octets[4:]),
		place: place{sequence: 1<<63 | unordered<<48 | uint64(stream)<<32 | uint64(message)},
		begin: flags&2 != 0, end: flags&1 != 0,
		data: octets[headerSize:l.Length],
	}
	last := binary.BigEndian.Uint32(octets[16:])
	if c.begin {
		c.payload = sctp.PayloadProtocolIdentifier(last)
	} else {
		c.place.number = last
	}
	return c, true
}

// chunk takes a chunk, and with it the message that it completes.
func (d *decoder) chunk(f frame, g datagram, from *end, c chunk) error {
	if !from.arrived.fresh(c.tsn) {
		d.summary.Repeated++
		return nil
	}
	whole, ok := from.arrived.add(c)
	if !ok {
		return nil
	}
	switch whole.payload {
	case payloadMessage:
		return d.message(f, g, Router, whole.data)
	case payloadKeepalive:
		d.summary.Keepalives++
	default:
		d.summary.OtherPayload++
	}
	clear(whole.data)
	return nil
}
