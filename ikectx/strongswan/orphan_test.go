package strongswan

import (
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/featuretest"
	"github.com/cxtp/cxtp/ipsecctx"
)

// TestOrphan: a client whose charon has ended is exported, frozen, thawed and released
// from memory, and what was staged is not started.
func TestOrphan(t *testing.T) {
	a, s, p := beside(t, "gcm")
	p.conn.Close()
	a.charon = NewCharon(t.TempDir() + "/nobody")
	if a.bereave(); !s.orphan {
		t.Fatal("its charon has ended, and nothing came of that")
	}
	c, err := a.Export(t.Context(), s.id)
	if err != nil || len(c.Children) != 1 || c.Connection == "" {
		t.Fatalf("exported %+v, %v", c, err)
	}
	s.changes++
	if _, err := a.Freeze(t.Context(), s.id); featuretest.Status(err) != cxtp.StatusBusy || s.phase != ipsecctx.Active {
		t.Errorf("frozen with other SAs than were exported: %v", err)
	}
	s.changes--
	d, err := a.Freeze(t.Context(), s.id)
	if err != nil || !reflect.DeepEqual(d, a.dynamic(s)) || s.phase != ipsecctx.Frozen {
		t.Errorf("frozen: %+v, %v", d, err)
	}
	if len(a.orphans()) > 0 {
		t.Error("one that is on its way elsewhere is to be given back")
	}
	if err := a.Thaw(t.Context(), s.id, false); err != nil || s.phase != ipsecctx.Active || len(a.orphans()) != 1 {
		t.Errorf("thawed: %v", err)
	}
	s.phase = ipsecctx.Staged
	if err := a.Ready(t.Context(), s.id); featuretest.Status(err) != cxtp.StatusDaemon {
		t.Errorf("what was staged at a charon that is gone is ready: %v", err)
	}
	if err := a.Release(t.Context(), s.id); err != nil || len(a.sessions) > 0 {
		t.Errorf("released: %v", err)
	}
}

// TestOrphanAtOnce: that charon has ended is noticed by whoever needs it first.
func TestOrphanAtOnce(t *testing.T) {
	a, s, p := beside(t, "gcm")
	p.conn.Close()
	a.charon = NewCharon(t.TempDir() + "/nobody")
	a.switcher.charon = a.charon
	if _, err := a.Export(t.Context(), s.id); err != nil || !s.orphan {
		t.Errorf("exported: orphan %t, %v", s.orphan, err)
	}
	s.orphan = false
	if _, err := a.Freeze(t.Context(), s.id); err != nil || !s.orphan || s.phase != ipsecctx.Frozen {
		t.Errorf("frozen: orphan %t, %v", s.orphan, err)
	}
}

// TestOrphanUnknown: what charon has not told before it ended nobody knows.
func TestOrphanUnknown(t *testing.T) {
	a, s, _ := beside(t, "gcm")
	a.bereave()
	s.l.children = nil
	if _, err := a.Export(t.Context(), s.id); featuretest.Status(err) != cxtp.StatusDaemon {
		t.Errorf("exported without its CHILD SAs: %v", err)
	}
}
