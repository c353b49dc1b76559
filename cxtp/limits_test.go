package cxtp

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/iotest"
	"time"
)

// flood is CTARs that come evenly, in one limiter's eyes.
type flood struct {
	*limiter
	now time.Time
}

func newFlood(t *testing.T, rate, total int) *flood {
	l, err := newLimiter(rate, total, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &flood{l, epochZero}
}

// second sends n CTARs within a second and returns how many pass.
func (f *flood) second(n int, here bool, source func(i int) netip.Addr) (passed int) {
	begin := f.now
	for i := range n {
		f.now = begin.Add(time.Second * time.Duration(i) / time.Duration(n))
		if f.passes(f.now, source(i), here) {
			passed++
		}
	}
	f.now = begin.Add(time.Second)
	return passed
}

func from(a string) func(int) netip.Addr {
	addr := netip.MustParseAddr(a)
	return func(int) netip.Addr { return addr }
}

// anyone is another source every time.
func anyone(seed uint64) func(int) netip.Addr {
	random := rand.New(rand.NewPCG(seed, 0))
	return func(int) netip.Addr {
		n := random.Uint32()
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
}

// TestRateOfASource: up to the rate nothing is dropped; above it about the rate
// passes, however much comes; afterwards everything passes again.
func TestRateOfASource(t *testing.T) {
	f := newFlood(t, 10, 1_000_000)
	for range 5 {
		if got := f.second(10, true, from("192.0.2.1")); got != 10 {
			t.Errorf("of 10 in a second, %d pass", got)
		}
	}
	if got := f.second(100_000, true, from("192.0.2.1")); got > 20 {
		t.Errorf("in the first second of a flood, %d pass", got)
	}
	passed := 0
	for range 50 {
		passed += f.second(10_000, true, from("192.0.2.1"))
	}
	if passed < 400 || passed > 600 {
		t.Errorf("in 50 s of a flood, %d pass, want about 500", passed)
	}
	f.now = f.now.Add(2 * time.Second)
	if got := f.second(10, true, from("192.0.2.1")); got != 10 {
		t.Errorf("after the flood, %d of 10 pass", got)
	}
}

// TestFloodStarvesNobodyElse: while one source floods, another's rare requests
// all pass; while all the world floods with sessions that are not here, those
// for sessions that are here all pass, and each of the others has its chance.
func TestFloodStarvesNobodyElse(t *testing.T) {
	f := newFlood(t, 10, 1000)
	quiet := 0
	for range 20 {
		f.second(10_000, false, from("2001:db8::1"))
		if f.passes(f.now, netip.MustParseAddr("2001:db8:0:1::1"), false) {
			quiet++
		}
	}
	if quiet != 20 {
		t.Errorf("beside one flooding source, %d of 20 quiet requests pass", quiet)
	}
	attacker, mine, absent := anyone(1), 0, 0
	for range 20 {
		f.second(5_000, false, attacker)
		if f.passes(f.now, netip.MustParseAddr("192.0.2.1"), true) {
			mine++
		}
		if f.passes(f.now, netip.MustParseAddr("192.0.2.2"), false) {
			absent++
		}
	}
	if mine != 20 {
		t.Errorf("beside a flood from everywhere, %d of 20 requests for sessions that are here pass", mine)
	}
	if absent == 0 || absent > 12 {
		t.Errorf("beside a flood of 5 times the total, %d of 20 other requests pass, want about 4", absent)
	}
}

// TestFloodIsBounded: whatever comes from wherever, at most twice the total
// passes in a second, about the total on average, and the memory has an end.
func TestFloodIsBounded(t *testing.T) {
	f := newFlood(t, 10, 1000)
	attacker, sum := anyone(2), 0
	for range 20 {
		got := f.second(20_000, false, attacker)
		if got > 2000 {
			t.Errorf("%d pass in a second", got)
		}
		sum += got
	}
	if sum < 15_000 || sum > 25_000 {
		t.Errorf("%d pass in 20 s, want about 20,000", sum)
	}
	if n := len(f.sources); n > maxSources {
		t.Errorf("%d sources are kept", n)
	}
}

// TestSourcesAreForgotten: a place is free for a new source once an old one has
// been silent.
func TestSourcesAreForgotten(t *testing.T) {
	f := newFlood(t, 10, 1_000_000)
	f.second(3*maxSources, false, anyone(3))
	f.now = f.now.Add(3 * time.Second)
	if f.second(100, false, from("192.0.2.1")) > 20 {
		t.Error("a source that came after a flood is not limited")
	}
}

// TestSourceIsTheSame in spite of another spelling or interface identifier.
func TestSourceIsTheSame(t *testing.T) {
	f := newFlood(t, 10, 1_000_000)
	for _, pair := range [][2]string{
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8::1", "2001:db8::2:3"},
		{"fe80::1%eth0", "fe80::2%eth1"},
	} {
		if f.source(f.now, netip.MustParseAddr(pair[0])) != f.source(f.now, netip.MustParseAddr(pair[1])) {
			t.Errorf("%s and %s have a limit each", pair[0], pair[1])
		}
	}
	if f.source(f.now, netip.MustParseAddr("192.0.2.1")) == f.source(f.now, netip.MustParseAddr("192.0.2.2")) {
		t.Error("two IPv4 sources share a limit")
	}
}

func TestLimiterWithoutRandomNumbers(t *testing.T) {
	broken := errors.New("broken")
	if _, err := newLimiter(10, 1000, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}
