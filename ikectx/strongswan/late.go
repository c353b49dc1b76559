package strongswan

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/cxtp/cxtp/ipsecctx"
)

// A client is late whose charon had too much to do when it was to answer for it. Its
// SAs are at work by then, and there is no way back: charon is told again, until it
// does.

// delay makes a client late.
func (a *Agent) delay(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.late = true
	a.log.Warn("charon has too much to do: it answers for a client later", "session", s.id, "client", s.l.String())
}

// startLate has charon answer for the clients that are late.
func (a *Agent) startLate(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(importsAtOnce)
	for _, s := range a.lateOnes() {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, settleTime)
			defer cancel()
			if err := a.goOn(ctx, s, a.whereabouts(s)); err != nil {
				a.log.Warn("charon does not answer for a client yet", "session", s.id, "client", s.l.String(), "error", err)
				return nil
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			s.late = false
			return nil
		})
	}
	g.Wait()
}

// lateOnes are the clients that are late, and not gone or on their way elsewhere.
func (a *Agent) lateOnes() (all []*session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		if s.late && s.phase == ipsecctx.Active && !s.orphan {
			all = append(all, s)
		}
	}
	return all
}
