package ipsecctx

import (
	"reflect"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

func FuzzSession(f *testing.F) {
	kit.Seed(f, cxtp.FPTIPsecSession)
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTIPsecSession, HasPresence: true, Presence: presence, Data: data}
		var r reader
		var s Session
		r.Open(&b, sessionLayout)
		s.SAs = make([]SA, s.read(&r))
		err := r.Finish()
		kit.Refusal(t, b, err)
		if err != nil || s.checkShared() != nil {
			return
		}
		again, err := s.encode(nil)
		if err != nil {
			t.Fatalf("a valid block is not encoded again: %v", err)
		}
		var second Session
		r.Open(&again, sessionLayout)
		second.SAs = make([]SA, second.read(&r))
		if err := r.Finish(); err != nil {
			t.Fatalf("what was encoded is not decoded: %v", err)
		}
		if !reflect.DeepEqual(normal(&second), normal(&s)) {
			t.Fatalf("encoded and decoded\n got %+v\nwant %+v", second, s)
		}
	})
}

func FuzzSA(f *testing.F) {
	kit.Seed(f, cxtp.FPTIPsecSA)
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		blocks := []cxtp.CDB{
			{FPT: cxtp.FPTIPsecSession, HasPresence: true, Presence: profile.Bit(sessionSACount), Data: []byte{0, 1}},
			{FPT: cxtp.FPTIPsecSA, HasPresence: true, Presence: presence, Data: data},
		}
		s, err := DecodeSession(blocks)
		kit.Refusal(t, blocks[1], err)
		if err != nil || s.Validate() != nil {
			return
		}
		s.Claims()
		again, err := EncodeSession(s)
		if err != nil {
			t.Fatalf("a valid block is not encoded again: %v", err)
		}
		second, err := DecodeSession(again)
		if err != nil {
			t.Fatalf("what was encoded is not decoded: %v", err)
		}
		if !reflect.DeepEqual(normal(second), normal(s)) {
			t.Fatalf("encoded and decoded\n got %+v\nwant %+v", second, s)
		}
	})
}

func FuzzOuter(f *testing.F) {
	kit.Seed(f, cxtp.FPTIPsecOuter)
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTIPsecOuter, HasPresence: true, Presence: presence, Data: data}
		addrs, err := DecodeOuter([]cxtp.CDB{b})
		kit.Refusal(t, b, err)
		if err != nil {
			return
		}
		again, err := EncodeOuter(addrs)
		if err != nil {
			t.Fatalf("a block is not encoded again: %v", err)
		}
		if second, err := DecodeOuter(again); err != nil || !slices.Equal(second, addrs) {
			t.Fatalf("encoded and decoded %v, %v, want %v", second, err, addrs)
		}
	})
}

func FuzzDynamic(f *testing.F) {
	kit.Seed(f, cxtp.FPTIPsecDynamic)
	f.Fuzz(func(t *testing.T, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTIPsecDynamic, HasPresence: true, Presence: presence, Data: data}
		dynamic, err := DecodeDynamic([]cxtp.CDB{b})
		kit.Refusal(t, b, err)
		if err != nil || dynamic[0].Direction == 0 || dynamic[0].SPI == 0 {
			return
		}
		again, err := EncodeDynamic(dynamic)
		if err != nil {
			t.Fatalf("a block is not encoded again: %v", err)
		}
		second, err := DecodeDynamic(again)
		if err != nil {
			t.Fatalf("what was encoded is not decoded: %v", err)
		}
		if len(dynamic[0].Window) == 0 {
			dynamic[0].Window = nil
		}
		if !reflect.DeepEqual(second, dynamic) {
			t.Fatalf("encoded and decoded\n got %+v\nwant %+v", second, dynamic)
		}
	})
}
