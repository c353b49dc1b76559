package live

import (
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// rateChecks flood the router, and so come last.
var rateChecks = []check{
	{
		name: "request-rate", rows: []string{"6.3-12", "4-2", "6.3-14"},
		expect: "of CTARs that come much faster than CT_REQUEST_RATE about as many as that are looked at in a second",
		run: func(t *trial) {
			passed := t.flood()
			most := 4 * t.subject.Timers.RequestRate
			t.check(len(passed) > 0, "of %d CTARs in a burst none was looked at", t.floodSize())
			t.check(len(passed) <= most, "of %d CTARs in a burst %d were looked at, with a rate of %d a second", t.floodSize(), len(passed), t.subject.Timers.RequestRate)
		},
	}, {
		name: "random-drop", rows: []string{"6.3-13"},
		expect: "above the rate CTARs are dropped at random, so that some that come late are looked at, too",
		run: func(t *trial) {
			passed := t.flood()
			// By chance the first may be those, but not again and again.
			for range 2 {
				if len(passed) > 0 && slices.Max(passed) >= len(passed) {
					return
				}
				passed = t.flood()
			}
			t.check(len(passed) > 0, "none was looked at")
			t.check(slices.Max(passed) >= len(passed), "the first %d CTARs were looked at, and then none of %d", len(passed), t.floodSize()-len(passed))
		},
	}, {
		name: "after-the-flood", rows: []string{"6.3-12"},
		expect: "when the flood is over a CTAR is looked at again",
		run: func(t *trial) {
			t.flood()
			t.pause(2 * time.Second)
			t.stillThere()
		},
	},
}

func (t *trial) floodSize() int { return 20 * t.subject.Timers.RequestRate }

// flood sends CTARs of nodes that the router does not know, all at once and from one
// address, and gives the places of those that were looked at: for which a CT-Req
// came.
func (t *trial) flood() []int {
	t.connected()
	t.hears()
	t.pause(2 * time.Second) // so that nothing before counts
	place := map[netip.Addr]int{}
	var all [][]byte
	for i := range t.floodSize() {
		m := t.strange(true, false)
		place[m.Previous] = i
		all = append(all, t.encoded(m))
	}
	for _, octets := range all {
		t.must(t.nodes.Send(t.node, octets))
	}
	var passed []int
	next := func(a *arrival) bool {
		q, ok := a.message.(*cxtp.CTReq)
		return ok && !slices.Contains(passed, place[q.Previous]) && has(place, q.Previous)
	}
	for {
		a := t.within(t.quiet(), next)
		if a == nil {
			return passed
		}
		passed = append(passed, place[about(a.message)])
	}
}

func has(place map[netip.Addr]int, a netip.Addr) bool {
	_, ok := place[a]
	return ok
}
