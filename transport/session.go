package transport

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
)

const (
	// payloadMessage marks a CXTP message. RFC 4067 section 3.1 calls it 'CXTP'
	// and RFC 4065 registers no number, so the name in ASCII is our choice.
	payloadMessage sctp.PayloadProtocolIdentifier = 0x43585450
	// payloadKeepalive marks a keepalive, one octet that nobody looks at: 'CXTK'.
	payloadKeepalive sctp.PayloadProtocolIdentifier = 0x4358544b

	// streamID is the one stream of an association, the same both ways.
	streamID = 0
	// receiveBuffer bounds what an association holds for a slow handler, in
	// octets: SCTP's receive window.
	receiveBuffer = 1 << 20
	// backlog is how much SCTP may hold of what was sent and not acknowledged,
	// in octets; above it, messages wait in our queue, where they can expire.
	backlog = 256 << 10
	// rtoMax is SCTP's longest, and so its first, retransmission timeout in
	// milliseconds: RFC 4067 gives a whole transfer 200.
	rtoMax = 200
	// maxReceive is the largest message that a peer may send, in octets.
	maxReceive = 1 << 16
)

// session is one association with a peer, from DTLS up.
type session struct {
	peer   *peer
	flow   *flow
	dtls   *dtls.Conn
	assoc  *sctp.Association
	stream *sctp.Stream

	low  chan struct{} // SCTP has room again
	done chan struct{}
	once sync.Once // guards the end
}

// newSession sets up SCTP over an authenticated connection. The DTLS client is
// the SCTP client. On failure, the connection is closed.
func (e *Endpoint) newSession(ctx context.Context, p *peer, f *flow, conn *dtls.Conn) (*session, error) {
	// SCTP's server end knows no context: end its connection instead.
	stop := context.AfterFunc(ctx, func() { f.end(context.Cause(ctx)) })
	assoc, err := e.associate(ctx, f, conn)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		if assoc != nil {
			_ = assoc.Close()
		}
		_ = conn.Close()
		return nil, fmt.Errorf("failed to set up SCTP: %w", err)
	}
	s := &session{
		peer: p, flow: f, dtls: conn, assoc: assoc,
		low:  make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	if s.stream, err = assoc.OpenStream(streamID, payloadMessage); err != nil {
		_ = assoc.Close()
		return nil, fmt.Errorf("failed to open SCTP stream: %w", err)
	}
	s.stream.SetReliabilityParams(true, sctp.ReliabilityTypeReliable, 0)
	s.stream.SetBufferedAmountLowThreshold(backlog / 2)
	// Called with SCTP's lock held: nothing but a wake-up.
	s.stream.OnBufferedAmountLow(func() {
		select {
		case s.low <- struct{}{}:
		default:
		}
	})
	return s, nil
}

func (e *Endpoint) associate(ctx context.Context, f *flow, conn *dtls.Conn) (*sctp.Association, error) {
	options := []sctp.AssociationOption{
		sctp.WithNetConn(yielding{conn}),
		sctp.WithLoggerFactory(silent),
		sctp.WithBlockWrite(false),
		sctp.WithEnableZeroChecksum(true), // DTLS authenticates every octet
		sctp.WithMTU(uint32(e.config.MTU)),
		sctp.WithMinCwnd(uint32(e.config.MinCwnd)),
		sctp.WithRTOMax(rtoMax),
		sctp.WithMaxReceiveBufferSize(receiveBuffer),
		sctp.WithMaxMessageSize(maxReceive),
	}
	if f.dialed {
		var client []sctp.ClientOption
		for _, o := range options {
			client = append(client, o)
		}
		return sctp.ClientContext(ctx, client...)
	}
	var server []sctp.ServerOption
	for _, o := range options {
		server = append(server, o)
	}
	return sctp.ServerWithOptions(server...)
}

// yielding is what SCTP writes its packets to. After each, whoever else is ready
// to run may do so before SCTP looks for more: under load, that is what has
// messages to send, and those share the next packet and its acknowledgement. When
// nothing is ready, nothing waits.
type yielding struct{ *dtls.Conn }

func (c yielding) Write(packet []byte) (int, error) {
	n, err := c.Conn.Write(packet)
	runtime.Gosched()
	return n, err
}

// read hands messages to the handler until the association ends.
func (s *session) read() {
	buf := make([]byte, maxReceive)
	for {
		n, payload, err := s.stream.ReadSCTP(buf)
		if err != nil {
			s.end(s.reason(err))
			return
		}
		if payload == payloadMessage {
			msg := make([]byte, n)
			copy(msg, buf[:n])
			clear(buf[:n])
			s.peer.handle(msg)
		}
	}
}

// reason turns a read error into the reason that PeerDown gives.
func (s *session) reason(err error) error {
	if cause := s.flow.ended(); errors.Is(cause, ErrPeerReplaced) {
		return cause
	}
	if s.peer.endpoint.closing.Load() {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrPeerLeft, err)
}

// tend feeds SCTP from the queue, sends keepalives and watches for silence, which
// nothing below us does: SCTP's retransmission timer never gives up.
func (s *session) tend() {
	cfg := &s.peer.endpoint.config
	ticker := time.NewTicker(cfg.KeepaliveInterval)
	defer ticker.Stop()
	// Ticks are counted, not time: a ticker skips what it missed, so that a
	// process that was not scheduled for long does not blame the peer.
	allowed := int((cfg.KeepaliveTimeout + cfg.KeepaliveInterval - 1) / cfg.KeepaliveInterval)
	quiet, heard := 0, s.assoc.BytesReceived()
	for {
		select {
		case <-s.done:
			return
		case <-s.low:
			s.peer.drain()
		case <-ticker.C:
			s.peer.drain()
			if now := s.assoc.BytesReceived(); now != heard {
				quiet, heard = 0, now
			} else if quiet++; quiet >= allowed {
				s.end(fmt.Errorf("%w for %v", ErrPeerDead, cfg.KeepaliveTimeout))
				return
			}
			_, _ = s.stream.WriteSCTP([]byte{0}, payloadKeepalive) // an error ends read
		}
	}
}

// write gives SCTP a message, if it has room.
func (s *session) write(msg []byte) bool {
	if s.stream.BufferedAmount() >= backlog {
		return false
	}
	_, err := s.stream.WriteSCTP(msg, payloadMessage)
	return err == nil
}

// end ends the association for the reason given, once, and reports it. It
// returns when the goroutines of SCTP are gone.
func (s *session) end(reason error) {
	s.once.Do(func() {
		close(s.done)
		s.peer.down(s, reason)
		// So that the peer, if it is there after all, need not find out by itself.
		if errors.Is(reason, ErrPeerDead) || errors.Is(reason, ErrPeerReplaced) && s.flow.ended() == nil {
			s.assoc.Abort(reason.Error())
		}
		_ = s.assoc.Close()
		_ = s.dtls.Close()
		s.peer.redial()
	})
}

// shutdown ends the association after what SCTP holds was delivered, or when the
// context ends.
func (s *session) shutdown(ctx context.Context) {
	if s.assoc.Shutdown(ctx) != nil && s.flow.ended() == nil {
		s.assoc.Abort(ErrClosed.Error())
	}
	s.end(ErrClosed)
}
