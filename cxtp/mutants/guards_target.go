package main

// targetGuards are those of the router that takes a session.
var targetGuards = []mutant{
	{
		name: "change-not-told", guard: "a node is told its SA's other SPI until it has confirmed that (4)", law: "progress",
		file: "target.go",
		old:  "		s.node.SPIs = followed(s.node.SPIs, d.SPIs)\n",
		new:  "",
	}, {
		name: "change-not-handed-on", guard: "what the node has not confirmed goes along with the session (5)", law: "progress",
		file: "target.go",
		old:  "		s.node.SPIs = followed(s.node.SPIs, d.SPIs)\n",
		new:  "		s.node.SPIs = d.SPIs\n",
	}, {
		name: "fenced-number-again", guard: "an Update after a fence has a number of its own (8.9)",
		why:  "a fenced router's SAs are gone with what the node was told by it, and no law is about where the node sends: fence_tells_the_floor",
		file: "steering.go",
		old:  "	s.epoch++\n	s.node.SPIs",
		new:  "	s.node.SPIs",
	}, {
		name: "old-stage-taken", guard: "a stage whose epoch was seen is answered from the record (8.2)", law: "law 1",
		file: "target.go",
		old:  "	if o.control.Epoch <= s.epoch {\n",
		new:  "	if false {\n",
	}, {
		name: "epoch-not-noted", guard: "a target raises its highest epoch with every stage (1)", law: "law 1",
		file: "target.go",
		old:  "	s.addr, s.epoch, s.from = o.data.Previous, o.control.Epoch, o.peer.ID\n",
		new:  "	s.addr, s.from = o.data.Previous, o.peer.ID\n",
	}, {
		name: "stage-over-a-stage", guard: "what is staged is refused before a later stage is taken (8.2)", law: "law 2",
		file: "target.go",
		old:  "		s.postpone(o)\n		s.refuse(StatusCancelled, \"the source started another attempt\")\n		return\n",
		new:  "",
	}, {
		name: "stage-over-an-active-session", guard: "a session that is active here is staged by nobody (8.2)", law: "law 2",
		file: "target.go",
		old:  "	case stateNone:\n	case stateMoved:\n",
		new:  "	case stateNone, stateOwner, stateUnclosed:\n	case stateMoved:\n",
	}, {
		name: "promise-not-durable", guard: "\"may activate\" is durable before \"staged\" is said (8.2)", law: "law 1",
		file: "target.go",
		old:  "		s.persist(statePromising, s.promise())\n	case statePromising:\n",
		new:  "		s.note(s.promise())\n		s.confirm()\n	case statePromising:\n",
	}, {
		name: "refused-not-durable", guard: "\"refused\" is durable before it is said (8.2)",
		why:  "what was promised and not refused is refused or lost by a restart (8.7), and what was not promised is granted by nobody: the record is for those who ask later",
		file: "target.go",
		old:  "	s.persist(stateRefusing, Record{Kind: RecordRefused, Epoch: s.tgt.epoch, Peer: s.tgt.from, Why: why})\n",
		new:  "	s.note(Record{Kind: RecordRefused, Epoch: s.tgt.epoch, Peer: s.tgt.from, Why: why})\n	s.refused()\n",
	}, {
		name: "not-taken-said-as-refused", guard: "a stage that is not taken is not called refused (3)", law: "law 1",
		file: "router_messages.go",
		old:  "		Incarnation: cfg.Incarnation, State: OutcomeUnseen, Statuses: statuses}}\n",
		new:  "		Incarnation: cfg.Incarnation, State: OutcomeRefused, Statuses: statuses}}\n",
	}, {
		name: "final-from-anybody", guard: "a final counts from the source of the stage alone (8.3)", law: "law 5",
		file: "target.go",
		old:  "	return misses(from, t.from, e, t.epoch)\n",
		new:  "	return misses(t.from, t.from, e, t.epoch)\n",
	}, {
		name: "final-of-any-epoch", guard: "a final counts for the epoch that is staged alone (8.3)", law: "law 4",
		file: "target.go",
		old:  "	return misses(from, t.from, e, t.epoch)\n",
		new:  "	return misses(from, t.from, t.epoch, t.epoch)\n",
	}, {
		name: "final-on-another-base", guard: "a final names the digest of what is staged (8.3)",
		why:  "an epoch is staged once, so only a source that breaks the rules itself has another digest for it: TestMachineFinalNeedsItsBase",
		file: "target.go",
		old:  "	case c.Digest != t.digest || c.Incarnation != s.cfg.Incarnation:\n",
		new:  "	case c.Incarnation != s.cfg.Incarnation:\n",
	}, {
		name: "final-to-another-journal", guard: "a final names the journal that has promised (8.3)", law: "law 1",
		file: "target.go",
		old:  "	case c.Digest != t.digest || c.Incarnation != s.cfg.Incarnation:\n",
		new:  "	case c.Digest != t.digest:\n",
	}, {
		name: "final-without-authority", guard: "a final activates only what the target itself would (8.3)", law: "law 5",
		file: "target.go",
		old:  "	case !t.mayActivate():\n		s.refuse(",
		new:  "	case false:\n		s.refuse(",
	}, {
		name: "final-out-of-turn", guard: "a final activates once, what is staged (8.3)", law: "progress",
		file: "target.go",
		old:  "	if why := s.tgt.misses(from, c.Epoch); why != 0 || s.state != stateHeld {\n",
		new:  "	if why := s.tgt.misses(from, c.Epoch); why != 0 {\n",
	}, {
		name: "ceiling-lifted-before-closed", guard: "the target passes the ceilings after \"closed\", not before (8.5)", law: "law 1",
		file: "target.go",
		old:  "	s.rest(stateUnclosed, s.cfg.Timers.CloseWait)\n",
		new:  "	s.limit(nil)\n	s.rest(stateUnclosed, s.cfg.Timers.CloseWait)\n",
	}, {
		name: "ceiling-not-lifted", guard: "after \"closed\" the target passes the ceilings (8.5)", law: "progress",
		file: "target.go",
		old:  "	s.limit(nil)\n	s.standby = s.cfg.Standby\n",
		new:  "	s.standby = s.cfg.Standby\n",
	}, {
		name: "closed-not-waited-for", guard: "the target waits for \"closed\" before the session is its own (8.5)", law: "law 4",
		file: "target.go",
		old:  "	s.rest(stateUnclosed, s.cfg.Timers.CloseWait)\n	s.repeatEvery(s.cfg.Timers.RepeatMax) // the source's own repetitions may have ended\n",
		new:  "	defer s.owner()\n",
	}, {
		name: "onward-before-closed", guard: "a session is granted onward after \"closed\", not before (8.5)", law: "law 2",
		file: "source.go",
		old:  "	case stateUnclosed, stateMerging, stateOwnerPersist:\n		refuse(",
		new: `	case stateUnclosed:
		s.tgt = nil
		s.startMove(&outgoing{to: h.To, ticket: h.Ticket, ordered: true, attempts: 1})
	case stateMerging, stateOwnerPersist:
		refuse(`,
	}, {
		name: "windows-not-merged", guard: "the source's last windows are merged (8.5)", law: "law 4",
		file: "target.go",
		old:  "	s.do(stateMerging, Do{Verb: VerbMerge, Epoch: t.epoch, Blocks: data.Blocks[1:]})\n",
		new:  "	s.persist(stateOwnerPersist, Record{Kind: RecordClosed, Epoch: t.epoch, Peer: t.from})\n",
	}, {
		name: "closed-of-any-epoch", guard: "\"closed\" counts from the source, for the epoch that is active (8.5)", law: "law 4",
		file: "target.go",
		old:  "	if why := t.misses(from, c.Epoch); why != 0 || s.state != stateUnclosed {\n",
		new:  "	if s.state != stateUnclosed {\n		why := t.misses(from, c.Epoch)\n",
	}, {
		name: "active-not-repeated", guard: "\"active\" is repeated until \"closed\" (8.5)", law: "progress",
		file: "target.go",
		old:  "	s.repeatEvery(s.cfg.Timers.RepeatMax) // the source's own repetitions may have ended\n",
		new:  "",
	}, {
		name: "refused-not-discarded", guard: "what is refused is forgotten by the features (8.2)", law: "progress",
		file: "target.go",
		old:  "	s.do(stateDiscarding, Do{Verb: VerbDiscard, Epoch: t.epoch})\n",
		new:  "	s.discarded()\n",
	}, {
		name: "stale-results", guard: "a result counts for the operation that the state waits for", law: "law 6",
		file: "session.go",
		old:  "	case d.Op != s.waitOp:\n		return // of a note, or of a state that has ended since\n",
		new:  "",
	},
}
