package demo

import (
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// TestFuse plays a trace to a fuse, and looks how far it comes.
func TestFuse(t *testing.T) {
	id := cxtp.SessionID{1}
	other := cxtp.SessionID{2}
	trace := []control.TraceEvent{
		{Session: other, Kind: "begin", What: "freeze", Detail: "operation 4"},
		{Session: other, Kind: "end", What: "operation 4"},
		{Session: id, Kind: "report", What: "staged"},
		{Session: id, Kind: "begin", What: "freeze", Detail: "operation 4"},
		{Session: other, Kind: "end", What: "operation 4"},
		{Session: id, Kind: "end", What: "operation 3"},
		{Session: id, Kind: "end", What: "operation 4"},
		{Session: id, Kind: "begin", What: "persist moved", Detail: "operation 5"},
	}
	for order, want := range map[string]int{
		`{"point":"source-staged","session":"` + id.String() + `"}`: 3,
		`{"point":"source-frozen","session":"` + id.String() + `"}`: 7,
		`{"point":"source-closed","session":"` + id.String() + `"}`: 0, // it has begun, and not ended
		"": 0, // not lit
		`{"point":"source-staged","session":"` + other.String() + `"}`:                                                       0,
		`{"point":"source-closed","session":"` + id.String() + `"}{"point":"source-staged","session":"` + id.String() + `"}`: 3,
	} {
		burnt := 0
		f := &fuse{burn: func(last []control.TraceEvent) {
			if burnt == 0 && slices.Equal(last, trace[:len(last)]) {
				burnt = len(last)
			}
		}}
		lit := 0
		if err := f.obey(strings.NewReader(order), func() { lit++ }); err != nil || lit != strings.Count(order, "point") {
			t.Fatalf("%s: lit %d times: %v", order, lit, err)
		}
		for _, e := range trace {
			f.step(e)
		}
		if burnt != want {
			t.Errorf("%s: burnt down before step %d, want %d", order, burnt, want)
		}
	}
}

func TestFuseOrders(t *testing.T) {
	for order, want := range map[string]string{
		`{"point":"source-asleep"}`: `there is no point "source-asleep"`,
		`now`:                       "failed to read where to die",
		`{"point":"source-st`:       "unexpected EOF",
	} {
		err := (&fuse{}).obey(strings.NewReader(order), func() { t.Errorf("%s: lit", order) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", order, err, want)
		}
	}
}
