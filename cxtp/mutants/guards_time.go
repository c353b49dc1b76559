package main

// timeGuards are the deadlines, without which something waits for ever for a
// message that was lost or a router that is dead.
var timeGuards = []mutant{
	{
		name: "no-freeze-deadline", guard: "a frozen session ends (8.4)", law: "law 2",
		file: "source.go",
		old:  "	s.rest(stateFrozen, s.cfg.Timers.FreezeDeadline)\n",
		new:  "	s.rest(stateFrozen, 0)\n",
	}, {
		name: "no-lease-deadline", guard: "so does one that has stopped for its lease (8.4)", law: "law 2",
		file: "standby.go",
		old:  "	s.rest(stateYielded, s.cfg.Timers.FreezeDeadline)\n",
		new:  "	s.rest(stateYielded, 0)\n",
	}, {
		name: "no-retraction-deadline", guard: "and one that waits stopped for its copy (8.4)", law: "law 2",
		file: "session.go",
		old:  "	case stateRetracting:\n		s.retractLate()\n",
		new:  "",
	}, {
		name: "no-transfer-deadline", guard: "a stage that nobody confirms is given up (8.1)", law: "progress",
		file: "source.go",
		old:  "	s.rest(stateStaging, s.cfg.Timers.MaxTransfer)\n",
		new:  "	s.rest(stateStaging, 0)\n",
	}, {
		name: "no-hold-deadline-at-source", guard: "a stage that is not used is given up by the source (8.2)", law: "progress",
		file: "standby.go",
		old:  "		s.rest(stateStaged, s.cfg.Timers.StageHold)\n",
		new:  "		s.rest(stateStaged, 0)\n",
	}, {
		name: "no-hold-deadline-at-target", guard: "and by the target (8.2)", law: "progress",
		file: "standby_copy.go",
		old:  "	case !t.mayTakeOver():\n		return s.cfg.Timers.StageHold\n",
		new:  "	case !t.mayTakeOver():\n		return 0\n",
	}, {
		name: "no-standby-deadline", guard: "a copy that nobody renews is given up in the end (8.2)", law: "progress",
		file: "standby_copy.go",
		old:  "	case t.lease == 0:\n		return s.cfg.Timers.StandbyHold\n",
		new:  "	case t.lease == 0:\n		return 0\n",
	}, {
		name: "no-steer-deadline", guard: "the source closes without word that traffic has moved (8.5)", law: "law 2",
		file: "source.go",
		old:  "	s.rest(stateDraining, s.cfg.Timers.SteerDeadline)\n",
		new:  "	s.rest(stateDraining, 0)\n",
	}, {
		name: "no-close-deadline", guard: "\"closed\" is not repeated for ever (8.5)", law: "progress",
		file: "source.go",
		old:  "		s.rest(stateMoved, s.cfg.Timers.CloseGiveUp)\n",
		new:  "		s.rest(stateMoved, 0)\n",
	}, {
		name: "request-unanswered", guard: "who asked is told that nobody has answered (8.1)", law: "progress",
		file: "router_requests.go",
		old:  "		r.requestFailed(previous, q, control(StatusExpired), \"no answer from \"+string(q.to))\n",
		new:  "",
	}, {
		name: "stage-not-repeated", guard: "a stage is repeated until it is confirmed (8.1)",
		why:  "the attempt is given up and tried again: the repetition saves time",
		file: "session.go",
		old:  "	case stateStaging:\n		s.sendStage()\n",
		new:  "",
	}, {
		name: "final-not-repeated", guard: "a final is repeated until it is answered (8.1)",
		why:  "the session ends at the freeze deadline, with a record: no law is broken, and nobody served",
		file: "session.go",
		old:  "	case stateFrozen:\n		s.sendFinal()\n	case stateDraining:\n",
		new:  "	case stateDraining:\n",
	}, {
		name: "closed-not-repeated", guard: "\"closed\" is repeated until it is confirmed (8.5)",
		why:  "the target repeats \"active\", which is answered from the record",
		file: "session.go",
		old:  "	case stateMoved:\n		s.sendClosed()\n",
		new:  "",
	},
}
