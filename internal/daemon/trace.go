package daemon

import (
	"fmt"
	"strconv"
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
		e.Kind, e.Peer = "receive", string(in.From)
		e.What, e.Session, e.Epoch = describe(in.Message)
	case cxtp.FromNode:
		e.Kind, e.Peer = "receive-node", in.From.String()
		e.What, e.Session, e.Epoch = describe(in.Message)
	case cxtp.Done:
		e.Kind, e.Session, e.What, e.Detail = "end", in.Session, operation(in.Op), in.Detail
	case cxtp.Handover:
		e.Kind, e.Session, e.Peer, e.What = "operator", in.Session, string(in.To), "handover"
	case cxtp.Pull:
		e.Kind, e.Peer, e.What = "operator", string(in.From), "pull"
	case cxtp.Adopt:
		e.Kind, e.Session, e.What = "operator", in.Session, "adopt"
	case cxtp.Cancel:
		e.Kind, e.Session, e.What = "operator", in.Session, "cancel"
	case cxtp.Standby:
		e.Kind, e.Session, e.Peer, e.What = "operator", in.Session, string(in.To), "standby"
	case cxtp.Resolve:
		e.Kind, e.Session, e.Peer, e.What = "operator", in.Session, string(in.Fenced), "fenced"
	case cxtp.Near:
		e.Kind, e.Session, e.What = "near", in.Session, "near the ceiling"
	}
	t.add(e)
}

func (t *trace) action(now time.Time, a cxtp.Action) {
	e := control.TraceEvent{Time: now}
	switch a := a.(type) {
	case cxtp.Send:
		e.Kind, e.Peer = "send", string(a.To)
		e.What, e.Session, e.Epoch = describe(a.Message)
	case cxtp.SendNode:
		e.Kind, e.Peer = "send-node", a.To.String()
		e.What, e.Session, e.Epoch = describe(a.Message)
	case cxtp.Do:
		e.Kind, e.Session, e.Epoch, e.What = "begin", a.Session, a.Epoch, a.Verb.String()
		e.Detail = operation(a.Op)
	case cxtp.Steer:
		e.Kind, e.Session, e.Epoch, e.What = "begin", a.Session, a.Epoch, "steer"
		e.Detail = operation(a.Op)
	case cxtp.Persist:
		e.Kind, e.Session, e.Epoch, e.What = "begin", a.Record.Session, a.Record.Epoch, "persist "+a.Record.Kind.String()
		e.Detail = operation(a.Op)
	case cxtp.Report:
		e.Kind, e.Session, e.Epoch, e.Peer = "report", a.Session, a.Epoch, string(a.Peer)
		e.What, e.Detail = a.Event.String(), a.Detail
	}
	t.add(e)
}

func operation(op cxtp.OpID) string { return "operation " + strconv.FormatUint(uint64(op), 10) }

// describe names a message for a ladder, and the session and epoch that it is
// about, where it says so.
func describe(m cxtp.Message) (what string, session cxtp.SessionID, epoch cxtp.Epoch) {
	switch m := m.(type) {
	case *cxtp.CTD:
		name := "CTD"
		if m.Predictive {
			name = "PCTD"
		}
		c, ok := controlOf(m)
		if ok {
			name += " " + c.Phase.String()
		}
		return name, c.Session, c.Epoch
	case *cxtp.Outcome:
		return outcomeName(m), m.Session, m.Epoch
	case *cxtp.Update:
		return "Update " + m.Gateway.String(), m.Session, cxtp.Epoch(m.Number)
	case *cxtp.UpdateAck:
		return "UpdateAck", m.Session, cxtp.Epoch(m.Number)
	}
	return plainName(m), session, epoch
}

func outcomeName(m *cxtp.Outcome) string {
	switch {
	case m.Question:
		return "Outcome?"
	case m.Steered && m.State == cxtp.OutcomeActive:
		return "Outcome active, steered"
	case m.Go:
		return "Outcome " + m.State.String() + ", go"
	}
	return "Outcome " + m.State.String()
}

// plainName names the messages of RFC 4067 itself that name no session.
func plainName(m cxtp.Message) string {
	switch m := m.(type) {
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
	}
	return fmt.Sprintf("message of type %d", m.Type())
}

func controlOf(m *cxtp.CTD) (cxtp.Control, bool) {
	if len(m.Blocks) == 0 || m.Blocks[0].FPT != cxtp.FPTControl {
		return cxtp.Control{}, false
	}
	c, err := cxtp.ParseControl(m.Blocks[0])
	return c, err == nil
}
