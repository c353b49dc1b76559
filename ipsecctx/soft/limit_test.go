package soft

import (
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

var outboundID = ipsecctx.ID{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode}

// TestCeiling: an SA stops at its ceiling, says so at half the way, and goes on
// when the ceiling is moved or taken away.
func TestCeiling(t *testing.T) {
	near := make(chan cxtp.SessionID, 8)
	g := newBench(t, func(c *Config) { c.NearCeiling = func(id cxtp.SessionID) { near <- id } })
	s := gateSession("AES-GCM-128")
	must(t, g.Install(testID, s, []ipsecctx.Dynamic{{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 100}}))
	send := func(packets int, last uint64) {
		t.Helper()
		for i := range packets {
			g.fromHost(down(i))
		}
		sent := sequences(t, s, g.out.take())
		if len(sent) == 0 || sent[len(sent)-1] != last {
			t.Errorf("sent %v, want up to %d", sent, last)
		}
	}
	must(t, g.Limit(ctx, testID, ipsecctx.Ceilings{outboundID: 110}))
	send(4, 104)
	if len(near) != 0 {
		t.Error("near the ceiling after 4 packets of 10")
	}
	send(1, 105)
	if id := <-near; id != testID {
		t.Errorf("session %v is near its ceiling", id)
	}
	send(20, 110)
	if got := g.Stats().Out.Expired; got != 15 {
		t.Errorf("%d packets were not sent, want 15", got)
	}
	must(t, g.Limit(ctx, testID, ipsecctx.Ceilings{outboundID: 112}))
	send(5, 112)
	must(t, g.Limit(ctx, testID, nil))
	send(3, 115)
}

// TestThawAbove: a floor counts when it is above what was sent.
func TestThawAbove(t *testing.T) {
	g := newBench(t)
	s := gateSession("AES-GCM-128")
	must(t, g.Install(testID, s, nil))
	for _, c := range []struct{ floor, first uint64 }{{1000, 1001}, {10, 1002}} {
		must(t, g.Limit(ctx, testID, ipsecctx.Ceilings{outboundID: 1001}))
		_, err := g.Freeze(ctx, testID)
		must(t, err)
		must(t, g.Thaw(ctx, testID, ipsecctx.Ceilings{outboundID: c.floor}))
		must(t, g.Limit(ctx, testID, nil))
		g.fromHost(down(0))
		if sent := sequences(t, s, g.out.take()); len(sent) != 1 || sent[0] != c.first {
			t.Errorf("thawed above %d and sent %v, want %d", c.floor, sent, c.first)
		}
	}
}
