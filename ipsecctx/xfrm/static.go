package xfrm

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Static returns a copy of what is known of a session beside its keys and counters:
// its addresses and ports as they are now, for example. It is nil for a session that
// is not here.
func (g *Gateway) Static(id cxtp.SessionID) (static *ipsecctx.Session) {
	_ = g.with(id, "Static", func(s *session) error { // its error says that the session is not here
		static = s.static.Clone()
		return nil
	})
	return static
}

// Adoptions calls f for each session whose SAs an IKE daemon has brought, or is to
// bring, with its phase and what Static gives.
func (g *Gateway) Adoptions(f func(cxtp.SessionID, Phase, *ipsecctx.Session)) {
	for _, s := range g.all() {
		s.mu.Lock()
		adopted, phase, static := s.adopted && s.phase != gone, s.phase, s.static.Clone()
		s.mu.Unlock()
		if adopted {
			f(s.id, phase, static)
		}
	}
}
