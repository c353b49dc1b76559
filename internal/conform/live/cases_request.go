package live

import (
	"bytes"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
)

// requestChecks are about a CTAR at a router that has nothing of the node, which
// is its nAR: it asks the pAR that the CTAR names, the prober.
var requestChecks = []check{
	{
		name: "ctar-is-passed-on", rows: []string{"2-2", "2.5.6-1", "2.5.6-5", "2.5.6-6", "2.5.6-7", "2.5.6-8", "2.5-1", "5.3-1", "2.2-2", "2.2-3"},
		expect: "a CTAR of a node of which the router has nothing has it send the pAR a CT-Req about this node, with the CTAR's sequence number and token",
		run:    func(t *trial) { t.passedOn(t.strange(true, false)) },
	}, {
		name: "ctar-is-passed-on-ipv6", rows: []string{"2.5.6-2", "2.5-3", "2.5.1-2"},
		expect: "the same with IPv6 addresses, of 16 octets and with V = 0",
		run:    func(t *trial) { t.passedOn(t.strange(false, false)) },
	}, {
		name: "requests-are-copied", rows: []string{"2.5.6-9", "2.5.1-12", "2.4-1", "2.4-2", "2.4-4"},
		expect: "the CT-Req has the request blocks of the CTAR, octet for octet, data and presence vector included",
		run: func(t *trial) {
			t.passedOn(t.strange(true, false,
				cxtp.CDB{FPT: 0x1234, Data: []byte{1, 2, 3, 4}},
				cxtp.CDB{FPT: 0x1235, HasPresence: true, Presence: 0x80000001, Data: []byte{5, 6, 7, 8, 9, 10, 11, 12}}))
		},
	}, {
		name: "short-request-is-copied", rows: []string{"2.4-8", "2.5.6-9"},
		expect: "a request block of its first four octets alone is understood, and stands in the CT-Req like any other",
		run:    func(t *trial) { t.passedOn(t.strange(true, false, cxtp.CDB{FPT: 0x1234})) },
	}, {
		name: "ctar-reserved-bits", rows: []string{"2.5.1-5", "2.5.6-3"},
		expect: "a CTAR is taken whatever its reserved bits are, and those of the CT-Req are zero",
		run: func(t *trial) {
			m := t.strange(true, false)
			octets := t.encoded(m)
			octets[1] |= 0x3f
			t.toNodeSide(octets)
			t.requested(m)
		},
	}, {
		name: "no-ctaa-unasked", rows: []string{"2.5.2-7"},
		expect: "a CTAR with A = 0 gets no CTAA, also when nothing came of it",
		run: func(t *trial) {
			m := t.strange(true, false)
			t.passedOn(m)
			t.giveUp(m)
			refuse[cxtp.CTAA](t, m.Previous)
		},
	}, {
		name: "ctaa-when-asked", rows: []string{"2.5.2-7", "2.5.2-1", "2.5.2-2", "2.5.2-3", "2.5.2-5", "2.5.2-6", "2.5.2-8"},
		expect: "a CTAR with A = 1 gets a CTAA, which says so when nothing was transferred",
		run: func(t *trial) {
			m := t.strange(true, true)
			t.connected()
			t.send(m)
			answer, a := expect[cxtp.CTAA](t, m.Previous)
			t.check(a.side == fromNode, "the CTAA came over the association, and not to the node")
			t.check(len(answer.Failed) > 0, "the CTAA names no context type that was not transferred, but nothing was")
			t.canonical(a)
		},
	}, {
		name: "ctc-when-late", rows: []string{"2.5.5-6"},
		expect: "a router that gives up an unanswered CT-Req may tell the pAR with a CTC",
		run: func(t *trial) {
			m := t.strange(true, true)
			t.connected()
			t.send(m)
			expect[cxtp.CTC](t, m.Previous)
		},
	}, {
		name: "ctc-layout", rows: []string{"2.5.5-3", "2.5.5-1", "2.5.5-2", "2.5.5-5"},
		expect: "what a router sends when it gives up a CT-Req is a CTC, and nothing else than the node's address is in it",
		run: func(t *trial) {
			m := t.strange(true, true)
			t.connected()
			t.send(m)
			t.canonical(t.gaveUp(m))
		},
	}, {
		name: "ctar-repeated", rows: []string{"3.2-21"},
		expect: "a CTAR with the sequence number and address of one before begins nothing, whatever else is in it",
		run: func(t *trial) {
			m := t.strange(true, false)
			t.passedOn(m)
			again := *m
			again.Requests = []cxtp.CDB{{FPT: 0x1234}}
			again.Token = cxtp.Token{1, 2, 3, 4}
			t.send(&again)
			t.never("a CT-Req with the token of the second CTAR", func(a *arrival) bool {
				q, ok := a.message.(*cxtp.CTReq)
				return ok && q.Previous == m.Previous && q.Token == again.Token
			})
		},
	}, {
		name: "ctar-while-another-waits", rows: []string{"6.3-9", "2.5-2"},
		expect: "a second request with the address of a node whose first is unanswered is ignored",
		run: func(t *trial) {
			m := t.strange(true, false)
			t.passedOn(m)
			other := *m
			other.Ack, other.Sequence, other.Token = true, m.Sequence+1, cxtp.Token{5, 6, 7, 8}
			t.send(&other)
			t.never("a CT-Req with the sequence number of the second CTAR", func(a *arrival) bool {
				q, ok := a.message.(*cxtp.CTReq)
				return ok && q.Previous == m.Previous && q.Sequence == other.Sequence
			})
		},
	}, {
		name: "ctar-naming-nobody", rows: []string{"2-2"},
		expect: "a CTAR that names no router that is known here has no CT-Req sent",
		run: func(t *trial) {
			t.connected()
			m := t.strange(true, false)
			m.Router = t.stranger(true)
			t.send(m)
			refuse[cxtp.CTReq](t, m.Previous)
			t.stillThere()
		},
	},
}

// passedOn sends a CTAR and wants it back as a CT-Req.
func (t *trial) passedOn(m *cxtp.CTAR) {
	t.connected()
	t.send(m)
	t.requested(m)
}

// requested wants the CT-Req that a CTAR causes.
func (t *trial) requested(m *cxtp.CTAR) {
	q, a := expect[cxtp.CTReq](t, m.Previous)
	t.check(a.side == fromRouter, "the CT-Req came to the node, and not to the pAR")
	t.check(q.Sequence == m.Sequence, "the CT-Req has the sequence number %d, the CTAR %d", q.Sequence, m.Sequence)
	t.check(q.Token == m.Token, "the CT-Req has the token %x, the CTAR %x", q.Token, m.Token)
	t.check(slices.EqualFunc(q.Requests, m.Requests, sameRequest), "the CT-Req has other request blocks than the CTAR")
	t.canonical(a)
}

// sameRequest compares blocks, one of which has been on the wire and may have
// padding.
func sameRequest(received, sent cxtp.CDB) bool {
	return received.FPT == sent.FPT && received.HasPresence == sent.HasPresence && received.Presence == sent.Presence &&
		bytes.HasPrefix(received.Data, sent.Data) && len(received.Data) < len(sent.Data)+8 &&
		!bytes.ContainsFunc(received.Data[len(sent.Data):], func(r rune) bool { return r != 0 })
}

// canonical ends the case when a message is not as it would be encoded here: with
// reserved bits that are set, that is, or padding that is not zero.
func (t *trial) canonical(a *arrival) {
	if octets := t.encoded(a.message); !bytes.Equal(octets, a.octets) {
		at := 0
		for at < len(octets) && octets[at] == a.octets[at] {
			at++
		}
		t.fail("octet %d of the %v is %#02x, with reserved bits and padding of zero it is %#02x", at, a.message.Type(), a.octets[at], octets[at])
	}
}

// giveUp waits until the router no longer waits for the answer to a CT-Req: it has
// sent a CTC, or repeats nothing for a while.
func (t *trial) giveUp(m *cxtp.CTAR) {
	for range 8 {
		a := t.within(t.patience(), func(a *arrival) bool {
			return is[cxtp.CTReq](m.Previous)(a) || is[cxtp.CTC](m.Previous)(a)
		})
		if a == nil || a.message.Type() == cxtp.TypeCTC {
			return
		}
	}
}

// gaveUp is the CTC of a router that has given up a CT-Req. One that sends none may do
// so, and the case is not run.
func (t *trial) gaveUp(m *cxtp.CTAR) *arrival {
	a := t.within(t.patience(), is[cxtp.CTC](m.Previous))
	if a == nil {
		t.skip("no CTC came within %v, as the document allows", t.patience())
	}
	return a
}

// stillThere shows that the router works on, after it was sent what it should not
// have taken.
func (t *trial) stillThere() {
	t.passedOn(t.strange(true, false))
}
