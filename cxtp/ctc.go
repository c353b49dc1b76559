package cxtp

import "net/netip"

// CTC is the Context Transfer Cancel of RFC 4067 section 2.5.5, from the nAR to
// the pAR:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-------------+-------------------------------+
//	|Vers.|    6    |V|  Reserved   |            Length             |
//	+-----+---------+-+-------------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+---------------------------------------------------------------+
type CTC struct{ Previous netip.Addr }

// Type implements [Message].
func (*CTC) Type() Type { return TypeCTC }

// Append implements [Message].
func (m *CTC) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTC, false, m.Previous)
	w.address("MN's previous address", m.Previous)
	return w.finish()
}

// Decode reads a CTC; see [Message].
func (m *CTC) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *CTC) read(r *wireReader) {
	r.header("RFC 4067 section 2.5.5", "", TypeCTC)
	m.Previous = r.address("MN's Previous IP Address")
}
