//go:build linux && lab

package charon

import (
	"testing"

	"github.com/cxtp/cxtp/lab/topology"
)

// Start is [Run] for a test, with which the daemon ends. The test's log gets the
// daemon's own if it failed.
func Start(t testing.TB, node *topology.Node, role Role) *Daemon {
	t.Helper()
	d, err := Run(t.TempDir(), node, role)
	t.Cleanup(func() {
		d.Kill()
		if t.Failed() {
			t.Logf("charon of %s said:\n%s", d.Name, d.Log())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
