package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Found is a session whose SAs an earlier run of this program had adopted, or was
// about to, and the kernel still has.
type Found struct {
	Session cxtp.SessionID
	Phase   ipsecctx.Phase    // of its SAs
	Static  *ipsecctx.Session // without keys
}

// recollection is what an agent that was started again looks for: its sessions, with
// their IKE SAs, which charon has told an earlier one about. It tells of them once
// more when it is asked, but not of their CHILD SAs: those it rekeys.
type recollection struct {
	found   map[cxtp.SessionID]Found // without an IKE SA so far
	awaited map[spis]recalled        // IKE SAs that charon is to tell of
	news    chan struct{}            // gets something when it has told of one

	over chan struct{} // closed when it is known which are there, or that charon is not
}

// recalled is a session whose IKE SA charon has.
type recalled struct {
	Found
	passive bool
}

func newRecollection() recollection {
	return recollection{found: map[cxtp.SessionID]Found{}, awaited: map[spis]recalled{}, news: make(chan struct{}, 1), over: make(chan struct{})}
}

// recollected waits until it is known which of the sessions from before are here.
func (a *Agent) recollected(ctx context.Context) error {
	select {
	case <-a.over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("failed to hear from charon which clients it has: %w", context.Cause(ctx))
	}
}

// settle says that it is known.
func (r *recollection) settle() {
	select {
	case <-r.over:
	default:
		close(r.over)
	}
}

func (r *recollection) settled() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// recall finds the sessions from before a restart again, among the IKE SAs that
// charon lists.
func (a *Agent) recall(ctx context.Context, listed []IKESA) error {
	a.mu.Lock()
	for _, f := range a.cfg.Kernel.Found() {
		a.found[f.Session] = f
	}
	strays, segments := a.expect(listed)
	a.mu.Unlock()
	for _, id := range strays {
		a.log.Info("an IKE SA is removed that a restart has left over", "sa", id.String())
		if err := a.delete(ctx, id); err != nil {
			return err
		}
	}
	// Segment by segment: what they tell at once may be more than a socket holds.
	for _, segment := range segments {
		if err := a.plugin.send(&ha.Segments{Action: ha.TypeResync, Numbers: []uint16{uint16(segment)}}); err != nil {
			return err
		}
		a.told(ctx, segment, listed)
	}
	return a.finish(ctx)
}

// expect sorts what charon has: IKE SAs of sessions, to be told of; those that
// nobody has use for; and the segments that there are any in.
func (a *Agent) expect(listed []IKESA) (strays []ha.SAID, segments []int) {
	for i := range listed {
		sa := &listed[i]
		if f, ok := a.owner(sa); ok {
			a.awaited[sa.spis()] = recalled{f, sa.State == passive}
			delete(a.found, f.Session)
		} else if !located(sa.Remote) {
			strays = append(strays, ha.SAID{IKEVersion: 2, SPIi: sa.SPIi, SPIr: sa.SPIr, Initiator: sa.Initiator})
			continue
		}
		if segment := ha.Segment(sa.Remote.Addr(), a.segments); !slices.Contains(segments, segment) {
			segments = append(segments, segment)
		}
	}
	return strays, segments
}

// owner is the session of an IKE SA: it has one of its CHILD SAs.
func (a *Agent) owner(sa *IKESA) (Found, bool) {
	for _, f := range a.found {
		for i := range f.Static.SAs {
			if one := &f.Static.SAs[i]; one.Direction == ipsecctx.Inbound && slices.ContainsFunc(sa.Children, func(c ChildSA) bool { return c.In == one.SPI }) {
				return f, true
			}
		}
	}
	return Found{}, false
}

// tellTime is how long charon may take to tell of a segment.
const tellTime = 2 * time.Second

// told waits until charon has told of the IKE SAs in a segment.
func (a *Agent) told(ctx context.Context, segment int, listed []IKESA) {
	late := time.NewTimer(tellTime)
	defer late.Stop()
	for {
		left := 0
		a.mu.Lock()
		for i := range listed {
			if _, ok := a.awaited[listed[i].spis()]; ok && ha.Segment(listed[i].Remote.Addr(), a.segments) == segment {
				left++
			}
		}
		a.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-a.news:
		case <-late.C:
			a.log.Warn("charon does not tell of all clients that it has: they cannot be moved", "segment", segment, "count", left)
			return
		case <-ctx.Done():
			return
		}
	}
}

// recognise is the session that charon tells of, one from before among them; nil =
// there is none yet. The caller holds the tables.
func (a *Agent) recognise(l *lineage) *session {
	s := a.of[l]
	name := spisOf(l.id())
	r, ok := a.awaited[name]
	if !ok || l.update.ConfigName == "" {
		return s
	}
	if s == nil {
		s = &session{id: r.Session, l: l, phase: ipsecctx.Active, known: true, exported: -1}
		switch {
		case r.Phase == ipsecctx.Staged:
			s.phase = ipsecctx.Staged
		case r.passive:
			s.phase, s.halfway = ipsecctx.Frozen, r.Phase == ipsecctx.Active
		}
		a.sessions[s.id], a.of[l] = s, s
	}
	// The message IDs come last. What was only staged has none.
	if r.Phase == ipsecctx.Staged || l.current().expected != 0 {
		delete(a.awaited, name)
		select {
		case a.news <- struct{}{}:
		default:
		}
	}
	return s
}

// claim is the session from before whose client this is: it has the same identity,
// and inner addresses. The caller holds the tables.
func (a *Agent) claim(l *lineage) (cxtp.SessionID, bool) {
	inner, who := l.inner(), l.protected(IKESA{})
	for id, f := range a.found {
		if f.Phase == ipsecctx.Active && f.Static.Claims().Identity == who.Claims().Identity &&
			slices.ContainsFunc(f.Static.Inner, func(p netip.Prefix) bool { return slices.Contains(inner, p) }) {
			delete(a.found, id)
			return id, true
		}
	}
	return cxtp.SessionID{}, false
}

// finish makes the IKE SAs active that are passive beside SAs at work: the restart
// came while they were frozen or thawed, and if they are to be frozen they will be
// again. Of one whose message IDs charon has never had, the final is missing: it is
// left behind (IKE profile section 8.5).
func (a *Agent) finish(ctx context.Context) error {
	var all []*session
	a.mu.Lock()
	for _, s := range a.sessions {
		if s.halfway {
			all = append(all, s)
		}
	}
	a.mu.Unlock()
	var errs []error
	for _, s := range all {
		if a.dynamic(s).NextExpected == 0 {
			a.log.Warn("an IKE SA cannot go on: its client will connect again", "session", s.id, "client", s.l.String())
			continue
		}
		errs = append(errs, a.thaw(ctx, s))
	}
	return errors.Join(errs...)
}

// abandon ends the sessions from before whose IKE SAs are nowhere.
func (a *Agent) abandon() {
	var gone []cxtp.SessionID
	a.mu.Lock()
	for id, f := range a.found {
		if f.Phase == ipsecctx.Active {
			gone = append(gone, id)
		}
	}
	clear(a.found)
	a.mu.Unlock()
	for _, id := range gone {
		a.cfg.Went(id, "charon does not have its IKE SA any more")
	}
}

// learn has those CHILD SAs rekeyed of which charon has not told, so that it does.
func (a *Agent) learn(ctx context.Context, s *session) error {
	sa, err := a.charon.find(ctx, a.idOf(s))
	if err != nil {
		return err
	}
	for _, c := range sa.Children {
		if a.knows(s, c) {
			continue
		}
		if err := a.charon.RekeyChild(ctx, c.Unique); err != nil {
			return s.problem("failed to rekey a CHILD SA that is not known here", err)
		}
	}
	return nil
}

func (a *Agent) knows(s *session, c ChildSA) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(s.l.children, func(o child) bool { return o.add.InboundSPI == c.In })
}
