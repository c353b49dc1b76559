package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/route"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"golang.org/x/sync/errgroup"
)

var (
	_ ipsecctx.Diverter = (*kernel)(nil)
	_ ipsecctx.Sharer   = (*kernel)(nil)
)

// kernel is the gateway that the machine's kernel is, with the routes to the
// nodes behind it and the addresses that it shares with other gateways.
type kernel struct {
	*xfrm.Gateway
	routes  *route.Routes
	sharing *sharing // nil = none is shared
	adopts  bool     // what an IKE daemon installs
	log     *slog.Logger
	via     map[cxtp.RouterID][]netip.Addr // of the other gateways, on the inside

	mu    sync.Mutex
	inner map[cxtp.SessionID][]netip.Prefix // of the sessions that have routes here
	note  string                            // what is wrong with the routes; "" = nothing
}

func openKernel(ctx context.Context, cfg *config.Config, log *slog.Logger, a around) (gateway, error) {
	k := &cfg.Kernel
	routes, err := route.New(route.Config{Outside: k.Outside, Inside: k.Inside, Answer: k.Answer})
	if err != nil {
		return nil, fmt.Errorf("[kernel]: %w", err)
	}
	g := &kernel{routes: routes, adopts: cfg.Gateway.Kind == config.Strongswan, log: log, via: map[cxtp.RouterID][]netip.Addr{}, inner: map[cxtp.SessionID][]netip.Prefix{}}
	for _, p := range cfg.Peers {
		g.via[cxtp.RouterID(p.Name)] = p.Via
	}
	mark := uapi.Mark{Value: k.Mark, Mask: k.MarkMask}
	g.Gateway, err = xfrm.New(ctx, xfrm.Config{
		Dir: filepath.Join(cfg.StateDir, "sessions"), Protect: k.Protect, Inside: routes.InsideIndex(), Strict: strict(cfg),
		Place:      func(*ipsecctx.Session) xfrm.Placement { return xfrm.Placement{Mark: mark, IfID: k.IfID} },
		FirstReqID: k.ReqIDs[0], LastReqID: k.ReqIDs[1], Priority: k.Priority,
		FirstSPI: k.SPIs[0], LastSPI: k.SPIs[1], OthersEncapsulate: !k.Encapsulate, Adopt: g.adopts,
		Redirect: g.pass, NearCeiling: a.near, Vanished: a.vanished, Sockets: a.sockets, Log: log,
	})
	if err == nil {
		if g.sharing, err = openSharing(cfg, log, g.Gateway.Static); err != nil {
			err = errors.Join(err, g.Gateway.Stop())
		}
	}
	if err != nil {
		routes.Close()
		return nil, err
	}
	return g, nil
}

// Run works until ctx ends.
func (g *kernel) Run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return g.Gateway.Run(ctx) })
	tasks.Go(func() error { return g.sharing.run(ctx) })
	return tasks.Wait()
}

// Install routes to the node right away: it is here.
func (g *kernel) Install(ctx context.Context, id cxtp.SessionID, s *ipsecctx.Session, dynamic []ipsecctx.Dynamic) error {
	if err := g.Gateway.Install(ctx, id, s, dynamic); err != nil {
		return err
	}
	g.sharing.staged(id, s)
	g.sharing.arrived(ctx, id)
	return g.route(id, s.Inner, g.routes.Attract)
}

// Stage prepares the routes: what comes for the node waits from then on, and the
// source may send it here before it stops.
func (g *kernel) Stage(ctx context.Context, id cxtp.SessionID, s *ipsecctx.Session) error {
	if err := g.Gateway.Stage(ctx, id, s); err != nil {
		return err
	}
	g.sharing.staged(id, s)
	return g.route(id, s.Inner, g.routes.Prepare)
}

// Activate also ends what is forwarded: the session is here.
func (g *kernel) Activate(ctx context.Context, id cxtp.SessionID, dynamic []ipsecctx.Dynamic) error {
	if err := g.Gateway.Activate(ctx, id, dynamic); err != nil {
		return err
	}
	g.sharing.arrived(ctx, id)
	return nil
}

// Redirect also forwards what the node sends to a shared address.
func (g *kernel) Redirect(ctx context.Context, id cxtp.SessionID, to cxtp.RouterID) error {
	if err := g.Gateway.Redirect(ctx, id, to); err != nil {
		return err
	}
	g.sharing.left(ctx, id, to)
	return nil
}

// Steer routes to the node for everybody.
func (g *kernel) Steer(s cxtp.Steer) error { return g.route(s.Session, s.Inner, g.routes.Attract) }

// pass sends what comes for the node on to another gateway.
func (g *kernel) pass(_ context.Context, id cxtp.SessionID, inner []netip.Prefix, to cxtp.RouterID) error {
	return g.route(id, inner, func(inner []netip.Prefix) error {
		for _, p := range inner {
			via, ok := g.viaFor(to, p)
			if !ok {
				return fmt.Errorf("no address of %q on the protected side for %s: add one to its via", to, p)
			}
			if err := g.routes.Redirect([]netip.Prefix{p}, via); err != nil {
				return err
			}
		}
		return nil
	})
}

func (g *kernel) viaFor(to cxtp.RouterID, p netip.Prefix) (netip.Addr, bool) {
	for _, a := range g.via[to] {
		if a.Is4() == p.Addr().Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// Thaw takes the route back, and what was forwarded. With floors the target is
// gone, and so is what it held.
func (g *kernel) Thaw(ctx context.Context, id cxtp.SessionID, floors ipsecctx.Ceilings) error {
	if err := g.Gateway.Thaw(ctx, id, floors); err != nil {
		return err
	}
	if to := g.sharing.arrived(ctx, id); len(floors) > 0 {
		g.sharing.inherit(id, to)
	}
	return g.route(id, g.routed(id), g.routes.Attract)
}

func (g *kernel) Release(ctx context.Context, id cxtp.SessionID) error {
	err := g.Gateway.Release(ctx, id)
	g.sharing.gone(id)
	return errors.Join(err, g.forget(id))
}

func (g *kernel) Discard(ctx context.Context, id cxtp.SessionID) error {
	err := g.Gateway.Discard(ctx, id)
	if err == nil {
		g.sharing.gone(id)
	}
	return errors.Join(err, g.forget(id))
}

// Held also finds the routes and what is forwarded again, and takes the routes of no
// session away.
func (g *kernel) Held(ctx context.Context) ([]cxtp.Held, error) {
	held, err := g.Gateway.Held(ctx)
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, h := range held {
		g.inner[h.Session] = h.Claims.Inner
		all = append(all, h.Claims.Inner...)
	}
	g.sharing.found(ctx, held)
	return held, g.routes.Keep(all)
}

func (g *kernel) route(id cxtp.SessionID, inner []netip.Prefix, lay func([]netip.Prefix) error) error {
	g.mu.Lock()
	g.inner[id] = inner
	g.mu.Unlock()
	return lay(inner)
}

func (g *kernel) routed(id cxtp.SessionID) []netip.Prefix {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inner[id]
}

func (g *kernel) forget(id cxtp.SessionID) error {
	g.mu.Lock()
	inner := g.inner[id]
	delete(g.inner, id)
	g.mu.Unlock()
	return g.routes.Forget(inner)
}

// Stop closes the sockets; SAs, policies and routes stay.
func (g *kernel) Stop() error {
	g.routes.Close()
	return errors.Join(g.sharing.close(), g.Gateway.Stop())
}

// Shared implements [ipsecctx.Sharer].
func (g *kernel) Shared(a netip.Addr) bool { return g.sharing.shared(a) }

// Yield implements [ipsecctx.Sharer].
func (g *kernel) Yield(ctx context.Context, id cxtp.SessionID) []netip.Addr {
	return g.sharing.yield(ctx, id)
}

// Take implements [ipsecctx.Sharer].
func (g *kernel) Take(ctx context.Context, id cxtp.SessionID, addrs []netip.Addr) {
	g.sharing.take(id, addrs)
}

// Inherit implements [ipsecctx.Sharer].
func (g *kernel) Inherit(_ context.Context, id cxtp.SessionID, from cxtp.RouterID) {
	g.sharing.inherit(id, from)
}

// Notes are sentences for the operator.
func (g *kernel) Notes() []string {
	notes := g.sharing.notes()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.note != "" {
		notes = append(notes, g.note)
	}
	return notes
}

// Counters reads every SA once.
func (g *kernel) Counters() map[string]uint64 {
	counters := map[string]uint64{}
	g.sharing.count(counters)
	sessions, err := g.Stats(context.Background())
	if err != nil {
		return counters
	}
	for _, s := range sessions {
		for _, sa := range s.SAs {
			if sa.Direction == ipsecctx.Outbound {
				counters["esp_sent"] += sa.Used.Packets
				continue
			}
			counters["esp_received"] += sa.Used.Packets
			counters["esp_replayed"] += sa.Replayed + sa.Late
			counters["esp_auth_failed"] += sa.AuthFailed
		}
	}
	return counters
}

// settle is how long packets that were routed before may still be on their way
// through the kernel.
const settle = 10 * time.Millisecond

// Divert implements [ipsecctx.Diverter].
func (g *kernel) Divert(ctx context.Context, id cxtp.SessionID, to cxtp.RouterID) {
	g.sharing.leaving(id, to)
	if err := g.pass(ctx, id, g.routed(id), to); err != nil {
		g.log.Warn("what comes for a session while it moves may be lost", "session", id.String(), "peer", string(to), "error", err)
		return
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
}
