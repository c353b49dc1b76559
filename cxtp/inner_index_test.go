package cxtp

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawPrefix draws from a few nested prefixes of both families, so that they
// often overlap or are the same; some have bits beyond their length.
func drawPrefix(t *rapid.T) netip.Prefix {
	b := [16]byte{12: 10, 15: rapid.Byte().Draw(t, "octet") & 0x0f}
	if rapid.Bool().Draw(t, "v6") {
		b[0], b[1] = 0x20, 0x01
		return netip.PrefixFrom(netip.AddrFrom16(b), rapid.SampledFrom([]int{0, 16, 124, 126, 128}).Draw(t, "bits"))
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte(b[12:])), rapid.SampledFrom([]int{0, 8, 28, 30, 31, 32}).Draw(t, "bits"))
}

// TestHoldingsAreTheSumOfSessions changes sessions at random and compares the
// sums with a walk over all sessions.
func TestHoldingsAreTheSumOfSessions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum holdings
		sessions := map[int]holding{}
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				id := rapid.IntRange(0, 7).Draw(t, "session")
				var now holding
				if rapid.Bool().Draw(t, "live") {
					now = holding{true, rapid.SampledFrom([]RouterID{"", "A", "B"}).Draw(t, "from"),
						rapid.SliceOfN(rapid.Custom(drawPrefix), 0, 3).Draw(t, "inner")}
				}
				sum.replace(sessions[id], now)
				sessions[id] = now
			},
			"": func(t *rapid.T) {
				inner := rapid.SliceOfN(rapid.Custom(drawPrefix), 0, 2).Draw(t, "new")
				if got, want := sum.overlaps(inner), walkOverlaps(maps.Values(sessions), inner); got != want {
					t.Fatalf("%v overlaps: %t, by walking over %v: %t", inner, got, sessions, want)
				}
				for _, peer := range []RouterID{"", "A", "B"} {
					if got, want := sum.from[peer], walkFrom(maps.Values(sessions), peer); got != want {
						t.Fatalf("%d sessions came from %q, by walking over %v: %d", got, peer, sessions, want)
					}
				}
			},
		})
	})
}

func walkOverlaps(sessions func(func(holding) bool), inner []netip.Prefix) bool {
	for h := range sessions {
		for _, mine := range inner {
			if h.live && slices.ContainsFunc(h.inner, mine.Overlaps) {
				return true
			}
		}
	}
	return false
}

func walkFrom(sessions func(func(holding) bool), peer RouterID) int {
	n := 0
	for h := range sessions {
		if h.live && h.from == peer {
			n++
		}
	}
	return n
}

// TestRouterKeepsItsHoldings plays random schedules, and compares what a router
// has added up with what its sessions hold.
func TestRouterKeepsItsHoldings(t *testing.T) {
	for seed := range uint64(100) {
		c := newChaos(t, seed)
		for range 20 {
			c.trigger()
			for range c.IntN(20) {
				c.world.next(c.world.now.Add(1e9))
			}
			for _, n := range c.world.routers {
				r := n.machine
				var want holdings
				for _, s := range r.sessions {
					want.replace(holding{}, s.holding())
				}
				if !maps.Equal(r.holdings.from, want.from) || !r.holdings.inner.Equal(&want.inner) {
					t.Fatalf("seed %d: %s has added up %v and %v, its sessions hold %v and %v", seed, n.id,
						r.holdings.from, maps.Collect(r.holdings.inner.All()), want.from, maps.Collect(want.inner.All()))
				}
			}
		}
	}
}
