package cxtp_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp"
)

func TestSessionIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawSession(t)
		text, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		var again cxtp.SessionID
		if err := json.Unmarshal(text, &again); err != nil || again != id {
			t.Fatalf("%s is read as %v (%v)", text, again, err)
		}
	})
	for _, s := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("g", 32)} {
		if id, err := cxtp.ParseSessionID(s); err == nil || !id.IsZero() {
			t.Errorf("%q is read as %v (%v), want an error", s, id, err)
		}
	}
}

// TestBlockPrintsNoData puts a block, bare and inside a message, through the
// verbs that logs use.
func TestBlockPrintsNoData(t *testing.T) {
	b := cxtp.CDB{FPT: cxtp.FPTIPsecSA, Data: []byte("keys")}
	for _, v := range []any{b, &b, []cxtp.CDB{b}, &cxtp.CTD{Blocks: []cxtp.CDB{b}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			out := fmt.Sprintf(verb, v)
			for _, leak := range []string{"keys", "6b657973", "107 101"} {
				if strings.Contains(out, leak) {
					t.Errorf("%s of %T shows the data: %s", verb, v, out)
				}
			}
		}
	}
}

// TestNames checks that whatever a peer may send has a name to show.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		value fmt.Stringer
		want  string
	}{
		{cxtp.TypeCTReq, "CT-Req"}, {cxtp.Type(9), "message type 9"},
		{cxtp.FPTNode, "node"}, {cxtp.FPT(0x7001), "context type 0x7001"},
		{cxtp.StatusStale, "stale epoch"}, {cxtp.Status(0x42), "status 0x42"},
		{cxtp.PhaseRenew, "renew"}, {cxtp.Phase(6), "phase 6"},
		{cxtp.ModeStrict, "strict"}, {cxtp.MoveMode(3), "mode 3"},
		{cxtp.OutcomePending, "pending"}, {cxtp.OutcomeState(9), "outcome state 9"},
	} {
		if got := c.value.String(); got != c.want {
			t.Errorf("%#v is called %q, want %q", c.value, got, c.want)
		}
	}
	err := &cxtp.ParseError{Message: "CTD", Field: "Length", Offset: 2, Reason: "too short"}
	if got, want := err.Error(), "CTD: Length at octet 2: too short"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
}
