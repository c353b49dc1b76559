package strongswan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Config says where charon is, and what of the gateway's the agent may use.
type Config struct {
	Socket   string     // charon's control socket; "" = [DefaultSocket]
	Agent    netip.Addr // charon.plugins.ha.remote: where the agent is
	Charon   netip.Addr // charon.plugins.ha.local
	Segments int        // charon.plugins.ha.segment_count

	Kernel Kernel

	// Came is told of any other client that charon has taken in and whose SAs the
	// kernel has adopted. Went is told when one is gone and was not moved.
	Came func(id cxtp.SessionID, s *ipsecctx.Session)
	Went func(id cxtp.SessionID, why string)

	// Departed is the file in which the inner addresses are written down that stay
	// reserved for clients at other gateways; "" = they are not.
	Departed string
	// Answered reports whether another gateway answers for an inner address on the
	// protected side; nil = that cannot be asked, and an address stays reserved until
	// its client comes back.
	Answered func(ctx context.Context, addr netip.Addr) (bool, error)

	Log *slog.Logger // nil = none
}

// Kernel is the gateway whose SAs charon installs.
type Kernel interface {
	// Adopt takes over, or takes over anew, what charon has installed of a session.
	Adopt(ctx context.Context, id cxtp.SessionID, s *ipsecctx.Session) error
	// Adopted waits until charon has installed what is staged of a session.
	Adopted(ctx context.Context, id cxtp.SessionID) error
	// Routable refuses a session whose traffic charon's routes would keep from ours.
	Routable(id cxtp.SessionID) error
	// Found lists the sessions that were adopted, or staged for that, before a restart.
	Found() []Found
	// Disown says that the charon is gone that has installed a session's SAs.
	Disown(id cxtp.SessionID)
	// Reinstall has another charon install them, which bring tells to, and goes on with
	// them where they stood.
	Reinstall(ctx context.Context, id cxtp.SessionID, bring func(context.Context) error) error
}

// Agent moves the IKE SAs of one charon. Its methods are safe for concurrent use.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	charon *Charon
	plugin *plugin
	switcher
	imports  *semaphore.Weighted // those under way
	departed *departed

	mu       sync.Mutex
	journal  *journal
	sessions map[cxtp.SessionID]*session
	of       map[*lineage]*session
	seen     seen
	drained  bool // no new clients are wanted
	shut     bool // charon has been closed to them, and none has come since
	recollection
}

// session is a client's.
type session struct {
	id    cxtp.SessionID
	l     *lineage
	known bool // it was here before the agent was restarted

	// Guarded by the agent, as the lineage is.
	phase     ipsecctx.Phase
	changes   int     // how often its SAs have become others
	exported  int     // what changes was at the export; -1 = that was before a restart, if ever
	awaited   bool    // somebody is about to adopt its SAs
	moves     bool    // the client has to be told of this gateway's address
	notice    *notice // which it has not answered yet
	inherited bool    // it was taken over
	halfway   bool    // a restart found it passive beside SAs at work
	orphan    bool    // its charon has ended
	late      lateness

	restoring chan struct{} // closed when the next one has got it; nil = it is not about to
}

// Start takes the agent's place beside charon, which may be started later: so
// nobody else on this machine can take it.
func Start(cfg Config) (*Agent, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Segments <= carPark {
		return nil, fmt.Errorf("charon.plugins.ha.segment_count is %d: with 1 no client can be moved alone, 16 is best", cfg.Segments)
	}
	away, err := openDeparted(cfg.Departed)
	if err != nil {
		return nil, err
	}
	p, err := openPlugin(cfg.Agent, cfg.Charon)
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: cfg.Log, charon: NewCharon(cfg.Socket), plugin: p, journal: newJournal(), departed: away,
		imports:  semaphore.NewWeighted(importsAtOnce),
		sessions: map[cxtp.SessionID]*session{}, of: map[*lineage]*session{}, recollection: newRecollection()}
	a.switcher = switcher{plugin: p, charon: a.charon, segments: cfg.Segments, crowd: a.clients}
	return a, nil
}

// Stop ends what Run does not, and wipes all keys.
func (a *Agent) Stop() error {
	a.mu.Lock()
	for _, l := range a.journal.lineages {
		l.wipe()
	}
	a.mu.Unlock()
	return errors.Join(a.charon.Close(), a.plugin.conn.Close())
}

// Run follows what charon does, until ctx ends, which is no error.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return a.plugin.receive(ctx, func(m ha.Message, err error) {
			if err != nil {
				a.log.Warn("charon says something that is not understood: its clients cannot all be moved", "error", err)
				return
			}
			a.hear(ctx, g, m)
		})
	})
	g.Go(func() error { return a.attend(ctx) })
	g.Go(func() error { return a.review(ctx) })
	return g.Wait()
}

// attendEvery is how often the agent looks for a charon that is not there, or not
// as a move needs it.
const attendEvery = time.Second

// attend greets each charon that is started, until ctx ends.
func (a *Agent) attend(ctx context.Context) error {
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	for first := true; ctx.Err() == nil; {
		if line, err := a.charon.line(ctx); err != nil {
			a.look(ctx, "", err)
			a.settle() // nobody is there who would know of any
		} else {
			first = !a.accompany(ctx, line, first, tick.C) && first
			if ctx.Err() == nil {
				a.bereave()
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// accompany greets a charon, and stays with it until it ends. That is known by a
// connection with it: when it began, it says itself, but by the clock, and that is
// set at times. It reports whether that charon was as a move needs it.
func (a *Agent) accompany(ctx context.Context, line net.Conn, first bool, tick <-chan time.Time) bool {
	stop := context.AfterFunc(ctx, func() { line.Close() })
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer line.Close()
		line.Read(make([]byte, 1))
	}()
	since, greeted := "", time.Time{}
	for {
		var err error
		if !greeted.IsZero() {
			a.putBack(ctx) // who was moving when its charon ended, and has not left
			a.catchUpLate(ctx)
			err = a.keepShut(ctx)
		} else if since, err = a.charon.Since(ctx); err == nil {
			if err = a.greet(ctx, first); err == nil {
				greeted = time.Now()
			}
		}
		a.look(ctx, since, err)
		a.settle()
		if !greeted.IsZero() && time.Since(greeted) > settleTime {
			a.abandon() // who was rekeyed while nobody listened is known by now
		}
		select {
		case <-ended:
			return !greeted.IsZero()
		case <-tick:
		}
	}
}

// look notes what came of looking for charon.
func (a *Agent) look(ctx context.Context, since string, err error) {
	if ctx.Err() == nil && a.looked(since, err) {
		a.log.Warn("no client can be moved", "error", err)
	}
}

// greet makes sure that a charon is as a move needs it, and opens it to clients.
// First: it may have some that the agent has not heard of.
func (a *Agent) greet(ctx context.Context, first bool) error {
	release, err := a.charon.Release(ctx)
	if err != nil {
		return err
	}
	version, err := versionOf(release)
	if err != nil {
		return err
	}
	plugins, err := a.charon.Plugins(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(plugins, "ha") {
		return errors.New("charon has not loaded its ha plugin: install it (Debian: libcharon-extra-plugins), configure charon.plugins.ha, and restart charon; if that was done, charon's log says why")
	}
	a.met(release, version)
	a.plugin.speak(version)
	if err := a.probe(ctx); err != nil {
		return err
	}
	listed, err := a.charon.IKESAs(ctx, 0)
	if err != nil {
		return err
	}
	a.putBack(ctx) // before anybody is given the address of one of them
	if err := a.reserve(ctx); err != nil {
		return err
	}
	if err := a.plugin.send(a.greeting()...); err != nil {
		return err
	}
	if first {
		if err := a.recall(ctx, listed); err != nil {
			return err
		}
	}
	a.log.Info("charon is there", "release", release, "ha_version", uint8(version))
	return nil
}

// greeting opens a charon, unless the gateway is drained.
func (a *Agent) greeting() []ha.Body {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shut = false
	if a.drained {
		return nil
	}
	// It begins with all segments passive, and gives no client an address then.
	return []ha.Body{makeActive(0)}
}

// clients are where the clients are that charon answers for.
func (a *Agent) clients() (all []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		if s.phase == ipsecctx.Active {
			all = append(all, s.l.update.RemoteAddr.Addr())
		}
	}
	return all
}

// hear takes what charon says.
func (a *Agent) hear(ctx context.Context, g *errgroup.Group, m ha.Message) {
	a.mu.Lock()
	l, change, err := a.journal.hear(m, time.Now())
	var s *session
	if l != nil {
		s = a.recognise(l)
	}
	switch {
	case l == nil:
	case change == completed && s == nil:
		s = a.begin(l)
	case change == altered && s != nil:
		s.changes++
	case change == ended && s != nil:
		a.strike(s)
	}
	awaited := s == nil || s.awaited || s.phase != ipsecctx.Active || change != completed && change != altered
	if !awaited {
		s.awaited = true
	}
	a.mu.Unlock()
	switch {
	case err != nil:
		a.log.Warn("charon says something that cannot be followed", "message", m.String(), "error", err)
	case s != nil && change == ended && s.phase == ipsecctx.Active:
		a.cfg.Went(s.id, "charon has ended the IKE SA")
	case !awaited:
		g.Go(func() error { a.takeIn(ctx, s, change == completed); return nil })
	}
}

// begin enters a client that has come; the caller holds the tables.
func (a *Agent) begin(l *lineage) *session {
	s := &session{l: l, phase: ipsecctx.Active}
	if s.id, s.known = a.claim(l); !s.known {
		rand.Read(s.id[:])
	}
	a.sessions[s.id], a.of[l], a.shut = s, s, false
	return s
}

// strike forgets a session; the caller holds the tables.
func (a *Agent) strike(s *session) {
	delete(a.sessions, s.id)
	delete(a.of, s.l)
	a.charon.forget(s.l.id())
}

// settleTime is how long charon may take to install what it has announced, and
// how long a rekey may take: it keeps the old SA for five seconds.
const settleTime = 8 * time.Second

// takeIn has the kernel's SAs of a client adopted, once charon has installed what it
// announced. One that has much to do gets the time that it takes.
func (a *Agent) takeIn(ctx context.Context, s *session, first bool) {
	for a.tryTakeIn(ctx, s, first, settleTime) {
		a.log.Info("charon takes its time with a client's SAs", "session", s.id, "client", s.l.String())
	}
}

// tryTakeIn does that within a time, and reports whether to try again: the client is
// still there then, and awaited.
func (a *Agent) tryTakeIn(ctx context.Context, s *session, first bool, within time.Duration) (again bool) {
	once, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	sa, err := a.charon.awaitAs(once, a.name(s), func(sa IKESA) bool { return located(sa.Remote) && a.agrees(s, sa) })
	late := err != nil && once.Err() != nil && ctx.Err() == nil
	a.mu.Lock()
	s.awaited = late && a.sessions[s.id] == s
	again = s.awaited
	a.mu.Unlock()
	var static *ipsecctx.Session
	if err == nil {
		static, err = a.adopt(once, s, sa)
	}
	switch {
	case again:
	case late, ctx.Err() != nil && err != nil, errors.Is(err, ErrUnknownSA):
		a.log.Info("a client went before its SAs could be taken in", "session", s.id, "client", s.l.String(), "error", err)
	case err != nil:
		a.log.Warn("a client that cannot be moved", "session", s.id, "client", s.l.String(), "error", err)
	case first && !s.known:
		a.cfg.Came(s.id, static)
	}
	return again
}

// adopt has the kernel's SAs of a client adopted that charon shows.
func (a *Agent) adopt(ctx context.Context, s *session, sa IKESA) (*ipsecctx.Session, error) {
	a.mu.Lock()
	// Of what MOBIKE and NATs change charon says nothing by itself.
	s.l.update.LocalAddr, s.l.update.RemoteAddr = sa.Local, sa.Remote
	if len(s.l.update.RemoteVIPs) == 0 {
		s.l.update.RemoteVIPs = sa.Virtual // of a rekeyed IKE SA it says nothing when it is asked again
	}
	static := s.l.protected(sa)
	a.mu.Unlock()
	a.arrived(s)
	return static, a.cfg.Kernel.Adopt(ctx, s.id, static)
}

// quiet waits until nothing is under way with a client's SAs.
func (a *Agent) quiet(ctx context.Context, s *session) (IKESA, error) {
	return a.charon.awaitAs(ctx, a.name(s), func(sa IKESA) bool { return located(sa.Remote) && sa.settled() && a.agrees(s, sa) })
}

// name is what the IKE SA in use is called, whenever that is asked: a rekey changes it.
func (a *Agent) name(s *session) func() ha.SAID { return func() ha.SAID { return a.idOf(s) } }

func (a *Agent) idOf(s *session) ha.SAID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.l.id()
}

// agrees compares the CHILD SAs that charon shows with those that it told of.
func (a *Agent) agrees(s *session, sa IKESA) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range s.l.children {
		if !slices.ContainsFunc(sa.Children, func(o ChildSA) bool { return o.In == c.add.InboundSPI && o.Out == c.add.OutboundSPI }) {
			return false
		}
	}
	return len(s.l.children) == len(sa.Children)
}

// rested finds a session that is not about to be given back to charon.
func (a *Agent) rested(ctx context.Context, id cxtp.SessionID) (*session, error) {
	for {
		a.mu.Lock()
		s := a.sessions[id]
		if s == nil || s.restoring == nil {
			a.mu.Unlock()
			return s, nil
		}
		over := s.restoring
		a.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return nil, s.problem("failed to await the restoration", context.Cause(ctx))
		}
	}
}

// turn notes a session's phase.
func (a *Agent) turn(s *session, p ipsecctx.Phase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.phase = p
}

// with finds a session in a phase that allows an operation; nil if it is not here.
func (a *Agent) with(ctx context.Context, id cxtp.SessionID, operation string, allowed ...ipsecctx.Phase) (*session, error) {
	if err := a.recollected(ctx); err != nil {
		return nil, err
	}
	s, err := a.rested(ctx, id)
	switch {
	case s == nil:
		return nil, err
	case s.late == toForget:
		return nil, nil
	case !slices.Contains(allowed, s.phase):
		return nil, &ipsecctx.PhaseError{Session: id, Operation: operation, Phase: s.phase}
	}
	return s, nil
}

// problem is an error with what an operator calls the client.
func (s *session) problem(what string, err error) error {
	return fmt.Errorf("%s of %v: %w", what, s.l, err)
}
