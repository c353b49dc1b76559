package cxtp

import (
	"fmt"
	"strings"
)

// One line for everything that goes into a machine or comes out of it.

// kind is a message's name in transcripts and scripts.
func kind(m Message) string {
	switch m := m.(type) {
	case *CTD:
		if len(m.Blocks) > 0 && m.Blocks[0].FPT == FPTError {
			return "denial"
		}
		if isPlain(m) {
			return "ctd"
		}
		c, err := ParseControl(m.Blocks[0])
		if err != nil {
			return "ctd"
		}
		return c.Phase.String()
	case *Outcome:
		if m.Question {
			return "question"
		}
		if m.State == OutcomeClosed {
			return "closed-answer"
		}
		return strings.ReplaceAll(m.State.String(), " ", "-")
	case *CTReq:
		return "ct-req"
	}
	return strings.ToLower(m.Type().String())
}

func (w *world) message(m Message) string {
	line := kind(m)
	switch m := m.(type) {
	case *CTD:
		if m.Predictive {
			line += " (pctd)"
		}
		if line == "denial" {
			s, _ := ParseErrorBlock(m.Blocks[0])
			return line + ": " + s.Status.String()
		}
		if isPlain(m) {
			return line + fmt.Sprintf(" for %s with %d contexts", m.Previous, len(m.Blocks))
		}
		if c, err := ParseControl(m.Blocks[0]); err == nil {
			line += fmt.Sprintf(" %s e%d", w.name(c.Session), c.Epoch)
			for _, sa := range c.Manifest {
				if sa.Direction == directionOut && (c.Phase == PhaseStage || c.Phase == PhaseRenew) {
					line += fmt.Sprintf(" ceiling %d", sa.Ceiling)
				}
			}
			line += flagged(c.TokenProved, " token-proved") + flagged(c.Standby, " standby")
			line += flagged(c.Serial > 0, fmt.Sprintf(" #%d", c.Serial))
		}
		if blocks := m.Blocks[1:]; len(blocks) > 0 {
			line += fmt.Sprintf(" +%d blocks", len(blocks))
		}
	case *Outcome:
		line += fmt.Sprintf(" %s e%d", w.name(m.Session), m.Epoch)
		line += flagged(m.Serial > 0, fmt.Sprintf(" #%d", m.Serial)) + flagged(m.Go, " go") + flagged(m.Steered, " steered") + flagged(m.Untold, " untold") + statusList(m.Statuses)
	case *CTReq:
		line += fmt.Sprintf(" for %s seq %d", m.Previous, m.Sequence) + flagged(m.Token.IsZero(), " null-token") + typeList(m.Requests) + strongText(m.Requests)
	case *CTAR:
		line += fmt.Sprintf(" for %s seq %d naming %s", m.Previous, m.Sequence, w.routerAt(m.Router)) + typeList(m.Requests) + strongText(m.Requests)
	case *CTAA:
		line += flagged(len(m.Failed) == 0, ": success") + statusList(m.Failed)
	case *CTDR:
		line += flagged(m.Success, " success") + statusList(m.Statuses)
	case *Update:
		line += fmt.Sprintf(" %s #%d to %s", w.name(m.Session), m.Number, w.routerAt(m.Gateway.Addr())) + flagged(!m.Share.IsZero(), " share")
		for _, c := range m.SPIs {
			line += fmt.Sprintf(" %#x=%#x", c.Old, c.New)
		}
		for _, f := range m.Floors {
			line += fmt.Sprintf(" %#x above %d", f.SPI, f.Number)
		}
	case *UpdateAck:
		line += fmt.Sprintf(" %s #%d", w.name(m.Session), m.Number) + flagged(!m.Share.IsZero(), " share")
	}
	return line
}

func flagged(set bool, text string) string {
	if set {
		return text
	}
	return ""
}

func typeList(requests []CDB) (list string) {
	for _, t := range requestedTypes(requests) {
		list += fmt.Sprintf(" %#04x", uint16(t))
	}
	return list
}

func statusList(statuses []ContextStatus) string {
	var texts []string
	for _, s := range statuses {
		text := s.Status.String()
		if s.FPT != FPTControl {
			text = s.FPT.String() + " " + text
		}
		texts = append(texts, text)
	}
	return flagged(len(texts) > 0, ": "+strings.Join(texts, ", "))
}

func (w *world) action(a Action) string {
	switch a := a.(type) {
	case Send:
		return fmt.Sprintf("-> %s %s", a.To, w.message(a.Message))
	case SendNode:
		return "-> node " + w.message(a.Message)
	case Do:
		where := " to "
		if a.Verb == VerbTakeOver {
			where = " from "
		}
		line := fmt.Sprintf("do %s %s e%d", a.Verb, w.name(a.Session), a.Epoch) + flagged(a.Peer != "" && a.Verb != VerbExport, where+string(a.Peer))
		if a.Verb == VerbLimit || a.Verb == VerbThaw {
			if c := simCeiling(a.Manifest); c > 0 {
				line += fmt.Sprintf(" %d", c)
			} else {
				line += flagged(a.Verb == VerbLimit, " none")
			}
		}
		return line + flagged(a.Reassign, " reassign")
	case Steer:
		return fmt.Sprintf("steer %s e%d from %s", w.name(a.Session), a.Epoch, a.From)
	case Persist:
		return "persist " + w.record(a.Record)
	case Report:
		line := fmt.Sprintf("report %s", a.Event)
		if !a.Session.IsZero() {
			line += fmt.Sprintf(" %s e%d", w.name(a.Session), a.Epoch)
		}
		if a.Ticket != 0 {
			line += fmt.Sprintf(" ticket %d", a.Ticket)
		}
		return line + flagged(a.Final, " final") + statusList(a.Statuses) + flagged(a.Detail != "", " ("+a.Detail+")")
	}
	return fmt.Sprintf("%T", a)
}

func (w *world) record(r Record) string {
	return fmt.Sprintf("%s %s e%d", r.Kind, w.name(r.Session), r.Epoch) + flagged(r.Peer != "", " "+string(r.Peer))
}

func (w *world) input(n *simRouter, in Input) string {
	switch in := in.(type) {
	case Adopt:
		return "adopt " + w.name(in.Session)
	case Handover:
		return fmt.Sprintf("handover %s to %s", w.name(in.Session), in.To) + flagged(in.StageOnly, " stage-only") + flagged(in.Force, " force") + fmt.Sprintf(" ticket %d", in.Ticket)
	case Pull:
		return fmt.Sprintf("pull %s from %s", in.Previous, in.From) + flagged(in.StageOnly, " stage-only") + flagged(in.Force, " force") + fmt.Sprintf(" ticket %d", in.Ticket)
	case Cancel:
		return fmt.Sprintf("cancel %s ticket %d", w.name(in.Session), in.Ticket)
	case Resolve:
		return fmt.Sprintf("resolve %s: %s is fenced, ticket %d", w.name(in.Session), in.Fenced, in.Ticket)
	case Standby:
		return fmt.Sprintf("standby %s at %q ticket %d", w.name(in.Session), in.To, in.Ticket)
	case Drain:
		return map[bool]string{true: "drain", false: "undrain"}[in.Closed]
	case Vanished:
		return "vanished: " + w.name(in.Session)
	case Near:
		return "near the ceiling: " + w.name(in.Session)
	case FromRouter:
		return fmt.Sprintf("<- %s %s", in.From, w.message(in.Message))
	case FromNode:
		return "<- node " + w.message(in.Message)
	case Done:
		return fmt.Sprintf("done: %s %s", w.doing[simOp{n.id, in.Session, in.Op}], w.name(in.Session)) + statusList(in.Failed)
	}
	return fmt.Sprintf("%T", in)
}
