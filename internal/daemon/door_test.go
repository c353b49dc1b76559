package daemon_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// TestDrained: a gateway that is drained takes no session, of whomever, and says so;
// one that is opened again does.
func TestDrained(t *testing.T) {
	sg := pair(t, trusting)
	refused := func(err error, code int, why string) {
		t.Helper()
		var r *control.Refusal
		if !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Reason, why) {
			t.Errorf("got %v, want %d and %q", err, code, why)
		}
	}
	client := sg[0].client
	refused(client.Drain(t.Context(), control.Drain{To: "sg9"}), http.StatusNotFound, `no peer "sg9"`)
	refused(client.Drain(t.Context(), control.Drain{To: "sg1"}), http.StatusNotFound, `no peer "sg1"`)
	since := func() time.Time {
		t.Helper()
		status, err := client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status.Drained
	}
	if !since().IsZero() {
		t.Error("drained by an order that was refused")
	}

	for range 2 { // saying it again is no mistake
		if err := client.Drain(t.Context(), control.Drain{To: "sg2"}); err != nil {
			t.Fatal(err)
		}
	}
	if since().IsZero() {
		t.Error("not drained")
	}
	refused(client.AddSession(t.Context(), control.NewSession{Session: cxtp.SessionID{1}, Previous: netip.MustParseAddr("192.0.2.77")}), http.StatusConflict, "drained")
	adopt(t, sg[1], 1)
	views, err := sg[1].client.Sessions(t.Context())
	if err != nil || len(views) != 1 {
		t.Fatalf("%+v, %v", views, err)
	}
	move := control.Handover{Session: views[0].Session, To: "sg1"}
	final, err := sg[1].client.Handover(t.Context(), move, nil)
	if err != nil || len(final.Statuses) != 1 || final.Statuses[0].Status != cxtp.StatusDrained {
		t.Errorf("to a gateway that is drained: %+v, %v", final, err)
	}

	for range 2 {
		if err := client.Drain(t.Context(), control.Drain{}); err != nil {
			t.Fatal(err)
		}
	}
	if final, err = sg[1].client.Handover(t.Context(), move, nil); err != nil || final.Event != cxtp.EventClosed || !since().IsZero() {
		t.Errorf("to a gateway that takes sessions again: %+v, %v", final, err)
	}
}
