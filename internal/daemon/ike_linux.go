package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ikectx/strongswan"
	"github.com/cxtp/cxtp/ipsecctx"
)

// openIKE takes the agent's place beside the charon whose SAs the gateway has.
func (d *daemon) openIKE() (ikeDaemon, error) {
	g, c := d.gateway.(*kernel), &d.cfg.Charon
	var answered func(context.Context, netip.Addr) (bool, error)
	if d.cfg.Kernel.Answer {
		answered = g.routes.Answered
	}
	return strongswan.Start(strongswan.Config{
		Socket: c.Vici, Agent: c.Agent, Charon: c.Charon, Segments: c.Segments,
		Kernel: g, Came: d.came,
		Went:     func(id cxtp.SessionID, why string) { d.engine.input(cxtp.Vanished{Session: id, Why: why}) },
		Departed: filepath.Join(d.cfg.StateDir, "departed"), Answered: answered, Log: d.log,
	})
}

// came gives the machine a session that charon has begun. CXTP messages name its
// node by the first of its inner addresses: several may be behind one outer one.
func (d *daemon) came(id cxtp.SessionID, s *ipsecctx.Session) {
	d.engine.input(cxtp.Adopt{Session: id, Previous: s.Inner[0].Addr(), Claims: s.Claims()})
}

// Adopt routes to the client right away: it is here.
func (g *kernel) Adopt(ctx context.Context, id cxtp.SessionID, s *ipsecctx.Session) error {
	if err := g.Gateway.Adopt(ctx, id, s); err != nil {
		return err
	}
	g.sharing.staged(id, g.Static(id))
	g.sharing.arrived(ctx, id)
	return g.route(id, s.Inner, g.routes.Attract)
}

// Export refuses a session whose traffic could not be sent elsewhere.
func (g *kernel) Export(ctx context.Context, id cxtp.SessionID) (*ipsecctx.Session, []ipsecctx.Dynamic, error) {
	if err := g.Routable(id); err != nil {
		return nil, nil, err
	}
	return g.Gateway.Export(ctx, id)
}

// Routable refuses a session that somebody else routes, in a table that comes before
// the one with our routes: charon does, if it is not told to leave it.
func (g *kernel) Routable(id cxtp.SessionID) error {
	if !g.adopts {
		return nil
	}
	note := ""
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.note = note
	}()
	for _, p := range g.routed(id) {
		table, err := g.routes.Overridden(p)
		if err != nil {
			return err
		}
		if table != 0 {
			note = fmt.Sprintf("routing table %d has a route of %s that comes before ours: set charon.install_routes = no, and restart charon", table, p)
			return features.Refuse(cxtp.FPTIKESession, cxtp.StatusDaemon, "%s", note)
		}
	}
	return nil
}

// Found lists the sessions that a run of this daemon before it has left.
func (g *kernel) Found() (all []strongswan.Found) {
	g.Adoptions(func(id cxtp.SessionID, phase ipsecctx.Phase, static *ipsecctx.Session) {
		all = append(all, strongswan.Found{Session: id, Phase: phase, Static: static})
	})
	return all
}
