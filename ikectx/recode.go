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
		r.Open(&b, sessionLayout)
		var s Session
		sas, children := s.read(&r)
		s.SAs, s.Children = make([]SA, sas), make([]Child, children)
		encode = s.encode
	case cxtp.FPTIKESA:
		var sa SA
		r.Open(&b, saLayout)
		sa.read(&r)
		encode = sa.encode
	case cxtp.FPTIKEChild:
		var c Child
		r.Open(&b, childLayout)
		c.read(&r)
		encode = c.encode
	case cxtp.FPTIKEDynamic:
		var d Dynamic
		r.Open(&b, dynamicLayout)
		d.read(&r)
		encode = d.encode
	default:
		return again, features.Refuse(b.FPT, cxtp.StatusUnknownFPT, "no block of the IKE profile")
	}
	if err := r.Finish(); err != nil {
		return again, err
	}
	return encode(nil)
}
