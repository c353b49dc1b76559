package main

// requestMutants treat a CTAR of an unknown node in another way, or a message that is
// not theirs.
var requestMutants = []mutant{
	{
		name: "no-ct-req", rows: []string{"2-2", "5.3-1"},
		file: "cxtp/router_requests.go",
		old:  "	r.requestTimers.set(previous, earlier(q.repeatAt, q.deadline))\n	r.sendRequest(previous, q)\n}\n\nfunc (r *Router) sendRequest",
		new:  "	r.requestTimers.set(previous, q.deadline)\n}\n\nfunc (r *Router) sendRequest",
	}, {
		name: "ct-req-about-another-node", rows: []string{"2.5-1"},
		file: "cxtp/router_requests.go",
		old:  "Message: &CTReq{Previous: previous, Sequence", new: "Message: &CTReq{Previous: previous.Next(), Sequence",
	}, {
		name: "ct-req-with-another-sequence", rows: []string{"2.5.6-7"},
		file: "cxtp/router_requests.go",
		old:  "Sequence: q.sequence, Token: q.token, Requests: q.requests}})", new: "Sequence: q.sequence + 1, Token: q.token, Requests: q.requests}})",
	}, {
		name: "ct-req-without-the-token", rows: []string{"2.5.6-8"},
		file: "cxtp/router_requests.go",
		old:  "Sequence: q.sequence, Token: q.token, Requests: q.requests}})", new: "Sequence: q.sequence, Requests: q.requests}})",
	}, {
		name: "ct-req-without-the-requests", rows: []string{"2.5.6-9"},
		file: "cxtp/router_requests.go",
		old:  "Sequence: q.sequence, Token: q.token, Requests: q.requests}})", new: "Sequence: q.sequence, Token: q.token}})",
	}, {
		name: "second-request-not-ignored", rows: []string{"6.3-9", "2.5-2", "3.2-21"},
		file: "cxtp/router_requests.go",
		old:  "	case old != nil:\n		r.drop(DropBusy)\n", new: "",
	}, {
		name: "ctaa-unasked", rows: []string{"2.5.2-7"},
		file: "cxtp/router_requests.go",
		old:  "	if q.asker.wants {\n", new: "	if q.asker.at.IsValid() {\n",
	}, {
		name: "no-ctaa", rows: []string{"2.5.2-7"},
		file: "cxtp/router_requests.go",
		old:  "	if q.asker.wants {\n", new: "	if false {\n",
	}, {
		name: "unlimited-requests", rows: []string{"6.3-12"},
		file: "cxtp/limits.go",
		old:  "	if t.passed >= 2*limit {\n", new: "	if limit > 0 {\n		return true\n	}\n	if t.passed >= 2*limit {\n",
	}, {
		name: "latest-requests-dropped", rows: []string{"6.3-13"},
		file: "cxtp/limits.go",
		old:  "	if t.passed >= 2*limit {\n", new: "	if t.passed >= limit {\n",
	}, {
		name: "contexts-from-a-node", rows: []string{"2.5.3-12"},
		file: "cxtp/router_messages.go",
		old:  "	case *UpdateAck:\n		s := r.sessions[m.Session]\n",
		new:  "	case *CTD:\n		r.data(&r.cfg.Peers[0], m)\n	case *CTReq:\n		r.requestFrom(&r.cfg.Peers[0], m)\n	case *UpdateAck:\n		s := r.sessions[m.Session]\n",
	}, {
		name: "stranger-trusted", rows: []string{"2.5.3-12"},
		file: "transport/handshake.go",
		old:  "dtls.WithVerifyPeerCertificate(func(_ [][]byte, chains [][]*x509.Certificate) error {\n			if len(chains) == 0 {\n				return errUnverified\n			}\n			return identify(chains[0][0])\n",
		new:  "dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {\n			leaf, err := x509.ParseCertificate(raw[0])\n			if err != nil {\n				return errUnverified\n			}\n			return identify(leaf)\n",
		more: anyClient, only: "stranger-is-refused",
	}, {
		name: "ctar-from-a-router", rows: []string{"3.1-6"},
		file: "cxtp/router_messages.go",
		old:  "	case *CTDR:\n		// It informs",
		new:  "	case *CTAR:\n		r.activateRequest(asker{}, m)\n	case *CTDR:\n		// It informs",
	}, {
		name: "large-messages-dropped", rows: []string{"3.1-4"},
		file: "internal/daemon/daemon.go",
		old:  "func (d *daemon) fromRouter(peer string, msg []byte) {\n",
		new:  "func (d *daemon) fromRouter(peer string, msg []byte) {\n	if len(msg) > 8192 {\n		return\n	}\n",
	},
}
