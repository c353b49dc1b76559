package main

// sourceGuards are those of the router that gives a session away.
var sourceGuards = []mutant{
	{
		name: "epoch-reused", guard: "no attempt takes the epoch of another, failed or not (8.2)", law: "law 1",
		file: "source.go",
		old:  "	s.src = nil\n	wipe(m.static)\n",
		new:  "	s.src = nil\n	s.epoch--\n	wipe(m.static)\n",
	}, {
		name: "epoch-not-durable", guard: "an epoch is durable before it is used (8.2)", law: "law 1",
		file: "source.go",
		old:  "	s.persist(stateAllocating, Record{Kind: RecordAllocated, Epoch: m.epoch, Peer: m.to, Standby: m.standby && !m.plain}) // no copy gets there\n",
		new: `	s.note(Record{Kind: RecordAllocated, Epoch: m.epoch, Peer: m.to, Standby: m.standby})
	s.state = stateAllocating
	s.sourceDone(Done{})
`,
	}, {
		name: "no-ceiling-at-source", guard: "the source stops at the ceilings of its stage (8.2)", law: "law 1",
		file: "source.go",
		old:  "Do{Verb: VerbLimit, Epoch: m.epoch, Manifest: m.manifest}",
		new:  "Do{Verb: VerbLimit, Epoch: m.epoch}",
	}, {
		name: "ceiling-not-lifted-at-source", guard: "an attempt that fails takes its ceiling along (8.2)", law: "progress",
		file: "source.go",
		old:  "	s.limit(nil)\n	s.keepPledge(m)\n",
		new:  "	s.keepPledge(m)\n",
	}, {
		name: "freeze-does-not-stop", guard: "the final follows a freeze, and not only a look at the counters (8.3)", law: "law 1",
		file: "source.go",
		old:  "		s.do(stateFreezing, Do{Verb: VerbFreeze, Epoch: m.epoch, Peer: m.to})\n",
		new:  "		s.do(stateFreezing, Do{Verb: VerbSample, Epoch: m.epoch})\n",
	}, {
		name: "final-before-freeze", guard: "the final follows the freeze (8.3)", law: "law 2",
		file: "source.go",
		old:  "		s.do(stateFreezing, Do{Verb: VerbFreeze, Epoch: m.epoch, Peer: m.to})\n",
		new:  "		s.act(Do{Op: s.op(), Session: s.id, Mode: s.cfg.Mode, Verb: VerbFreeze, Epoch: m.epoch})\n		s.frozen(Done{})\n",
	}, {
		name: "busy-after-the-final", guard: "a freeze that finds the session busy is taken back only while no final can have left (8.3)", law: "law 2",
		file: "source.go",
		old:  "	case m.unsaid && busy(d.Failed):\n",
		new:  "	case busy(d.Failed):\n",
	}, {
		name: "busy-under-a-lease", guard: "and while the target may not take over without one (8.3)", law: "law 2",
		file: "source.go",
		old:  "m.unsaid = m.leaseEnds.IsZero() && !m.leaseRanOut",
		new:  "m.unsaid = true",
	}, {
		name: "grant-not-durable", guard: "the grant is durable before the freeze (8.3)", law: "law 2",
		file: "source.go",
		old: `		s.persist(stateGranting, Record{Kind: RecordGranted, Epoch: m.epoch, Peer: m.to,
			Ceilings: m.highest(), Digest: m.digest, Incarnation: m.incarnation, Standby: m.standby})
`,
		new: `		s.note(Record{Kind: RecordGranted, Epoch: m.epoch, Peer: m.to,
			Ceilings: m.highest(), Digest: m.digest, Incarnation: m.incarnation, Standby: m.standby})
		s.state = stateGranting
		s.sourceDone(Done{})
`,
	}, {
		name: "grant-unordered", guard: "a stage is granted when somebody with a right to has asked for a move (8.3)", law: "law 5",
		file: "source.go",
		old:  "	case m.proved, m.ordered && m.targetReady:\n",
		new:  "	case m.proved, m.targetReady:\n",
	}, {
		name: "grant-without-go", guard: "an operator's order waits until the target would activate (8.3)", law: "law 5",
		file: "source.go",
		old:  "	case m.proved, m.ordered && m.targetReady:\n",
		new:  "	case m.proved, m.ordered:\n",
	}, {
		name: "outcome-from-anybody", guard: "an Outcome counts from the target of the move alone (8.4)", law: "law 2",
		file: "source.go",
		old:  "	return misses(from, m.to, e, m.epoch)\n",
		new:  "	return misses(m.to, m.to, e, m.epoch)\n",
	}, {
		name: "outcome-of-any-epoch", guard: "an Outcome counts for the epoch of the move alone (8.4)", law: "law 2",
		file: "source.go",
		old:  "	return misses(from, m.to, e, m.epoch)\n",
		new:  "	return misses(from, m.to, m.epoch, m.epoch)\n",
	}, {
		name: "outcome-of-another-journal", guard: "after the grant an Outcome counts from the journal that said \"staged\" (8.4)", law: "law 1",
		file: "source.go",
		old:  "	if s.state >= stateGranting && o.Incarnation != m.incarnation {\n",
		new:  "	if false {\n",
	}, {
		name: "grant-to-another-journal", guard: "a target that has lost its journal since it staged gets no grant (8.4)",
		why:  "it refuses the final for the journal that this names (final-to-another-journal): the guard saves a freeze",
		file: "source.go",
		old:  "	if o.Incarnation != m.incarnation {\n",
		new:  "	if false {\n",
	}, {
		name: "thaw-on-unseen", guard: "\"unseen\" thaws nothing (8.4)", law: "law 1",
		file: "source.go",
		old:  "		case OutcomeRefused:\n			s.do(stateThawing,",
		new:  "		case OutcomeRefused, OutcomeUnseen:\n			s.do(stateThawing,",
	}, {
		name: "thaw-on-lost", guard: "\"lost\" thaws nothing (8.4)", law: "law 1",
		file: "source.go",
		old:  "		case OutcomeRefused:\n			s.do(stateThawing,",
		new:  "		case OutcomeRefused, OutcomeLost:\n			s.do(stateThawing,",
	}, {
		name: "thaw-on-pending", guard: "\"pending\" thaws nothing (8.4)", law: "law 2",
		file: "source.go",
		old:  "		case OutcomeRefused:\n			s.do(stateThawing,",
		new:  "		case OutcomeRefused, OutcomePending:\n			s.do(stateThawing,",
	}, {
		name: "thaw-on-deadline", guard: "a source that heard nothing ends the session, and does not go on with it (8.4)", law: "law 1",
		file: "session.go",
		old:  "		s.finish(\"no answer from the target before the freeze deadline\")\n",
		new:  "		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch})\n",
	}, {
		name: "thaw-on-ctc", guard: "a CTC decides nothing about a granted epoch (8.1)", law: "law 2",
		file: "router_messages.go",
		old:  "	default:\n		s.drop(DropOutOfTurn)\n	}\n}\n\nfunc (s *Session) failCancelled() {",
		new: `	case s.state == stateFrozen:
		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch})
	default:
		s.drop(DropOutOfTurn)
	}
}

func (s *Session) failCancelled() {`,
	}, {
		name: "cancel-after-grant", guard: "the operator cannot cancel what is granted (8.6)", law: "law 2",
		file: "source.go",
		old:  "	case stateStaging, stateStaged:\n		if s.src.standby {\n			s.setStandby(",
		new:  "	case stateFrozen:\n		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch})\n	case stateStaging, stateStaged:\n		if s.src.standby {\n			s.setStandby(",
	}, {
		name: "release-before-active", guard: "the source keeps the session until the target is active (8.5)", law: "law 2",
		file: "source.go",
		old:  "	s.rest(stateFrozen, s.cfg.Timers.FreezeDeadline)\n	s.sendFinal()\n",
		new:  "	s.rest(stateFrozen, s.cfg.Timers.FreezeDeadline)\n	s.sendFinal()\n	s.close()\n	return\n",
	}, {
		name: "closed-before-close", guard: "\"closed\" comes after inbound has ended, with the last windows (8.5)", law: "law 4",
		file: "source.go",
		old:  "	s.do(stateClosing, Do{Verb: VerbClose, Epoch: s.src.epoch})\n",
		new:  "	s.do(stateReleasing, Do{Verb: VerbRelease, Epoch: s.src.epoch})\n",
	}, {
		name: "closed-with-old-windows", guard: "\"closed\" has the windows of the close (8.5)", law: "law 4",
		file: "source.go",
		old:  "		m.dynamic = d.Blocks\n		s.do(stateReleasing,",
		new:  "		s.do(stateReleasing,",
	}, {
		name: "end-not-recorded", guard: "a session that ends here has a record that says why (8.4)", law: "law 2",
		file: "ending.go",
		old:  "	s.persist(stateEnding, Record{Kind: RecordEnded, Epoch: m.epoch, Peer: m.to, Why: why})\n",
		new:  "	s.forget()\n",
	}, {
		name: "end-without-release", guard: "a session that ends here has no SAs any more (8.4)", law: "progress",
		file: "ending.go",
		old:  "	s.act(Do{Op: s.op(), Verb: VerbRelease, Session: s.id, Epoch: m.epoch, Mode: s.cfg.Mode})\n	s.remove()\n",
		new:  "	s.remove()\n",
	}, {
		name: "late-active-unanswered", guard: "a source of which a record is left answers \"active\" with \"closed\" (8.5)", law: "progress",
		file: "source.go",
		old:  "		s.closedLongAgo(from, o.Epoch)\n",
		new:  "",
	}, {
		name: "strict-mode-ignored", guard: "the strict mode ends inbound in the freeze (8.5)", law: "law 4",
		file: "session.go",
		old:  "	d.Op, d.Session, d.Previous, d.Mode = s.op(), s.id, s.addr, s.cfg.Mode\n",
		new:  "	d.Op, d.Session, d.Previous, d.Mode = s.op(), s.id, s.addr, ModeLossless\n",
	}, {
		name: "steering-of-a-former-owner", guard: "a router steers to itself no more once the next is active (8.5)", law: "law 2",
		file: "source.go",
		old:  "	m := s.src\n	s.endSteering()\n	s.rest(stateDraining,",
		new:  "	m := s.src\n	s.rest(stateDraining,",
	}, {
		name: "contexts-not-wiped", guard: "the keys that were exported are wiped when the move is over (5)", law: "law 6",
		file: "ending.go",
		old:  "	if s.src != nil {\n		wipe(s.src.static)\n",
		new:  "	if s.src != nil {\n",
	}, {
		name: "contexts-not-wiped-failed", guard: "and when the attempt has failed (5)", law: "law 6",
		file: "source.go",
		old:  "	s.src = nil\n	wipe(m.static)\n",
		new:  "	s.src = nil\n",
	}, {
		name: "node-keys-kept", guard: "a router that has the session no more forgets the node's keys (8.5)", law: "law 6",
		file: "ending.go",
		old:  "	s.wipeNode()\n	s.used = usedToken{}\n",
		new:  "	s.used = usedToken{}\n",
	},
}
