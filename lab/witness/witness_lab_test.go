//go:build linux && lab

package witness

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
)

// The witness sees every packet of a flow in clear, on each of its points that
// the flow passes, with the node that sent it.
func TestWitnessSeesEveryPacket(t *testing.T) {
	lab, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	type place struct {
		node    *topology.Node
		address topology.Pair
	}
	for _, c := range []struct {
		points    []Point
		near, far place
	}{
		{OuterPoints(lab), place{lab.MN, topology.MN}, place{lab.SG1, topology.SG1}},
		{InnerPoints(lab), place{lab.SG1, topology.SG1Inner}, place{lab.SG2, topology.SG2Inner}},
	} {
		for _, ipv6 := range []bool{false, true} {
			near := traffic.End{Node: c.near.node, Addr: c.near.address.Of(ipv6)}
			far := traffic.End{Node: c.far.node, Addr: c.far.address.Of(ipv6)}
			counted, frames := observe(t, c.points, near, far)
			report := Examine(frames, Rules{Protected: []Selector{{
				A: netip.PrefixFrom(near.Addr, near.Addr.BitLen()), B: netip.PrefixFrom(far.Addr, far.Addr.BitLen()), Protocol: protocolUDP,
			}}})
			sent := make(map[string]int)
			for _, s := range report.Cleartext {
				if s.Out {
					sent[s.Node]++
				}
			}
			if sent[near.Node.Name] != counted.Up.Sent || sent[far.Node.Name] != counted.Down.Sent ||
				len(report.Cleartext) != 2*(counted.Up.Sent+counted.Down.Sent) {
				t.Errorf("saw %v, %d in all, of %v", sent, len(report.Cleartext), counted)
			}
			var file bytes.Buffer
			if err := WritePcap(&file, frames); err != nil {
				t.Fatal(err)
			}
			if _, err := pcapgo.NewReader(&file); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// observe captures while traffic flows.
func observe(t *testing.T, points []Point, near, far traffic.End) (traffic.Report, []Frame) {
	t.Helper()
	w, err := Watch(points...)
	if err != nil {
		t.Fatal(err)
	}
	flows, err := traffic.Start(traffic.Options{Near: near, Far: []traffic.End{far}})
	if err != nil {
		t.Fatal(err)
	}
	if err := flows.Await(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	counted := flows.Stop(time.Second)
	frames, err := w.Stop()
	if err != nil {
		t.Fatal(err)
	}
	return counted, frames
}

// What was captured can be sent again, to another gateway.
func TestReplay(t *testing.T) {
	lab, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	for _, c := range []struct{ from, old, new netip.Addr }{
		{topology.MN.V4, topology.SG1.V4, topology.SG2.V4},
		{topology.MN.V6, topology.SG1.V6, topology.SG2.V6},
	} {
		old := []Frame{{From: "mn", Out: true, Data: frame(t, c.from, c.old, protocolESP, espPacket(7, 9, 1))}}
		w, err := Watch(OuterPoints(lab)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := Replay(lab, old, lab.SG2, c.new); err != nil {
			t.Fatal(err)
		}
		frames, err := w.Stop()
		if err != nil {
			t.Fatal(err)
		}
		arrived := Select(frames, func(f Frame, p Packet) bool {
			return f.From == "sg2" && !f.Out && p.Dst == c.new && p.SPI == 7 && p.Sequence == 9
		})
		if len(arrived) != 1 {
			t.Fatalf("%d packets arrived at %v", len(arrived), c.new)
		}
	}
}
