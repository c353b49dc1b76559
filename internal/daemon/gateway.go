package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/systemd"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/soft"
)

// gateway is whose SAs the sessions are: this program's or the kernel's.
type gateway interface {
	ipsecctx.Backend

	// Install starts a session whose life begins here.
	Install(ctx context.Context, id cxtp.SessionID, s *ipsecctx.Session, dynamic []ipsecctx.Dynamic) error

	// Run works until ctx ends, which is no error.
	Run(ctx context.Context) error

	// Steer makes this machine's own network send a session's downlink here. It
	// comes before the operator's hook, and may come again.
	Steer(s cxtp.Steer) error

	// Counters are for the operator, and so are notes: sentences about what is not
	// as it should stay.
	Counters() map[string]uint64
	Notes() []string

	// Stop ends what Run does not.
	Stop() error
}

// openGateway opens the gateway that the configuration asks for.
func (d *daemon) openGateway(ctx context.Context, opts Options) (err error) {
	near := func(id cxtp.SessionID) { d.engine.input(cxtp.Near{Session: id}) }
	if d.cfg.Gateway.Kind.OfKernel() {
		vanished := func(id cxtp.SessionID, why string) { d.engine.input(cxtp.Vanished{Session: id, Why: why}) }
		d.gateway, err = openKernel(ctx, d.cfg, d.log, around{near, vanished, d.manager})
	} else {
		d.gateway, err = openUserspace(d.cfg, opts, near)
	}
	return err
}

// ikeDaemon is an IKE daemon beside this one, whose sessions are moved with their
// SAs.
type ikeDaemon interface {
	ikectx.Backend

	// Views describes the nodes that it has, and View itself, at no cost worth
	// speaking of.
	Views() map[cxtp.SessionID]ikectx.View
	View() ikectx.ViewDaemon

	// Rekey gives a session's CHILD SAs other keys and SPIs, and returns when they
	// are at work.
	Rekey(ctx context.Context, id cxtp.SessionID) error

	// Drain has it take no new nodes, as far as it can, once the last one has gone,
	// or take them again.
	Drain(closed bool)

	// Follow waits until a session's node, which may have had another gateway
	// address before, sends here.
	Follow(ctx context.Context, id cxtp.SessionID) error

	// Run works until ctx ends, which is no error.
	Run(ctx context.Context) error

	// Stop ends what Run does not.
	Stop() error
}

// around is what a kernel gateway tells, and who holds its sockets.
type around struct {
	near     func(cxtp.SessionID)
	vanished func(id cxtp.SessionID, why string)
	sockets  *systemd.Manager
}

// userspace is the gateway in this program's memory.
type userspace struct{ *soft.Gateway }

func openUserspace(cfg *config.Config, opts Options, near func(cxtp.SessionID)) (gateway, error) {
	outside, err := soft.ListenUDP(cfg.Gateway.Outside)
	if err != nil {
		return nil, fmt.Errorf("gateway.outside: %w", err)
	}
	inside, err := soft.ListenUDP(cfg.Gateway.Inside)
	if err != nil {
		outside.Close()
		return nil, fmt.Errorf("gateway.inside: %w", err)
	}
	c := soft.Config{Outside: outside, Inside: inside, NextHop: cfg.Gateway.NextHop, QueuePackets: cfg.Gateway.Queue,
		Strict: strict(cfg), Peers: map[cxtp.RouterID]netip.AddrPort{}, NearCeiling: near}
	for _, p := range cfg.Peers {
		if p.Inside.IsValid() {
			c.Peers[cxtp.RouterID(p.Name)] = p.Inside
		}
	}
	if opts.Bypass.IsValid() {
		c.DefaultPolicy, c.ClearNextHop = soft.Bypass, opts.Bypass
	}
	g, err := soft.New(c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("failed to start the gateway: %w", err), outside.Close(), inside.Close())
	}
	return userspace{g}, nil
}

func strict(cfg *config.Config) bool { return cxtp.MoveMode(cfg.Mode) == cxtp.ModeStrict }

func (g userspace) Install(_ context.Context, id cxtp.SessionID, s *ipsecctx.Session, dynamic []ipsecctx.Dynamic) error {
	return g.Gateway.Install(id, s, dynamic)
}

// Steer has nothing to do: inner packets come over the inside wire.
func (userspace) Steer(cxtp.Steer) error { return nil }

// Notes has nothing to say.
func (userspace) Notes() []string { return nil }

// Stop has nothing to do: Run closes the wires.
func (userspace) Stop() error { return nil }

func (g userspace) Counters() map[string]uint64 {
	st := g.Stats()
	return map[string]uint64{
		"esp_sent": st.Out.Sent, "esp_received": st.In.Received,
		"policy_drops": st.Stray.PolicyDrops, "unknown_spi": st.Stray.UnknownSPI,
	}
}
