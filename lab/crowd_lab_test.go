//go:build linux && lab

package lab

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
)

// crowd is a vpn with many stock clients, in one daemon, each with addresses and
// an identity of its own.
type crowd struct {
	*vpn
	clients charon.Crowd
	inner   []netip.Addr // of each client
}

// newCrowd connects so many clients to the first gateway.
func newCrowd(t testing.TB, size int, extra charon.Extra) *crowd {
	t.Helper()
	v := newVPNGateways(t, clientKind{gateway: extra})
	c := &crowd{vpn: v, clients: charon.Crowd{Authority: v.ca, Gateway: "vpn.example", Address: topology.Virtual.V4}}
	local := topology.MN.V4
	for range size {
		local = local.Next()
		c.shell(c.MN, "ip", "address", "add", full(local).String(), "dev", topology.Outer)
		c.clients.Local = append(c.clients.Local, local)
	}
	c.mn = charon.Start(t, c.MN, c.clients)
	for i := range size {
		c.must(c.mn.Connect(c.clients.Connection(i)))
	}
	c.learn()
	return c
}

// learn notes which inner addresses the clients have.
func (c *crowd) learn() {
	c.t.Helper()
	sas, err := c.mn.SAs()
	c.must(err)
	at := map[string]netip.Addr{}
	for _, sa := range sas {
		at[sa.LocalHost] = netip.MustParseAddr(sa.LocalVIPs[0])
	}
	c.inner = nil
	for _, local := range c.clients.Local {
		c.inner = append(c.inner, at[local.String()])
	}
}

// begin sends traffic between each client and the host.
func (c *crowd) begin(echo, datagrams time.Duration) (all []*traffic.Traffic) {
	c.t.Helper()
	const firstPort = 6000
	for i, inner := range c.inner {
		f, err := traffic.Start(traffic.Options{
			Near: traffic.End{Node: c.MN, Addr: inner}, Far: []traffic.End{{Node: c.Host, Addr: topology.Host.V4}},
			EchoEvery: echo, UDPEvery: datagrams, Port: firstPort + uint16(i),
		})
		c.must(err)
		all = append(all, f)
	}
	return all
}

// empty moves all of a gateway's clients to the other one, and the shared address
// with them. It returns how long that took.
func (c *crowd) empty(from *gateway) time.Duration {
	c.t.Helper()
	began := time.Now()
	_, err := c.cxtp(from, "drain", "--to", from.Peer.Name)
	took := time.Since(began)
	if err != nil {
		c.t.Error(err)
	}
	c.awaitHolder(from.Peer, false)
	c.await(func() bool { return c.count(from.Peer, "active") == len(c.inner) && c.count(from, "active") == 0 })
	c.oneOwner()
	_, err = c.cxtp(from, "undrain")
	c.must(err)
	return took
}

// TestStrongSwanCrowd drains a gateway of 50 stock clients under traffic, of 200
// when every case is asked for, and brings them back. No client notices.
func TestStrongSwanCrowd(t *testing.T) {
	size, every := 50, 100*time.Millisecond
	if os.Getenv("LAB_FULL") != "" {
		size, every = 200, 400*time.Millisecond
	}
	c := newCrowd(t, size, charon.Extra{})
	c.await(func() bool { return c.count(c.gateways[0], "active") == size })
	before := c.mn.Log()
	w, flows := c.watch(), c.begin(2*every, every)
	for i := range 2 {
		c.must(flows[0].Await(c.ctx, 10))
		t.Logf("%s was drained in %v", c.gateways[i].Name, c.empty(c.gateways[i]).Round(time.Millisecond))
	}
	c.must(flows[0].Await(c.ctx, 10))
	var gap time.Duration
	for i, f := range flows {
		report := f.Stop(settle)
		gap = max(gap, report.Blackout())
		if report.Lost()+report.Duplicated() > 0 {
			t.Errorf("client %d at %s: %v; %s", i, c.inner[i], report, c.refusals())
		}
	}
	t.Logf("%d clients; nothing came for %v at the longest", size, gap.Round(time.Millisecond))
	frames, err := w.Stop()
	c.must(err)
	seen := witness.Examine(frames, witness.Rules{
		Protected: []witness.Selector{{A: clientPool, B: full(topology.Host.V4)}}, Gateways: []string{"sg1", "sg2"}, IV: 8,
	})
	if !seen.Kept() {
		t.Errorf("a law is broken: %v", seen)
	}
	said := strings.TrimPrefix(c.mn.Log(), before)
	for _, word := range []string{"IKE_SA_INIT", "IKE_AUTH", "retransmit", "giving up", "reestablish", "reconnect"} {
		if n := strings.Count(said, word); n > 0 {
			t.Errorf("the clients have said %q %d times:\n%s", word, n, said)
			break
		}
	}
	if n := strings.Count(before, "parsed IKE_AUTH response"); n != size {
		t.Errorf("%d clients authenticated %d times", size, n)
	}
}
