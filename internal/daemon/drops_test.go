package daemon_test

import (
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/transport"
)

// TestStatusCountsWhatIsDropped: what anybody may send to the nodes' port and
// nothing is done with is counted by reason, and the operator sees it: octets
// that are no message, messages cut short and too long, a router that is not
// configured, a token that nobody's key makes, more than the rate.
func TestStatusCountsWhatIsDropped(t *testing.T) {
	sg := pair(t, "")
	install(t, sg[0])
	replies := make(chan cxtp.Message, 100)
	node, err := transport.ListenNode("127.0.0.1:0", func(_ netip.AddrPort, text []byte) {
		if m, err := cxtp.Decode(text); err == nil {
			replies <- m
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	send := func(text []byte) {
		t.Helper()
		if err := node.Send(sg[0].node, text); err != nil {
			t.Fatal(err)
		}
	}
	request := func(router string, ack bool) []byte {
		t.Helper()
		text, err := (&cxtp.CTAR{Ack: ack, Previous: netip.MustParseAddr("198.51.100.7"), Router: netip.MustParseAddr(router),
			Sequence: 7, Token: cxtp.Token{1, 2, 3, 4}}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := request("192.0.2.2", false)
	send([]byte("garbage"))
	send(good[:len(good)-1])
	send(append(good, 0))
	send(request("192.0.2.9", false))
	send(request("192.0.2.2", true))
	if m, ok := (<-replies).(*cxtp.CTAA); !ok || len(m.Failed) != 1 || m.Failed[0].Status != cxtp.StatusNotAuthorised {
		t.Errorf("the answer to a forged request is %+v", m)
	}
	for range 200 {
		send(request("192.0.2.9", false))
	}
	want := map[string]uint64{"malformed_messages": 3, "dropped_unknown_peer": 2, "dropped_bad_token": 1, "dropped_rate_limited": 100}
	for t.Context().Err() == nil {
		status, err := sg[0].client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		missing := false
		for name, n := range want {
			missing = missing || status.Counters[name] < n
		}
		if !missing {
			return // datagrams arrive when they arrive
		}
	}
}
