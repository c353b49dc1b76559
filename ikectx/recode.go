package ikectx

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// Recode decodes one block of the profile, whichever stand beside it, and encodes
// what it says: reserved bits are zero then, and there is no padding. So whoever
// holds another codec against this one needs no common names for the fields.
//
// Errors are as with [DecodeSession]; of another context type it is
// StatusUnknownFPT.
func Recode(b cxtp.CDB) (again cxtp.CDB, err error) {
	var r reader
	var encode func([]byte) (cxtp.CDB, error)
	switch b.FPT {
	case cxtp.FPTIKESession:
		encode = decodeShared(&b, &r).encode
	case cxtp.FPTIKESA:
		encode = decodeSA(&b, &r).encode
	case cxtp.FPTIKEChild:
		encode = decodeChild(&b, &r).encode
	case cxtp.FPTIKEDynamic:
		encode = decodeState(&b, &r).encode
	default:
		return again, features.Refuse(b.FPT, cxtp.StatusUnknownFPT, "no block of the IKE profile")
	}
	if err := r.Finish(); err != nil {
		return again, err
	}
	return encode(nil)
}

// decodeShared reads a session block into a session that has as many SAs as it
// announces.
func decodeShared(b *cxtp.CDB, r *reader) *Session {
	s := new(Session)
	r.Open(b, sessionLayout)
	sas, children := s.read(r)
	s.SAs, s.Children = make([]SA, sas), make([]Child, children)
	return s
}

func decodeSA(b *cxtp.CDB, r *reader) *SA {
	sa := new(SA)
	r.Open(b, saLayout)
	sa.read(r)
	return sa
}

func decodeChild(b *cxtp.CDB, r *reader) *Child {
	c := new(Child)
	r.Open(b, childLayout)
	c.read(r)
	return c
}

func decodeState(b *cxtp.CDB, r *reader) *Dynamic {
	d := new(Dynamic)
	r.Open(b, dynamicLayout)
	d.read(r)
	return d
}
