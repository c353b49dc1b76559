package main

import "github.com/cxtp/cxtp/internal/overlay"

// anyClient has the transport ask for a certificate and verify nothing.
var anyClient = []overlay.Edit{{
	File: "transport/handshake.go",
	Old:  "dtls.WithClientAuth(dtls.RequireAndVerifyClientCert)", New: "dtls.WithClientAuth(dtls.RequireAnyClientCert)",
}}

// sourceMutants give contexts away in another way.
var sourceMutants = []mutant{
	{
		name: "ctar-ignored", rows: []string{"2.1.1-1"},
		file: "cxtp/request.go",
		old:  "	atStandby := s.state == stateStaged && s.src.standby && s.src.to == to.ID\n", new: "	atStandby := false\n	if !atStandby {\n		return\n	}\n",
	}, {
		name: "no-key-in-the-pctd", rows: []string{"2.1.1-2", "2.5.6-14", "2.5.3-11"},
		file: "cxtp/source_send.go",
		old:  "	if phase == PhaseStage && !m.vouched && !m.key.Key.IsZero() {\n", new: "	if false {\n",
	}, {
		name: "token-not-checked", rows: []string{"6.3-2", "6.3-1", "2.1.1-4"},
		file: "cxtp/node_keys.go",
		old:  "VerifyToken(k.Key, s.addr, p.sequence, p.requests, p.token) {", new: "k.Number > 0 {",
	}, {
		name: "null-token-not-refused", rows: []string{"6.3-2", "2.1.1-1"},
		file: "cxtp/router_messages.go",
		old:  "	if m.Token.IsZero() {\n		// Ours", new: "	if false {\n		// Ours",
		more: []overlay.Edit{{File: "cxtp/node_keys.go", Old: "VerifyToken(k.Key, s.addr, p.sequence, p.requests, p.token) {", New: "p.token.IsZero() || VerifyToken(k.Key, s.addr, p.sequence, p.requests, p.token) {"}},
	}, {
		name: "ct-req-ignored", rows: []string{"2.1.2-1"},
		file: "cxtp/request.go",
		old:  "	case s.free(peer.ID):\n		key, st", new: "	case false:\n		key, st",
	}, {
		name: "ct-req-needs-a-known-sequence", rows: []string{"2.5.6-12"},
		file: "cxtp/request.go",
		old:  "	case s.free(peer.ID):\n		key, st", new: "	case s.free(peer.ID) && q.Sequence == s.used.sequence:\n		key, st",
	}, {
		name: "some-contexts-for-all", rows: []string{"2.5.1-13"},
		file: "cxtp/source.go",
		old:  "= append(d.Blocks, errorBlocks(d.Partial)...), s.withHeadroom", new: "= append(d.Blocks[:1:1], errorBlocks(d.Partial)...), s.withHeadroom",
	}, {
		name: "contexts-not-sent-again", rows: []string{"2.5.3-16", "2.5.6-10"},
		file: "cxtp/retry.go",
		old:  "	case stateStaging:\n		s.sendStage()\n", new: "	case stateStaging:\n",
	}, {
		name: "ctc-ignored", rows: []string{"2.5.5-7"},
		file: "cxtp/router_messages.go",
		old:  "	case s.state == stateStaging || s.state == stateStaged:\n		s.failCancelled()\n", new: "",
	}, {
		name: "never-given-up", rows: []string{"4-6", "2.5.6-11"},
		file: "cxtp/source.go",
		old:  "	s.rest(stateStaging, s.cfg.Timers.MaxTransfer)\n", new: "	s.rest(stateStaging, s.cfg.Timers.StageHold)\n",
	}, {
		name: "repeated-ctar-not-ignored", rows: []string{"3.2-21", "6.3-10"},
		file: "cxtp/request.go",
		old:  "	if s.used.is(m.Sequence, m.Token) {\n		s.drop(DropRepeated)\n		s.answerAway", new: "	if false {\n		s.drop(DropRepeated)\n		s.answerAway",
	}, {
		name: "key-taken-twice", rows: []string{"6.3-11"},
		file: "cxtp/retry.go",
		old:  "	return p != nil && key <= p.key && (", new: "	return p != nil && key < 0*p.key && (",
	}, {
		name: "second-ctar-at-the-par", rows: []string{"6.3-9", "2.5-2"},
		file: "cxtp/request.go",
		old:  "	if !s.free(to.ID) && !atStandby {\n		s.drop(DropBusy)\n		return // ignored: section 6.3\n	}\n", new: "",
	}, {
		// It goes on with what it has given away, and says that it has closed.
		name: "contexts-kept", rows: []string{"6.3-7", "6.3-8", "6.3-10"},
		file: "cxtp/source.go",
		old:  "	s.do(stateClosing, Do{Verb: VerbClose, Epoch: s.src.epoch})\n", new: "	s.do(stateClosing, Do{Verb: VerbThaw, Epoch: s.src.epoch})\n",
		more: []overlay.Edit{{
			File: "cxtp/source.go",
			Old:  "	s.act(Do{Op: s.op(), Verb: VerbRedirect, Session: s.id, Epoch: m.epoch, Mode: s.cfg.Mode, Peer: m.to})\n", New: "",
		}, {
			File: "cxtp/source.go",
			Old:  "		s.do(stateReleasing, Do{Verb: VerbRelease, Epoch: m.epoch})\n",
			New:  "		s.persist(stateMovedPersist, Record{Kind: RecordMoved, Epoch: m.epoch, Peer: m.to})\n",
		}, {
			File: "cxtp/source.go",
			Old:  "		s.rest(stateMoved, s.cfg.Timers.CloseGiveUp)\n		s.remove()\n		s.sendClosed()\n		s.repeatEvery(s.cfg.Timers.Repeat)\n",
			New:  "		s.sendClosed()\n		s.src = nil\n		s.own()\n",
		}},
	}, {
		name: "one-group-of-many", rows: []string{"B-2"},
		file: "features/mld/feature.go",
		old:  "		r.peer, r.exported = ref.Peer, contexts\n		return snapshot(contexts)\n", new: "		r.peer, r.exported = ref.Peer, contexts\n		return snapshot(contexts[:min(1, len(contexts))])\n",
	},
}
