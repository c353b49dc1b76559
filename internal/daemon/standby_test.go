package daemon_test

import (
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// awaitRenewals waits until a gateway has begun so many renewals of a copy: all
// but the last are complete then.
func awaitRenewals(t *testing.T, g process, want int) {
	t.Helper()
	for after, n := uint64(0), 0; n < want; {
		events, err := g.client.Trace(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if after = e.Number; e.Kind == "begin" && e.What == "renew" {
				n++
			}
		}
	}
}

// TestStandbyTakesOver stops the owner of a session, and lets its standby go on
// on the operator's word, and not before.
func TestStandbyTakesOver(t *testing.T) {
	sg := pair(t, trusting)
	install(t, sg[0])
	word := control.Resolve{Session: sessionID, Fenced: "sg1"}
	last, err := sg[1].client.Resolve(t.Context(), word, nil)
	if err != nil || last.Event != cxtp.EventFailed {
		t.Fatalf("resolved what is not there: %v, %+v", err, last)
	}
	last, err = sg[0].client.Standby(t.Context(), control.Standby{Session: sessionID, To: "sg2"}, nil)
	if err != nil || last.Event != cxtp.EventStaged {
		t.Fatalf("%v, %+v", err, last)
	}
	awaitRenewals(t, sg[1], 2)
	if got := state(t, sg[1]); got != "held" {
		t.Errorf("the copy is %s", got)
	}
	sg[0].driver.Close() // it stops, and its SAs with it
	last, err = sg[1].client.Resolve(t.Context(), word, nil)
	if err != nil || last.Event != cxtp.EventClosed {
		t.Fatalf("%v, %+v", err, last)
	}
	if got := state(t, sg[1]); got != "active" {
		t.Errorf("the session is %s at its standby", got)
	}
}
