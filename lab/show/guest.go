//go:build linux

package show

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cxtp/cxtp/internal/cli"
	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
	"github.com/cxtp/cxtp/transport/testcert"
)

// pool has the inner addresses of clients.
var pool = netip.MustParsePrefix("10.4.0.0/24")

// disturbance is a loss while the machine stood still for longer than a gateway's queue
// lasts: that says nothing.
type disturbance struct {
	lost  int
	stall time.Duration
}

func (d *disturbance) Error() string {
	return fmt.Sprintf("%d packets were lost; the machine stood still for %v meanwhile, which says nothing about them", d.lost, d.stall.Round(time.Millisecond))
}

// Guest shows it, in the guest. The daemons are this program, run by the command
// that daemon gives for a configuration file; they end with their standard input.
// What a busy machine has spoilt is shown again.
func Guest(ctx context.Context, out io.Writer, daemon func(file string) []string) error {
	const tries = 3
	for n := 1; ; n++ {
		err := once(ctx, out, daemon)
		var d *disturbance
		if !errors.As(err, &d) || n == tries {
			return err
		}
		fmt.Fprintf(out, "%v. So it is shown once more.\n\n", d)
	}
}

func once(ctx context.Context, out io.Writer, daemon func(file string) []string) error {
	folder, err := os.MkdirTemp("", "show-")
	if err != nil {
		return err
	}
	net, err := topology.New()
	if err != nil {
		return err
	}
	defer net.Close()
	s := &stage{Topology: net, out: out, folder: folder, daemon: daemon}
	defer s.end()
	if err := s.set(ctx); err != nil {
		return errors.Join(err, errors.New(s.said()))
	}
	return s.play(ctx)
}

// stage is everything that takes part.
type stage struct {
	*topology.Topology
	out      io.Writer
	folder   string
	daemon   func(file string) []string
	ca       *testcert.Authority
	gateways []*gateway
	charons  []*charon.Daemon
	client   *charon.Daemon
}

// set starts the gateways, and has the client connect.
func (s *stage) set(ctx context.Context) (err error) {
	if s.ca, err = testcert.New(); err != nil {
		return err
	}
	s.gateways = []*gateway{
		{Node: s.SG1, Outer: topology.SG1, Inner: topology.SG1Inner, Sync: topology.SG1Sync.V4},
		{Node: s.SG2, Outer: topology.SG2, Inner: topology.SG2Inner, Sync: topology.SG2Sync.V4},
	}
	if err := s.SG1.AddAddress(topology.Outer, topology.Virtual); err != nil {
		return err
	}
	if said, err := s.Host.Run(ctx, "ip", "route", "replace", pool.String(), "dev", topology.Inner); err != nil {
		return fmt.Errorf("failed to route to the clients: %w: %s", err, said)
	}
	for i, g := range s.gateways {
		g.Peer, g.folder = s.gateways[1-i], s.folder
		if err := g.start(s.ca, s.daemon); err != nil {
			return err
		}
		d, err := s.charon(g.Node, charon.Gateway{Identity: "vpn.example", Authority: s.ca, Address: topology.Virtual.V4, Pool: pool})
		if err != nil {
			return err
		}
		if err := os.Symlink(d.Socket(), filepath.Join(s.folder, g.Name+".vici")); err != nil {
			return err
		}
	}
	for _, g := range s.gateways {
		if err := g.ready(ctx); err != nil {
			return err
		}
	}
	s.client, err = s.charon(s.MN, charon.Client{Identity: "mn.example", Authority: s.ca, Gateway: "vpn.example", Address: topology.Virtual.V4})
	if err == nil {
		err = s.client.Initiate(charon.Child)
	}
	if err == nil {
		err = s.gateways[0].has(ctx)
	}
	return err
}

// charon starts a strongSwan.
func (s *stage) charon(n *topology.Node, role charon.Role) (*charon.Daemon, error) {
	folder := filepath.Join(s.folder, "charon-"+n.Name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	d, err := charon.Run(folder, n, role)
	s.charons = append(s.charons, d)
	return d, err
}

// play is the operator's part, under the client's traffic.
func (s *stage) play(ctx context.Context) error {
	sas, err := s.client.SAs()
	if err != nil {
		return err
	}
	inner := netip.MustParseAddr(sas[0].LocalVIPs[0])
	fmt.Fprintf(s.out, "Two stock strongSwan gateways, sg1 and sg2, share the address %s; cxtpd runs beside each.\n"+
		"A stock client has connected to it, and got %s. It exchanges 100 echoes and 400 datagrams a second\n"+
		"with a host behind the gateways.\n", topology.Virtual.V4, inner)
	first := s.client.Log()
	wire, err := witness.Watch(witness.OuterPoints(s.Topology)...)
	if err != nil {
		return err
	}
	flows, err := traffic.Start(traffic.Options{
		Near: traffic.End{Node: s.MN, Addr: inner}, Far: []traffic.End{{Node: s.Host, Addr: topology.Host.V4}},
	})
	if err != nil {
		return err
	}
	err = s.operate(ctx, flows)
	report := flows.Stop(2 * time.Second)
	frames, failed := wire.Stop()
	if err := errors.Join(err, failed); err != nil {
		return errors.Join(err, errors.New(s.said()))
	}
	seen := witness.Examine(frames, witness.Rules{Gateways: []string{"sg1", "sg2"}, IV: 8, Protected: []witness.Selector{
		{A: netip.PrefixFrom(inner, 32), B: netip.PrefixFrom(topology.Host.V4, 32)},
	}})
	return s.judge(report, seen, strings.Contains(strings.TrimPrefix(s.client.Log(), first), "IKE_AUTH"))
}

// operate drains one gateway, and then the other.
func (s *stage) operate(ctx context.Context, flows *traffic.Traffic) error {
	sg1, sg2 := s.gateways[0], s.gateways[1]
	for _, order := range []struct {
		at   *gateway
		args []string
	}{
		{sg1, []string{"sessions"}},
		{sg1, []string{"drain", "--to", "sg2"}},
		{sg2, []string{"sessions"}},
		{sg1, []string{"undrain"}},
		{sg2, []string{"drain", "--to", "sg1"}},
		{sg1, []string{"status"}},
	} {
		const apart = 100 // echoes
		if err := flows.Await(ctx, apart); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "\n%s# cxtp %s\n", order.at.Name, strings.Join(order.args, " "))
		args := append([]string{"cxtp", "--socket", order.at.socket()}, order.args...)
		if status := cli.Run(ctx, args, "demo", cli.Streams{In: strings.NewReader(""), Out: s.out, Err: s.out}); status != 0 {
			return fmt.Errorf("cxtp %s ended with status %d", order.args[0], status)
		}
		echo := flows.Report().Echo
		fmt.Fprintf(s.out, "     the client meanwhile: %d echoes sent, %d answered\n", echo.Sent, echo.Received)
	}
	return s.client.Rekey("child", charon.Child)
}

// disturbed is longer than a gateway's queue lasts.
const disturbed = 100 * time.Millisecond

// judge says what came of it.
func (s *stage) judge(report traffic.Report, seen *witness.Report, again bool) error {
	fmt.Fprintf(s.out, "\nThe client's traffic: %v.\nOn the wire: %v.\n", report, seen)
	switch {
	case !seen.Kept():
		return errors.New("a law was broken")
	case again:
		return errors.New("the client authenticated again")
	case report.Lost() > 0 && report.Stall() > disturbed:
		return &disturbance{report.Lost(), report.Stall()}
	case report.Lost() > 0:
		return fmt.Errorf("%d packets were lost", report.Lost())
	}
	fmt.Fprintln(s.out, "The client has noticed nothing, and did not authenticate again.")
	return nil
}

// said is what those said that take part.
func (s *stage) said() string {
	var b strings.Builder
	for _, g := range s.gateways {
		fmt.Fprintf(&b, "cxtpd of %s said:\n%s", g.Name, g.said())
	}
	return b.String()
}

func (s *stage) end() {
	for _, d := range s.charons {
		d.Kill()
	}
	for _, g := range s.gateways {
		g.stop()
	}
}
