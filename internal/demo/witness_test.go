package demo

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/cxtp/cxtp/ipsecctx/soft"
)

// capture is a wire that keeps what is written to it.
type capture struct {
	mu      sync.Mutex
	packets [][]byte
	written chan struct{}
	closed  chan struct{}
	once    sync.Once
}

func newCapture() *capture {
	return &capture{written: make(chan struct{}, 1000), closed: make(chan struct{})}
}

func (c *capture) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	<-c.closed
	return 0, netip.AddrPort{}, net.ErrClosed
}

func (c *capture) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets = append(c.packets, append([]byte(nil), b...))
	c.written <- struct{}{}
	return len(b), nil
}

func (c *capture) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// esp makes ESP packets of the node's outbound SA with the inner numbers from 1
// to n, from a stack that is set up afresh.
func esp(t *testing.T, a *association, n int) [][]byte {
	t.Helper()
	p := newPlace(false, 0)
	outside := newCapture()
	stack := &node{inner: a.inner, peer: p.host, up: newFlow(), app: newApp(func([]byte) {})}
	gateway, err := soft.New(soft.Config{Outside: outside, Inside: stack.app, NextHop: a.inner, Host: true})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := netip.AddrPortFrom(p.loopback, 4500)
	session, dynamic := a.atNode(endpoint, endpoint)
	if err := gateway.Install(a.id, session, dynamic); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		gateway.Run(ctx)
		close(ended)
	}()
	for range n {
		stack.send()
	}
	for range n {
		<-outside.written
	}
	cancel()
	<-ended
	return outside.packets
}

// watch begins a session for a witness.
func watch(t *testing.T, w *witness, a *association) {
	t.Helper()
	endpoint := netip.MustParseAddrPort("127.0.0.1:4500")
	up, down := a.watched(endpoint, endpoint)
	if err := w.watch(&up, &down, firstSequence); err != nil {
		t.Fatal(err)
	}
}

func TestWitness(t *testing.T) {
	a := newAssociation(newPlace(false, 0), 0, 1)
	w := &witness{}
	watch(t, w, a)
	packets := esp(t, a, 200)
	for _, packet := range packets {
		w.fromNode(0, packet)
	}
	want := WitnessFigures{Packets: 200}
	if got := w.figures(); got != want || w.pairs[0].up.high <= 1<<32 {
		t.Fatalf("clean traffic: got %+v, want %+v, at number %#x", got, want, w.pairs[0].up.high)
	}

	// A second sender with the same counter, which is what a missing freeze is.
	for _, packet := range esp(t, a, 3) {
		w.fromNode(1, packet)
	}
	damaged := append([]byte(nil), packets[0]...)
	damaged[len(damaged)-1] ^= 1
	w.fromNode(0, damaged)

	p := newPlace(false, 0)
	w.fromGateway(appendPacket(nil, p.host, p.node, 1))
	w.fromGateway([]byte{0xff}) // a keepalive
	w.fromGateway([]byte{1, 2, 3})
	want = WitnessFigures{Packets: 203, SequenceTwice: 3, IVTwice: 3, Clear: 2, Unreadable: 1}
	if got := w.figures(); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// TestWitnessRemembers lets a packet of an earlier session come again after a
// later one has begun.
func TestWitnessRemembers(t *testing.T) {
	p := newPlace(false, 0)
	first, second := newAssociation(p, 0, 1), newAssociation(p, 1, 1)
	if first.inner == second.inner || first.previous == second.previous {
		t.Fatal("two sessions share the node's address")
	}
	w := &witness{}
	watch(t, w, first)
	old := esp(t, first, 3)
	for _, packet := range old {
		w.fromNode(0, packet)
	}
	watch(t, w, second)
	if got := w.sample(64, func(keptPacket) bool { return true }); len(got) != 0 {
		t.Fatalf("%d packets of the old session would be replayed in the new one", len(got))
	}
	for _, packet := range append(esp(t, second, 200), old[1]) {
		w.fromNode(1, packet)
	}
	want := WitnessFigures{Packets: 204, SequenceTwice: 1, IVTwice: 1}
	if got := w.figures(); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestSample(t *testing.T) {
	w := &witness{}
	for n := range uint64(keptPackets) {
		w.kept = append(w.kept, keptPacket{number: n + 11, side: int(n % 2)})
	}
	// The ring has begun again: the last ten came after all others.
	for i := range 10 {
		w.kept[i].number += keptPackets
	}
	w.next = 10
	even := func(k keptPacket) bool { return k.side == 0 }
	got := w.sample(64, even)
	if len(got) != 64 || got[0].number != keptPackets+19 || got[63].number > 100 {
		t.Fatalf("%d packets from %d down to %d", len(got), got[0].number, got[len(got)-1].number)
	}
	for i, k := range got {
		if k.side != 0 || i > 0 && k.number >= got[i-1].number {
			t.Fatalf("packet %d of the sample is number %d of side %d", i, k.number, k.side)
		}
	}
	if got := w.sample(64, func(k keptPacket) bool { return k.number < 24 }); len(got) != 3 {
		t.Fatalf("%d packets where 3 match", len(got))
	}
}
