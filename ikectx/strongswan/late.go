package strongswan

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/cxtp/cxtp/ipsecctx"
)

// lateness is what charon has yet to do for a client, for which it did not find the
// time when it was told. There is no way back by then: it is told again, until it has
// done it.
type lateness int

const (
	notLate  lateness = iota
	toAnswer          // the client's SAs are at work
	toForget          // another gateway has the client
)

func (l lateness) String() string {
	return [...]string{"nothing", "answer", "forget"}[l]
}

// delay notes what charon is told again.
func (a *Agent) delay(s *session, l lateness) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.late = l
	a.log.Warn("charon has too much to do, and is told again", "what", l.String(), "session", s.id, "client", s.l.String())
}

// removeInTime is remove, or leaves that for later. The client counts as gone.
func (a *Agent) removeInTime(ctx context.Context, s *session) error {
	err := a.remove(ctx, s)
	if errors.Is(err, context.DeadlineExceeded) {
		a.delay(s, toForget)
		return nil
	}
	return err
}

// catchUpLate has charon do what it has yet to do.
func (a *Agent) catchUpLate(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(importsAtOnce)
	for s, late := range a.lateOnes() {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, settleTime)
			defer cancel()
			var err error
			if late == toForget {
				err = a.remove(ctx, s)
			} else if err = a.goOn(ctx, s, a.whereabouts(s)); err == nil {
				a.answers(s)
			}
			if err != nil {
				a.log.Warn("charon has not done yet what it was told", "what", late.String(), "session", s.id, "client", s.l.String(), "error", err)
			}
			return nil
		})
	}
	g.Wait()
}

func (a *Agent) answers(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.late = notLate
}

// lateOnes are the clients for whom charon has yet to do something. Where it has
// ended, the next one gets those that it was to answer for.
func (a *Agent) lateOnes() map[*session]lateness {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[*session]lateness{}
	for _, s := range a.sessions {
		if s.late == toForget || s.late == toAnswer && s.phase == ipsecctx.Active && !s.orphan {
			all[s] = s.late
		}
	}
	return all
}
