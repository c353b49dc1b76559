// Package rig prepares this module's own daemon as the router under test of package
// live: without privileges, on loopback, with a userspace gateway and the sessions of
// some mobile nodes.
//
//	program, err := rig.Build(ctx, folder)
//	r, err := rig.Start(ctx, program, folder)
//	defer r.Stop()
//	text, err := os.ReadFile(r.Subject)
package rig

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/transport/testcert"
)

// How many mobile nodes have a session at the router, by the family of their
// address, and how many keys each has for its tokens.
const (
	nodes4    = 32
	nodes6    = 2
	listeners = 2 // of the former, with multicast groups in place of SAs
	keys      = 2
)

// Rig is a daemon that runs, and what the prober has to know of it.
type Rig struct {
	Subject string // a file, for package live

	folder string
	plain  bool
	nodes  []node
	client *control.Client
	daemon *exec.Cmd
	log    bytes.Buffer
	ended  chan struct{}
}

// node is a mobile node of the rig. What it has in place of SAs are its groups; the
// prober is told of those only that it is to look for.
type node struct {
	Previous netip.Addr
	Keys     []string
	Groups   []string
	Told     bool
}

// Build compiles cxtpd into a folder and returns where it is. flags are for go build.
func Build(ctx context.Context, folder string, flags ...string) (program string, err error) {
	return BuildCommand(ctx, "cxtpd", folder, flags...)
}

// BuildCommand is Build for any command of this module.
func BuildCommand(ctx context.Context, name, folder string, flags ...string) (program string, err error) {
	program = filepath.Join(folder, name)
	args := append([]string{"build", "-o", program}, flags...)
	out, err := exec.CommandContext(ctx, "go", append(args, "github.com/cxtp/cxtp/cmd/"+name)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("failed to compile %s: %w\n%s", name, err, out)
	}
	return program, nil
}

// Start runs the program, which is cxtpd or a variant of it, with its files in a
// folder, and returns when it has the nodes' sessions.
func Start(ctx context.Context, program, folder string) (*Rig, error) {
	return start(ctx, program, folder, false)
}

// StartPlain is Start with nothing of ours between router and prober: by RFC 4067
// alone, of contexts that may be copied.
func StartPlain(ctx context.Context, program, folder string) (*Rig, error) {
	return start(ctx, program, folder, true)
}

func start(ctx context.Context, program, folder string, plain bool) (*Rig, error) {
	r := &Rig{folder: folder, plain: plain, Subject: filepath.Join(folder, "subject.toml"), ended: make(chan struct{})}
	if err := r.write(); err != nil {
		return nil, fmt.Errorf("failed to configure the router: %w", err)
	}
	r.daemon = exec.CommandContext(ctx, program, "-config", filepath.Join(folder, "router.toml"))
	r.daemon.Stderr = &r.log
	if err := r.daemon.Start(); err != nil {
		return nil, fmt.Errorf("failed to start the router: %w", err)
	}
	go func() {
		defer close(r.ended)
		r.daemon.Wait()
	}()
	r.client = control.Dial(filepath.Join(folder, "router.sock"))
	if err := r.prepare(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// Stop ends the daemon. That it had ended before is an error, which says what it
// wrote.
func (r *Rig) Stop() error {
	early := false
	select {
	case <-r.ended:
		early = true
	default:
		r.daemon.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		r.daemon.Process.Kill()
		<-r.ended
	}
	if early {
		return fmt.Errorf("the router ended by itself: %s", strings.TrimSpace(r.log.String()))
	}
	return nil
}

// prepare waits until the daemon answers, and installs the sessions.
func (r *Rig) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := r.client.Status(ctx)
		if err == nil {
			break
		}
		select {
		case <-r.ended:
			return errors.New("the router did not start")
		case <-ctx.Done():
			return fmt.Errorf("the router does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	for i, n := range r.nodes {
		if err := r.client.AddSession(ctx, session(i, n)); err != nil {
			return fmt.Errorf("failed to install the session of %v: %w", n.Previous, err)
		}
	}
	return nil
}

// session is the session of the node with this number: one pair of SAs.
func session(i int, n node) control.NewSession {
	in := control.NewSA{SPI: 0x1000 + uint32(i), Gateway: netip.MustParseAddrPort("127.0.0.1:4500"), Node: netip.MustParseAddrPort("127.0.0.1:9"),
		Encryption: 20, KeyBits: 128, Key: digits(i, "in", 16), Salt: digits(i, "salt", 4), Window: 64}
	out := in
	out.Outbound, out.SPI, out.Key, out.Window = true, 0x8000+uint32(i), digits(i, "out", 16), 0
	s := control.NewSession{
		Session: cxtp.SessionID{0: 0xc0, 15: byte(i)}, Previous: n.Previous, Identity: fmt.Sprintf("node%d.example", i),
	}
	for _, group := range n.Groups {
		s.Groups = append(s.Groups, control.NewGroup{Prefix: link, Group: netip.MustParseAddr(group)})
	}
	if len(n.Groups) == 0 {
		s.Inner, s.SAs = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 8, 0, byte(i)}), 32)}, []control.NewSA{in, out}
	}
	for number, key := range n.Keys {
		s.Tokens = append(s.Tokens, control.NewToken{Number: uint32(number + 1), Key: key})
	}
	return s
}

// link is the prefix of the router's link to the nodes.
var link = netip.MustParsePrefix("2001:db8:10::/64")

// digits are a key for a purpose, in hexadecimal: it protects nothing.
func digits(i int, purpose string, octets int) string {
	key := make([]byte, octets)
	copy(key, fmt.Sprintf("%d%s", i, purpose))
	return hex.EncodeToString(key)
}

// files are the settings of both ends.
type files struct {
	Router, Node, Outside, Inside int // UDP ports
	Nodes                         []node
	Plain                         bool
}

var router = template.Must(template.New("router").Parse(`name = "rut"
address = ["192.0.2.1", "2001:db8::1"]
state_dir = "state"
control = "router.sock"
[transport]
listen = "127.0.0.1:{{.Router}}"
certificate = "rut.pem"
key = "rut.key"
ca = "ca.pem"
[node]
listen = "127.0.0.1:{{.Node}}"
[gateway]
outside = "127.0.0.1:{{.Outside}}"
inside = "127.0.0.1:{{.Inside}}"
next_hop = "127.0.0.1:9"
[multicast]
prefixes = ["2001:db8:10::/64"]
[timers]
max_transfer = "1s"
repeat = "200ms"
grace = "0s"
[[peer]]
name = "prober"
address = ["192.0.2.9", "2001:db8::9"]
push = true
plain = {{.Plain}}
inside = "127.0.0.1:9"
pull = "stage"
`))

var subject = template.Must(template.New("subject").Parse(`name = "cxtpd"
router = "127.0.0.1:{{.Router}}"
identity = "rut"
node = "127.0.0.1:{{.Node}}"
{{if not .Plain}}control_profile = "rut"
{{end}}null_token = true
[probe]
address = ["192.0.2.9", "2001:db8::9"]
listen = "127.0.0.1:0"
listen_node = "127.0.0.1:0"
certificate = "prober.pem"
key = "prober.key"
ca = "ca.pem"
[timers]
max_transfer = "1s"
patience = "10s"
quiet = "300ms"
{{range .Nodes}}
[[mobile_node]]
previous = "{{.Previous}}"
keys = [{{range $i, $key := .Keys}}{{if $i}}, {{end}}"{{$key}}"{{end}}]
{{if .Groups}}contexts = [1]
{{end}}{{if .Told}}groups = [{{range $i, $group := .Groups}}{{if $i}}, {{end}}"{{$group}}"{{end}}]
{{end}}{{if not .Groups}}contexts = [0xffe0, 0xffe1]
{{end}}{{end}}`))

// write makes the nodes, the certificates and both configurations.
func (r *Rig) write() error {
	for i := range nodes4 + nodes6 {
		n := node{Previous: netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})}
		if i >= nodes4 {
			n.Previous = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: 7, 15: byte(i)})
		}
		for k := range keys {
			n.Keys = append(n.Keys, digits(i, fmt.Sprintf("token%d", k), 20))
		}
		if n.Told = i < listeners; n.Told || r.plain {
			n.Groups = []string{"ff1e::1234", "ff1e::5678"}
		}
		r.nodes = append(r.nodes, n)
	}
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	f := files{ports[0], ports[1], ports[2], ports[3], r.nodes, r.plain}
	for name, t := range map[string]*template.Template{"router.toml": router, "subject.toml": subject} {
		var text bytes.Buffer
		if err := t.Execute(&text, f); err != nil {
			return err
		}
		if err := r.file(name, text.Bytes()); err != nil {
			return err
		}
	}
	return r.certify("rut", "prober")
}

// certify has an authority issue certificates.
func (r *Rig) certify(names ...string) error {
	authority, err := testcert.New()
	if err != nil {
		return err
	}
	for _, name := range names {
		cert, err := authority.Issue(name)
		if err != nil {
			return err
		}
		key, err := testcert.KeyPEM(cert)
		if err != nil {
			return err
		}
		if err := errors.Join(r.file(name+".pem", testcert.ChainPEM(cert)), r.file(name+".key", key)); err != nil {
			return err
		}
	}
	return r.file("ca.pem", authority.CertPEM())
}

func (r *Rig) file(name string, text []byte) error {
	return os.WriteFile(filepath.Join(r.folder, name), text, 0o600)
}

// freePorts finds UDP ports that nobody uses at the moment.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		ports[i] = conn.LocalAddr().(*net.UDPAddr).Port
	}
	return ports, nil
}
