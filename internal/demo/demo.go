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
	"github.com/cxtp/cxtp/internal/agent"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/transport/testcert"
)

// demo is everything that takes part.
type demo struct {
	opts     Options
	program  string // this one
	folder   string
	place    *place
	keys     *association
	gateways [2]*gateway
	tap      *tap
	node     *node
	host     *host
	up, down *flow

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
	d.keys = newAssociation(d.opts.Moves)
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
	if err := d.makeTap(); err != nil {
		return err
	}
	if err := d.makeHost(); err != nil {
		return err
	}
	if err := d.makeNode(); err != nil {
		return err
	}
	if err := d.configure(); err != nil {
		return err
	}
	ports.release()
	return d.start(ctx)
}

func (d *demo) makeTap() error {
	t := &tap{up: d.up}
	d.tap = t
	var err error
	for i := range t.sides {
		t.gateways[i] = d.gateways[i].Links.Outside
		if t.sides[i], err = d.place.listen(); err != nil {
			return err
		}
	}
	if t.face, err = d.place.listen(); err != nil {
		return err
	}
	up, down := d.keys.up.sa(d.place, ipsecctx.Inbound, t.gateways[0], localAddr(t.face)), d.keys.down.sa(d.place, ipsecctx.Inbound, t.gateways[0], localAddr(t.face))
	t.witness, err = newWitness(&up, &down, firstSequence)
	return err
}

func (d *demo) makeHost() error {
	conn, err := d.place.listen()
	if err != nil {
		return err
	}
	d.host = &host{conn: conn, inner: d.place.host, peer: d.place.node, up: d.up, down: d.down}
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

func (d *demo) makeNode() error {
	outside, err := d.place.listen()
	if err != nil {
		return err
	}
	d.tap.node = localAddr(outside)
	var port reserved
	listen, err := port.endpoint(d.place)
	if err != nil {
		return err
	}
	port.release()
	side := localAddr(d.tap.sides[0])
	session, dynamic := d.keys.atNode(d.place, localAddr(outside), side)
	routers := map[netip.Addr]netip.AddrPort{}
	for _, g := range d.gateways {
		routers[g.Router] = g.Links.Node
	}
	d.node, err = newNode(nodeConfig{
		outside: outside, session: session, dynamic: dynamic,
		agent: agent.Config{
			Listen: listen.String(), Routers: routers, Trace: d.sawAgent,
			Agent: cxtp.AgentConfig{
				Previous: d.place.previous, Session: d.keys.id,
				Node: cxtp.NodeState{Tokens: d.keys.tokens, UpdateKey: d.keys.updateKey},
			},
		},
		inner: d.place.node, peer: d.place.host, up: d.up, down: d.down, tap: d.tap,
		followed: func(gateway netip.AddrPort, at time.Time) {
			d.saw(event{at: at, where: laneNode, text: "sends to " + d.gatewayAt(gateway)})
		},
	})
	return err
}

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
			Node: nodeName, Inner: d.place.innerPrefix(),
		}, cert, trusted.CertPEM())
		if err != nil {
			return err
		}
	}
	return nil
}

// start starts the gateways and waits until they listen.
func (d *demo) start(ctx context.Context) error {
	for _, g := range d.gateways {
		var err error
		g.process, err = startProcess(g.Name, d.program, gatewayRole, "--config", g.file(),
			"--break", string(d.opts.Break), "--clear", localAddr(d.tap.face).String())
		if err != nil {
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

// tearDown stops the gateways and leaves nothing behind.
func (d *demo) tearDown() error {
	var errs []error
	for _, g := range d.gateways {
		if g != nil && g.process != nil {
			errs = append(errs, g.process.stop())
			g.control.Close()
		}
	}
	if d.tap != nil {
		d.tap.close()
	}
	if d.host != nil {
		d.host.close()
	}
	if d.node != nil {
		d.node.close()
	}
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
	ctx, cancel := context.WithCancelCause(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel(nil)
	for _, g := range d.gateways {
		go func() {
			select {
			case <-g.process.ended:
				cancel(g.process.failure())
			case <-ctx.Done():
			}
		}()
	}
	for _, run := range []func(context.Context){d.tap.run, d.host.run, d.node.run} {
		tasks.Go(func() { run(ctx) })
	}
	agentAt := d.node.agent.LocalAddr()
	session := d.keys.installation(d.place, d.gateways[0].Links.Outside, localAddr(d.tap.face), agentAt)
	if err := d.gateways[0].control.AddSession(ctx, session); err != nil {
		return nil, fmt.Errorf("failed to install the session at %s: %w", d.gateways[0].Name, err)
	}
	report, err := d.traffic(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return report, err
}

// traffic runs inner packets both ways while the session moves.
func (d *demo) traffic(ctx context.Context) (*Report, error) {
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var senders sync.WaitGroup
	defer senders.Wait()
	for _, send := range []func(){d.host.send, d.node.send} {
		senders.Go(func() { pace(sending, d.opts.Rate, send) })
	}
	report := &Report{Break: d.opts.Break, IPv6: d.opts.IPv6, Rate: d.opts.Rate}
	err := d.moves(ctx, report)
	stop()
	senders.Wait()
	if ctx.Err() == nil {
		d.up.drained(ctx, 0, d.up.sent())
		d.down.drained(ctx, 0, d.down.sent())
	}
	report.conclude(d, err)
	return report, err
}

// gatewayAt names the gateway with an endpoint.
func (d *demo) gatewayAt(a netip.AddrPort) string {
	for _, g := range d.gateways {
		if l := g.Links; a == l.Outside || a == l.Node || a == l.Transport {
			return g.Name
		}
	}
	return a.String()
}

// saw remembers something that the node or the host did.
func (d *demo) saw(e event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// sawAgent is the node's agent telling what it sends.
func (d *demo) sawAgent(dir, what string, peer netip.AddrPort) {
	if dir == "send" {
		d.saw(event{at: time.Now(), where: laneNode, to: d.gatewayAt(peer), text: what})
	}
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
