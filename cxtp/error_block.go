package cxtp

// ErrorBlock says why a context that was asked for does not come: RFC 4067
// section 2.4 lets a block be an error indication. FPTError, no presence
// vector (control profile section 7):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|  Status code  |   Reserved    |   FPT of the missing context  |
//	+---------------+---------------+-------------------------------+
func ErrorBlock(s ContextStatus) CDB {
	return CDB{FPT: FPTError, Data: []byte{byte(s.Status), 0, byte(s.FPT >> 8), byte(s.FPT)}}
}

// ParseErrorBlock reads an error indication block. Any error is a
// [*ParseError], whose offset counts from the start of the block, its header
// included.
func ParseErrorBlock(b CDB) (ContextStatus, error) {
	var r wireReader
	s := readErrorBlock(&r, b)
	if err := r.result(); err != nil {
		return ContextStatus{}, err
	}
	return s, nil
}

var errorProfile = blockProfile{"error indication block", "control profile section 7", FPTError, false}

func readErrorBlock(r *wireReader, b CDB) (s ContextStatus) {
	r.enter(errorProfile, b)
	s.Status = named(r, Status(r.u8("Status code")))
	r.u8("Reserved")
	s.FPT = named(r, FPT(r.u16("Missing FPT")))
	r.padding()
	return s
}
