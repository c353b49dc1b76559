package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
)

const (
	// flightInterval is the pause before a DTLS flight is repeated. It does not
	// grow: HandshakeTimeout ends the handshake soon, and a peer that starts
	// meanwhile is to be found at once.
	flightInterval = 200 * time.Millisecond
	// cookieTimeout is how long a claimed address has to prove itself.
	cookieTimeout = time.Second
)

// errUnverified would be a library that does not do what it was told to.
var errUnverified = errors.New("certificate was not verified")

// errIdentity says that a certificate that a root vouches for is not one that we
// take here.
type errIdentity struct {
	names []string
	want  string
}

func (e *errIdentity) Error() string {
	return fmt.Sprintf("certificate is for %q, not for %s", e.names, e.want)
}

// silent keeps the libraries' own log quiet: what matters comes back as errors.
var silent = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}

// dtlsOptions are those of both ends. The identity callback sees the leaf of a
// chain that was verified against the roots.
func (c *dtlsCarrier) dtlsOptions(identify func(leaf *x509.Certificate) error) []dtls.Option {
	options := []dtls.Option{
		dtls.WithCertificates(c.endpoint.config.Certificate),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithCipherSuites(
			dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithDisableRetransmitBackoff(true),
		dtls.WithMTU(c.endpoint.config.MTU),
		dtls.WithLoggerFactory(silent),
		dtls.WithVerifyPeerCertificate(func(_ [][]byte, chains [][]*x509.Certificate) error {
			if len(chains) == 0 {
				return errUnverified
			}
			return identify(chains[0][0])
		}),
	}
	if c.keyLog != nil {
		options = append(options, dtls.WithKeyLogWriter(c.keyLog))
	}
	return options
}

// handshakeAccept authenticates a flow that a remote opened and says which peer
// it is.
func (c *dtlsCarrier) handshakeAccept(ctx context.Context, f *flow) (*dtls.Conn, *peer, error) {
	var found *peer
	options := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAndVerifyClientCert),
		dtls.WithClientCAs(c.endpoint.config.Roots),
	}
	for _, o := range c.dtlsOptions(func(leaf *x509.Certificate) (err error) {
		found, err = c.endpoint.identify(leaf)
		return err
	}) {
		options = append(options, o)
	}
	conn, err := dtls.ServerWithOptions(f, f.addr, options...)
	if err != nil {
		f.end(err)
		return nil, nil, err
	}
	cookie := time.AfterFunc(cookieTimeout, func() {
		if !f.answered.Load() {
			f.end(errNoCookie)
		}
	})
	defer cookie.Stop()
	if err := c.finishHandshake(ctx, f, conn); err != nil {
		return nil, found, err
	}
	return conn, found, nil
}

// handshakeDial authenticates the peer at the other end of a flow that we opened.
func (c *dtlsCarrier) handshakeDial(ctx context.Context, f *flow, p *peer) (*dtls.Conn, error) {
	options := []dtls.ClientOption{
		dtls.WithRootCAs(c.endpoint.config.Roots),
		dtls.WithHelloRandomBytesGenerator(func() [randomSize]byte { return f.random }),
	}
	for _, o := range c.dtlsOptions(func(leaf *x509.Certificate) error {
		if found, err := c.endpoint.identify(leaf); found == p {
			return err
		}
		return &errIdentity{leaf.DNSNames, p.Identity}
	}) {
		options = append(options, o)
	}
	conn, err := dtls.ClientWithOptions(f, f.addr, options...)
	if err != nil {
		f.end(err)
		return nil, err
	}
	if err := c.finishHandshake(ctx, f, conn); err != nil {
		return nil, err
	}
	return conn, nil
}

// finishHandshake runs the handshake and gives the flow its route's place. On
// failure, nothing is left of either.
func (c *dtlsCarrier) finishHandshake(ctx context.Context, f *flow, conn *dtls.Conn) error {
	err := conn.HandshakeContext(ctx)
	if err == nil {
		err = c.mux.establish(f)
	}
	if err == nil {
		return nil
	}
	if cause := f.ended(); cause != nil && !errors.Is(cause, net.ErrClosed) {
		err = cause // what the handshake saw is the consequence
	}
	_ = conn.Close()
	f.end(err)
	return err
}

// identify returns the one configured peer whose identity is in the certificate.
func (e *Endpoint) identify(leaf *x509.Certificate) (*peer, error) {
	var found []*peer
	for _, p := range e.peers {
		if slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return strings.EqualFold(name, p.Identity) }) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, &errIdentity{leaf.DNSNames, "a configured peer"}
	}
	return nil, &errIdentity{leaf.DNSNames, "one configured peer alone"}
}

// isRefusal tells whether a handshake failed because of what the remote proved
// or did not prove, rather than because of the network, an end of ours, or the
// remote's refusal of us.
func isRefusal(err error) bool {
	var alert interface{ IsFatalOrCloseNotify() bool } // received, not sent
	return !errors.As(err, &alert) && !slices.ContainsFunc([]error{
		errYield, errNoCookie, errCrowded, errBusy, ErrClosed, ErrPeerReplaced,
		net.ErrClosed, io.EOF, os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled,
	}, func(target error) bool { return errors.Is(err, target) })
}

// lockedWriter makes a writer safe for the handshakes of several connections.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
