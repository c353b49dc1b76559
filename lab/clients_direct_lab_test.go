//go:build linux && lab

package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
	"github.com/cxtp/cxtp/transport/testcert"
)

// newDirect is two stock strongSwan gateways with an outer address each and inner
// addresses to give of their own, our daemon beside each, and a stock client of the
// first.
func newDirect(t *testing.T, ipv6 bool, client charon.Extra) *vpn {
	t.Helper()
	v := &vpn{fleet: newFleet(t, "lossless", func(g *gateway) { g.Kind = "strongswan" })}
	ca, err := testcert.New()
	v.must(err)
	v.ca = ca
	halves := [2]netip.Prefix{netip.MustParsePrefix("10.4.0.0/25"), netip.MustParsePrefix("10.4.0.128/25")} // of clientPool
	for i, g := range v.gateways {
		v.charons[i] = charon.Start(t, g.Node, charon.Gateway{
			Identity: "vpn.example", Authority: ca, Address: g.Outer.Of(ipv6), Pool: halves[i],
		})
		v.must(os.Symlink(v.charons[i].Socket(), filepath.Join(v.folder, g.Name+".vici")))
	}
	for _, g := range v.gateways {
		v.met(g, 1)
	}
	v.shell(v.Host, "ip", "route", "replace", clientPool.String(), "dev", topology.Inner)
	v.mn = charon.Start(t, v.MN, charon.Client{
		Identity: "mn.example", Authority: ca, Gateway: "vpn.example", Address: topology.SG1.Of(ipv6), Extra: client,
	})
	return v
}

// follows moves the client from a gateway to its peer, and checks that it sends
// there.
func (v *vpn) follows(from *gateway, id cxtp.SessionID, flows *traffic.Traffic, ipv6 bool) {
	v.t.Helper()
	v.handover(from, id)
	v.stands(from, id, "gone")
	v.stands(from.Peer, id, "active")
	v.must(flows.Await(v.ctx, some))
	if sa, _ := v.only(v.mn, anySA); sa.RemoteHost != from.Peer.Outer.Of(ipv6).String() {
		v.t.Errorf("the client's gateway is at %s, want %s", sa.RemoteHost, from.Peer.Outer.Of(ipv6))
	}
}

// loseIKE has the router drop the first two or three messages of an address.
func (v *vpn) loseIKE(from netip.Addr) {
	v.t.Helper()
	program := "iptables-legacy"
	if from.Is6() {
		program = "ip6tables-legacy"
	}
	v.shell(v.Router, program, "-I", "FORWARD", "-s", from.String(), "-p", "udp", "--sport", "4500", "-m", "quota", "--quota", "350", "-j", "DROP")
}

// verdictOnFollower is a verdict on a client that had to change addresses. A
// strongSwan takes its policies and its inner address away to do that, and puts
// them back, which costs it some packets; the gateways have refused none.
func (v *vpn) verdictOnFollower(w *witness.Witness, inner netip.Addr, report traffic.Report) {
	v.t.Helper()
	v.lawful(w, inner)
	const ownDoing = 150 // of some thousands: hardly any, unless the machine is busy
	refused := v.refusals()
	v.lost.also("the client", report, report.Lost() <= ownDoing)
	if report.Lost() > ownDoing || strings.Contains(refused, "sg") {
		v.lost.missing += refused
	}
	v.t.Logf("%v; %s", report, refused)
}

// TestStrongSwanDirect moves a stock client between gateways that have an address
// each, there, back, and there again when all has been rekeyed: it follows by MOBIKE.
// It is not told at once, because the second gateway's first messages are lost: the
// first has to go on receiving for longer than what is under way may take.
func TestStrongSwanDirect(t *testing.T) {
	for name, ipv6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			steadily(t, func(t *testing.T) *rig {
				v := newDirect(t, ipv6, charon.Extra{})
				id, inner := v.connect()
				before := v.mn.Log()
				w, flows := v.watch(), v.flows(inner)
				v.must(flows.Await(v.ctx, some))
				v.loseIKE(topology.SG2.Of(ipv6))
				v.follows(v.gateways[0], id, flows, ipv6)
				v.follows(v.gateways[1], id, flows, ipv6)
				v.rekeys(v.charons[0])
				v.follows(v.gateways[0], id, flows, ipv6)
				v.verdictOnFollower(w, inner, flows.Stop(settle))
				v.undisturbed(before)
				return v.rig
			})
		})
	}
}

// TestStrongSwanImmobile: a client that could not follow to another address is
// refused beforehand, and nothing has happened to it.
func TestStrongSwanImmobile(t *testing.T) {
	for _, c := range []struct {
		name   string
		client charon.Extra
		nat    bool
		why    string
	}{
		{"without MOBIKE", charon.Extra{Connection: "mobike = no"}, false, "it has no MOBIKE"},
		{"behind a NAT", charon.Extra{}, true, "is behind a NAT that lets nothing in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			steadily(t, func(t *testing.T) *rig {
				v := newDirect(t, false, c.client)
				here, there := v.gateways[0], v.gateways[1]
				if c.nat {
					v.must(v.NAT(v.ctx, natPort, natPort))
				}
				id, inner := v.connect()
				w, flows := v.watch(), v.flows(inner)
				v.must(flows.Await(v.ctx, some))
				if out, err := v.cxtp(here, "handover", id.String(), "--to", there.Name); err == nil || !strings.Contains(out+err.Error(), cxtp.StatusImmobile.String()) {
					t.Errorf("moved: %v %s", err, out)
				}
				v.awaitLog(there, c.why)
				v.stands(here, id, "active")
				v.stands(there, id, "gone")
				v.without(v.charons[1])
				v.must(v.mn.Rekey("child", charon.Child))
				v.must(flows.Await(v.ctx, some))
				v.verdict(w, inner, flows.Stop(settle))
				return v.rig
			})
		})
	}
}

// natPort is the client's outside of the NAT.
const natPort = 50000

// TestStrongSwanOpenNAT: where the NAT in front of a client lets everybody in, it
// follows.
func TestStrongSwanOpenNAT(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newDirect(t, false, charon.Extra{})
		v.must(v.NAT(v.ctx, natPort, natPort))
		v.shell(v.Router, "iptables-legacy", "-t", "nat", "-A", "PREROUTING", "-p", "udp", "-d", topology.NATAddress.String(),
			"--dport", "50000", "-j", "DNAT", "--to-destination", topology.MN.V4.String()+":4500")
		id, inner := v.connect()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		v.follows(v.gateways[0], id, flows, false)
		v.follows(v.gateways[1], id, flows, false)
		v.rekeys(v.charons[0])
		v.must(flows.Await(v.ctx, some))
		v.verdictOnFollower(w, inner, flows.Stop(settle))
		return v.rig
	})
}
