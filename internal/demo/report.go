package demo

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Report is what a demo has shown.
type Report struct {
	Kept    bool           `json:"kept"`              // no law was broken
	Broken  []string       `json:"broken,omitempty"`  // which were, and how
	Failure string         `json:"failure,omitempty"` // why the demo ended early
	Refusal string         `json:"refusal,omitempty"` // how the stranger's certificate was refused
	Break   Break          `json:"break,omitempty"`   // the guard that was missing
	IPv6    bool           `json:"ipv6"`
	Rate    int            `json:"rate"` // inner packets a second, each way
	Loss    int            `json:"loss_percent,omitempty"`
	Seed    uint64         `json:"seed,omitempty"` // chose what got lost
	CXTP    WireFigures    `json:"cxtp"`
	Moves   []*MoveReport  `json:"moves"`
	Up      FlowFigures    `json:"node_to_host"`
	Down    FlowFigures    `json:"host_to_node"`
	Witness WitnessFigures `json:"witness"`
}

// MoveReport is one move.
type MoveReport struct {
	Number  int          `json:"number"`
	Starter string       `json:"starter"` // "source", "target", "node"
	Early   bool         `json:"staged_early"`
	From    string       `json:"from"`
	To      string       `json:"to"`
	Failure string       `json:"failure,omitempty"`
	Crash   *CrashReport `json:"crash,omitempty"`
	Phases  Phases       `json:"phases"`
	Ladder  []Rung       `json:"ladder"`
	CXTP    WireFigures  `json:"cxtp"`
	Up      FlowFigures  `json:"node_to_host"`
	Down    FlowFigures  `json:"host_to_node"`
}

// Phases are a move's times in milliseconds, by the gateways' own clocks, which
// are one here.
type Phases struct {
	Stage    float64 `json:"stage_ms"`    // the trigger, to the target's promise at the source
	Grant    float64 `json:"grant_ms"`    // from there, or from the second trigger, to the durable decision
	Blackout float64 `json:"blackout_ms"` // the freeze begins, to the target is active
	Steer    float64 `json:"steer_ms"`    // from there to both ways steered
	Close    float64 `json:"close_ms"`    // from there to the end at both, grace included
	Total    float64 `json:"total_ms"`    // from the trigger; after early staging, from the second
}

// FlowFigures is the account of the inner packets of one direction.
type FlowFigures struct {
	Sent       uint64  `json:"sent"`
	Lost       uint64  `json:"lost"`
	Duplicated uint64  `json:"duplicated"`
	Replayed   uint64  `json:"replayed_accepted"`
	LongestGap float64 `json:"longest_gap_ms"`
}

// WitnessFigures is what the tap has seen on the wire.
type WitnessFigures struct {
	Packets       uint64 `json:"esp_packets"`
	SequenceTwice uint64 `json:"sequence_twice"` // (SPI, key, 64-bit sequence number)
	IVTwice       uint64 `json:"iv_twice"`       // (key, IV)
	Clear         uint64 `json:"clear"`          // datagrams of a gateway that are not ESP
	Unreadable    uint64 `json:"unreadable"`     // ESP packets that do not open with the keys
	Replays       uint64 `json:"replays"`        // packets that the tap sent a second time
	Carried       bool   `json:"esn_carried"`    // both SAs went past 2^32
}

// broken names the laws that the figures say were broken.
func broken(w WitnessFigures, up, down FlowFigures) []string {
	var laws []string
	law := func(n uint64, format string, args ...any) {
		if n > 0 {
			laws = append(laws, fmt.Sprintf(format, args...))
		}
	}
	law(w.SequenceTwice+w.IVTwice, "law 1, one sender: %d times a (SPI, key, sequence number) was used again, %d times a (key, IV)", w.SequenceTwice, w.IVTwice)
	law(w.Unreadable, "law 1, one sender: %d ESP packets did not open under the session's keys", w.Unreadable)
	law(w.Clear, "law 3, no cleartext: %d packets left a gateway unprotected", w.Clear)
	law(up.Replayed+down.Replayed, "law 4, no replay: %d packets were accepted a second time", up.Replayed+down.Replayed)
	law(up.Duplicated+down.Duplicated, "law 4, no replay: %d inner packets were delivered twice", up.Duplicated+down.Duplicated)
	law(up.Lost+down.Lost, "the lossless mode's promise: %d inner packets were lost", up.Lost+down.Lost)
	return laws
}

// conclude fills in the end of the report.
func (r *Report) conclude(d *demo, err error) {
	if err != nil {
		r.Failure = err.Error()
	}
	r.Up, r.Down = d.up.total(), d.down.total()
	r.Witness = d.tap.witness.figures()
	r.Witness.Replays = d.tap.replayed()
	r.CXTP = d.lost()
	up, down := r.Up, r.Down
	var more []string
	for _, m := range r.Moves {
		if m.Crash != nil { // a gateway that dies takes packets and windows with it; judge says where it may not
			up.Lost, down.Lost = 0, 0
			up.Replayed -= m.Crash.Exposed
			more = append(more, m.Crash.Broken...)
		}
	}
	r.Broken = append(broken(r.Witness, up, down), more...)
	r.Kept = len(r.Broken) == 0
}

// report describes a move as it has gone so far, and waits for what is under way.
func (m *move) report(ctx context.Context) *MoveReport {
	r := m.describe(ctx)
	m.up, r.Up = m.d.up.cut(ctx, m.up)
	m.down, r.Down = m.d.down.cut(ctx, m.down)
	return r
}

// describe is a report without an account of the packets.
func (m *move) describe(ctx context.Context) *MoveReport {
	for _, g := range m.d.gateways {
		g.poll(ctx) // of a gateway that is gone there is nothing more to show
	}
	r := &MoveReport{
		Number: m.number, Starter: string(m.plan.by), Early: m.plan.early, From: m.from.Name, To: m.to.Name,
		Crash: m.crash, Ladder: m.ladder(), Phases: m.phases(), CXTP: m.d.lost().since(m.wires),
	}
	if m.failed != nil {
		r.Failure = m.failed.Error()
	}
	return r
}

// phases reads the times of the move from the gateways' traces.
func (m *move) phases() (p Phases) {
	source, target := m.d.gateways[m.plan.from].since(m.steps[m.plan.from]), m.d.gateways[m.plan.to].since(m.steps[m.plan.to])
	staged, _ := find(source, "report", "staged")
	granted, _ := find(source, "report", "granted")
	freeze, _ := find(source, "begin", "freeze")
	active, _ := find(target, "report", "active")
	steered, _ := find(target, "report", "steered")
	closed, _ := find(source, "report", "closed")
	span := func(from, to time.Time) float64 {
		if from.IsZero() || to.IsZero() {
			return 0
		}
		return milliseconds(to.Sub(from))
	}
	decided := staged.Time
	if m.plan.early {
		decided = m.ordered
	}
	return Phases{
		Stage: span(m.started, staged.Time), Grant: span(decided, granted.Time),
		Blackout: span(freeze.Time, active.Time), Steer: span(active.Time, steered.Time),
		Close: span(steered.Time, closed.Time), Total: span(m.ordered, closed.Time),
	}
}

// show prints a move, as text.
func (o *Options) show(m *MoveReport) {
	if o.JSON {
		return
	}
	m.write(o.Out)
}

func (m *MoveReport) write(w io.Writer) {
	how := ""
	if m.Early {
		how = ", staged early"
	}
	fmt.Fprintf(w, "Move %d: %s to %s, started by the %s%s\n\n", m.Number, m.From, m.To, m.Starter, how)
	writeLadder(w, m.Ladder)
	p := m.Phases
	fmt.Fprintln(w)
	switch {
	case m.Crash != nil:
		m.Crash.write(w)
	case m.Failure != "":
		fmt.Fprintf(w, "  failed   %s\n", m.Failure)
	default:
		fmt.Fprintf(w, "  phases   stage %.1f, grant %.1f, blackout %.1f, steer %.1f, close %.1f; %.1f ms in all\n",
			p.Stage, p.Grant, p.Blackout, p.Steer, p.Close, p.Total)
	}
	if m.CXTP.Datagrams > 0 {
		fmt.Fprintf(w, "  cxtp     %d datagrams, of which %d were dropped\n", m.CXTP.Datagrams, m.CXTP.Dropped)
	}
	fmt.Fprintf(w, "  traffic  node to host %v\n           host to node %v\n\n", m.Up, m.Down)
}

func (f FlowFigures) String() string {
	return fmt.Sprintf("%d packets: %d lost, %d twice, %d replayed; longest gap %.1f ms", f.Sent, f.Lost, f.Duplicated, f.Replayed, f.LongestGap)
}
