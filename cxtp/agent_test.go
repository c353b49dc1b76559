package cxtp_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

var (
	agentNode   = netip.MustParseAddr("192.0.2.10")
	agentRouter = netip.MustParseAddrPort("198.51.100.1:5091")
	agentAsk    = cxtp.Ask{To: agentRouter, At: agentRouter.Addr(), Naming: netip.MustParseAddr("198.51.100.2"), Role: cxtp.RoleArriving, Sequence: 7}
)

func testKey(text string) secret.Key { return secret.New([]byte(text)) }

func TestAgentReverts(t *testing.T) {
	a := cxtp.NewAgent(cxtp.AgentConfig{
		Previous: agentNode, Session: cxtp.SessionID{1}, State: cxtp.AgentState{Number: 3},
		Node: cxtp.NodeState{UpdateKey: testKey("key"), Tokens: []cxtp.NumberedKey{{Number: 1, Key: testKey("token")}}},
	})

	now := time.Unix(0, 0)
	if _, ok := a.Request(now, agentAsk); !ok {
		t.Fatal("no request was made")
	}
	a.Abandon()
	if at := a.Deadline(); !at.IsZero() {
		t.Errorf("an abandoned request has a deadline, %s", at)
	}
	if actions := a.Tick(now.Add(time.Hour)); len(actions) > 0 {
		t.Errorf("an abandoned request goes on: %+v", actions)
	}
	if actions := a.Receive(agentRouter, &cxtp.CTAA{Previous: agentNode}); len(actions) > 0 {
		t.Errorf("an abandoned request was answered: %+v", actions)
	}
	if next := a.State().NextToken; next != 2 {
		t.Errorf("the next token is %d: the abandoned one may have been sent", next)
	}

	update := &cxtp.Update{Previous: agentNode, Session: cxtp.SessionID{1}, Number: 5, Gateway: agentRouter}
	if err := update.Sign(testKey("key")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if actions := a.Receive(agentRouter, update); len(actions) != 2 {
			t.Fatalf("the update led to %+v, want to follow it and acknowledge it", actions)
		}
		a.Unfollow()
	}
	a.Unfollow()
	if number := a.State().Number; number != 3 {
		t.Errorf("the number is %d, it was 3 before the update", number)
	}
}

// strongAgent is a node that makes strong tokens, with as many token keys.
func strongAgent(tokens int) *cxtp.Agent {
	n := cxtp.NodeState{Algorithm: cxtp.AlgorithmHMACSHA256, UpdateKey: testKey("update key")}
	for i := range tokens {
		n.Tokens = append(n.Tokens, cxtp.NumberedKey{Number: uint32(i + 1), Key: testKey("token key")})
	}
	return cxtp.NewAgent(cxtp.AgentConfig{Previous: agentNode, Session: cxtp.SessionID{1}, Node: n, Rand: rand.NewChaCha8([32]byte{1})})
}

// share is a share that agrees on something: the base point.
var share = cxtp.Share{9}

func signedUpdate(t *testing.T, number uint64, s cxtp.Share, key secret.Key) *cxtp.Update {
	t.Helper()
	u := &cxtp.Update{Previous: agentNode, Session: cxtp.SessionID{1}, Number: number, Gateway: agentRouter, Share: s}
	if err := u.Sign(key); err != nil {
		t.Fatal(err)
	}
	return u
}

// ack is the acknowledgement among actions, and whether the gateway is followed.
func ackOf(t *testing.T, actions []cxtp.AgentAction) (ack *cxtp.UpdateAck, followed bool) {
	t.Helper()
	for _, action := range actions {
		switch action := action.(type) {
		case cxtp.AgentFollow:
			followed = true
		case cxtp.AgentSend:
			ack = action.Message.(*cxtp.UpdateAck)
		}
	}
	return ack, followed
}

// tokenOf is the strong token of the one CTAR among actions.
func tokenOf(t *testing.T, actions []cxtp.AgentAction) (*cxtp.CTAR, cxtp.StrongToken) {
	t.Helper()
	for _, action := range actions {
		send, ok := action.(cxtp.AgentSend)
		if !ok {
			continue
		}
		m := send.Message.(*cxtp.CTAR)
		token, err := cxtp.ParseStrongToken(m.Requests[len(m.Requests)-1])
		if err != nil {
			t.Fatal(err)
		}
		return m, token
	}
	t.Fatalf("no CTAR in %+v", actions)
	return nil, cxtp.StrongToken{}
}

// TestAgentAgreesOnKeys takes an agent through an exchange whose messages are
// repeated, forged and late, with a restart after each.
func TestAgentAgreesOnKeys(t *testing.T) {
	update := testKey("update key")
	a := strongAgent(2)
	again := func() {
		a = cxtp.NewAgent(cxtp.AgentConfig{Previous: agentNode, Session: cxtp.SessionID{1}, State: a.State(), Rand: rand.NewChaCha8([32]byte{2}),
			Node: cxtp.NodeState{Algorithm: cxtp.AlgorithmHMACSHA256, UpdateKey: testKey("update key"),
				Tokens: []cxtp.NumberedKey{{Number: 1, Key: testKey("token key")}, {Number: 2, Key: testKey("token key")}}}})
	}
	if actions := a.Receive(agentRouter, signedUpdate(t, 5, cxtp.Share{}, update)); len(actions) > 0 {
		t.Fatalf("an update without a share led to %+v", actions)
	}
	if actions := a.Receive(agentRouter, signedUpdate(t, 5, cxtp.Share{1}, update)); len(actions) > 0 {
		t.Fatalf("a share that agrees on zero led to %+v", actions)
	}
	first, followed := ackOf(t, a.Receive(agentRouter, signedUpdate(t, 5, share, update)))
	if first == nil || !followed || first.Share.IsZero() || !first.Verify(update) {
		t.Fatalf("acknowledged with %+v, followed: %t", first, followed)
	}
	again()
	if actions := a.Receive(agentRouter, signedUpdate(t, 5, cxtp.Share{8}, update)); len(actions) > 0 {
		t.Errorf("another share under the same number led to %+v", actions)
	}
	if second, followed := ackOf(t, a.Receive(agentRouter, signedUpdate(t, 5, share, update))); followed || second == nil || *second != *first {
		t.Errorf("a repeated update was acknowledged with %+v, followed: %t; the first time with %+v", second, followed, first)
	}
	next := secret.Clone(a.State().Next.UpdateKey.Bytes())
	confirm := signedUpdate(t, 5, cxtp.Share{}, next)
	for range 2 {
		if ack, followed := ackOf(t, a.Receive(agentRouter, confirm)); followed || ack == nil || !ack.Share.IsZero() || !ack.Verify(next) {
			t.Fatalf("the confirmation was acknowledged with %+v, followed: %t", ack, followed)
		}
		again()
	}
	for name, u := range map[string]*cxtp.Update{
		"the first":       signedUpdate(t, 5, share, update),
		"a later one":     signedUpdate(t, 6, share, update),
		"without a share": signedUpdate(t, 5, cxtp.Share{}, update),
	} {
		if actions := a.Receive(agentRouter, u); len(actions) > 0 {
			t.Errorf("%s, under the key that is gone, led to %+v", name, actions)
		}
	}
	if _, token := tokenOf(t, must(a.Request(time.Unix(0, 0), agentAsk))); token.Generation != 5 || token.KeyNumber != 1 {
		t.Errorf("the token names key %d of generation %d", token.KeyNumber, token.Generation)
	}
}

func must(actions []cxtp.AgentAction, ok bool) []cxtp.AgentAction {
	if !ok {
		panic("no token key is left")
	}
	return actions
}

// TestAgentUnfollowsKeys takes an exchange back that could not be recorded: the
// node has the keys from before, and the exchange can happen again.
func TestAgentUnfollowsKeys(t *testing.T) {
	update := testKey("update key")
	a := strongAgent(1)
	revision := a.Revision()
	a.Receive(agentRouter, signedUpdate(t, 5, share, update))
	lost := a.State().Next.UpdateKey
	a.Unfollow()
	if s := a.State(); s.Number != 0 || s.Next != nil || s.Current != nil || a.Revision() == revision {
		t.Errorf("the state is %+v, revision %d", s, a.Revision())
	}
	if !lost.Equal(secret.New(make([]byte, lost.Len()))) {
		t.Error("the keys that were taken back are not wiped")
	}
	if ack, followed := ackOf(t, a.Receive(agentRouter, signedUpdate(t, 5, share, update))); ack == nil || !followed {
		t.Fatal("the update was not followed anew")
	}
	next := secret.Clone(a.State().Next.UpdateKey.Bytes())
	a.Receive(agentRouter, signedUpdate(t, 5, cxtp.Share{}, next))
	a.Unfollow()
	if s := a.State(); s.Next == nil || s.Current != nil || !s.Next.UpdateKey.Equal(next) {
		t.Errorf("a confirmation that was taken back left %+v", s)
	}
	if ack, _ := ackOf(t, a.Receive(agentRouter, signedUpdate(t, 6, share, update))); ack == nil {
		t.Error("the keys from before are not there")
	}
}

// TestAgentFallsBack has a router that never got the node's share.
func TestAgentFallsBack(t *testing.T) {
	update := testKey("update key")
	a := strongAgent(2)
	a.Receive(agentRouter, signedUpdate(t, 5, share, update))
	now := time.Unix(0, 0)
	unknown := &cxtp.CTAA{Previous: agentNode, Failed: []cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusUnknownKey}}}

	first, token := tokenOf(t, must(a.Request(now, agentAsk)))
	if next := a.State().NextToken; token.Generation != 5 || next != 0 {
		t.Fatalf("the first token names generation %d, the next provisioned key is %d", token.Generation, next)
	}
	second, token := tokenOf(t, a.Receive(agentRouter, unknown))
	if token.Generation != 0 || token.KeyNumber != 1 || second.Sequence != first.Sequence ||
		!token.Verify(testKey("token key"), cxtp.Signed{Session: cxtp.SessionID{1}, Previous: agentNode, Sequence: second.Sequence, Requests: second.Requests}) {
		t.Fatalf("after it: %+v", token)
	}
	if again, _ := tokenOf(t, a.Tick(now.Add(cxtp.DefaultRequestRetry))); again.Token != second.Token {
		t.Error("the repetition is another request")
	}
	actions := a.Receive(agentRouter, unknown)
	if len(actions) != 1 || len(actions[0].(cxtp.AgentAnswered).Failed) != 1 {
		t.Errorf("the second refusal led to %+v", actions)
	}
	// The second half of a predictive request has the key that the first ended with.
	half := agentAsk
	half.Role = cxtp.RoleLeaving
	if _, token := tokenOf(t, must(a.Request(now, half))); token.Generation != 0 || token.KeyNumber != 1 || token.Role != cxtp.RoleLeaving || token.PAR != half.At {
		t.Errorf("the other half has %+v", token)
	}
}

// TestAgentWithoutRandom cannot agree on keys, and so does not follow.
func TestAgentWithoutRandom(t *testing.T) {
	a := cxtp.NewAgent(cxtp.AgentConfig{Previous: agentNode, Session: cxtp.SessionID{1},
		Node: cxtp.NodeState{Algorithm: cxtp.AlgorithmHMACSHA256, UpdateKey: testKey("update key")}})
	if actions := a.Receive(agentRouter, signedUpdate(t, 5, share, testKey("update key"))); len(actions) > 0 || a.State().Number != 0 {
		t.Errorf("it led to %+v", actions)
	}
}

// TestAgentRepeats: a request without an answer is repeated as it was, after the
// wait of RFC 4067 section 4 and then after twice as long each time, until its time
// is over (section 3.2).
func TestAgentRepeats(t *testing.T) {
	a := cxtp.NewAgent(cxtp.AgentConfig{
		Previous: agentNode, Session: cxtp.SessionID{1},
		Node: cxtp.NodeState{Tokens: []cxtp.NumberedKey{{Number: 1, Key: testKey("token")}}},
	})
	begin := time.Unix(0, 0)
	actions, ok := a.Request(begin, agentAsk)
	if !ok || len(actions) != 1 {
		t.Fatalf("the request is %+v", actions)
	}
	first := actions[0].(cxtp.AgentSend)
	if m := first.Message.(*cxtp.CTAR); !m.Ack {
		t.Error("the request wants no answer")
	}
	for _, want := range []time.Duration{2 * time.Second, 6 * time.Second, 14 * time.Second} {
		at := a.Deadline()
		if got := at.Sub(begin); got != want {
			t.Fatalf("it is repeated after %s, want %s", got, want)
		}
		if actions := a.Tick(at.Add(-time.Nanosecond)); len(actions) > 0 {
			t.Errorf("before %s there is %+v", want, actions)
		}
		if actions := a.Tick(at); len(actions) != 1 || actions[0] != cxtp.AgentAction(first) {
			t.Errorf("after %s there is %+v, want the request", want, actions)
		}
	}
	if got := a.Deadline().Sub(begin); got != 15*time.Second {
		t.Errorf("it is given up after %s", got)
	}
	actions = a.Tick(a.Deadline())
	if end, ok := actions[0].(cxtp.AgentAnswered); len(actions) != 1 || !ok || !end.TimedOut || end.Sequence != agentAsk.Sequence {
		t.Errorf("in the end there is %+v", actions)
	}
	if at := a.Deadline(); !at.IsZero() {
		t.Errorf("a request that was given up has a deadline, %s", at)
	}
}
