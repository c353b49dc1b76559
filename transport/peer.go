package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// peer is a configured peer: what waits for it, its association if there is one,
// and its counters.
type peer struct {
	Peer
	endpoint *Endpoint

	changing sync.Mutex // held over a change of session and the event that tells it
	handling sync.Mutex // held over a call of the handler
	wake     chan struct{}
	pause    atomic.Int64 // before the next dial, in nanoseconds; keepUp's

	mu      sync.Mutex // guards what follows; never held over a callback
	session *session
	queue   queue
	dialing bool
	stats   PeerStats

	received, receivedOctets atomic.Uint64
}

func newPeer(e *Endpoint, p Peer) *peer {
	return &peer{
		Peer:     p,
		endpoint: e,
		wake:     make(chan struct{}, 1),
		queue:    queue{limit: e.config.QueueBytes},
	}
}

// send gives a message to SCTP at once if nothing waits before it, else queues
// it.
func (p *peer) send(msg []byte, expires time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.endpoint.closing.Load() {
		return ErrClosed
	}
	if !expires.IsZero() && !time.Now().Before(expires) {
		p.stats.Expired++
		return nil
	}
	if p.session != nil && p.queue.empty() && p.writeLocked(msg, expires) {
		return nil
	}
	expired, err := p.queue.push(msg, expires, time.Now())
	p.stats.Expired += uint64(expired)
	return err
}

// drain gives SCTP what waits, as far as it has room, and drops what is stale.
func (p *peer) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for p.session != nil && !p.queue.empty() {
		m := p.queue.front()
		if m.stale(now) {
			p.stats.Expired++
		} else if !p.writeLocked(m.data, m.expires) {
			break
		}
		p.queue.pop()
	}
	p.stats.Expired += uint64(p.queue.expire(now))
}

func (p *peer) writeLocked(msg []byte, expires time.Time) bool {
	if !p.session.write(msg, expires) {
		return false
	}
	p.stats.MessagesSent++
	p.stats.OctetsSent += uint64(len(msg))
	return true
}

func (p *peer) handle(msg []byte) {
	p.received.Add(1)
	p.receivedOctets.Add(uint64(len(msg)))
	p.handling.Lock()
	defer p.handling.Unlock()
	p.endpoint.config.Handler(p.Name, msg)
}

// up makes a new session the peer's one and starts it. An older session is
// ended: the newest is the one that the peer has for certain.
func (p *peer) up(s *session) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.mu.Lock()
	if p.endpoint.closing.Load() {
		p.mu.Unlock()
		return ErrClosed
	}
	old := p.session
	p.session = s
	p.stats.Handshakes++
	p.stats.LastError = ""
	p.mu.Unlock()
	if old != nil {
		p.endpoint.config.Events(PeerDown{p.Name, old.remote(), ErrPeerReplaced})
		p.endpoint.start(func() { old.finish(ErrPeerReplaced) })
	}
	p.endpoint.config.Events(PeerUp{p.Name, s.remote()})
	p.endpoint.start(s.receive)
	p.endpoint.start(s.tend)
	p.drain()
	return nil
}

// down reports the end of a session, unless its end was reported already.
func (p *peer) down(s *session, reason error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.mu.Lock()
	current := p.session == s
	if current {
		p.session = nil
	}
	p.mu.Unlock()
	if current {
		p.endpoint.config.Events(PeerDown{p.Name, s.remote(), reason})
	}
}

// redial has the peer dialed without a pause.
func (p *peer) redial() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *peer) current() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

// close delivers what waits until the context ends, and wipes the rest.
func (p *peer) close(ctx context.Context) {
	if s := p.current(); s != nil {
		p.flush(ctx, s)
		s.shutdown(ctx)
		s.finish(ErrClosed)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.wipe()
}

// flush waits until SCTP has taken the queue.
func (p *peer) flush(ctx context.Context, s *session) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		p.drain()
		p.mu.Lock()
		empty := p.queue.empty()
		p.mu.Unlock()
		if empty {
			return
		}
		select {
		case <-ticker.C:
		case <-s.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (p *peer) snapshot() PeerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := p.stats
	stats.Name = p.Name
	stats.MessagesReceived, stats.OctetsReceived = p.received.Load(), p.receivedOctets.Load()
	stats.QueueMessages, stats.QueueOctets = len(p.queue.items), p.queue.octets
	switch {
	case p.session != nil:
		stats.State, stats.Remote = Up, p.session.remote()
	case p.dialing:
		stats.State = Dialing
	}
	return stats
}
