package main

// standbyGuards are those of a copy that is kept fresh and may take over.
var standbyGuards = []mutant{
	{
		name: "ceiling-raised-before-acknowledged", guard: "the owner passes a ceiling when the standby has it (8.2)", law: "law 1",
		file: "standby.go",
		old:  "	s.sendPhase(PhaseRenew, blocks, s.now.Add(s.cfg.Timers.RequestWait))\n",
		new:  "	s.limit(ceilings)\n	s.sendPhase(PhaseRenew, blocks, s.now.Add(s.cfg.Timers.RequestWait))\n",
	}, {
		name: "standby-ceiling-not-durable", guard: "a standby's ceilings are durable before it acknowledges them (8.2)",
		why:  "a standby that restarts refuses its copy or has lost it, so it never takes over with ceilings from its journal: they are there for people",
		file: "standby_copy.go",
		old:  "	s.persist(stateRenewed, s.promise())\n",
		new:  "	s.note(s.promise())\n	s.heldAgain()\n",
	}, {
		name: "takeover-unrenewed", guard: "a copy that was never renewed does not take over (8.2)", law: "law 2",
		file: "standby_copy.go",
		old:  "return t.standby && t.serial > 0 }",
		new:  "return t.standby }",
	}, {
		name: "takeover-of-any-copy", guard: "only a standby's copy takes over (8.2)", law: "law 2",
		file: "standby_copy.go",
		old:  "return t.standby && t.serial > 0 }",
		new:  "return t.standby && t.serial > 0 || t.allowed }",
	}, {
		name: "takeover-in-silence", guard: "a standby without a lease waits for the operator's word, whatever it hears (8.2)", law: "law 2",
		file: "session.go",
		old:  "		if s.tgt.mayTakeOver() && s.tgt.lease > 0 {\n",
		new:  "		if s.tgt.mayTakeOver() {\n",
	}, {
		name: "takeover-not-durable", guard: "\"active\" is durable before a standby takes over (8.2)", law: "law 1",
		file: "standby_copy.go",
		old:  "	s.persist(stateTakingOver, Record{Kind: RecordActive, Epoch: t.epoch, Peer: t.from, Why: why})\n",
		new:  "	s.note(Record{Kind: RecordActive, Epoch: t.epoch, Peer: t.from, Why: why})\n	s.do(stateStarting, Do{Verb: VerbTakeOver, Epoch: t.epoch})\n",
	}, {
		name: "standby-waits-too-short", guard: "a standby waits out the owner's lease (8.2)", law: "law 2",
		file: "standby_copy.go",
		old:  "	return max(t.heard.Add(t.lease+t.lease/8).Sub(s.now), 1)\n",
		new:  "	return max(t.heard.Add(t.lease/2).Sub(s.now), 1)\n",
	}, {
		name: "lease-not-kept", guard: "an owner whose lease has run out stops (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	case stateStaged:\n		s.yield()\n	case stateRetracting:\n		s.dropNext()\n",
		new:  "	case stateRetracting:\n		s.dropNext()\n",
	}, {
		name: "lease-not-kept-retracting", guard: "also while it asks the copy back (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	case stateRetracting:\n		s.dropNext()\n		s.yield()\n",
		new:  "",
	}, {
		name: "lease-not-kept-granting", guard: "also while a grant to it becomes durable (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	case stateGranting, stateThawing:\n",
		new:  "	case stateThawing:\n",
	}, {
		name: "lease-not-kept-thawing", guard: "also while it thaws (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	case stateGranting, stateThawing:\n",
		new:  "	case stateGranting:\n",
	}, {
		name: "lease-from-acknowledgement", guard: "the lease counts from the sending of what was acknowledged (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	s.extendLease(r.sent)\n",
		new:  "	s.extendLease(s.now)\n",
	}, {
		name: "lease-from-the-latest", guard: "and not from the sending of a later one (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	s.extendLease(r.sent)\n",
		new:  "	s.extendLease(m.sent.last().sent)\n",
	}, {
		name: "no-lease-before-acknowledged", guard: "the lease begins with the first renewal, acknowledged or not (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	if serial == 1 {\n		s.extendLease(s.now)\n	}\n",
		new:  "",
	}, {
		name: "old-acknowledgement-thaws", guard: "an owner that has stopped goes on when a renewal is acknowledged that its lease has not outlived (8.2)", law: "law 2",
		file: "standby.go",
		old:  "s.state == stateYielded && known && r.sent.Add(s.cfg.Timers.Lease).After(s.now)",
		new:  "s.state == stateYielded && (known || o.Serial > 0) && r.sent.Before(s.now)",
	}, {
		name: "takeover-unheeded", guard: "an owner that hears of a takeover ends (8.2)",
		why:  "one that has stopped for its lease ends at its deadline all the same",
		file: "standby.go",
		old:  "	case OutcomeActive, OutcomeClosed, OutcomeMovedOn:\n		s.finish(\"taken over by the standby \" + string(m.to))\n",
		new:  "",
	}, {
		name: "copy-gone-on-unseen", guard: "\"unseen\" does not say that a copy is gone that was confirmed (8.2)", law: "law 2",
		file: "standby.go",
		old:  "		if m.incarnation == 0 && len(o.Statuses) > 0 {\n",
		new:  "		if len(o.Statuses) > 0 {\n",
	}, {
		name: "copy-not-asked-back", guard: "a standby's copy is asked back before a move elsewhere (8.2)", law: "law 2",
		file: "source.go",
		old:  "	if s.state == stateStaged { // at a standby: see free\n		s.src.next = m\n		s.retract()\n		return\n	}\n",
		new:  "",
	}, {
		name: "copy-not-asked-back-off", guard: "and when the operator wants it elsewhere (8.2)", law: "law 2",
		file: "standby.go",
		old:  "	case s.state == stateStaged && s.src.standby && s.src.to != c.To:\n		s.retract()\n",
		new:  "	case s.state == stateStaged && s.src.standby && s.src.to != c.To:\n		s.fail(EventStandby, nil, \"\")\n",
	}, {
		name: "ctc-ends-a-copy", guard: "a CTC does not end a standby's copy (8.1)", law: "law 2",
		file: "router_messages.go",
		old:  "	case s.state == stateStaged && s.src.standby:\n		s.retract() // it decides too little for a copy that could take over\n",
		new:  "",
	}, {
		name: "withdrawal-unanswered", guard: "a copy that is withdrawn before it comes is refused, for good (8.2)", law: "progress",
		file: "router_messages.go",
		old:  "	if c.Phase == PhaseWithdraw && c.Standby && (s == nil || s.state == stateNone && c.Epoch > s.epoch) {\n",
		new:  "	if false {\n",
	}, {
		name: "renewal-of-another-stage", guard: "a renewal is for what is staged, by its source (8.2)", law: "law 1",
		file: "standby_copy.go",
		old:  "	return t != nil && t.from == from && t.epoch == c.Epoch && t.digest == c.Digest && c.Incarnation == s.cfg.Incarnation\n",
		new:  "	return t != nil && c.Incarnation == s.cfg.Incarnation\n",
	}, {
		name: "renewal-to-another-journal", guard: "a renewal is for the journal that has promised (8.2)", law: "law 1",
		file: "standby_copy.go",
		old:  " && t.digest == c.Digest && c.Incarnation == s.cfg.Incarnation\n",
		new:  " && t.digest == c.Digest\n",
	}, {
		name: "old-renewal-taken", guard: "an old renewal does not undo a later one (8.2)", law: "law 1",
		file: "standby_copy.go",
		old:  "	case c.Serial <= t.serial:\n",
		new:  "	case c.Serial == t.serial:\n",
	},
}
