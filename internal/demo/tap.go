package demo

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// tap is the wire between the node and the gateways.
//
//	node <----> side 0 | <--- face ---> outside endpoint of sg1
//	     <----> side 1 | <--- face ---> outside endpoint of sg2
//
// It passes everything on as it is, after the witness has seen it.
type tap struct {
	face     *net.UDPConn // what the gateways take for the node
	sides    [2]*net.UDPConn
	gateways [2]netip.AddrPort
	node     netip.AddrPort
	witness  witness
	up       *flow

	mu      sync.Mutex
	current int          // the side that the node uses
	early   []keptPacket // what the old gateway has accepted, for the new one
	replays uint64       // packets replayed
}

// address is where the node sends what is meant for a gateway, known by the
// outside endpoint that it announces.
func (t *tap) address(gateway netip.AddrPort) (netip.AddrPort, error) {
	for i, g := range t.gateways {
		if g == gateway {
			return localAddr(t.sides[i]), nil
		}
	}
	return netip.AddrPort{}, errors.New("no gateway is at " + gateway.String())
}

// run passes datagrams until ctx ends.
func (t *tap) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, t.close)
	defer stop()
	var tasks sync.WaitGroup
	for i := range t.sides {
		tasks.Go(func() { t.uplink(i) })
	}
	tasks.Go(t.downlink)
	tasks.Wait()
}

// begins says at which side the node begins a session.
func (t *tap) begins(side int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current, t.early = side, nil
}

// side is where the node sends to now.
func (t *tap) side() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current
}

func (t *tap) close() {
	for _, conn := range append(t.sides[:], t.face) {
		if conn != nil {
			conn.Close()
		}
	}
}

func (t *tap) uplink(side int) {
	read(t.sides[side], func(_ netip.AddrPort, packet []byte) {
		t.witness.fromNode(side, packet)
		t.face.WriteToUDPAddrPort(packet, t.gateways[side])
		t.follow(side)
	})
}

func (t *tap) downlink() {
	read(t.face, func(from netip.AddrPort, packet []byte) {
		t.witness.fromGateway(packet)
		for i, g := range t.gateways {
			if g == from {
				t.sides[i].WriteToUDPAddrPort(packet, t.node)
			}
		}
	})
}

// replaySample is how many packets are replayed at a time.
const replaySample = 64

// begin prepares a move: what the old gateway has accepted by now is chosen, to
// be replayed at the new one as soon as the node has gone there.
func (t *tap) begin() {
	accepted := t.accepted(func(keptPacket) bool { return true })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.early = accepted
}

// follow notices the node's first packet for another gateway. Until the old
// gateway has closed, the new one cannot know what that accepts in its last
// moments (the mode is lossless), so only what came before the move is replayed.
func (t *tap) follow(side int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if side == t.current {
		return
	}
	t.current = side
	t.replay(t.early, side)
}

// closed replays at the gateway that has the session now what was accepted
// before and during the move: the windows are merged.
func (t *tap) closed(firstOfMove uint64) {
	during := t.accepted(func(k keptPacket) bool { return k.number > firstOfMove })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replay(t.early, t.current)
	t.replay(during, t.current)
	t.early = nil
}

// accepted picks packets of this session that a gateway has accepted.
func (t *tap) accepted(match func(keptPacket) bool) []keptPacket {
	return t.witness.sample(replaySample, func(k keptPacket) bool { return match(k) && t.up.has(k.number) })
}

// replayAt replays packets at a gateway.
func (t *tap) replayAt(gateway int, packets []keptPacket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replay(packets, gateway)
}

func (t *tap) replay(packets []keptPacket, gateway int) {
	for _, k := range packets {
		t.up.replaying(k.number)
		t.face.WriteToUDPAddrPort(k.esp, t.gateways[gateway])
		t.replays++
	}
}

func (t *tap) replayed() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.replays
}

// maxDatagram is more than any datagram of the demo has, in octets.
const maxDatagram = 8192

// read hands each datagram to handle until the socket is closed.
func read(conn *net.UDPConn, handle func(from netip.AddrPort, datagram []byte)) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			handle(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n])
		}
	}
}

func localAddr(conn *net.UDPConn) netip.AddrPort {
	a := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
