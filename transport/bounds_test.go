package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestQueueIsBoundedWhileDown(t *testing.T) { onCarriers(t, queueIsBoundedWhileDown) }

func queueIsBoundedWhileDown(t *testing.T, on func(*Config)) {
	ca, free := newAuthority(t), reserve(t, 2)
	a := start(t, ca, "a", []Peer{peerAt("b", free[1])}, on, func(c *Config) { c.Addr, c.QueueBytes = free[0], 100_000 })
	msg := make([]byte, 1000)
	sent := 0
	var err error
	for ; err == nil && sent < 1000; sent++ {
		binary.BigEndian.PutUint32(msg, uint32(sent))
		err = a.Send("b", msg, time.Time{})
	}
	sent--
	if !errors.Is(err, ErrQueueFull) || sent != 100_000/(1000+queueOverhead) {
		t.Fatalf("after %d messages: %v", sent, err)
	}
	if s := a.stats("b"); s.QueueMessages != sent || s.QueueOctets != sent*(1000+queueOverhead) {
		t.Errorf("stats %+v", s)
	}
	// What was taken arrives once the peer is there.
	b := start(t, ca, "b", []Peer{peerAt("a", free[0])}, on, func(c *Config) { c.Addr = free[1] })
	got := map[uint32]bool{}
	for range sent {
		got[binary.BigEndian.Uint32(b.receive().msg)] = true
	}
	if len(got) != sent {
		t.Errorf("%d different messages arrived, want %d", len(got), sent)
	}
	if s := a.stats("b"); s.QueueMessages != 0 || s.QueueOctets != 0 || s.MessagesSent != uint64(sent) {
		t.Errorf("stats %+v", s)
	}
}

func TestStaleMessagesAreDropped(t *testing.T) { onCarriers(t, staleMessagesAreDropped) }

func staleMessagesAreDropped(t *testing.T, on func(*Config)) {
	ca, free := newAuthority(t), reserve(t, 2)
	a := start(t, ca, "a", []Peer{peerAt("b", free[1])}, on, func(c *Config) { c.Addr = free[0] })
	soon := time.Now().Add(20 * time.Millisecond)
	for _, m := range []struct {
		msg     string
		expires time.Time
	}{
		{"stale at once", time.Now()}, {"stale soon", soon},
		{"in time", time.Now().Add(time.Hour)}, {"final", time.Time{}},
	} {
		if err := a.Send("b", []byte(m.msg), m.expires); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(time.Until(soon))
	b := start(t, ca, "b", []Peer{peerAt("a", free[0])}, on, func(c *Config) { c.Addr = free[1] })
	b.expect("a", "in time")
	b.expect("a", "final")
	if s := a.stats("b"); s.Expired != 2 || s.MessagesSent != 2 {
		t.Errorf("stats %+v, want 2 expired and 2 sent", s)
	}
}

// A handler that blocks must not make the sender's or the receiver's memory
// grow: SCTP's window closes, then our queue fills, then Send says so.
func TestSlowHandlerPushesBack(t *testing.T) { onCarriers(t, slowHandlerPushesBack) }

func slowHandlerPushesBack(t *testing.T, on func(*Config)) {
	ca, free := newAuthority(t), reserve(t, 2)
	release := make(chan struct{})
	got := make(chan int, 10000)
	b := start(t, ca, "b", []Peer{peerAt("a", free[0])}, on, func(c *Config) {
		c.Addr, c.Handler = free[1], func(_ string, msg []byte) { <-release; got <- len(msg) }
	})
	const limit = 1 << 20
	a := start(t, ca, "a", []Peer{peerAt("b", b.addr())}, on, func(c *Config) { c.Addr, c.QueueBytes = free[0], limit })
	a.waitUp("b")
	msg := make([]byte, 8000)
	sent := 0
	eventually(t, "a full queue", func() bool {
		for {
			if err := a.Send("b", msg, time.Time{}); err != nil {
				return a.stats("b").QueueOctets > limit-9000 && sent*len(msg) > receiveBuffer+limit
			}
			sent++
		}
	})
	if most := receiveBuffer + backlog + limit + 4*len(msg) + MaxMessage; sent*len(msg) > most {
		t.Errorf("%d octets were taken, want at most %d", sent*len(msg), most)
	}
	close(release)
	for range sent {
		select {
		case <-got:
		case <-time.After(patience):
			t.Fatalf("messages are missing; stats %+v", a.Stats())
		}
	}
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte{})
	f.Add(clientHelloDatagram(random{1}, 0))
	f.Add([]byte{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0})
	f.Add([]byte{20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		rec, ok := parseRecord(datagram)
		if ok && len(datagram) < recordHeader {
			t.Errorf("%x passes for a record", datagram)
		}
		if rec.role == clientHello && !bytes.Contains(datagram, rec.random[:]) {
			t.Errorf("random %x is not in %x", rec.random, datagram)
		}
		part := encryptedPart(datagram)
		if !bytes.HasSuffix(datagram, part) {
			t.Fatalf("%x is no part of %x", part, datagram)
		}
		for len(part) > 0 { // records, each of them encrypted, and nothing else
			if len(part) < recordHeader || part[3] == 0 && part[4] == 0 {
				t.Fatalf("record in the clear in %x", part)
			}
			part = part[recordHeader+int(binary.BigEndian.Uint16(part[11:])):]
		}
	})
}

// clientHelloDatagram is a ClientHello as small as it gets.
func clientHelloDatagram(r random, sequence uint16) []byte {
	body := append([]byte{0xfe, 0xfd, 0, 0, 0, 0}, r[:]...)
	body = append(body, 0, 0, 0, 2, 0xc0, 0x2b, 1, 0) // no session, no cookie, one suite
	size := byte(len(body))
	msg := []byte{1, 0, 0, size, 0, 0, 0, 0, 0, 0, 0, size}
	binary.BigEndian.PutUint16(msg[4:], sequence)
	msg = append(msg, body...)
	header := []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(msg))}
	return append(header, msg...)
}

func TestGarbageDoesNoHarm(t *testing.T) {
	a, b := pair(t, newAuthority(t))
	stranger, err := net.Dial("udp", b.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	const count = 300
	for i := range count {
		garbage := bytes.Repeat([]byte{byte(i)}, 1+i*7)
		if i%3 == 0 {
			garbage = append([]byte{22, 0xfe, 0xfd, 0, byte(i % 2)}, garbage...)
		}
		if _, err := stranger.Write(garbage); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the garbage is counted", func() bool { return b.Stats().Discarded > count/2 })
	stillUp(t, a, b)
}

// forgeries are what an attacker who can forge a peer's address, but has no key,
// can try to end its association with.
func forgeries() map[string][]byte {
	clear := func(content byte, body ...byte) []byte {
		return append([]byte{content, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, byte(len(body))}, body...)
	}
	sealed := append([]byte{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 40}, make([]byte, 40)...)
	finished := clear(22, append([]byte{20, 0, 0, 12, 0, 3, 0, 0, 0, 0, 0, 12}, make([]byte, 12)...)...)
	return map[string][]byte{
		"data in the clear":               clear(23, 1, 2, 3),
		"data in the clear behind sealed": append(bytes.Clone(sealed), clear(23, 1, 2, 3)...),
		"data in the clear behind hello":  append(clientHelloDatagram(random{7}, 1), clear(23, 1, 2, 3)...),
		"malformed change of cipher":      clear(20, 9, 9),
		"close notify in the clear":       clear(21, 1, 0),
		"fatal alert in the clear":        clear(21, 2, 40),
		"malformed alert":                 clear(21, 2),
		"finished in the clear":           finished,
		"forged data":                     sealed,
		"cut off":                         sealed[:30],
		"hello":                           clientHelloDatagram(random{8}, 0),
	}
}

func TestForgedDatagramsDoNoHarm(t *testing.T) {
	for name, datagram := range forgeries() {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, newAuthority(t))
			b.mux().deliver(a.LocalAddr(), nil, datagram)
			a.mux().deliver(b.LocalAddr(), nil, datagram)
			stillUp(t, a, b)
		})
	}
}

// stillUp exchanges messages and checks that nothing happened to the association.
func stillUp(t *testing.T, a, b *router) {
	t.Helper()
	a.send("b", "still there?")
	b.expect("a", "still there?")
	b.send("a", "still here")
	a.expect("b", "still here")
	if n := a.stats("b").Handshakes + b.stats("a").Handshakes; n != 2 || len(a.events)+len(b.events) > 0 {
		t.Errorf("%d handshakes at both ends, want 2; %d and %d events", n, len(a.events), len(b.events))
	}
}

// unattended is a demultiplexer whose flows nobody reads.
func unattended() *mux { return newMux(nil, func(*flow) bool { return true }) }

func strangerAt(host byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), port)
}

func TestHalfOpenHandshakesAreBounded(t *testing.T) {
	for _, test := range []struct {
		name string
		from func(i int) netip.AddrPort
		want int
	}{
		{"one address", func(int) netip.AddrPort { return strangerAt(1, 1) }, maxAcceptingAddr},
		{"one host", func(i int) netip.AddrPort { return strangerAt(1, uint16(i)) }, maxAcceptingHost},
		{"many hosts", func(i int) netip.AddrPort { return strangerAt(byte(i), 1) }, maxAccepting},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := unattended()
			for i := range 200 {
				m.deliver(test.from(i), nil, clientHelloDatagram(random{byte(i)}, 0))
			}
			if m.halfOpen != test.want || m.accepting != test.want {
				t.Errorf("%d half-open, %d counted, want %d", m.halfOpen, m.accepting, test.want)
			}
			// A configured peer gets in all the same.
			known := strangerAt(250, 250)
			m.favour(known)
			m.deliver(known, nil, clientHelloDatagram(random{1, 1}, 0))
			if m.halfOpen != test.want+1 || m.routes[known] == nil {
				t.Errorf("%d half-open, want the peer's too", m.halfOpen)
			}
			for _, rt := range m.routes {
				for len(rt.accepts) > 0 {
					rt.accepts[0].end(errNoCookie)
				}
			}
			if m.halfOpen+m.accepting+len(m.hosts)+len(m.routes) != 0 {
				t.Errorf("left over: %d, %d, %v, %v", m.halfOpen, m.accepting, m.hosts, m.routes)
			}
		})
	}
}

func TestUnauthenticatedFlowIsBounded(t *testing.T) {
	m := unattended()
	from := strangerAt(1, 1)
	hello := clientHelloDatagram(random{1}, 0)
	for range 2 * maxHandshake / len(hello) {
		m.deliver(from, nil, hello)
	}
	if f := m.routes[from].accepts[0]; f.queue.Size() > maxHandshake+2*maxHandshake/len(hello) {
		t.Errorf("%d octets wait, want at most %d and their framing", f.queue.Size(), maxHandshake)
	}
	if m.discarded.Load() == 0 {
		t.Error("nothing was discarded")
	}
}

func TestEstablishedFlowIsBounded(t *testing.T) {
	m := unattended()
	from := strangerAt(1, 1)
	m.deliver(from, nil, clientHelloDatagram(random{1}, 0))
	f := m.routes[from].accepts[0]
	if err := m.establish(f); err != nil {
		t.Fatal(err)
	}
	sealed := append([]byte{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 4, 0}, make([]byte, 1024)...)
	for range 2 * flowBuffer / len(sealed) {
		m.deliver(from, nil, sealed)
	}
	if size := f.queue.Size(); size > flowBuffer || size < flowBuffer/2 {
		t.Errorf("%d octets wait, want at most %d", size, flowBuffer)
	}
}

// The wire says which of two simultaneous handshakes goes on, and both ends read
// the same there.
func TestLargerRandomGoesOn(t *testing.T) {
	for _, test := range []struct{ ours, theirs byte }{{1, 2}, {2, 1}} {
		m := unattended()
		from := strangerAt(1, 1)
		dial, err := m.dial(from, random{test.ours})
		if err != nil {
			t.Fatal(err)
		}
		m.deliver(from, nil, clientHelloDatagram(random{test.theirs}, 0))
		accepted := m.routes[from].accepts[0]
		if dial.ended() != nil || accepted.ended() != nil {
			t.Error("decided before the cookie came back")
		}
		m.answered(accepted)
		if oursYields := test.theirs > test.ours; (dial.ended() != nil) != oursYields || (accepted.ended() == nil) != oursYields {
			t.Errorf("ours %d, theirs %d: dial %v, accepted %v", test.ours, test.theirs, dial.ended(), accepted.ended())
		}
	}
}

// A dial while the address has a connection, whose SCTP may not be up yet, would
// make the two ends replace each other's connections in turn.
func TestNoDialBesideConnection(t *testing.T) {
	m := unattended()
	at := strangerAt(1, 1)
	busy := func(what string) {
		t.Helper()
		if f, err := m.dial(at, random{9}); !errors.Is(err, errBusy) {
			t.Errorf("%s: dial gives %v, %v, want errBusy", what, f, err)
		}
	}
	m.deliver(at, nil, clientHelloDatagram(random{1}, 0))
	f := m.routes[at].accepts[0]
	m.answered(f)
	busy("handshake that was opened by the peer")
	if err := m.establish(f); err != nil {
		t.Fatal(err)
	}
	busy("connection")
	f.end(ErrPeerLeft)
	if _, err := m.dial(at, random{9}); err != nil {
		t.Error(err)
	}
	busy("dial")
}
