//go:build linux && lab

package lab

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
	"github.com/cxtp/cxtp/transport/testcert"
)

// vpn is two stock strongSwan gateways that share the virtual address, each with
// our daemon beside it, and a stock client. The first has the address.
type vpn struct {
	*fleet
	charons [2]*charon.Daemon
	mn      *charon.Daemon
	kind    clientKind
	ca      *testcert.Authority // of all certificates
	staying *traffic.Traffic    // of another client, which is not moved
}

func newVPN(t *testing.T, extra charon.Extra) *vpn {
	t.Helper()
	return newVPNOf(t, clientKind{gateway: extra})
}

// newVPNOf is a VPN for a kind of client.
func newVPNOf(t *testing.T, k clientKind) *vpn {
	t.Helper()
	v := newVPNGateways(t, k)
	v.mn = v.stock(v.MN)
	return v
}

// newVPNGateways is one that has no client yet.
func newVPNGateways(t testing.TB, k clientKind) *vpn {
	t.Helper()
	v := &vpn{fleet: newSharing(t, "lossless", func(g *gateway) { g.Kind, g.Lease = "strongswan", k.lease })}
	ca, err := testcert.New()
	v.must(err)
	v.ca, v.kind = ca, k
	if k.nat {
		v.translate(map[*topology.Node]uint16{v.MN: firstPort, v.MN2: secondPort})
	}
	for i, g := range v.gateways {
		v.charons[i] = charon.Start(t, g.Node, charon.Gateway{
			Identity: "vpn.example", Authority: ca, Address: topology.Virtual.Of(k.ipv6), Pool: clientPool, Release: k.releases[i], Extra: k.gateway,
		})
		// The daemon's configuration was there before charon's folder was.
		v.must(os.Symlink(v.charons[i].Socket(), filepath.Join(v.folder, g.Name+".vici")))
	}
	for i, g := range v.gateways {
		v.met(g, 1)
		if k.releases[i] != "" {
			v.awaitLog(g, met+" release=6.")
		}
	}
	v.shell(v.Host, "ip", "route", "replace", clientPool.String(), "dev", topology.Inner)
	return v
}

// stock starts a client of the kind on a node.
func (v *vpn) stock(n *topology.Node) *charon.Daemon {
	v.t.Helper()
	return charon.Start(v.t, n, charon.Client{
		Identity: n.Name + ".example", Authority: v.ca, Gateway: "vpn.example", Address: topology.Virtual.Of(v.kind.ipv6), Release: v.kind.release, Extra: v.kind.client,
	})
}

// awaitLog waits until a daemon has logged something.
func (v *vpn) awaitLog(g *gateway, what string) {
	v.t.Helper()
	if !comes(func() bool { return strings.Contains(g.log.String(), what) }) {
		v.t.Fatalf("%s has not said %q", g.Name, what)
	}
}

// met is what a gateway's daemon logs of each charon that is as a move needs it. Until it
// has missed one that was started again, its status is that of the one before.
const met = `msg="charon is there"`

// met waits until a gateway's daemon has met so many charons, or one so many times, and
// its clients can be moved.
func (v *vpn) met(g *gateway, times int) {
	v.t.Helper()
	v.await(func() bool { return strings.Count(g.log.String(), met) >= times })
	v.awaitStatus(g, "")
}

// meets does something that has a gateway's daemon and a charon meet, and waits until
// its clients can be moved.
func (v *vpn) meets(g *gateway, do func() error) {
	v.t.Helper()
	before := strings.Count(g.log.String(), met)
	v.must(do())
	v.met(g, before+1)
}

// restarts starts a gateway's daemon that was ended.
func (v *vpn) restarts(g *gateway) {
	v.t.Helper()
	v.meets(g, func() error { return v.start(g) })
}

// connect has the client connect, and waits until the gateway's daemon has its
// session.
func (v *vpn) connect() (cxtp.SessionID, netip.Addr) {
	v.t.Helper()
	return v.connects(v.mn)
}

// connects is connect for a client of several.
func (v *vpn) connects(d *charon.Daemon) (cxtp.SessionID, netip.Addr) {
	v.t.Helper()
	v.must(d.Initiate(charon.Child))
	sas, err := d.SAs()
	v.must(err)
	inner := topology.MNInner.V4 // of a client that has it anyway
	if len(sas[0].LocalVIPs) > 0 {
		inner = netip.MustParseAddr(sas[0].LocalVIPs[0])
	}
	return v.hasCome(v.gateways[0], inner), inner
}

// hasCome waits until a gateway's daemon has the session of a client that has connected.
func (v *vpn) hasCome(to *gateway, inner netip.Addr) (id cxtp.SessionID) {
	v.t.Helper()
	v.await(func() bool {
		views := v.views(to)
		i := slices.IndexFunc(views, func(s control.Session) bool {
			return s.State == "active" && len(s.Inner) > 0 && s.Inner[0].Contains(inner)
		})
		if i < 0 {
			return false
		}
		id = views[i].Session
		return true
	})
	return id
}

// handover orders a move from the command line, and again as long as the answer is that
// the client is busy: what was rekeyed takes five seconds to come to rest, which is most
// of what a move waits.
func (v *vpn) handover(from *gateway, id cxtp.SessionID) {
	v.t.Helper()
	const busy = 5 // the command's status
	v.await(func() bool {
		_, err := v.cxtp(from, "handover", id.String(), "--to", from.Peer.Name)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == busy {
			v.t.Log(err)
			return false
		}
		v.must(err)
		return true
	})
}

// flows sends traffic between the client and the host.
func (v *vpn) flows(inner netip.Addr) *traffic.Traffic {
	v.t.Helper()
	f, err := traffic.Start(traffic.Options{
		Near: traffic.End{Node: v.MN, Addr: inner}, Far: []traffic.End{{Node: v.Host, Addr: topology.Host.V4}},
	})
	v.must(err)
	return f
}

// verdict is what the wire and the traffic say.
func (v *vpn) verdict(w *witness.Witness, inner netip.Addr, report traffic.Report) {
	v.t.Helper()
	v.lawful(w, inner)
	v.lossless("the client", report)
	v.t.Logf("%v", report)
}

// TestStrongSwanMove moves a stock client between two stock gateways, there and
// back, while it sends and receives; it notices nothing, and all can rekey after.
func TestStrongSwanMove(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPN(t, charon.Extra{})
		id, inner := v.connect()
		before := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		for i := range 2 {
			from := v.gateways[i]
			v.handover(from, id)
			v.stands(from, id, "gone")
			v.stands(from.Peer, id, "active")
			v.must(flows.Await(v.ctx, some))
		}
		v.rekeys(v.charons[0])
		v.must(flows.Await(v.ctx, some))
		v.verdict(w, inner, flows.Stop(settle))
		if said := strings.TrimPrefix(v.mn.Log(), before); strings.Contains(said, "IKE_AUTH") {
			t.Errorf("the client connected again:\n%s", said)
		}
		return v.rig
	})
}

// TestStrongSwanSPIConflict moves a client to a gateway in whose kernel something
// else has the SPI on which it sends. With "renegotiate" its charon rekeys, and then
// it moves.
func TestStrongSwanSPIConflict(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPN(t, charon.Extra{})
		here, there := v.gateways[0], v.gateways[1]
		v.meets(there, func() error {
			v.reconfigure(there, "[gateway]\n", "[gateway]\nspi_conflict = \"renegotiate\"\n")
			return nil
		})
		id, inner := v.connect()
		_, child := v.only(v.charons[0], anySA)
		v.shell(there.Node, "ip", "xfrm", "state", "add", "src", "198.51.100.77", "dst", topology.Virtual.V4.String(),
			"proto", "esp", "spi", "0x"+child.SPIIn, "mode", "tunnel", "aead", "rfc4106(gcm(aes))", "0x"+strings.Repeat("77", 20), "128")
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		v.handover(here, id)
		v.stands(there, id, "active")
		v.must(flows.Await(v.ctx, some))
		if _, moved := v.only(v.charons[1], anySA); moved.SPIIn == child.SPIIn {
			t.Errorf("it still receives on %s", moved.SPIIn)
		}
		v.verdict(w, inner, flows.Stop(settle))
		return v.rig
	})
}
