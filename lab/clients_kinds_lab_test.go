//go:build linux && lab

package lab

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/route"
	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
)

// clientKind is a kind of client, as far as the configurations of both sides make it.
type clientKind struct {
	name            string
	full            bool // only tried when every case is asked for
	gateway, client charon.Extra
	ipv6            bool   // outer addresses
	nat             bool   // both nodes are behind one
	iv              int    // octets of IV that an ESP packet has; 0 = 8
	children        int    // that the client has; 0 = 1
	identity        string // by which the daemon is to know it; "" = its certificate's
	lease           string // that its gateways' daemons give each other; "" = none

	// Of Debian, whose strongSwan the gateways and the client are; "" = the machine's.
	releases [2]string
	release  string

	// What happens, where anything does: before the client connects, before it moves,
	// at the second gateway, and when it is back and its traffic has ended.
	prepare, before, between, after func(*vpn)
}

// both is a kind whose sides have the same in the child's section.
func both(name, child string) clientKind {
	extra := charon.Extra{Child: child}
	return clientKind{name: name, gateway: extra, client: extra}
}

// password is that of a client that has one in place of a certificate.
const password = "secrets {\neap-mn {\nid = alice@vpn.example\nsecret = \"not very\"\n}\n}"

// with is a kind with a change.
func (k clientKind) with(change func(*clientKind)) clientKind {
	change(&k)
	return k
}

var clientKinds = []clientKind{
	both("esn", "esp_proposals = aes256gcm16-esn\nreplay_window = 128").with(func(k *clientKind) {
		k.gateway.Connection, k.after = asks, func(v *vpn) { v.awaitAnswer(v.charons[0]) }
	}),
	both("aes-cbc-in-udp", "esp_proposals = aes256-sha256").with(func(k *clientKind) {
		const ike = "proposals = aes256-sha384-ecp384\n"
		k.gateway.Connection, k.client.Connection = ike, ike+"encap = yes\n"+asks
		k.iv, k.after = 16, func(v *vpn) { v.awaitAnswer(v.mn) }
	}),
	both("chacha20", "esp_proposals = chacha20poly1305").with(func(k *clientKind) { k.full = true }),
	both("pfs", "esp_proposals = chacha20poly1305-x25519").with(func(k *clientKind) {
		k.gateway.Daemon = soon
		k.before, k.between = rekeyTwice, func(v *vpn) { v.rekeys(v.charons[1]) }
	}),
	{name: "ipv6", ipv6: true, gateway: charon.Extra{Daemon: stays}},
	{name: "eap-mschapv2", identity: "alice@vpn.example",
		gateway: charon.Extra{Connection: "remote {\nauth = eap-mschapv2\neap_id = %any\ncacerts =\n}", File: password},
		client:  charon.Extra{Connection: "local {\nauth = eap-mschapv2\neap_id = alice@vpn.example\n}", File: password}},
	{name: "eap-tls", identity: "mn.example", full: true,
		gateway: charon.Extra{Connection: "remote {\nauth = eap-tls\neap_id = %any\n}"},
		client:  charon.Extra{Connection: "local {\nauth = eap-tls\neap_id = mn.example\n}"}},
	{name: "two-children", children: 2,
		gateway: charon.Extra{Child: "local_ts = 10.2.0.0/24[icmp]", Connection: "children {\nother {\nesp_proposals = aes128gcm16\nlocal_ts = 10.2.0.0/24[udp]\n}\n}"},
		client:  charon.Extra{Child: "remote_ts = 10.2.0.0/24[icmp]", Connection: "children {\nother {\nesp_proposals = aes128gcm16\nremote_ts = 10.2.0.0/24[udp]\n}\n}"}},
	{name: "nat", nat: true, full: true},
	{name: "two-behind-nat", nat: true, before: secondClient},
	{name: "6.0.1", releases: [2]string{"", "trixie"}, before: rekeyTwice, between: func(v *vpn) { v.rekeys(v.charons[1]) }},
	{name: "6.0.1-to-6.1.0", releases: [2]string{"trixie", "testing"}, release: "trixie", full: true,
		before: rekeyTwice, between: func(v *vpn) { v.rekeys(v.charons[1]) }},
	{name: "6.1.0", releases: [2]string{"", "testing"}, full: true, before: rekeyTwice, between: func(v *vpn) { v.rekeys(v.charons[1]) }},
	{name: "site", prepare: routeToSite,
		gateway: charon.Extra{Connection: "pools =", Child: "remote_ts = 10.1.0.0/24"},
		client:  charon.Extra{Connection: "vips =", Child: "local_ts = 10.1.0.0/24"}},
}

// TestStrongSwanKinds moves stock clients of every kind there and back, under
// traffic. None loses a packet, or connects again; what the first gateway has
// accepted the second refuses; and all can rekey after.
func TestStrongSwanKinds(t *testing.T) {
	for _, k := range clientKinds {
		if k.full && os.Getenv("LAB_FULL") != "1" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			steadily(t, func(t *testing.T) *rig { return newVPNOf(t, k).thereAndBack() })
		})
	}
}

// thereAndBack has the client connect, and moves it to the second gateway and back.
func (v *vpn) thereAndBack() *rig {
	v.t.Helper()
	k := v.kind
	if k.prepare != nil {
		k.prepare(v)
	}
	id, inner := v.connect()
	if k.children > 1 {
		v.must(v.mn.Initiate("other"))
	}
	v.identified(id)
	connected := v.mn.Log()
	w, flows := v.watch(), v.flows(inner)
	v.must(flows.Await(v.ctx, some))
	if k.before != nil {
		k.before(v)
	}
	for i, from := range v.gateways {
		v.handover(from, id)
		v.stands(from, id, "gone")
		v.stands(from.Peer, id, "active")
		v.must(flows.Await(v.ctx, some))
		v.replay(w, from.Peer)
		v.must(flows.Await(v.ctx, some))
		if i == 0 && k.between != nil {
			k.between(v)
		}
	}
	v.rekeys(v.charons[0])
	v.must(flows.Await(v.ctx, some))
	v.verdict(w, inner, flows.Stop(settle))
	if v.staying != nil {
		v.lossless("the client that stayed", v.staying.Stop(settle))
	}
	if k.after != nil {
		k.after(v)
	}
	v.connectedOnce(v.mn, connected)
	return v.rig
}

// identified sees that the daemon knows a client by its name.
func (v *vpn) identified(id cxtp.SessionID) {
	v.t.Helper()
	want := v.kind.identity
	if want == "" {
		want = "mn.example"
	}
	for _, s := range v.views(v.gateways[0]) {
		if s.Session == id && !strings.Contains(s.Identity, want) {
			v.t.Errorf("the client is %q to its gateway, not %q", s.Identity, want)
		}
	}
}

// replay shows a gateway what the client has sent until now.
func (v *vpn) replay(w *witness.Witness, to *gateway) {
	v.t.Helper()
	gate := topology.Virtual.Of(v.kind.ipv6)
	old := witness.Select(w.Frames(), func(f witness.Frame, p witness.Packet) bool {
		return f.Out && f.From == v.MN.Name && p.Dst == gate
	})
	v.must(witness.Replay(v.Topology, old, to.Node, gate))
	if len(old) < 2*some {
		v.t.Errorf("only %d packets could be replayed", len(old))
	}
}

// lawful ends the capture, and fails the test if a law was broken.
func (v *vpn) lawful(w *witness.Witness, inner netip.Addr) {
	v.t.Helper()
	frames, err := w.Stop()
	v.must(err)
	iv := v.kind.iv
	if iv == 0 {
		iv = 8
	}
	seen := witness.Examine(frames, witness.Rules{
		Protected: []witness.Selector{{A: full(inner), B: full(topology.Host.V4)}}, Gateways: []string{"sg1", "sg2"}, IV: iv,
	})
	if !seen.Kept() {
		v.t.Errorf("a law is broken: %v", seen)
	}
}

// connectedOnce sees that a client has not connected again since it has logged
// what it had then.
func (v *vpn) connectedOnce(client *charon.Daemon, before string) {
	v.t.Helper()
	said := strings.TrimPrefix(client.Log(), before)
	for _, again := range []string{"IKE_SA_INIT", "IKE_AUTH", "restarting", "reestablish"} {
		if strings.Contains(said, again) {
			v.t.Errorf("the client connected again: %s", said)
		}
	}
}

// rekeys has the client and a gateway rekey everything.
func (v *vpn) rekeys(at *charon.Daemon) {
	v.t.Helper()
	names := []string{charon.Child, "other"}[:max(v.kind.children, 1)]
	for _, side := range []struct {
		at   *charon.Daemon
		name string
	}{{v.mn, charon.Home}, {at, charon.Clients}} {
		for _, name := range names {
			_, child := v.only(v.mn, func(_ charon.IKESA, c charon.ChildSA) bool { return c.Name == name })
			v.must(side.at.Rekey("child", name))
			v.only(v.mn, func(_ charon.IKESA, c charon.ChildSA) bool { return c.Name == name && c.SPIIn != child.SPIIn })
		}
		ike, _ := v.only(v.mn, anySA)
		v.must(side.at.Rekey("ike", side.name))
		v.only(v.mn, func(i charon.IKESA, _ charon.ChildSA) bool { return i.InitiatorSPI != ike.InitiatorSPI })
	}
}

// rekeyTwice makes a lineage: IKE SAs that were rekeyed, with CHILD SAs that some
// of them made.
func rekeyTwice(v *vpn) {
	for range 2 {
		v.rekeys(v.charons[0])
	}
}

// secondClient connects another client, which stays.
func secondClient(v *vpn) {
	d := v.stock(v.MN2)
	_, inner := v.connects(d)
	f, err := traffic.Start(traffic.Options{
		Near: traffic.End{Node: v.MN2, Addr: inner}, Far: []traffic.End{{Node: v.Host, Addr: secondHost.V4}},
	})
	v.must(err)
	v.must(f.Await(v.ctx, some))
	v.staying = f
}

// routeToSite does for the host what a routing protocol would: the site is behind
// the gateway that has a route to it for others to know.
func routeToSite(v *vpn) {
	site := netip.MustParsePrefix("10.1.0.0/24")
	for _, g := range v.gateways {
		updates, done := make(chan netlink.RouteUpdate), make(chan struct{})
		v.must(g.Do(func() error { return netlink.RouteSubscribe(updates, done) }))
		v.t.Cleanup(func() { close(done) })
		go func() {
			for u := range updates {
				if u.Protocol == route.ProtocolHere && u.Dst != nil && u.Dst.String() == site.String() {
					if err := v.Host.Route(site, g.Inner.V4, netip.Addr{}); err != nil {
						v.t.Error(err)
					}
				}
			}
		}()
	}
}

// stays keeps a gateway's charon from looking for other addresses to reach clients
// from whenever a route changes: an IPv6 address that it has on the loopback
// interface alone, for as long as another gateway is its holder, is none to it.
const stays = "plugins { kernel-netlink { roam_events = no } }"

// asks has a side ask after a second of silence whether the other is there.
const asks = "dpd_delay = 1s"

// awaitAnswer waits until a side has asked, and has got an answer.
func (v *vpn) awaitAnswer(d *charon.Daemon) {
	v.t.Helper()
	before := len(d.Log())
	v.await(func() bool {
		_, asked, ok := strings.Cut(d.Log()[before:], "sending DPD request")
		return ok && strings.Contains(asked, "parsed INFORMATIONAL response")
	})
}
