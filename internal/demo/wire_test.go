package demo

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// wired runs a wire until the test ends.
func wired(t *testing.T, w *wire, err error) *wire {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		w.run(ctx)
		close(ended)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

// ends opens sockets at a place, for those at the ends of a wire.
func ends(t *testing.T, p *place) (conns [3]*net.UDPConn, at [3]netip.AddrPort) {
	t.Helper()
	for i := range conns {
		conn, err := p.listen()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetReadDeadline(time.Now().Add(time.Minute)) // what never comes should not hang the test
		conns[i], at[i] = conn, localAddr(conn)
	}
	return conns, at
}

// crosses sends a datagram and looks where it arrives, and where from.
func crosses(t *testing.T, from *net.UDPConn, to netip.AddrPort, at *net.UDPConn, seen netip.AddrPort) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort([]byte("datagram"), to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxDatagram)
	n, sender, err := at.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "datagram" || sender != seen {
		t.Fatalf("got %q from %v (%v), want it from %v", buf[:n], sender, err, seen)
	}
}

func TestRouterWire(t *testing.T) {
	p := newPlace(false, 0)
	conns, at := ends(t, p)
	w, err := routerWire(p, [2]netip.AddrPort{at[0], at[1]})
	wired(t, w, err)
	if _, err := conns[2].WriteToUDPAddrPort([]byte("a stranger's"), w.at(1)); err != nil {
		t.Fatal(err)
	}
	crosses(t, conns[0], w.at(1), conns[1], w.at(0))
	crosses(t, conns[1], w.at(0), conns[0], w.at(1))
	if got, want := w.figures(), (WireFigures{Datagrams: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestAgentWire(t *testing.T) {
	p := newPlace(false, 0)
	conns, at := ends(t, p)
	w, err := agentWire(p, [2]netip.AddrPort{at[0], at[1]}, at[2])
	wired(t, w, err)
	for i := range 2 {
		crosses(t, conns[2], w.at(i), conns[i], w.at(agentFace))
		crosses(t, conns[i], w.at(agentFace), conns[2], w.at(i))
	}
}

// TestLottery sends the same number of datagrams over two wires with the same
// seed: the same ones have to arrive, and about as many as is said.
func TestLottery(t *testing.T) {
	const sent = 200
	p := newPlace(false, 0)
	arrived := func(seed uint64) (numbers []byte) {
		conns, at := ends(t, p)
		w, err := routerWire(p, [2]netip.AddrPort{at[0], at[1]})
		w.lose(MaxLoss, seed)
		wired(t, w, err)
		for n := range byte(sent) {
			if _, err := conns[0].WriteToUDPAddrPort([]byte{n}, w.at(1)); err != nil {
				t.Fatal(err)
			}
		}
		all, err := settle(t.Context(), time.Minute, func() (bool, error) { return w.figures().Datagrams == sent, nil })
		if err != nil || !all {
			t.Fatalf("carried %+v: %v", w.figures(), err)
		}
		for range sent - w.figures().Dropped {
			buf := make([]byte, maxDatagram)
			if _, err := conns[1].Read(buf); err != nil {
				t.Fatal(err)
			}
			numbers = append(numbers, buf[0])
		}
		return numbers
	}
	first, again, other := arrived(1), arrived(1), arrived(2)
	if !slices.Equal(first, again) || slices.Equal(first, other) {
		t.Errorf("with one seed %d and %d arrive, with another %d", first, again, other)
	}
	if n := len(first); n < sent/4 || n > sent*3/4 {
		t.Errorf("%d of %d arrived", n, sent)
	}
}
