package cxtp

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// holding is what a session takes up of this router while it is live; zero when
// it is not.
type holding struct {
	live  bool
	from  RouterID       // the peer that it came from
	inner []netip.Prefix // the inner addresses that it claims
}

func (s *Session) holding() holding {
	if !s.live() {
		return holding{}
	}
	return holding{true, s.from, s.claims.Inner}
}

func (h holding) equal(other holding) bool {
	return h.live == other.live && h.from == other.from && slices.Equal(h.inner, other.inner)
}

// holdings adds up what all live sessions hold, so that a new one is compared
// with the sum and the time that takes does not depend on how many there are.
type holdings struct {
	inner bart.Table[int]  // prefix: how many claims it has
	from  map[RouterID]int // peer: how many sessions came from it
}

// replace takes away what a session held, and adds what it holds now.
func (t *holdings) replace(before, now holding) {
	if before.equal(now) {
		return
	}
	t.add(before, -1)
	t.add(now, 1)
}

func (t *holdings) add(h holding, n int) {
	if !h.live {
		return
	}
	for _, p := range h.inner {
		t.inner.Modify(p, func(claims int, _ bool) (int, bool) {
			claims += n
			return claims, claims == 0
		})
	}
	if t.from == nil {
		t.from = map[RouterID]int{}
	}
	if t.from[h.from] += n; t.from[h.from] == 0 {
		delete(t.from, h.from)
	}
}

// overlaps reports whether any session claims an address of the prefixes.
func (t *holdings) overlaps(inner []netip.Prefix) bool {
	return slices.ContainsFunc(inner, t.inner.OverlapsPrefix)
}
