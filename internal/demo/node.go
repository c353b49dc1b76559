package demo

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/agent"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/soft"
)

// node is the mobile node: a userspace IPsec stack, an application that sends
// and receives, and the agent, which points the stack at the gateway that an
// authenticated update names.
type node struct {
	outside     *net.UDPConn
	stack       *soft.Gateway
	agent       *agent.Agent
	app         *app
	inner, peer netip.AddrPort // inner endpoints: its own, and the host's
	up          *flow
}

// nodeConfig is what a node is made from.
type nodeConfig struct {
	outside     *net.UDPConn
	session     *ipsecctx.Session // with the directions as the node sees them
	dynamic     []ipsecctx.Dynamic
	agent       agent.Config // without Follow
	inner, peer netip.AddrPort
	up, down    *flow
	tap         *tap
	followed    func(gateway netip.AddrPort, at time.Time)
}

func newNode(c nodeConfig) (*node, error) {
	n := &node{outside: c.outside, inner: c.inner, peer: c.peer, up: c.up}
	n.app = newApp(func(packet []byte) {
		if number, ok := packetNumber(packet); ok {
			c.down.arrived(number, time.Now())
		}
	})
	var err error
	n.stack, err = soft.New(soft.Config{Outside: c.outside, Inside: n.app, NextHop: c.inner, Host: true})
	if err != nil {
		return nil, err
	}
	if err := n.stack.Install(c.agent.Agent.Session, c.session, c.dynamic); err != nil {
		return nil, err
	}
	c.agent.Follow = func(f cxtp.AgentFollow) error {
		remote, err := c.tap.address(f.Gateway)
		if err != nil {
			return err
		}
		c.followed(f.Gateway, time.Now())
		return n.stack.SetRemote(c.agent.Agent.Session, remote)
	}
	n.agent, err = agent.New(c.agent)
	return n, err
}

// run is the node's life, until ctx ends.
func (n *node) run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { n.stack.Run(ctx) })
	tasks.Go(func() { n.agent.Run(ctx) })
	tasks.Wait()
}

// close ends a node, also one that never ran.
func (n *node) close() {
	n.outside.Close()
	n.app.Close()
	n.agent.Close()
}

// send sends the next packet to the host. It waits while the stack is behind.
func (n *node) send() {
	select {
	case n.app.packets <- appendPacket(nil, n.inner, n.peer, n.up.next()):
	case <-n.app.closed:
	}
}

func (n *node) burst() {
	for range burstPackets {
		n.send()
	}
}

// app is the application's side of the node's stack: a wire in memory, which
// loses nothing.
type app struct {
	packets chan []byte
	receive func([]byte)
	closed  chan struct{}
	once    sync.Once
}

var _ soft.Wire = (*app)(nil)

func newApp(receive func([]byte)) *app {
	return &app{packets: make(chan []byte, 4*burstPackets), receive: receive, closed: make(chan struct{})}
}

// ReadFromUDPAddrPort gives the stack the application's next packet.
func (a *app) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case packet := <-a.packets:
		return copy(b, packet), netip.AddrPort{}, nil
	case <-a.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// WriteToUDPAddrPort takes a packet from the stack.
func (a *app) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	a.receive(b)
	return len(b), nil
}

// Close ends a read that waits.
func (a *app) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}
