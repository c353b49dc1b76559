package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
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
)

// dtlsCarrier is SCTP over DTLS over one UDP socket. A peer is whom its certificate
// names.
type dtlsCarrier struct {
	endpoint *Endpoint
	keyLog   io.Writer // nil unless allowed
	mux      *mux
}

func listenDTLS(e *Endpoint) (*dtlsCarrier, error) {
	conn, err := listenUDP(e.config.Addr)
	if err != nil {
		return nil, err
	}
	c := &dtlsCarrier{endpoint: e}
	c.mux = newMux(conn, func(f *flow) bool { return e.start(func() { c.accept(f) }) })
	if e.config.KeyLog != nil {
		c.keyLog = &lockedWriter{w: e.config.KeyLog}
	}
	for _, p := range e.config.Peers {
		if literal, err := netip.ParseAddrPort(p.Addr); err == nil {
			c.mux.favour(unmap(literal))
		}
	}
	return c, nil
}

func (c *dtlsCarrier) run() { c.mux.run() }

func (c *dtlsCarrier) localAddr() netip.AddrPort { return c.mux.conn.localAddr() }

func (c *dtlsCarrier) close() error { return c.mux.conn.Close() }

func (c *dtlsCarrier) count(stats *Stats) {
	c.mux.mu.Lock()
	stats.HalfOpen = c.mux.halfOpen
	c.mux.mu.Unlock()
	stats.Discarded = c.mux.discarded.Load()
}

// accept takes a flow that a remote opened from its first datagram to a session.
func (c *dtlsCarrier) accept(f *flow) {
	ctx, cancel := context.WithTimeout(c.endpoint.ctx, c.endpoint.config.HandshakeTimeout)
	defer cancel()
	conn, p, err := c.handshakeAccept(ctx, f)
	if err != nil {
		if f.answered.Load() && isRefusal(err) {
			c.endpoint.refuse(f.remote, p, err)
		}
		return
	}
	l, err := c.newLink(ctx, f, conn)
	if err != nil {
		return // the peer has the same news, and dials again
	}
	_ = c.endpoint.adopt(p, l)
}

// dial implements carrier.
func (c *dtlsCarrier) dial(ctx context.Context, p *peer) error {
	remote, err := c.endpoint.resolve(ctx, p.Addr)
	if err != nil {
		return err
	}
	c.mux.favour(remote)
	var r random
	rand.Read(r[:])
	f, err := c.mux.dial(remote, r)
	if err != nil {
		return err
	}
	conn, err := c.handshakeDial(ctx, f, p)
	if err != nil {
		if isRefusal(err) {
			c.endpoint.refuse(remote, p, err)
		}
		return fmt.Errorf("failed to dial %s: %w", remote, err)
	}
	l, err := c.newLink(ctx, f, conn)
	if err != nil {
		return err
	}
	return c.endpoint.adopt(p, l)
}

// dtlsLink is one SCTP association over a DTLS connection.
type dtlsLink struct {
	flow   *flow
	dtls   *dtls.Conn
	assoc  *sctp.Association
	stream *sctp.Stream
	buf    []byte        // what is being read
	low    chan struct{} // SCTP has room again
}

// newLink sets up SCTP over an authenticated connection. The DTLS client is the
// SCTP client. On failure, the connection is closed.
func (c *dtlsCarrier) newLink(ctx context.Context, f *flow, conn *dtls.Conn) (*dtlsLink, error) {
	// SCTP's server end knows no context: end its connection instead.
	stop := context.AfterFunc(ctx, func() { f.end(context.Cause(ctx)) })
	assoc, err := c.associate(ctx, f, conn)
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
	l := &dtlsLink{flow: f, dtls: conn, assoc: assoc, buf: make([]byte, maxReceive), low: make(chan struct{}, 1)}
	if l.stream, err = assoc.OpenStream(streamID, payloadMessage); err != nil {
		_ = assoc.Close()
		return nil, fmt.Errorf("failed to open SCTP stream: %w", err)
	}
	l.stream.SetReliabilityParams(true, sctp.ReliabilityTypeReliable, 0)
	l.stream.SetBufferedAmountLowThreshold(backlog / 2)
	// Called with SCTP's lock held: nothing but a wake-up.
	l.stream.OnBufferedAmountLow(func() {
		select {
		case l.low <- struct{}{}:
		default:
		}
	})
	return l, nil
}

func (c *dtlsCarrier) associate(ctx context.Context, f *flow, conn *dtls.Conn) (*sctp.Association, error) {
	options := []sctp.AssociationOption{
		sctp.WithNetConn(yielding{conn}),
		sctp.WithLoggerFactory(silent),
		sctp.WithBlockWrite(false),
		sctp.WithEnableZeroChecksum(true), // DTLS authenticates every octet
		sctp.WithMTU(uint32(c.endpoint.config.MTU)),
		sctp.WithMinCwnd(uint32(c.endpoint.config.MinCwnd)),
		sctp.WithRTOMax(float64(rtoMax.Milliseconds())),
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

func (l *dtlsLink) remote() netip.AddrPort { return l.flow.remote }

func (l *dtlsLink) room() <-chan struct{} { return l.low }

func (l *dtlsLink) heard() uint64 { return l.assoc.BytesReceived() }

func (l *dtlsLink) read() ([]byte, error) {
	for {
		n, payload, err := l.stream.ReadSCTP(l.buf)
		if err != nil {
			if cause := l.flow.ended(); errors.Is(cause, ErrPeerReplaced) {
				return nil, cause
			}
			return nil, told(err)
		}
		if payload == payloadMessage {
			msg := make([]byte, n)
			copy(msg, l.buf)
			clear(l.buf[:n])
			return msg, nil
		}
	}
}

// told is the end of an association as the peer has told it, without the library's
// words around that.
func told(err error) error {
	_, said, ok := strings.Cut(err.Error(), "User Initiated Abort: ")
	switch said = strings.TrimRight(said, ")\n"); {
	case !ok:
		return err
	case said == ErrPeerReplaced.Error():
		return errReplacedThere
	}
	return fmt.Errorf("it says %q", said)
}

// write implements link. What the library has taken never expires: its own
// lifetimes begin anew with each retransmission.
func (l *dtlsLink) write(msg []byte, _ time.Time) bool {
	if l.stream.BufferedAmount() >= backlog {
		return false
	}
	_, err := l.stream.WriteSCTP(msg, payloadMessage)
	return err == nil
}

func (l *dtlsLink) keepalive() {
	_, _ = l.stream.WriteSCTP([]byte{0}, payloadKeepalive) // an error ends read
}

// shutdown implements link.
func (l *dtlsLink) shutdown(ctx context.Context) {
	if l.assoc.Shutdown(ctx) != nil && l.flow.ended() == nil {
		l.assoc.Abort(ErrClosed.Error())
	}
}

// end implements link. It returns when the goroutines of SCTP are gone.
func (l *dtlsLink) end(reason error) {
	// So that the peer, if it is there after all, need not find out by itself.
	if errors.Is(reason, ErrPeerDead) || errors.Is(reason, ErrPeerReplaced) && l.flow.ended() == nil {
		l.assoc.Abort(reason.Error())
	}
	_ = l.assoc.Close()
	_ = l.dtls.Close()
}
