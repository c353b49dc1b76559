package transport

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of an association, whatever carries it.
const (
	// receiveBuffer bounds what an association holds for a slow handler, in
	// octets: SCTP's receive window.
	receiveBuffer = 1 << 20
	// backlog is how much SCTP may hold of what was sent and not acknowledged,
	// in octets; above it, messages wait in our queue, where they can expire.
	backlog = 256 << 10
	// rtoMax is SCTP's longest, and so its first, retransmission timeout: RFC
	// 4067's CT_MAX_TRANSFER_TIME, which section 3.1 wants for it.
	rtoMax = 200 * time.Millisecond
	// maxReceive is the largest message that a peer may send, in octets.
	maxReceive = 1 << 16
)

// session is one association with a peer, while it is the peer's.
type session struct {
	link
	peer  *peer
	began time.Time
	done  chan struct{}
	once  sync.Once // guards the end
}

func newSession(p *peer, l link) *session {
	return &session{link: l, peer: p, began: time.Now(), done: make(chan struct{})}
}

// receive hands messages to the handler until the association ends.
func (s *session) receive() {
	for {
		msg, err := s.read()
		if err != nil {
			s.finish(s.reason(err))
			return
		}
		s.peer.handle(msg)
	}
}

// reason turns a read error into the reason that PeerDown gives.
func (s *session) reason(err error) error {
	if s.peer.endpoint.closing.Load() {
		return ErrClosed
	}
	if errors.Is(err, ErrPeerReplaced) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrPeerLeft, err)
}

// tend feeds SCTP from the queue, sends keepalives and watches for silence, for
// which SCTP's own retransmission timer gives up late or never.
func (s *session) tend() {
	cfg := &s.peer.endpoint.config
	ticker := time.NewTicker(cfg.KeepaliveInterval)
	defer ticker.Stop()
	// Ticks are counted, not time: a ticker skips what it missed, so that a
	// process that was not scheduled for long does not blame the peer.
	allowed := int((cfg.KeepaliveTimeout + cfg.KeepaliveInterval - 1) / cfg.KeepaliveInterval)
	quiet, heard := 0, s.heard()
	for {
		select {
		case <-s.done:
			return
		case <-s.room():
			s.peer.drain()
		case <-ticker.C:
			s.peer.drain()
			if now := s.heard(); now != heard {
				quiet, heard = 0, now
			} else if quiet++; quiet >= allowed {
				s.finish(fmt.Errorf("%w for %v", ErrPeerDead, cfg.KeepaliveTimeout))
				return
			}
			s.keepalive()
		}
	}
}

// finish ends the association for the reason given, once, and reports it.
func (s *session) finish(reason error) {
	s.once.Do(func() {
		close(s.done)
		s.peer.down(s, reason)
		s.end(reason)
		s.peer.redial()
	})
}
