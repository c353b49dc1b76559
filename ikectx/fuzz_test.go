package ikectx

import (
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
)

// again encodes and decodes what a fuzz target has decoded from anyone's octets:
// nothing of a valid value may be lost.
func again[T any](t *testing.T, v *T, encode func([]byte) (cxtp.CDB, error), decode func(*cxtp.CDB, *reader) *T) {
	t.Helper()
	b, err := encode(nil)
	if err != nil {
		t.Fatalf("a valid block is not encoded again: %v", err)
	}
	var r reader
	second := decode(&b, &r)
	if err := r.Finish(); err != nil {
		t.Fatalf("what was encoded is not decoded: %v", err)
	}
	if !reflect.DeepEqual(second, v) {
		t.Fatalf("encoded and decoded\n got %+v\nwant %+v", second, v)
	}
}

func FuzzSession(f *testing.F) {
	kit.Seed(f, cxtp.FPTIKESession)
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTIKESession, HasPresence: true, Presence: presence, Data: data}
		var r reader
		s := decodeShared(&b, &r)
		err := r.Finish()
		kit.Refusal(t, b, err)
		_ = s.String()
		if err == nil && s.checkShared() == nil {
			again(t, normal(s), s.encode, decodeShared)
		}
	})
}

// normal has nil for a list or text that was written out empty.
func normal(s *Session) *Session {
	s.EAPIdentity, s.State = orNil(s.EAPIdentity), orNil(s.State)
	return s
}

func FuzzSA(f *testing.F) {
	kit.Seed(f, cxtp.FPTIKESA)
	decode := func(b *cxtp.CDB, r *reader) *SA {
		sa := new(SA)
		r.Open(b, saLayout)
		sa.read(r)
		return sa
	}
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTIKESA, HasPresence: true, Presence: presence, Data: data}
		var r reader
		sa := decode(&b, &r)
		err := r.Finish()
		kit.Refusal(t, b, err)
		if err == nil && sa.validate(map[uint32]*SA{sa.Replaces: {}}) == nil {
			sa.Exchange.Ni, sa.Exchange.Nr, sa.PPKID = orNil(sa.Exchange.Ni), orNil(sa.Exchange.Nr), orNil(sa.PPKID)
			again(t, sa, sa.encode, decode)
		}
	})
}

func FuzzChild(f *testing.F) {
	kit.Seed(f, cxtp.FPTIKEChild)
	decode := func(b *cxtp.CDB, r *reader) *Child {
		c := new(Child)
		r.Open(b, childLayout)
		c.read(r)
		return c
	}
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTIKEChild, HasPresence: true, Presence: presence, Data: data}
		var r reader
		c := decode(&b, &r)
		err := r.Finish()
		kit.Refusal(t, b, err)
		if err == nil && c.Generation != 0 && c.validate(map[uint32]*SA{c.Generation: {}}) == nil {
			s := Session{Children: []Child{*c}}
			s.Claims()
			c.Exchange.Ni, c.Exchange.Nr = orNil(c.Exchange.Ni), orNil(c.Exchange.Nr)
			again(t, c, c.encode, decode)
		}
	})
}

func FuzzDynamic(f *testing.F) {
	kit.Seed(f, cxtp.FPTIKEDynamic)
	decode := func(b *cxtp.CDB, r *reader) *Dynamic {
		d := new(Dynamic)
		r.Open(b, dynamicLayout)
		d.read(r)
		return d
	}
	sa := testSA(2)
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTIKEDynamic, HasPresence: true, Presence: presence, Data: data}
		var r reader
		d := decode(&b, &r)
		err := r.Finish()
		kit.Refusal(t, b, err)
		if err == nil && d.Generation != 0 && d.validate(sa.counting()) == nil {
			again(t, d, d.encode, decode)
		}
	})
}
