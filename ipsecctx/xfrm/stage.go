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

// Install starts a session whose life begins here, by manual keying for
// instance. An SA without an entry in dynamic starts from zero. The session is
// copied. What is refused is as for Stage.
func (g *Gateway) Install(ctx context.Context, id cxtp.SessionID, static *ipsecctx.Session, dynamic []ipsecctx.Dynamic) error {
	if err := static.Validate(); err != nil {
		return err
	}
	s, err := g.stage(ctx, id, static, reqIDs{})
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err = s.check(dynamic, false); err == nil {
		err = g.start(ctx, s, dynamic)
	}
	if err != nil {
		return errors.Join(err, g.remove(ctx, s))
	}
	return nil
}

// Stage implements [ipsecctx.Backend]. The kernel gets the SAs and their policies
// now, so that what it cannot hold is known now and their SPIs are taken; but the
// SAs are inert and the doors of the policies are shut. A session that is staged
// already is replaced; the queue of its policies is lost.
//
// With [Config.Adopt] it gets the policies only, and the SPIs have to be free. The
// SAs are for the IKE daemon to bring, and then for Adopted. Until then their keys
// are held here, to be compared.
func (g *Gateway) Stage(ctx context.Context, id cxtp.SessionID, static *ipsecctx.Session) error {
	if err := static.Validate(); err != nil {
		return err
	}
	if old := g.session(id); old != nil {
		if err := g.end(ctx, id, "Stage", func(p Phase) bool { return p == Staged }); err != nil {
			var misplaced *PhaseError
			if errors.As(err, &misplaced) {
				return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusBusy, "session %v is %s here", id, misplaced.Phase)
			}
			return err
		}
	}
	var reqids reqIDs
	if g.cfg.Adopt {
		reqids.own = make([]uint32, len(static.SAs))
	}
	s, err := g.stage(ctx, id, static, reqids)
	if err != nil {
		return err
	}
	s.mu.Unlock()
	return nil
}

// stage lays a session out in the kernel. What it returns is locked.
func (g *Gateway) stage(ctx context.Context, id cxtp.SessionID, static *ipsecctx.Session, reqids reqIDs) (*session, error) {
	for i := range static.SAs {
		if err := expressible(&static.SAs[i]); err != nil {
			return nil, err
		}
	}
	s, err := g.newSession(id, static, reqids, g.cfg.Place(static))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if err := g.admit(s); err != nil {
		s.mu.Unlock()
		g.freeGroupIDs(s.reqids().groups)
		return nil, err
	}
	if err := g.lay(ctx, s, static); err != nil {
		s.phase = gone
		s.wipe()
		s.mu.Unlock()
		g.strike(s)
		return nil, err
	}
	return s, nil
}

// lay writes a staged session down, then into the kernel. After an error nothing
// of it is left.
func (g *Gateway) lay(ctx context.Context, s *session, static *ipsecctx.Session) error {
	if err := g.encapsulate(static); err != nil {
		return err
	}
	states, err := g.states(ctx, s, static)
	defer wipe(states)
	if err != nil {
		return err
	}
	if err := g.store.save(s.id, s.static, s.reqids(), s.at); err != nil {
		return err
	}
	requests := s.turn(staged, uapi.DirIn, uapi.DirFwd, uapi.DirOut)
	for i := range requests {
		requests[i].Op = uapi.OpAddPolicy // it is nobody else's
	}
	requests = append(requests, states...)
	results, err := g.each(ctx, requests)
	if err == nil {
		return nil
	}
	err = s.blame(requests, results, err)
	if undo := g.undo(ctx, requests, results); undo != nil {
		return errors.Join(err, undo) // it stays written down: the next start cleans up
	}
	return errors.Join(err, g.store.remove(s.id))
}

// states are the requests that add a session's SAs: none where the IKE daemon
// brings them.
func (g *Gateway) states(ctx context.Context, s *session, static *ipsecctx.Session) ([]uapi.Request, error) {
	if s.adopted {
		return nil, g.expect(ctx, s, static)
	}
	var requests []uapi.Request
	for _, i := range s.all() {
		st, err := newState(&static.SAs[i], s.sas[i].reqid, s.at)
		if err != nil {
			wipe(requests)
			return nil, err
		}
		requests = append(requests, addState(st))
		if g.takeReservation(st.ID()) {
			requests[len(requests)-1].Op = uapi.OpUpdateState
		}
	}
	return requests, nil
}

// wipe empties the keys of requests.
func wipe(requests []uapi.Request) {
	for i := range requests {
		if requests[i].State != nil {
			requests[i].State.Wipe()
		}
	}
}

// blame says which of a session's requests failed, in a sentence.
func (s *session) blame(requests []uapi.Request, results []uapi.Result, err error) error {
	at := slices.IndexFunc(results, func(r uapi.Result) bool { return r.Err != nil })
	if at < 0 {
		return err
	}
	exists := errors.Is(results[at].Err, uapi.ErrExists)
	if p := requests[at].Policy; p != nil {
		if exists {
			return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusPolicyConflict, "the kernel has another program's %v: %w", p.ID(), results[at].Err)
		}
		return explain("failed to put a policy in place", results[at].Err)
	}
	id := requests[at].State.ID()
	if exists {
		if i := slices.IndexFunc(s.sas, func(sa saAt) bool { return sa.id == id }); i >= 0 {
			return ipsecctx.RefuseSPI(s.static.SAs[i].ID(), "%v is in use at this gateway", id)
		}
	}
	return explain(id.String(), results[at].Err)
}

// undo takes back the additions that succeeded, and those of which nobody knows.
func (g *Gateway) undo(ctx context.Context, requests []uapi.Request, results []uapi.Result) error {
	ctx = context.WithoutCancel(ctx)
	var deletions []uapi.Request
	for i := len(requests) - 1; i >= 0; i-- {
		if i < len(results) && results[i].Err != nil && !errors.Is(results[i].Err, uapi.ErrOutcomeUnknown) {
			continue
		}
		if p := requests[i].Policy; p != nil {
			deletions = append(deletions, deletePolicy(p.ID()))
		} else {
			deletions = append(deletions, deleteState(requests[i].State.ID()))
		}
	}
	return g.erase(ctx, deletions)
}

// Activate implements [ipsecctx.Backend]. Called again for a session that is
// active, it changes nothing.
func (g *Gateway) Activate(ctx context.Context, id cxtp.SessionID, dynamic []ipsecctx.Dynamic) error {
	return g.with(id, "Activate", func(s *session) error {
		if s.phase == Active {
			return nil
		}
		if s.phase != Staged {
			return s.misplaced("Activate")
		}
		if s.awaits() {
			return refuseFor(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "session %v has no SAs here: the IKE daemon has not brought them", id)
		}
		if err := s.check(dynamic, true); err != nil {
			return err
		}
		return g.start(ctx, s, dynamic)
	})
}

// start gives a staged session its dynamic state, reads it back, gives it its
// lifetimes, and only then opens the doors, the inbound ones first. After an
// error it is as before.
func (g *Gateway) start(ctx context.Context, s *session, dynamic []ipsecctx.Dynamic) error {
	err := g.wake(ctx, s, dynamic)
	if err == nil {
		err = g.openDoors(ctx, s)
	}
	if err != nil {
		if asleep := g.sleep(context.WithoutCancel(ctx), s); asleep != nil {
			g.log.Error("a session that did not start still has its sequence numbers, behind shut doors", "session", s.id, "error", asleep)
		}
		return err
	}
	s.phase = Active
	return nil
}

// wake sets sequence numbers and lifetimes.
func (g *Gateway) wake(ctx context.Context, s *session, dynamic []ipsecctx.Dynamic) error {
	now := g.now()
	var set []uapi.Request
	places := s.all()
	for _, i := range places {
		set = append(set, s.replay(i, find(dynamic, &s.static.SAs[i]), &usageAt{now}))
	}
	s.rankGenerations(places, set)
	states, err := g.impose(ctx, s, set)
	defer wipeStates(states)
	if err != nil {
		return err
	}
	var limits []uapi.Request
	for k, i := range places {
		limits = append(limits, s.limits(i, states[k]))
		s.sas[i].heard = now.Add(-find(dynamic, &s.static.SAs[i]).Idle)
	}
	_, err = g.each(ctx, limits)
	return explain("failed to set lifetimes", err)
}

// impose makes requests that set the sequence state of all SAs of a session, and
// compares what the kernel made of them. It returns the SAs, to be wiped, after an
// error too.
func (g *Gateway) impose(ctx context.Context, s *session, set []uapi.Request) ([]*uapi.State, error) {
	places := s.all()
	requests := slices.Clone(set)
	for _, i := range places {
		requests = append(requests, uapi.Request{Op: uapi.OpGetState, ID: s.sas[i].id})
	}
	results, err := g.each(ctx, requests)
	states := make([]*uapi.State, len(places))
	for k := range results[min(len(set), len(results)):] {
		states[k] = results[len(set)+k].State
	}
	if err != nil {
		return states, s.missing("failed to set sequence numbers and read them back", results, err)
	}
	for k, i := range places {
		sa := &s.static.SAs[i]
		if what := differs(sa, set[k].Replay, states[k]); what != "" {
			return states, refuse(cxtp.StatusUnsupported, "%s: this kernel did not take %s", sa.ID(), what)
		}
	}
	return states, nil
}

// openDoors lets a session's traffic through. An outbound policy that cannot be
// opened when another was already is left shut: packets may have been sent, so
// the session has started.
func (g *Gateway) openDoors(ctx context.Context, s *session) error {
	shut := func() error {
		_, err := g.each(context.WithoutCancel(ctx), s.turn(staged, uapi.DirIn, uapi.DirFwd, uapi.DirOut))
		return err
	}
	if _, err := g.each(ctx, s.turn(open, uapi.DirIn, uapi.DirFwd)); err != nil {
		return errors.Join(explain("failed to open the inbound policies", err), shut())
	}
	results, err := g.each(ctx, s.turn(open, uapi.DirOut))
	if err == nil {
		return nil
	}
	mayBeOpen := func(r uapi.Result) bool { return r.Err == nil || errors.Is(r.Err, uapi.ErrOutcomeUnknown) }
	if !slices.ContainsFunc(results, mayBeOpen) {
		return errors.Join(explain("failed to open the outbound policies", err), shut())
	}
	if _, err = g.each(context.WithoutCancel(ctx), s.turn(open, uapi.DirOut)); err != nil {
		g.log.Error("some outbound policies could not be opened: their traffic waits until the session moves or is negotiated anew", "session", s.id, "error", err)
	}
	return nil
}

// sleep makes the SAs inert again.
func (g *Gateway) sleep(ctx context.Context, s *session) error {
	var requests []uapi.Request
	for _, i := range s.all() {
		requests = append(requests, s.replay(i, inert(&s.static.SAs[i]), nil))
	}
	return g.erase(ctx, requests)
}

// missing explains the failure of a request for one of the session's SAs: there
// is one for each, or several, in the order of all.
func (s *session) missing(what string, results []uapi.Result, err error) error {
	places := s.all()
	for k := range results {
		if errors.Is(results[k].Err, uapi.ErrNotFound) {
			return refuseFor(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase,
				"%s: the kernel no longer has it, somebody else deleted it: hand the session over again", s.static.SAs[places[k%len(places)]].ID())
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func wipeResults(results []uapi.Result) {
	for i := range results {
		if results[i].State != nil {
			results[i].State.Wipe()
		}
	}
}

// Release implements [ipsecctx.Backend]. It ends the session in any phase: after
// a restart a session of which no record says that it may be used is released,
// staged or not.
func (g *Gateway) Release(ctx context.Context, id cxtp.SessionID) error {
	return g.end(ctx, id, "Release", func(Phase) bool { return true })
}

// Discard implements [ipsecctx.Backend]. It refuses to end a session that is
// more than staged.
func (g *Gateway) Discard(ctx context.Context, id cxtp.SessionID) error {
	return g.end(ctx, id, "Discard", func(p Phase) bool { return p == Staged })
}

func (g *Gateway) end(ctx context.Context, id cxtp.SessionID, operation string, allowed func(Phase) bool) error {
	s := g.session(id)
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase == gone:
		return nil
	case !allowed(s.phase):
		return s.misplaced(operation)
	}
	return g.remove(ctx, s)
}

// remove takes a session out of the kernel, its policies first: under them are
// those that block. Under an overlay there may be the IKE daemon's, so there the
// SAs go first, and none of them stays. After an error the session is still there,
// and can be removed again.
func (g *Gateway) remove(ctx context.Context, s *session) error {
	var policies, states []uapi.Request
	for i := range s.policies {
		policies = append(policies, deletePolicy(s.policies[i].ID()))
		if s.disowned {
			policies = append(policies, deletePolicy(underneath(&s.policies[i]).ID()))
		}
	}
	for _, i := range s.all() {
		states = append(states, deleteState(s.sas[i].id))
	}
	var err error
	if s.adopted {
		if err = g.erase(ctx, states); err == nil {
			err = g.erase(ctx, policies)
		}
	} else {
		err = g.erase(ctx, append(policies, states...))
	}
	if err != nil {
		return explain(fmt.Sprintf("failed to remove session %v from the kernel", s.id), err)
	}
	if err := g.store.remove(s.id); err != nil {
		return err
	}
	s.wipe()
	s.phase = gone
	g.strike(s)
	return nil
}
