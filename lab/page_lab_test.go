//go:build linux && lab

package lab

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/transport/testcert"
)

// block is one of the page's: a file, or commands.
type block struct {
	file  string // "" = commands
	where string // of commands: once, both, sg1, sg2, systemd
	text  string
}

// blocks reads the operator's page.
func blocks(t *testing.T) (all []block) {
	t.Helper()
	text, err := os.ReadFile("../doc/strongswan.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 0 {
			continue
		}
		info, body, _ := strings.Cut(part, "\n")
		kind, rest, _ := strings.Cut(info, " ")
		b := block{where: rest, text: body}
		if kind != "sh" {
			b.file, b.where = rest, ""
		}
		all = append(all, b)
	}
	return all
}

// host is a gateway as an operator has it: with folders of its own, in a mount
// namespace of its own.
type host struct {
	*topology.Node
	t      *testing.T
	keeper *exec.Cmd // keeps the namespace
	log    lockedBuffer
}

// own are the folders that the two gateways do not have in common.
var own = []string{"/run", "/etc/cxtp", "/etc/swanctl", "/var/lib/cxtpd"}

func newHost(t *testing.T, n *topology.Node) *host {
	t.Helper()
	h := &host{Node: n, t: t}
	script := "set -e; "
	for _, folder := range own {
		script += fmt.Sprintf("mkdir -p %s; mount -t tmpfs none %[1]s; ", folder)
	}
	script += "mkdir -p /run/cxtpd /etc/swanctl/conf.d /etc/swanctl/x509 /etc/swanctl/private /etc/swanctl/x509ca; echo ready; exec sleep infinity"
	h.keeper = exec.Command("/bin/sh", "-c", script)
	h.keeper.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	said, err := h.keeper.StdoutPipe()
	if err == nil {
		err = n.Start(h.keeper)
	}
	if err == nil {
		_, err = io.ReadFull(said, make([]byte, len("ready\n")))
	}
	if err != nil {
		t.Fatalf("failed to make the host %s: %v", n.Name, err)
	}
	t.Cleanup(func() { h.keeper.Process.Kill(); h.keeper.Wait() })
	return h
}

// shell is a command at the host.
func (h *host) shell(script string) *exec.Cmd {
	return exec.Command("nsenter", "--mount", "--target", strconv.Itoa(h.keeper.Process.Pid), "/bin/sh", "-ec", script)
}

// do runs commands as they are in the page.
func (h *host) do(script string) string {
	h.t.Helper()
	var said lockedBuffer
	cmd := h.shell(script)
	cmd.Stdout, cmd.Stderr = &said, &said
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		h.t.Fatalf("%s: %v\n%s%s", h.Name, err, script, &said)
	}
	return said.String()
}

// write writes a file at the host.
func (h *host) write(path string, text []byte) {
	h.t.Helper()
	cmd := h.shell("umask 077; mkdir -p $(dirname " + path + "); cat > " + path)
	cmd.Stdin = strings.NewReader(string(text))
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		h.t.Fatalf("%s: failed to write %s: %v", h.Name, path, err)
	}
}

// serve runs a service until the test ends.
func (h *host) serve(program string) *exec.Cmd {
	h.t.Helper()
	cmd := h.shell("exec " + program)
	cmd.Stdout, cmd.Stderr = &h.log, &h.log
	if err := h.Start(cmd); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if h.t.Failed() {
			h.t.Logf("%s of %s said:\n%s", program, h.Name, &h.log)
		}
	})
	return cmd
}

// await runs commands until they say something.
func (h *host) await(script, what string) string {
	h.t.Helper()
	said := ""
	if !comes(func() bool { said = h.do(script); return strings.Contains(said, what) }) {
		h.t.Fatalf("%s: %s does not say %q:\n%s", h.Name, script, what, said)
	}
	return said
}

// started is the program that a unit of systemd's starts.
func started(t *testing.T, unit string) string {
	t.Helper()
	for line := range strings.Lines(unit) {
		if program, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart="); ok {
			return program
		}
	}
	t.Fatalf("the unit starts nothing:\n%s", unit)
	return ""
}

// walk is the page as far as it has been followed.
type walk struct {
	*rig
	t      *testing.T
	hosts  []*host
	ca     *testcert.Authority  // of the VPN
	unit   string               // of systemd, for cxtpd
	cxtpd  map[string]*exec.Cmd // by gateway
	client *charon.Daemon
	flows  *traffic.Traffic // of the client that has connected
}

// TestPage follows the operator's page: its files are written, its commands run, in
// their order, at two gateways with Debian's own strongSwan.
func TestPage(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		r := newRig(t)
		w := &walk{rig: r, t: t, hosts: []*host{newHost(t, r.SG1), newHost(t, r.SG2)}, cxtpd: map[string]*exec.Cmd{}}
		install(t)
		_, err := r.Host.Run(r.ctx, "ip", "route", "replace", clientPool.String(), "dev", topology.Inner)
		r.must(err)
		w.before()
		for _, b := range blocks(t) {
			switch {
			case b.file != "":
				w.file(b)
			case b.where == "once":
				w.certify(b.text)
			case b.where == "systemd":
				w.start()
			case b.where == "both":
				for _, h := range w.hosts {
					h.do(b.text)
				}
			default:
				w.operate(b)
			}
		}
		if w.flows == nil {
			t.Fatal("the page has no client")
		}
		r.must(w.flows.Await(r.ctx, some))
		r.lossless("lost", w.flows.Stop(settle))
		w.at("sg1").await("cxtp sessions", "active")
		w.closed()
		return r
	})
}

func (w *walk) at(name string) *host {
	w.t.Helper()
	for _, h := range w.hosts {
		if h.Name == name {
			return h
		}
	}
	w.t.Fatalf("the page has commands at %q", name)
	return nil
}

// before is what operators have already: the certificate of the VPN's gateway.
func (w *walk) before() {
	w.t.Helper()
	var err error
	w.ca, err = testcert.New()
	w.must(err)
	cert, err := w.ca.Issue("vpn.example")
	w.must(err)
	key, err := testcert.KeyPEM(cert)
	w.must(err)
	for _, h := range w.hosts {
		h.write("/etc/swanctl/x509/vpn.pem", testcert.ChainPEM(cert))
		h.write("/etc/swanctl/private/vpn.pem", key)
		h.write("/etc/swanctl/x509ca/ca.pem", w.ca.CertPEM())
		h.write("/etc/swanctl/swanctl.conf", []byte("include conf.d/*.conf\n"))
	}
}

func (w *walk) file(b block) {
	w.t.Helper()
	for _, h := range w.hosts {
		h.write(b.file, []byte(b.text))
	}
	if strings.HasSuffix(b.file, ".service") {
		w.unit = b.text
	}
}

// certify makes the certificates between the gateways, and copies them there.
func (w *walk) certify(script string) {
	w.t.Helper()
	folder := w.t.TempDir()
	if said, err := exec.Command("/bin/sh", "-ec", "cd "+folder+"\n"+script).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, said)
	}
	for _, h := range w.hosts {
		for _, name := range []string{"authority.pem", h.Name + ".pem", h.Name + ".key"} {
			content, err := os.ReadFile(filepath.Join(folder, name))
			w.must(err)
			h.write("/etc/cxtp/"+name, content)
		}
	}
}

// start does what systemd would: cxtpd by the page's unit, then strongSwan by
// Debian's.
func (w *walk) start() {
	w.t.Helper()
	debian, err := os.ReadFile("/lib/systemd/system/strongswan.service")
	w.must(err)
	for _, h := range w.hosts {
		w.cxtpd[h.Name] = h.serve(started(w.t, w.unit))
		h.await("ls /run/cxtpd", "control.sock")
		h.serve(started(w.t, string(debian)))
		h.await("ls /run", "charon.vici")
		h.do("swanctl --load-all --noprompt")
	}
	for _, h := range w.hosts {
		h.await("cxtp status", "5.9.8, ha version 3, since ")
		h.await("cxtp status", "up at")
	}
	w.client = charon.Start(w.t, w.MN, charon.Client{Identity: "mn.example", Authority: w.ca, Gateway: "vpn.example", Address: topology.Virtual.V4})
}

// operate runs commands at one gateway, where the page says so once a client has
// connected. From then on it has traffic.
func (w *walk) operate(b block) {
	w.t.Helper()
	name, client, _ := strings.Cut(b.where, " ")
	h := w.at(name)
	if client != "" {
		w.must(w.client.Initiate(charon.Child))
		h.await("cxtp sessions", "active")
		sas, err := w.client.SAs()
		w.must(err)
		w.flows, err = traffic.Start(traffic.Options{
			Near: traffic.End{Node: w.MN, Addr: netip.MustParseAddr(sas[0].LocalVIPs[0])}, Far: []traffic.End{{Node: w.Host, Addr: topology.Host.V4}},
		})
		w.must(err)
	}
	if w.flows != nil {
		w.must(w.flows.Await(w.ctx, some))
	}
	w.t.Logf("%s: %s%s", name, b.text, h.do(b.text))
}

// closed checks that nobody but root gets the ha plugin's port, also while cxtpd is
// dead.
func (w *walk) closed() {
	w.t.Helper()
	h := w.at("sg1")
	w.cxtpd[h.Name].Process.Kill()
	w.cxtpd[h.Name].Wait()
	bind := func(port int) string {
		return h.do(fmt.Sprintf(`setpriv --reuid 65534 --clear-groups perl -MIO::Socket::INET -e `+
			`'IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.2:%d") or print "$!"'`, port))
	}
	if said := bind(4510); !strings.Contains(said, "Permission denied") {
		w.t.Errorf("somebody else gets the ha plugin's port: %q", said)
	}
	if said := bind(4511); said != "" {
		w.t.Errorf("nor does anybody get the next one: %q", said)
	}
}

// install puts our programs where the page has them.
func install(t *testing.T) {
	t.Helper()
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	const cxtpd, cxtp = "/usr/local/sbin/cxtpd", "/usr/local/sbin/cxtp"
	if err := os.WriteFile(cxtpd, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(cxtp)
	if err := os.Link(cxtpd, cxtp); err != nil {
		t.Fatal(err)
	}
}
