package main

// plainGuards are those of transfers without a control block.
var plainGuards = []mutant{
	{
		name: "plain-source-gives-all", guard: "a plain router gets what may be copied and nothing else (8.10)", law: "law 5",
		file: "plain.go",
		old:  "	copies, others := s.cfg.split(d.Blocks)\n",
		new:  "	copies, others := d.Blocks, []CDB(nil)\n",
	}, {
		name: "plain-with-a-control-block", guard: "and no control block (8.10)", law: "law 5",
		file: "source_send.go",
		old:  "	if m.plain {\n		ctd.Blocks = blocks\n	}\n",
		new:  "",
	}, {
		name: "plain-not-known", guard: "a peer that is configured so is plain (8.10)", law: "law 5",
		file: "source.go",
		old:  "		m.plain = peer.Plain\n",
		new:  "		_ = peer\n",
	}, {
		name: "plain-phases", guard: "a plain target knows no phase but the stage (8.10)", law: "progress",
		file: "source_send.go",
		old:  "	if m.plain && phase != PhaseStage {\n",
		new:  "	if false {\n",
	}, {
		name: "plain-key-of-nobody", guard: "a CTD says that a token was verified: without a key there is a PCTD all the same (8.10)", law: "law 5",
		file: "plain.go",
		old:  "		if err := s.plainKey(); err != nil {\n",
		new:  "		if err := error(nil); err != nil {\n",
	}, {
		name: "plain-strong-key", guard: "the keys of strong tokens do not go to a plain router (8.10)", law: "law 6",
		file: "plain.go",
		old:  "	if m.proved || !m.key.Key.IsZero() && !s.node.strong() {\n",
		new:  "	if m.proved || !m.key.Key.IsZero() {\n",
	}, {
		name: "plain-vouched-for-late", guard: "a request that meets a PCTD is answered by a CTD (8.10)", law: "law 6",
		file: "retry.go",
		old:  "	m.vouched = m.vouched || m.plain // it has no other word for it\n",
		new:  "",
	}, {
		name: "plain-strong-algorithm", guard: "nor does their algorithm (8.10)", law: "law 5",
		file: "source_send.go",
		old:  "	if m.plain && ctd.Predictive {\n",
		new:  "	if false {\n",
	}, {
		name: "plain-others-not-wiped", guard: "what must not be copied is wiped when it is not sent (8.10)", law: "law 6",
		file: "plain.go",
		old:  "	wipe(others)\n",
		new:  "",
	}, {
		name: "plain-sent-though-cancelled", guard: "nothing is sent to a target that has cancelled", law: "progress",
		file: "plain.go",
		old:  "	case m.cancelled:\n		s.failCancelled()\n	case m.standby:\n",
		new:  "	case m.standby:\n",
	}, {
		name: "plain-standby", guard: "a plain router is no standby (8.10)", law: "law 2",
		file: "plain.go",
		old:  "	case m.standby:\n",
		new:  "	case false:\n",
	}, {
		name: "plain-standby-asked-back", guard: "and there is nothing to ask it back (8.10)", law: "law 5",
		file: "source.go",
		old:  "Standby: m.standby && !m.plain})",
		new:  "Standby: m.standby})",
	}, {
		name: "plain-empty", guard: "nothing is sent where nothing may be copied (8.10)", law: "progress",
		file: "plain.go",
		old:  "	case len(copies) == 0 || m.ordered && !m.whole:\n",
		new:  "	case m.ordered && !m.whole:\n",
	}, {
		name: "plain-order-in-part", guard: "an order is for the whole session (8.10)", law: "law 5",
		file: "plain.go",
		old:  "	case len(copies) == 0 || m.ordered && !m.whole:\n",
		new:  "	case len(copies) == 0:\n",
	}, {
		name: "plain-outcome-counts", guard: "an Outcome decides nothing about a plain transfer (8.10)", law: "law 2",
		file: "source.go",
		old:  "; why != 0 || m.plain {\n",
		new:  "; why != 0 {\n",
	}, {
		name: "plain-reply-too-early", guard: "a CTDR counts while it is waited for (8.10)", law: "law 2",
		file: "router_messages.go",
		old:  "			return s.state == stateStaging && s.src.plain && s.src.to == peer.ID\n",
		new:  "			return s.src != nil && s.src.plain && s.src.to == peer.ID\n",
	}, {
		name: "plain-reply-of-another", guard: "and comes from the target (8.10)", law: "law 2",
		file: "router_messages.go",
		old:  "			return s.state == stateStaging && s.src.plain && s.src.to == peer.ID\n",
		new:  "			return s.state == stateStaging && s.src.plain\n",
	}, {
		name: "plain-reply-to-a-stage", guard: "and is of a plain transfer (8.10)", law: "progress",
		file: "router_messages.go",
		old:  "			return s.state == stateStaging && s.src.plain && s.src.to == peer.ID\n",
		new:  "			return s.state == stateStaging && s.src.to == peer.ID\n",
	}, {
		name: "plain-reply-took-nothing", guard: "the session goes on where the target took nothing of it (8.10)", law: "law 2",
		file: "plain.go",
		old:  "	case all.nothingTaken(failed), !m.Success && len(failed) == 0:\n",
		new:  "	case all.nothingTaken(nil), !m.Success && len(failed) == 0:\n",
	}, {
		name: "plain-reply-without-a-word", guard: "or said no without a word (8.10)", law: "law 2",
		file: "plain.go",
		old:  "	case all.nothingTaken(failed), !m.Success && len(failed) == 0:\n",
		new:  "	case all.nothingTaken(failed):\n",
	}, {
		name: "plain-release-of-keys", guard: "the session goes on where it has anything else (8.10)", law: "law 2",
		file: "plain.go",
		old:  "	case src.whole && (src.ordered || src.proved || src.spent):\n",
		new:  "	case src.ordered || src.proved || src.spent:\n",
	}, {
		name: "plain-release-unasked", guard: "or where nobody wanted it moved (8.10)", law: "law 5",
		file: "plain.go",
		old:  "	case src.whole && (src.ordered || src.proved || src.spent):\n",
		new:  "	case src.whole:\n",
	}, {
		name: "plain-key-kept", guard: "the key of a token that was verified is gone when the session stays (5.1)", law: "law 6",
		file: "plain.go",
		old:  "		s.dropKeys(m.key.Number)\n",
		new:  "",
	}, {
		name: "plain-waits-for-closed", guard: "a plain transfer that is over is over (8.10)", law: "law 2",
		file: "source.go",
		old:  "		if m.plain {\n			s.remove()\n",
		new:  "		if false {\n			s.remove()\n",
	}, {
		name: "plain-target-takes-all", guard: "without a control block comes what may be copied (8.10)", law: "law 5",
		file: "plain.go",
		old:  "	copies, others := r.cfg.split(m.Blocks)\n",
		new:  "	copies, others := m.Blocks, []CDB(nil)\n",
	}, {
		name: "plain-target-takes-nothing", guard: "and something of it (8.10)", law: "progress",
		file: "plain.go",
		old:  "	if len(copies) == 0 {\n		r.drop(",
		new:  "	if false {\n		r.drop(",
	}, {
		name: "plain-over-a-stage", guard: "a stage with a control block is not replaced by a CTD without (8.10)", law: "law 5",
		file: "plain.go",
		old:  "	case st == StatusOK && s.plain && s.from == peer.ID && s.state == stateHeld:\n",
		new:  "	case st == StatusOK && s.from == peer.ID && s.state == stateHeld:\n",
	}, {
		name: "plain-over-anothers", guard: "nor is what another router has given (8.10)", law: "law 2",
		file: "plain.go",
		old:  "	case st == StatusOK && s.plain && s.from == peer.ID && s.state == stateHeld:\n",
		new:  "	case st == StatusOK && s.plain && s.state == stateHeld:\n",
	}, {
		name: "plain-over-what-acts", guard: "nor what is at work (8.10)", law: "law 5",
		file: "plain.go",
		old:  "	case st == StatusOK && s.plain && s.from == peer.ID && s.state == stateHeld:\n",
		new:  "	case st == StatusOK && s.plain && s.from == peer.ID:\n",
	}, {
		name: "plain-second-copy", guard: "there is one copy at an address (8.10)", law: "law 2",
		file: "plain.go",
		old:  "	case st != StatusUnknownSession:\n",
		new:  "	case false:\n",
	}, {
		name: "plain-repetition-refused", guard: "the CTDR of a CTD answers its repetition too (8.10)", law: "progress",
		file: "plain.go",
		old:  "	case st == StatusOK && s.plain && s.from == peer.ID && s.takes(digest):\n",
		new:  "	case false:\n",
	}, {
		name: "plain-repetition-of-others", guard: "and of no other CTD (8.10)",
		why:  "RFC 4067's CTDR does not say which CTD it answers: the source hears \"busy\", or nothing",
		file: "plain.go",
		old:  " && s.tgt.digest == d\n",
		new:  "\n",
	}, {
		name: "plain-pctd-proves", guard: "a PCTD says nothing of the token that was asked with (8.10)", law: "law 5",
		file: "plain.go",
		old:  "		TokenProved: !m.Predictive,\n",
		new:  "		TokenProved: true,\n",
	}, {
		name: "plain-proof-of-a-kind", guard: "a CTD says that a token was verified, of whichever kind (8.10)", law: "progress",
		file: "target.go",
		old:  "		t.proved = s.plain || s.ofItsKind(q.requests)",
		new:  "		t.proved = s.ofItsKind(q.requests)",
	}, {
		name: "plain-answer-by-name", guard: "a CTD without a control block answers a request that names a session (8.10)", law: "progress",
		file: "router_messages.go",
		old:  "!o.plain && !q.means(c.Session)",
		new:  "!q.means(c.Session)",
	}, {
		name: "plain-names-nobody-knows", guard: "a node cannot name what came without a control block (8.10)", law: "progress",
		file: "router.go",
		old:  "	if st != StatusUnknownSession || id.IsZero() {\n",
		new:  "	if true {\n",
	}, {
		name: "plain-names-of-others", guard: "but any other session it can (8.10)",
		why:  "the token of another node does not verify: it is refused, and not fetched",
		file: "router.go",
		old:  "return s.plain && s.ofItsKind(requests) && match(s)",
		new:  "return s.ofItsKind(requests) && match(s)",
	}, {
		name: "plain-names-in-strong-tokens", guard: "a strong token names a session that has its keys (8.10)",
		why:  "it is refused here, and not shown where it could be verified",
		file: "router.go",
		old:  "return s.plain && s.ofItsKind(requests) && match(s)",
		new:  "return s.plain && match(s)",
	}, {
		name: "plain-takes-none", guard: "what is taken in no part is refused (8.10)", law: "progress",
		file: "target.go",
		old:  "		if s.plain && t.nothingTaken(d.Partial) {\n",
		new:  "		if false {\n",
	}, {
		name: "plain-absent-not-told", guard: "a CTDR with S = 1 says that all came (8.10)", law: "progress",
		file: "target.go",
		old:  "		t.lacks(o.absent)\n",
		new:  "",
	}, {
		name: "plain-status-of-the-move", guard: "a status is beside a context that came (8.10)", law: "progress",
		file: "plain.go",
		old:  "	if i < 0 {\n",
		new:  "	if true || i < 0 {\n",
	}, {
		name: "plain-turned-away", guard: "also where nothing is taken (8.10)", law: "progress",
		file: "router_messages.go",
		old:  "typed(o.data.Blocks[1:], statuses)",
		new:  "statuses",
	}, {
		name: "plain-turned-away-by-outcome", guard: "and no Outcome is (8.10)", law: "law 5",
		file: "router_messages.go",
		old:  "	if !o.plain {\n",
		new:  "	if true {\n",
	}, {
		name: "plain-outcome-told", guard: "whoever gave something without a control block hears no Outcome of it (8.10)", law: "law 5",
		file: "session.go",
		old:  "	if s.plain && to == s.from {\n",
		new:  "	if false {\n",
	}, {
		name: "plain-active-without-token", guard: "it becomes active where the policy or a token allows it (8.10)", law: "law 5",
		file: "plain.go",
		old:  "	if t := s.tgt; t.mayActivate() {\n",
		new:  "	if t := s.tgt; t != nil {\n",
	}, {
		name: "plain-waits-for-a-final", guard: "and at once (8.10)", law: "progress",
		file: "target.go",
		old:  "	if s.plain {\n		s.takenPlain()\n	}\n",
		new:  "",
	}, {
		name: "plain-token-not-used", guard: "or when the node shows a token (8.10)", law: "progress",
		file: "request.go",
		old:  "		if s.plain {\n			s.takenPlain()\n			return\n		}\n",
		new:  "",
	}, {
		name: "plain-arrival-not-seen", guard: "the token with which a node arrives uses its key up, also where the policy wanted none (8.10)", law: "law 6",
		file: "router_messages.go",
		old:  "	case st == StatusOK && s.expects(peer):\n",
		new:  "	case false:\n",
	}, {
		name: "plain-key-to-leave", guard: "and that key is for no move away (8.10)", law: "law 5",
		file: "node_keys.go",
		old:  "	case !s.ofItsKind(p.requests), s.plain && !p.atNAR:",
		new:  "	case !s.ofItsKind(p.requests):",
	}, {
		name: "plain-operator-not-heard", guard: "or when our operator asks for it (8.10)", law: "progress",
		file: "target.go",
		old:  "	if s.plain {\n		s.takenPlain()\n		return\n	}\n",
		new:  "",
	}, {
		name: "plain-waits-for-a-close", guard: "nobody closes a plain transfer (8.10)", law: "progress",
		file: "target.go",
		old:  "	if s.plain { // nobody closes\n",
		new:  "	if false {\n",
	}, {
		name: "plain-remembered", guard: "what is given up is not remembered (8.10)", law: "progress",
		file: "target.go",
		old:  "	s.over = s.plain // nobody else knows its id, so nobody can ask\n",
		new:  "",
	}, {
		name: "plain-forgotten-in-a-restart", guard: "a restart does not forget how a session came (8.10)", law: "law 5",
		file: "restore.go",
		old:  "		s.plain = rec.Plain\n",
		new:  "",
	},
}
