package strongswan

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// An orphan is a client whose charon has ended without a word, as one does that
// crashes. The kernel goes on with its SAs, and the agent knows what that charon knew:
// so the client is moved as any other, except that nobody is to be asked and told
// here; or the next charon gets it back.

// bereave makes orphans of the clients whose charon has ended, and to whom it has not
// said goodbye. What was on its way in or out is with the charon that is gone.
func (a *Agent) bereave() {
	a.plugin.catchUp()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		a.orphan(s)
	}
	for id, g := range a.journal.half {
		g.wipe()
		delete(a.journal.half, id)
	}
	clear(a.journal.rekeyed)
	if len(a.sessions) > 0 {
		a.log.Warn("charon has ended without a word to its clients: they go on without it, and can be handed over", "clients", len(a.sessions))
	}
}

// orphan makes an orphan of a client; the caller holds the tables.
func (a *Agent) orphan(s *session) {
	if !s.orphan {
		s.orphan = true
		a.charon.forget(s.l.id())
		a.cfg.Kernel.Disown(s.id)
	}
}

// ended reports whether an error is that charon has ended, and its client an orphan.
func (a *Agent) ended(s *session, err error) bool {
	if !errors.Is(err, ErrNotRunning) {
		return false
	}
	a.plugin.catchUp()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sessions[s.id] == s {
		a.orphan(s)
	}
	return s.orphan
}

// orphaned reports whether a client's charon has ended.
func (a *Agent) orphaned(s *session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.orphan
}

// exportOrphan gives what the agent knows of a client whose charon has ended.
func (a *Agent) exportOrphan(s *session) (*ikectx.Session, error) {
	a.mu.Lock()
	complete := s.l.complete()
	a.mu.Unlock()
	if !complete {
		return nil, refuse(cxtp.StatusDaemon, "%v has lost its charon before that had told of its CHILD SAs: it has to connect again", s.l)
	}
	return a.context(s), nil
}

// freezeOrphan stops a client whose charon has ended: nothing is under way any more.
func (a *Agent) freezeOrphan(s *session) (ikectx.Dynamic, error) {
	if a.changed(s) {
		return ikectx.Dynamic{}, s.rekeyed()
	}
	a.turn(s, ipsecctx.Frozen)
	return a.dynamic(s), nil
}

// orphans are the clients that the next charon is to get.
func (a *Agent) orphans() (all []*session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		if s.orphan && s.phase == ipsecctx.Active {
			all = append(all, s)
		}
	}
	return all
}

// putBack gives charon the clients of the one before it. A client that cannot be
// given back ends here, and connects again.
func (a *Agent) putBack(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(importsAtOnce)
	for _, s := range a.orphans() {
		g.Go(func() error {
			began := time.Now()
			if err := a.restore(ctx, s); err != nil {
				a.log.Warn("a client is lost with its charon", "session", s.id, "client", s.l.String(), "error", err)
				a.lose(ctx, s, err)
				return nil
			}
			a.log.Info("a client has its IKE SA back", "session", s.id, "client", s.l.String(), "after", time.Since(began))
			return nil
		})
	}
	g.Wait()
}

// restore gives charon a client that the one before it had. Nobody else works on the
// session meanwhile.
func (a *Agent) restore(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	a.mu.Lock()
	if !s.orphan || s.phase != ipsecctx.Active {
		a.mu.Unlock()
		return nil // it is on its way elsewhere
	}
	over := make(chan struct{})
	s.restoring, s.orphan = over, false
	complete, g, client := s.l.complete(), s.l.current(), s.l.update.RemoteAddr
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		s.restoring = nil
		close(over)
	}()
	if !complete {
		return errors.New("its CHILD SAs are not known: the agent was restarted shortly before")
	}
	if err := a.configured(ctx, s.l.context(time.Now())); err != nil {
		return err
	}
	id := s.l.id()
	err := a.cfg.Kernel.Reinstall(ctx, s.id, func(ctx context.Context) error { return a.plugin.send(s.l.script()...) })
	if err == nil {
		err = a.plugin.send(&ha.MessageID{SA: id, Initiator: true, Next: g.request}, &ha.MessageID{SA: id, Next: g.expected})
	}
	if err == nil {
		err = a.start(ctx, id, client)
	}
	return err
}

// lose ends a client that charon could not be given back.
func (a *Agent) lose(ctx context.Context, s *session, why error) {
	if err := a.delete(context.WithoutCancel(ctx), s.l.id()); err != nil && !errors.Is(err, ErrNotRunning) {
		a.log.Error("charon may have half of a client", "session", s.id, "error", err)
	}
	a.mu.Lock()
	delete(a.journal.lineages, s.l.id())
	a.strike(s)
	s.l.wipe()
	a.mu.Unlock()
	a.cfg.Went(s.id, "its charon has ended, and the next one could not get it: "+why.Error())
}

// Ready implements [ikectx.Starter]: what was imported into a charon that has ended
// since cannot be started.
func (a *Agent) Ready(ctx context.Context, id cxtp.SessionID) error {
	s, err := a.with(ctx, id, "Ready", ipsecctx.Staged, ipsecctx.Active)
	if s == nil || err != nil {
		return err
	}
	if a.orphaned(s) {
		return refuse(cxtp.StatusDaemon, "charon has ended since it got %v", s.l)
	}
	return nil
}
