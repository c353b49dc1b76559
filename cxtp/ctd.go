package cxtp

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// CTD is the Context Transfer Data message of RFC 4067 section 2.5.3, from the
// pAR to the nAR, in both its forms:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-+-----------+-------------------------------+
//	|Vers.|  3, 4   |V|A| Reserved  |            Length             |
//	+-----+---------+-+-+-----------+-------------------------------+
//	|                 Elapsed Time (in milliseconds)                |
//	+---------------------------------------------------------------+
//	~            Mobile Node's Previous Care-of Address             ~
//	+-------------------------------+-------------------------------+
//	|     Algorithm (PCTD only)     |    Key Length (PCTD only)     |
//	+-------------------------------+-------------------------------+
//	~        Key, zero-padded to a multiple of 4 (PCTD only)        ~
//	+---------------------------------------------------------------+
//	~                      Context Data Blocks                      ~
//	+---------------------------------------------------------------+
type CTD struct {
	// Predictive makes it a PCTD: with the material to compute the MN's token.
	Predictive bool
	Ack        bool   // the A flag: a CTDR is wanted
	Elapsed    uint32 // milliseconds since the first CTD for this node
	Previous   netip.Addr
	Algorithm  Algorithm  // PCTD only: of the MN's tokens
	Key        secret.Key // PCTD only: shared by MN and AR; after decoding it aliases the input
	Blocks     []CDB
}

// Type implements [Message].
func (m *CTD) Type() Type {
	if m.Predictive {
		return TypePCTD
	}
	return TypeCTD
}

// Append implements [Message]. It also fails when a message that is not
// predictive has a key, because the key would be dropped in silence.
func (m *CTD) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, m.Type(), m.Ack, m.Previous)
	w.u32(m.Elapsed)
	w.address("MN's previous address", m.Previous)
	switch {
	case m.Predictive:
		w.u16(uint16(m.Algorithm))
		w.u16(uint16(m.Key.Len())) // a longer key fails on the message's length
		w.octets(m.Key.Bytes())
		w.octets(make([]byte, padTo4(m.Key.Len())))
	case !m.Key.IsZero() || m.Algorithm != 0:
		w.fail(errors.New("only a PCTD has room for a key"))
	}
	w.blocks(m.Blocks, false)
	return w.finish()
}

// Decode reads a CTD or a PCTD; see [Message].
func (m *CTD) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

// About is what the control block, where there is one, says that the message is
// about. It looks no further: only [ParseControl] tells whether the block is
// well formed.
func (m *CTD) About() (phase Phase, session SessionID, epoch Epoch, ok bool) {
	if len(m.Blocks) == 0 || m.Blocks[0].FPT != FPTControl {
		return 0, SessionID{}, 0, false
	}
	d := m.Blocks[0].Data
	if len(d) < controlFixedSize || d[0] != controlFormat {
		return 0, SessionID{}, 0, false
	}
	return Phase(d[1]), SessionID(d[4:20]), Epoch(binary.BigEndian.Uint64(d[20:])), true
}

func (m *CTD) read(r *wireReader) {
	blocks := m.Blocks[:0]
	*m = CTD{}
	var kind Type
	kind, m.Ack = r.header("RFC 4067 section 2.5.3", "A", TypeCTD, TypePCTD)
	m.Elapsed = r.u32("Elapsed Time")
	m.Previous = r.address("MN's Previous IP Address")
	if m.Predictive = kind == TypePCTD; m.Predictive {
		m.Algorithm = named(r, Algorithm(r.u16("Algorithm")))
		size := int(r.u16("Key Length"))
		m.Key = r.key("Key", size)
		r.octets("Key padding", padTo4(size))
	}
	m.Blocks = r.blocks(blocks, false)
}
