package cxtp

import "net/netip"

// CTAR is the Context Transfer Activate Request of RFC 4067 section 2.5.1, from
// the mobile node to the pAR (naming the nAR) or to the nAR (naming the pAR):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-+-----------+-------------------------------+
//	|Vers.|    1    |V|A| Reserved  |            Length             |
//	+-----+---------+-+-+-----------+-------------------------------+
//	~                    MN's Previous IP Address                   ~
//	+---------------------------------------------------------------+
//	~                   Previous (New) AR IP Address                ~
//	+---------------------------------------------------------------+
//	|                        Sequence Number                        |
//	+---------------------------------------------------------------+
//	|                     MN Authorization Token                    |
//	+---------------------------------------------------------------+
//	~             Requested Context Data Blocks, if any             ~
//	+---------------------------------------------------------------+
type CTAR struct {
	Ack      bool       // the A flag: a CTAA is wanted
	Previous netip.Addr // MN's previous IP address
	Router   netip.Addr // the other access router
	Sequence uint32
	Token    Token
	Requests []CDB // which contexts; empty = all
}

// Type implements [Message].
func (*CTAR) Type() Type { return TypeCTAR }

// Append implements [Message].
func (m *CTAR) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTAR, m.Ack, m.Previous)
	w.address("MN's previous address", m.Previous)
	w.address("router's address", m.Router)
	w.u32(m.Sequence)
	w.octets(m.Token[:])
	w.blocks(m.Requests, true)
	return w.finish()
}

// Decode reads a CTAR; see [Message].
func (m *CTAR) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *CTAR) read(r *wireReader) {
	_, m.Ack = r.header("RFC 4067 section 2.5.1", "A", TypeCTAR)
	m.Previous = r.address("MN's Previous IP Address")
	m.Router = r.address("Previous (New) AR IP Address")
	m.Sequence = r.u32("Sequence Number")
	copy(m.Token[:], r.octets("MN Authorization Token", len(m.Token)))
	m.Requests = r.blocks(m.Requests[:0], true)
}
