//go:build linux

package uml

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	scratchVariable = "CXTP_LAB_SCRATCH" // the scratch folder's path on the host
	guestPath       = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	modulesFolder   = "/usr/lib/uml/modules" // by kernel release
	guestFolder     = "/run/lab"             // where the guest mounts the scratch folder's parts
)

// modules are what the lab needs of the kernel that it does not load when
// asked for it.
var modules = []string{
	"esp4", "esp6", "ah4", "ah6", "xfrm_user", "veth", "bridge", "tun", "sctp", "sch_netem",
	"gcm", "ccm", "chacha20poly1305", "seqiv", "echainiv", "authenc", "ctr", "cbc", "xcbc", "cmac",
}

// Init does nothing on the host. In a guest, where the program is the first
// process, it makes the guest ready, runs the job, powers the guest off and
// does not return.
func Init() {
	scratch := os.Getenv(scratchVariable)
	if os.Getpid() != 1 || scratch == "" {
		return
	}
	os.Clearenv()
	os.Setenv("PATH", guestPath)
	err := setUp(scratch)
	if err == nil {
		err = runJob()
	}
	if err != nil {
		// On the console too: the results' folder may be what is missing.
		fmt.Fprintln(os.Stderr, err)
		os.WriteFile(filepath.Join(guestFolder, resultsFolder, errorFile), []byte(err.Error()), 0o600)
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {} // until it did: a first process that returns is a panic
}

// setUp turns the bare kernel into a guest that can run the job.
func setUp(scratch string) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("failed to learn the kernel's release: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if err := coverRoot(filepath.Join(modulesFolder, release)); err != nil {
		return err
	}
	for _, m := range []struct{ source, target, kind, options string }{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"devtmpfs", "/dev", "devtmpfs", ""},
		{"tmpfs", "/run", "tmpfs", "mode=755"},
		{"none", filepath.Join(guestFolder, jobFolder), "hostfs", filepath.Join(scratch, jobFolder)},
		{"none", filepath.Join(guestFolder, resultsFolder), "hostfs", filepath.Join(scratch, resultsFolder)},
	} {
		if err := mount(m.source, m.target, m.kind, m.options); err != nil {
			return err
		}
	}
	if err := unix.Mount("", filepath.Join(guestFolder, jobFolder), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("failed to make the job's folder read-only: %w", err)
	}
	if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
		return err
	}
	if err := unix.Mount(modulesFolder, "/lib/modules", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("failed to show the kernel's modules: %w", err)
	}
	for _, module := range modules {
		if said, err := exec.Command("modprobe", module).CombinedOutput(); err != nil {
			return fmt.Errorf("failed to load the module %s: %w: %s", module, err, strings.TrimSpace(string(said)))
		}
	}
	const loopback = 1 // its interface's number, in every namespace
	if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: loopback}}); err != nil {
		return fmt.Errorf("failed to start the loopback interface: %w", err)
	}
	return nil
}

// coverRoot replaces the root, which is the host's and read-only, by an
// overlay of it. A change of root for this process alone would not do: the
// kernel starts modprobe in the root that it booted with.
func coverRoot(modules string) error {
	overlay, err := os.Open(filepath.Join(modules, "kernel/fs/overlayfs/overlay.ko"))
	if err != nil {
		return fmt.Errorf("failed to find the overlay module: %w", err)
	}
	defer overlay.Close()
	if err := unix.FinitModule(int(overlay.Fd()), "", 0); err != nil {
		return fmt.Errorf("failed to load the overlay module: %w", err)
	}
	if err := mount("tmpfs", "/tmp", "tmpfs", "size=80%"); err != nil {
		return err
	}
	for _, folder := range []string{"/tmp/upper", "/tmp/work", "/tmp/root"} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	if err := mount("overlay", "/tmp/root", "overlay", "lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work"); err != nil {
		return err
	}
	if err := os.Chdir("/tmp/root"); err != nil {
		return err
	}
	// The old root ends up on top of the new one, and is then taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("failed to change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("failed to leave the old root: %w", err)
	}
	return os.Chdir("/")
}

func mount(source, target, kind, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		return fmt.Errorf("failed to mount %s on %s: %w", kind, target, err)
	}
	return nil
}

// runJob runs the program and writes down how it ended.
func runJob() error {
	job, results := filepath.Join(guestFolder, jobFolder), filepath.Join(guestFolder, resultsFolder)
	text, err := os.ReadFile(filepath.Join(job, jobFile))
	if err != nil {
		return err
	}
	var wanted request
	if err := json.Unmarshal(text, &wanted); err != nil {
		return fmt.Errorf("failed to read the job: %w", err)
	}
	output, err := os.OpenFile(filepath.Join(results, outputFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	if wanted.Dir == "" {
		wanted.Dir = "/"
	}
	program := exec.Command(filepath.Join(job, binaryFile), wanted.Args...)
	program.Dir = wanted.Dir
	program.Env = append([]string{
		"PATH=" + guestPath, "HOME=/root",
		"LAB_FILES=" + filepath.Join(job, filesFolder), "LAB_RESULTS=" + filepath.Join(results, keepFolder),
	}, wanted.Env...)
	program.Stdout, program.Stderr = output, output
	err = program.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	status := program.ProcessState.ExitCode()
	if ended, ok := program.ProcessState.Sys().(syscall.WaitStatus); ok && ended.Signaled() {
		status = 128 + int(ended.Signal()) // as shells count it
	}
	return os.WriteFile(filepath.Join(results, statusFile), []byte(strconv.Itoa(status)), 0o600)
}
