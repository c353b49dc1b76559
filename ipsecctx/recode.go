package ipsecctx

import "github.com/cxtp/cxtp/cxtp"

// Recode decodes one block of the profile, whichever stand beside it, and encodes
// what it says: reserved bits are zero then, and there is no padding. So whoever
// holds another codec against this one needs no common names for the fields.
//
// Errors are as with [Session.Decode]; of another context type it is
// StatusUnknownFPT.
func Recode(b cxtp.CDB) (again cxtp.CDB, err error) {
	var r reader
	switch b.FPT {
	case cxtp.FPTIPsecSession:
		var s Session
		r.Open(&b, sessionLayout)
		s.SAs = make([]SA, s.read(&r))
		if err := r.Finish(); err != nil {
			return again, err
		}
		return s.encode(nil)
	case cxtp.FPTIPsecSA:
		var sa SA
		r.Open(&b, saLayout)
		sa.read(&r)
		if err := r.Finish(); err != nil {
			return again, err
		}
		return sa.encode(nil)
	case cxtp.FPTIPsecDynamic:
		dynamic, err := DecodeDynamic([]cxtp.CDB{b})
		if err != nil {
			return again, err
		}
		return dynamic[0].encode(nil)
	case cxtp.FPTIPsecOuter:
		addrs, err := DecodeOuter([]cxtp.CDB{b})
		if err != nil {
			return again, err
		}
		return outer(addrs).encode(nil)
	}
	return again, refusal(b.FPT, cxtp.StatusUnknownFPT, "no block of the IPsec profile")
}
