package capture

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/sctp"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
	"github.com/cxtp/cxtp/transport"
	"github.com/cxtp/cxtp/transport/testcert"
)

// TestCipherSuites reads a connection of a router, once for each cipher suite
// that it takes, with a peer that offers no other; and with a peer that knows
// DATA chunks only, as well as with one that knows I-DATA chunks.
func TestCipherSuites(t *testing.T) {
	ca, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	ecdsa, err := ca.Issue("router.example.net")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ca.Issue("peer.example.net")
	if err != nil {
		t.Fatal(err)
	}
	rsa, trusted := issueRSA(t, "router.example.net")
	trusted.AppendCertsFromPEM(ca.CertPEM())

	tried := map[dtls.CipherSuiteID]bool{}
	for _, test := range []struct {
		suite dtls.CipherSuiteID
		cert  tls.Certificate
		iData bool
	}{
		{dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ecdsa, false},
		{dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ecdsa, true},
		{dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, rsa, true},
		{dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, rsa, false},
	} {
		tried[test.suite] = true
		t.Run(dtls.CipherSuiteName(test.suite), func(t *testing.T) {
			var tape capturetest.Tape
			var log capturetest.Log
			router := capturetest.NewRouter(t, transport.Config{Certificate: test.cert, Roots: ca.Pool(), KeyLog: &log, CloseTimeout: time.Millisecond},
				transport.Peer{Name: "peer", Identity: "peer.example.net"})
			at := tape.Tap(t, router.LocalAddr())
			self, stream := dial(t, at, trusted, peer, test.suite, test.iData)
			router.Up()
			var all []sent
			for _, size := range []int{8, 700, 4000, 65000} {
				message := noise(size)
				if _, err := stream.WriteSCTP(message, payloadMessage); err != nil {
					t.Fatal(err)
				}
				router.Receive(message)
				if err := router.Send("peer", message, time.Time{}); err != nil {
					t.Fatal(err)
				}
				read(t, stream, message)
				all = append(all, sent{self, at, message}, sent{at, self, message})
			}
			c := collect(t, tape.Pcap(t), log.Octets(), routerAt(at))
			c.expect(t, Router, all...)
			c.clean(t)
		})
	}
	for suite := range suites {
		if !tried[suite] {
			t.Errorf("%s is not tried", dtls.CipherSuiteName(suite))
		}
	}
}

// dial is a peer with one cipher suite.
func dial(t *testing.T, at netip.AddrPort, roots *x509.CertPool, cert tls.Certificate, suite dtls.CipherSuiteID, iData bool) (netip.AddrPort, *sctp.Stream) {
	t.Helper()
	silent := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	conn, err := dtls.ClientWithOptions(socket, net.UDPAddrFromAddrPort(at),
		dtls.WithCertificates(cert), dtls.WithRootCAs(roots), dtls.WithServerName("router.example.net"),
		dtls.WithCipherSuites(suite), dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), dtls.WithLoggerFactory(silent))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	assoc, err := sctp.ClientContext(ctx, sctp.WithNetConn(conn), sctp.WithLoggerFactory(silent),
		sctp.WithMTU(1200), sctp.WithEnableInterleaving(iData))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { assoc.Close() })
	stream, err := assoc.OpenStream(0, payloadMessage)
	if err != nil {
		t.Fatal(err)
	}
	stream.SetReliabilityParams(true, sctp.ReliabilityTypeReliable, 0)
	return socket.LocalAddr().(*net.UDPAddr).AddrPort(), stream
}

// read reads a message, which must be this one, and skips keepalives.
func read(t *testing.T, stream *sctp.Stream, message []byte) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		n, payload, err := stream.ReadSCTP(buf)
		switch {
		case err != nil:
			t.Fatal(err)
		case payload != payloadMessage:
			continue
		case string(buf[:n]) != string(message):
			t.Fatalf("received %d octets, want %d others", n, len(message))
		}
		return
	}
}

// issueRSA makes a certificate with an RSA key that vouches for itself.
func issueRSA(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
