//go:build linux && lab

package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/cli"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/internal/daemon"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/transport/testcert"
)

// TestMain also is the programs under test, when it is run under their names.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "cxtpd":
		os.Exit(runDaemon(os.Args[1:]))
	case "cxtp":
		os.Exit(cli.Run(context.Background(), os.Args, "lab", cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

func runDaemon(args []string) int {
	flags := flag.NewFlagSet("cxtpd", flag.ContinueOnError)
	file, check := flags.String("config", "", ""), flags.Bool("check", false, "")
	err := flags.Parse(args)
	var cfg *config.Config
	if err == nil {
		cfg, err = config.Load(*file)
	}
	if err == nil && *check {
		return 0
	}
	var trace func(control.TraceEvent)
	if err == nil {
		trace, err = faultOf(os.Getenv(faultVariable))
	}
	if err == nil {
		err = daemon.Run(context.Background(), cfg, daemon.Options{
			Log:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
			Ready: func() { fmt.Println("ready") },
			Trace: trace,
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cxtpd:", err)
		return 1
	}
	return 0
}

// gatewayFile is the configuration of one of the two gateways, which take
// everything from each other.
var gatewayFile = template.Must(template.New("gateway").Parse(`
name      = "{{.Name}}"
address   = ["{{.Outer.V4}}", "{{.Outer.V6}}"]
state_dir = "{{.Name}}.state"
control   = "{{.Name}}.sock"
mode      = "{{.Mode}}"
[transport]
{{if .Carrier}}carrier = "{{.Carrier}}"
{{end}}listen      = "{{.Sync}}:5091"
certificate = "{{.Name}}.pem"
key         = "{{.Name}}.key"
ca          = "ca.pem"
[node]
listen = "[::]:5092"
[gateway]
kind     = "{{.Kind}}"
announce = ["{{.Announce.V4}}:4500", "[{{.Announce.V6}}]:4500"]
[kernel]
protect = ["10.1.0.0/16", "fd00:1::/64", "10.4.0.0/16"]
outside = "{{.Outside}}"
inside  = "{{.Inside}}"
answer  = true
{{if .Shares}}shared  = ["{{.Announce.V4}}", "{{.Announce.V6}}"]
{{end}}{{if eq .Kind "strongswan"}}[strongswan]
vici = "{{.Name}}.vici"
{{end}}[timers]
max_transfer = "{{.Transfer}}"
request_wait = "5s"
{{if .Lease}}lease = "{{.Lease}}"
{{end}}[[peer]]
name     = "{{.Peer.Name}}"
address  = ["{{.Peer.Outer.V4}}", "{{.Peer.Outer.V6}}"]
endpoint = "{{.Peer.Sync}}:5091"
via      = ["{{.Peer.Inner.V4}}", "{{.Peer.Inner.V6}}"]
outside  = ["{{.Peer.Outer.V4}}", "{{.Peer.Outer.V6}}"]
push     = true
without_token = true
pull     = "move"
`))

// gateway is one of the two as a daemon of its own.
type gateway struct {
	*topology.Node
	Outer, Inner    topology.Pair
	Sync            netip.Addr
	Mode, Kind      string
	Outside, Inside string
	Carrier         string // "" = that of a file that names none
	Transfer        string // CT_MAX_TRANSFER_TIME, in which nothing should be given up that goes well
	Lease           string // with which it has a standby; "" = none
	Shares          bool   // the virtual address, with its peer
	Peer            *gateway

	folder  string
	manager *manager // nil = nobody manages it
	fault   string   // what befalls it in a move: see faultOf
	cmd     *exec.Cmd
	said    *bufio.Reader  // by the daemon, on its standard output
	hold    io.WriteCloser // its standard input, whose end lets it go on
	log     lockedBuffer
}

// Announce is what nodes are told to send to.
func (g *gateway) Announce() topology.Pair {
	if g.Shares {
		return topology.Virtual
	}
	return g.Outer
}

// lockedBuffer may be written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fleet is a network with both daemons on it.
type fleet struct {
	*rig
	folder   string
	gateways [2]*gateway
}

func newFleet(t testing.TB, mode string, prepare ...func(*gateway)) *fleet {
	t.Helper()
	f := &fleet{rig: newRig(t), folder: t.TempDir()}
	f.gateways = [2]*gateway{
		{Node: f.SG1, Outer: topology.SG1, Inner: topology.SG1Inner, Sync: topology.SG1Sync.V4},
		{Node: f.SG2, Outer: topology.SG2, Inner: topology.SG2Inner, Sync: topology.SG2Sync.V4},
	}
	ca, err := testcert.New()
	f.must(err)
	f.write("ca.pem", ca.CertPEM())
	for i, g := range f.gateways {
		g.Kind, g.Transfer = "kernel", "10s"
		g.Mode, g.Outside, g.Inside, g.Peer, g.folder = mode, topology.Outer, topology.Inner, f.gateways[1-i], f.folder
		cert, err := ca.Issue(g.Name)
		f.must(err)
		key, err := testcert.KeyPEM(cert)
		f.must(err)
		for _, p := range prepare {
			p(g)
		}
		var text bytes.Buffer
		f.must(gatewayFile.Execute(&text, g))
		f.write(g.Name+".toml", text.Bytes())
		f.write(g.Name+".pem", testcert.ChainPEM(cert))
		f.write(g.Name+".key", key)
		f.must(os.Mkdir(filepath.Join(f.folder, g.Name+".state"), 0o700))
		f.must(f.start(g))
	}
	t.Cleanup(f.stop)
	// The host finds nodes by asking the segment who has them.
	f.shell(f.Host, "ip", "route", "replace", "10.1.0.0/16", "dev", topology.Inner)
	f.shell(f.Host, "ip", "-6", "route", "replace", "fd00:1::/64", "dev", topology.Inner)
	f.shell(f.Host, "ip", "route", "del", full(topology.MNInner.V4).String())
	f.shell(f.Host, "ip", "-6", "route", "del", full(topology.MNInner.V6).String())
	return f
}

func (f *fleet) write(name string, content []byte) string {
	f.t.Helper()
	path := filepath.Join(f.folder, name)
	f.must(os.WriteFile(path, content, 0o600))
	return path
}

// program is a file that is one of the programs under test.
func (f *fleet) program(name string) string {
	f.t.Helper()
	self, err := os.Executable()
	f.must(err)
	path := filepath.Join(f.folder, name)
	if err := os.Symlink(self, path); !errors.Is(err, fs.ErrExist) {
		f.must(err)
	}
	return path
}

func (f *fleet) shell(n *topology.Node, name string, args ...string) {
	f.t.Helper()
	if out, err := n.Run(f.ctx, name, args...); err != nil {
		f.t.Fatalf("%s in %s: %v: %s", name, n.Name, err, out)
	}
}

// start starts a daemon and waits until it is ready.
func (f *fleet) start(g *gateway) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"cxtpd", "-config", filepath.Join(f.folder, g.Name+".toml")}
	cmd.Env = append(os.Environ(), faultVariable+"="+g.fault)
	cmd.Stderr = &g.log
	if g.manager != nil {
		g.manager.prepare(cmd)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		g.hold, err = cmd.StdinPipe()
	}
	if err == nil {
		err = g.Start(cmd)
	}
	if err != nil {
		return fmt.Errorf("failed to start %s: %w", g.Name, err)
	}
	g.cmd, g.said = cmd, bufio.NewReader(out)
	if line, _ := g.said.ReadString('\n'); line != "ready\n" {
		return fmt.Errorf("%s did not start: %s", g.Name, &g.log)
	}
	return nil
}

// kill ends a daemon as a crash does.
func (g *gateway) kill() {
	g.cmd.Process.Kill()
	g.cmd.Wait()
	g.cmd = nil
}

func (f *fleet) stop() {
	for _, g := range f.gateways {
		if g.cmd == nil {
			continue
		}
		g.kill()
		if f.t.Failed() {
			f.t.Logf("%s said:\n%s", g.Name, &g.log)
		}
	}
}

func (f *fleet) socket(g *gateway) string { return filepath.Join(f.folder, g.Name+".sock") }

func (f *fleet) command(ctx context.Context, at *gateway, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{"cxtp", "--socket", f.socket(at)}, args...)
	return cmd
}

// cxtp is the operator's command at a gateway.
func (f *fleet) cxtp(at *gateway, args ...string) (string, error) {
	cmd := f.command(f.ctx, at, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("cxtp %s: %w: %s", strings.Join(args, " "), err, &errs)
	}
	return string(out), err
}

// agent starts the node's own program, which follows its gateway in the kernel.
func (f *fleet) agent(file string, more ...string) {
	f.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"cxtp", "mn", "--json", "--config", file}, more...)
	var said lockedBuffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	f.must(err)
	f.must(f.MN.Start(cmd))
	line, _ := bufio.NewReader(out).ReadString('\n')
	if !strings.Contains(line, "listening") {
		f.t.Fatalf("the node's agent did not start: %s %s", line, &said)
	}
	go io.Copy(&said, out)
	f.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if f.t.Failed() {
			f.t.Logf("the node's agent said:\n%s", &said)
		}
	})
}

// install begins the session of a connection at a gateway, and starts the node's
// end of it.
func (f *fleet) install(l *link, at *gateway, id cxtp.SessionID) {
	f.t.Helper()
	f.connectNode(l)
	secret := func(use string) string { return hex.EncodeToString(material(l.spiUp, use, 32)) }
	n := control.NewSession{
		Session: id, Previous: l.node, Agent: netip.AddrPortFrom(l.node, 5092), UpdateKey: secret("update"),
		Tokens: []control.NewToken{{Number: 1, Key: secret("token")}}, Identity: "mn.example",
		Inner: []netip.Prefix{full(l.inner)}, SAs: []control.NewSA{l.manual(true), l.manual(false)},
	}
	text, err := json.Marshal(n)
	f.must(err)
	_, err = f.cxtp(at, "install", f.write("session.json", text))
	f.must(err)
	f.agent(f.write("node.toml", fmt.Appendf(nil, `
listen       = "%s"
previous     = "%s"
session      = "%s"
update_key   = "%s"
kernel_reqid = %d
[[token]]
number = 1
key    = "%s"
[routers]
"%[9]s" = "%[7]s"
"%[10]s" = "%[8]s"
`, n.Agent, n.Previous, id, n.UpdateKey, l.reqID, n.Tokens[0].Key,
		netip.AddrPortFrom(topology.SG1.Of(l.outer6), 5092), netip.AddrPortFrom(topology.SG2.Of(l.outer6), 5092),
		topology.SG1.Of(l.outer6), topology.SG2.Of(l.outer6))))
}

// manual is one SA of the connection as an operator writes it down.
func (l *link) manual(outbound bool) control.NewSA {
	sa := control.NewSA{
		Outbound: outbound, SPI: l.spiUp, Window: l.window, ESN: l.esn, Transport: l.transport, Local: []netip.Prefix{full(l.far)},
		Gateway: netip.AddrPortFrom(l.gate, 0), Node: netip.AddrPortFrom(l.node, 0),
		Encryption: l.suite.cipherID, KeyBits: l.suite.bits, Integrity: l.suite.integrityID,
	}
	if outbound {
		sa.SPI, sa.Window = l.spiDown, 0
	}
	if l.encap {
		sa.Gateway, sa.Node = netip.AddrPortFrom(l.gate, encapPort), netip.AddrPortFrom(l.node, encapPort)
	}
	if l.suite.proto == uapi.AH {
		sa.Protocol = uint8(uapi.AH)
	}
	key := l.suite.cipherMaterial(sa.SPI)
	sa.Key, sa.Salt = hex.EncodeToString(key[:l.suite.cipherKey]), hex.EncodeToString(key[l.suite.cipherKey:])
	if l.suite.authKey > 0 {
		sa.IntegrityKey = hex.EncodeToString(material(sa.SPI, "auth", l.suite.authKey))
	}
	return sa
}

// states are the sessions that a daemon knows, and where they stand.
func (f *fleet) states(at *gateway) map[cxtp.SessionID]string {
	f.t.Helper()
	states := map[cxtp.SessionID]string{}
	for _, v := range f.views(at) {
		states[v.Session] = v.State
	}
	return states
}
