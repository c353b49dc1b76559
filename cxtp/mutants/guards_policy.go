package main

// policyGuards are those of law 5 that ask nobody but the configuration.
var policyGuards = []mutant{
	{
		name: "push-not-checked", guard: "a peer that may not push stages only what was asked for (8.2)", law: "law 5",
		file: "router_messages.go",
		old:  "	case !peer.Push && !requested:\n",
		new:  "	case false:\n",
	}, {
		name: "request-to-another", guard: "a stage answers a request to the peer that sends it (8.2)", law: "law 5",
		file: "router_messages.go",
		old:  "(q.to != peer.ID || !o.plain && !q.means(c.Session) || c.Standby)",
		new:  "(!o.plain && !q.means(c.Session) || c.Standby)",
	}, {
		name: "policy-activates-all", guard: "without a token a session becomes active only where the policy says so (8.3)", law: "law 5",
		file: "target.go",
		old:  "		allowed: o.peer.ActivateWithoutToken,",
		new:  "		allowed: true,",
	}, {
		name: "stage-only-moves", guard: "what was fetched to be staged stays staged (8.3)",
		why:  "the source's standing order and the policy for it allow the move: it is the operator's wish alone that this keeps",
		file: "target.go",
		old:  "		t.allowed = t.allowed && !q.stageOnly\n",
		new:  "",
	}, {
		name: "identities-not-checked", guard: "a peer stages nodes of the identities that it may (8.2)", law: "law 5",
		file: "config.go",
		old:  "	if len(p.Identities) > 0 && !slices.Contains(p.Identities, claims.Identity) {\n		return false\n	}\n",
		new:  "",
	}, {
		name: "inner-not-checked", guard: "a peer stages inner addresses that it may (8.2)", law: "law 5",
		file: "config.go",
		old:  "		if !withinAny(inner, p.Inner) {\n			return false\n		}\n",
		new:  "		_ = inner\n",
	}, {
		name: "overlap-not-checked", guard: "inner addresses never overlap another session's (8.2)", law: "law 5",
		file: "target.go",
		old:  "	case o.clash(claims):\n",
		new:  "	case false:\n",
	}, {
		name: "too-many-sessions", guard: "a peer has no more sessions here than it may (8.2)", law: "law 5",
		file: "router.go",
		old:  "return r.holdings.from[p.ID] >= p.MaxSessions",
		new:  "return false",
	}, {
		name: "target-not-checked", guard: "a stage names the router that it is for (2)", law: "law 5",
		file: "router_messages.go",
		old:  "	case c.Target != cfg.Self:\n		return StatusNotAuthorised, \"meant for the router \" + string(c.Target)\n",
		new:  "",
	}, {
		name: "mode-not-checked", guard: "both gateways move in the same mode (8.2)", law: "law 4",
		file: "router_messages.go",
		old:  "	case c.Mode != cfg.Mode:\n",
		new:  "	case false:\n",
	}, {
		name: "standby-needs-no-policy", guard: "a standby's copy is taken where the policy wants no token (8.2)", law: "law 5",
		file: "router_messages.go",
		old:  "	case c.Standby && !peer.ActivateWithoutToken:\n",
		new:  "	case false:\n",
	}, {
		name: "pull-not-checked", guard: "a null token gets nothing unless the policy says so (8.3)", law: "law 5",
		file: "request.go",
		old:  "	case peer.Pull == PullOff:\n",
		new:  "	case false:\n",
	}, {
		name: "pull-always-moves", guard: "a null token stages at most, unless the policy is a standing order (8.3)", law: "law 5",
		file: "request.go",
		old:  "ordered: peer.Pull == PullMove,",
		new:  "ordered: true,",
	}, {
		name: "pull-taken-again", guard: "a request with a null token is taken once (8.3)", law: "law 5",
		file: "request.go",
		old:  "	case s.free(peer.ID) && !s.pulledBefore(peer.ID, q.Sequence):\n",
		new:  "	case s.free(peer.ID):\n",
	},
}
