//go:build linux && lab

package lab

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestVanished flushes a gateway's SAs: the sessions end, and their operator is told
// why. One that moves to and fro all the while does not.
func TestVanished(t *testing.T) {
	f, l := newFleet(t, "lossless"), linkOf(daemonCase)
	here, there := f.gateways[0], f.gateways[1]
	f.install(l, here, faultySession)
	f.populate(here, 20)
	for i := range 6 { // for longer than it takes to look
		f.handover(f.gateways[i%2], faultySession)
		f.stands(f.gateways[i%2], faultySession, "gone")
	}
	for _, v := range f.views(here) {
		if v.State != "active" {
			t.Errorf("nobody has touched %s, and it is %s: %s", v.Session, v.State, v.Why)
		}
	}
	f.shell(here.Node, "ip", "xfrm", "state", "flush")
	f.await(func() bool { return f.count(here, "gone") == len(f.views(here)) })
	for _, v := range f.views(here) {
		if v.State != "gone" || !strings.Contains(v.Why, "SAs is left in the kernel") {
			t.Errorf("%s is %q: %q", v.Session, v.State, v.Why)
		}
	}
	_, err := f.cxtp(here, "handover", faultySession.String(), "--to", there.Name)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("a session that has ended was handed over: %v", err)
	}
	if n := f.count(there, "active"); n > 0 {
		t.Errorf("%d sessions live at %s", n, there.Name)
	}
}
