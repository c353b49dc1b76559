//go:build linux && lab

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
	"github.com/cxtp/cxtp/transport/testcert"
)

// crowd is many stock clients, in one daemon, each with addresses and an identity
// of its own.
type crowd struct {
	*rig
	daemon *charon.Daemon
	conf   charon.Crowd
	inner  []netip.Addr // of each client
}

// newCrowd starts so many clients of the gateway at the virtual address.
func newCrowd(r *rig, ca *testcert.Authority, size int) *crowd {
	r.t.Helper()
	c := &crowd{rig: r, conf: charon.Crowd{Authority: ca, Gateway: "vpn.example", Address: topology.Virtual.V4}}
	local := topology.MN.V4
	for range size {
		local = local.Next()
		out, err := c.MN.Run(c.ctx, "ip", "address", "add", full(local).String(), "dev", topology.Outer)
		if err != nil {
			c.t.Fatalf("%v: %s", err, out)
		}
		c.conf.Local = append(c.conf.Local, local)
	}
	c.daemon = charon.Start(r.t, c.MN, c.conf)
	return c
}

// connect connects the clients, one after the other.
func (c *crowd) connect() {
	c.t.Helper()
	for i := range c.conf.Local {
		c.must(c.daemon.Connect(c.conf.Connection(i)))
	}
	c.learn()
}

// learn notes which inner addresses the clients have.
func (c *crowd) learn() {
	c.t.Helper()
	sas, err := c.daemon.SAs()
	c.must(err)
	at := map[string]netip.Addr{}
	for _, sa := range sas {
		at[sa.LocalHost] = netip.MustParseAddr(sa.LocalVIPs[0])
	}
	c.inner = nil
	for _, local := range c.conf.Local {
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

// stopAll ends the clients' traffic, and says what became of each one's.
func stopAll(flows []*traffic.Traffic) []traffic.Report {
	reports := make([]traffic.Report, len(flows))
	var stopped sync.WaitGroup
	for i, f := range flows {
		stopped.Go(func() { reports[i] = f.Stop(settle) })
	}
	stopped.Wait()
	return reports
}

// empty moves all clients of a gateway to the other one, and returns how long that
// took.
func (v *vpn) empty(from *gateway) time.Duration {
	v.t.Helper()
	began := time.Now()
	_, err := v.cxtp(from, "drain", "--to", from.Peer.Name)
	took := time.Since(began)
	v.must(err)
	return took
}

// emptied waits until the other gateway has the clients and the shared address, and
// opens this one again.
func (v *vpn) emptied(from *gateway, clients int) {
	v.t.Helper()
	v.awaitHolder(from.Peer, false)
	v.await(func() bool { return v.count(from.Peer, "active") == clients && v.count(from, "active") == 0 })
	v.await(func() bool { return v.answered(from.Peer) == clients && v.answered(from) == 0 })
	v.oneOwner()
	_, err := v.cxtp(from, "undrain")
	v.must(err)
}

// answered is for how many clients a gateway's charon answers.
func (v *vpn) answered(by *gateway) (n int) {
	v.t.Helper()
	sas, err := v.charons[slices.Index(v.gateways[:], by)].SAs()
	v.must(err)
	for _, sa := range sas {
		if sa.State == "ESTABLISHED" {
			n++
		}
	}
	return n
}

// TestStrongSwanCrowd drains a gateway of 50 stock clients under traffic, of 200
// when every case is asked for, and brings them back. No client notices.
func TestStrongSwanCrowd(t *testing.T) {
	size, every := 50, 400*time.Millisecond
	if os.Getenv("LAB_FULL") != "" {
		size = 200
	}
	steadily(t, func(t *testing.T) *rig { return moveCrowd(t, size, every) })
}

// few is how many packets each flow of a crowd's first client sends before a move, and
// after.
const few = 4

// moveCrowd moves so many clients there and back, each of which sends a datagram every
// so often.
func moveCrowd(t *testing.T, size int, every time.Duration) *rig {
	v := newVPNGateways(t, clientKind{})
	c := newCrowd(v.rig, v.ca, size)
	c.connect()
	v.await(func() bool { return v.count(v.gateways[0], "active") == size })
	before := c.daemon.Log()
	w, flows := c.watch(), c.begin(2*every, every)
	for _, from := range v.gateways {
		c.must(flows[0].Await(c.ctx, few))
		t.Logf("%s was drained in %v", from.Name, v.empty(from).Round(time.Millisecond))
		v.emptied(from, size)
	}
	c.must(flows[0].Await(c.ctx, few))
	var gap time.Duration
	for i, report := range stopAll(flows) {
		gap = max(gap, report.Blackout())
		c.lossless(fmt.Sprintf("client %d at %s", i, c.inner[i]), report)
	}
	t.Logf("%d clients; nothing came for %v at the longest", size, gap.Round(time.Millisecond))
	frames, err := w.Stop()
	c.must(err)
	seen := witness.Examine(frames, witness.Rules{
		Protected: []witness.Selector{{A: clientPool, B: full(topology.Host.V4)}}, Gateways: []string{"sg1", "sg2"}, IV: 8,
	})
	if !seen.Kept() {
		t.Error(seen)
	}
	said := strings.TrimPrefix(c.daemon.Log(), before)
	for _, word := range []string{"IKE_SA_INIT", "IKE_AUTH", "retransmit", "giving up", "reestablish", "reconnect"} {
		if n := strings.Count(said, word); n > 0 {
			t.Errorf("the clients have said %q %d times:\n%s", word, n, said)
			break
		}
	}
	if n := strings.Count(before, " established between "); n != size { // by IKE_AUTH, which may be said again
		t.Errorf("%d clients have had %d IKE SAs", size, n)
	}
	return v.rig
}
