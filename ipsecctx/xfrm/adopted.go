package xfrm

import (
	"context"
	"fmt"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// lookAgain is how long word from the kernel is waited for before a look without:
// word can be lost.
const lookAgain = time.Second

// expect makes a staged session one whose SAs the IKE daemon is to bring.
func (g *Gateway) expect(ctx context.Context, s *session, static *ipsecctx.Session) error {
	states, err := g.read(ctx, s)
	defer wipeStates(states)
	if err != nil {
		return err
	}
	for i := range states {
		if states[i] != nil {
			return ipsecctx.RefuseSPI(s.static.SAs[i].ID(), "%v is in use at this gateway", s.sas[i].id)
		}
	}
	for i := range static.SAs {
		st, err := newState(&static.SAs[i], 0, s.at)
		if err != nil {
			return err
		}
		s.expected = append(s.expected, st)
	}
	return nil
}

// Adopted waits until the IKE daemon has installed the SAs and the policies of a
// staged session, and takes those on: from then on the session is staged as any
// other is, its SAs inert. An SA that is not as the session has it is refused, with
// [cxtp.StatusMalformed] where it is the key: then the IKE daemon was told of other
// exchanges than those that the session's SAs are from. The wait ends with ctx; Run
// makes it short.
//
// The anti-replay windows are the daemon's own. Where they are wider than the
// session's, what is behind that when it starts counts as seen; none at all is
// refused with [cxtp.StatusWindow], unless the session had none.
//
// Called again, it changes nothing.
func (g *Gateway) Adopted(ctx context.Context, id cxtp.SessionID) error {
	for {
		var stirred <-chan struct{}
		var missing string
		err := g.with(id, "Adopted", func(s *session) (err error) {
			if !s.adopted || s.phase != Staged && s.awaits() {
				return s.misplaced("Adopted")
			}
			stirred = s.stirred
			missing, err = g.takeOn(ctx, s)
			return err
		})
		if err != nil || missing == "" {
			return err
		}
		select {
		case <-stirred:
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return fmt.Errorf("failed to adopt session %v, the IKE daemon has not installed %s: %w", id, missing, context.Cause(ctx))
		}
	}
}

// takeOn takes on what the IKE daemon has brought. missing is what it has not.
func (g *Gateway) takeOn(ctx context.Context, s *session) (missing string, err error) {
	if !s.awaits() {
		return "", nil
	}
	if s.expected == nil {
		return "", refuseFor(cxtp.FPTIPsecSession, cxtp.StatusNoBase, "session %v was staged before a restart, and what its SAs have to be is not known any more: stage it again", s.id)
	}
	states, err := g.read(ctx, s)
	defer wipeStates(states)
	if err != nil {
		return "", err
	}
	for i, st := range states {
		if st == nil {
			return s.sas[i].id.String(), nil
		}
		if err := mismatch(&s.static.SAs[i], s.expected[i], st); err != nil {
			return "", err
		}
	}
	before := g.relay(s, s.layout.with(states))
	if missing, err = g.carried(ctx, s); missing == "" && err == nil {
		err = g.settle(ctx, s)
	}
	if missing != "" || err != nil {
		g.relay(s, before)
	}
	return missing, err
}

// relay gives a session another layout of the same SAs, and returns the one that it
// had.
func (g *Gateway) relay(s *session, l layout) layout {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := s.layout
	s.layout = l
	return before
}

// with is a layout with the numbers and lifetimes that the IKE daemon gave the SAs.
func (l layout) with(states []*uapi.State) layout {
	l.static = l.static.Clone()
	l.sas = append([]saAt(nil), l.sas...)
	for i, st := range states {
		l.sas[i].reqid, l.sas[i].form = st.ReqID, &st.Replay
		l.static.SAs[i].Soft, l.static.SAs[i].Hard = lifetimesOf(&st.Limits)
	}
	return l
}

// settle makes the SAs that were brought inert, sees that they are, and writes them
// down.
func (g *Gateway) settle(ctx context.Context, s *session) error {
	var set []uapi.Request
	for _, i := range s.all() {
		set = append(set, s.replay(i, inert(&s.static.SAs[i]), nil))
	}
	states, err := g.impose(ctx, s, set)
	wipeStates(states)
	if err != nil {
		return err
	}
	if err := g.store.save(s.id, s.static, s.reqids(), s.at); err != nil {
		return err
	}
	s.wipe()
	return nil
}

// mismatch refuses an SA that the IKE daemon has brought and that is not the one
// that was staged.
func mismatch(sa *ipsecctx.SA, want, got *uapi.State) error {
	no := func(status cxtp.Status, what string) error {
		return refuse(status, "%s: the IKE daemon has installed it with %s", sa.ID(), what)
	}
	ports := func(e *uapi.Encap) (uint16, uint16) { return e.SrcPort, e.DstPort }
	what := unfit(sa, got)
	switch {
	case what != "":
		return no(cxtp.StatusUnsupported, what)
	case got.Src != want.Src:
		return no(cxtp.StatusUnsupported, fmt.Sprintf("source address %v instead of %v", got.Src, want.Src))
	case got.Mode != want.Mode:
		return no(cxtp.StatusUnsupported, "another mode")
	case (got.Flags^want.Flags)&uapi.FlagESN != 0:
		return no(cxtp.StatusUnsupported, "sequence numbers of another size")
	case !sameTransforms(want, got):
		return no(cxtp.StatusAlgorithm, "other algorithms")
	case !sameKeys(want, got):
		return no(cxtp.StatusMalformed, "another key: what it knows of the IKE exchanges does not make the session's")
	case (got.Encap == nil) != (want.Encap == nil):
		return no(cxtp.StatusUnsupported, "another encapsulation")
	case sa.Window > 0 && sa.Direction == ipsecctx.Inbound && got.Replay.Window == 0:
		return no(cxtp.StatusWindow, "no anti-replay window: set replay_window")
	}
	if got.Encap != nil && sa.Direction == ipsecctx.Outbound {
		gotFrom, gotTo := ports(got.Encap)
		if from, to := ports(want.Encap); from != gotFrom || to != gotTo {
			return no(cxtp.StatusUnsupported, fmt.Sprintf("UDP ports %d and %d instead of %d and %d", gotFrom, gotTo, from, to))
		}
	}
	return nil
}
