//go:build linux && lab

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
)

// daemonSuites are one of each kind, where not every case is asked for: TestMove has
// pairs with all, and to a daemon one is as the other.
func daemonSuites() []string {
	if os.Getenv("LAB_FULL") == "1" {
		return suiteNames()
	}
	return []string{"gcm", "chacha", "cbc-sha256", "null-sha256", "ah-sha256"}
}

// daemonMoves are the connections that both daemons move. The node's own agent
// follows, in its own kernel.
var daemonMoves = []matrix.Axis{
	{Name: axisSuite, Values: daemonSuites()},
	{Name: axisESN, Values: []string{"esn", "32bit"}},
	{Name: axisMode, Values: []string{"tunnel"}},
	{Name: axisFamily, Values: []string{"4in4", "6in6", "4in6", "6in4"}},
	{Name: axisEncap, Values: []string{"bare", "udp"}},
	{Name: axisUplink, Values: []string{"direct", "indirect", "forwarded"}},
	{Name: axisMove, Values: []string{"lossless", "strict"}},
	{Name: axisDelay, Values: []string{"0ms", "40ms"}},
}

// handover orders a move from the command line.
func (f *fleet) handover(from *gateway, id cxtp.SessionID) {
	f.t.Helper()
	_, err := f.cxtp(from, "handover", id.String(), "--to", from.Peer.Name)
	f.must(err)
}

// TestDaemons does what an operator does: two daemons, a session, and a handover
// from the command line while traffic flows.
func TestDaemons(t *testing.T) {
	table := newResults(t, daemonMoves)
	for _, c := range matrix.Cases(daemonMoves, possible) {
		t.Run(c.String(), func(t *testing.T) {
			table.add(t, c, undisturbed(func() outcome {
				f, l, id := fleetOf(t, c), linkOf(c), cxtp.SessionID{0xab}
				f.install(l, f.gateways[0], id)
				f.must(f.ImpairSync(topology.Impairment{Delay: delayOf(t, c)}))
				o := f.trial(l, l.handedOver(), c.Get(axisMove) == "strict", func(*traffic.Traffic) {
					f.handover(f.gateways[0], id)
				})
				f.stands(f.gateways[0], id, "gone")
				f.stands(f.gateways[1], id, "active")
				f.stop()
				return o
			}))
		})
	}
}

// fleetOf is the fleet of a case. What is forwarded is so because a shared address
// stays with another session.
func fleetOf(t *testing.T, c matrix.Case) *fleet {
	l := linkOf(c)
	if !l.virtual {
		return newFleet(t, c.Get(axisMove))
	}
	f := newSharing(t, c.Get(axisMove))
	if c.Get(axisUplink) == "forwarded" {
		f.add(f.gateways[0], l.second(), secondSession, "mn2.example")
	}
	return f
}

// stands waits until a session is in one of the states at a daemon.
func (f *fleet) stands(at *gateway, id cxtp.SessionID, want ...string) {
	f.t.Helper()
	state := ""
	if !comes(func() bool { state = f.states(at)[id]; return slices.Contains(want, state) }) {
		f.t.Fatalf("%s has the session %q, want %q", at.Name, state, want)
	}
}

// TestTwentyMoves moves one session to and fro under the same traffic and loses
// nothing, with nothing and with 40 ms between the gateways.
func TestTwentyMoves(t *testing.T) {
	for _, delay := range []time.Duration{0, 40 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			o := undisturbed(func() outcome {
				f, id := newFleet(t, "lossless"), cxtp.SessionID{0xab}
				l := linkOf(daemonCase)
				f.install(l, f.gateways[0], id)
				f.must(f.ImpairSync(topology.Impairment{Delay: delay}))
				w, flows := f.watch(), f.traffic(l)
				const moves = 20
				for i := range moves {
					f.must(flows.Await(f.ctx, 20))
					f.handover(f.gateways[i%2], id)
				}
				o := outcome{Report: flows.Stop(settle), t: t}
				if o.Lost() > 0 {
					o.missing = fmt.Sprintf("%v; %s", o.Report, f.refusals())
				}
				f.judge(w, l)
				f.stop()
				return o
			})
			t.Logf("%v", o.Report)
		})
	}
}

// daemonCase is the connection of tests that are not about connections.
var daemonCase = matrix.All([]matrix.Axis{
	{Name: axisSuite, Values: []string{"gcm"}}, {Name: axisESN, Values: []string{"esn"}},
	{Name: axisMode, Values: []string{"tunnel"}}, {Name: axisFamily, Values: []string{"4in4"}},
	{Name: axisEncap, Values: []string{"udp"}}, {Name: axisUplink, Values: []string{"direct"}},
}, nil)[0]

// impatient has a gateway give up soon what is not confirmed.
func impatient(g *gateway) { g.Transfer = "3s" }

// TestWrongOrders: each mistake is named, has a status of its own, and changes
// nothing.
func TestWrongOrders(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		f, l, id := newFleet(t, "lossless", impatient), linkOf(daemonCase), cxtp.SessionID{0xab}
		f.install(l, f.gateways[0], id)
		flows := f.traffic(l)
		at := f.gateways[0]
		for _, c := range []struct {
			name string
			args []string
			code int
			says string
		}{
			{"unknown session", []string{"handover", cxtp.SessionID{0xcd}.String(), "--to", "sg2"}, 3, "unknown session"},
			{"unknown node", []string{"handover", "--node", "203.0.113.99", "--to", "sg2"}, 3, "no session of the node"},
			{"unknown gateway", []string{"handover", id.String(), "--to", "sg9"}, 4, `no peer "sg9"`},
			{"itself", []string{"handover", id.String(), "--to", "sg1"}, 4, "this gateway itself"},
			{"nowhere", []string{"handover", id.String()}, 2, "say where"},
		} {
			out, err := f.cxtp(at, c.args...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v %s; want status %d and %q", c.name, err, out, c.code, c.says)
			}
		}
		// A gateway that cannot be reached: the session stays.
		f.must(f.ImpairSync(topology.Impairment{Loss: 100}))
		_, err := f.cxtp(at, "handover", id.String(), "--to", "sg2")
		if err == nil || !strings.Contains(err.Error(), "exit status 6") || !strings.Contains(err.Error(), "cxtp: not moved") {
			t.Errorf("moved to a gateway that cannot be reached: %v", err)
		}
		f.must(f.ImpairSync(topology.Impairment{}))
		f.lossless("traffic was harmed", flows.Stop(settle))
		f.stands(at, id, "active")
		return f.rig
	})
}

// drainedSessions is how many sessions TestDrain moves.
const drainedSessions = 500

// TestDrain drains a gateway of 500 sessions, with a partition in the middle, and
// brings them back.
func TestDrain(t *testing.T) {
	f := newFleet(t, "lossless", impatient)
	here, there := f.gateways[0], f.gateways[1]
	f.populate(here, drainedSessions)
	done := make(chan error, 1)
	go func() { _, err := f.cxtp(here, "drain", "--to", there.Name); done <- err }()
	f.await(func() bool { return f.count(there, "active") > drainedSessions/10 })
	f.must(f.ImpairSync(topology.Impairment{Loss: 100}))
	var err error
	select {
	case err = <-done: // it gave those up that it could not move
		f.must(f.ImpairSync(topology.Impairment{}))
	case <-time.After(8 * time.Second):
		f.must(f.ImpairSync(topology.Impairment{}))
		err = <-done
	}
	t.Logf("across the partition: %v", err)
	f.await(func() bool { return f.count(here, "draining", "frozen", "closing", "staging", "staged") == 0 })
	if _, err := f.cxtp(here, "drain", "--to", there.Name); err != nil {
		t.Errorf("after the partition: %v", err)
	}
	f.await(func() bool { return f.count(there, "active") == drainedSessions })
	if err := f.drain(there); err != nil {
		t.Errorf("failback: %v", err)
	}
	f.await(func() bool { return f.count(here, "active") == drainedSessions })
	f.oneOwner()
}

// drain moves all sessions of a gateway to its peer, which takes some again if it
// was drained itself.
func (f *fleet) drain(from *gateway) error {
	_, err := f.cxtp(from.Peer, "undrain")
	if err == nil {
		_, err = f.cxtp(from, "drain", "--to", from.Peer.Name)
	}
	return err
}

// populate installs many sessions of nodes without agents at a gateway.
func (f *fleet) populate(at *gateway, n int) {
	f.t.Helper()
	client := control.Dial(f.socket(at))
	for i := range n {
		l := linkOf(daemonCase)
		l.inner = netip.AddrFrom4([4]byte{10, 1, byte(1 + i/250), byte(1 + i%250)})
		l.node = netip.AddrFrom4([4]byte{198, 51, 100, byte(3 + i%250)})
		l.spiUp, l.spiDown = l.spiUp+uint32(1+i), l.spiDown+uint32(1+i)
		f.must(client.AddSession(f.ctx, control.NewSession{
			Session: cxtp.SessionID{1, byte(i >> 8), byte(i)}, Previous: l.node, Identity: fmt.Sprintf("mn%d.example", i),
			Inner: []netip.Prefix{full(l.inner)}, SAs: []control.NewSA{l.manual(true), l.manual(false)},
		}))
	}
}

// count is how many sessions of a daemon are in one of the states.
func (f *fleet) count(at *gateway, states ...string) int {
	n := 0
	for _, s := range f.states(at) {
		if slices.Contains(states, s) {
			n++
		}
	}
	return n
}

// await waits until something is so.
func (f *fleet) await(so func() bool) {
	f.t.Helper()
	if comes(so) {
		return
	}
	for _, g := range f.gateways {
		f.t.Logf("%s: %d active, %v", g.Name, f.count(g, "active"), f.tally(g))
	}
	f.t.Fatal("it never came about")
}

func (f *fleet) tally(at *gateway) map[string]int {
	tally := map[string]int{}
	for _, s := range f.states(at) {
		tally[s]++
	}
	return tally
}

// oneOwner: no session is active at both gateways (law 2).
func (f *fleet) oneOwner() {
	f.t.Helper()
	first, second := f.states(f.gateways[0]), f.states(f.gateways[1])
	for id, state := range first {
		if state == "active" && second[id] == "active" {
			f.t.Errorf("%s is active at both gateways", id)
		}
	}
}

// views are what a daemon tells of its sessions. It is asked on its control socket, not
// by a process of the command: that takes up to a second in a guest under traffic, and
// who polls with it keeps the guest busy with nothing else.
func (f *fleet) views(at *gateway) []control.Session {
	f.t.Helper()
	client := control.Dial(f.socket(at))
	views, err := client.Sessions(f.ctx)
	f.must(err)
	return views
}
