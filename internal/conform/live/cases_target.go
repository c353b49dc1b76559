package live

import (
	"bytes"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// targetChecks are about a router that is given contexts, the nAR. They are contexts
// that it has given to the prober before.
var targetChecks = []check{
	{
		name: "token-before-contexts-act", rows: []string{"2-1", "2.1.1-3", "6.3-2", "5.1-1"},
		expect: "contexts that came with a PCTD are used when the node shows a token that verifies with its key, and not for another one",
		run: func(t *trial) {
			h, key := t.offered(true)
			wrong := t.arrival(h, freshKey(), true)
			t.send(wrong)
			t.failedOrSilent(h)
			t.send(t.arrival(h, key, true))
			t.arrived(h)
		},
	}, {
		name: "contexts-are-installed", rows: []string{"2.1.2-3"},
		expect: "contexts that the router took are its own then: it gives them to a nAR that asks",
		run: func(t *trial) {
			if !t.subject.NullToken {
				t.skip("the router gives nothing for a token of zero (null_token)")
			}
			h, key := t.offered(true)
			t.send(t.arrival(h, key, true))
			t.arrived(h)
			t.drained(h.node)
			t.send(&cxtp.CTReq{Previous: h.node.previous, Sequence: t.sequence()})
			data, _ := t.transfer(h.node)
			t.check(len(data.Blocks) >= len(h.data), "it was given %d contexts, and has %d", len(h.data), len(data.Blocks))
		},
	}, {
		name: "key-discarded", rows: []string{"6.3-3", "6.3-11"},
		expect: "a nAR that has verified a token with the key of a PCTD takes no other token that was made with it",
		run: func(t *trial) {
			h, key := t.offered(true)
			t.send(t.arrival(h, key, true))
			t.arrived(h)
			t.send(t.arrival(h, key, true))
			t.failedOrSilent(h)
			t.send(t.ctreq(&node{previous: h.node.previous, keys: []secret.Key{key}}))
			t.noTransfer(h.node)
		},
	}, {
		name: "ctar-repeated-at-the-nar", rows: []string{"3.2-21"},
		expect: "the repetition of a CTAR that has brought the contexts begins nothing",
		run: func(t *trial) {
			h, key := t.offered(true)
			m := t.arrival(h, key, true)
			t.send(m)
			t.arrived(h)
			m.Ack = false
			t.send(m)
			t.never("a message to the pAR", func(a *arrival) bool {
				switch a.message.(type) {
				case *cxtp.CTReq, *cxtp.CTD:
					return about(a.message) == h.node.previous
				}
				return false
			})
		},
	}, {
		name: "pctd-acknowledged", rows: []string{"2.5.4-9", "2.5.4-3", "2.5.4-1", "2.5.4-2", "2.5.4-4", "2.5.4-7", "2.5.4-8"},
		expect: "a PCTD with A = 1 whose contexts are taken gets a CTDR with S = 1 and no status but zero",
		run: func(t *trial) {
			h, _ := t.offered(true)
			reply, a := expect[cxtp.CTDR](t, h.node.previous)
			t.check(a.side == fromRouter, "the CTDR came to the node")
			t.check(reply.Success, "S is 0: %v", reply.Statuses)
			t.check(!slices.ContainsFunc(reply.Statuses, failed), "S is 1, and a status is not zero: %v", reply.Statuses)
			t.canonical(a)
		},
	}, {
		name: "pctd-not-acknowledged", rows: []string{"2.5.4-9"},
		expect: "a PCTD with A = 0 whose contexts are taken gets no CTDR",
		run: func(t *trial) {
			h, _ := t.offered(false)
			refuse[cxtp.CTDR](t, h.node.previous)
		},
	}, {
		name: "unknown-context", rows: []string{"2.5.4-8", "2.5.4-3", "2.3-1", "2.5.4-4", "2.5.4-6"},
		expect: "a CTD with A = 1 and a context of a type that the router does not know gets a CTDR with S = 0 and a status for it that is not zero",
		run: func(t *trial) {
			m := t.unknownContext(false)
			t.send(m)
			t.refusedContext(m, unknownType)
		},
	}, {
		name: "unknown-context-unasked", rows: []string{"2.5.4-9"},
		expect: "the same CTD with A = 0 gets no CTDR",
		run: func(t *trial) {
			m := t.unknownContext(false)
			m.Ack = false
			t.send(m)
			refuse[cxtp.CTDR](t, m.Previous)
		},
	}, {
		name: "unknown-context-ipv6", rows: []string{"2.5.4-2", "2.5.3-3"},
		expect: "a CTD with an IPv6 address gets a CTDR with this address, of 16 octets and with V = 0",
		run: func(t *trial) {
			m := t.unknownContext(false)
			m.Previous = t.stranger(false)
			t.send(m)
			t.refusedContext(m, unknownType)
		},
	}, {
		name: "ctd-reserved-bits", rows: []string{"2.5.3-10", "2.4-3"},
		expect: "a CTD is taken whatever its reserved bits and those of its blocks are",
		run: func(t *trial) {
			m := t.unknownContext(false)
			octets := t.encoded(m)
			octets[1] |= 0x3f
			octets[15] |= 0x7f // of the block
			t.toRouter(octets)
			t.refusedContext(m, unknownType)
		},
	}, {
		name: "presence-vector", rows: []string{"2.4-4", "2.4-1"},
		expect: "a block with a presence vector is told from one without: the block behind it is found",
		run: func(t *trial) {
			m := t.unknownContext(false)
			m.Blocks = []cxtp.CDB{
				{FPT: unknownType, HasPresence: true, Presence: 0x12340100, Data: bytes.Repeat([]byte{0x7a}, 8)},
				{FPT: unknownType + 1, Data: []byte{1}},
			}
			t.send(m)
			t.refusedContext(m, unknownType, unknownType+1)
		},
	}, {
		name: "key-of-any-length", rows: []string{"2.5.3-8"},
		expect: "the blocks of a PCTD are found behind a key of 20 octets and of 21",
		run: func(t *trial) {
			for _, size := range []int{20, 21} {
				m := t.unknownContext(true)
				m.Key = secret.New(bytes.Repeat([]byte{0x55}, size))
				t.send(m)
				t.refusedContext(m, unknownType)
			}
		},
	}, {
		name: "large-message", rows: []string{"3.1-4", "2.4-2"},
		expect: "a CTD of 60,000 octets, with blocks of 2,040, the largest that there are, is answered like any other",
		run: func(t *trial) {
			m := t.unknownContext(false)
			m.Blocks = nil
			for i := range 29 {
				m.Blocks = append(m.Blocks, cxtp.CDB{FPT: unknownType + cxtp.FPT(i), Data: make([]byte, cxtp.MaxBlock-4)})
			}
			t.send(m)
			t.refusedContext(m, unknownType, unknownType+28)
		},
	}, {
		name: "replies-about-nobody", rows: []string{"2.5.4-9"},
		expect: "a CTDR and a CTC about a node of which the router has nothing do it no harm",
		run: func(t *trial) {
			previous := t.stranger(true)
			t.send(&cxtp.CTDR{Success: true, Previous: previous})
			t.send(&cxtp.CTDR{Previous: previous, Statuses: []cxtp.ContextStatus{{FPT: unknownType, Status: 1}}})
			t.send(&cxtp.CTC{Previous: previous})
			m := t.unknownContext(false)
			t.send(m)
			t.refusedContext(m, unknownType)
		},
	}, {
		name: "ctd-from-a-node", rows: []string{"2.5.3-12", "6.2-3", "3.1-6"},
		expect: "a CTD that does not come over the protected association of routers is not answered",
		run: func(t *trial) {
			m := t.unknownContext(false)
			t.toNodeSide(t.encoded(m))
			refuse[cxtp.CTDR](t, m.Previous)
		},
	},
}

// offered has the router give its contexts of a node to the prober, and gives them
// back in a PCTD with a fresh key.
func (t *trial) offered(ack bool) (*holding, secret.Key) {
	t.hears()
	n := t.take(1, true)
	t.send(t.ctreq(n))
	data, _ := t.transfer(n)
	h, key := t.style.accept(t, n, data, nil), freshKey()
	t.drained(n)
	t.style.offer(t, h, key, ack)
	return h, key
}

// arrival is the CTAR of a node that comes to the router from the prober.
func (t *trial) arrival(h *holding, key secret.Key, ack bool) *cxtp.CTAR {
	return t.ctar(&node{previous: h.node.previous, keys: []secret.Key{key}}, ack)
}

// arrived wants the CTAA that says that the node's contexts are in use.
func (t *trial) arrived(h *holding) {
	t.style.finish(t, h)
	answer, _ := expect[cxtp.CTAA](t, h.node.previous)
	t.check(len(answer.Failed) == 0, "the token is right, and the CTAA says that the transfer failed: %v", answer.Failed)
}

// failedOrSilent wants no CTAA, or one that says that nothing was transferred, and
// that the router does not ask for the node's contexts.
func (t *trial) failedOrSilent(h *holding) {
	t.never("a CTAA without failures, or a CT-Req", func(a *arrival) bool {
		if answer, ok := a.message.(*cxtp.CTAA); ok && answer.Previous == h.node.previous {
			return len(answer.Failed) == 0
		}
		return is[cxtp.CTReq](h.node.previous)(a)
	})
	for t.within(0, is[cxtp.CTAA](h.node.previous)) != nil { // the answer of the wrong one is no other's
	}
}

// refusedContext wants the CTDR that says that contexts were not taken.
func (t *trial) refusedContext(m *cxtp.CTD, types ...cxtp.FPT) {
	reply, a := expect[cxtp.CTDR](t, m.Previous)
	t.check(!reply.Success, "S is 1, but no router can know the context type %#04x", uint16(types[0]))
	for _, fpt := range types {
		t.check(slices.ContainsFunc(reply.Statuses, func(s cxtp.ContextStatus) bool { return s.FPT == fpt && failed(s) }),
			"no status that is not zero is given for the type %#04x: %v", uint16(fpt), reply.Statuses)
	}
	t.canonical(a)
}

func failed(s cxtp.ContextStatus) bool { return s.Status != cxtp.StatusOK }
