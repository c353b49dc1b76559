package xfrm

import (
	"slices"

	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// What an IKE daemon gives its SAs and policies.
const (
	ikeReqID    = 7
	ikePriority = 371327
)

// ikeDaemon plays an IKE daemon: it puts SAs and policies into the kernel and takes
// them out again, and asks nobody.
type ikeDaemon struct {
	do     func([]uapi.Request) []uapi.Result
	window uint32 // of its inbound SAs
	start  uint64 // seconds since 1970 when it made the first pair; the next a second later

	states   []uapi.StateID
	policies []uapi.PolicyID
}

// quietly makes requests of others, which no fault disturbs.
func (k *fake) quietly(requests []uapi.Request) (results []uapi.Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range requests {
		results = append(results, k.do(0, r))
	}
	return results
}

// install gives the kernel those SAs of a session that it does not have, at their
// first numbers, and the policies.
func (d *ikeDaemon) install(t tester, s *ipsecctx.Session) {
	t.Helper()
	var requests []uapi.Request
	for i := range s.SAs {
		if st := d.state(t, &s.SAs[i]); !slices.Contains(d.states, st.ID()) {
			requests = append(requests, addState(st))
			d.states = append(d.states, st.ID())
		}
	}
	groups, err := groupsOf(s)
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, group := range groups {
		policies, err := policiesOf(s, group, ikeReqID, ikePriority, Placement{})
		if err != nil {
			t.Errorf("%v", err)
		}
		newest := pairOf(s, group.pairs[0], ipsecctx.Outbound)
		for i := range policies {
			p, op := &policies[i], uapi.OpUpdatePolicy
			if same := func(id uapi.PolicyID) bool { return id == p.ID() }; !slices.ContainsFunc(d.policies, same) {
				op = uapi.OpAddPolicy
				d.policies = append(d.policies, p.ID())
			}
			if p.Dir == uapi.DirOut { // strongSwan names the SA
				p.Templates[0].SPI = newest[0].SPI
			}
			requests = append(requests, uapi.Request{Op: op, Policy: p, PolicyID: p.ID()})
		}
	}
	for i, r := range d.do(requests) {
		if r.Err != nil {
			t.Errorf("the IKE daemon: %v, %+v", r.Err, requests[i].State)
		}
	}
}

// state is an SA as the daemon makes it: with lifetimes and a window of its own, and
// the old form of sequence state where that will do.
func (d *ikeDaemon) state(t tester, sa *ipsecctx.SA) *uapi.State {
	st, err := newState(sa, ikeReqID, Placement{})
	if err != nil {
		t.Errorf("%v", err)
	}
	st.Limits.SoftAdd, st.Limits.HardAdd, st.Limits.HardBytes, st.Used.AddTime = 3000, 3600, 1<<40, d.start+uint64(sa.Pair)
	st.Replay = uapi.Replay{Window: d.window, Bitmap: make([]uint32, 1)}
	if sa.Direction == ipsecctx.Outbound {
		st.Replay.Window = min(d.window, uapi.MaxLegacyWindow)
	}
	if sa.ESN || st.Replay.Window > uapi.MaxLegacyWindow {
		st.Replay.Extended, st.Replay.Bitmap = true, make([]uint32, (st.Replay.Window+31)/32)
	}
	return st
}

// drop takes SAs out, as at the end of a rekey. What is gone is no error.
func (d *ikeDaemon) drop(ids ...uapi.StateID) {
	var requests []uapi.Request
	for _, id := range ids {
		requests = append(requests, deleteState(id))
		d.states = slices.DeleteFunc(d.states, func(other uapi.StateID) bool { return other == id })
	}
	d.do(requests)
}

// remove takes everything out, policies first.
func (d *ikeDaemon) remove() {
	var requests []uapi.Request
	for _, id := range d.policies {
		requests = append(requests, deletePolicy(id))
	}
	d.policies = nil
	d.do(requests)
	d.drop(slices.Clone(d.states)...)
}

// announced is what an IKE daemon tells of a session: not what the kernel knows.
func announced(s *ipsecctx.Session) *ipsecctx.Session {
	a := keyless(s)
	for i := range a.SAs {
		sa := &a.SAs[i]
		*sa = ipsecctx.SA{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI, Pair: sa.Pair, Replaces: sa.Replaces,
			Local: sa.Local, Remote: sa.Remote, Selectors: sa.Selectors}
	}
	return a
}
