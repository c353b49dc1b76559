//go:build linux && lab

package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/soft"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/topology"
)

// softSuites are those that the gateway in user space has.
var softSuites = matrix.Axis{Name: axisSuite, Values: []string{"gcm", "gcm256", "chacha", "cbc-sha256", "cbc256-sha256"}}

// softConnections are all that it can have: ESP in UDP, in tunnel mode.
var softConnections = []matrix.Axis{
	softSuites,
	{Name: axisESN, Values: []string{"esn", "32bit"}},
	{Name: axisMode, Values: []string{"tunnel"}},
	{Name: axisFamily, Values: []string{"4in4", "6in6", "4in6", "6in4"}},
	{Name: axisEncap, Values: []string{"udp"}},
	{Name: axisUplink, Values: []string{"direct"}},
}

// softGateway runs a gateway in user space in a node, between a UDP socket and
// a tunnel.
func (r *rig) softGateway(n *topology.Node, l *link) backend {
	r.t.Helper()
	tunnel, err := n.Tunnel("soft", topology.MNInner.V4, topology.MNInner.V6)
	r.must(err)
	var outside soft.Wire
	r.must(n.Do(func() (err error) {
		outside, err = soft.ListenUDP(netip.AddrPortFrom(l.gate, encapPort))
		return err
	}))
	g, err := soft.New(soft.Config{Outside: outside, Inside: tunnel, NextHop: tunnel.NextHop()})
	r.must(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	r.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
	return softBackend{g, func() error {
		return n.Do(func() error {
			conn, err := net.Dial("udp", netip.AddrPortFrom(l.inner, 9).String())
			if err != nil {
				return err
			}
			_, err = conn.Write(nil)
			return errors.Join(err, conn.Close())
		})
	}}
}

// softBackend is a gateway in user space with the methods of the others.
type softBackend struct {
	*soft.Gateway
	stray func() error // sends a packet into its tunnel that is no session's
}

func (g softBackend) Install(_ context.Context, id cxtp.SessionID, s *ipsecctx.Session, d []ipsecctx.Dynamic) error {
	return g.Gateway.Install(id, s, d)
}

// Freeze is of a gateway that has sent on what was in its tunnel. A kernel does that at
// once; this one does when it gets the guest's processor.
func (g softBackend) Freeze(ctx context.Context, id cxtp.SessionID) ([]ipsecctx.Dynamic, error) {
	refused := func() uint64 {
		st := g.Stats()
		return st.Stray.PolicyDrops + st.Out.PolicyDrops
	}
	before := refused()
	if err := g.stray(); err != nil {
		return nil, err
	}
	if !comes(func() bool { return refused() > before }) {
		return nil, errors.New("the gateway does not read its tunnel")
	}
	return g.Gateway.Freeze(ctx, id)
}

// The gateway in user space and a kernel understand each other, in both
// directions.
func TestSoftWithKernel(t *testing.T) {
	for _, c := range matrix.Cases(softConnections, possible) {
		t.Run(c.String(), func(t *testing.T) {
			steadily(t, func(t *testing.T) *rig {
				r, l := newRig(t), linkOf(c)
				g := r.softGateway(r.SG1, l)
				r.must(g.Install(r.ctx, session, l.session(), nil))
				r.connectNode(l)
				w := r.watch()
				flows := r.traffic(l)
				r.must(flows.Await(r.ctx, some))
				r.lossless("at rest", flows.Stop(settle))
				r.judge(w, l)
				return r
			})
		})
	}
}

// A session moves from the gateway in user space to the kernel's, and the other
// way round.
func TestMoveBetweenKinds(t *testing.T) {
	axes := append(softConnections[:len(softConnections):len(softConnections)],
		matrix.Axis{Name: axisMove, Values: []string{"lossless"}},
		matrix.Axis{Name: axisDelay, Values: []string{"0ms", "40ms"}})
	kernel := func(r *rig, n *topology.Node, l *link, strict bool) backend { return r.kernelGateway(n, l, strict) }
	user := func(r *rig, n *topology.Node, l *link, _ bool) backend { return r.softGateway(n, l) }
	t.Run("to the kernel", func(t *testing.T) { testMoves(t, axes, user, kernel) })
	t.Run("to user space", func(t *testing.T) { testMoves(t, axes, kernel, user) })
}
