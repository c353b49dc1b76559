package ikectx

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/features/profile/profiletest"
	"pgregory.net/rapid"
)

func TestSessionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSession(t)
		if err := want.Validate(); err != nil {
			t.Fatalf("the generator drew an invalid session: %v", err)
		}
		blocks, err := EncodeSession(want)
		if err != nil {
			t.Fatal(err)
		}
		// The session and the SA blocks may be anywhere, among blocks of other types.
		at := rapid.IntRange(0, len(want.SAs)).Draw(t, "position")
		blocks[0], blocks[at] = blocks[at], blocks[0]
		blocks = append(blocks, cxtp.CDB{FPT: cxtp.FPTMulticastListener, Data: make([]byte, 28)})
		got, err := DecodeSession(profiletest.Padded(t, blocks))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("decoded\n got %+v\nwant %+v", got, want)
		}
	})
}

func TestDynamicRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSession(t)
		want := drawDynamic(t, s)
		if err := want.Validate(s); err != nil {
			t.Fatalf("the generator drew invalid state: %v", err)
		}
		blocks, err := EncodeDynamic(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeDynamic(profiletest.Padded(t, blocks))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("decoded\n got %+v\nwant %+v", got, want)
		}
		clone := got.Clone()
		clear(blocks[0].Data)
		if !reflect.DeepEqual(clone, want) {
			t.Fatal("the clone changed with the block")
		}
	})
}

func TestSessionBlocksAreComplete(t *testing.T) {
	blocks, err := EncodeSession(testSession())
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]cxtp.CDB{
		"no session block":     blocks[1:],
		"two of them":          append(blocks[:4:4], blocks[0]),
		"an SA is missing":     {blocks[0], blocks[1], blocks[3]},
		"a CHILD SA too many":  append(blocks[:4:4], blocks[3]),
		"nothing":              nil,
		"a block's request":    {{FPT: cxtp.FPTIKESession}},
		"a CHILD SA's request": append(blocks[:3:3], cxtp.CDB{FPT: cxtp.FPTIKEChild}),
	} {
		if _, err := DecodeSession(list); status(err) != cxtp.StatusMalformed {
			t.Errorf("%s: error %v, want StatusMalformed", name, err)
		}
	}
	if _, err := DecodeDynamic(blocks); status(err) != cxtp.StatusNoBase {
		t.Errorf("no dynamic block: %v, want StatusNoBase", err)
	}
	dynamic, err := EncodeDynamic(testDynamic())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeDynamic(append(dynamic, dynamic...)); status(err) != cxtp.StatusMalformed {
		t.Errorf("two dynamic blocks: %v, want StatusMalformed", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Session){
		"no outer address": func(s *Session) { s.Local = netip.AddrPort{} },
		"outer families":   func(s *Session) { s.Local = netip.MustParseAddrPort("[2001:db8::1]:4500") },
		"no identity":      func(s *Session) { s.RemoteID = profile.Identity{} },
		"no SA":            func(s *Session) { s.SAs = nil },
		"256 SAs":          func(s *Session) { s.SAs = make([]SA, 256) },
		"70,000 CHILD SAs": func(s *Session) { s.Children = make([]Child, 70000) },
		"no SPI":           func(s *Session) { s.SAs[0].ResponderSPI = 0 },
		"no PRF":           func(s *Session) { s.SAs[1].PRF = 0 },
		"large secret":     func(s *Session) { s.SAs[1].Exchange.Secrets[0] = countingKey(0, 2000) },
		"negative age":     func(s *Session) { s.SAs[1].Age = -time.Second },
		"no selectors":     func(s *Session) { s.Children[0].Remote = nil },
		"half a selector":  func(s *Session) { s.Children[0].Remote[0].Range.To = netip.Addr{} },
		"256 virtual addresses": func(s *Session) {
			s.RemoteVirtual = make([]netip.Prefix, 256)
		},
	} {
		s := testSession()
		change(s)
		blocks, err := EncodeSession(s)
		var refused *features.Error
		if !errors.As(err, &refused) || blocks != nil {
			t.Errorf("%s: error %v, want a features.Error", name, err)
		}
	}
}

// TestLargestSecretsFit: MODP-8192 and the longest nonces.
func TestLargestSecretsFit(t *testing.T) {
	s := testSession()
	x := &s.SAs[1].Exchange
	x.Method, x.Secrets[0] = 18, countingKey(0, 1024)
	x.Ni, x.Nr = make([]byte, maxNonce), make([]byte, maxNonce)
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, err := EncodeSession(s); err != nil {
		t.Error(err)
	}
}

// TestResponsesThatDoNotFit lose their octets, the oldest first; what the target
// still has to know of them stays. Requests do not.
func TestResponsesThatDoNotFit(t *testing.T) {
	d := testDynamic()
	d.Responses = nil
	for id := uint32(4); id < 8; id++ {
		d.Responses = append(d.Responses, Message{ID: id, Exchange: 35, Datagrams: [][]byte{testDatagram(2, id, 800)}})
	}
	blocks, err := EncodeDynamic(d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDynamic(blocks)
	if err != nil {
		t.Fatal(err)
	}
	var whole []bool
	for _, m := range got.Responses {
		whole = append(whole, len(m.Datagrams) > 0)
	}
	if want := []bool{false, false, true, true}; !reflect.DeepEqual(whole, want) {
		t.Errorf("responses that are whole: %v, want %v", whole, want)
	}
	if len(d.Responses[0].Datagrams) != 1 {
		t.Error("the caller's state has changed")
	}
	d.Requests, d.Responses = []Message{{ID: 2, Datagrams: [][]byte{testDatagram(2, 2, 2000)}}}, nil
	if _, err := EncodeDynamic(d); !errors.Is(err, profile.ErrTooLarge) {
		t.Errorf("a request of 2,028 octets: %v, want ErrTooLarge", err)
	}
}

// TestTimesRoundTheSafeWay: a move may bring a rekey forward, never put it off.
func TestTimesRoundTheSafeWay(t *testing.T) {
	s := testSession()
	s.SAs[1].Age, s.SAs[1].Rekey = 1001*time.Millisecond, 3999*time.Millisecond
	s.Reauthenticate = time.Millisecond
	blocks, err := EncodeSession(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeSession(blocks)
	if err != nil {
		t.Fatal(err)
	}
	if sa := got.SAs[1]; sa.Age != 2*time.Second || sa.Rekey != 3*time.Second || got.Reauthenticate != time.Second {
		t.Errorf("age %v of %v, reauthentication at %v", sa.Age, sa.Rekey, got.Reauthenticate)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSession(t)
		blocks, err := EncodeSession(s)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := DecodeSession(blocks)
		if err != nil {
			t.Fatal(err)
		}
		clone := decoded.Clone()
		for _, b := range blocks {
			for i := range b.Data {
				b.Data[i] ^= 0xff
			}
		}
		if !reflect.DeepEqual(clone, s) {
			t.Fatal("the clone changed with the blocks")
		}
		clone.Wipe()
		for i := range clone.SAs {
			profiletest.Wiped(t, clone.SAs[i].secrets())
		}
		for i := range clone.Children {
			profiletest.Wiped(t, clone.Children[i].Exchange.secrets())
		}
	})
}

// TestFailedEncodingLeavesNoKeys: neither of the block that failed nor of those
// before it.
func TestFailedEncodingLeavesNoKeys(t *testing.T) {
	s := testSession()
	s.Children[0].Local = nil
	arena := make([]byte, 0, 4*profile.MaxData)
	a := profile.Appender{Arena: arena}
	a.Add(s.SAs[1].encode)
	a.Add(s.Children[0].encode)
	if blocks, _, err := a.Result(nil, arena); err == nil || len(blocks) > 0 {
		t.Fatalf("%d blocks, error %v", len(blocks), err)
	}
	if !bytes.Equal(arena[:cap(arena)], make([]byte, cap(arena))) {
		t.Error("the arena holds something after the failure")
	}
}

// TestStringsHaveNoSecrets prints everything that has a key in every way.
func TestStringsHaveNoSecrets(t *testing.T) {
	s := testSession()
	var printed strings.Builder
	for _, v := range []any{s, *s, &s.SAs[0], s.SAs[0], s.SAs[1], &s.Children[0], testDynamic()} {
		fmt.Fprintf(&printed, "%v %+v %s %x %q\n", v, v, v, v, v)
	}
	for _, k := range []secret.Key{s.SAs[0].Keys.D, s.SAs[1].Exchange.Secrets[0]} {
		for _, form := range []string{"%x", "%s", "%v"} {
			if text := fmt.Sprintf(form, k.Bytes()); strings.Contains(printed.String(), text) {
				t.Errorf("printed a key as %q", text)
			}
		}
	}
	want := "IKE session of eap:ann at 198.51.100.9:61234, IKE SA a1a2a3a4a5a6a702_i b1b2b3b4b5b6b702_r, generation 2, 1 CHILD SAs"
	if s.String() != want {
		t.Errorf("session is %q, want %q", s, want)
	}
}
