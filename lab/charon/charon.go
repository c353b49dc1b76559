//go:build linux

// Package charon runs stock strongSwan daemons in the nodes of package
// topology, one each: gateways with the ha plugin, through which an agent reads
// and writes their SAs, and clients that connect to them.
//
//	agent := charon.Listen(t, lab.SG1)
//	sg1 := charon.Start(t, lab.SG1, charon.Gateway{Identity: "vpn.example", Authority: ca, Pool: pool})
//	mn := charon.Start(t, lab.MN, charon.Client{Identity: "mn.example", Authority: ca,
//		Gateway: "vpn.example", Address: topology.SG1.V4})
//	err := agent.Activate()
//	err = mn.Initiate(charon.Child)
//
// A daemon is the one of Debian's packages, with the plugins that its role
// needs and no others, which lets it start in a tenth of a second. It has a
// mount namespace of its own, because its process file and the ha plugin's FIFO
// have fixed names in /run. Everything else of it is in a folder of its own:
// strongswan.conf, the swanctl folder that an operator would have in /etc, the
// vici socket and the log.
package charon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/strongswan/govici/vici"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/topology"
)

// program is the daemon, where Debian has it, in the folder with its plugins.
const (
	ipsec   = "/usr/lib/ipsec"
	program = ipsec + "/charon"
)

// releases is where the script fetch puts the strongSwan of other releases of Debian.
const releases = "/var/lib/cxtp-lab"

// packages are what a machine needs for this package.
const packages = "strongswan-charon strongswan-swanctl libstrongswan-standard-plugins libcharon-extra-plugins libcharon-extauth-plugins"

// Daemon is a charon and the node that it runs in.
type Daemon struct {
	*topology.Node
	dir    string // its own folder
	start  string // the shell's command
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	vici   *vici.Session // nil while the daemon is killed
}

// Role is what a daemon is for: a [Gateway] or a [Client].
type Role interface {
	plugins() string        // beside those that each role needs
	options() string        // lines of strongswan.conf's section of charon
	settings() string       // and of its plugins
	swanctl() (tree, error) // the swanctl folder
	release() string        // of Debian, whose strongSwan it is; "" = this machine's
}

// tree is a folder's files by their paths in it.
type tree map[string][]byte

// Run starts a daemon in a node, loads the configuration of its role and returns
// when it is ready to connect or to be connected to. All of it is in a folder that
// is the caller's. It runs until [Daemon.Kill].
func Run(folder string, node *topology.Node, role Role) (*Daemon, error) {
	d := &Daemon{Node: node, dir: folder}
	if err := d.find(role.release()); err != nil {
		return d, err
	}
	if err := d.configure(role); err != nil {
		return d, fmt.Errorf("failed to configure charon of %s: %w", d.Name, err)
	}
	return d, d.Restart()
}

// find says how the daemon of a release of Debian is started. Another release's runs
// on libraries of its own, and finds its plugins where every release has them.
func (d *Daemon) find(release string) error {
	d.start = "mount -t tmpfs none /run && "
	if release == "" {
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("no strongSwan here: install the Debian packages %s", packages)
		}
		d.start += "exec " + program
		return nil
	}
	root := filepath.Join(releases, release)
	if _, err := os.Stat(root + program); err != nil {
		return fmt.Errorf("no strongSwan of Debian %s here: run lab/charon/fetch %s", release, release)
	}
	libraries := root + "/usr/lib/x86_64-linux-gnu"
	d.start += fmt.Sprintf("mount --bind %s %s && exec %s/ld-linux-x86-64.so.2 --library-path %s:%s %s",
		root+ipsec, ipsec, libraries, ipsec, libraries, program)
	return nil
}

// Socket is where the daemon's control socket (vici) is, in every namespace.
func (d *Daemon) Socket() string { return d.path("vici") }

// Process is the daemon's process.
func (d *Daemon) Process() int { return d.cmd.Process.Pid }

// path is a file of the daemon's folder.
func (d *Daemon) path(name string) string { return filepath.Join(d.dir, name) }

func (d *Daemon) configure(role Role) error {
	files, err := role.swanctl()
	if err != nil {
		return err
	}
	for name, content := range files {
		file := filepath.Join(d.path("swanctl"), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, content, 0o600)); err != nil {
			return err
		}
	}
	return os.WriteFile(d.path("strongswan.conf"), fmt.Appendf(nil, `
charon {
	load = %s %s
	%s
	plugins {
		vici { socket = unix://%s }
		%s
	}
	filelog {
		file {
			path = %s
			time_format = %%T
			time_add_ms = yes
			flush_line = yes
			default = 1
		}
	}
}
swanctl {
	load = random pem pkcs1 pkcs8 x509 pubkey openssl
}
`, common, role.plugins(), role.options(), d.Socket(), role.settings(), d.path("log")), 0o600)
}

// Restart starts the daemon after [Daemon.Kill]: it knows its configuration
// again, and no SA.
func (d *Daemon) Restart() error {
	d.cmd = exec.Command("/bin/sh", "-c", d.start)
	d.cmd.Env = d.environment()
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	err := d.Start(d.cmd)
	if err == nil {
		exited := make(chan struct{})
		go func(cmd *exec.Cmd) { cmd.Wait(); close(exited) }(d.cmd)
		d.exited = exited
		d.vici, err = d.dial()
	}
	if err != nil {
		return fmt.Errorf("failed to start charon of %s: %w", d.Name, err)
	}
	return d.Load()
}

// Again kills the daemon and starts it.
func (d *Daemon) Again() error {
	d.Kill()
	return d.Restart()
}

// Edit changes a text in one of the daemon's files, "strongswan.conf" or
// "swanctl/swanctl.conf". It then has to be restarted, or to load it.
func (d *Daemon) Edit(file, was, is string) error {
	text, err := os.ReadFile(d.path(file))
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), was) {
		return fmt.Errorf("%s of %s has no %q", file, d.Name, was)
	}
	return os.WriteFile(d.path(file), []byte(strings.ReplaceAll(string(text), was, is)), 0o600)
}

// Load loads the connections, as an operator does it.
func (d *Daemon) Load() error {
	load := exec.Command("swanctl", "--load-all", "--uri", "unix://"+d.Socket())
	load.Env = d.environment()
	if said, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to load the configuration of %s: %w: %s", d.Name, err, said)
	}
	return nil
}

func (d *Daemon) environment() []string {
	return append(os.Environ(), "STRONGSWAN_CONF="+d.path("strongswan.conf"), "SWANCTL_DIR="+d.path("swanctl"))
}

// dial connects to the daemon, whose socket takes a while to be there.
func (d *Daemon) dial() (*vici.Session, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		session, err := vici.NewSession(vici.WithSocketPath(d.Socket()))
		if err == nil {
			return session, nil
		}
		select {
		case <-d.exited:
			return nil, fmt.Errorf("it ended: %v", d.cmd.ProcessState)
		default:
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no answer after %v: %w", patience, err)
		}
	}
}

// Stop ends the daemon as a service manager does: it says goodbye to its peers.
func (d *Daemon) Stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.exited:
	case <-time.After(patience):
		return fmt.Errorf("charon of %s does not end", d.Name)
	}
	d.Kill() // what is left to be forgotten here
	return nil
}

// Kill ends the daemon as a crash does: what it put into the kernel stays
// there.
func (d *Daemon) Kill() {
	if d.vici != nil {
		d.vici.Close()
		d.vici = nil
	}
	if d.exited != nil {
		d.cmd.Process.Kill()
		<-d.exited
		d.exited = nil
	}
}

// Log is what the daemon has logged, over restarts.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(d.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
