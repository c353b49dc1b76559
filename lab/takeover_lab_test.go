//go:build linux && lab

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/transport/testcert"
)

// BenchmarkTakeover gets 200 stock clients from one gateway to another: by a drain,
// and by having each connect again (IKE_SA_INIT and IKE_AUTH, with ECDSA
// certificates) at its best: each knows at once that it has to, which in real life
// takes half a minute or more, and one does so after the other, which for most of them
// is sooner than all at once. It prints a table of both. What that takes on the
// processor of a guest is not what it takes on a machine's: a system call is dear
// there, and so is to read the clock, which is half of what cxtpd does there; a
// signature is not. Who makes the traffic has the same processor.
//
//	go run ./lab/run -v -memory 1500 -timeout 30m -run NONE -bench Takeover ./lab
func BenchmarkTakeover(b *testing.B) {
	const size = 200
	var moved, again takeover
	b.Run("transfer", func(b *testing.B) { moved = transferred(b, size) })
	b.Run("IKE", func(b *testing.B) { again = reconnected(b, size) })
	if !b.Failed() {
		b.Logf("%d clients, in a guest with one processor:\n%s", size, table(&moved, &again))
	}
}

// takeover is what it took to get all clients to another gateway.
type takeover struct {
	wall    time.Duration
	spent   spent
	one     []time.Duration  // it took one alone
	reports []traffic.Report // of all under traffic, another time
}

// spent is time of a processor.
type spent struct {
	guest   time.Duration // all of it, and of that
	charons time.Duration // the gateways' IKE daemons,
	cxtpds  time.Duration // the daemons beside them,
	client  time.Duration // the clients' IKE daemon
}

// table compares two ways.
func table(moved, again *takeover) string {
	var b strings.Builder
	line := func(what, unit string, of func(*takeover) float64) {
		m, a := of(moved), of(again)
		ratio := ""
		if m > 0 && a > 0 {
			ratio = fmt.Sprintf("%.2f", m/a)
		}
		fmt.Fprintf(&b, "%-44s %10.1f %10.1f %-8s %s\n", what, m, a, unit, ratio)
	}
	seconds := func(of func(*takeover) time.Duration) func(*takeover) float64 {
		return func(t *takeover) float64 { return of(t).Seconds() }
	}
	ms := func(of func(*takeover) time.Duration) func(*takeover) float64 {
		return func(t *takeover) float64 { return 1000 * of(t).Seconds() }
	}
	fmt.Fprintf(&b, "%-44s %10s %10s %-8s %s\n", "", "transfer", "IKE anew", "", "ratio")
	line("all of them, by the clock", "s", seconds(func(t *takeover) time.Duration { return t.wall }))
	line("processor time, of everything", "s", seconds(func(t *takeover) time.Duration { return t.spent.guest }))
	line("  IKE daemons of both gateways", "s", seconds(func(t *takeover) time.Duration { return t.spent.charons }))
	line("  cxtpd at both", "s", seconds(func(t *takeover) time.Duration { return t.spent.cxtpds }))
	line("  IKE daemon of the clients", "s", seconds(func(t *takeover) time.Duration { return t.spent.client }))
	line("one alone is there, half of them within", "ms", ms(func(t *takeover) time.Duration { return percentile(t.one, 50) }))
	line("  99 of 100 within", "ms", ms(func(t *takeover) time.Duration { return percentile(t.one, 99) }))
	line("all of them, under traffic: packets lost", "", func(t *takeover) float64 { return float64(t.lost()) })
	line("  by so many clients", "", func(t *takeover) float64 { return float64(t.losers()) })
	line("  longest gap of a client, half of them within", "ms", ms(func(t *takeover) time.Duration { return percentile(t.gaps(), 50) }))
	line("  all of them within", "ms", ms(func(t *takeover) time.Duration { return percentile(t.gaps(), 100) }))
	line("  and so long nothing was even sent", "ms", ms((*takeover).stall))
	return b.String()
}

func (t *takeover) lost() (n int) {
	for _, r := range t.reports {
		n += r.Lost()
	}
	return n
}

func (t *takeover) losers() (n int) {
	for _, r := range t.reports {
		n += min(r.Lost(), 1)
	}
	return n
}

// gaps are how long at the longest nothing came for each client.
func (t *takeover) gaps() (all []time.Duration) {
	for _, r := range t.reports {
		all = append(all, r.Blackout())
	}
	return all
}

// stall is for how long the senders stood still: the guest has other things to do.
func (t *takeover) stall() (longest time.Duration) {
	for _, r := range t.reports {
		longest = max(longest, r.Stall())
	}
	return longest
}

func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[(len(all)-1)*p/100]
}

// processes are those whose time is told apart.
type processes struct{ charons, cxtpds, client []int }

// during is what they spend while something is done.
func (p processes) during(b *testing.B, do func()) spent {
	before := p.spent(b)
	do()
	after := p.spent(b)
	return spent{after.guest - before.guest, after.charons - before.charons, after.cxtpds - before.cxtpds, after.client - before.client}
}

// tick is in what /proc counts.
const tick = 10 * time.Millisecond

func (p processes) spent(b *testing.B) (s spent) {
	b.Helper()
	for to, of := range map[*time.Duration][]int{&s.charons: p.charons, &s.cxtpds: p.cxtpds, &s.client: p.client} {
		for _, process := range of {
			_, rest, _ := strings.Cut(proc(b, fmt.Sprintf("/proc/%d/stat", process)), ") ")
			*to += ticks(b, strings.Fields(rest)[11:13]) // in its own code, and in the kernel
		}
	}
	line, _, _ := strings.Cut(proc(b, "/proc/stat"), "\n")
	all := strings.Fields(line)[1:]
	s.guest = ticks(b, slices.Delete(all, 3, 5)) // without what it was idle
	return s
}

func proc(b *testing.B, file string) string {
	b.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// ticks adds up columns.
func ticks(b *testing.B, columns []string) (sum time.Duration) {
	b.Helper()
	for _, c := range columns {
		var n time.Duration
		if _, err := fmt.Sscan(c, &n); err != nil {
			b.Fatal(err)
		}
		sum += n * tick
	}
	return sum
}

// echoes and datagrams are how often each client sends one.
const echoes, datagrams = time.Second, 500 * time.Millisecond

// alone is how many clients are moved one by one.
const alone = 100

// transferred moves the clients by drains: there at rest, back, some of them one by
// one, and there under traffic.
func transferred(b *testing.B, size int) (t takeover) {
	v := newVPNGateways(b, clientKind{})
	here, there := v.gateways[0], v.gateways[1]
	c := newCrowd(v.rig, v.ca, size)
	c.connect()
	v.await(func() bool { return v.count(here, "active") == size })

	all := processes{
		charons: []int{v.charons[0].Process(), v.charons[1].Process()},
		cxtpds:  []int{here.cmd.Process.Pid, there.cmd.Process.Pid},
		client:  []int{c.daemon.Process()},
	}
	t.spent = all.during(b, func() { t.wall = v.empty(here) })
	v.emptied(here, size)
	for id, state := range v.states(there) {
		if state == "active" && len(t.one) < alone {
			t.one = append(t.one, v.moveOne(there, id))
		}
	}
	v.empty(there)
	v.emptied(there, size)

	flows := c.begin(echoes, datagrams)
	c.must(flows[0].Await(c.ctx, 2))
	v.empty(here)
	v.emptied(here, size)
	c.must(flows[0].Await(c.ctx, 2))
	t.reports = stopAll(flows)
	return t
}

// moveOne moves one client to the other gateway, and returns after how long it was
// there.
func (v *vpn) moveOne(from *gateway, id cxtp.SessionID) (took time.Duration) {
	v.t.Helper()
	client := control.Dial(v.socket(from))
	began := time.Now()
	end, err := client.Handover(v.ctx, control.Handover{Session: id, To: cxtp.RouterID(from.Peer.Name)}, func(p control.Progress) {
		if p.Event == cxtp.EventActive {
			took = time.Since(began)
		}
	})
	if err != nil || end.Event != cxtp.EventClosed {
		v.t.Fatalf("%s was not moved: %v, %v", id, end.Event, err)
	}
	return took
}

// plain is two stock gateways with nothing beside them, which have the shared address
// by turns, and many clients.
type plain struct {
	*crowd
	gateways [2]*topology.Node
	charons  [2]*charon.Daemon
	agents   [2]*charon.Agent
}

func newPlain(b *testing.B, size int) *plain {
	r := newRig(b)
	ca, err := testcert.New()
	r.must(err)
	p := &plain{gateways: [2]*topology.Node{r.SG1, r.SG2}}
	for i, node := range p.gateways {
		p.agents[i] = charon.Listen(b, node)
		p.charons[i] = charon.Start(b, node, charon.Gateway{Identity: "vpn.example", Authority: ca, Address: topology.Virtual.V4, Pool: clientPool})
		r.must(p.agents[i].Activate())
	}
	p.crowd = newCrowd(r, ca, size)
	return p
}

// steer has the shared address and the route to the clients at a gateway from one
// moment to the next, which knows its way to them.
func (p *plain) steer(to int) {
	p.t.Helper()
	p.must(p.gateways[to].Do(func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(topology.MN.V4, 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("to learn where the router is"))
		return err
	}))
	p.must(p.MoveVirtual(p.gateways[to]))
	p.must(p.Host.Route(clientPool, []netip.Addr{topology.SG1Inner.V4, topology.SG2Inner.V4}[to], netip.Addr{}))
}

// restart starts a gateway anew, with nothing of what it had.
func (p *plain) restart(gateway int) {
	p.t.Helper()
	p.charons[gateway].Kill()
	for _, what := range []string{"state", "policy"} {
		_, err := p.gateways[gateway].Run(p.ctx, "ip", "xfrm", what, "flush")
		p.must(err)
	}
	p.must(p.charons[gateway].Restart())
	p.must(p.agents[gateway].Activate())
}

// reconnected has the clients connect again, at a gateway that finds all inner
// addresses free, and gives them in the same order: at rest, where they have
// forgotten the gateway before, and back under traffic.
func reconnected(b *testing.B, size int) (t takeover) {
	p := newPlain(b, size)
	p.steer(0)
	p.connect()
	p.steer(1)
	for i := range size {
		p.must(p.daemon.Drop(p.conf.Connection(i)))
	}
	all := processes{
		charons: []int{p.charons[0].Process(), p.charons[1].Process()},
		client:  []int{p.daemon.Process()},
	}
	t.spent = all.during(b, func() {
		began := time.Now()
		for i := range size {
			one := time.Now()
			p.must(p.daemon.Connect(p.conf.Connection(i)))
			t.one = append(t.one, time.Since(one))
		}
		t.wall = time.Since(began)
	})
	p.learn()

	p.restart(0)
	flows := p.begin(echoes, datagrams)
	p.must(flows[0].Await(p.ctx, 2))
	p.steer(0)
	for i := range size {
		p.must(p.daemon.Drop(p.conf.Connection(i)))
		p.must(p.daemon.Connect(p.conf.Connection(i)))
	}
	p.must(flows[0].Await(p.ctx, 2))
	t.reports = stopAll(flows)
	before := p.inner
	if p.learn(); !slices.Equal(before, p.inner) {
		b.Error("clients have got other inner addresses than they sent from")
	}
	return t
}
