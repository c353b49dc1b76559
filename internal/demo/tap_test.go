package demo

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestTap sends packets of the node through the tap, first to one gateway and
// then to the other, and looks what the gateways get: what was meant for them,
// and a second time what the other one had accepted before the move.
func TestTap(t *testing.T) {
	p := newPlace(false, 0)
	listen := func() *net.UDPConn {
		conn, err := p.listen()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	a := newAssociation(p, 0, 1)
	node, gateways := listen(), [2]*net.UDPConn{listen(), listen()}
	for _, conn := range []*net.UDPConn{node, gateways[0], gateways[1]} {
		conn.SetReadDeadline(time.Now().Add(time.Minute)) // what never comes should not hang the test
	}
	tp := &tap{face: listen(), sides: [2]*net.UDPConn{listen(), listen()}, node: localAddr(node), up: newFlow()}
	watch(t, &tp.witness, a)
	for i, g := range gateways {
		tp.gateways[i] = localAddr(g)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		tp.run(ctx)
		close(ended)
	}()
	defer func() { cancel(); <-ended }()

	packets := esp(t, a, 5)
	send := func(gateway, packet int) {
		to, err := tp.address(tp.gateways[gateway])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.WriteToUDPAddrPort(packets[packet], to); err != nil {
			t.Fatal(err)
		}
	}
	got := func(conn *net.UDPConn, from *net.UDPConn, want []byte) {
		t.Helper()
		buf := make([]byte, maxDatagram)
		n, sender, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != string(want) || netip.AddrPortFrom(sender.Addr().Unmap(), sender.Port()) != localAddr(from) {
			t.Fatalf("got %d octets from %v (%v), want %d from %v", n, sender, err, len(want), localAddr(from))
		}
	}
	for range packets {
		tp.up.next()
	}
	for i := range 3 {
		send(0, i)
		got(gateways[0], tp.face, packets[i])
	}
	tp.up.arrived(1, tp.up.last)
	tp.up.arrived(3, tp.up.last) // the second packet is on its way still
	tp.begin()
	send(1, 3)
	for _, i := range []int{3, 0, 2} {
		got(gateways[1], tp.face, packets[i])
	}
	tp.up.arrived(2, tp.up.last)
	tp.closed(1)
	for _, i := range []int{0, 2, 1, 2} {
		got(gateways[1], tp.face, packets[i])
	}
	if tp.replayed() != 6 {
		t.Errorf("%d packets replayed, want 6", tp.replayed())
	}
	if _, err := gateways[1].WriteToUDPAddrPort([]byte{0xff}, localAddr(tp.face)); err != nil {
		t.Fatal(err)
	}
	got(node, tp.sides[1], []byte{0xff})
	if _, err := tp.address(netip.MustParseAddrPort("127.0.0.1:1")); err == nil {
		t.Error("a stranger was taken for a gateway")
	}
}
