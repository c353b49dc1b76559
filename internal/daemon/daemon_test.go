package daemon_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/internal/daemon"
	"github.com/cxtp/cxtp/transport/testcert"
)

// gatewayRole makes the test binary run a gateway: with the configuration file
// that it names, until its standard input closes. Meanwhile it takes calls of its
// [daemon.Driver] there.
const (
	gatewayRole = "CXTP_TEST_GATEWAY"
	noJournal   = "CXTP_TEST_NO_JOURNAL"
	bareRole    = "CXTP_TEST_BARE" // run a transport alone, with a bareEnd
)

func TestMain(m *testing.M) {
	path := os.Getenv(gatewayRole)
	if path == "" {
		os.Exit(m.Run())
	}
	ctx, stop := context.WithCancel(context.Background())
	serve := func(callee any) {
		server := rpc.NewServer()
		if err := server.RegisterName("Process", callee); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("ready")
		go func() {
			server.ServeConn(struct {
				io.Reader
				io.WriteCloser
			}{os.Stdin, os.Stdout})
			stop()
		}()
	}
	if err := runGateway(ctx, path, serve); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runGateway(ctx context.Context, path string, serve func(any)) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	if os.Getenv(bareRole) != "" {
		return runBare(ctx, cfg, serve)
	}
	opts := daemon.Options{NoJournal: os.Getenv(noJournal) != ""}
	return daemon.RunDriven(ctx, cfg, opts, func(d *daemon.Driver) { serve(d) })
}

// process is a gateway in a process of its own.
type process struct {
	name   string
	client *control.Client
	driver *rpc.Client
	node   netip.AddrPort // where it listens to nodes
}

// call calls a method of the process's driver.
func (p process) call(t testing.TB, method string, args, result any) {
	t.Helper()
	if err := p.driver.Call("Process."+method, args, result); err != nil {
		t.Fatalf("%s of %s: %v", method, p.name, err)
	}
}

// pair starts two gateways, sg1 and sg2, that trust each other, with more in
// their environment; policy is added to the peer's section at both.
func pair(t testing.TB, policy string, environment ...string) [2]process {
	t.Helper()
	dir, err := os.MkdirTemp("", "cxtp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	authority, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ca.pem"), authority.CertPEM())
	ports := freePorts(t, 8)
	var gateways [2]process
	for i := range gateways {
		name, peer := fmt.Sprintf("sg%d", i+1), fmt.Sprintf("sg%d", 2-i)
		cert, err := authority.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		key, err := testcert.KeyPEM(cert)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".pem"), testcert.ChainPEM(cert))
		write(t, filepath.Join(dir, name+".key"), key)
		mine, theirs := ports[4*i:4*i+4], ports[4-4*i:8-4*i]
		path := filepath.Join(dir, name+".toml")
		write(t, path, fmt.Appendf(nil, `
name = %q
address = ["192.0.2.%d"]
state_dir = %q
control = %q
[transport]
listen = "127.0.0.1:%d"
certificate = "%s.pem"
key = "%s.key"
ca = "ca.pem"
[node]
listen = "127.0.0.1:%d"
[gateway]
outside = "127.0.0.1:%d"
inside = "127.0.0.1:%d"
next_hop = "127.0.0.1:9"
[timers]
grace = "0s"
max_transfer = "5s"
[[peer]]
name = %q
address = ["192.0.2.%d"]
endpoint = "127.0.0.1:%d"
inside = "127.0.0.1:%d"
%s
`, name, i+1, filepath.Join(dir, name+".state"), filepath.Join(dir, name+".sock"),
			mine[0], name, name, mine[1], mine[2], mine[3], peer, 2-i, theirs[0], theirs[3], policy))
		gateways[i] = process{name, control.Dial(filepath.Join(dir, name+".sock")), start(t, path, environment),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(mine[1]))}
	}
	return gateways
}

// start runs this binary as a gateway and waits until it listens.
func start(t testing.TB, path string, environment []string) *rpc.Client {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), gatewayRole+"="+path), environment...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("gateway %s: %v: %s", path, err, stderr.String())
		}
	})
	line := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "ready\n" {
		t.Fatalf("gateway %s did not start: %v", path, err)
	}
	return rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{stdout, stdin})
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePorts finds UDP ports that nobody uses at the moment.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ports[i] = conn.LocalAddr().(*net.UDPAddr).Port
	}
	return ports
}

var sessionID = cxtp.SessionID{1, 2, 3}

// install begins a session at a gateway.
func install(t testing.TB, g process) {
	t.Helper()
	key := strings.Repeat("0b", 32)
	sa := control.NewSA{SPI: 0x1000, Gateway: netip.MustParseAddrPort("127.0.0.1:4500"), Node: netip.MustParseAddrPort("127.0.0.1:9"),
		Encryption: 20, KeyBits: 256, Key: key, Salt: "01020304", ESN: true, Window: 1024}
	out := sa
	out.Outbound, out.SPI, out.Key = true, 0x2000, strings.Repeat("0c", 32)
	err := g.client.AddSession(t.Context(), control.NewSession{
		Session: sessionID, Previous: netip.MustParseAddr("198.51.100.7"), Identity: "node.example",
		Inner: []netip.Prefix{netip.MustParsePrefix("10.8.0.7/32")}, SAs: []control.NewSA{sa, out},
		Tokens: []control.NewToken{{Number: 1, Key: strings.Repeat("0d", 20)}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func state(t testing.TB, g process) string {
	t.Helper()
	views, err := g.client.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		if v.Session == sessionID {
			return v.State
		}
	}
	return "unseen"
}

const trusting = "push = true\nwithout_token = true\npull = \"move\""

func TestMoveThereAndBack(t *testing.T) {
	sg := pair(t, trusting)
	install(t, sg[0])
	for i := range 4 {
		from, to := sg[i%2], sg[(i+1)%2]
		last, err := from.client.Handover(t.Context(), control.Handover{Session: sessionID, To: cxtp.RouterID(to.name)}, nil)
		if err != nil || last.Event != cxtp.EventClosed {
			t.Fatalf("move %d: %v, %+v", i, err, last)
		}
		if a, b := state(t, from), state(t, to); a != "gone" || b != "active" {
			t.Fatalf("after move %d the session is %s at the source and %s at the target", i, a, b)
		}
	}
}

func TestPullByTheTarget(t *testing.T) {
	sg := pair(t, trusting)
	install(t, sg[0])
	last, err := sg[1].client.Handover(t.Context(), control.Handover{Previous: netip.MustParseAddr("198.51.100.7"), From: "sg1"}, nil)
	if err != nil || last.Event != cxtp.EventClosed {
		t.Fatalf("%v, %+v", err, last)
	}
}

// TestRefusalLeavesTheSession asks for moves that the target's or the source's
// policy does not allow.
func TestRefusalLeavesTheSession(t *testing.T) {
	for name, ask := range map[string]func(source, target *control.Client) (control.Progress, error){
		"push": func(source, _ *control.Client) (control.Progress, error) {
			return source.Handover(t.Context(), control.Handover{Session: sessionID, To: "sg2"}, nil)
		},
		"pull": func(_, target *control.Client) (control.Progress, error) {
			return target.Handover(t.Context(), control.Handover{Previous: netip.MustParseAddr("198.51.100.7"), From: "sg1"}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sg := pair(t, "")
			install(t, sg[0])
			last, err := ask(sg[0].client, sg[1].client)
			if err != nil || len(last.Statuses) != 1 || last.Statuses[0].Status != cxtp.StatusNotAuthorised {
				t.Errorf("%v, %+v", err, last)
			}
			if got := state(t, sg[0]); got != "active" {
				t.Errorf("the session is %s at the source", got)
			}
		})
	}
}

// TestAgentByICMP wants updates by ICMP from a gateway that does not speak it.
func TestAgentByICMP(t *testing.T) {
	sg := pair(t, "")
	err := sg[0].client.AddSession(t.Context(), control.NewSession{
		Session: sessionID, Previous: netip.MustParseAddr("198.51.100.7"), Agent: netip.MustParseAddrPort("198.51.100.7:0"),
		UpdateKey: strings.Repeat("0e", 32),
	})
	if err == nil || !strings.Contains(err.Error(), "set node.icmp") {
		t.Errorf("%v", err)
	}
}
