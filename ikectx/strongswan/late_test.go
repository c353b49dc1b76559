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
	if err := a.Activate(soon(t), s.id, a.dynamic(s)); err != nil || s.phase != ipsecctx.Active || s.late != toAnswer {
		t.Fatalf("phase %v, late to %v, %v", s.phase, s.late, err)
	}
	p.miss(2 + 4) // where it goes on, and the sequence
	go p.work()
	a.catchUpLate(t.Context())
	if sa := p.now(); sa.state != established || sa.at != client.Addr().String() || s.late != notLate {
		t.Errorf("late to %v, charon shows %+v", s.late, sa)
	}
}

// TestLateToForget: a client that charon does not forget in time is gone all the same;
// it cannot come back until charon has forgotten it.
func TestLateToForget(t *testing.T) {
	a, s, p := beside(t, "gcm")
	c := a.context(s)
	s.phase = ipsecctx.Staged
	if err := a.Release(soon(t), s.id); err != nil || s.late != toForget {
		t.Fatalf("late to %v, %v", s.late, err)
	}
	if again, err := a.Export(t.Context(), s.id); again != nil || err != nil {
		t.Errorf("exported %v, %v, want that it is not here", again, err)
	}
	next, err := lineageOf(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	back := &session{id: s.id, l: next, phase: ipsecctx.Staged}
	if err := a.enter(back); featuretest.Status(err) != cxtp.StatusBusy {
		t.Errorf("it has come back: %v", err)
	}
	p.miss(1) // that it is gone
	go p.work()
	a.catchUpLate(t.Context())
	if left := p.all(); len(left) > 0 || len(a.lateOnes()) > 0 {
		t.Errorf("charon has %+v", left)
	}
	if err := a.enter(back); err != nil {
		t.Errorf("it cannot come back: %v", err)
	}
}

// TestTakenInLate: a client whose SAs charon has not installed in time is waited for
// on, as long as it is there.
func TestTakenInLate(t *testing.T) {
	a, s, p := beside(t, "gcm")
	go p.work()
	came := 0
	a.cfg.Came = func(cxtp.SessionID, *ipsecctx.Session) { came++ }
	announced := p.now().children
	p.change(func(sa *fakeSA) { sa.children = nil })
	s.awaited = true
	if !a.tryTakeIn(t.Context(), s, true, 50*time.Millisecond) || !s.awaited {
		t.Error("given up, while charon was at it")
	}
	p.change(func(sa *fakeSA) { sa.children = announced })
	if a.tryTakeIn(t.Context(), s, true, settleTime) || s.awaited || came != 1 {
		t.Errorf("awaited %t, came %d times", s.awaited, came)
	}

	p.change(func(sa *fakeSA) { sa.children = nil })
	a.mu.Lock()
	a.strike(s)
	a.mu.Unlock()
	if a.tryTakeIn(t.Context(), s, true, 50*time.Millisecond) {
		t.Error("a client that is gone is waited for")
	}
}
