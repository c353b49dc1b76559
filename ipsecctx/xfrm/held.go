package xfrm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// tables are what the kernel holds at a moment, without keys.
type tables struct {
	states   map[uapi.StateID]*uapi.State
	policies map[policyKey]*uapi.Policy
	reqids   map[uint32]bool // of SAs
}

// dump reads both tables, each in one go.
func (g *Gateway) dump(ctx context.Context) (*tables, error) {
	t := &tables{states: map[uapi.StateID]*uapi.State{}, policies: map[policyKey]*uapi.Policy{}, reqids: map[uint32]bool{}}
	var malformed *uapi.FormatError
	for st, err := range g.kernel.States(ctx, uapi.Filter{}) {
		switch {
		case err == nil:
			st.Wipe()
			if st.SPI != 0 { // else it is one that the kernel has asked an IKE daemon for
				t.states[st.ID()], t.reqids[st.ReqID] = st, true
			}
		case !errors.As(err, &malformed):
			return nil, explain("failed to read the kernel's SAs", err)
		}
	}
	for p, err := range g.kernel.Policies(ctx) {
		switch {
		case err == nil:
			t.policies[keyOf(p)] = p
		case !errors.As(err, &malformed):
			return nil, explain("failed to read the kernel's policies", err)
		}
	}
	return t, nil
}

// Held implements [ipsecctx.Backend]: it takes over what a gateway left in this
// kernel whose daemon has ended. How far each session had got is read from the
// doors of its policies, which only this package has put there. What is left of
// sessions that cannot go on, and of none, is deleted.
func (g *Gateway) Held(ctx context.Context) ([]cxtp.Held, error) {
	t, err := g.dump(ctx)
	if err != nil {
		return nil, err
	}
	var (
		held []cxtp.Held
		dead []*session
	)
	err = g.store.load(func(id cxtp.SessionID, static *ipsecctx.Session, reqids reqIDs, at Placement) error {
		if g.session(id) != nil {
			return nil
		}
		s, err := g.newSession(id, static, reqids, at)
		if err != nil {
			return err
		}
		g.mu.Lock()
		g.enter(s)
		g.mu.Unlock()
		state := g.standing(s, t)
		t.forget(s)
		if state == cxtp.HeldNothing {
			dead = append(dead, s)
			return nil
		}
		held = append(held, cxtp.Held{Session: id, State: state, Claims: s.claims})
		return g.encapsulate(static)
	})
	if err != nil {
		return nil, err
	}
	for _, s := range dead {
		g.log.Warn("a session did not outlive the daemon: its SAs are gone", "session", s.id)
		if err := g.remove(ctx, s); err != nil {
			return nil, err
		}
	}
	for _, h := range held {
		if h.State != cxtp.HeldFrozen {
			continue
		}
		if _, err := g.each(ctx, g.session(h.Session).turn(frozen, uapi.DirOut)); err != nil {
			return nil, explain("failed to shut the policies of a frozen session", err)
		}
	}
	return held, g.sweep(ctx, t)
}

// standing is how far a session had got, and sets its phase.
func (g *Gateway) standing(s *session, t *tables) cxtp.HeldState {
	found := map[door]int{}
	for i := range s.policies {
		p := t.policies[keyOf(&s.policies[i])]
		if p == nil {
			continue
		}
		if d, ours := doorOf(&s.policies[i], p); ours {
			found[d]++
		}
	}
	there := func(places []int) (n int) {
		for _, i := range places {
			if t.states[s.sas[i].id] != nil {
				n++
			}
		}
		return n
	}
	for i := range s.sas {
		if st := t.states[s.sas[i].id]; s.adopted && st != nil {
			s.sas[i].form = &st.Replay
		}
	}
	outbound := s.of(ipsecctx.Outbound)
	switch {
	case found[staged] == len(s.policies):
		// All shut as they were put there: nothing has been sent.
		s.phase = Staged
		return cxtp.HeldStaged
	case found[frozen] > 0 && there(outbound) == len(outbound):
		s.phase = Frozen
		return cxtp.HeldFrozen
	case found[frozen] == 0 && there(s.all()) > 0 && (len(outbound) == 0 || there(outbound) > 0 || found[open] > 0):
		s.phase = Active
		return cxtp.HeldActive
	case found[frozen] == 0 && s.adopted && t.rekeyed(s):
		s.phase = Active
		return cxtp.HeldActive
	}
	return cxtp.HeldNothing
}

// rekeyed reports whether the IKE daemon has replaced the SAs of an adopted session
// while nobody listened: its policies stand, and there are SAs for them.
func (t *tables) rekeyed(s *session) bool {
	for i := range s.policies {
		p := &s.policies[i]
		theirs := t.policies[keyOf(underneath(p))]
		if p.Dir == uapi.DirOut && theirs != nil && len(theirs.Templates) > 0 &&
			slices.Contains(s.reqids().own, theirs.Templates[0].ReqID) && t.reqids[theirs.Templates[0].ReqID] {
			return true
		}
	}
	return false
}

// forget takes out what is a session's.
func (t *tables) forget(s *session) {
	for i := range s.policies {
		delete(t.policies, keyOf(&s.policies[i]))
	}
	for i := range s.sas {
		delete(t.states, s.sas[i].id)
	}
}

// sweep deletes what has a reqid of ours and belongs to no session: the file was
// taken away, or is of another boot.
func (g *Gateway) sweep(ctx context.Context, t *tables) error {
	ours := func(reqid uint32) bool { return g.cfg.FirstReqID <= reqid && reqid <= g.cfg.LastReqID }
	var requests []uapi.Request
	for _, p := range t.policies {
		if len(p.Templates) > 0 && ours(p.Templates[0].ReqID) {
			requests = append(requests, deletePolicy(p.ID()))
		}
	}
	for id, st := range t.states {
		if ours(st.ReqID) {
			requests = append(requests, deleteState(id))
		}
	}
	if len(requests) > 0 {
		g.log.Warn("deleting SAs and policies of sessions that nobody knows", "count", len(requests))
	}
	if err := g.erase(ctx, requests); err != nil {
		return fmt.Errorf("failed to delete what is left of unknown sessions: %w", err)
	}
	return nil
}
