//go:build linux && lab

package lab

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/lab/charon"
)

// TestStrongSwanTwentyMoves moves a client to and fro, and has it and its gateway
// rekey in the middle.
func TestStrongSwanTwentyMoves(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPNOf(t, clientKind{})
		id, inner := v.connect()
		connected := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		const moves = 20
		for i := range moves {
			if i == moves/2 {
				v.rekeys(v.charons[0])
			}
			v.must(flows.Await(v.ctx, some))
			v.handover(v.gateways[i%2], id)
			v.stands(v.gateways[i%2], id, "gone")
		}
		v.must(flows.Await(v.ctx, some))
		v.verdict(w, inner, flows.Stop(settle))
		v.connectedOnce(v.mn, connected)
		return v.rig
	})
}

// TestStrongSwanRekeyWhileMoving has the client and its gateway rekey at random
// moments about moves. A move waits for it, or is before it, or is refused because
// of it and works when it is ordered again.
func TestStrongSwanRekeyWhileMoving(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPNOf(t, clientKind{gateway: charon.Extra{Daemon: soon}, client: charon.Extra{Daemon: soon}})
		id, inner := v.connect()
		connected := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		const moves = 12
		for i := range moves {
			at := v.charons[i%2]
			begin := []func() error{
				func() error { return v.mn.Rekey("child", charon.Child) },
				func() error { return v.mn.Rekey("ike", charon.Home) },
				func() error { return at.Rekey("child", charon.Child) },
				func() error { return at.Rekey("ike", charon.Clients) },
			}[i%4]
			v.moveAbout(v.gateways[i%2], id, begin)
			v.must(flows.Await(v.ctx, some))
		}
		v.rekeys(v.charons[moves%2])
		v.must(flows.Await(v.ctx, some))
		v.verdict(w, inner, flows.Stop(settle))
		v.connectedOnce(v.mn, connected)
		return v.rig
	})
}

// moveAbout moves a client about when a rekey begins, and again if that was refused.
func (v *vpn) moveAbout(from *gateway, id cxtp.SessionID, begin func() error) {
	v.t.Helper()
	// The command takes a while to begin, and the move as long again.
	first, then := rand.N(600*time.Millisecond), rand.N(200*time.Millisecond)
	begun := make(chan error, 1)
	go func() {
		time.Sleep(first)
		begun <- begin()
	}()
	time.Sleep(then)
	_, refused := v.cxtp(from, "handover", id.String(), "--to", from.Peer.Name)
	v.t.Logf("rekeyed after %v, handed over after %v: %v, %v", first, then, <-begun, refused)
	if refused != nil {
		v.stands(from, id, "active")
		v.handover(from, id)
	}
	v.stands(from, id, "gone")
	v.stands(from.Peer, id, "active")
	v.oneOwner()
}

// soon has a charon keep for a second what it has rekeyed, in place of five.
const soon = "delete_rekeyed_delay = 1"
