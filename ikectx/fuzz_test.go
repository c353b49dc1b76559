package ikectx

import (
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
)

// fuzz decodes a block of anyone's octets. Where suits says that the result is a valid
// one, which it also brings into the form that decoding gives, nothing of that is lost
// when it is encoded and decoded again.
func fuzz[T any](f *testing.F, fpt cxtp.FPT, decode func(*cxtp.CDB, *reader) *T, encode func(*T, []byte) (cxtp.CDB, error), suits func(*T) bool) {
	kit.Seed(f, fpt)
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: fpt, HasPresence: true, Presence: presence, Data: data}
		var r reader
		v := decode(&b, &r)
		err := r.Finish()
		kit.Refusal(t, b, err)
		if err != nil || !suits(v) {
			return
		}
		b, err = encode(v, nil)
		if err != nil {
			t.Fatalf("a valid block is not encoded again: %v", err)
		}
		second := decode(&b, &r)
		if err := r.Finish(); err != nil {
			t.Fatalf("what was encoded is not decoded: %v", err)
		}
		if !reflect.DeepEqual(second, v) {
			t.Fatalf("encoded and decoded\n got %+v\nwant %+v", second, v)
		}
	})
}

func FuzzSession(f *testing.F) {
	fuzz(f, cxtp.FPTIKESession, decodeShared, (*Session).encode, func(s *Session) bool {
		_ = s.String()
		s.EAPIdentity, s.State = orNil(s.EAPIdentity), orNil(s.State)
		return s.checkShared() == nil
	})
}

func FuzzSA(f *testing.F) {
	fuzz(f, cxtp.FPTIKESA, decodeSA, (*SA).encode, func(sa *SA) bool {
		sa.Exchange.Ni, sa.Exchange.Nr, sa.PPKID = orNil(sa.Exchange.Ni), orNil(sa.Exchange.Nr), orNil(sa.PPKID)
		return sa.validate(map[uint32]*SA{sa.Replaces: {}}) == nil
	})
}

func FuzzChild(f *testing.F) {
	fuzz(f, cxtp.FPTIKEChild, decodeChild, (*Child).encode, func(c *Child) bool {
		c.Exchange.Ni, c.Exchange.Nr = orNil(c.Exchange.Ni), orNil(c.Exchange.Nr)
		if c.Generation == 0 || c.validate(map[uint32]*SA{c.Generation: {}}) != nil {
			return false
		}
		s := Session{Children: []Child{*c}}
		s.Claims()
		return true
	})
}

func FuzzDynamic(f *testing.F) {
	sa := testSA(2)
	fuzz(f, cxtp.FPTIKEDynamic, decodeState, (*Dynamic).encode, func(d *Dynamic) bool {
		return d.Generation != 0 && d.validate(sa.counting()) == nil
	})
}
