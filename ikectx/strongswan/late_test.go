package strongswan

import (
	"context"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/featuretest"
	"github.com/cxtp/cxtp/ipsecctx"
)

// soon is a context that ends while charon has too much to do.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// miss does nothing about the next messages.
func (p *fakePlugin) miss(messages int) {
	for range messages {
		p.conn.Read(make([]byte, 1<<10))
	}
}

// TestFreezeTooLate: a client is refused that charon was not seen to ignore in time,
// and goes on.
func TestFreezeTooLate(t *testing.T) {
	a, s, p := beside(t, "gcm")
	go func() {
		p.miss(5) // the sequence
		p.work()
	}()
	if _, err := a.Freeze(soon(t), s.id); featuretest.Status(err) != cxtp.StatusBusy || s.phase != ipsecctx.Active {
		t.Errorf("phase %v, %v, want that it is busy", s.phase, err)
	}
	if sa := p.now(); sa.state != established {
		t.Errorf("charon shows %+v", sa)
	}
}

// TestLate: a client whose charon does not answer for it in time has its SAs all the
// same, and charon answers for it later.
func TestLate(t *testing.T) {
	a, s, p := beside(t, "gcm")
	client := a.whereabouts(s)
	s.phase = ipsecctx.Staged
	p.change(func(sa *fakeSA) { sa.state, sa.at = passive, a.park().Addr().String() })
	if err := a.Activate(soon(t), s.id, a.dynamic(s)); err != nil || s.phase != ipsecctx.Active || !s.late {
		t.Fatalf("phase %v, late %t, %v", s.phase, s.late, err)
	}
	p.miss(2 + 4) // where it goes on, and the sequence
	go p.work()
	a.startLate(t.Context())
	if sa := p.now(); sa.state != established || sa.at != client.Addr().String() || s.late || len(a.lateOnes()) > 0 {
		t.Errorf("late %t, charon shows %+v", s.late, sa)
	}
}
