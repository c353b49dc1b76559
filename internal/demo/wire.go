package demo

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// wire is a stretch of the network that CXTP's datagrams cross, and where some
// of them get lost. It has a socket for each place that somebody sends to:
//
//	sg1 ----> [stands for sg2] \/ [stands for sg1] <---- sg2
//
//	agent --> [stands for sg1] -- [stands for the agent] <---- sg1
//	      --> [stands for sg2] --                        <---- sg2
//
// What comes to one leaves through the one that stands for its sender, so
// neither end can tell that the wire is there.
type wire struct {
	conns []*net.UDPConn
	// cross says through which socket, and where to, a datagram leaves; false for
	// one of a stranger.
	cross   func(at int, from netip.AddrPort) (through int, to netip.AddrPort, ok bool)
	percent int
	seed    uint64

	passed, dropped atomic.Uint64
}

// routerWire is the wire between two routers' transports.
func routerWire(p *place, routers [2]netip.AddrPort) (*wire, error) {
	w := &wire{}
	w.cross = func(at int, from netip.AddrPort) (int, netip.AddrPort, bool) {
		return 1 - at, routers[at], from == routers[1-at]
	}
	return w, w.open(p, 2)
}

// agentFace is the socket of an agent's wire that stands for the agent.
const agentFace = 2

// agentWire is the wire between a node's agent and two routers.
func agentWire(p *place, routers [2]netip.AddrPort, agent netip.AddrPort) (*wire, error) {
	w := &wire{}
	w.cross = func(at int, from netip.AddrPort) (int, netip.AddrPort, bool) {
		if at != agentFace {
			return agentFace, routers[at], from == agent
		}
		for i, r := range routers {
			if r == from {
				return i, agent, true
			}
		}
		return 0, agent, false
	}
	return w, w.open(p, agentFace+1)
}

func (w *wire) open(p *place, sockets int) error {
	for range sockets {
		conn, err := p.listen()
		if err != nil {
			return err
		}
		w.conns = append(w.conns, conn)
	}
	return nil
}

// lose sets the share of datagrams to be lost, and what chooses them.
func (w *wire) lose(percent int, seed uint64) { w.percent, w.seed = percent, seed }

// at is where the socket is that stands for somebody.
func (w *wire) at(socket int) netip.AddrPort { return localAddr(w.conns[socket]) }

// run carries datagrams until ctx ends.
func (w *wire) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	var tasks sync.WaitGroup
	for i := range w.conns {
		tasks.Go(func() { w.carry(i) })
	}
	tasks.Wait()
}

func (w *wire) close() {
	for _, conn := range w.conns {
		conn.Close()
	}
}

// carry serves one socket. Each has a lottery of its own, so that the n-th
// datagram that comes to it has the same fate whenever the seed is the same.
func (w *wire) carry(at int) {
	lottery := rand.New(rand.NewPCG(w.seed, uint64(at)))
	read(w.conns[at], func(from netip.AddrPort, datagram []byte) {
		through, to, ok := w.cross(at, from)
		switch {
		case !ok:
		case lottery.IntN(100) < w.percent:
			w.dropped.Add(1)
		default:
			w.passed.Add(1)
			w.conns[through].WriteToUDPAddrPort(datagram, to)
		}
	})
}

// WireFigures count the datagrams of CXTP that got lost on their way, where some
// have to.
type WireFigures struct {
	Datagrams uint64 `json:"datagrams"`
	Dropped   uint64 `json:"dropped"`
}

func (w *wire) figures() WireFigures {
	dropped := w.dropped.Load()
	return WireFigures{Datagrams: w.passed.Load() + dropped, Dropped: dropped}
}

// since is what has come since an earlier count.
func (f WireFigures) since(before WireFigures) WireFigures {
	return WireFigures{f.Datagrams - before.Datagrams, f.Dropped - before.Dropped}
}

// lost is what the wires have carried so far, and what not.
func (d *demo) lost() (all WireFigures) {
	for _, w := range []*wire{d.routers, d.agents} {
		if w != nil {
			f := w.figures()
			all.Datagrams += f.Datagrams
			all.Dropped += f.Dropped
		}
	}
	return all
}
