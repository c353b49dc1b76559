package cxtp

import "net/netip"

// CTReq is the Context Transfer Request of RFC 4067 section 2.5.6, from the nAR
// to the pAR. What follows the address is copied from the CTAR; a zero Token
// asks for the key:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-------------+-------------------------------+
//	|Vers.|    7    |V|  Reserved   |            Length             |
//	+-----+---------+-+-------------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+---------------------------------------------------------------+
//	|                        Sequence Number                        |
//	+---------------------------------------------------------------+
//	|                     MN Authorization Token                    |
//	+---------------------------------------------------------------+
//	~             Requested Context Data Blocks, if any             ~
//	+---------------------------------------------------------------+
type CTReq struct {
	Previous netip.Addr
	Sequence uint32
	Token    Token
	Requests []CDB
}

// Type implements [Message].
func (*CTReq) Type() Type { return TypeCTReq }

// Append implements [Message].
func (m *CTReq) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTReq, false, m.Previous)
	w.address("MN's previous address", m.Previous)
	w.u32(m.Sequence)
	w.octets(m.Token[:])
	w.blocks(m.Requests, true)
	return w.finish()
}

// Decode reads a CT-Req; see [Message].
func (m *CTReq) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *CTReq) read(r *wireReader) {
	r.header("RFC 4067 section 2.5.6", "", TypeCTReq)
	m.Previous = r.address("MN's Previous IP Address")
	m.Sequence = r.u32("Sequence Number")
	copy(m.Token[:], r.octets("MN Authorization Token", len(m.Token)))
	m.Requests = r.blocks(m.Requests[:0], true)
}
