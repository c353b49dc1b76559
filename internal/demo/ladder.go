package demo

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cxtp/cxtp/internal/control"
)

// The lanes of a ladder, from left to right.
const (
	laneNode = "node"
	laneHost = "host"
)

var (
	gatewayNames = [2]string{"sg1", "sg2"}
	lanes        = []string{laneNode, gatewayNames[0], gatewayNames[1], laneHost}
)

// event is something that somebody did, or sent to somebody.
type event struct {
	at    time.Time
	where string // a lane
	to    string // a lane; "" = it was done there
	text  string
	took  time.Duration // 0 = at once, or not known
}

// Rung is one line of a ladder.
type Rung struct {
	At   float64 `json:"at_ms"` // since the first trigger
	By   string  `json:"by"`    // "node", "sg1", "sg2", "host"
	To   string  `json:"to,omitempty"`
	What string  `json:"what"`
	Took float64 `json:"took_ms,omitempty"`
}

// ladder is who did what when in the move: what the gateways' machines decided,
// and what node and host did.
func (m *move) ladder() []Rung {
	var events []event
	for i, g := range m.d.gateways {
		events = append(events, laddered(g.Name, g.since(m.steps[i]))...)
	}
	m.d.mu.Lock()
	events = append(events, m.d.events...)
	m.d.mu.Unlock()
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	var rungs []Rung
	for _, e := range events {
		if !e.at.Before(m.started) {
			rungs = append(rungs, Rung{milliseconds(e.at.Sub(m.started)), e.where, e.to, e.text, milliseconds(e.took)})
		}
	}
	return rungs
}

// operation finds the number that links the beginning of an operation to its end.
var operation = regexp.MustCompile(`operation \d+`)

// laddered picks from a gateway's trace what a ladder shows: what it sent, what
// it did and how long that took, and how the move ended. What was received is
// the other end of an arrow.
func laddered(name string, trace []control.TraceEvent) []event {
	var events []event
	begun := map[string]int{} // operation to place in events
	for _, t := range trace {
		e := event{at: t.Time, where: name, text: t.What}
		switch t.Kind {
		case "send":
			e.to = t.Peer
		case "send-node":
			e.to = laneNode
		case "operator":
			e.text = "operator: " + t.What
		case "begin":
			if t.What == "steer" {
				e.to, e.text = laneHost, "steering hook"
			}
			begun[operation.FindString(t.Detail)] = len(events)
		case "end":
			if i, ok := begun[operation.FindString(t.What)]; ok {
				events[i].took = t.Time.Sub(events[i].at)
			}
			continue
		case "report":
			if !slices.Contains([]string{"closed", "waiting", "refused", "failed", "thawed", "ended", "steering"}, t.What) {
				continue // what was done shows it
			}
			e.text = strings.ToUpper(t.What)
		default:
			continue
		}
		events = append(events, e)
	}
	return events
}

// The layout of a ladder in columns.
const (
	timeWidth = 8
	laneWidth = 29
)

// writeLadder draws a ladder: a column for each lane, time downwards.
func writeLadder(w io.Writer, rungs []Rung) {
	header := []byte(strings.Repeat(" ", timeWidth+len(lanes)*laneWidth))
	copy(header[timeWidth-3:], "ms")
	for i, lane := range lanes {
		copy(header[laneColumn(i):], lane)
	}
	fmt.Fprintln(w, strings.TrimRight(string(header), " "))
	for _, r := range rungs {
		fmt.Fprintln(w, r.draw())
	}
}

func laneColumn(i int) int { return timeWidth + i*laneWidth }

func (r Rung) draw() string {
	line := []byte(strings.Repeat(" ", timeWidth+len(lanes)*laneWidth))
	copy(line, fmt.Sprintf("%*.1f", timeWidth-1, r.At))
	for i := range lanes {
		line[laneColumn(i)] = '|'
	}
	text := r.What
	if r.Took > 0 {
		text += fmt.Sprintf(" (%.1f)", r.Took)
	}
	from, to := slices.Index(lanes, r.By), slices.Index(lanes, r.To)
	if to < 0 || from < 0 {
		at := laneColumn(max(from, 0))
		copy(line[at+1:], strings.Repeat(" ", len(text)+2))
		copy(line[at:], "* "+text)
		return strings.TrimRight(string(line), " ")
	}
	left, right := laneColumn(min(from, to)), laneColumn(max(from, to))
	arrow := line[left+1 : right]
	for i := range arrow {
		arrow[i] = '-'
	}
	if from < to {
		arrow[len(arrow)-1] = '>'
	} else {
		arrow[0] = '<'
	}
	if room := len(arrow) - 4; len(text) > room {
		text = text[:room]
	}
	copy(arrow[(len(arrow)-len(text)-2)/2:], " "+text+" ")
	return strings.TrimRight(string(line), " ")
}
