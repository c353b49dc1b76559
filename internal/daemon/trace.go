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

	mu    sync.Mutex
	last  uint64
	steps []step // a ring: step number n is at n % len
}

// step is an event that is put into words when somebody asks for it: in a mass
// move, nearly all are overwritten unread. The event lacks its number; particular
// is the second half of What, and operation is What where that is empty, else
// Detail.
type step struct {
	control.TraceEvent
	particular string
	operation  cxtp.OpID
}

// event puts a step into words.
func (s step) event(number uint64) control.TraceEvent {
	e := s.TraceEvent
	e.Number = number
	if s.particular != "" {
		e.What += " " + s.particular
	}
	if s.operation != 0 {
		words := &e.Detail
		if e.What == "" {
			words = &e.What
		}
		*words = "operation " + strconv.FormatUint(uint64(s.operation), 10)
	}
	return e
}

func newTrace(size int) *trace { return &trace{steps: make([]step, size)} }

func (t *trace) add(s step) {
	t.mu.Lock()
	t.last++
	number := t.last
	t.steps[number%uint64(len(t.steps))] = s
	t.mu.Unlock()
	if t.observe != nil {
		t.observe(s.event(number))
	}
}

// after returns the events that are still kept with numbers above n.
func (t *trace) after(n uint64) []control.TraceEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	size := uint64(len(t.steps))
	if t.last > size {
		n = max(n, t.last-size)
	}
	events := []control.TraceEvent{}
	for n++; n <= t.last; n++ {
		events = append(events, t.steps[n%size].event(n))
	}
	return events
}

func (t *trace) input(now time.Time, in cxtp.Input) {
	s := step{TraceEvent: control.TraceEvent{Time: now}}
	switch in := in.(type) {
	case cxtp.FromRouter:
		s.Kind, s.Peer = "receive", string(in.From)
		s.describe(in.Message)
	case cxtp.FromNode:
		s.Kind, s.Peer = "receive-node", in.From.String()
		s.describe(in.Message)
	case cxtp.Done:
		s.Kind, s.Session, s.operation, s.Detail = "end", in.Session, in.Op, in.Detail
	case cxtp.Handover:
		s.Kind, s.Session, s.Peer, s.What = "operator", in.Session, string(in.To), "handover"
	case cxtp.Pull:
		s.Kind, s.Peer, s.What = "operator", string(in.From), "pull"
	case cxtp.Adopt:
		s.Kind, s.Session, s.What = "operator", in.Session, "adopt"
	case cxtp.Cancel:
		s.Kind, s.Session, s.What = "operator", in.Session, "cancel"
	case cxtp.Standby:
		s.Kind, s.Session, s.Peer, s.What = "operator", in.Session, string(in.To), "standby"
	case cxtp.Drain:
		s.Kind, s.What = "operator", "undrain"
		if in.Closed {
			s.What = "drain"
		}
	case cxtp.Resolve:
		s.Kind, s.Session, s.Peer, s.What = "operator", in.Session, string(in.Fenced), "fenced"
	case cxtp.Vanished:
		s.Kind, s.Session, s.What, s.Detail = "vanished", in.Session, "SAs are gone", in.Why
	case cxtp.Near:
		s.Kind, s.Session, s.What = "near", in.Session, "near the ceiling"
	}
	t.add(s)
}

func (t *trace) action(now time.Time, a cxtp.Action) {
	s := step{TraceEvent: control.TraceEvent{Time: now}}
	switch a := a.(type) {
	case cxtp.Send:
		s.Kind, s.Peer = "send", string(a.To)
		s.describe(a.Message)
	case cxtp.SendNode:
		s.Kind, s.Peer = "send-node", a.To.String()
		s.describe(a.Message)
	case cxtp.Do:
		s.Kind, s.Session, s.Epoch, s.What = "begin", a.Session, a.Epoch, a.Verb.String()
		s.operation = a.Op
	case cxtp.Steer:
		s.Kind, s.Session, s.Epoch, s.What = "begin", a.Session, a.Epoch, "steer"
		s.operation = a.Op
	case cxtp.Persist:
		s.Kind, s.Session, s.Epoch, s.What, s.particular = "begin", a.Record.Session, a.Record.Epoch, "persist", a.Record.Kind.String()
		s.operation = a.Op
	case cxtp.Report:
		s.Kind, s.Session, s.Epoch, s.Peer = "report", a.Session, a.Epoch, string(a.Peer)
		s.What, s.Detail = a.Event.String(), a.Detail
	}
	t.add(s)
}

// describe says what a message is, and the session and epoch that it is about,
// where it names them.
func (s *step) describe(m cxtp.Message) {
	switch m := m.(type) {
	case *cxtp.CTD:
		s.What = "CTD"
		if m.Predictive {
			s.What = "PCTD"
		}
		if phase, session, epoch, ok := m.About(); ok {
			s.particular, s.Session, s.Epoch = phase.String(), session, epoch
		}
	case *cxtp.Outcome:
		s.What, s.particular = "Outcome", m.State.String()
		s.Session, s.Epoch = m.Session, m.Epoch
		switch {
		case m.Question:
			s.What, s.particular = "Outcome?", ""
		case m.Steered && m.State == cxtp.OutcomeActive:
			s.particular = "active, steered"
		case m.Go:
			s.particular += ", go"
		}
	case *cxtp.Update:
		s.What, s.particular, s.Session, s.Epoch = "Update", m.Gateway.String(), m.Session, cxtp.Epoch(m.Number)
	case *cxtp.UpdateAck:
		s.What, s.Session, s.Epoch = "UpdateAck", m.Session, cxtp.Epoch(m.Number)
	default:
		s.What = plainName(m)
	}
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
