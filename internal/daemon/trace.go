package daemon

import (
	"fmt"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// trace keeps the machine's last inputs and actions for ladders: who said what
// to whom, when, and never a key.
type trace struct {
	observe func(control.TraceEvent) // [Options.Trace]; may be nil

	mu     sync.Mutex
	last   uint64
	events []control.TraceEvent // a ring: event number n is at n % len
}

func newTrace(size int) *trace { return &trace{events: make([]control.TraceEvent, size)} }

func (t *trace) add(e control.TraceEvent) {
	t.mu.Lock()
	t.last++
	e.Number = t.last
	t.events[t.last%uint64(len(t.events))] = e
	t.mu.Unlock()
	if t.observe != nil {
		t.observe(e)
	}
}

// after returns the events that are still kept with numbers above n.
func (t *trace) after(n uint64) []control.TraceEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	size := uint64(len(t.events))
	if t.last > size {
		n = max(n, t.last-size)
	}
	events := []control.TraceEvent{}
	for n++; n <= t.last; n++ {
		events = append(events, t.events[n%size])
	}
	return events
}

func (t *trace) input(now time.Time, in cxtp.Input) {
	e := control.TraceEvent{Time: now}
	switch in := in.(type) {
	case cxtp.FromRouter:
		e.Kind, e.Peer, e.What = "receive", string(in.From), what(in.Message)
		e.Session, e.Epoch = about(in.Message)
	case cxtp.FromNode:
		e.Kind, e.Peer, e.What = "receive-node", in.From.String(), what(in.Message)
		e.Session, e.Epoch = about(in.Message)
	case cxtp.Done:
		e.Kind, e.Session, e.What, e.Detail = "end", in.Session, fmt.Sprintf("operation %d", in.Op), in.Detail
	case cxtp.Handover:
		e.Kind, e.Session, e.Peer, e.What = "operator", in.Session, string(in.To), "handover"
	case cxtp.Pull:
		e.Kind, e.Peer, e.What = "operator", string(in.From), "pull"
	case cxtp.Adopt:
		e.Kind, e.Session, e.What = "operator", in.Session, "adopt"
	case cxtp.Cancel:
		e.Kind, e.Session, e.What = "operator", in.Session, "cancel"
	}
	t.add(e)
}

func (t *trace) action(now time.Time, a cxtp.Action) {
	e := control.TraceEvent{Time: now}
	switch a := a.(type) {
	case cxtp.Send:
		e.Kind, e.Peer, e.What = "send", string(a.To), what(a.Message)
		e.Session, e.Epoch = about(a.Message)
	case cxtp.SendNode:
		e.Kind, e.Peer, e.What = "send-node", a.To.String(), what(a.Message)
		e.Session, e.Epoch = about(a.Message)
	case cxtp.Do:
		e.Kind, e.Session, e.Epoch, e.What = "begin", a.Session, a.Epoch, a.Verb.String()
		e.Detail = fmt.Sprintf("operation %d", a.Op)
	case cxtp.Steer:
		e.Kind, e.Session, e.Epoch, e.What = "begin", a.Session, a.Epoch, "steer"
		e.Detail = fmt.Sprintf("operation %d", a.Op)
	case cxtp.Persist:
		e.Kind, e.Session, e.Epoch, e.What = "begin", a.Record.Session, a.Record.Epoch, "persist "+a.Record.Kind.String()
		e.Detail = fmt.Sprintf("operation %d", a.Op)
	case cxtp.Report:
		e.Kind, e.Session, e.Epoch, e.Peer = "report", a.Session, a.Epoch, string(a.Peer)
		e.What, e.Detail = a.Event.String(), a.Detail
	}
	t.add(e)
}

// phaseNames and outcomeNames are the words of ladders.
var (
	phaseNames   = map[cxtp.Phase]string{cxtp.PhaseStage: "stage", cxtp.PhaseFinal: "final", cxtp.PhaseClosed: "closed", cxtp.PhaseWithdraw: "withdraw"}
	outcomeNames = map[cxtp.OutcomeState]string{
		cxtp.OutcomeUnseen: "unseen", cxtp.OutcomeStaged: "staged", cxtp.OutcomeRefused: "refused", cxtp.OutcomeActive: "active",
		cxtp.OutcomeLost: "lost", cxtp.OutcomeMovedOn: "moved on", cxtp.OutcomeClosed: "closed", cxtp.OutcomePending: "pending",
	}
)

// what names a message for a ladder.
func what(m cxtp.Message) string {
	switch m := m.(type) {
	case *cxtp.CTD:
		name := "CTD"
		if m.Predictive {
			name = "PCTD"
		}
		if c, ok := controlOf(m); ok {
			return name + " " + phaseNames[c.Phase]
		}
		return name
	case *cxtp.Outcome:
		switch {
		case m.Question:
			return "Outcome?"
		case m.Steered && m.State == cxtp.OutcomeActive:
			return "Outcome active, steered"
		case m.Go:
			return "Outcome " + outcomeNames[m.State] + ", go"
		}
		return "Outcome " + outcomeNames[m.State]
	case *cxtp.CTAR:
		return "CTAR"
	case *cxtp.CTAA:
		if len(m.Failed) > 0 {
			return "CTAA " + m.Failed[0].Status.String()
		}
		return "CTAA"
	case *cxtp.CTDR:
		if m.Success {
			return "CTDR success"
		}
		return "CTDR failure"
	case *cxtp.CTC:
		return "CTC"
	case *cxtp.CTReq:
		if m.Token == (cxtp.Token{}) {
			return "CT-Req, null token"
		}
		return "CT-Req"
	case *cxtp.Update:
		return "Update " + m.Gateway.String()
	case *cxtp.UpdateAck:
		return "UpdateAck"
	}
	return fmt.Sprintf("message of type %d", m.Type())
}

// about is the session and epoch that a message names, where it does.
func about(m cxtp.Message) (cxtp.SessionID, cxtp.Epoch) {
	switch m := m.(type) {
	case *cxtp.CTD:
		c, _ := controlOf(m)
		return c.Session, c.Epoch
	case *cxtp.Outcome:
		return m.Session, m.Epoch
	case *cxtp.Update:
		return m.Session, cxtp.Epoch(m.Number)
	case *cxtp.UpdateAck:
		return m.Session, cxtp.Epoch(m.Number)
	}
	return cxtp.SessionID{}, 0
}

func controlOf(m *cxtp.CTD) (cxtp.Control, bool) {
	if len(m.Blocks) == 0 || m.Blocks[0].FPT != cxtp.FPTControl {
		return cxtp.Control{}, false
	}
	c, err := cxtp.ParseControl(m.Blocks[0])
	return c, err == nil
}
