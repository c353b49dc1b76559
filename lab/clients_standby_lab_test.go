//go:build linux && lab

package lab

import (
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/witness"
)

// standing has the second gateway keep a copy of the client's session, and waits until
// it has been renewed. The client has to have traffic.
func (v *vpn) standing(id cxtp.SessionID) {
	v.t.Helper()
	_, err := v.cxtp(v.gateways[0], "standby", id.String(), "--at", v.gateways[1].Name)
	v.must(err)
	v.fresh()
}

// fresh waits until the copy is one of the client's SAs as they are, and has been
// renewed: then their ceiling has been moved up.
func (v *vpn) fresh() {
	v.t.Helper()
	staged := v.ceiling()
	v.await(func() bool { return v.ceiling() > staged })
}

// limit is how many packets an SA may have sent in its life, as the kernel says.
var limit = regexp.MustCompile(`hard (\(INF\)|\d+)\(packets\)`)

// ceiling is that of the only outbound SA that the client's gateway has, which it waits
// for.
func (v *vpn) ceiling() (last uint64) {
	v.t.Helper()
	v.await(func() bool {
		all, err := v.gateways[0].Run(v.ctx, "ip", "-s", "xfrm", "state", "list", "src", topology.Virtual.V4.String())
		v.must(err)
		limits := limit.FindAllStringSubmatch(all, -1)
		if len(limits) != 1 {
			return false // one is being replaced
		}
		last, err = strconv.ParseUint(limits[0][1], 10, 64)
		return err == nil // "(INF)" is no number
	})
	return last
}

// takenOver takes the power off the first gateway, and says so to the second.
func (v *vpn) takenOver(id cxtp.SessionID) {
	v.t.Helper()
	here, there := v.gateways[0], v.gateways[1]
	v.powerOff(here)
	v.charons[0].Kill()
	_, err := v.cxtp(there, "resolve", id.String(), "--fenced", here.Name)
	v.must(err)
	v.stands(there, id, "active")
	v.awaitInherited(there)
}

// renewed waits until all SAs of a client that was taken over have been rekeyed, and the
// ones before are gone.
func (v *vpn) renewed(at *gateway, id cxtp.SessionID) {
	v.t.Helper()
	v.await(func() bool {
		sas, err := v.charons[1].SAs()
		v.must(err)
		return strings.Contains(v.charons[1].Log(), "rekeyed between") && len(sas) == 1 && len(sas[0].Children) == 1 && len(v.client(at, id).IKE.Children) == 1
	})
}

// TestStrongSwanStandby takes the power off a gateway whose client has a standby, which
// is kept fresh when all is rekeyed: it goes on with the client when it is told so. The
// client's traffic goes on, with numbers above the ceiling, its IKE SA too, and it has
// noticed nothing but a gap.
func TestStrongSwanStandby(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPNOf(t, clientKind{client: charon.Extra{Connection: asks}})
		there := v.gateways[1]
		id, inner := v.connect()
		before := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		v.standing(id)
		v.rekeys(v.charons[0])
		v.fresh()
		_, child := v.only(v.mn, anySA)
		v.takenOver(id)
		last := v.ceiling()
		v.must(flows.Await(v.ctx, some))
		t.Logf("taken over: %v", flows.Stop(settle))
		v.awaitAnswer(v.mn)
		v.renewed(there, id)
		v.shown(there, id)
		flows = v.flows(inner)
		v.rekeys(v.charons[1])
		v.must(flows.Await(v.ctx, some))
		first := v.firstFrom(w, there, child)
		t.Logf("the ceiling is %d, and %s began with %d", last, there.Name, first)
		if first <= last {
			t.Error("that is not above it")
		}
		v.verdict(w, inner, flows.Stop(settle))
		v.undisturbed(before)
		return v.rig
	})
}

// firstFrom is the lowest sequence number that a gateway has sent with to a client's SA.
func (v *vpn) firstFrom(w *witness.Witness, at *gateway, to charon.ChildSA) uint64 {
	v.t.Helper()
	spi, err := strconv.ParseUint(to.SPIIn, 16, 32)
	v.must(err)
	first := uint32(math.MaxUint32)
	witness.Select(w.Frames(), func(f witness.Frame, p witness.Packet) bool {
		if f.Out && f.From == at.Name && p.SPI == uint32(spi) {
			first = min(first, p.Sequence)
		}
		return false
	})
	return uint64(first)
}

// TestStrongSwanStandbyBehind takes the power off a gateway that could not tell its
// standby any more what the client and it have exchanged. The client's traffic and its
// IKE SA go on all the same.
func TestStrongSwanStandbyBehind(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    clientKind
		happens func(*vpn)
	}{
		{"client asked", clientKind{client: charon.Extra{Connection: asks}}, func(v *vpn) { v.awaitAnswer(v.mn) }},
		{"gateway asked", clientKind{gateway: charon.Extra{Connection: asks}}, func(v *vpn) { v.awaitAnswer(v.charons[0]) }},
		{"client rekeyed", clientKind{}, (*vpn).rekeyChild},
		{"gateway rekeyed", clientKind{}, func(v *vpn) {
			_, was := v.only(v.mn, anySA)
			v.must(v.charons[0].Rekey("child", charon.Child))
			v.only(v.mn, func(_ charon.IKESA, c charon.ChildSA) bool { return c.SPIIn != was.SPIIn })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			steadily(t, func(t *testing.T) *rig {
				v := newVPNOf(t, c.kind)
				id, inner := v.connect()
				before := v.mn.Log()
				w, flows := v.watch(), v.flows(inner)
				v.standing(id)
				flows.Stop(settle)
				v.isolate(v.gateways[0])
				c.happens(v)
				v.takenOver(id)
				there := v.gateways[1]
				v.renewed(there, id)
				child := v.client(there, id).IKE.Children[0]
				v.only(v.mn, func(_ charon.IKESA, c charon.ChildSA) bool {
					return c.SPIOut == child.Inbound && c.SPIIn == child.Outbound
				})
				v.rekeyIKE()
				flows = v.flows(inner)
				v.must(flows.Await(v.ctx, some))
				v.verdict(w, inner, flows.Stop(settle))
				v.undisturbed(before)
				return v.rig
			})
		})
	}
}

// TestStrongSwanStandbyLost takes the power off a gateway that has rekeyed a client's
// IKE SA and could not tell its standby. That says that the client does not answer. The
// client's traffic goes on until it misses its gateway, and then it connects again.
func TestStrongSwanStandbyLost(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPNOf(t, clientKind{client: charon.Extra{
			Connection: asks, Child: "dpd_action = restart", Daemon: "retransmit_tries = 3\nretransmit_timeout = 2.0\nretransmit_base = 1.0",
		}})
		here, there := v.gateways[0], v.gateways[1]
		id, inner := v.connect()
		before := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		v.standing(id)
		v.isolate(here)
		v.rekeyIKE()
		v.takenOver(id)
		v.must(flows.Await(v.ctx, some))
		v.awaitLog(there, "the client does not answer")
		t.Logf("taken over: %v", flows.Stop(settle))
		v.await(func() bool {
			return strings.Contains(strings.TrimPrefix(v.mn.Log(), before), "parsed IKE_AUTH response")
		})
		sa, _ := v.only(v.mn, anySA)
		inner = netip.MustParseAddr(sa.LocalVIPs[0])
		v.hasCome(there, inner)
		flows = v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		v.verdict(w, inner, flows.Stop(settle))
		return v.rig
	})
}
