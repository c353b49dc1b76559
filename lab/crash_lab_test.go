//go:build linux && lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/internal/demo"
	"github.com/cxtp/cxtp/ipsecctx/xfrm"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
)

// faultVariable tells a daemon under test, in its environment, what is to befall
// it in the move of the session.
const faultVariable = "LAB_FAULT"

// beforeFinal holds a source up between its freeze and its final, until its
// standard input ends.
const beforeFinal = "before-final"

// ofAny, behind a fault, makes it that of whichever session comes to it first.
const ofAny = " of any"

// faultOf makes a fault of its name: beforeFinal, a point of the demo's at which
// the daemon kills itself, or none.
func faultOf(name string) (func(control.TraceEvent), error) {
	switch name {
	case "":
		return nil, nil
	case beforeFinal:
		return holdUp, nil
	}
	if name, of := strings.CutSuffix(name, ofAny); of {
		return demo.Fuse(name, cxtp.SessionID{})
	}
	return demo.Fuse(name, faultySession)
}

// faultySession is the one that faults are about.
var faultySession = cxtp.SessionID{0xab}

// crashPoint is where in a move a daemon dies, and where the session must be
// afterwards. The kernel's SAs outlive the daemon, so a session never ends.
type crashPoint struct {
	name string
	at   string // the gateway that has it, sg1 is the source; "" = either
	// harmless: the SAs of whoever has the traffic are at work all the time.
	harmless bool
	why      string
}

// crashPoints are the demo's, in the order of a move.
var crashPoints = []crashPoint{
	{"target-before-promise", "", true, "nothing was promised: the source keeps the session or stages it anew"},
	{"target-after-promise", "sg1", true, "the staged SAs prove that nothing was sent, and the target refuses"},
	{"source-staged", "sg1", true, "the source's SAs are at work, and it forgets the attempt"},
	{"source-before-grant", "sg1", false, "the source's SAs are at work, and it forgets the attempt"},
	{"source-after-grant", "sg2", false, "the source freezes and sends the final"},
	{"source-frozen", "sg2", false, "the source finds its SAs frozen and sends the final"},
	{"target-activating", "sg1", false, "the staged SAs prove that nothing was sent, the target refuses and the source thaws"},
	{"target-active", "sg2", false, "the target finds its SAs at work and says so"},
	{"source-active-heard", "sg2", true, "the source freezes again, hears that again, and closes"},
	{"source-closed", "sg2", true, "the source forgets its SAs and says that its part is over"},
	{"target-merged", "sg2", true, "the target is the owner"},
}

// TestKill ends either daemon at each point of a move, under traffic, and starts
// it again. The session is moved once more in the end.
func TestKill(t *testing.T) {
	var table strings.Builder
	row := func(cells ...any) { fmt.Fprintf(&table, "%-22s %-6s %-6s %-8s %8s  %-12s %s\n", cells...) }
	row("point", "encap", "lives", "lost", "gap", "uplink", "why")
	for _, encap := range []string{"bare", "udp"} {
		for _, p := range crashPoints {
			if encap == "udp" && p.name != "source-staged" && p.name != "target-merged" {
				continue // they show what becomes of the daemon's socket
			}
			t.Run(p.name+"/"+encap, func(t *testing.T) {
				var d *death
				steadily(t, func(t *testing.T) *rig {
					d = kill(t, p, encap)
					return d.rig
				})
				row(p.name, encap, d.at, fmt.Sprintf("%d/%d", d.during.Lost(), sent(d.during)),
					d.during.Blackout().Round(time.Millisecond), d.uplink, p.why)
			})
		}
	}
	leave(t, table.String())
}

// leave prints a table and leaves it among the results.
func leave(t *testing.T, table string) {
	fmt.Print(table)
	if err := os.WriteFile(left(t, ".txt"), []byte(table), 0o600); err != nil {
		t.Error(err)
	}
}

func sent(r traffic.Report) int { return r.Echo.Sent + r.Up.Sent + r.Down.Sent }

// death is what one did to the traffic.
type death struct {
	*rig
	during traffic.Report // from before the move until the daemon is back and all is settled
	at     string         // the gateway that has it
	uplink string         // how the node came to send to where the session lives
}

func kill(t *testing.T, p crashPoint, encap string) *death {
	f := newFleet(t, "lossless", func(g *gateway) {
		if victim, _, _ := strings.Cut(p.name, "-"); (victim == "source") == (g.Name == "sg1") {
			g.fault = p.name
		}
	})
	victim := f.gateways[slices.IndexFunc(f.gateways[:], func(g *gateway) bool { return g.fault != "" })]
	l, d := linkOf(daemonCase), &death{rig: f.rig}
	l.encap = encap == "udp"
	f.install(l, f.gateways[0], faultySession)
	w, flows := f.watch(), f.traffic(l)
	f.must(flows.Await(f.ctx, some))
	ordered := f.order(f.gateways[0])
	f.dies(victim, ordered)
	time.Sleep(200 * time.Millisecond) // it is missed: messages to it get lost
	f.must(f.start(victim))
	at := f.settled()
	if p.at != "" && at.Name != p.at {
		t.Errorf("the session is at %s, want %s: %s", at.Name, p.at, p.why)
	}
	d.at = at.Name
	ordered.end()
	f.must(flows.Await(f.ctx, some))
	d.during = flows.Stop(settle)
	f.lost.also("this harms nobody", d.during, !p.harmless || l.encap)
	d.uplink = f.goesOn(l, at, w)
	f.must(f.moveOn(l, at))
	f.judge(w, l)
	return d
}

// order is a handover of the faulty session that is under way. Who should answer
// may die: what the command says is of no interest.
type order struct {
	cancel context.CancelFunc
	ended  chan struct{}
	said   string // when it has ended
}

func (f *fleet) order(from *gateway) *order { return f.orderOf(from, faultySession) }

func (f *fleet) orderOf(from *gateway, id cxtp.SessionID) *order {
	ctx, cancel := context.WithCancel(f.ctx)
	o := &order{cancel: cancel, ended: make(chan struct{})}
	cmd := f.command(ctx, from, "handover", id.String(), "--to", from.Peer.Name)
	go func() {
		defer close(o.ended)
		said, err := cmd.CombinedOutput()
		o.said = fmt.Sprintf("%v: %s", err, said)
	}()
	return o
}

// dies waits until a daemon has ended as its fault says, which befalls it in a move.
func (f *fleet) dies(victim *gateway, of *order) {
	f.t.Helper()
	dead := make(chan struct{})
	go func(cmd *exec.Cmd) { cmd.Wait(); close(dead) }(victim.cmd)
	select {
	case <-dead:
	case <-time.After(patience):
		victim.cmd.Process.Kill()
		<-dead
		of.end()
		f.t.Fatalf("%s did not come to %s; the order ended with %s", victim.Name, victim.fault, of.said)
	}
	victim.cmd, victim.fault = nil, ""
}

// end ends the command: a daemon that was started again knows nothing of it.
func (o *order) end() {
	o.cancel()
	<-o.ended
}

// goesOn sees that all traffic arrives where the session lives, and old packets
// do not. It says how the node came to send there: a daemon that was started again
// has forgotten the node's keys, and so cannot tell its agent.
func (f *fleet) goesOn(l *link, at *gateway, w *witness.Witness) (uplink string) {
	f.t.Helper()
	gate, uplink := at.Outer.Of(l.outer6), "by itself"
	if f.follow(l, at) {
		uplink = "told by hand"
	}
	old := witness.Select(w.Frames(), func(c witness.Frame, p witness.Packet) bool {
		return c.Out && c.From == f.MN.Name && p.SPI == l.spiUp
	})
	flows := f.traffic(l)
	f.must(flows.Await(f.ctx, int(l.window))) // what the node sent in vain is too old by then, too
	f.must(witness.Replay(f.Topology, old, at.Node, gate))
	f.must(flows.Await(f.ctx, some))
	report := flows.Stop(settle)
	f.lossless("where the session lives", report)
	if report.Echo.Strange+report.Up.Strange > 0 {
		f.t.Errorf(witness.Broken+"%s accepted what it should not: %v", at.Name, report)
	}
	return uplink
}

// follow points the node at a gateway, as its agent does when it is told, and
// says whether it had to.
func (f *fleet) follow(l *link, at *gateway) (changed bool) {
	f.t.Helper()
	f.must(f.MN.Do(func() error {
		node, err := xfrm.NewNode(l.reqID)
		if err != nil {
			return err
		}
		defer node.Close()
		n, err := node.Follow(f.ctx, cxtp.AgentFollow{Gateway: netip.AddrPortFrom(at.Outer.Of(l.outer6), 0)})
		changed = n > 0
		return err
	}))
	return changed
}

// moveOn moves the session to the other gateway, and sees the traffic arrive. A
// daemon that has lost the node's keys would refuse it.
func (f *fleet) moveOn(l *link, from *gateway) error {
	if _, err := f.cxtp(from, "handover", faultySession.String(), "--to", from.Peer.Name, "--force"); err != nil {
		return fmt.Errorf("a move afterwards: %w", err)
	}
	if at := f.settled(); at != from.Peer {
		return fmt.Errorf("a move afterwards: the session is at %s", at.Name)
	}
	f.follow(l, from.Peer)
	f.lossless("after another move", f.traffic(l).Stop(settle))
	return nil
}

// settled waits until the session is active at one gateway and does nothing at the
// other, and returns the first.
func (f *fleet) settled() *gateway {
	f.t.Helper()
	at := f.endingOf(faultySession)
	if at == nil {
		f.t.Fatal("the session has ended")
	}
	return at
}

// endingOf is settled, or nil when the session is over at both. A target keeps for a
// while what was staged and not granted: that does nothing.
func (f *fleet) endingOf(id cxtp.SessionID) *gateway {
	f.t.Helper()
	var states [2]string
	var at *gateway
	if !comes(func() bool {
		for i, g := range f.gateways {
			states[i] = f.states(g)[id]
		}
		over := func(i int) bool { return slices.Contains([]string{"", "gone", "moved", "ended"}, states[i]) }
		for i, g := range f.gateways {
			if states[i] == "active" && (over(1-i) || slices.Contains([]string{"staged", "held"}, states[1-i])) {
				at = g
			}
		}
		return at != nil || over(0) && over(1)
	}) {
		f.t.Fatalf("the session stays %q at sg1 and %q at sg2", states[0], states[1])
	}
	return at
}

// holdUp is told what the daemon does next.
func holdUp(e control.TraceEvent) {
	if e.Kind == "send" && e.What == "CTD final" && e.Session == faultySession {
		holdOnce.Do(func() {
			fmt.Println(beforeFinal)
			io.Copy(io.Discard, os.Stdin)
		})
	}
}

var holdOnce sync.Once

// TestRestart starts a daemon again that has 500 sessions: it has them all, the
// kernel has gone on meanwhile, and routes of sessions that are gone go.
func TestRestart(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		f, l := newFleet(t, "lossless"), linkOf(daemonCase)
		l.encap = false
		here := f.gateways[0]
		f.install(l, here, faultySession)
		f.populate(here, drainedSessions)
		flows := f.traffic(l)
		here.kill()
		for _, route := range [][]string{{"10.1.7.7", "dev", topology.Outer, "proto", "206"}, {"10.1.8.8", "via", "10.2.0.12", "proto", "207"}} {
			f.shell(here.Node, "ip", append([]string{"route", "add"}, route...)...)
		}
		f.must(f.start(here))
		f.await(func() bool { return f.count(here, "active") == drainedSessions+1 })
		f.lossless("the kernel did not go on", flows.Stop(settle))
		routes, err := here.Run(f.ctx, "ip", "route", "show", "table", "main")
		f.must(err)
		if strings.Contains(routes, "10.1.7.7") || strings.Contains(routes, "10.1.8.8") {
			t.Error("routes of sessions that are gone are still there")
		}
		if n := strings.Count(routes, "proto 206"); n != drainedSessions+1 {
			t.Errorf("%d routes of sessions, want %d", n, drainedSessions+1)
		}
		if _, err := f.cxtp(here, "drain", "--to", here.Peer.Name, "--force"); err != nil {
			t.Error(err)
		}
		f.await(func() bool { return f.count(here.Peer, "active") == drainedSessions+1 })
		f.oneOwner()
		return f.rig
	})
}

// TestDeleted takes SAs away behind a gateway's back in the middle of a move.
func TestDeleted(t *testing.T) {
	for _, c := range []struct {
		name  string
		held  bool // after the freeze, else before the move
		where int  // the gateway
		lives string
	}{
		{"before", false, 0, ""},
		{"frozen", true, 0, "sg2"}, // the final has all of it
		{"staged", true, 1, "sg1"}, // the target cannot, and the source goes on
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFleet(t, "lossless", func(g *gateway) {
				if c.held && g.Name == "sg1" {
					g.fault = beforeFinal
				}
			})
			l, from := linkOf(daemonCase), f.gateways[0]
			f.install(l, from, faultySession)
			w := f.watch()
			ended := make(chan error, 1)
			flush := func() { f.shell(f.gateways[c.where].Node, "ip", "xfrm", "state", "flush") }
			if !c.held {
				flush()
			}
			go func() {
				_, err := f.cxtp(from, "handover", faultySession.String(), "--to", from.Peer.Name)
				ended <- err
			}()
			if c.held {
				from.awaitHeld(t)
				flush()
				from.hold.Close()
			}
			err := <-ended
			t.Logf("%s: %v", c.name, err)
			if (err == nil) != (c.lives == "sg2") {
				t.Errorf("the order ended with %v", err)
			}
			if c.lives != "" {
				at := f.settled()
				if at.Name != c.lives {
					t.Errorf("the session is at %s, want %s", at.Name, c.lives)
				}
				f.goesOn(l, at, w)
			}
			f.judge(w, l)
			for _, g := range f.gateways {
				t.Logf("%s has it %q", g.Name, f.states(g)[faultySession])
			}
		})
	}
}

// awaitHeld waits until a source stands between its freeze and its final.
func (g *gateway) awaitHeld(t *testing.T) {
	t.Helper()
	if line, _ := g.said.ReadString('\n'); line != beforeFinal+"\n" {
		t.Fatalf("%s said %q, and was to stand before its final", g.Name, line)
	}
}

// TestPowerless starts a daemon that has no right to change the kernel's SAs.
func TestPowerless(t *testing.T) {
	f := newFleet(t, "lossless")
	g := f.gateways[0]
	g.kill()
	said, err := g.Run(f.ctx, "setpriv", "--bounding-set=-net_admin", f.program("cxtpd"), "-config", filepath.Join(f.folder, g.Name+".toml"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(said, "CAP_NET_ADMIN") || strings.Count(said, "cxtpd:") != 1 {
		t.Errorf("without CAP_NET_ADMIN: %v: %s", err, said)
	}
	t.Log(said)
}
