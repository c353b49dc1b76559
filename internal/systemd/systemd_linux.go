package systemd

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstFD is that of the first descriptor that a service manager hands over,
// SD_LISTEN_FDS_START.
const firstFD = 3

// socketName is the name under which sockets are held, FDNAME. They tell the rest
// themselves.
const socketName = "esp-in-udp"

// Open reads from the environment who manages this process and what was held for it,
// and takes that out of the environment: it is not for this process's children.
// Descriptors of another name are left alone.
func Open() (*Manager, error) {
	m := &Manager{socket: os.Getenv("NOTIFY_SOCKET"), held: map[netip.AddrPort]*os.File{}}
	pid, fds, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if fds == "" || pid != strconv.Itoa(os.Getpid()) {
		return m, nil // for nobody, or for whoever started us
	}
	n, err := strconv.Atoi(fds)
	named := strings.Split(names, ":")
	if err != nil || n < 0 || n != len(named) && names != "" {
		return nil, fmt.Errorf("failed to take the sockets that the service manager holds: LISTEN_FDS is %q, and LISTEN_FDNAMES %q", fds, names)
	}
	for i := range n {
		unix.CloseOnExec(firstFD + i)
		if i < len(named) && named[i] == socketName {
			m.receive(firstFD + i)
		}
	}
	return m, nil
}

// receive takes one descriptor. What is no UDP socket is closed, and so is one of an
// address that another has.
func (m *Manager) receive(fd int) {
	f := os.NewFile(uintptr(fd), socketName)
	at, ok := boundTo(fd)
	if !ok || m.held[at] != nil {
		f.Close()
		return
	}
	m.held[at] = f
}

// boundTo is the address and port of a UDP socket.
func boundTo(fd int) (netip.AddrPort, bool) {
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_UDP {
		return netip.AddrPort{}, false
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// Ready tells that the daemon answers from now on.
func (m *Manager) Ready() error { return m.notify("READY=1", nil) }

// Keep gives the service manager a socket to hold. It is not to look whether the
// socket has an error pending, and let go of it for that (FDPOLL=0).
func (m *Manager) Keep(socket syscall.Conn) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = m.notify("FDSTORE=1\nFDNAME="+socketName+"\nFDPOLL=0", syscall.UnixRights(int(fd)))
	})
	if err == nil {
		err = failed
	}
	return err
}

func (m *Manager) notify(state string, rights []byte) error {
	if m.socket == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Sendmsg(fd, []byte(state), rights, &unix.SockaddrUnix{Name: m.socket}, 0)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("failed to tell the service manager at %s: %w", m.socket, err)
	}
	return nil
}
