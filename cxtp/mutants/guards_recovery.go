package main

// recoveryGuards are those of restarts, and of the operator's word.
var recoveryGuards = []mutant{
	{
		name: "lost-said-as-refused", guard: "a promise whose SAs are gone is lost, and not refused (8.7)", law: "law 1",
		file: "restore.go",
		old:  "			if after.Kind == RecordLost {\n				s.remember(rec.Epoch, OutcomeLost)\n			}\n",
		new:  "			if after.Kind == RecordLost {\n				s.remember(rec.Epoch, OutcomeRefused)\n			}\n",
	}, {
		name: "epochs-forgotten", guard: "the highest epoch of all records stays the highest (8.7)", law: "law 1",
		file: "restore.go",
		old:  "		s.epoch = max(s.epoch, rec.Epoch)\n",
		new:  "",
	}, {
		name: "active-taken-for-staged", guard: "after a restart only the mark says that nothing was sent (8.7)", law: "law 2",
		file: "restore.go",
		old:  "	case s.tgt != nil && held == HeldStaged:\n",
		new:  "	case s.tgt != nil && held <= HeldActive:\n",
	}, {
		name: "staged-taken-for-active", guard: "what was staged before a restart is not active after it (8.7)", law: "progress",
		file: "restore.go",
		old:  "	case s.tgt != nil && held == HeldStaged:\n",
		new:  "	case s.tgt != nil && held == HeldNothing:\n",
	}, {
		name: "grant-forgotten", guard: "a source that had granted goes on with the move after a restart (8.7)", law: "law 2",
		file: "restore.go",
		old:  "	case RecordGranted:\n		s.src =",
		new:  "	case RecordGranted:\n		return\n		s.src =",
	}, {
		name: "grant-undone", guard: "and does not thaw (8.7)", law: "law 2",
		file: "restore.go",
		old:  "		s.do(stateFreezing, Do{Verb: VerbFreeze, Epoch: s.src.epoch, Peer: s.src.to})\n",
		new:  "		s.act(Do{Op: s.op(), Verb: VerbThaw, Session: s.id, Epoch: s.src.epoch, Mode: s.cfg.Mode})\n		s.fail(EventThawed, nil, \"\")\n",
	}, {
		name: "loss-not-recorded", guard: "an owner whose SAs are gone records the end (8.7)", law: "law 2",
		file: "restore.go",
		old:  "	case RecordOwned, RecordAllocated, RecordThawed, RecordActive, RecordClosed, RecordGranted:\n		next.Kind,",
		new:  "	case RecordLost:\n		next.Kind,",
	}, {
		name: "left-over-SAs-kept", guard: "SAs of a session that is over are released after a restart (8.7)", law: "progress",
		file: "restore.go",
		old:  "	default: // over, and the SAs are left over\n		s.held = HeldNothing\n",
		new:  "	default:\n",
	}, {
		name: "left-over-ceiling", guard: "an owner lifts after a restart what an attempt has left (8.7)", law: "progress",
		file: "restore.go",
		old:  "	case s.src == nil:\n		s.limit(nil)\n",
		new:  "	case s.src == nil:\n",
	}, {
		name: "copy-forgotten", guard: "an owner asks a standby's copy back after a restart (8.7)", law: "law 2",
		file: "restore.go",
		old:  "		if last.Standby {\n",
		new:  "		if false {\n",
	}, {
		name: "lease-forgotten", guard: "and stops until it has, where there is a lease (8.7)", law: "law 2",
		file: "restore.go",
		old:  "	case s.src.standby && (s.cfg.Timers.Lease > 0 || held == HeldFrozen):\n",
		new:  "	case s.src.standby && held == HeldFrozen:\n",
	}, {
		name: "frozen-by-a-lease-forgotten", guard: "an owner that had stopped thaws when the copy is gone (8.7)", law: "progress",
		file: "restore.go",
		old:  "	case s.src.standby && (s.cfg.Timers.Lease > 0 || held == HeldFrozen):\n",
		new:  "	case s.src.standby && s.cfg.Timers.Lease > 0:\n",
	}, {
		name: "thaw-forgotten", guard: "a thaw that a restart cut off is done again, above its floors (8.7)", law: "law 2",
		file: "restore.go",
		old:  "	case RecordThawed:\n		s.src =",
		new:  "	case RecordThawed:\n		return\n		s.src =",
	}, {
		name: "fence-of-another", guard: "the operator's word counts for the router that the session waits for", law: "law 2",
		file: "resolve.go",
		old:  "	case s.src != nil && s.src.to == r.Fenced && s.resolveAway(r):\n",
		new:  "	case s.src != nil && s.resolveAway(r):\n",
	}, {
		name: "fence-of-another-source", guard: "and at the target for its source", law: "law 2",
		file: "resolve.go",
		old:  "	case s.tgt != nil && s.tgt.from == r.Fenced && s.resolveHere(r):\n",
		new:  "	case s.tgt != nil && s.resolveHere(r):\n",
	}, {
		name: "thaw-without-floors", guard: "who goes on without exact counters starts above the ceilings (8.2)", law: "law 1",
		file: "resolve.go",
		old:  "	s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch, Manifest: s.src.highest()})\n",
		new:  "	s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch})\n",
	}, {
		name: "fenced-after-its-lease", guard: "a standby that may have taken over had no ceiling: the session ends", law: "law 1",
		file: "resolve.go",
		old:  "	case m.leaseRanOut:\n",
		new:  "	case false:\n",
	}, {
		name: "fenced-target-was-active", guard: "a session whose target has become active ends with it", law: "progress",
		file: "resolve.go",
		old:  "		s.finish(\"the target became active, and is fenced now\")\n",
		new:  "		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: m.epoch})\n",
	}, {
		name: "fenced-source-staged", guard: "what was only staged is no session when the source is fenced", law: "law 2",
		file: "resolve.go",
		old:  "	case s.state == stateHeld && t.mayTakeOver():\n",
		new:  "	case s.state == stateHeld:\n",
	},
}
