package xfrm

import (
	"cmp"
	"slices"
	"time"

	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// usageAt says that the use of the lifetimes is to be written as of a time.
type usageAt struct{ now time.Time }

// replay is the request that gives the SA at place i dynamic state: its sequence
// numbers and, with at, what is used of its lifetimes.
func (s *session) replay(i int, d ipsecctx.Dynamic, at *usageAt) uapi.Request {
	form := s.sas[i].form
	if form == nil {
		form = formOf(&s.static.SAs[i])
	}
	replay := replayOf(form, &s.static.SAs[i], &d)
	e := &uapi.AEvent{ID: s.sas[i].id, Replay: &replay, ReqID: s.sas[i].reqid}
	e.Src = s.static.SAs[i].Local
	if d.Direction == ipsecctx.Inbound {
		e.Src = s.static.SAs[i].Remote
	}
	if at != nil {
		used := usageOf(&d, at.now)
		e.Used = &used
	}
	return uapi.Request{Op: uapi.OpSetReplay, Replay: e, ID: e.ID}
}

// rankGenerations makes the kernel prefer the newest of the outbound SAs that
// could carry a packet: of those that match, it takes the one that was added
// last, to the second. set are the requests for the SAs at places.
func (s *session) rankGenerations(places []int, set []uapi.Request) {
	type generation struct {
		pair  uint32
		added uint64
	}
	newer := map[uint32]generation{} // by group
	order := slices.SortedStableFunc(slices.Values(indexes(places)), func(a, b int) int {
		return cmp.Compare(s.sas[places[a]].generation, s.sas[places[b]].generation)
	})
	for _, k := range order {
		sa, mine := &s.static.SAs[places[k]], &s.sas[places[k]]
		if sa.Direction != ipsecctx.Outbound {
			continue
		}
		used := set[k].Replay.Used
		if n, there := newer[mine.group]; there && n.pair != sa.Pair && used.AddTime >= n.added {
			used.AddTime = max(1, n.added-1)
		}
		newer[mine.group] = generation{sa.Pair, used.AddTime}
	}
}

// limits is the request that gives the SA at place i, as it was read, its
// lifetimes and ceiling. An adopted one has its lifetimes from the IKE daemon, for
// which a soft limit means a rekey: of the ceiling it gets the hard one alone.
func (s *session) limits(i int, st *uapi.State) uapi.Request {
	c := s.sas[i].ceiling
	limits := limitsOf(&s.static.SAs[i], st.Used, st.Replay.OSeq, c)
	if s.adopted {
		st.Limits.HardPackets = limits.HardPackets
		if c != nil && c.half == 0 {
			c.half = st.Replay.OSeq + (c.last-min(c.last, st.Replay.OSeq)+1)/2
		}
	} else {
		st.Limits = limits
	}
	return uapi.Request{Op: uapi.OpUpdateState, State: st, ID: st.ID()}
}
