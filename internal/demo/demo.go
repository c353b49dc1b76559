package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/transport/testcert"
)

// demo is everything that takes part.
type demo struct {
	opts     Options
	program  string // this one
	folder   string
	place    *place
	gateways [2]*gateway
	tap      *tap
	host     *host
	routers  *wire // nil where nothing gets lost
	agents   *wire
	up, down *flow

	// The node, in its present session and in those before.
	espAt, agentAt netip.AddrPort
	ports          reserved // which these are, while there is no node
	keys           *association
	node           *node
	sessions       []cxtp.SessionID

	tasks sync.WaitGroup
	fail  context.CancelCauseFunc

	mu     sync.Mutex
	events []event // of node and host; the gateways keep their own
}

// setUp makes the folder, the sockets and the files, and starts the gateways.
// What it made is undone by tearDown, whatever it returns.
func (d *demo) setUp(ctx context.Context) error {
	var err error
	if d.program, err = os.Executable(); err != nil {
		return fmt.Errorf("failed to find this program to start it again as a gateway: %w", err)
	}
	// Short, because the path of a Unix socket is: 104 octets on some systems.
	if d.folder, err = os.MkdirTemp("", "cxtp-"); err != nil {
		return fmt.Errorf("failed to make a temporary folder: %w", err)
	}
	d.place = newPlace(d.opts.IPv6, d.opts.Port)
	d.up, d.down = newFlow(), newFlow()
	var ports reserved
	defer ports.release()
	for i, name := range gatewayNames {
		g := &gateway{Name: name, Router: d.place.routers[i], folder: d.folder}
		d.gateways[i] = g
		for _, link := range []*netip.AddrPort{&g.Links.Transport, &g.Links.Node, &g.Links.Outside, &g.Links.Inside} {
			if *link, err = ports.endpoint(d.place); err != nil {
				return err
			}
		}
	}
	for _, at := range []*netip.AddrPort{&d.espAt, &d.agentAt} {
		if *at, err = d.ports.endpoint(d.place); err != nil {
			return err
		}
	}
	for _, step := range []func() error{d.makeTap, d.makeWires, d.makeHost, d.configure} {
		if err := step(); err != nil {
			return err
		}
	}
	ports.release()
	for _, g := range d.gateways {
		if err := g.start(d.program, "--break", string(d.opts.Break), "--clear", localAddr(d.tap.face).String()); err != nil {
			return err
		}
	}
	for _, g := range d.gateways {
		if err := g.process.waitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) makeTap() error {
	t := &tap{up: d.up, node: d.espAt}
	d.tap = t
	var err error
	for i := range t.sides {
		t.gateways[i] = d.gateways[i].Links.Outside
		if t.sides[i], err = d.place.listen(); err != nil {
			return err
		}
	}
	t.face, err = d.place.listen()
	return err
}

// makeWires says where the gateways are found: behind wires that lose datagrams,
// where some have to get lost.
func (d *demo) makeWires() (err error) {
	a, b := d.gateways[0], d.gateways[1]
	for _, g := range d.gateways {
		g.Found = g.Links
	}
	if d.opts.Loss == 0 {
		return nil
	}
	d.routers, err = routerWire(d.place, [2]netip.AddrPort{a.Links.Transport, b.Links.Transport})
	if err != nil {
		return err
	}
	d.agents, err = agentWire(d.place, [2]netip.AddrPort{a.Links.Node, b.Links.Node}, d.agentAt)
	if err != nil {
		return err
	}
	d.routers.lose(d.opts.Loss, d.opts.Seed)
	d.agents.lose(d.opts.Loss, d.opts.Seed+1)
	for i, g := range d.gateways {
		g.Found.Transport, g.Found.Node = d.routers.at(i), d.agents.at(i)
	}
	return nil
}

func (d *demo) makeHost() error {
	conn, err := d.place.listen()
	if err != nil {
		return err
	}
	d.host = &host{conn: conn, inner: d.place.host, up: d.up, down: d.down}
	for i, g := range d.gateways {
		d.host.insides[i] = g.Links.Inside
	}
	d.host.steered = func(gateway int, at time.Time) {
		d.saw(event{at: at, where: laneHost, text: "route to " + d.gateways[gateway].Name})
	}
	d.host.steering, err = net.Listen("unix", d.hostSocket())
	if err != nil {
		return fmt.Errorf("failed to open the host's control socket: %w", err)
	}
	return nil
}

func (d *demo) hostSocket() string { return filepath.Join(d.folder, "host.sock") }

// configure writes the gateways' files. Their certificates are from one
// throw-away authority, which both trust; sg2's is from another one where that
// is to be shown.
func (d *demo) configure() error {
	trusted, err := testcert.New()
	if err != nil {
		return err
	}
	issuer := trusted
	for i, g := range d.gateways {
		if i == 1 && d.opts.Break == BreakCertificate {
			if issuer, err = testcert.New(); err != nil {
				return err
			}
		}
		cert, err := issuer.Issue(g.Identity())
		if err != nil {
			return err
		}
		err = g.configure(settings{
			Peer: d.gateways[1-i], NextHop: localAddr(d.host.conn),
			Hook: []string{d.program, steerRole, "--socket", d.hostSocket()},
			Node: nodeName, Inner: d.place.nodes, Timers: d.opts.timers(),
		}, cert, trusted.CertPEM())
		if err != nil {
			return err
		}
	}
	return nil
}

// tearDown stops the gateways and leaves nothing behind.
func (d *demo) tearDown() error {
	var errs []error
	for _, g := range d.gateways {
		if g != nil && g.process != nil {
			errs = append(errs, g.process.stop())
		}
	}
	if d.tap != nil {
		d.tap.close()
	}
	if d.host != nil {
		d.host.close()
	}
	for _, w := range []*wire{d.routers, d.agents} {
		if w != nil {
			w.close()
		}
	}
	d.ports.release()
	if d.folder != "" {
		errs = append(errs, os.RemoveAll(d.folder))
	}
	return errors.Join(errs...)
}

// attempts is how often free ports are looked for: somebody else may take one
// before the gateway that it was found for opens it.
const attempts = 3

// Run shows the demo and returns what happened. The error says why it could not
// be shown, or not to its end; a broken law is no error but in the report.
func Run(ctx context.Context, opts Options) (*Report, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		d := &demo{opts: opts}
		err := d.setUp(ctx)
		if err != nil {
			err = errors.Join(err, d.tearDown())
			if portTaken(err) && opts.Port == 0 && attempt < attempts {
				continue
			}
			return nil, err
		}
		report, err := d.show(ctx)
		return report, errors.Join(err, d.tearDown())
	}
}

// show runs everybody, and the moves.
func (d *demo) show(ctx context.Context) (*Report, error) {
	ctx, d.fail = context.WithCancelCause(ctx)
	defer d.tasks.Wait()
	defer d.fail(nil)
	for _, g := range d.gateways {
		d.watch(ctx, g.process)
	}
	d.tasks.Go(func() { d.tap.run(ctx) })
	d.tasks.Go(func() { d.host.run(ctx) })
	for _, w := range []*wire{d.routers, d.agents} {
		if w != nil {
			d.tasks.Go(func() { w.run(ctx) })
		}
	}
	report := &Report{Break: d.opts.Break, IPv6: d.opts.IPv6, Rate: d.opts.Rate, Loss: d.opts.Loss, Seed: d.opts.Seed}
	d.opts.announce()
	err := d.play(ctx, report)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	report.conclude(d, err)
	return report, err
}

// play makes the moves.
func (d *demo) play(ctx context.Context, report *Report) error {
	if len(d.opts.Crash) > 0 {
		return d.crashes(ctx, report)
	}
	return d.serve(ctx, 0, d.opts.Moves, func(ctx context.Context) error {
		err := d.traffic(ctx, func() error { return d.moves(ctx, report) })
		d.up.drained(ctx, 0, d.up.sent())
		d.down.drained(ctx, 0, d.down.sent())
		return err
	})
}

// watch ends the demo when a gateway ends that should not.
func (d *demo) watch(ctx context.Context, p *process) {
	d.tasks.Go(func() {
		select {
		case <-p.ended:
			if !p.doomed.Load() {
				d.fail(p.failure())
			}
		case <-ctx.Done():
		}
	})
}

// gatewayAt names the gateway with an endpoint.
func (d *demo) gatewayAt(a netip.AddrPort) string {
	for _, g := range d.gateways {
		if a == g.Links.Outside || a == g.Found.Node {
			return g.Name
		}
	}
	return a.String()
}

// saw remembers something that the demo saw happen.
func (d *demo) saw(e event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// settle waits for a condition that comes from outside, and asks for it again
// and again. It gives up, without an error, after limit.
func settle(ctx context.Context, limit time.Duration, done func() (bool, error)) (bool, error) {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return ok, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-timeout.C:
			return false, nil
		case <-poll.C:
		}
	}
}

const pollInterval = 2 * time.Millisecond
