package cxtp_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

func TestAgentReverts(t *testing.T) {
	node := netip.MustParseAddr("192.0.2.10")
	router := netip.MustParseAddrPort("198.51.100.1:5091")
	key := secret.New([]byte("key"))
	a := cxtp.NewAgent(cxtp.AgentConfig{
		Previous: node, Session: cxtp.SessionID{1}, Number: 3,
		Node: cxtp.NodeState{UpdateKey: key, Tokens: []cxtp.NumberedKey{{Number: 1, Key: key}}},
	})

	now := time.Unix(0, 0)
	if _, ok := a.Request(now, router, router.Addr(), 7); !ok {
		t.Fatal("no request was made")
	}
	a.Abandon()
	if at := a.Deadline(); !at.IsZero() {
		t.Errorf("an abandoned request has a deadline, %s", at)
	}
	if actions := a.Tick(now.Add(time.Hour)); len(actions) > 0 {
		t.Errorf("an abandoned request goes on: %+v", actions)
	}
	if actions := a.Receive(router, &cxtp.CTAA{Previous: node}); len(actions) > 0 {
		t.Errorf("an abandoned request was answered: %+v", actions)
	}
	if next := a.NextToken(); next != 2 {
		t.Errorf("the next token is %d: the abandoned one may have been sent", next)
	}

	update := &cxtp.Update{Previous: node, Session: cxtp.SessionID{1}, Number: 5, Gateway: router}
	if err := update.Sign(key); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if actions := a.Receive(router, update); len(actions) != 2 {
			t.Fatalf("the update led to %+v, want to follow it and acknowledge it", actions)
		}
		a.Unfollow(3)
	}
	a.Unfollow(9)
	if number := a.Number(); number != 3 {
		t.Errorf("the number is %d, it was 3 before the update", number)
	}
}
