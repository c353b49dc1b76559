package daemon

import (
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// TestTrace puts steps into words: of each the What, and the Detail after a
// slash.
func TestTrace(t *testing.T) {
	stage, err := cxtp.Control{Phase: cxtp.PhaseStage, Mode: cxtp.ModeLossless, Session: cxtp.SessionID{7}, Epoch: 3}.Block()
	if err != nil {
		t.Fatal(err)
	}
	message := func(m cxtp.Message) cxtp.Action { return cxtp.Send{To: "sg2", Message: m} }
	tr := newTrace(8)
	want := map[string]func(){
		"end operation 4/late":            func() { tr.input(time.Time{}, cxtp.Done{Op: 4, Detail: "late"}) },
		"begin freeze/operation 5":        func() { tr.action(time.Time{}, cxtp.Do{Op: 5, Verb: cxtp.VerbFreeze}) },
		"begin steer/operation 6":         func() { tr.action(time.Time{}, cxtp.Steer{Op: 6}) },
		"begin persist moved/operation 7": func() { tr.action(time.Time{}, cxtp.Persist{Op: 7, Record: cxtp.Record{Kind: cxtp.RecordMoved}}) },
		"send PCTD stage/":                func() { tr.action(time.Time{}, message(&cxtp.CTD{Predictive: true, Blocks: []cxtp.CDB{stage}})) },
		"send CTD/":                       func() { tr.action(time.Time{}, message(&cxtp.CTD{Blocks: []cxtp.CDB{{FPT: cxtp.FPTControl}}})) },
		"send Outcome?/":                  func() { tr.action(time.Time{}, message(&cxtp.Outcome{Question: true})) },
		"send Outcome staged, go/":        func() { tr.action(time.Time{}, message(&cxtp.Outcome{State: cxtp.OutcomeStaged, Go: true})) },
		"send Outcome active, steered/":   func() { tr.action(time.Time{}, message(&cxtp.Outcome{State: cxtp.OutcomeActive, Steered: true})) },
		"send CTDR success/":              func() { tr.action(time.Time{}, message(&cxtp.CTDR{Success: true})) },
	}
	n := uint64(0)
	for words, take := range want {
		take()
		n++
		events := tr.after(n - 1)
		if len(events) != 1 || events[0].Number != n {
			t.Fatalf("events after number %d: %+v", n-1, events)
		}
		e := events[0]
		if got := e.Kind + " " + e.What + "/" + e.Detail; got != words {
			t.Errorf("%q, want %q", got, words)
		}
		if about := e.Session == (cxtp.SessionID{7}) && e.Epoch == 3; about != (words == "send PCTD stage/") {
			t.Errorf("%q is about session %v, epoch %d", words, e.Session, e.Epoch)
		}
	}
	if kept := tr.after(0); len(kept) != 8 || kept[0].Number != n-7 {
		t.Errorf("%d of %d events are kept, in room for 8", len(kept), n)
	}
}
