package features_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// atOnce is how many sessions stand still at once, and patience how long one waits
// before it does so all the same.
const (
	atOnce   = 8
	patience = 2 * time.Second
)

// standingStill is a registry at which as many sessions are frozen as may be, and the
// next one.
func standingStill(t *testing.T) (set *features.Set, first, next features.Ref) {
	t.Helper()
	set, err := features.NewSet(&recorder{fpt: 1})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range atOnce {
		freeze(t, set, features.Ref{Session: cxtp.SessionID{byte(i)}})
	}
	if took := time.Since(began); took > 0 {
		t.Errorf("the first %d waited for %v", atOnce, took)
	}
	return set, features.Ref{Session: cxtp.SessionID{0}}, features.Ref{Session: cxtp.SessionID{atOnce}}
}

func freeze(t *testing.T, set *features.Set, ref features.Ref) {
	t.Helper()
	if _, err := set.Freeze(t.Context(), ref); err != nil {
		t.Error(err)
	}
}

// TestPauseEnds: a session waits while as many stand still as may, until one of them
// goes on or is elsewhere.
func TestPauseEnds(t *testing.T) {
	for name, end := range map[string]func(*features.Set, features.Ref) error{
		"thawed":    func(s *features.Set, ref features.Ref) error { return s.Thaw(t.Context(), ref, nil) },
		"elsewhere": func(s *features.Set, ref features.Ref) error { return s.Redirect(t.Context(), ref, "sg2") },
		"closed": func(s *features.Set, ref features.Ref) error {
			_, err := s.Close(t.Context(), ref)
			return err
		},
		"released":  func(s *features.Set, ref features.Ref) error { return s.Release(t.Context(), ref) },
		"discarded": func(s *features.Set, ref features.Ref) error { return s.Discard(t.Context(), ref) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set, first, next := standingStill(t)
				began := time.Now()
				time.AfterFunc(time.Second, func() {
					if err := end(set, first); err != nil {
						t.Error(err)
					}
				})
				freeze(t, set, next)
				if took := time.Since(began); took != time.Second {
					t.Errorf("the next one waited for %v", took)
				}
			})
		})
	}
}

// TestPauseForEver: nobody waits for ever, and who has waited in vain does not give
// back what it did not get.
func TestPauseForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, _, next := standingStill(t)
		began := time.Now()
		freeze(t, set, next)
		if took := time.Since(began); took != patience {
			t.Errorf("it waited for %v", took)
		}
		if err := set.Thaw(t.Context(), next, nil); err != nil {
			t.Error(err)
		}
		freeze(t, set, next)
		if took := time.Since(began); took != 2*patience {
			t.Errorf("then it waited until %v", took)
		}
	})
}

// TestPauseOnce: a session that is frozen twice, or cannot be, takes no other's turn.
func TestPauseOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &recorder{fpt: 1, refuse: "freeze"}
		set, err := features.NewSet(broken)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 * atOnce {
			if _, err := set.Freeze(t.Context(), features.Ref{Session: cxtp.SessionID{byte(i)}}); err == nil {
				t.Error("it is frozen")
			}
		}
		broken.refuse = ""
		began := time.Now()
		for range 2 * atOnce {
			freeze(t, set, features.Ref{})
		}
		for i := range atOnce {
			freeze(t, set, features.Ref{Session: cxtp.SessionID{byte(i)}})
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("they waited for %v", took)
		}
	})
}
