package main

// tokenGuards are those that make a node's token count once, for what it says.
var tokenGuards = []mutant{
	{
		name: "token-not-checked-ctreq", guard: "the source verifies the token of a CT-Req (8.3)", law: "law 5",
		file: "request.go",
		old:  "		key, st := s.authenticateNew(shown)\n		if st != StatusOK {\n",
		new:  "		key, st := s.authenticateNew(shown)\n		if false {\n			_ = st\n",
	}, {
		name: "token-not-checked-under-way", guard: "and of one that meets a stage under way (8.3)", law: "law 5",
		file: "request.go",
		old:  "		key, st := s.authenticate(shown)\n		if st != StatusOK {\n",
		new:  "		key, st := s.authenticate(shown)\n		if false {\n			_ = st\n",
	}, {
		name: "token-for-another-target", guard: "and comes from the target of that stage (8.3)", law: "law 5",
		file: "request.go",
		old:  "	case s.state >= stateAllocating && s.state <= stateStaged && s.src.to == peer.ID:\n",
		new:  "	case s.state >= stateAllocating && s.state <= stateStaged:\n",
	}, {
		name: "token-not-checked-at-par", guard: "the pAR verifies the token of a CTAR (8.3)", law: "law 5",
		file: "request.go",
		old:  "token: m.Token, requests: m.Requests})\n	if st != StatusOK {\n		s.denyNode(at, st)\n		return\n	}\n	s.used, s.asker",
		new:  "token: m.Token, requests: m.Requests})\n	_ = st\n	s.used, s.asker",
	}, {
		name: "token-not-checked-at-nar", guard: "the nAR verifies the token of a CTAR for what is staged there (8.3)", law: "law 5",
		file: "request.go",
		old:  "	if st != StatusOK {\n		return st\n	}\n	s.dropKeys(key.Number)\n",
		new:  "	_ = st\n	s.dropKeys(key.Number)\n",
	}, {
		name: "source-believed", guard: "the source's word that a token was verified counts for a request of the target's own (8.3)", law: "law 5",
		file: "target.go",
		old:  "	case q == nil || q.token == (Token{}):\n",
		new:  "	case o.control.TokenProved && q == nil:\n		t.proved = true\n	case q == nil || q.token == (Token{}):\n",
	}, {
		name: "null-token-fetches", guard: "a CTAR with a null token asks for nothing (8.3)", law: "law 5",
		file: "router_messages.go",
		old:  "	if m.Token.IsZero() {\n",
		new:  "	if false {\n",
	}, {
		name: "null-token-repeats", guard: "the null token repeats nothing (8.3)",
		why:  "a CTAR with a null token is dropped before (null-token-fetches)",
		file: "session.go",
		old:  "	return u.valid && u.sequence == sequence && u.token == t\n",
		new:  "	return u.sequence == sequence && u.token == t\n",
	}, {
		name: "key-not-dropped-at-nar", guard: "the target drops a token key that it has verified with (5.1)", law: "law 6",
		file: "request.go",
		old:  "	s.dropKeys(key.Number)\n	s.tgt.proved = true\n",
		new:  "	_ = key\n	s.tgt.proved = true\n",
	}, {
		name: "key-not-dropped-by-final", guard: "the final's T drops the key that the source has verified with (5.1)", law: "law 6",
		file: "target.go",
		old:  "			s.dropKeys(max(t.key, c.Serial))\n",
		new:  "",
	}, {
		name: "used-key-goes-along", guard: "a token key that the source has verified with stays behind (5.1)", law: "law 6",
		file: "node_keys.go",
		old:  "		if !s.src.proved || t.Number > s.src.key.Number {\n",
		new:  "		if true {\n",
	}, {
		name: "skipped-keys-kept", guard: "the keys that a node has skipped are dropped with the one it used (5.1)", law: "law 6",
		file: "node_keys.go",
		old:  "		if t.Number > number {\n",
		new:  "		if t.Number != number {\n",
	}, {
		name: "key-serves-another-router", guard: "the key of a request that failed serves no other router (5.1)", law: "law 5",
		file: "retry.go",
		old:  "(p.to != to || p.sequence != sequence || !now.Before(p.until))",
		new:  "(p.sequence != sequence || !now.Before(p.until))",
	}, {
		name: "key-serves-another-request", guard: "nor another request (5.1)",
		why:  "the token of another request needs the key, which only the node and its gateways have",
		file: "retry.go",
		old:  "(p.to != to || p.sequence != sequence || !now.Before(p.until))",
		new:  "(p.to != to || !now.Before(p.until))",
	}, {
		name: "key-serves-for-ever", guard: "nor the same one for ever (5.1)",
		why:  "an owner drops the key when its time is over, and any other state has a later answer",
		file: "retry.go",
		old:  "(p.to != to || p.sequence != sequence || !now.Before(p.until))",
		new:  "(p.to != to || p.sequence != sequence)",
	}, {
		name: "weak-token-of-a-strong-node", guard: "a node that makes strong tokens is not taken at a weak one", law: "law 5",
		file: "node_keys.go",
		old:  "	case !s.ofItsKind(p.requests), s.plain && !p.atNAR: // see arrived\n	case s.node.strong():\n",
		new:  "	case s.plain && !p.atNAR:\n	case s.ofItsKind(p.requests) && s.node.strong():\n",
	}, {
		name: "strong-token-for-any-router", guard: "a strong token counts between the routers that it names", law: "law 5",
		file: "node_keys.go",
		old:  " || !slices.Contains(s.cfg.Addrs, here) || !slices.Contains(p.peer.Addrs, there) {\n",
		new:  " {\n		_, _ = here, there\n",
	}, {
		name: "strong-token-in-any-role", guard: "a strong token to leave is not one to arrive", law: "law 5",
		file: "node_keys.go",
		old:  "	if !ok || t.Role != p.role || ",
		new:  "	if !ok || ",
	}, {
		name: "strong-token-not-verified", guard: "a strong token is verified", law: "law 5",
		file: "node_keys.go",
		old:  "	if !t.Verify(s.node.Tokens[i].Key, Signed{s.id, s.addr, p.sequence, p.requests}) {\n",
		new:  "	if false {\n",
	}, {
		name: "keys-renewed-under-way", guard: "a node's next keys wait while another router may have been given the present ones", law: "progress",
		file: "node_keys.go",
		old:  "	return s.src == nil && (s.pledge == nil || !s.now.Before(s.pledge.until))\n",
		new:  "	return true\n",
	}, {
		name: "strong-token-not-the-header", guard: "a strong token's first octets are the CTAR's token", law: "law 5",
		file: "node_keys.go",
		old:  " || t.Token() != p.token || ",
		new:  " || ",
	},
}
