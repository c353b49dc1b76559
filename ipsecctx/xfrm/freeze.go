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

// Export implements [ipsecctx.Backend]. The keys in the answer are read from the
// kernel. An SA that the kernel no longer has is left out.
func (g *Gateway) Export(ctx context.Context, id cxtp.SessionID) (static *ipsecctx.Session, dynamic []ipsecctx.Dynamic, err error) {
	err = g.with(id, "Export", func(s *session) error {
		states, err := g.read(ctx, s)
		defer wipeStates(states)
		if err != nil {
			return err
		}
		static = s.static.Clone()
		all := static.SAs
		static.SAs = nil
		now := g.now()
		for i, st := range states {
			if st == nil {
				continue
			}
			sa := all[i]
			if !takeKeys(&sa, st) {
				return refuse(cxtp.StatusInternal, "%s: somebody has changed it in the kernel: negotiate it anew", sa.ID())
			}
			sa.Encap = encapOf(sa.Direction, st) // an IKE daemon follows the node's port by itself
			static.SAs = append(static.SAs, sa)
			dynamic = append(dynamic, dynamicOf(&sa, st, s.sas[i].heard, now))
		}
		if len(static.SAs) == 0 {
			return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnknownSession,
				"session %v has no SA left: they have expired, or somebody deleted them: it has to be negotiated anew", id)
		}
		return nil
	})
	if err != nil {
		if static != nil {
			static.Wipe()
		}
		return nil, nil, err
	}
	return static, dynamic, nil
}

// read reads the session's SAs, in the order of sas; nil = it is gone. One that
// is parked here counts as the kernel's.
func (g *Gateway) read(ctx context.Context, s *session) ([]*uapi.State, error) {
	requests := make([]uapi.Request, len(s.sas))
	for i := range s.sas {
		requests[i] = uapi.Request{Op: uapi.OpGetState, ID: s.sas[i].id}
	}
	results, err := g.kernel.Batch(ctx, requests)
	states := make([]*uapi.State, len(s.sas))
	for i, r := range results {
		switch {
		case r.Err == nil:
			states[i] = r.State
		case !errors.Is(r.Err, uapi.ErrNotFound):
			return states, explain("failed to read an SA", r.Err)
		case s.parked[i] != nil:
			states[i] = copyState(s.parked[i])
		}
	}
	return states, explain("failed to read the SAs", err)
}

func wipeStates(states []*uapi.State) {
	for _, st := range states {
		if st != nil {
			st.Wipe()
		}
	}
}

// Freeze implements [ipsecctx.Backend]: the package comment has the steps.
// Called again, it answers the same. After an error the session stays shut, but
// where an IKE daemon has rekeyed and Adopt is to be called: there nothing has
// changed.
func (g *Gateway) Freeze(ctx context.Context, id cxtp.SessionID) (dynamic []ipsecctx.Dynamic, err error) {
	err = g.with(id, "Freeze", func(s *session) error {
		switch {
		case s.phase == Staged:
			return s.misplaced("Freeze")
		case s.frozen == nil:
			if s.frozen, err = g.freeze(ctx, s); err != nil {
				return err
			}
			s.phase = Frozen
		}
		dynamic = ipsecctx.CloneDynamic(s.frozen)
		return nil
	})
	return dynamic, err
}

// freeze shuts the doors, takes the SAs out for their last numbers, and puts
// them back behind the doors.
func (g *Gateway) freeze(ctx context.Context, s *session) ([]ipsecctx.Dynamic, error) {
	if s.adopted { // an SA that is in use and not known here would go on where it is
		if _, err := g.carried(ctx, s); err != nil {
			return nil, err
		}
	}
	before, err := g.read(ctx, s)
	defer wipeStates(before)
	if err != nil {
		return nil, err
	}
	stop, dirs := s.of(ipsecctx.Outbound), []uapi.Dir{uapi.DirOut}
	if g.cfg.Strict {
		stop, dirs = s.all(), []uapi.Dir{uapi.DirIn, uapi.DirFwd, uapi.DirOut}
	}
	if _, err := g.each(ctx, s.turn(frozen, dirs...)); err != nil {
		return nil, explain("failed to shut the policies", err)
	}
	// From here on nothing may be cut off: what is read now is read once.
	ctx = context.WithoutCancel(ctx)
	after, err := g.takeOut(ctx, s, stop, before)
	defer wipeStates(after)
	g.putBack(ctx, s, stop, after)
	if err != nil {
		return nil, err
	}
	return g.finals(s, after)
}

// takeOut deletes the SAs at some places, and returns all SAs by their places:
// those as they were last, the others as they are.
func (g *Gateway) takeOut(ctx context.Context, s *session, stop []int, before []*uapi.State) ([]*uapi.State, error) {
	requests := make([]uapi.Request, len(s.sas))
	for i := range s.sas {
		requests[i] = uapi.Request{Op: uapi.OpGetState, ID: s.sas[i].id}
		if slices.Contains(stop, i) {
			requests[i] = deleteState(s.sas[i].id)
		}
	}
	after := make([]*uapi.State, len(s.sas))
	results, err := g.kernel.Batch(ctx, requests)
	errs := []error{err}
	for i := range s.sas {
		r := uapi.Result{Err: uapi.ErrOutcomeUnknown}
		if i < len(results) {
			r = results[i]
		}
		switch {
		case !slices.Contains(stop, i):
			if after[i] = r.State; r.Err != nil && !isGone(r.Err) {
				errs = append(errs, r.Err)
			}
		case r.State != nil && r.Err == nil:
			after[i] = r.State
			s.unpark(i)
		case s.parked[i] != nil:
			after[i] = copyState(s.parked[i])
		case errors.Is(r.Err, uapi.ErrNotFound) && before[i] == nil:
			// It was gone before: expired, or deleted by others.
		default:
			st, why := s.atCeiling(i, before[i], r.Err)
			after[i] = st
			errs = append(errs, why)
		}
	}
	return after, errors.Join(errs...)
}

// atCeiling is the SA at place i when it is gone and its last numbers are not
// known: it counts as having used all that its ceiling allows.
func (s *session) atCeiling(i int, before *uapi.State, why error) (*uapi.State, error) {
	sa, c := &s.static.SAs[i], s.sas[i].ceiling
	if sa.Direction == ipsecctx.Inbound {
		return nil, fmt.Errorf("%s: %w: %w", sa.ID(), ErrCountersUnknown, why)
	}
	if before == nil || c == nil || c.last < before.Replay.OSeq {
		return nil, fmt.Errorf("%s: %w and there is no ceiling: negotiate it anew: %w", sa.ID(), ErrCountersUnknown, why)
	}
	st := copyState(before)
	st.Used.Packets = plus(st.Used.Packets, c.last-st.Replay.OSeq)
	st.Replay.OSeq = c.last
	return st, nil
}

// putBack gives the kernel the SAs again that were taken out, to keep them
// behind shut doors. One that it does not take is parked here.
func (g *Gateway) putBack(ctx context.Context, s *session, stop []int, after []*uapi.State) {
	var places []int
	var requests []uapi.Request
	for _, i := range stop {
		if after[i] != nil {
			places = append(places, i)
			requests = append(requests, addState(after[i]))
		}
	}
	taken := g.giveBack(ctx, requests)
	for k, i := range places {
		if taken[k] == nil {
			s.unpark(i)
			continue
		}
		g.log.Warn("the kernel did not take a frozen SA back: it does not outlive the daemon", "session", s.id, "sa", s.sas[i].id)
		s.unpark(i)
		s.parked[i] = copyState(after[i])
	}
}

// giveBack adds SAs again that were taken out, and says what became of each. In the
// meantime a packet may have had the kernel ask for one, if an IKE daemon's policy
// names its SPI; what stands in the place of the answer is filled by an update, and
// to an SA that is there that does nothing.
func (g *Gateway) giveBack(ctx context.Context, requests []uapi.Request) []error {
	errs := make([]error, len(requests))
	var places []int
	var again []uapi.Request
	results, err := g.kernel.Batch(ctx, requests)
	for i := range errs {
		if errs[i] = err; i < len(results) {
			errs[i] = results[i].Err
		}
		if errors.Is(errs[i], uapi.ErrExists) {
			places, again = append(places, i), append(again, requests[i])
			again[len(again)-1].Op = uapi.OpUpdateState
		}
	}
	results, err = g.kernel.Batch(ctx, again)
	for k, i := range places {
		if errs[i] = err; k < len(results) {
			errs[i] = results[k].Err
		}
	}
	return errs
}

func (s *session) unpark(i int) {
	if st := s.parked[i]; st != nil {
		st.Wipe()
		delete(s.parked, i)
	}
}

// finals are the dynamic states for the other gateway, all SAs of the session
// among them. One that is gone stays dead there: it has used, or seen, all.
func (g *Gateway) finals(s *session, after []*uapi.State) ([]ipsecctx.Dynamic, error) {
	now, alive := g.now(), false
	dynamic := make([]ipsecctx.Dynamic, len(s.sas))
	for i := range s.sas {
		sa := &s.static.SAs[i]
		if after[i] != nil {
			dynamic[i] = dynamicOf(sa, after[i], s.sas[i].heard, now)
			alive = alive || sa.Direction == ipsecctx.Outbound
			continue
		}
		dynamic[i] = inert(sa)
		if c := s.sas[i].ceiling; c != nil {
			dynamic[i].Sequence = min(dynamic[i].Sequence, c.last)
		}
		dynamic[i].Used = sa.Hard
	}
	if !alive && len(s.of(ipsecctx.Outbound)) > 0 {
		return nil, fmt.Errorf("session %v has no outbound SA left: they have expired, or somebody deleted them: it has to be negotiated anew", s.id)
	}
	return dynamic, nil
}

// Thaw implements [ipsecctx.Backend]: the session sends again, first what waits,
// with the sequence numbers after those that Freeze gave, or after its floors.
func (g *Gateway) Thaw(ctx context.Context, id cxtp.SessionID, floors ipsecctx.Ceilings) error {
	return g.with(id, "Thaw", func(s *session) error {
		if s.phase == Active {
			return nil
		}
		if s.phase != Frozen || s.closed {
			return s.misplaced("Thaw")
		}
		if err := g.raise(ctx, s, floors); err != nil {
			return err
		}
		if _, err := g.each(ctx, s.turn(open, uapi.DirIn, uapi.DirFwd, uapi.DirOut)); err != nil {
			return explain("failed to open the policies", err)
		}
		s.phase, s.frozen = Active, nil
		return nil
	})
}

// raise puts frozen SAs above their floors, and parked ones back into the
// kernel. Ceilings are then as many packets away as the numbers say.
func (g *Gateway) raise(ctx context.Context, s *session, floors ipsecctx.Ceilings) error {
	for i, st := range s.parked {
		if err := g.giveBack(ctx, []uapi.Request{addState(st)})[0]; err != nil {
			return explain("failed to give the kernel a frozen SA back", err)
		}
		s.unpark(i)
	}
	states, err := g.read(ctx, s)
	defer wipeStates(states)
	if err != nil {
		return err
	}
	var requests []uapi.Request
	for _, i := range s.of(ipsecctx.Outbound) {
		floor, there := floors[s.static.SAs[i].ID()]
		if st := states[i]; there && st != nil && floor > st.Replay.OSeq {
			st.Replay.OSeq = floor
			requests = append(requests, uapi.Request{Op: uapi.OpSetReplay, ID: st.ID(),
				Replay: &uapi.AEvent{ID: st.ID(), Src: st.Src, ReqID: st.ReqID, Replay: &st.Replay}}, s.limits(i, st))
		}
	}
	_, err = g.each(ctx, requests)
	return explain("failed to put the sequence numbers above their floors", err)
}

// Redirect implements [ipsecctx.Backend]. What already waits in the kernel's
// queue cannot be sent another way: it is lost when the session is released. A
// redirected session can be redirected elsewhere.
func (g *Gateway) Redirect(ctx context.Context, id cxtp.SessionID, to cxtp.RouterID) error {
	return g.with(id, "Redirect", func(s *session) error {
		if s.phase != Frozen && s.phase != Redirected {
			return s.misplaced("Redirect")
		}
		if g.cfg.Redirect != nil {
			if err := g.cfg.Redirect(ctx, id, s.claims.Inner, to); err != nil {
				return fmt.Errorf("failed to redirect session %v to %q: %w", id, to, err)
			}
		}
		s.phase = Redirected
		return nil
	})
}

// Close implements [ipsecctx.Backend]. Called again, it answers the same. An SA
// that is gone, or of which the kernel does not tell its last window, is left
// out.
func (g *Gateway) Close(ctx context.Context, id cxtp.SessionID) (dynamic []ipsecctx.Dynamic, err error) {
	err = g.with(id, "Close", func(s *session) error {
		if s.phase != Frozen && s.phase != Redirected {
			return s.misplaced("Close")
		}
		if !s.closed {
			if err := g.closeInbound(ctx, s); err != nil {
				return err
			}
		}
		dynamic = ipsecctx.CloneDynamic(s.last)
		return nil
	})
	return dynamic, err
}

func (g *Gateway) closeInbound(ctx context.Context, s *session) error {
	var requests []uapi.Request
	inbound := s.of(ipsecctx.Inbound)
	for _, i := range inbound {
		requests = append(requests, deleteState(s.sas[i].id))
	}
	results, err := g.kernel.Batch(context.WithoutCancel(ctx), requests)
	defer wipeResults(results)
	errs, now := []error{err}, g.now()
	for k, r := range results {
		i := inbound[k]
		switch {
		case r.Err == nil && r.State != nil:
			s.last = append(s.last, dynamicOf(&s.static.SAs[i], r.State, s.sas[i].heard, now))
		case errors.Is(r.Err, uapi.ErrNotFound):
		case errors.Is(r.Err, uapi.ErrFinalUnknown):
			g.log.Warn("the last window of an inbound SA is not known: what it accepted since the freeze is not merged", "session", s.id, "sa", s.sas[i].id)
		default:
			errs = append(errs, r.Err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return explain("failed to end the inbound SAs", err)
	}
	s.closed = true
	return nil
}
