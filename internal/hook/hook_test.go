package hook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/hook"
)

// long is a timeout that no test waits for.
const long = time.Minute

// asHook is the first argument that makes the test binary the hook.
const asHook = "as-hook"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == asHook {
		os.Exit(act(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// act is what the hook does.
func act(what string, args []string) int {
	switch what {
	case "exit":
		fmt.Println("to standard output")
		fmt.Fprintln(os.Stderr, "to standard error")
		status, _ := strconv.Atoi(args[0])
		return status
	case "environment": // to the file, since output is kept only on failure
		input, _ := io.ReadAll(os.Stdin)
		lines := slices.Sorted(slices.Values(append(os.Environ(), "stdin="+string(input))))
		if err := os.WriteFile(args[0], []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			return 1
		}
		return 0
	case "chatter":
		os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20))
		return 1
	case "hang": // until killed; the socket tells when that was
		conn, err := net.Dial("unix", args[0])
		if err != nil {
			return 1
		}
		conn.Write([]byte("up"))
		io.Copy(io.Discard, conn)
	case "parent": // of one that hangs
		exec.Command(os.Args[0], asHook, "hang", args[0]).Run()
	case "leave": // one behind that hangs
		child := exec.Command(os.Args[0], asHook, "hang", args[0])
		child.Stdout = os.Stdout
		if child.Start() != nil {
			return 1
		}
	}
	return 0
}

func command(args ...string) hook.Command {
	return append(hook.Command{os.Args[0], asHook}, args...)
}

func TestStatus(t *testing.T) {
	if err := hook.Run(t.Context(), command("exit", "0"), long, nil); err != nil {
		t.Errorf("status 0: %v", err)
	}
	err := hook.Run(t.Context(), command("exit", "3"), long, nil)
	var failed *hook.Error
	if !errors.As(err, &failed) || failed.ExitCode != 3 {
		t.Fatalf("status 3: %#v", err)
	}
	for _, want := range []string{os.Args[0], "status 3", "to standard output", "to standard error"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestNothingToDo(t *testing.T) {
	if err := hook.Run(t.Context(), nil, long, nil); err != nil {
		t.Error(err)
	}
}

func TestNoProgram(t *testing.T) {
	err := hook.Run(t.Context(), hook.Command{"/no/such/program"}, long, nil)
	var failed *hook.Error
	if !errors.As(err, &failed) || failed.ExitCode != -1 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%#v", err)
	}
}

// TestEnvironment sees to it that the program gets PATH, what was documented,
// and nothing else.
func TestEnvironment(t *testing.T) {
	t.Setenv("CXTP_LEAK", "from the daemon")
	t.Setenv("PATH", "/some/path")
	steer := cxtp.Steer{
		Session: cxtp.SessionID{0: 0xab, 15: 0x01}, Epoch: 7,
		Previous: netip.MustParseAddr("192.0.2.77"),
		Inner:    []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("2001:db8::1/128")},
		From:     "sg2",
	}
	file := filepath.Join(t.TempDir(), "environment")
	env := hook.Environment(steer, "sg1", netip.MustParseAddrPort("127.0.0.1:4600"))
	if err := hook.Run(t.Context(), command("environment", file), long, env); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := `CXTP_ACTION=steer
CXTP_EPOCH=7
CXTP_FROM=sg2
CXTP_GATEWAY=sg1
CXTP_INNER=10.0.0.1/32 2001:db8::1/128
CXTP_INSIDE=127.0.0.1:4600
CXTP_NODE=192.0.2.77
CXTP_SESSION=ab000000000000000000000000000001
PATH=/some/path
stdin=`
	if string(got) != want {
		t.Errorf("the program had\n%s\nwant\n%s", got, want)
	}
}

func TestOutputIsBounded(t *testing.T) {
	err := hook.Run(t.Context(), command("chatter"), long, nil)
	var failed *hook.Error
	if !errors.As(err, &failed) || len(failed.Output) != 4096 {
		t.Fatalf("%d octets kept of 1 MiB", len(failed.Output))
	}
}

func TestTimeout(t *testing.T) {
	l := listen(t)
	err := hook.Run(t.Context(), command("hang", l.Addr().String()), 50*time.Millisecond, nil)
	var failed *hook.Error
	if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) || failed.ExitCode != -1 {
		t.Fatalf("%#v", err)
	}
	if !strings.Contains(err.Error(), "steering.timeout") {
		t.Errorf("%q does not say what to do", err)
	}
}

// TestGroupIsKilled ends the context while the program waits for one that it
// started, and sees both gone.
func TestGroupIsKilled(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- hook.Run(ctx, command("parent", l.Addr().String()), long, nil) }()
	conn := accept(t, l)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("%#v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the program's child is still there: %v", err)
	}
}

// TestLeftBehind has a program succeed and leave another that keeps the output
// open.
func TestLeftBehind(t *testing.T) {
	l := listen(t)
	if err := hook.Run(t.Context(), command("leave", l.Addr().String()), long, nil); err != nil {
		t.Error(err)
	}
	accept(t, l).Close() // and it ends
}

func listen(t *testing.T) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// accept waits until the hanging program is up. The deadlines only turn a
// failure from a hang into a message.
func accept(t *testing.T, l *net.UnixListener) net.Conn {
	t.Helper()
	l.SetDeadline(time.Now().Add(long))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(long))
	if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	return conn
}
