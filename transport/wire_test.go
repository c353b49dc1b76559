package transport

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
)

// tap notes the SCTP packets that come out of a connection.
type tap struct {
	net.Conn
	mu      sync.Mutex
	packets [][]byte
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets = append(c.packets, append([]byte(nil), b[:n]...))
	return n, err
}

// dataChunks are the DATA chunks of an SCTP packet, from their type on (RFC 9260
// section 3).
func dataChunks(packet []byte) (chunks [][]byte) {
	const header, data = 12, 0
	for at := header; at+4 <= len(packet); {
		size := int(binary.BigEndian.Uint16(packet[at+2:]))
		if size < 4 || at+size > len(packet) {
			break
		}
		if packet[at] == data {
			chunks = append(chunks, packet[at:at+size])
		}
		at += (size + 3) &^ 3
	}
	return chunks
}

// TestDataChunks looks at what a router sends as a peer sees it that knows nothing
// of RFC 8260's interleaving: every fragment of every message is unordered, on one
// stream, and says that it is CXTP (RFC 4067 section 3.1).
func TestDataChunks(t *testing.T) {
	ca := newAuthority(t)
	r := start(t, ca, "b", []Peer{peerAt("a", "")})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	conn, err := dtls.ClientWithOptions(socket, net.UDPAddrFromAddrPort(r.LocalAddr()),
		dtls.WithRootCAs(ca.Pool()), dtls.WithServerName(identity("b")), dtls.WithCertificates(issue(t, ca, identity("a"))),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), dtls.WithLoggerFactory(silent))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	wire := &tap{Conn: conn}
	assoc, err := sctp.ClientContext(ctx, sctp.WithNetConn(wire), sctp.WithLoggerFactory(silent), sctp.WithEnableInterleaving(false))
	if err != nil {
		t.Fatal(err)
	}
	defer assoc.Close()
	r.waitUp("a")

	sizes := []int{1, 1200, 5000, MaxMessage}
	for _, size := range sizes {
		if err := r.Send("a", make([]byte, size), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := assoc.AcceptStream()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	for left := len(sizes); left > 0; {
		_, payload, err := stream.ReadSCTP(buf)
		if err != nil {
			t.Fatal(err)
		}
		if payload == payloadMessage {
			left--
		}
	}

	wire.mu.Lock()
	defer wire.mu.Unlock()
	octets := 0
	for _, packet := range wire.packets {
		for _, c := range dataChunks(packet) {
			const cxtp, cxtk = "CXTP", "CXTK"
			unordered, id, name := c[1]&4 != 0, binary.BigEndian.Uint16(c[8:]), string(c[12:16])
			if !unordered || id != 0 || name != cxtp && name != cxtk {
				t.Errorf("a chunk is unordered: %v, on stream %d, of %q", unordered, id, name)
			}
			if name == cxtp {
				octets += len(c) - 16
			}
		}
	}
	if want := 1 + 1200 + 5000 + MaxMessage; octets < want {
		t.Errorf("the chunks have %d octets of messages, want %d", octets, want)
	}
}
