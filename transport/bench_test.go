package transport

import (
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
)

// The benchmarks measure requests of one size that are each answered by 32
// octets, with 64 of them outstanding, or 1. "Bare" is an SCTP association over
// a DTLS connection over a UDP socket of its own at each end, with the same
// settings and nothing of ours; the two are to be compared in the same run.
const replySize = 32

func BenchmarkEndpoint600(b *testing.B) { benchEndpoint(b, 600, 64) }
func BenchmarkBare600(b *testing.B)     { benchBare(b, 600, 64) }
func BenchmarkEndpoint2K(b *testing.B)  { benchEndpoint(b, 2048, 64) }
func BenchmarkBare2K(b *testing.B)      { benchBare(b, 2048, 64) }
func BenchmarkEndpointOne(b *testing.B) { benchEndpoint(b, 600, 1) }
func BenchmarkBareOne(b *testing.B)     { benchBare(b, 600, 1) }

func benchEndpoint(b *testing.B, size, outstanding int) {
	ca := newAuthority(b)
	reply := make([]byte, replySize)
	answers := make(chan struct{}, outstanding)
	var server *Endpoint
	ready := make(chan struct{})
	server = start(b, ca, "b", []Peer{peerAt("a", "")}, func(c *Config) {
		c.Handler = func(peer string, _ []byte) {
			<-ready
			if err := server.Send(peer, reply, time.Time{}); err != nil {
				b.Error(err)
			}
		}
	}).Endpoint
	close(ready)
	client := start(b, ca, "a", []Peer{peerAt("b", server.LocalAddr().String())}, func(c *Config) {
		c.Handler = func(string, []byte) { answers <- struct{}{} }
	})
	client.waitUp("b")
	request(b, size, outstanding, answers, func(msg []byte) error { return client.Send("b", msg, time.Time{}) })
}

// request sends b.N messages, with so many outstanding.
func request(b *testing.B, size, outstanding int, answers <-chan struct{}, send func([]byte) error) {
	msg := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i >= outstanding {
			<-answers
		}
		if err := send(msg); err != nil {
			b.Fatal(err)
		}
	}
	for range min(b.N, outstanding) {
		<-answers
	}
	b.StopTimer()
}

func benchBare(b *testing.B, size, outstanding int) {
	client, server := bareAssociations(b)
	reply := make([]byte, replySize)
	answers := make(chan struct{}, outstanding)
	go bareRead(server, func() { _, _ = server.WriteSCTP(reply, payloadMessage) })
	go bareRead(client, func() { answers <- struct{}{} })
	request(b, size, outstanding, answers, func(msg []byte) error {
		_, err := client.WriteSCTP(msg, payloadMessage)
		return err
	})
}

func bareRead(s *sctp.Stream, then func()) {
	buf := make([]byte, maxReceive)
	for {
		if _, _, err := s.ReadSCTP(buf); err != nil {
			return
		}
		then()
	}
}

// bareAssociations connects two sockets by DTLS and SCTP, with the settings that
// an Endpoint has.
func bareAssociations(b *testing.B) (client, server *sctp.Stream) {
	ca := newAuthority(b)
	config := Config{MTU: DefaultMTU, MinCwnd: DefaultMinCwnd, Roots: ca.Pool(), Certificate: issue(b, ca, "x")}
	c := &dtlsCarrier{endpoint: &Endpoint{config: config}}
	options := c.dtlsOptions(func(*x509.Certificate) error { return nil })
	var conns [2]*udpSocket
	for i := range conns {
		conn, err := listenUDP("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		conns[i] = conn
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		server = bareStream(b, c, false, func() (*dtls.Conn, error) {
			all := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAndVerifyClientCert), dtls.WithClientCAs(ca.Pool())}
			for _, o := range options {
				all = append(all, o)
			}
			return dtls.ServerWithOptions(conns[1], conns[0].LocalAddr(), all...)
		})
	})
	client = bareStream(b, c, true, func() (*dtls.Conn, error) {
		all := []dtls.ClientOption{dtls.WithRootCAs(ca.Pool())}
		for _, o := range options {
			all = append(all, o)
		}
		return dtls.ClientWithOptions(conns[0], conns[1].LocalAddr(), all...)
	})
	wg.Wait()
	return client, server
}

func bareStream(b *testing.B, c *dtlsCarrier, dialed bool, connect func() (*dtls.Conn, error)) *sctp.Stream {
	conn, err := connect()
	if err == nil {
		err = conn.HandshakeContext(b.Context())
	}
	if err != nil {
		b.Error(err)
		return nil
	}
	assoc, err := c.associate(b.Context(), &flow{dialed: dialed}, conn)
	if err != nil {
		b.Error(err)
		return nil
	}
	b.Cleanup(func() { _ = assoc.Close() })
	s, err := assoc.OpenStream(streamID, payloadMessage)
	if err != nil {
		b.Error(err)
		return nil
	}
	s.SetReliabilityParams(true, sctp.ReliabilityTypeReliable, 0)
	return s
}
