package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// move is one move under way.
type move struct {
	d        *demo
	plan     plan
	number   int
	from, to *gateway
	started  time.Time  // the first trigger
	ordered  time.Time  // the trigger of the move itself, after early staging
	steps    [2]int     // steps of the gateways before the move
	first    uint64     // the node's last packet before it
	asked    chan error // what became of the last trigger
	sequence uint32     // of the node's request
	up, down flowCut
	wires    WireFigures // of all datagrams before the move
	failed   *failure    // as --break certificate wants it
	crash    *CrashReport
}

func (d *demo) newMove(number int, p plan) *move {
	return &move{d: d, plan: p, number: number, from: d.gateways[p.from], to: d.gateways[p.to]}
}

// moves makes all moves and adds them to the report.
func (d *demo) moves(ctx context.Context, report *Report) error {
	up, down, err := d.warmUp(ctx)
	if err != nil {
		return err
	}
	for i, p := range d.opts.plans() {
		m := d.newMove(i+1, p)
		m.up, m.down = up, down
		r, err := m.run(ctx)
		report.Moves = append(report.Moves, r)
		if ctx.Err() == nil {
			d.opts.show(r)
		}
		if err != nil {
			return fmt.Errorf("move %d (%s): %w", m.number, m.title(), err)
		}
		up, down = m.up, m.down
		if d.opts.Break != BreakNothing && len(broken(d.tap.witness.figures(), r.Up, r.Down)) > 0 {
			return nil // it has shown
		}
	}
	if d.opts.Break == BreakCertificate {
		return d.strangerRefused(ctx, report)
	}
	return nil
}

// strangerRefused asks the gateways whether the certificate is why nothing moved.
func (d *demo) strangerRefused(ctx context.Context, report *Report) error {
	for _, g := range d.gateways {
		status, err := g.control.Status(ctx)
		if err != nil {
			return fmt.Errorf("failed to ask %s for its state: %w", g.Name, err)
		}
		for _, p := range status.Peers {
			if p.Error != "" && report.Refusal == "" {
				report.Refusal = fmt.Sprintf("%s says of %s: %s", g.Name, p.Peer, p.Error)
			}
		}
	}
	if report.Refusal == "" {
		return errors.New("no move succeeded, but no gateway says that it refused the other's certificate")
	}
	return nil
}

// warmUp waits until the gateways have found each other and packets arrive. It
// returns where the account of what follows begins.
func (d *demo) warmUp(ctx context.Context) (up, down flowCut, err error) {
	up, down = d.up.begin(), d.down.begin()
	ok, err := settle(ctx, d.opts.patience(), func() (bool, error) { return d.connected(ctx) })
	if err == nil && !ok {
		err = fmt.Errorf("the gateways did not find each other within %v", d.opts.patience())
	}
	if err != nil {
		return up, down, err
	}
	d.host.burst()
	d.node.burst()
	up, upFigures := d.up.cut(ctx, up)
	down, downFigures := d.down.cut(ctx, down)
	if lost := upFigures.Lost + downFigures.Lost; lost > 0 {
		err = fmt.Errorf("before the first move %d of %d inner packets were lost: is this machine too busy for --rate %d?",
			lost, upFigures.Sent+downFigures.Sent, d.opts.Rate)
	}
	return up, down, err
}

// connected reports whether the gateways have found each other, or have found
// out that they are strangers.
func (d *demo) connected(ctx context.Context) (bool, error) {
	for _, g := range d.gateways {
		status, err := g.control.Status(ctx)
		if err != nil {
			return false, fmt.Errorf("failed to ask %s for its state: %w", g.Name, err)
		}
		for _, p := range status.Peers {
			if !p.Up && (d.opts.Break != BreakCertificate || p.Error == "") {
				return false, nil
			}
		}
	}
	return true, nil
}

func (m *move) title() string {
	early := ""
	if m.plan.early {
		early = ", staged early"
	}
	return fmt.Sprintf("%s to %s, started by the %s%s", m.from.Name, m.to.Name, m.plan.by, early)
}

// begin begins the account of the move.
func (m *move) begin(ctx context.Context) error {
	for i, g := range m.d.gateways {
		if err := g.poll(ctx); err != nil {
			return err
		}
		m.steps[i] = g.steps()
	}
	m.first = m.d.up.sent()
	m.d.tap.begin()
	m.started = time.Now()
	m.ordered = m.started
	m.wires = m.d.lost()
	return nil
}

// run makes the move and puts the laws to the test around it.
func (m *move) run(ctx context.Context) (*MoveReport, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the requests of this move
	defer cancel()
	if err := m.begin(ctx); err != nil {
		return m.report(ctx), err
	}
	err := m.make(ctx)
	if m.d.opts.Break == BreakCertificate {
		err = m.mustFail(err)
	}
	if err != nil {
		return m.report(ctx), err
	}
	if m.d.opts.Break != BreakCertificate {
		m.d.tap.closed(m.first)
		if err := m.d.probe(ctx, m.plan.from); err != nil {
			return m.report(ctx), err
		}
	}
	m.d.node.burst() // behind the replayed packets, so that these are judged before it arrives
	return m.report(ctx), ctx.Err()
}

// make triggers the move and waits for its end.
func (m *move) make(ctx context.Context) error {
	if m.plan.early {
		if err := m.stage(ctx); err != nil {
			return err
		}
		m.d.host.burst()
		m.d.down.drained(ctx, m.down.number, m.d.down.sent())
		m.ordered = time.Now()
	}
	m.order(ctx)
	return m.await(ctx, cxtp.EventClosed)
}

// stage is the first trigger of a move that is staged early, and what comes of
// it.
func (m *move) stage(ctx context.Context) (err error) {
	switch m.plan.by {
	case bySource:
		m.ask(ctx, m.from, control.Handover{Session: m.d.keys.id, To: cxtp.RouterID(m.to.Name), Stage: true})
	case byTarget:
		m.ask(ctx, m.to, m.pull(true))
	case byNode:
		m.sequence, err = m.request(ctx, m.from, m.to)
	}
	if err != nil {
		return err
	}
	return m.await(ctx, cxtp.EventStaged)
}

// order is the trigger of the move itself. What a target staged early it may not
// activate without the node's token.
func (m *move) order(ctx context.Context) {
	switch {
	case m.plan.by == bySource:
		m.ask(ctx, m.from, control.Handover{Session: m.d.keys.id, To: cxtp.RouterID(m.to.Name)})
	case m.plan.by == byTarget && !m.plan.early:
		m.ask(ctx, m.to, m.pull(false))
	default:
		m.trigger(func() error {
			_, err := m.request(ctx, m.to, m.from)
			return err
		})
	}
}

func (m *move) pull(stage bool) control.Handover {
	return control.Handover{Session: m.d.keys.id, Previous: m.d.keys.previous, From: cxtp.RouterID(m.from.Name), Stage: stage}
}

// trigger asks for something in the background; asked has what became of it.
func (m *move) trigger(request func() error) {
	asked := make(chan error, 1)
	m.asked = asked
	go func() { asked <- request() }()
}

// ask asks a gateway, as its operator does.
func (m *move) ask(ctx context.Context, g *gateway, h control.Handover) {
	m.trigger(func() error {
		last, err := g.control.Handover(ctx, h, nil)
		if err == nil && slices.Contains(failures, last.Event) {
			err = &failure{g.Name, last.Event.String(), last.Detail}
		}
		return err
	})
}

// request asks a router, as the node does, and returns the sequence number. Where
// all of a request's repetitions may get lost, it is made again.
func (m *move) request(ctx context.Context, at, naming *gateway) (uint32, error) {
	role := cxtp.RoleArriving
	if at == m.from {
		role = cxtp.RoleLeaving
	}
	for sequence := m.sequence; ; {
		answer, err := m.d.node.agent.Request(ctx, at.Router, naming.Router, role, sequence)
		switch {
		case err != nil:
			return 0, err
		case answer.TimedOut && m.d.opts.Loss > 0 && time.Since(m.ordered) < m.d.opts.patience():
			sequence = answer.Sequence
		case answer.TimedOut:
			return 0, &failure{"node", "failed", at.Name + " did not answer"}
		case !answer.Moved():
			return 0, &failure{"node", "failed", at.Name + " answered: " + answer.Failed[0].Status.String()}
		default:
			return answer.Sequence, nil
		}
	}
}

// failure is a move that did not come to its end, in the words of who says so.
type failure struct{ who, event, detail string }

func (f *failure) Error() string {
	return fmt.Sprintf("%s says %q: %s", f.who, f.event, f.detail)
}

// failures are the reports that end a move without success.
var failures = []cxtp.Event{cxtp.EventRefused, cxtp.EventFailed, cxtp.EventThawed, cxtp.EventEnded}

// failures are those of them that end this move. A node whose acknowledgement of
// new keys got lost asks with one that the gateway does not know, and again with
// one that it does: then the node's own answer counts.
func (m *move) failures() []cxtp.Event {
	if m.plan.by == byNode && m.d.opts.Loss > 0 {
		return slices.DeleteFunc(slices.Clone(failures), func(e cxtp.Event) bool { return e == cxtp.EventFailed })
	}
	return failures
}

// await reads both traces until both gateways have reported an event of this
// move, or somebody says that it has failed.
func (m *move) await(ctx context.Context, want cxtp.Event) error {
	ok, err := settle(ctx, m.d.opts.patience(), func() (bool, error) {
		select {
		case err := <-m.asked:
			if err != nil {
				return false, err
			}
		default:
		}
		reported := 0
		for i, g := range m.d.gateways {
			if err := g.poll(ctx); err != nil {
				return false, err
			}
			events := g.since(m.steps[i])
			for _, bad := range m.failures() {
				if e, ok := find(events, "report", bad.String()); ok {
					return false, &failure{g.Name, e.What, e.Detail}
				}
			}
			if _, ok := find(events, "report", want.String()); ok {
				reported++
			}
		}
		return reported == len(m.d.gateways), nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("it was not %v within %v", want, m.d.opts.patience())
	}
	return err
}

// find is the first step of its kind.
func find(events []control.TraceEvent, kind, what string) (control.TraceEvent, bool) {
	i := slices.IndexFunc(events, func(e control.TraceEvent) bool { return e.Kind == kind && e.What == what })
	if i < 0 {
		return control.TraceEvent{}, false
	}
	return events[i], true
}

// mustFail turns a refusal into what was to be shown, and a success into what
// must not be.
func (m *move) mustFail(err error) error {
	var f *failure
	switch {
	case err == nil:
		return errors.New("law 5, no unauthorised transfer: the session went to a gateway with a stranger's certificate")
	case errors.As(err, &f):
		m.failed = f
		return nil
	}
	return err
}

// probeLimit is how long it may take until a gateway has looked at the probes.
const probeLimit = 2 * time.Second

// probe sends packets for the node to a gateway that has forgotten it, and waits
// until they were discarded, or were seen on the wire.
func (d *demo) probe(ctx context.Context, at int) error {
	return d.discarded(ctx, d.gateways[at], "policy_drops", func() uint64 {
		d.host.probe(at)
		return burstPackets
	}, func() uint64 { return d.tap.witness.figures().Clear })
}

// discarded sends something to a gateway, which should discard and count it all,
// and waits until it has, or until what must not happen did.
func (d *demo) discarded(ctx context.Context, g *gateway, counter string, send, mishaps func() uint64) error {
	before, err := g.counter(ctx, counter)
	if err != nil {
		return err
	}
	mishapsBefore := mishaps()
	sent := send()
	_, err = settle(ctx, probeLimit, func() (bool, error) {
		now, err := g.counter(ctx, counter)
		return now >= before+sent || mishaps() > mishapsBefore, err
	})
	return err
}
