package xfrm

import (
	"context"
	"errors"
	"net/netip"

	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// mapped takes word that packets of an inbound SA come from another port: a NAT
// on the way has forgotten the node and found it another. The kernel says so of
// packets that it has authenticated (RFC 7296 section 2.23). What goes to the node
// follows; a new address of the NAT's would be another outbound SA, and is the
// node's to say.
func (g *Gateway) mapped(ctx context.Context, e *uapi.MappingChanged) {
	g.mu.Lock()
	s := g.byState[e.ID]
	g.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.place(e.ID)
	switch {
	case s.adopted, s.phase == gone || at < 0 || s.static.SAs[at].Direction != ipsecctx.Inbound:
		return
	case e.New.Addr() != s.static.SAs[at].Remote:
		g.log.Warn("a node behind NAT sends from another address, and what goes to it goes to the old one", "session", s.id, "from", e.New)
		return
	}
	if err := g.follow(ctx, s, e.New); err != nil {
		g.log.Warn("what goes to a node behind NAT goes to its old port", "session", s.id, "port", e.New.Port(), "error", err)
	}
}

// follow gives the session's SAs the node's new port.
func (g *Gateway) follow(ctx context.Context, s *session, to netip.AddrPort) error {
	states, err := g.read(ctx, s)
	defer wipeStates(states)
	if err != nil {
		return err
	}
	var requests []uapi.Request
	for i, st := range states {
		sa := &s.static.SAs[i]
		if sa.Remote != to.Addr() || !sa.Encap.Enabled() {
			continue
		}
		sa.Encap.RemotePort = to.Port()
		if st == nil || st.Encap == nil {
			continue
		}
		if st.Encap.SrcPort = to.Port(); sa.Direction == ipsecctx.Outbound {
			st.Encap.SrcPort, st.Encap.DstPort = sa.Encap.LocalPort, to.Port()
		}
		requests = append(requests, uapi.Request{Op: uapi.OpUpdateState, State: st, ID: st.ID()})
	}
	_, err = g.each(ctx, requests)
	// The next daemon has to know it, too.
	return errors.Join(err, g.store.save(s.id, s.static, s.reqids(), s.at))
}
