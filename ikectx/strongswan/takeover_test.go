package strongswan

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/ikev2"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// theirs is the client's end of a lineage's IKE SA.
func theirs(t *testing.T, l *lineage) *ikev2.SA {
	t.Helper()
	sa, err := l.speaker()
	if err != nil {
		t.Fatal(err)
	}
	sa.Initiator = !sa.Initiator
	return sa
}

// TestInherit: charon goes on behind the requests that the agent makes, which are empty
// unless the client has to be told of an address.
func TestInherit(t *testing.T) {
	for _, moves := range []bool{false, true} {
		s := &session{l: follower(0), moves: moves}
		if err := s.inherit(ikectx.Dynamic{NextRequest: 5, NextExpected: 9}); err != nil {
			t.Fatal(err)
		}
		if g := s.l.current(); g.request != 5+overtaken || g.expected != 9 || len(s.notice.datagrams) != overtaken || s.notice.last.ID != g.request-1 {
			t.Errorf("next %d and %d, %d requests", g.request, g.expected, len(s.notice.datagrams))
		}
		for i, d := range s.notice.datagrams {
			m, err := theirs(t, s.l).Open(d)
			if err != nil || m.ID != uint32(5+i) || m.Exchange != ikev2.Informational || m.Response || len(m.Payloads) > 0 != moves {
				t.Errorf("request %d is %+v, %v", i, m, err)
			}
		}
	}
	s := &session{l: follower(0)}
	s.l.current().add.Proposal.Encr = 23 // Camellia in CBC mode
	if err := s.inherit(ikectx.Dynamic{NextRequest: 5, NextExpected: 9}); err != nil || s.notice != nil || s.inherited || s.l.current().request != 5 {
		t.Errorf("without words: %v, next %d", err, s.l.current().request)
	}
}

// responder is a client that takes the requests in turn, and answers the last one that
// it had again.
type responder struct {
	*ikev2.SA
	next    uint32
	answers map[uint32][]byte // by the message ID
	deaf    int               // so many requests get lost
}

func (r *responder) answer(t *testing.T, request []byte) [][]byte {
	m, err := r.Open(request)
	if err != nil {
		t.Errorf("a request that is not understood: %v", err)
		return nil
	}
	switch {
	case r.deaf > 0:
		r.deaf--
		return nil
	case m.ID+1 == r.next:
		return [][]byte{r.answers[m.ID]}
	case m.ID != r.next:
		return nil
	}
	b, err := r.Seal(&ikev2.Message{Exchange: ikev2.Informational, Response: true, ID: m.ID})
	if err != nil {
		t.Error(err)
	}
	r.answers[m.ID] = b
	r.next++
	return [][]byte{b}
}

// TestOvertaken: whatever a client has exchanged with the gateway that is gone, within
// bounds, after the notice it takes the request that charon makes next.
func TestOvertaken(t *testing.T) {
	const read = 5
	for _, c := range []struct {
		name     string
		had      uint32 // exchanges since
		deaf     int
		charon   bool // has asked already, and the client has answered that alone
		answered bool
	}{
		{name: "none", answered: true},
		{name: "none, and the first are lost", deaf: 11, answered: true},
		{name: "one", had: 1, answered: true},
		{name: "some", had: overtaken - 1, answered: true},
		{name: "as many as possible", had: overtaken, answered: true},
		{name: "too many", had: overtaken + 1},
		{name: "and charon has asked", had: overtaken, charon: true, answered: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &session{l: follower(0)}
				if err := s.inherit(ikectx.Dynamic{NextRequest: read}); err != nil {
					t.Fatal(err)
				}
				r := responder{SA: theirs(t, s.l), next: read + c.had, answers: map[uint32][]byte{}, deaf: c.deaf}
				old := func(id uint32, exchange ikev2.ExchangeType) []byte {
					b, err := r.Seal(&ikev2.Message{Exchange: exchange, Response: true, ID: id})
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
				if c.had > 0 {
					r.answers[r.next-1] = old(r.next-1, ikev2.CreateChildSA)
				}
				near, far := net.Pipe()
				answers := make(chan []byte, 1000) // it has answered one when the next is sent
				go client(far, func(copy int, request []byte) [][]byte {
					if c.charon {
						answers <- old(s.l.current().request, ikev2.Informational)
						return nil
					}
					for _, b := range r.answer(t, request) {
						answers <- b
					}
					return nil
				})
				go func() {
					for b := range answers {
						if _, err := far.Write(b); err != nil {
							return // it is over
						}
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), settleTime)
				defer cancel()
				sa, err := s.l.speaker()
				if err != nil {
					t.Fatal(err)
				}
				err = s.notice.tell(ctx, near, sa)
				if (err == nil) != c.answered || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
				near.Close()
				synctest.Wait()
				close(answers)
				if c.answered && !c.charon && r.next != s.l.current().request {
					t.Errorf("the client takes request %d next, and charon makes %d", r.next, s.l.current().request)
				}
			})
		})
	}
}

// TestRenew: all that was taken over is rekeyed.
func TestRenew(t *testing.T) {
	a, s, p := beside(t, "gcm")
	a.renew(t.Context(), s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rekeys) != 2 || !strings.Contains(p.rekeys[0], "child-id") || !strings.Contains(p.rekeys[1], "ike-id") {
		t.Errorf("asked for %q", p.rekeys)
	}
}

// TestTakeOver: charon is active, and behind the requests of the agent; also for a
// client that was here before the gateway that is gone had it.
func TestTakeOver(t *testing.T) {
	for _, phase := range []ipsecctx.Phase{ipsecctx.Staged, ipsecctx.Frozen} {
		a, s, p := beside(t, "gcm")
		s.phase = phase
		p.change(func(sa *fakeSA) { sa.state, sa.at = passive, a.park().Addr().String() })
		go p.work()
		d := a.dynamic(s)
		var err error
		if phase == ipsecctx.Staged {
			err = a.TakeOver(t.Context(), s.id, d)
		} else {
			err = a.Thaw(t.Context(), s.id, true)
		}
		if sa := p.now(); err != nil || sa.state != established || s.phase != ipsecctx.Active || !a.waits(s) {
			t.Errorf("%v: %v, charon has %+v", phase, err, sa)
		}
		want := []*ha.MessageID{{SA: a.idOf(s), Initiator: true, Next: d.NextRequest + overtaken}, {SA: a.idOf(s), Next: d.NextExpected}}
		if got := p.messageIDs(); !slices.EqualFunc(got, want, func(a, b *ha.MessageID) bool { return *a == *b }) {
			t.Errorf("%v: charon was told %v, not %v", phase, got, want)
		}
	}
}
