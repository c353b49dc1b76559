package live

import (
	"github.com/cxtp/cxtp/cxtp"
)

// keyChecks are about keys that have made a right token, and requests that come
// again.
var keyChecks = []check{
	{
		name: "ctar-repeated-at-the-par", rows: []string{"3.2-21", "6.3-10"},
		expect: "the repetition of a CTAR begins no second transfer, also when the first has come to nothing",
		run: func(t *trial) {
			n := t.take(1, true)
			m := t.ctar(n, false)
			t.predicted(n, m)
			t.over(n)
			t.send(m)
			t.noTransfer(n)
		},
	}, {
		name: "key-once", rows: []string{"6.3-11"},
		expect: "a key that has made a token once makes none that is right for another request",
		run: func(t *trial) {
			n := t.take(1, true)
			t.predicted(n, t.ctar(n, false))
			t.over(n)
			t.send(t.ctar(n, false))
			t.noTransfer(n)
			t.send(t.ctreq(n))
			t.noTransfer(n)
		},
	}, {
		name: "gone-when-transferred", rows: []string{"6.3-8", "6.3-10"},
		expect: "when a CT-Req's transfer is complete the pAR has neither contexts nor key: the same CT-Req, and another with the node's keys, get nothing",
		run: func(t *trial) {
			n := t.take(1, true)
			q := t.ctreq(n)
			t.send(q)
			data, _ := t.transfer(n)
			t.style.accept(t, n, data, nil)
			t.drained(n)
			t.send(q)
			t.noTransfer(n)
			t.nothingForAnyKey(n)
		},
	}, {
		name: "gone-when-predicted", rows: []string{"6.3-7", "6.3-10"},
		expect: "when a predictive transfer is complete the pAR has neither contexts nor key: the same CTAR, and requests with the node's keys, get nothing",
		run: func(t *trial) {
			n := t.take(1, true)
			m := t.ctar(n, false)
			data, _ := t.predicted(n, m)
			t.style.accept(t, n, data, t.proof(m))
			t.drained(n)
			t.send(m)
			t.noTransfer(n)
			t.nothingForAnyKey(n)
		},
	}, {
		name: "one-transfer-at-a-time", rows: []string{"6.3-9", "2.5-2"},
		expect: "another CTAR of a node whose transfer is unanswered is ignored: it gets no CTAA, and no contexts with its own key",
		run: func(t *trial) {
			n := t.take(2, true)
			t.predicted(n, t.ctar(n, false))
			other := &node{previous: n.previous, keys: n.keys[1:], contexts: n.contexts}
			m := t.ctar(other, true)
			t.send(m)
			t.never("an answer to the second CTAR", func(a *arrival) bool {
				if is[cxtp.CTAA](n.previous)(a) {
					return true
				}
				data, ok := a.message.(*cxtp.CTD)
				return ok && transfers(n)(a) && data.Predictive && cxtp.VerifyToken(data.Key, m.Previous, m.Sequence, m.Requests, m.Token)
			})
		},
	}, {
		name: "ctar-from-a-router", rows: []string{"3.1-6"},
		expect: "a CTAR over the association of routers has no effect",
		run: func(t *trial) {
			n := t.take(1, true)
			t.toRouter(t.encoded(t.ctar(n, false)))
			t.noTransfer(n)
		},
	}, {
		name: "ctreq-from-a-node", rows: []string{"2.5.3-12", "6.2-3"},
		expect: "a CT-Req that does not come over the protected association of routers gets no contexts, anywhere",
		run: func(t *trial) {
			n := t.take(1, true)
			t.connected()
			t.toNodeSide(t.encoded(t.ctreq(n)))
			t.noTransfer(n)
		},
	},
}

// over waits until a transfer that the prober does not answer has come to nothing.
func (t *trial) over(n *node) {
	t.pause(t.maxTransfer())
	t.drained(n)
}

// drained passes over what is still on its way of a transfer.
func (t *trial) drained(n *node) {
	for t.within(t.quiet()/2, transfers(n)) != nil {
	}
}

// nothingForAnyKey shows that no key of the node is good for anything, nor another
// sequence number.
func (t *trial) nothingForAnyKey(n *node) {
	for i := range n.keys {
		t.send(t.ctreq(&node{previous: n.previous, keys: n.keys[i:]}))
	}
	t.noTransfer(n)
}
