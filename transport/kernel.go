package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cxtp/cxtp/transport/sctp"
)

// checkAgain is how often the IPsec policies are looked at while they are not known
// to have changed.
const checkAgain = 2 * time.Second

// kernelCarrier is the kernel's SCTP. A peer is who has its address and port, which
// IPsec sees to: see package sctp.
type kernelCarrier struct {
	endpoint *Endpoint
	socket   *sctp.Socket
	guard    *sctp.Guard // nil = InsecureSCTP
	local    netip.AddrPort
	peers    map[netip.AddrPort]*peer
	changed  chan struct{} // a policy has
	dialing  atomic.Int64
}

func listenKernel(e *Endpoint) (*kernelCarrier, error) {
	cfg := &e.config
	local, err := netip.ParseAddrPort(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("%q is no address and port such as 192.0.2.1:5091: %w", cfg.Addr, err)
	}
	c := &kernelCarrier{endpoint: e, peers: map[netip.AddrPort]*peer{}, changed: make(chan struct{}, 1)}
	for _, p := range e.peers {
		c.peers[netip.MustParseAddrPort(p.Addr)] = p
	}
	if !cfg.InsecureSCTP {
		if c.guard, err = sctp.OpenGuard(); err != nil {
			return nil, err
		}
	}
	c.socket, err = sctp.Listen(sctp.Config{
		Addr: local, RTOMax: rtoMax,
		// Longer than ours: it is tend that declares a peer dead.
		Patience: 2 * cfg.KeepaliveTimeout, Setup: cfg.HandshakeTimeout,
		SendBuffer: backlog, ReceiveBuffer: receiveBuffer,
	})
	if err != nil {
		c.closeGuard()
		return nil, err
	}
	c.local = c.socket.LocalAddr()
	return c, nil
}

func (c *kernelCarrier) localAddr() netip.AddrPort { return c.local }

func (c *kernelCarrier) count(stats *Stats) { stats.HalfOpen = int(c.dialing.Load()) }

func (c *kernelCarrier) close() error { return c.socket.Close() }

func (c *kernelCarrier) closeGuard() {
	if c.guard != nil {
		_ = c.guard.Close()
	}
}

// run implements carrier.
func (c *kernelCarrier) run() {
	if c.guard != nil {
		ctx, stop := context.WithCancel(context.Background())
		watched := make(chan struct{})
		go func() { defer close(watched); c.patrol(ctx) }()
		defer func() { stop(); <-watched; c.closeGuard() }()
	}
	for {
		a, err := c.socket.Accept()
		var refused *sctp.RefusedError
		if errors.As(err, &refused) {
			c.endpoint.refuse(refused.Remote, nil, err)
			continue
		}
		if err != nil {
			return
		}
		p := c.peers[a.Remote()]
		if p == nil {
			a.Abort()
			c.endpoint.refuse(a.Remote(), nil, errStranger)
			continue
		}
		if !c.endpoint.start(func() { _ = c.adopt(p, a) }) {
			a.Abort()
		}
	}
}

// errStranger says why somebody is refused who dials us.
var errStranger = errors.New("not the address and port of a configured peer")

// dial implements carrier. Nothing is sent to a peer that IPsec does not cover.
func (c *kernelCarrier) dial(ctx context.Context, p *peer) error {
	c.dialing.Add(1)
	defer c.dialing.Add(-1)
	remote := netip.MustParseAddrPort(p.Addr)
	if err := c.protected(ctx, p, remote); err != nil {
		return err
	}
	a, err := c.socket.Dial(ctx, remote)
	if errors.Is(err, sctp.ErrBusy) {
		return errBusy
	}
	if err != nil {
		return err
	}
	return c.adopt(p, a)
}

// protected refuses a peer that IPsec does not cover at this moment.
func (c *kernelCarrier) protected(ctx context.Context, p *peer, remote netip.AddrPort) error {
	if c.guard == nil {
		return nil
	}
	err := c.guard.Check(ctx, c.local, remote)
	if err != nil && ctx.Err() == nil {
		c.endpoint.refuse(remote, p, err)
	}
	return err
}

// adopt gives an association to its peer if IPsec covers it, now that its SAs are
// there as well.
func (c *kernelCarrier) adopt(p *peer, a *sctp.Association) error {
	ctx, cancel := context.WithTimeout(c.endpoint.ctx, c.endpoint.config.HandshakeTimeout)
	defer cancel()
	if err := c.protected(ctx, p, a.Remote()); err != nil {
		a.Abort()
		return err
	}
	return c.endpoint.adopt(p, &kernelLink{carrier: c, peer: p, association: a})
}

// patrol ends the associations that IPsec has ceased to cover.
func (c *kernelCarrier) patrol(ctx context.Context) {
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		// Without events, the clock tells.
		_ = c.guard.Watch(ctx, c.local.Addr(), func() {
			select {
			case c.changed <- struct{}{}:
			default:
			}
		})
	}()
	defer func() { <-watched }()
	pause := checkAgain
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
		case <-time.After(pause):
		}
		began := time.Now()
		for remote, p := range c.peers {
			if s := p.current(); s != nil && s.remote() == remote {
				if err := c.guard.Check(ctx, c.local, remote); err != nil && ctx.Err() == nil {
					s.finish(err)
				}
			}
		}
		// A long list of policies is read less often.
		pause = max(checkAgain, 20*time.Since(began))
	}
}

// kernelLink is an association of the kernel's.
type kernelLink struct {
	carrier     *kernelCarrier
	peer        *peer
	association *sctp.Association
	passedOn    atomic.Bool // the association is another link's now
}

func (l *kernelLink) remote() netip.AddrPort { return l.association.Remote() }

// read implements link. A peer that restarts takes the association along into its
// new life, where it is a new session's.
func (l *kernelLink) read() ([]byte, error) {
	msg, err := l.association.Read()
	if errors.Is(err, sctp.ErrRestarted) {
		l.passedOn.Store(true)
		if !l.carrier.endpoint.start(func() { _ = l.carrier.adopt(l.peer, l.association) }) {
			l.association.Abort()
		}
		err = fmt.Errorf("%w: %w", ErrPeerReplaced, err)
	}
	return msg, err
}

// write implements link. RFC 4067 section 3.1 has PR-SCTP end what is stale, which
// a message without an expiry never is.
func (l *kernelLink) write(msg []byte, expires time.Time) bool {
	var lifetime time.Duration
	if !expires.IsZero() {
		lifetime = max(time.Until(expires), time.Millisecond)
	}
	return l.association.Write(msg, lifetime)
}

func (l *kernelLink) room() <-chan struct{} { return l.association.Room() }

func (l *kernelLink) heard() uint64 { return l.association.Received() }

func (l *kernelLink) keepalive() { l.association.Heartbeat() }

func (l *kernelLink) shutdown(ctx context.Context) { _ = l.association.Shutdown(ctx) }

// end implements link.
func (l *kernelLink) end(reason error) {
	switch {
	case l.passedOn.Load():
	case errors.Is(reason, ErrClosed), errors.Is(reason, io.EOF):
		l.association.Close()
	default:
		l.association.Abort()
	}
}
