package capture

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
	"github.com/cxtp/cxtp/transport"
)

// talk has two routers send each other messages, one after the other.
func talk(a, b *capturetest.Router, at netip.AddrPort, messages [][]byte) (all []sent) {
	for _, m := range messages {
		a.Exchange(b, m)
		b.Exchange(a, m)
		all = append(all, sent{a.LocalAddr(), at, m}, sent{at, a.LocalAddr(), m})
	}
	return all
}

// TestRouterLink reads what two real endpoints send each other, from the
// shortest message to the longest.
func TestRouterLink(t *testing.T) {
	var tape capturetest.Tape
	var log capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	messages := vectorMessages(t)
	if len(messages) < 20 {
		t.Fatalf("there are only %d vectors", len(messages))
	}
	for _, size := range []int{1, 1200, 1400, 5000, transport.MaxMessage} {
		messages = append(messages, noise(size))
	}
	all := talk(a, b, at, messages)

	c := collect(t, tape.Pcap(t), log.Octets(), routerAt(at))
	c.expect(t, Router, all...)
	c.clean(t)
	if got := c.summary.RouterMessages; got != uint64(len(all)) || c.summary.Handshake == 0 || c.summary.Control == 0 {
		t.Errorf("summary %q", c.summary.Sentences())
	}
	for i, m := range c.messages {
		if want := capturetest.Start.Add(time.Duration(m.Packet-1) * time.Millisecond); !m.Time.Equal(want) {
			t.Fatalf("message %d is of %v, want %v", i, m.Time, want)
		}
	}
}

// TestRepeatedPackets has every packet twice, as a capture on two interfaces.
func TestRepeatedPackets(t *testing.T) {
	var tape capturetest.Tape
	var log capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	all := talk(a, b, at, [][]byte{nodeMessage, noise(9000)})
	var twice []capturetest.Datagram
	for _, d := range tape.Datagrams() {
		twice = append(twice, d, d)
	}
	c := collect(t, capturetest.Pcap(t, twice), log.Octets(), routerAt(at))
	c.expect(t, Router, all...)
	c.clean(t)
	if c.summary.Repeated == 0 {
		t.Error("nothing counts as repeated")
	}
}

// TestUnfinishedMessage ends the capture within a message.
func TestUnfinishedMessage(t *testing.T) {
	var tape capturetest.Tape
	var log capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	before := len(tape.Datagrams())
	a.Exchange(b, noise(9000))
	datagrams := tape.Datagrams()
	full := func(d capturetest.Datagram) bool { return len(d.Octets) > 1200 }
	end := before + slices.IndexFunc(datagrams[before:], full) + 2
	c := collect(t, capturetest.Pcap(t, datagrams[:end]), log.Octets(), routerAt(at))
	c.expect(t, Router)
	if n := c.summary.Incomplete; n == 0 || n > 2 {
		t.Errorf("%d fragments of a message are left", n)
	}
}

// TestUnreadableRecords says why records are not read.
func TestUnreadableRecords(t *testing.T) {
	var tape capturetest.Tape
	var log, other capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	before := len(tape.Datagrams())
	talk(a, b, at, [][]byte{nodeMessage})
	all := tape.Datagrams()
	_, _, _ = capturetest.Routers(t, &capturetest.Tape{}, &other)

	strange := slices.Clone(all)
	for i, d := range strange { // another cipher suite is chosen
		if isServerHello(d.Octets) {
			octets := slices.Clone(d.Octets)
			suite := 13 + 12 + 2 + 32 + 1 + int(octets[13+12+2+32])
			octets[suite], octets[suite+1] = 0xcc, 0xa9
			strange[i].Octets = octets
		}
	}
	wrong := log.Octets()
	copy(wrong[bytes.LastIndexByte(wrong, ' ')+1:], "0123456789abcdef") // in the last line's secret

	for _, test := range []struct {
		name      string
		datagrams []capturetest.Datagram
		log       []byte
		want      Reason
	}{
		{"no key log", all, nil, NoKeyLog},
		{"key log of others", all, other.Octets(), NoSecret},
		{"wrong secret", all, wrong, WrongSecret},
		{"no handshake", all[before:], log.Octets(), NoHandshake},
		{"other cipher suite", strange, log.Octets(), OtherSuite},
	} {
		c := collect(t, capturetest.Pcap(t, test.datagrams), test.log, routerAt(at))
		c.expect(t, Router)
		want := pair{a.LocalAddr(), at}
		if a.LocalAddr().Compare(at) > 0 {
			want = pair{at, a.LocalAddr()}
		}
		if s := c.summary.Sealed; len(s) != 1 || s[0].Why != test.want || s[0].A != want[0] || s[0].B != want[1] || s[0].Records == 0 {
			t.Errorf("%s: sealed %+v, want %v", test.name, s, test.want)
		}
	}
}

// TestRestartedPeer has a router that comes back at the same address and port:
// two connections, one pair of addresses.
func TestRestartedPeer(t *testing.T) {
	var tape capturetest.Tape
	var log capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	all := talk(a, b, at, [][]byte{nodeMessage, noise(3000)})
	first := log.Octets()
	a = a.Restart()
	a.Up()
	b.Up()
	all = append(all, talk(a, b, at, [][]byte{noise(300), noise(4000)})...)

	c := collect(t, tape.Pcap(t), log.Octets(), routerAt(at))
	c.expect(t, Router, all...)
	c.clean(t)
	c = collect(t, tape.Pcap(t), first, routerAt(at))
	c.expect(t, Router, all[:4]...)
	if s := c.summary.Sealed; len(s) != 1 || s[0].Why != NoSecret {
		t.Errorf("without the second secret: %+v", s)
	}
}

// TestForgedAddresses has hellos from more addresses than are followed.
func TestForgedAddresses(t *testing.T) {
	var tape capturetest.Tape
	var log capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	hello := tape.Datagrams()[0].Octets
	for i := range 2 * maxRoutes {
		from := port(i)
		tape.Add(from, at, hello)
		tape.Add(from, at, []byte{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	}
	all := talk(a, b, at, [][]byte{nodeMessage, noise(3000)})
	c := collect(t, tape.Pcap(t), log.Octets(), routerAt(at))
	c.expect(t, Router, all...)
	var forged uint64
	for _, s := range c.summary.Sealed {
		if s.Why != NoHandshake {
			t.Fatalf("sealed %+v", s)
		}
		forged += s.Records
	}
	if forged != 2*maxRoutes || len(c.summary.Sealed) != maxRoutes {
		t.Errorf("%d records in %d entries, want %d in %d", forged, len(c.summary.Sealed), 2*maxRoutes, maxRoutes)
	}
	if s := c.summary.Sealed[0]; s.A.IsValid() || s.Records != maxRoutes+1 {
		t.Errorf("the first entry is %+v, want those that were forgotten", s)
	}
}

// TestForgedAnswers has answers to the ClientHello from somebody who does not
// know the keys. They must not drive out the connection that is read.
func TestForgedAnswers(t *testing.T) {
	var tape capturetest.Tape
	var log capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	all := talk(a, b, at, [][]byte{nodeMessage})
	for _, d := range tape.Datagrams() {
		if !isServerHello(d.Octets) {
			continue
		}
		for i := range 3 * maxConnections {
			forged := slices.Clone(d.Octets)
			forged[13+12+2] ^= byte(i + 1) // in its random
			tape.Add(d.From, d.To, forged)
		}
	}
	all = append(all, talk(a, b, at, [][]byte{noise(3000)})...)
	c := collect(t, tape.Pcap(t), log.Octets(), routerAt(at))
	c.expect(t, Router, all...)
	c.clean(t)
}

// isServerHello tells whether a datagram begins with a ServerHello.
func isServerHello(octets []byte) bool {
	return len(octets) > 100 && octets[0] == 22 && octets[13] == 2
}

// TestNodeLink reads what a node and a router send each other.
func TestNodeLink(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		var tape capturetest.Tape
		atRouter, atNode := make(chan []byte), make(chan []byte)
		router := listenNode(t, host, atRouter)
		node := listenNode(t, host, atNode)
		at := tape.Tap(t, router.addr)
		var all []sent
		for _, m := range vectorMessages(t) {
			if len(m) > transport.MaxNodeMessage {
				continue
			}
			node.exchange(t, at, m, atRouter)
			router.exchange(t, router.from, m, atNode)
			all = append(all, sent{node.addr, at, m}, sent{at, node.addr, m})
		}
		c := collect(t, tape.Pcap(t), nil, Options{NodePorts: []uint16{at.Port()}})
		c.expect(t, Node, all...)
		c.clean(t)
	}
}

// party is one end of the node link.
type party struct {
	*transport.NodeConn
	addr, from netip.AddrPort // from: of the last message received
}

func listenNode(t *testing.T, host string, received chan<- []byte) *party {
	t.Helper()
	p := &party{}
	conn, err := transport.ListenNode(host+":0", func(from netip.AddrPort, msg []byte) {
		p.from = from
		received <- msg
	})
	if err != nil {
		t.Fatal(err)
	}
	p.NodeConn, p.addr = conn, conn.LocalAddr()
	t.Cleanup(func() { _ = conn.Close() })
	return p
}

func (p *party) exchange(t *testing.T, to netip.AddrPort, m []byte, received <-chan []byte) {
	t.Helper()
	if err := p.Send(to, m); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-received:
		if !slices.Equal(got, m) {
			t.Fatal("another message arrived")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no message arrived")
	}
}
