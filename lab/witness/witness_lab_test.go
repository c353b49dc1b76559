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

// The witness sees every packet of a flow in clear, on both links that it
// passes, with the node that sent it.
func TestWitnessSeesEveryPacket(t *testing.T) {
	lab, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	for _, ipv6 := range []bool{false, true} {
		near, far := topology.MN.Of(ipv6), topology.SG1.Of(ipv6)
		w, err := Watch(OuterPoints(lab)...)
		if err != nil {
			t.Fatal(err)
		}
		flows, err := traffic.Start(traffic.Options{
			Near: traffic.End{Node: lab.MN, Addr: near}, Far: []traffic.End{{Node: lab.SG1, Addr: far}},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // how long there is traffic
		counted := flows.Stop(time.Second)
		frames, err := w.Stop()
		if err != nil {
			t.Fatal(err)
		}
		report := Examine(frames, Rules{Protected: []Selector{{
			A: netip.PrefixFrom(near, near.BitLen()), B: netip.PrefixFrom(far, far.BitLen()), Protocol: protocolUDP,
		}}})
		sent := make(map[string]int)
		for _, s := range report.Cleartext {
			if s.Out {
				sent[s.Node]++
			}
		}
		if sent["mn"] != counted.Up.Sent || sent["sg1"] != counted.Down.Sent || len(report.Cleartext) != 2*(counted.Up.Sent+counted.Down.Sent) {
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
