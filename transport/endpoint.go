package transport

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxReported bounds how many refused remotes are remembered in order to report
// each once. Beyond it, they are only counted.
const maxReported = 1024

// Endpoint exchanges messages with the configured peers over one socket.
// Its methods may be called by several goroutines.
type Endpoint struct {
	config  Config
	carrier carrier
	peers   []*peer
	byName  map[string]*peer

	closing   atomic.Bool
	closeOnce sync.Once
	ctx       context.Context // of dials and handshakes
	cancel    context.CancelFunc

	mu       sync.Mutex // guards what follows
	closed   bool
	wg       sync.WaitGroup
	refused  uint64
	reported map[refusal]bool
}

// refusal is what makes a refused remote the same as one that was reported.
type refusal struct {
	host     netip.Addr
	identity string
}

// Listen opens the socket, accepts the configured peers and dials them.
func Listen(config Config) (*Endpoint, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("failed to configure transport: %w", err)
	}
	e := &Endpoint{config: config, byName: map[string]*peer{}, reported: map[refusal]bool{}}
	for _, c := range config.Peers {
		p := newPeer(e, c)
		e.peers = append(e.peers, p)
		e.byName[p.Name] = p
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if config.Carrier == KernelSCTP {
		e.carrier, err = listenKernel(e)
	} else {
		e.carrier, err = listenDTLS(e)
	}
	if err != nil {
		e.cancel()
		return nil, fmt.Errorf("failed to listen for peers: %w", err)
	}
	e.start(e.carrier.run)
	for _, p := range e.peers {
		e.start(func() { p.keepUp(e.ctx) })
	}
	return e, nil
}

// Send hands a message of 1 to MaxMessage octets to the named peer. It never
// waits for the network. While the peer is down, or slow, the message waits in
// the peer's queue; one that still waits when it expires is dropped and counted.
// A zero time never expires. The message is copied.
//
// An error says that the message was not taken: ErrUnknownPeer, ErrQueueFull,
// ErrMessageSize or ErrClosed. None says that it was taken, not that it
// arrives: it is lost if the association fails before the peer has it.
func (e *Endpoint) Send(peer string, msg []byte, expires time.Time) error {
	p := e.byName[peer]
	switch {
	case p == nil:
		return fmt.Errorf("%w %q", ErrUnknownPeer, peer)
	case len(msg) == 0 || len(msg) > MaxMessage:
		return fmt.Errorf("%w: %d octets, a peer takes 1 to %d", ErrMessageSize, len(msg), MaxMessage)
	}
	return p.send(msg, expires)
}

// LocalAddr is the address that peers dial.
func (e *Endpoint) LocalAddr() netip.AddrPort { return e.carrier.localAddr() }

// Stats is a snapshot of the counters.
func (e *Endpoint) Stats() Stats {
	e.mu.Lock()
	stats := Stats{Refused: e.refused}
	e.mu.Unlock()
	e.carrier.count(&stats)
	for _, p := range e.peers {
		stats.Peers = append(stats.Peers, p.snapshot())
	}
	return stats
}

// Close delivers what is queued to the peers that are up, for at most
// Config.CloseTimeout, ends the associations, closes the socket and waits for
// every goroutine. Handler and Events are not called after it returns.
func (e *Endpoint) Close() error {
	e.closeOnce.Do(e.close)
	return nil
}

func (e *Endpoint) close() {
	e.closing.Store(true)
	e.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), e.config.CloseTimeout)
	defer cancel()
	var peers sync.WaitGroup
	for _, p := range e.peers {
		peers.Go(func() { p.close(ctx) })
	}
	peers.Wait()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	_ = e.carrier.close()
	e.wg.Wait()
}

// start runs f in a goroutine that Close waits for; false after Close.
func (e *Endpoint) start(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.wg.Go(f)
	return true
}

// adopt makes an association its peer's, or ends it if the endpoint closes.
func (e *Endpoint) adopt(p *peer, l link) error {
	s := newSession(p, l)
	err := p.up(s)
	if err != nil {
		s.finish(err)
	}
	return err
}

// refuse counts a remote that did not pass authentication and reports it if it
// is new. The peer is the one that was dialed, or nil.
func (e *Endpoint) refuse(remote netip.AddrPort, p *peer, err error) {
	event := PeerRefused{Remote: remote, Reason: err}
	var wrong *errIdentity
	if errors.As(err, &wrong) && len(wrong.names) > 0 {
		event.Identity = wrong.names[0]
	}
	e.mu.Lock()
	e.refused++
	key := refusal{remote.Addr(), event.Identity}
	report := !e.reported[key] && len(e.reported) < maxReported
	if report {
		e.reported[key] = true
	}
	e.mu.Unlock()
	if p != nil {
		p.mu.Lock()
		p.stats.Refused++
		p.mu.Unlock()
	}
	if report {
		e.config.Events(event)
	}
}
