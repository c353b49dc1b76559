package cxtp

import "net/netip"

// CTDR is the Context Transfer Data Reply of RFC 4067 section 2.5.4, from the
// nAR to the pAR:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-+-----------+-------------------------------+
//	|Vers.|    5    |V|S| Reserved  |            Length             |
//	+-----+---------+-+-+-----------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+-------------------------------+---------------+---------------+
//	|       FPT (if present)        |  Status code  |   Reserved    |
//	+-------------------------------+---------------+---------------+
//	~                            ........                           ~
type CTDR struct {
	Success  bool // the S flag: all contexts were received
	Previous netip.Addr
	Statuses []ContextStatus
}

// Type implements [Message].
func (*CTDR) Type() Type { return TypeCTDR }

// Append implements [Message].
func (m *CTDR) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTDR, m.Success, m.Previous)
	w.address("MN's previous address", m.Previous)
	w.statuses(m.Statuses)
	return w.finish()
}

// Decode reads a CTDR; see [Message].
func (m *CTDR) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *CTDR) read(r *wireReader) {
	_, m.Success = r.header("RFC 4067 section 2.5.4", "S", TypeCTDR)
	m.Previous = r.address("MN's Previous IP Address")
	m.Statuses = r.statuses(m.Statuses[:0])
}
