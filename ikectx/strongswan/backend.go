package strongswan

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Supports implements [ikectx.Backend].
func (a *Agent) Supports(c *ikectx.Session) error {
	if err := a.ready(); err != nil {
		return err
	}
	l, err := lineageOf(c, time.Now())
	if err == nil {
		l.wipe()
	}
	return err
}

// Export implements [ikectx.Backend]. It waits for a moment in which nothing is
// under way, and has the kernel's SAs adopted as they are then.
func (a *Agent) Export(ctx context.Context, id cxtp.SessionID) (*ikectx.Session, error) {
	s, err := a.with(ctx, id, "Export", ipsecctx.Active)
	if s == nil {
		return nil, err
	}
	if a.orphaned(s) {
		return a.exportOrphan(s)
	}
	if err := a.ready(); err != nil {
		return nil, err
	}
	if a.waits(s) {
		return nil, refuse(cxtp.StatusBusy, "%v has not confirmed yet that its gateway is here: try again", s.l)
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	sa, err := a.quiet(ctx, s)
	if a.ended(s, err) {
		return a.exportOrphan(s)
	}
	if err == nil {
		_, err = a.adopt(ctx, s, sa)
	}
	if err != nil {
		return nil, s.busy(err)
	}
	return a.context(s), nil
}

// context is that of a client as it is now.
func (a *Agent) context(s *session) *ikectx.Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.exported = s.changes
	return s.l.context(time.Now()).Clone()
}

// Sample implements [ikectx.Backend].
func (a *Agent) Sample(ctx context.Context, id cxtp.SessionID) (ikectx.Dynamic, error) {
	s, err := a.with(ctx, id, "Sample", ipsecctx.Active)
	if s == nil {
		return ikectx.Dynamic{}, err
	}
	return a.dynamic(s), nil
}

// busy is the refusal of a session that did not come to rest.
func (s *session) busy(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(cxtp.StatusBusy, "%v is being rekeyed, or does not answer charon, or charon has too much to do: try again", s.l)
	}
	return err
}

// Stage implements [ikectx.Backend]: charon gets everything, passive. The policies
// of the session have to be in place, shut, before: charon installs its SAs at
// sequence number 0.
func (a *Agent) Stage(ctx context.Context, id cxtp.SessionID, c *ikectx.Session) error {
	if err := a.Discard(ctx, id); err != nil {
		return err
	}
	if err := a.configured(ctx, c); err != nil {
		return err
	}
	l, err := lineageOf(c, time.Now())
	if err != nil {
		return err
	}
	s := &session{id: id, l: l, phase: ipsecctx.Staged, moves: c.Before.IsValid()}
	if s.moves {
		err = l.canFollow(ctx, c)
	}
	if err == nil {
		err = a.enter(s)
	}
	if err != nil {
		l.wipe()
		return err
	}
	err = a.bring(ctx, s)
	if err == nil {
		err = a.parked(ctx, l.id())
	}
	if err == nil {
		// charon has done all that it was told of the session before: its routes are there.
		err = a.cfg.Kernel.Routable(id)
	}
	if err != nil {
		return errors.Join(s.problem("failed to import the IKE SA", err), a.remove(context.WithoutCancel(ctx), s))
	}
	return nil
}

// importsAtOnce is how many clients charon is given at once. It works them off one
// after the other, and what is to become active meanwhile, in its blackout, has to
// wait for those before it.
const importsAtOnce = 4

// bring tells charon of a client, and waits until the kernel has what it made of it.
// It is told once: again, it would spoil what it has.
func (a *Agent) bring(ctx context.Context, s *session) error {
	if err := a.imports.Acquire(ctx, 1); err != nil {
		return err
	}
	defer a.imports.Release(1)
	if err := a.plugin.send(s.l.script()...); err != nil {
		return err
	}
	return a.installed(ctx, s.id)
}

// installed waits until charon has installed what it was told of, or is not there
// any more.
func (a *Agent) installed(ctx context.Context, id cxtp.SessionID) error {
	for {
		once, cancel := context.WithTimeout(ctx, attendEvery)
		err := a.cfg.Kernel.Adopted(once, id)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if _, err := a.charon.Since(ctx); err != nil {
			return refuse(cxtp.StatusDaemon, "%w", err)
		}
	}
}

// configured checks that charon has the connection and the children by the names
// that they have at the source: it would drop the IKE SA, and only log that.
func (a *Agent) configured(ctx context.Context, c *ikectx.Session) error {
	all, err := a.charon.Connections(ctx)
	if err != nil {
		return refuse(cxtp.StatusDaemon, "%w", err)
	}
	children, ok := all[c.Connection]
	if !ok {
		return refuse(cxtp.StatusConfiguration, "charon has no connection %q here: give it the same swanctl.conf as at the source, and swanctl --load-conns", c.Connection)
	}
	for i := range c.Children {
		if name := c.Children[i].Name; !slices.Contains(children, name) {
			return refuse(cxtp.StatusConfiguration, "charon's connection %q has no child %q here: give it the same swanctl.conf as at the source, and swanctl --load-conns", c.Connection, name)
		}
	}
	return nil
}

// enter takes a session into the tables. An IKE SA that is there already must not
// be told of again: charon would spoil its SAs.
func (a *Agent) enter(s *session) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range s.l.generations {
		id := s.l.generations[i].add.SA
		there := a.journal.find(id)
		if former := a.of[there]; former != nil && former.late == toForget {
			return refuse(cxtp.StatusBusy, "charon has yet to forget %v, who was here before: try again", s.l)
		}
		if there != nil || a.journal.half[id] != nil {
			return refuse(cxtp.StatusSPIConflict, "charon has the IKE SA %v already", id)
		}
	}
	a.journal.lineages[s.l.id()] = s.l
	a.sessions[s.id], a.of[s.l], a.shut = s, s, false
	return nil
}

// Freeze implements [ikectx.Backend]: charon ignores the client from then on. It
// refuses while something is under way, and if the SAs are not those that were
// staged: then nothing was stopped.
func (a *Agent) Freeze(ctx context.Context, id cxtp.SessionID) (ikectx.Dynamic, error) {
	s, err := a.with(ctx, id, "Freeze", ipsecctx.Active, ipsecctx.Frozen)
	if s == nil {
		return ikectx.Dynamic{}, err
	}
	switch {
	case s.phase == ipsecctx.Frozen:
		return a.dynamic(s), nil
	case a.orphaned(s):
		return a.freezeOrphan(s)
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	return a.freeze(ctx, s)
}

// freeze stops a client that charon has, or had until now.
func (a *Agent) freeze(ctx context.Context, s *session) (ikectx.Dynamic, error) {
	for {
		sa, err := a.quiet(ctx, s)
		if a.ended(s, err) {
			return a.freezeOrphan(s)
		}
		if err != nil {
			return ikectx.Dynamic{}, s.busy(err)
		}
		if a.changed(s) {
			return ikectx.Dynamic{}, s.rekeyed()
		}
		client := sa.Remote
		sa, err = a.stop(ctx, a.idOf(s), client)
		a.plugin.catchUp()
		if a.ended(s, err) {
			return a.freezeOrphan(s)
		}
		if err == nil && a.still(s, sa) {
			a.mu.Lock()
			s.phase, s.l.update.RemoteAddr = ipsecctx.Frozen, client
			a.mu.Unlock()
			return a.dynamic(s), nil
		}
		// Something began in between: it goes on, and is waited for.
		undone := a.goOn(context.WithoutCancel(ctx), s, client)
		switch {
		case undone != nil:
			return ikectx.Dynamic{}, errors.Join(err, undone)
		case err != nil && !errors.Is(err, ErrUnknownSA):
			return ikectx.Dynamic{}, s.busy(err)
		}
	}
}

// rekeyed is the refusal of a client whose SAs are not those that were staged.
func (s *session) rekeyed() error {
	return refuse(cxtp.StatusBusy, "%v was rekeyed since it was staged: hand it over again", s.l)
}

// goOn makes an IKE SA active again, whatever it is called by now.
func (a *Agent) goOn(ctx context.Context, s *session, client netip.AddrPort) error {
	for {
		id := a.idOf(s)
		err := a.start(ctx, id, client)
		if !errors.Is(err, ErrUnknownSA) || a.idOf(s) == id {
			return err
		}
	}
}

// still reports whether an IKE SA is passive, a client's SAs are those that were
// staged, and none is about to be another.
func (a *Agent) still(s *session, sa IKESA) bool {
	return sa.State == passive && !a.changed(s) && sa.settled() && a.agrees(s, sa)
}

// whereabouts is where the client is.
func (a *Agent) whereabouts(s *session) netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.l.update.RemoteAddr
}

func (a *Agent) changed(s *session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.changes != s.exported
}

// dynamic is where the IKE SA stands.
func (a *Agent) dynamic(s *session) ikectx.Dynamic {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := s.l.current()
	return ikectx.Dynamic{Generation: g.number, NextRequest: g.request, NextExpected: g.expected}
}

// Activate implements [ikectx.Backend]: charon answers for the client.
func (a *Agent) Activate(ctx context.Context, id cxtp.SessionID, d ikectx.Dynamic) error {
	return a.activate(ctx, id, "Activate", d, (*session).resume)
}

// activate has charon answer for a staged client, from where how says.
func (a *Agent) activate(ctx context.Context, id cxtp.SessionID, operation string, d ikectx.Dynamic, how func(*session, ikectx.Dynamic) error) error {
	s, err := a.with(ctx, id, operation, ipsecctx.Staged, ipsecctx.Active)
	if s == nil || s.phase == ipsecctx.Active {
		return err
	}
	if err := a.proceed(s, d, how); err != nil {
		return s.problem("failed to activate the IKE SA", err)
	}
	switch err := a.start(ctx, a.idOf(s), a.whereabouts(s)); {
	case errors.Is(err, context.DeadlineExceeded):
		a.delay(s, toAnswer)
	case err != nil:
		return s.problem("failed to activate the IKE SA", err)
	}
	a.turn(s, ipsecctx.Active)
	a.arrived(s)
	return nil
}

// proceed tells charon the message IDs that come next, which how sets.
func (a *Agent) proceed(s *session, d ikectx.Dynamic, how func(*session, ikectx.Dynamic) error) error {
	a.mu.Lock()
	err := how(s, d)
	g := s.l.current()
	id, request, expected := g.add.SA, g.request, g.expected
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return a.plugin.send(&ha.MessageID{SA: id, Initiator: true, Next: request}, &ha.MessageID{SA: id, Next: expected})
}

// resume sets where the IKE SA goes on. Where the client has to be told of this
// gateway's address, the next request is that, and charon's is the one after it. The
// caller holds the tables.
func (s *session) resume(d ikectx.Dynamic) (err error) {
	g := s.l.current()
	g.request, g.expected = d.NextRequest, d.NextExpected
	if s.moves {
		s.notice, err = s.l.notice(g.request, 1, true)
		g.request++
	}
	return err
}

// waits reports whether a client has not confirmed where its gateway is.
func (a *Agent) waits(s *session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.notice != nil
}

// Redirect implements [ikectx.Backend]: the packets are the gateway's business, and
// the client is another's.
func (a *Agent) Redirect(context.Context, cxtp.SessionID, cxtp.RouterID) error { return nil }

// Closed implements [ikectx.Backend]: charon rekeys when it likes.
func (a *Agent) Closed(context.Context, cxtp.SessionID) error { return nil }

// Held implements [ikectx.Backend]: what charon has comes when it is asked again.
func (a *Agent) Held(context.Context) ([]cxtp.Held, error) { return nil, nil }

// Thaw implements [ikectx.Backend].
func (a *Agent) Thaw(ctx context.Context, id cxtp.SessionID, behind bool) error {
	s, err := a.with(ctx, id, "Thaw", ipsecctx.Frozen, ipsecctx.Active)
	if s == nil || s.phase == ipsecctx.Active {
		return err
	}
	if behind && !a.orphaned(s) {
		return a.takeBack(ctx, s)
	}
	return a.thaw(ctx, s)
}

func (a *Agent) thaw(ctx context.Context, s *session) error {
	if a.orphaned(s) {
		a.turn(s, ipsecctx.Active)
		return nil
	}
	if err := a.goOn(ctx, s, a.whereabouts(s)); err != nil {
		return s.problem("failed to activate the IKE SA again", err)
	}
	a.turn(s, ipsecctx.Active)
	return a.learn(ctx, s)
}

// Release implements [ikectx.Backend]: charon forgets the client, and tells it
// nothing.
func (a *Agent) Release(ctx context.Context, id cxtp.SessionID) error {
	s, err := a.with(ctx, id, "Release", ipsecctx.Staged, ipsecctx.Active, ipsecctx.Frozen)
	if s == nil {
		return err
	}
	return a.removeInTime(ctx, s)
}

// Discard implements [ikectx.Backend].
func (a *Agent) Discard(ctx context.Context, id cxtp.SessionID) error {
	s, err := a.with(ctx, id, "Discard", ipsecctx.Staged)
	if s == nil {
		return err
	}
	return a.removeInTime(ctx, s)
}

// remove has charon forget a client's IKE SA, and forgets it. A charon that is
// not there has none.
func (a *Agent) remove(ctx context.Context, s *session) error {
	id := a.idOf(s)
	err := a.depart(ctx, s)
	if !a.orphaned(s) {
		if err == nil {
			err = a.delete(ctx, id)
		}
		if err != nil && !errors.Is(err, ErrNotRunning) {
			return s.problem("failed to remove the IKE SA", err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.journal.lineages, id)
	a.strike(s)
	s.l.wipe()
	return nil
}
