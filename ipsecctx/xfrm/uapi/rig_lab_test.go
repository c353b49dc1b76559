//go:build linux && lab

package uapi

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace gives the test a network namespace of its own with the loopback up,
// and a Conn in it. The test's thread stays in it and ends with the test.
func namespace(t testing.TB) *Conn {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ip(t, "link set lo up")
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ip runs the ip command in the test's namespace. Its words have no spaces.
func ip(t testing.TB, words string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", words, err, out)
	}
}

// within is a context that ends before the guest's patience does.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// capture keeps the messages that the kernel answers to a dump, or sends to the
// groups while f runs, in the form of testdata/kernel.
type capture struct {
	t    testing.TB
	out  bytes.Buffer
	kept int
}

func newCapture(t testing.TB) *capture {
	c := &capture{t: t}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&c.out, "# %s %s on %s, User-Mode Linux\n", unix.ByteSliceToString(name.Sysname[:]),
		unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Machine[:]))
	return c
}

func (c *capture) say(what string) { fmt.Fprintf(&c.out, "\n# %s\n", what) }

func (c *capture) message(m message) bool {
	if m.kind != msgDone && m.kind != msgError {
		fmt.Fprintf(&c.out, "%#02x %x\n", m.kind, m.payload)
		c.kept++
	}
	return m.kind != msgDone && m.kind != msgError
}

// dump captures what the kernel holds.
func (c *capture) dump(conn *Conn, op Op) {
	c.t.Helper()
	var w writer
	start := w.begin(uint16(op), flagRequest|flagDump, 0, 0)
	w.end(start)
	if err := conn.dumps.send(w.b); err != nil {
		c.t.Fatal(err)
	}
	conn.dumps.drain(c.message)
}

// events captures what the groups tell when f runs, until it is as much as
// wanted.
func (c *capture) events(conn *Conn, groups []Group, want int, f func()) {
	c.t.Helper()
	for _, g := range groups {
		if err := conn.events.membership(unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			c.t.Fatal(err)
		}
	}
	f()
	for want += c.kept; c.kept < want; {
		if err := conn.events.receive(within(c.t), c.message); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, g := range groups {
		conn.events.membership(unix.NETLINK_DROP_MEMBERSHIP, g)
	}
}

// write leaves the file where -keep finds it.
func (c *capture) write(name string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(os.Getenv("LAB_RESULTS"), name), c.out.Bytes(), 0o600); err != nil {
		c.t.Fatal(err)
	}
}
