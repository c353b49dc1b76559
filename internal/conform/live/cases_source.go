package live

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// sourceChecks are about a router that has the contexts, the pAR, and gives them to
// the prober, the nAR.
var sourceChecks = []check{
	{
		name: "ctreq-is-answered", rows: []string{"2.1.2-1", "2.5.3-1", "2.5.3-3", "2.5.3-7", "2.5.3-10", "2.5.1-13", "2.4-3", "2.5.6-12"},
		expect: "a CT-Req with the node's token gets a CTD with all contexts of the node",
		run: func(t *trial) {
			n := t.take(1, true)
			t.send(t.ctreq(n))
			data, a := t.transfer(n)
			t.check(a.side == fromRouter, "the CTD came to the node")
			t.check(!data.Predictive, "a PCTD came, with a key that nobody asked for")
			t.complete(n, data, a)
		},
	}, {
		name: "ctreq-is-answered-ipv6", rows: []string{"2.5.3-3", "2.5-3", "2.5.6-2"},
		expect: "the same for a node with an IPv6 address, of 16 octets and with V = 0",
		run: func(t *trial) {
			n := t.take(1, false)
			t.send(t.ctreq(n))
			data, a := t.transfer(n)
			t.complete(n, data, a)
		},
	}, {
		name: "ctreq-reserved-bits", rows: []string{"2.5.6-4"},
		expect: "a CT-Req is taken whatever its reserved bits are",
		run: func(t *trial) {
			n := t.take(1, true)
			octets := t.encoded(t.ctreq(n))
			octets[1] |= 0x7f
			t.toRouter(octets)
			t.transfer(n)
		},
	}, {
		name: "ctreq-damaged", rows: []string{"2.2-4", "2.5.6-5"},
		expect: "a CT-Req of another version, with a wrong Length or cut short has no effect, and does not use the token up",
		run: func(t *trial) {
			n := t.take(1, true)
			q := t.ctreq(n)
			for _, d := range append(versions[:len(versions):len(versions)], lengths...) {
				t.toRouter(d.spoil(t.encoded(q)))
			}
			t.noTransfer(n)
			t.send(q)
			t.transfer(n)
		},
	}, {
		name: "multicast-blocks", rows: []string{"B-2", "B-1", "2.4-7", "2.4-2", "2.5.1-12"},
		expect: "each group of a node is in a block of its own, of type 1 and 32 octets: prefix, group and padding of zeros",
		run: func(t *trial) {
			n := t.listener()
			t.send(t.ctreq(n, cxtp.CDB{FPT: cxtp.FPTMulticastListener}))
			data, a := t.transfer(n)
			t.canonical(a)
			for _, group := range n.groups {
				t.check(blocksOf(data, group) == 1, "%d blocks have the group %v, with padding of zeros", blocksOf(data, group), group)
			}
		},
	}, {
		name: "only-what-is-asked-for", rows: []string{"2.5.1-12"},
		expect: "a CT-Req for a context type that the node does not have transfers none that it has",
		run: func(t *trial) {
			n := t.take(1, true)
			t.send(t.ctreq(n, cxtp.CDB{FPT: unknownType}))
			t.noTransfer(n)
		},
	}, {
		name: "ctar-at-the-par", rows: []string{"2.1.1-1", "2.1.1-2", "2.5.3-2", "2.5.3-8", "2.5.3-9", "2.5.1-11", "2.5.1-14"},
		expect: "a CTAR at the pAR with the node's token has it send the nAR a PCTD with the contexts, and with the key that verifies the token",
		run: func(t *trial) {
			n := t.take(1, true)
			m := t.ctar(n, false)
			data, a := t.predicted(n, m)
			t.check(data.Algorithm == cxtp.AlgorithmHMACSHA1, "the PCTD has the algorithm %d, HMAC-SHA-1 is 1", uint16(data.Algorithm))
			t.check(cxtp.VerifyToken(data.Key, m.Previous, m.Sequence, m.Requests, m.Token), "the node's token does not verify with the key of the PCTD")
			t.complete(n, data, a)
		},
	}, {
		name: "ctaa-of-the-par", rows: []string{"2.5.2-7", "2.5.2-2"},
		expect: "a CTAR at the pAR with A = 1 gets a CTAA without failures once the nAR has the contexts",
		run: func(t *trial) {
			n := t.take(1, true)
			m := t.ctar(n, true)
			data, _ := t.predicted(n, m)
			t.style.accept(t, n, data, t.proof(m))
			answer, a := expect[cxtp.CTAA](t, n.previous)
			t.check(a.side == fromNode, "the CTAA came over the association")
			t.check(len(answer.Failed) == 0, "the CTAA says that the transfer failed: %v", answer.Failed)
			t.canonical(a)
		},
	}, {
		name: "no-ctaa-of-the-par", rows: []string{"2.5.2-7"},
		expect: "a CTAR at the pAR with A = 0 gets no CTAA",
		run: func(t *trial) {
			n := t.take(1, true)
			m := t.ctar(n, false)
			data, _ := t.predicted(n, m)
			t.style.accept(t, n, data, t.proof(m))
			refuse[cxtp.CTAA](t, n.previous)
		},
	}, {
		name: "null-token-gets-the-key", rows: []string{"2.5.6-14", "2.5.3-11"},
		expect: "a CT-Req with a token of zero gets, where it gets anything, a PCTD with a key that verifies the node's token",
		run: func(t *trial) {
			if !t.subject.NullToken {
				t.skip("the router gives nothing for a token of zero (null_token)")
			}
			n := t.take(1, true)
			t.send(&cxtp.CTReq{Previous: n.previous, Sequence: t.sequence()})
			data, _ := t.transfer(n)
			t.check(data.Predictive, "a CTD came, without the key")
			m := t.ctar(n, false)
			t.check(cxtp.VerifyToken(data.Key, m.Previous, m.Sequence, m.Requests, m.Token), "the node's token does not verify with the key of the PCTD")
		},
	}, {
		name: "sent-again", rows: []string{"2.5.3-16", "2.5.6-10", "2.5.3-13", "2.5.3-14", "2.5.3-6"},
		expect: "each CT-Req with the sequence number of the CTAR at the pAR has the contexts sent again",
		run: func(t *trial) {
			n := t.take(1, true)
			m := t.ctar(n, false)
			_, last := t.predicted(n, m)
			for range sentAgain {
				t.send(t.proof(m))
			}
			for range sentAgain {
				data, again := t.transfer(n)
				before := last.message.(*cxtp.CTD).Elapsed
				t.check(data.Elapsed >= before, "Elapsed Time was %d ms in a CTD and is %d ms in a later one", before, data.Elapsed)
				passed := again.at.Sub(last.at) + time.Second
				t.check(time.Duration(data.Elapsed-before)*time.Millisecond <= passed, "Elapsed Time grew by %d ms in %v", data.Elapsed-before, passed)
				last = again
			}
		},
	}, {
		name: "ctc-cancels", rows: []string{"2.5.5-7"},
		expect: "a CTC of the nAR ends the transfer: no contexts are sent any more",
		run: func(t *trial) {
			n := t.take(1, true)
			t.cancelled(n, t.encoded(&cxtp.CTC{Previous: n.previous}))
		},
	}, {
		name: "ctc-reserved-bits", rows: []string{"2.5.5-4"},
		expect: "a CTC is taken whatever its reserved bits are",
		run: func(t *trial) {
			n := t.take(1, true)
			octets := t.encoded(&cxtp.CTC{Previous: n.previous})
			octets[1] |= 0x7f
			t.cancelled(n, octets)
		},
	}, {
		name: "given-up", rows: []string{"4-6", "2.5.6-11", "4-3"},
		expect: "contexts that nobody confirms are not sent any more when CT_MAX_TRANSFER_TIME has passed",
		run: func(t *trial) {
			n := t.take(1, true)
			t.send(t.ctreq(n))
			t.transfer(n)
			t.pause(t.maxTransfer())
			for t.within(t.maxTransfer()+t.quiet(), transfers(n)) != nil { // what was on its way, on a machine with other work
				t.check(time.Since(t.began) < t.maxTransfer()+t.patience(), "contexts are still sent %v after the first", time.Since(t.began).Round(time.Millisecond))
			}
		},
	},
}

// sentAgain is how many CT-Reqs ask for what was sent already: more than what a
// router would repeat by itself meanwhile.
const sentAgain = 3

// complete wants every context of the node, with blocks that are laid out as they
// should be.
func (t *trial) complete(n *node, data *cxtp.CTD, a *arrival) {
	t.canonical(a)
	for _, want := range n.contexts {
		found := false
		for _, b := range data.Blocks {
			found = found || b.FPT == want
		}
		t.check(found, "the CTD has no context of the type %#04x", uint16(want))
	}
}

// blocksOf counts the blocks of appendix B that have a group.
func blocksOf(data *cxtp.CTD, group netip.Addr) (count int) {
	const prefix, padding = 8, 4
	want := append(group.AsSlice(), make([]byte, padding)...)
	for _, b := range data.Blocks {
		if b.FPT == cxtp.FPTMulticastListener && !b.HasPresence && len(b.Data) == prefix+len(want) && bytes.Equal(b.Data[prefix:], want) {
			count++
		}
	}
	return count
}

// predicted sends a CTAR to the pAR and waits for what it sends to the nAR.
func (t *trial) predicted(n *node, m *cxtp.CTAR) (*cxtp.CTD, *arrival) {
	t.connected()
	t.send(m)
	data, a := t.transfer(n)
	t.check(a.side == fromRouter, "the contexts came to the node")
	t.check(data.Predictive, "a CTD came and no PCTD: the nAR cannot verify the node's token")
	return data, a
}

// proof is the CT-Req that a nAR makes of a CTAR with the same sequence number and
// token.
func (t *trial) proof(m *cxtp.CTAR) *cxtp.CTReq {
	return &cxtp.CTReq{Previous: m.Previous, Sequence: m.Sequence, Token: m.Token, Requests: m.Requests}
}

// cancelled sends a CTC, encoded, in the middle of a transfer.
func (t *trial) cancelled(n *node, octets []byte) {
	t.send(t.ctreq(n))
	t.transfer(n)
	t.toRouter(octets)
	t.pause(t.quiet() / 2) // for what was on its way
	for t.within(0, transfers(n)) != nil {
	}
	t.noTransfer(n)
}
