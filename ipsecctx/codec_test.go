package ipsecctx

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/features/profile/profiletest"
	"pgregory.net/rapid"
)

func TestSessionRoundTrip(t *testing.T) {
	var reused Session
	rapid.Check(t, func(t *rapid.T) {
		want := drawSession(t)
		if err := want.Validate(); err != nil {
			t.Fatalf("the generator drew an invalid session: %v", err)
		}
		blocks, err := EncodeSession(want)
		if err != nil {
			t.Fatal(err)
		}
		// The session block may be anywhere, among blocks of other types.
		at := rapid.IntRange(0, len(blocks)-1).Draw(t, "position")
		blocks[0], blocks[at] = blocks[at], blocks[0]
		blocks = append(blocks, cxtp.CDB{FPT: cxtp.FPTMulticastListener, Data: make([]byte, 28)})
		got, err := DecodeSession(profiletest.Padded(t, blocks))
		if err != nil {
			t.Fatal(err)
		}
		sortLike(got, want)
		if !reflect.DeepEqual(normal(got), normal(want)) {
			t.Fatalf("decoded\n got %+v\nwant %+v", got, want)
		}
		// A session that had other contents before must not keep any of them.
		if err := reused.Decode(blocks); err != nil {
			t.Fatal(err)
		}
		sortLike(&reused, want)
		if !reflect.DeepEqual(normal(&reused), normal(want)) {
			t.Fatalf("decoded over another session\n got %+v\nwant %+v", reused, want)
		}
		// What its SAs alias goes away with this test's memory.
		reused = *reused.Clone()
	})
}

// sortLike puts the SAs of got into the order that they have in want.
func sortLike(got, want *Session) {
	for i := range want.SAs {
		for j := i; j < len(got.SAs); j++ {
			if got.SAs[j].ID() == want.SAs[i].ID() {
				got.SAs[i], got.SAs[j] = got.SAs[j], got.SAs[i]
			}
		}
	}
}

func TestDynamicRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []Dynamic
		for _, sa := range drawSession(t).SAs {
			d := drawDynamic(t, &sa)
			if err := d.Validate(&sa); err != nil {
				t.Fatalf("the generator drew invalid state: %v", err)
			}
			want = append(want, d)
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
	})
}

// TestTimesRoundTheSafeWay: a move may shorten an SA's life, never lengthen it.
func TestTimesRoundTheSafeWay(t *testing.T) {
	s, d := testSession(), testDynamic()
	s.SAs[0].Soft.Time = 400 * time.Millisecond
	s.SAs[0].Hard.Time = 3999 * time.Millisecond
	d[0].Used.Time = 1001 * time.Millisecond
	d[0].Idle = time.Millisecond
	blocks, err := EncodeSession(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeSession(blocks)
	if err != nil {
		t.Fatal(err)
	}
	if blocks, err = EncodeDynamic(d); err != nil {
		t.Fatal(err)
	}
	gotDynamic, err := DecodeDynamic(blocks)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want time.Duration
	}{
		{"soft limit below a second", got.SAs[0].Soft.Time, time.Second},
		{"hard limit", got.SAs[0].Hard.Time, 3 * time.Second},
		{"age", gotDynamic[0].Used.Time, 2 * time.Second},
		{"idle time", gotDynamic[0].Idle, time.Second},
	} {
		if c.got != c.want {
			t.Errorf("%s of %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestSessionBlocksAreComplete(t *testing.T) {
	blocks, err := EncodeSession(testSession())
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]cxtp.CDB{
		"no session block":  blocks[1:],
		"two of them":       append(blocks[:3:3], blocks[0]),
		"an SA is missing":  blocks[:2],
		"an SA too many":    append(blocks[:3:3], blocks[2]),
		"nothing":           nil,
		"a block's request": {{FPT: cxtp.FPTIPsecSession}},
	} {
		_, err := DecodeSession(list)
		var refused *features.Error
		if !errors.As(err, &refused) || refused.Status != cxtp.StatusMalformed {
			t.Errorf("%s: error %v, want StatusMalformed", name, err)
		}
	}
}

// TestTooLarge fills a block with selectors, to the last that fits and one more.
func TestTooLarge(t *testing.T) {
	s := testSession()
	sa := &s.SAs[1]
	fits := 0
	for {
		sa.Selectors = append(sa.Selectors, sa.Selectors[0])
		blocks, err := EncodeSession(s)
		if err == nil {
			fits = len(sa.Selectors)
			if size := blocks[2].Size(); size > cxtp.MaxBlock {
				t.Fatalf("%d selectors make a block of %d octets", fits, size)
			}
			continue
		}
		var refused *features.Error
		if !errors.Is(err, ErrTooLarge) || !errors.As(err, &refused) || !strings.Contains(err.Error(), "c0000002") {
			t.Fatalf("error %v, want ErrTooLarge in a features.Error that names the SA", err)
		}
		break
	}
	if fits < 60 {
		t.Errorf("%d selectors fit, the profile promises more", fits)
	}
}

func TestEncodeRefuses(t *testing.T) {
	many := func(n int) []Selector { return make([]Selector, n) }
	for name, change := range map[string]func(*Session){
		"no outer address": func(s *Session) { s.SAs[0].Local = netip.Addr{} },
		"outer families":   func(s *Session) { s.SAs[0].Local = netip.MustParseAddr("2001:db8::1") },
		"zone": func(s *Session) {
			s.SAs[0].Local = netip.MustParseAddr("fe80::1%eth0")
			s.SAs[0].Remote = s.SAs[0].Local
		},
		"no SPI":                 func(s *Session) { s.SAs[0].SPI = 0 },
		"no selectors":           func(s *Session) { s.SAs[0].Selectors = nil },
		"256 selectors":          func(s *Session) { s.SAs[0].Selectors = many(256) },
		"static chained IV":      func(s *Session) { s.SAs[0].Encryption.ChainIV = countingKey(1, 16) },
		"key beyond a block":     func(s *Session) { s.SAs[0].Integrity.Key = countingKey(1, 70000) },
		"negative lifetime":      func(s *Session) { s.SAs[0].Hard.Time = -time.Second },
		"lifetime of 200 years":  func(s *Session) { s.SAs[0].Hard.Time = 200 * 365 * 24 * time.Hour },
		"no SA":                  func(s *Session) { s.SAs = nil },
		"inner without a prefix": func(s *Session) { s.Inner = append(s.Inner, netip.Prefix{}) },
		"300 inner prefixes": func(s *Session) {
			for range 299 {
				s.Inner = append(s.Inner, s.Inner[0])
			}
		},
		"families in a list": func(s *Session) {
			s.SAs[0].Selectors[0].Local = append(s.SAs[0].Selectors[0].Local, Range{netip.MustParseAddr("::1"), netip.MustParseAddr("::1")})
		},
	} {
		s := testSession()
		change(s)
		_, err := EncodeSession(s)
		var refused *features.Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: error %v, want a features.Error", name, err)
		}
	}
}

// TestAppendKeepsTheArena: memory that holds keys is neither copied nor moved,
// whatever the capacity of the arena.
func TestAppendKeepsTheArena(t *testing.T) {
	s := testSession()
	want, err := EncodeSession(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, capacity := range []int{0, 100, profile.MaxData, 3 * profile.MaxData} {
		arena := make([]byte, 0, capacity)
		blocks, _, err := AppendSession(nil, arena, s)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(blocks, want) {
			t.Errorf("arena of %d octets: blocks differ", capacity)
		}
		for _, b := range blocks {
			clear(b.Data)
		}
		if !bytes.Equal(arena[:capacity], make([]byte, capacity)) {
			t.Errorf("arena of %d octets holds something after the blocks are wiped", capacity)
		}
	}
}

// TestFailedEncodingLeavesNoKeys: neither of the block that failed nor of those
// before it.
func TestFailedEncodingLeavesNoKeys(t *testing.T) {
	s := testSession()
	s.SAs[1].Selectors = nil
	arena := make([]byte, 0, 4*profile.MaxData)
	blocks, rest, err := AppendSession(nil, arena, s)
	if err == nil || len(blocks) > 0 || len(rest) > 0 {
		t.Fatalf("%d blocks, %d octets, error %v", len(blocks), len(rest), err)
	}
	if !bytes.Equal(arena[:cap(arena)], make([]byte, cap(arena))) {
		t.Error("the arena holds something after the failure")
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
		if !reflect.DeepEqual(normal(clone), normal(s)) {
			t.Fatal("the clone changed with the blocks")
		}
		clone.Wipe()
		for i := range clone.SAs {
			secrets := clone.SAs[i].secrets()
			profiletest.Wiped(t, secrets[:])
		}
	})
}
