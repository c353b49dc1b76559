//go:build linux && lab

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
)

// rig is the network of a test, with a connection to the XFRM interface of
// each end.
type rig struct {
	*topology.Topology
	t              testing.TB
	ctx            context.Context
	node, sg1, sg2 *end
	lost           *outcome // of the traffic that should have lost nothing
}

// end is where IPsec begins or ends.
type end struct {
	*topology.Node
	kernel *uapi.Conn
	t      testing.TB
	ctx    context.Context
}

// settle is how long what is under way may take to arrive.
const settle = 2 * time.Second

// patience is how long a test waits for what must happen, on a machine that stands
// still now and then. It only ever costs time when a test fails.
const patience = 2 * time.Minute

// comes looks until something is so of which nothing tells, and reports whether it has
// come about.
func comes(so func() bool) bool {
	for deadline := time.Now().Add(patience); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func newRig(t testing.TB) *rig {
	t.Helper()
	lab, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{Topology: lab, t: t, ctx: t.Context(), lost: &outcome{t: t}}
	t.Cleanup(func() {
		if r.lost.missing != "" && !r.lost.judged {
			t.Errorf("lost: %s", r.lost.missing)
		}
	})
	for n, to := range map[*topology.Node]**end{lab.MN: &r.node, lab.SG1: &r.sg1, lab.SG2: &r.sg2} {
		e := &end{Node: n, t: t, ctx: t.Context()}
		if err := n.Do(func() (err error) { e.kernel, err = uapi.Dial(); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.kernel.Close() })
		// What waits for an SA is kept, not dropped.
		if err := n.Sysctl("net.core.xfrm_larval_drop", "0"); err != nil {
			t.Fatal(err)
		}
		*to = e
	}
	return r
}

func (e *end) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("%s: %v", e.Name, err)
	}
}

func (e *end) addPolicies(policies ...*uapi.Policy) {
	e.t.Helper()
	for _, p := range policies {
		e.must(e.kernel.AddPolicy(e.ctx, p))
	}
}

// addStates adds SAs and reads them back.
func (e *end) addStates(states ...*uapi.State) {
	e.t.Helper()
	for _, s := range states {
		e.must(e.kernel.AddState(e.ctx, s))
		if _, err := e.kernel.GetState(e.ctx, s.ID()); err != nil {
			e.must(fmt.Errorf("failed to read back %v: %w", s.ID(), err))
		}
	}
}

// delete takes an SA away and returns its last state.
func (e *end) delete(id uapi.StateID) *uapi.State {
	e.t.Helper()
	last, err := e.kernel.DeleteState(e.ctx, id)
	e.must(err)
	return last
}

// encapsulate opens the socket through which ESP in UDP arrives. It is
// excepted from every policy, as IKE daemons do: a policy that covers the outer
// addresses would refuse what arrives here, before it is known to be ESP.
func (e *end) encapsulate(a netip.Addr) {
	e.t.Helper()
	const udpEncap, espInUDP = 100, 2 // of linux/udp.h
	network, level, option := "udp4", unix.IPPROTO_IP, unix.IP_XFRM_POLICY
	if a.Is6() {
		network, level, option = "udp6", unix.IPPROTO_IPV6, unix.IPV6_XFRM_POLICY
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = errors.Join(
				unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, udpEncap, espInUDP),
				unix.SetsockoptString(int(fd), level, option, exception(a, uapi.DirIn)),
				unix.SetsockoptString(int(fd), level, option, exception(a, uapi.DirOut)))
		})
		return errors.Join(err, set)
	}}
	e.must(e.Do(func() error {
		// Of any address: a gateway's may come later.
		socket, err := config.ListenPacket(e.ctx, network, fmt.Sprintf(":%d", encapPort))
		if err == nil {
			e.t.Cleanup(func() { socket.Close() })
		}
		return err
	}))
}

// exception is a struct xfrm_userpolicy_info that allows everything.
func exception(a netip.Addr, dir uapi.Dir) string {
	const size, family, direction = 168, 40, 160 // octets, and where in them
	policy := make([]byte, size)
	binary.NativeEndian.PutUint16(policy[family:], uint16(familyOf(a)))
	policy[direction] = byte(dir)
	return string(policy)
}

// connectNode puts a connection into place at the node.
func (r *rig) connectNode(l *link) {
	r.t.Helper()
	if l.encap {
		r.node.encapsulate(l.node)
	}
	r.node.addStates(l.up(), l.down())
	r.node.addPolicies(l.nodePolicies()...)
}

// connectGate puts a connection into place at a gateway.
func (r *rig) connectGate(g *end, l *link) {
	r.t.Helper()
	if l.encap {
		g.encapsulate(l.node)
	}
	if l.virtual {
		r.must(r.MoveVirtual(g.Node))
	}
	g.addPolicies(l.gateBlocks()...)
	g.addStates(l.up(), l.down())
	g.addPolicies(l.gatePolicies()...)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// traffic starts the flows of a connection when packets find their way:
// neighbours are looked up, and links known to be up, before anything is
// counted.
func (r *rig) traffic(l *link) *traffic.Traffic {
	r.t.Helper()
	o := traffic.Options{
		Near: traffic.End{Node: r.MN, Addr: l.inner}, Far: []traffic.End{{Node: r.Host, Addr: l.far}},
	}
	if l.transport {
		o.Far = []traffic.End{{Node: r.SG1, Addr: l.far}, {Node: r.SG2, Addr: l.far}}
	}
	const attempts = 5
	for attempt := 1; ; attempt++ {
		flows, err := traffic.Start(o)
		r.must(err)
		r.must(flows.Await(r.ctx, 1))
		report := flows.Stop(settle)
		if report.Lost() == 0 {
			break
		}
		if attempt == attempts {
			r.t.Fatalf("the connection does not carry traffic: %v; refused packets: %s", report, r.refusals())
		}
	}
	flows, err := traffic.Start(o)
	r.must(err)
	return flows
}

// refusals names what IPsec refused at each end.
func (r *rig) refusals() string {
	var b strings.Builder
	for _, e := range []*end{r.node, r.sg1, r.sg2} {
		counters, err := e.XFRMCounters()
		r.must(err)
		for name, n := range counters {
			if n > 0 {
				fmt.Fprintf(&b, "%s %s %d; ", e.Name, name, n)
			}
		}
	}
	return b.String()
}

// watch starts the witness on the outer links. What it captures until the end
// of a test that fails is left among the results.
func (r *rig) watch() *witness.Witness {
	r.t.Helper()
	w, err := witness.Watch(witness.OuterPoints(r.Topology)...)
	r.must(err)
	r.t.Cleanup(func() {
		w.Stop()
		if !r.t.Failed() {
			return
		}
		file, err := os.Create(left(r.t, ".pcap"))
		r.must(err)
		defer file.Close()
		r.must(witness.WritePcap(file, w.Frames()))
	})
	return w
}

// left is the path of a result that a test leaves.
func left(t testing.TB, kind string) string {
	return filepath.Join(os.Getenv("LAB_RESULTS"), strings.ReplaceAll(t.Name(), "/", "_")+kind)
}

// rules are what the witness looks for in a connection.
func (l *link) rules() witness.Rules {
	return witness.Rules{
		Protected: []witness.Selector{{A: full(l.inner), B: full(l.far)}},
		Gateways:  []string{"sg1", "sg2"},
		IV:        l.suite.iv,
	}
}

// judge ends the capture and fails the test when a law was broken.
func (r *rig) judge(w *witness.Witness, l *link) ([]witness.Frame, *witness.Report) {
	r.t.Helper()
	frames, err := w.Stop()
	r.must(err)
	report := witness.Examine(frames, l.rules())
	if !report.Kept() {
		r.t.Errorf("the witness: %v", report)
	}
	return frames, report
}
