// Package daemon is cxtpd: it wires the pure machine of package cxtp to a
// transport, a gateway, a journal, a steering hook and a control socket.
//
//	control socket --> server --+
//	other routers --> transport-+--> engine --> cxtp.Router (decides)
//	nodes ----------> transport-+       |
//	                                    +--> transport   messages
//	                                    +--> features    stage, freeze, activate ...
//	                                    +--> journal     durable decisions
//	                                    +--> hook        steering
//
// What happens is decided in package cxtp and nowhere else; here it is carried
// out, and its result is handed back.
package daemon

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/internal/hook"
	"github.com/cxtp/cxtp/internal/journal"
	"github.com/cxtp/cxtp/internal/systemd"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/transport"
	"golang.org/x/sync/errgroup"
)

// Version is what status reports.
const Version = "0.1.0-dev"

// traceEvents is how many of the machine's steps are kept for ladders.
const traceEvents = 4096

// Options are what a program that embeds the daemon may set.
type Options struct {
	Log   *slog.Logger
	Ready func() // called once everything listens
	// WrapFeature stands between the engine and the features: for tests and
	// demonstrations that remove a guard.
	WrapFeature func(features.Feature) features.Feature
	// Bypass makes the gateway send unprotected, to this outside address, what
	// no policy covers. Dangerous: it is what the demo's missing guard is.
	Bypass netip.AddrPort
	// Trace is told each step of the machine right before it is taken: an input
	// before the machine gets it, an action before it is begun. It may end the
	// process there, for demonstrations, and must not block.
	Trace func(control.TraceEvent)
	// NoJournal keeps no journal: for benchmarks only.
	NoJournal bool
}

// daemon is the wiring of one run.
type daemon struct {
	cfg       *config.Config
	log       *slog.Logger
	started   time.Time
	journal   *journal.Journal
	endpoint  *transport.Endpoint
	nodes     *transport.NodeConn
	manager   *systemd.Manager // of this process
	gateway   gateway
	ike       ikeDaemon // nil = none
	ipsec     *ipsecctx.Feature
	multicast *mld.Feature
	door      door
	engine    *engine
	malformed uint64          // messages that did not parse; the engine's
	sequences *cxtp.Sequences // of our own requests; the engine's
}

// Run runs a gateway until ctx ends, which is no error, or something breaks.
func Run(ctx context.Context, cfg *config.Config, opts Options) error {
	return newDaemon(cfg, opts).run(ctx, opts)
}

func newDaemon(cfg *config.Config, opts Options) *daemon {
	d := &daemon{cfg: cfg, log: opts.Log, started: time.Now(), door: door{path: filepath.Join(cfg.StateDir, "drained")}, sequences: cxtp.NewSequences(mathrand.Uint32)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

func (d *daemon) run(ctx context.Context, opts Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	listener, err := listenControl(d.cfg.Control)
	if err != nil {
		return err
	}
	defer listener.Close()
	records, err := d.openJournal(opts)
	if err != nil {
		return err
	}
	defer d.journal.Close()
	if d.manager, err = systemd.Open(); err != nil {
		return err
	}
	defer d.manager.Close()
	if err := d.openGateway(ctx, opts); err != nil {
		return err
	}
	defer d.gateway.Stop()
	if d.cfg.Gateway.Kind == config.Strongswan {
		if d.ike, err = d.openIKE(); err != nil {
			return err
		}
		defer d.ike.Stop()
	}
	if err := d.startEngine(ctx, cancel, opts, records); err != nil {
		return err
	}
	defer d.engine.stop()
	d.shutIfDrained()
	if err := d.listen(); err != nil {
		return err
	}
	defer d.nodes.Close()
	defer d.endpoint.Close()

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.gateway.Run(gctx) })
	if d.ike != nil {
		g.Go(func() error { return d.ike.Run(gctx) })
	}
	g.Go(func() error { return (&server{d}).serve(gctx, listener) })
	if err := d.manager.Ready(); err != nil {
		d.log.Warn("the service manager does not know that the daemon is ready", "error", err)
	}
	if opts.Ready != nil {
		opts.Ready()
	}
	err = g.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

func (d *daemon) openJournal(opts Options) ([]cxtp.Record, error) {
	if opts.NoJournal {
		d.journal = journal.None()
		return nil, nil
	}
	j, records, err := journal.Open(d.cfg.StateDir, journal.Options{
		Retention: d.cfg.Timers.Remember.Duration,
		Warn:      func(err error) { d.log.Warn("the journal stays as it is for now", "error", err) },
	})
	if err != nil {
		return nil, fmt.Errorf("failed to open the journal: %w", err)
	}
	d.journal = j
	return records, nil
}

// announced is the address that nodes are told, by family.
func (d *daemon) announced(remote netip.Addr) (netip.Addr, uint16) {
	v4, v6 := d.cfg.MachineGateway()
	if remote.Is4() {
		return v4.Addr(), v4.Port()
	}
	return v6.Addr(), v6.Port()
}

// startEngine builds the machine from the journal and makes what follows from
// the restart durable before anything else happens.
func (d *daemon) startEngine(ctx context.Context, fail context.CancelCauseFunc, opts Options, records []cxtp.Record) error {
	set, err := d.features()
	if err != nil {
		return err
	}
	var feature features.Feature = set
	if opts.WrapFeature != nil {
		feature = opts.WrapFeature(feature)
	}
	machine := cxtp.Config{
		Self: cxtp.RouterID(d.cfg.Name), Addrs: d.cfg.Address, Incarnation: d.journal.Incarnation(),
		Peers: d.cfg.MachinePeers(), Timers: d.cfg.MachineTimers(), Mode: cxtp.MoveMode(d.cfg.Mode),
		Headroom: headroom, Inspect: set.Claims, Copyable: set.Copyable(), ReassignSPIs: d.cfg.Gateway.SPIConflict == config.Reassign,
		Standby: cxtp.RouterID(d.cfg.Standby.Peer), StandbyRate: d.cfg.Standby.Rate,
		Attempts: d.cfg.Limits.Attempts, RequestRate: d.cfg.Limits.RequestRate, RequestTotal: d.cfg.Limits.RequestTotal, WrongTokens: d.cfg.Limits.WrongTokens,
		Rand: rand.Reader,
	}
	machine.Gateway4, machine.Gateway6 = d.cfg.MachineGateway()
	held, err := set.Held(ctx)
	if err != nil {
		return fmt.Errorf("failed to read what the gateway holds: %w", err)
	}
	router, added, err := cxtp.NewRouter(machine, records, held)
	if err != nil {
		return err
	}
	for _, r := range added {
		durable := make(chan error, 1)
		d.journal.Append(r, func(err error) { durable <- err })
		if err := <-durable; err != nil {
			return fmt.Errorf("failed to write the journal: %w", err)
		}
	}
	d.engine = newEngine(ctx, d.log, router, feature)
	d.engine.trace.observe = opts.Trace
	d.engine.persist = d.journal.Append
	d.engine.steer = d.steer
	d.engine.send = func(to cxtp.RouterID, msg []byte, expires time.Time) error {
		return d.endpoint.Send(string(to), msg, expires)
	}
	d.engine.toNode = func(to cxtp.SendNode, msg []byte) error { return d.nodes.SendFrom(to.From, to.To, msg) }
	d.engine.fatal = func(err error) {
		fail(fmt.Errorf("failed to write the journal, and nothing may be decided without it: %w", err))
	}
	return nil
}

// features are what a session may consist of here, each behind those that it builds
// on.
func (d *daemon) features() (*features.Set, error) {
	d.ipsec = ipsecctx.NewFeature(d.gateway, ipsecctx.Options{LocalEndpoint: d.announced, Renegotiate: d.cfg.Gateway.SPIConflict == config.Renegotiate})
	all := []features.Feature{d.ipsec}
	if d.ike != nil {
		all = append(all, ikectx.NewFeature(d.ike, ikectx.Options{LocalEndpoint: d.announced}))
	}
	links, err := openMulticast(&d.cfg.Multicast)
	if err != nil {
		return nil, err
	}
	d.multicast = mld.NewFeature(links, mld.Options{Prefix: d.cfg.LinkOf})
	return features.NewSet(append(all, d.multicast)...)
}

// headroom is how far above its present sequence number a ceiling lets an
// outbound SA go: about a minute at 17,000 packets a second.
const headroom = 1 << 20

// listen opens the wires to routers and nodes, last: a message may come at once.
func (d *daemon) listen() error {
	c, err := d.transport()
	if err != nil {
		return err
	}
	// Messages wait until both wires are open: the machine may answer on either.
	open := make(chan struct{})
	defer close(open)
	c.Handler = func(peer string, msg []byte) { <-open; d.fromRouter(peer, msg) }
	if d.endpoint, err = transport.Listen(c); err != nil {
		return fmt.Errorf("transport.listen: %w", err)
	}
	d.nodes, err = transport.ListenNodes(transport.NodeConfig{
		Listen: d.cfg.Node.Listen.String(), ICMP: d.cfg.Node.ICMP,
		Handler: func(m transport.NodeMessage) { <-open; d.fromNode(m) },
	})
	if err != nil {
		return errors.Join(fmt.Errorf("[node]: %w", err), d.endpoint.Close())
	}
	return nil
}

// transport is what the association with other routers is made of.
func (d *daemon) transport() (transport.Config, error) {
	t := &d.cfg.Transport
	c := transport.Config{Addr: t.Listen.String(), Events: d.peerEvent}
	for _, p := range d.cfg.Peers {
		c.Peers = append(c.Peers, transport.Peer{Name: p.Name, Addr: p.Endpoint, Identity: p.Identity})
	}
	if t.Carrier == config.SCTP {
		c.Carrier, c.InsecureSCTP = transport.KernelSCTP, t.InsecureSCTP
		if t.InsecureSCTP {
			d.log.Warn("peers need no IPsec: whoever sees the path between them reads every key that is moved, and whoever can send from a peer's address can take sessions")
		}
		return c, nil
	}
	var err error
	if c.Certificate, c.Roots, err = credentials(t); err != nil {
		return c, err
	}
	if t.InsecureKeyLog != "" {
		log, err := os.OpenFile(t.InsecureKeyLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return c, fmt.Errorf("failed to open transport.insecure_key_log: %w", err)
		}
		d.log.Warn("DTLS secrets are written to a file: whoever reads it reads every key that is moved", "file", t.InsecureKeyLog)
		c.KeyLog, c.InsecureKeyLog = log, true
	}
	return c, nil
}

// credentials reads what this router proves its name with, and whom it believes.
func credentials(t *config.Transport) (tls.Certificate, *x509.CertPool, error) {
	own, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return own, nil, fmt.Errorf("failed to load transport.certificate and transport.key: %w", err)
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return own, nil, fmt.Errorf("failed to read transport.ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return own, nil, fmt.Errorf("failed to read transport.ca %s: no PEM certificate in it", t.CA)
	}
	return own, roots, nil
}

// Check reads what a configuration names and a start needs: the certificates. It opens
// nothing and changes nothing.
func Check(cfg *config.Config) error {
	if cfg.Transport.Carrier != config.DTLS {
		return nil
	}
	_, _, err := credentials(&cfg.Transport)
	return err
}

func (d *daemon) fromRouter(peer string, msg []byte) {
	m, err := cxtp.Decode(msg)
	if err != nil {
		d.engine.run(func() { d.malformed++ })
		d.log.Warn("message does not parse", "peer", peer, "error", err)
		return
	}
	d.engine.input(cxtp.FromRouter{From: cxtp.RouterID(peer), Message: m})
}

// fromNode takes what anybody may send: what does not parse is counted and not
// logged, because a flood of it must cost nothing.
func (d *daemon) fromNode(from transport.NodeMessage) {
	m, err := cxtp.Decode(from.Octets)
	if err != nil {
		d.engine.run(func() { d.malformed++ })
		return
	}
	d.engine.input(cxtp.FromNode{From: from.From, At: from.At, Message: m})
}

func (d *daemon) peerEvent(e transport.Event) {
	switch e := e.(type) {
	case transport.PeerUp:
		d.log.Info("peer is up", "peer", e.Peer, "remote", e.Remote)
	case transport.PeerDown:
		d.log.Warn("peer is down", "peer", e.Peer, "remote", e.Remote, "reason", e.Reason)
	case transport.PeerRefused:
		d.log.Warn("refused a router", "remote", e.Remote, "identity", e.Identity, "reason", e.Reason)
	}
}

// steer routes on this machine, and then runs the operator's hook for the others,
// while an IKE daemon tells the node where its gateway is.
func (d *daemon) steer(ctx context.Context, s cxtp.Steer) error {
	if err := d.gateway.Steer(s); err != nil {
		return err
	}
	var ways errgroup.Group
	ways.Go(func() error {
		return hook.Run(ctx, d.cfg.Steering.Hook, d.cfg.Steering.Timeout.Duration,
			hook.Environment(s, cxtp.RouterID(d.cfg.Name), d.cfg.Gateway.Inside))
	})
	if d.ike != nil {
		ways.Go(func() error { return d.ike.Follow(ctx, s.Session) })
	}
	return ways.Wait()
}

// status collects what an operator asks for first.
func (d *daemon) status() control.Status {
	st := control.Status{Router: cxtp.RouterID(d.cfg.Name), Version: Version, Started: d.started, Counters: map[string]uint64{}}
	d.engine.call(func() {
		st.Sessions = d.engine.router.Len()
		st.Counters["malformed_messages"] = d.malformed
		for why, n := range d.engine.router.Dropped() {
			st.Counters["dropped_"+why.String()] = n
		}
	})
	js := d.journal.Stats()
	st.Counters["journal_records"], st.Counters["journal_syncs"], st.Counters["journal_compactions"] = js.Appended, js.Syncs, js.Compactions
	ts := d.endpoint.Stats()
	st.Counters["refused_peers"], st.Counters["discarded_datagrams"] = ts.Refused, ts.Discarded
	st.Counters["discarded_icmp"] = d.nodes.DiscardedICMP()
	for i, p := range ts.Peers {
		st.Peers = append(st.Peers, control.PeerStatus{Peer: cxtp.RouterID(p.Name), Endpoint: d.cfg.Peers[i].Endpoint,
			Up: p.Remote.IsValid(), Sent: p.MessagesSent, Received: p.MessagesReceived, Error: p.LastError})
	}
	maps.Copy(st.Counters, d.gateway.Counters())
	st.Notes, st.Drained = d.gateway.Notes(), d.door.since()
	if d.ike != nil {
		ike := d.ike.View()
		st.IKE = &ike
	}
	return st
}
