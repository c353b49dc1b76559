package demo

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/internal/control"
)

func TestLadder(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms float64) time.Time { return start.Add(time.Duration(ms * float64(time.Millisecond))) }
	trace := []control.TraceEvent{
		{Time: at(0), Kind: "operator", What: "handover", Peer: "sg2"},
		{Time: at(0.1), Kind: "begin", What: "export", Detail: "operation 2"},
		{Time: at(0.1), Kind: "begin", What: "persist allocated", Detail: "operation 3"},
		{Time: at(0.6), Kind: "end", What: "operation 2"},
		{Time: at(0.7), Kind: "send", What: "PCTD stage", Peer: "sg2"},
		{Time: at(1.1), Kind: "receive", What: "Outcome staged", Peer: "sg2"},
		{Time: at(1.2), Kind: "report", What: "staged"},
		{Time: at(1.3), Kind: "begin", What: "steer", Detail: "operation 4"},
		{Time: at(2.8), Kind: "end", What: "operation 4"},
		{Time: at(3), Kind: "send-node", What: "CTAA", Peer: "127.0.0.1:7"},
		{Time: at(4), Kind: "report", What: "closed"},
	}
	var rungs []Rung
	for _, e := range laddered("sg1", trace) {
		rungs = append(rungs, Rung{milliseconds(e.at.Sub(start)), e.where, e.to, e.text, milliseconds(e.took)})
	}
	rungs = append(rungs, Rung{5, "sg2", "node", "something that is far too long for two lanes of a ladder, however wide they are", 0})
	var got bytes.Buffer
	writeLadder(&got, rungs)
	want := `
     ms node                         sg1                          sg2                          host
    0.0 |                            * operator: handover         |                            |
    0.1 |                            * export (0.5)               |                            |
    0.1 |                            * persist allocated          |                            |
    0.7 |                            |-------- PCTD stage ------->|                            |
    1.3 |                            |------------------ steering hook (1.5) ----------------->|
    3.0 |<---------- CTAA -----------|                            |                            |
    4.0 |                            * CLOSED                     |                            |
    5.0 |< something that is far too long for two lanes of a lad -|                            |
`
	if got.String() != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%s", got.String())
	}
}
