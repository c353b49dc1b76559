package xfrm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// Adopt takes a session on whose SAs an IKE daemon of this machine has installed,
// and which works. Nothing changes in the kernel. Of each SA static says the
// direction, the protocol, the SPI, the outer addresses, the pair, what it
// replaces, and the negotiated selectors; the rest is read. SAs that the kernel
// does not have are left out: the daemon has deleted them.
//
// When the daemon has rekeyed, Adopt is called again with the SAs that there are
// then, the old ones too while they last. That is possible while the session is
// active. Ceilings stay with their SAs, and a new one has none. As long as a policy
// names an SA that is not among them, the answer is [cxtp.StatusBusy], and Freeze
// gives the same: the rekey is not over, or the daemon's next word is still to come.
//
// The daemon's policies have to have exactly the session's selectors, and a
// priority after [Config.Priority]. It approximates what is no prefix, or no block
// of ports that is a power of two, and such a session is refused: packets could
// pass by a shut door. After a restart Held has to be called before.
func (g *Gateway) Adopt(ctx context.Context, id cxtp.SessionID, static *ipsecctx.Session) error {
	if g.store.left(id) {
		return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusBusy, "session %v is from before the restart: call Held before Adopt", id)
	}
	if g.session(id) != nil {
		// Nothing else works on it while its SAs are read: a freeze takes them out.
		return g.with(id, "Adopt", func(s *session) error {
			if !s.adopted || s.phase != Active {
				return s.misplaced("Adopt")
			}
			return g.adopt(ctx, id, static, func(next *session) error { return g.succeed(ctx, s, next) })
		})
	}
	return g.adopt(ctx, id, static, g.begin)
}

// adopt gives a session, as its SAs are in the kernel, to whoever takes it on.
func (g *Gateway) adopt(ctx context.Context, id cxtp.SessionID, static *ipsecctx.Session, take func(*session) error) error {
	s, err := g.survey(ctx, id, static)
	if err != nil {
		return err
	}
	if err = take(s); err != nil {
		g.freeGroupIDs(s.reqids().groups)
	}
	return err
}

// survey lays out a session as its SAs are in the kernel.
func (g *Gateway) survey(ctx context.Context, id cxtp.SessionID, static *ipsecctx.Session) (*session, error) {
	at, full := g.cfg.Place(static), *static
	var requests []uapi.Request
	for i := range static.SAs {
		requests = append(requests, uapi.Request{Op: uapi.OpGetState, ID: stateID(&static.SAs[i], at)})
	}
	results, err := g.kernel.Batch(ctx, requests)
	defer wipeResults(results)
	full.SAs = nil
	defer full.Wipe()
	var forms []*uapi.Replay
	reqids := reqIDs{own: []uint32{}}
	for i, r := range results {
		if isGone(r.Err) {
			continue
		}
		if r.Err != nil {
			return nil, explain("failed to read an SA", r.Err)
		}
		sa := static.SAs[i]
		if err := errors.Join(describe(&sa, r.State), expressible(&sa)); err != nil {
			return nil, err
		}
		full.SAs = append(full.SAs, sa)
		forms, reqids.own = append(forms, &r.State.Replay), append(reqids.own, r.State.ReqID)
	}
	switch {
	case err != nil:
		return nil, explain("failed to read the SAs", err)
	case len(full.SAs) == 0:
		return nil, refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnknownSession, "the kernel has no SA of session %v: the IKE daemon has deleted them, or not yet installed them", id)
	}
	if err := full.Validate(); err != nil {
		return nil, err
	}
	s, err := g.newSession(id, &full, reqids, at)
	if err != nil {
		return nil, err
	}
	for i := range s.sas {
		s.sas[i].form = forms[i]
	}
	s.phase = Active
	missing, err := g.carried(ctx, s)
	if missing != "" {
		err = refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnsupported,
			"the IKE daemon has no %s: it has not installed it yet, or it is of selectors that the kernel cannot express exactly", missing)
	}
	if err != nil {
		g.freeGroupIDs(s.reqids().groups)
		return nil, err
	}
	return s, nil
}

// begin enters a session that was not here.
func (g *Gateway) begin(s *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := g.admit(s); err != nil {
		return err
	}
	if err := g.store.save(s.id, s.static, s.reqids(), s.at); err != nil {
		s.phase = gone
		g.strike(s)
		return err
	}
	return nil
}

// succeed gives an adopted session the SAs that another layout of it has. Overlays
// that those have no use for are deleted: they are all aside.
func (g *Gateway) succeed(ctx context.Context, s, next *session) error {
	for i := range next.sas {
		if at := s.place(next.sas[i].id); at >= 0 {
			next.sas[i].ceiling, next.sas[i].heard = s.sas[at].ceiling, s.sas[at].heard
			next.static.SAs[i].Window = s.static.SAs[at].Window             // what a source still has to say is of that size
			next.static.SAs[i].Hard.Packets = s.static.SAs[at].Hard.Packets // what the kernel has may be the ceiling
		}
	}
	before, err := g.exchange(s, next.layout)
	if err != nil {
		return err
	}
	if err := g.store.save(s.id, s.static, s.reqids(), s.at); err != nil {
		_, undo := g.exchange(s, before)
		return errors.Join(err, undo)
	}
	var idle []uapi.Request
	for i := range before.policies {
		p := &before.policies[i]
		if !slices.ContainsFunc(s.policies, func(q uapi.Policy) bool { return keyOf(&q) == keyOf(p) }) {
			idle = append(idle, deletePolicy(p.ID()))
		}
	}
	if err := g.erase(ctx, idle); err != nil {
		g.log.Warn("policies of a session that it needs no more are left, and block", "session", s.id, "error", err)
	}
	return nil
}

// exchange gives a session another layout, unless that collides with another
// session, and returns the one that it had.
func (g *Gateway) exchange(s *session, l layout) (layout, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := s.layout
	g.leave(s)
	s.layout = l
	err := g.collision(s)
	if err != nil {
		s.layout = before
	}
	g.enter(s)
	return before, err
}

// awaits reports whether the IKE daemon has yet to bring the SAs of a session.
func (s *session) awaits() bool {
	return s.adopted && slices.ContainsFunc(s.sas, func(sa saAt) bool { return sa.reqid == 0 })
}

// underneath is the IKE daemon's policy that an overlay covers, by its name.
func underneath(overlay *uapi.Policy) *uapi.Policy {
	p := *overlay
	p.Selector.User = 0
	return &p
}

// carried looks for the policies under a session's overlays: missing is one that is
// not there. They have to be behind the overlays and name the session's SAs, as the
// overlays name them: then no packet gets to these past a shut door.
func (g *Gateway) carried(ctx context.Context, s *session) (missing string, err error) {
	var requests []uapi.Request
	for i := range s.policies {
		requests = append(requests, uapi.Request{Op: uapi.OpGetPolicy, PolicyID: underneath(&s.policies[i]).ID()})
	}
	results, err := g.kernel.Batch(ctx, requests)
	for i, r := range results {
		overlay, name := &s.policies[i], requests[i].PolicyID
		switch {
		case isGone(r.Err):
			return name.String(), nil
		case r.Err != nil:
			return "", explain("failed to read a policy", r.Err)
		case r.Policy.Priority <= overlay.Priority:
			return "", refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnsupported,
				"the IKE daemon's %s has priority %d, and an overlay %d: give overlays a lower number", name, r.Policy.Priority, overlay.Priority)
		case !s.wants(overlay, r.Policy):
			return "", refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnsupported, "the IKE daemon's %s wants other SAs than the session's", name)
		case !s.names(r.Policy):
			return "", refuseFor(cxtp.FPTIPsecSession, cxtp.StatusBusy, "the IKE daemon has rekeyed, and its %s names another SA: adopt the session again", name)
		}
	}
	return "", explain("failed to read the policies", err)
}

// rekeyed reports whether an IKE daemon's policies name other SAs than those that are
// known here.
func (g *Gateway) rekeyed(ctx context.Context, s *session) bool {
	_, err := g.carried(ctx, s)
	var refusal *features.Error
	return errors.As(err, &refusal) && refusal.Status == cxtp.StatusBusy
}

// wants reports whether a policy wants the SAs that the overlay stands for, and no
// others.
func (s *session) wants(overlay, theirs *uapi.Policy) bool {
	if theirs.Action != uapi.Allow || len(theirs.Templates) != len(overlay.Templates) {
		return false
	}
	for k := range theirs.Templates {
		ours, t := &overlay.Templates[k], &theirs.Templates[k]
		other := func(sa saAt) bool { return sa.group == ours.ReqID && sa.reqid != t.ReqID }
		if t.Proto != ours.Proto || t.Mode != ours.Mode || slices.ContainsFunc(s.sas, other) {
			return false
		}
	}
	return true
}

// names reports whether an SA that a policy names by its SPI, if it does, is the
// session's.
func (s *session) names(theirs *uapi.Policy) bool {
	for _, t := range theirs.Templates {
		if t.SPI != 0 && !slices.ContainsFunc(s.sas, func(sa saAt) bool { return sa.id.SPI == t.SPI && sa.id.Dst == t.Dst }) {
			return false
		}
	}
	return true
}

// unfit says what of an IKE daemon's SA keeps it from being moved; "" = nothing.
func unfit(sa *ipsecctx.SA, st *uapi.State) string {
	switch {
	case st.ReqID == 0:
		return "no reqid that ties it to its policies"
	case st.Offload != nil:
		return "a device that encrypts for the kernel: set hw_offload = no"
	case sa.Direction == ipsecctx.Outbound && st.ExtraFlags&uapi.ExtraOSeqMayWrap != 0:
		return "sequence numbers that may roll over"
	case st.Mode != uapi.Tunnel && st.Mode != uapi.Transport:
		return fmt.Sprintf("mode %d", st.Mode)
	case st.Encap != nil && st.Encap.Type != uapi.ESPInUDP:
		return fmt.Sprintf("encapsulation of type %d", st.Encap.Type)
	}
	return ""
}
