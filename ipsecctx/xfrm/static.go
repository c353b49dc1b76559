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
