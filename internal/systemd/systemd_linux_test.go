package systemd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// manager is a service manager's socket for notifications, named in the environment.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// told is the next notification, and the descriptor that came with it.
func told(t *testing.T, conn *net.UnixConn) (string, *os.File) {
	t.Helper()
	text, rights := make([]byte, 1000), make([]byte, 100)
	n, m, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) == 0 {
		return string(text[:n]), nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%d descriptors: %v", len(fds), err)
	}
	return string(text[:n]), os.NewFile(uintptr(fds[0]), "held")
}

func open(t *testing.T) *Manager {
	t.Helper()
	m, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func listen(t *testing.T, network, at string) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenPacket(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket.(*net.UDPConn)
}

func TestNotify(t *testing.T) {
	conn := manager(t)
	m := open(t)
	if os.Getenv("NOTIFY_SOCKET") != "" {
		t.Error("children would speak for the daemon")
	}
	if err := m.Ready(); err != nil {
		t.Fatal(err)
	}
	if text, f := told(t, conn); text != "READY=1" || f != nil {
		t.Errorf("told %q with %v", text, f)
	}
	socket := listen(t, "udp4", "127.0.0.1:0")
	if err := m.Keep(socket); err != nil {
		t.Fatal(err)
	}
	text, f := told(t, conn)
	if text != "FDSTORE=1\nFDNAME=esp-in-udp\nFDPOLL=0" || f == nil {
		t.Fatalf("told %q with %v", text, f)
	}
	defer f.Close()
	if at, ok := boundTo(int(f.Fd())); !ok || at.String() != socket.LocalAddr().String() {
		t.Errorf("the socket that is held is bound to %v", at)
	}
	conn.Close()
	if err := m.Ready(); err == nil {
		t.Error("nobody was told, and that was no error")
	}
}

// TestNobody: without a service manager there is nothing to say and nothing held.
func TestNobody(t *testing.T) {
	for _, name := range []string{"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		t.Setenv(name, "")
	}
	m := open(t)
	if err := m.Ready(); err != nil {
		t.Error(err)
	}
	if err := m.Keep(listen(t, "udp4", "127.0.0.1:0")); err != nil {
		t.Error(err)
	}
	if m.Take(netip.MustParseAddrPort("127.0.0.1:4500")) != nil {
		t.Error("a socket from nowhere")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range [][2]string{{"many", ""}, {"-1", ""}, {"2", "esp-in-udp"}} {
		t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
		t.Setenv("LISTEN_FDS", c[0])
		t.Setenv("LISTEN_FDNAMES", c[1])
		if _, err := Open(); err == nil {
			t.Errorf("LISTEN_FDS %q with names %q was taken", c[0], c[1])
		}
	}
	t.Setenv("LISTEN_PID", "1") // another process's
	t.Setenv("LISTEN_FDS", "many")
	open(t)
}

// TestMain also is the daemon that is started again, where descriptors have the
// numbers that a service manager gives them.
func TestMain(m *testing.M) {
	if want := os.Getenv("SYSTEMD_TEST_WANT"); want != "" {
		os.Exit(restarted(want))
	}
	os.Exit(m.Run())
}

// restarted takes the sockets that are wanted, and says what is left.
func restarted(want string) int {
	m, err := Open()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, at := range strings.Fields(want) {
		f := m.Take(netip.MustParseAddrPort(at))
		if f == nil {
			fmt.Println("none at", at)
			continue
		}
		flags, _ := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		again := m.Take(netip.MustParseAddrPort(at))
		fmt.Println("taken", at, "inherited by children:", flags&unix.FD_CLOEXEC == 0, "again:", again != nil)
	}
	fmt.Println("left:", len(m.held))
	return 0
}

// TestTake hands sockets of two families over, one of another name, one twice, and
// one that is no UDP socket.
func TestTake(t *testing.T) {
	v4, v6, other := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp6", "[::1]:0"), listen(t, "udp4", "127.0.0.1:0")
	tcp, err := net.ListenTCP("tcp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	var files []*os.File
	for _, s := range []interface{ File() (*os.File, error) }{v4, v6, other, v4, tcp} {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=5", "LISTEN_FDNAMES=esp-in-udp:esp-in-udp:other:esp-in-udp:esp-in-udp",
		"SYSTEMD_TEST_WANT="+strings.Join([]string{v4.LocalAddr().String(), v6.LocalAddr().String(), other.LocalAddr().String()}, " "))
	cmd.ExtraFiles = files
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("taken %v inherited by children: false again: false\ntaken %v inherited by children: false again: false\nnone at %v\nleft: 0\n",
		v4.LocalAddr(), v6.LocalAddr(), other.LocalAddr())
	if err != nil || string(out) != want {
		t.Errorf("%v: %s\nwant %s", err, out, want)
	}
}
