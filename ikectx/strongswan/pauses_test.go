package strongswan

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/cxtp/cxtp/cxtp"
)

// TestPauses: a client waits for its pause while as many have one as may, and not for
// ever; nobody gives back what it did not get; and one that has gone meanwhile has none.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Agent{pauses: semaphore.NewWeighted(pausesAtOnce), sessions: map[cxtp.SessionID]*session{}}
		enter := func(n byte) *session {
			s := &session{id: cxtp.SessionID{n}}
			a.sessions[s.id] = s
			return s
		}
		began := time.Now()
		var first [pausesAtOnce]*session
		for i := range first {
			first[i] = enter(byte(i))
			a.beginPause(t.Context(), first[i])
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the first %d waited for %v", pausesAtOnce, took)
		}
		late, gone, next := enter(100), enter(101), enter(102)
		a.beginPause(t.Context(), late)
		if took := time.Since(began); late.paused || took != pausePatience {
			t.Errorf("it has a pause: %t, after %v", late.paused, took)
		}
		a.endPause(late)
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.beginPause(t.Context(), gone)
			a.beginPause(t.Context(), next)
		}()
		synctest.Wait()
		if next.paused || gone.paused {
			t.Error("there are more pauses than there should be")
		}
		delete(a.sessions, gone.id)
		a.endPause(first[0])
		<-done
		if took := time.Since(began); gone.paused || !next.paused || took != pausePatience {
			t.Errorf("the one that has gone has a pause: %t, the next one: %t, after %v", gone.paused, next.paused, took)
		}
	})
}

// TestPauseEnds: a client's pause begins as it is frozen, and ends with that, with
// another gateway's having it, and with the client.
func TestPauseEnds(t *testing.T) {
	for name, end := range map[string]func(*Agent, *session) error{
		"it is not frozen": nil,
		"thawed":           func(a *Agent, s *session) error { return a.Thaw(t.Context(), s.id, false) },
		"elsewhere":        func(a *Agent, s *session) error { return a.Redirect(t.Context(), s.id, "sg2") },
		"gone":             func(a *Agent, s *session) error { a.strike(s); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			a, s, p := beside(t, "gcm")
			go p.work()
			if end == nil {
				s.changes++
			}
			if _, err := a.Freeze(t.Context(), s.id); (err == nil) != (end != nil) || s.paused != (end != nil) {
				t.Fatalf("it has a pause: %t; %v", s.paused, err)
			}
			if end != nil {
				if err := end(a, s); err != nil {
					t.Fatal(err)
				}
			}
			if s.paused || !a.pauses.TryAcquire(pausesAtOnce) {
				t.Error("its pause goes on")
			}
		})
	}
}
