package main

import "github.com/cxtp/cxtp/internal/overlay"

// targetMutants take contexts in another way.
var targetMutants = []mutant{
	{
		name: "contexts-act-without-the-token", rows: []string{"2-1", "2.1.1-3", "5.1-1", "6.3-2"},
		file: "cxtp/request.go",
		old:  "			if st := s.prove(m); st != StatusOK {\n				s.denyNode(at, st)\n				return\n			}\n",
		new:  "			s.tgt.proved = true\n			s.used = usedToken{sequence: m.Sequence, token: m.Token, valid: true}\n",
	}, {
		name: "key-not-discarded", rows: []string{"6.3-3", "6.3-11"},
		file: "cxtp/request.go",
		old:  "	s.dropKeys(key.Number)\n	s.tgt.proved = true\n", new: "	_ = key\n	s.tgt.proved = true\n",
		more: []overlay.Edit{{File: "cxtp/target.go", Old: "			s.dropKeys(max(t.key, c.Serial))\n", New: ""}},
	}, {
		name: "arrival-repeated", rows: []string{"3.2-21"},
		file: "cxtp/router_messages.go",
		old:  "	case st == StatusOK && (s.tgt != nil || s.brought(m, peer)):\n		r.with(s, func() { s.activateHere(at, m) })\n",
		new:  "	case st == StatusOK && s.brought(m, peer):\n		r.fetch(m.Previous, &request{to: peer.ID, sequence: m.Sequence, token: m.Token, asker: at})\n	case st == StatusOK && s.tgt != nil:\n		r.with(s, func() { s.activateHere(at, m) })\n",
	}, {
		name: "contexts-not-installed", rows: []string{"2.1.2-3"},
		file: "cxtp/target.go",
		old:  "	s.standby = s.cfg.Standby\n	s.own()\n", new: "	s.standby = s.cfg.Standby\n	s.rest(stateNone, s.cfg.Timers.Remember)\n",
	}, {
		name: "ctdr-unasked", rows: []string{"2.5.4-9"},
		file: "cxtp/router_messages.go",
		old:  "	if m.Ack {\n		r.out = append(r.out, Send{To: peer.ID, Message: &CTDR", new: "	if true {\n		r.out = append(r.out, Send{To: peer.ID, Message: &CTDR",
	}, {
		name: "no-ctdr", rows: []string{"2.5.4-9"},
		file: "cxtp/target.go",
		old:  "	if t.ack {\n", new: "	if false {\n",
	}, {
		name: "failure-called-success", rows: []string{"2.5.4-3"},
		file: "cxtp/router_messages.go",
		old:  "Message: &CTDR{Previous: m.Previous, Statuses: failed}})", new: "Message: &CTDR{Success: true, Previous: m.Previous, Statuses: failed}})",
	}, {
		name: "success-called-failure", rows: []string{"2.5.4-3"},
		file: "cxtp/target.go",
		old:  "Message: &CTDR{Success: len(failed) == 0, Previous", new: "Message: &CTDR{Success: len(failed) > 0, Previous",
	}, {
		name: "failure-with-status-zero", rows: []string{"2.5.4-8"},
		file: "cxtp/plain.go",
		old:  "[]ContextStatus{{b.FPT, StatusNoControl}}", new: "[]ContextStatus{{b.FPT, StatusOK}}",
	},
}
