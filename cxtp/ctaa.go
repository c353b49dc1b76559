package cxtp

import "net/netip"

// CTAA is the Context Transfer Activate Acknowledge of RFC 4067 section 2.5.2,
// from the receiver of a CTAR to the mobile node:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-------------+-------------------------------+
//	|Vers.|    2    |V|  Reserved   |            Length             |
//	+-----+---------+-+-------------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+-------------------------------+---------------+---------------+
//	|       FPT (if present)        |  Status code  |   Reserved    |
//	+-------------------------------+---------------+---------------+
//	~                            ........                           ~
type CTAA struct {
	Previous netip.Addr
	Failed   []ContextStatus // contexts that were not transferred
}

// Type implements [Message].
func (*CTAA) Type() Type { return TypeCTAA }

// Append implements [Message].
func (m *CTAA) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTAA, false, m.Previous)
	w.address("MN's previous address", m.Previous)
	w.statuses(m.Failed)
	return w.finish()
}

// Decode reads a CTAA; see [Message].
func (m *CTAA) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *CTAA) read(r *wireReader) {
	r.header("RFC 4067 section 2.5.2", "", TypeCTAA)
	m.Previous = r.address("MN's Previous IP Address")
	m.Failed = r.statuses(m.Failed[:0])
}
