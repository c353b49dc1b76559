package live

import (
	"bytes"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// tokenChecks show tokens that are not right to a router that has the contexts.
// Nothing is transferred, by a CTAR at the pAR or by a CT-Req.
var tokenChecks = []check{
	{
		name: "token-of-another-key", rows: []string{"6.3-2", "6.3-1", "2.1.1-4", "2.5.1-14"},
		expect: "a token that was made with another key transfers nothing",
		run: func(t *trial) {
			t.forged(func(n *node, sequence uint32, requests []cxtp.CDB) (cxtp.Token, error) {
				return cxtp.ComputeToken(secret.New(bytes.Repeat([]byte{9}, 20)), n.previous, sequence, requests)
			})
		},
	}, {
		name: "token-of-another-sequence", rows: []string{"6.3-2", "2.5.1-14"},
		expect: "a token that was made for another sequence number transfers nothing",
		run: func(t *trial) {
			t.forged(func(n *node, sequence uint32, requests []cxtp.CDB) (cxtp.Token, error) {
				return cxtp.ComputeToken(n.keys[0], n.previous, sequence+1, requests)
			})
		},
	}, {
		name: "token-of-another-address", rows: []string{"6.3-2", "2.5.1-14"},
		expect: "a token that was made for another previous address transfers nothing",
		run: func(t *trial) {
			t.forged(func(n *node, sequence uint32, requests []cxtp.CDB) (cxtp.Token, error) {
				return cxtp.ComputeToken(n.keys[0], n.previous.Next(), sequence, requests)
			})
		},
	}, {
		name: "token-of-other-requests", rows: []string{"6.3-2", "2.5.1-14"},
		expect: "a token that was made for other request blocks transfers nothing",
		run: func(t *trial) {
			t.forged(func(n *node, sequence uint32, _ []cxtp.CDB) (cxtp.Token, error) {
				return cxtp.ComputeToken(n.keys[0], n.previous, sequence, nil)
			})
		},
	}, {
		name: "token-cut-from-the-end", rows: []string{"2.5.1-14", "6.3-2"},
		expect: "a token that differs from the right one in its last bit transfers nothing",
		run: func(t *trial) {
			t.forged(func(n *node, sequence uint32, requests []cxtp.CDB) (cxtp.Token, error) {
				token, err := cxtp.ComputeToken(n.keys[0], n.previous, sequence, requests)
				token[3] ^= 1
				return token, err
			})
		},
	}, {
		name: "null-token-of-a-node", rows: []string{"6.3-2", "2.1.1-1"},
		expect: "a CTAR with a token of zero transfers nothing",
		run: func(t *trial) {
			n := t.bystander()
			t.connected()
			t.send(&cxtp.CTAR{Previous: n.previous, Router: t.here(n.previous), Sequence: t.sequence()})
			t.noTransfer(n)
		},
	}, {
		name: "ctreq-about-a-stranger", rows: []string{"2.1.2-1"},
		expect: "a CT-Req about a node of which the router has nothing gets no contexts, and does the router no harm",
		run: func(t *trial) {
			n, known := &node{previous: t.stranger(true), keys: []secret.Key{freshKey()}}, t.bystander()
			n.contexts = known.contexts
			t.send(t.ctreq(n))
			t.noTransfer(n)
			t.stillThere()
		},
	},
}

// forged shows a wrong token in a CTAR at the pAR and in a CT-Req, each with a
// request block for all that the node has.
func (t *trial) forged(forge func(n *node, sequence uint32, requests []cxtp.CDB) (cxtp.Token, error)) {
	n := t.bystander()
	var requests []cxtp.CDB
	for _, fpt := range n.contexts {
		requests = append(requests, cxtp.CDB{FPT: fpt})
	}
	t.connected()
	if t.nodes != nil {
		away := t.ctar(n, false, requests...)
		t.must(forgeInto(&away.Token, forge, n, away.Sequence, requests))
		t.send(away)
		t.noTransfer(n)
	}
	q := t.ctreq(n, requests...)
	t.must(forgeInto(&q.Token, forge, n, q.Sequence, requests))
	t.send(q)
	t.noTransfer(n)
}

func forgeInto(token *cxtp.Token, forge func(*node, uint32, []cxtp.CDB) (cxtp.Token, error), n *node, sequence uint32, requests []cxtp.CDB) (err error) {
	*token, err = forge(n, sequence, requests)
	return err
}
