package daemon

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// engine steps the pure machine and carries out what it decides. It decides
// nothing itself.
//
// Inputs come from many goroutines; whoever finds the engine idle works through
// what has queued, and leaves what comes meanwhile to the pool. That keeps the
// machine to one goroutine at a time, a message is answered on the goroutine that
// read it, and nobody is kept from reading the next.
type engine struct {
	log     *slog.Logger
	router  *cxtp.Router
	feature features.Feature
	persist func(cxtp.Record, func(error))
	send    func(to cxtp.RouterID, msg []byte, expires time.Time) error
	toNode  func(to cxtp.SendNode, msg []byte) error
	steer   func(ctx context.Context, s cxtp.Steer) error
	fatal   func(error) // the journal failed: nothing may be decided any more
	trace   *trace

	mu      sync.Mutex
	queue   []work
	running bool

	// Owned by whoever runs the queue.
	spent   []work // the queue's next storage
	buffer  []byte
	timer   *time.Timer
	armed   time.Time // what the timer is set to; zero = nothing
	watch   map[cxtp.Ticket]func(cxtp.Report)
	stopped bool // results that still come are of no use

	tickets atomic.Uint64
	ctx     context.Context
	pool    *pool
	chains  chains
}

// work is one thing to do with the machine: step it, or call a function.
type work struct {
	in cxtp.Input
	f  func()
}

// run runs f on the machine, now if it is idle.
func (e *engine) run(f func()) { e.begin(work{f: f}) }

// input gives the machine something that happened, now if it is idle.
func (e *engine) input(in cxtp.Input) { e.begin(work{in: in}) }

func (e *engine) begin(w work) {
	if e.enqueue(w) {
		e.turn()
		if e.more() {
			e.pool.run(e.loop)
		}
	}
}

// post is input, but not on this goroutine.
func (e *engine) post(in cxtp.Input) {
	if e.enqueue(work{in: in}) {
		e.pool.run(e.loop)
	}
}

// enqueue appends to the queue and reports whether the caller has to see to it.
func (e *engine) enqueue(w work) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, w)
	idle := !e.running
	e.running = true
	return idle
}

// more reports whether the queue has grown; if not, the engine is idle.
func (e *engine) more() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = len(e.queue) > 0
	return e.running
}

func (e *engine) loop() {
	for more := true; more; more = e.more() {
		e.turn()
	}
}

// turn works through what has queued. The timer is set once for all of it.
func (e *engine) turn() {
	e.mu.Lock()
	queued := e.queue
	e.queue = e.spent[:0]
	e.mu.Unlock()
	for _, w := range queued {
		if w.f != nil {
			w.f()
		} else {
			e.step(w.in)
		}
	}
	e.arm()
	clear(queued)
	e.spent = queued
}

// call runs f on the machine and waits for it.
func (e *engine) call(f func()) {
	done := make(chan struct{})
	e.run(func() { defer close(done); f() })
	<-done
}

// ask is input for an operator's request: every report with its ticket goes to
// watcher, until unwatch.
func (e *engine) ask(watcher func(cxtp.Report), request func(cxtp.Ticket) cxtp.Input) (unwatch func()) {
	ticket := cxtp.Ticket(e.tickets.Add(1))
	e.run(func() {
		e.watch[ticket] = watcher
		e.step(request(ticket))
	})
	return func() { e.run(func() { delete(e.watch, ticket) }) }
}

func (e *engine) step(in cxtp.Input) {
	if e.stopped {
		return
	}
	now := time.Now()
	e.trace.input(now, in)
	e.carryOut(now, e.router.Step(now, in))
}

func (e *engine) tick() {
	if e.stopped {
		return
	}
	now := time.Now()
	e.armed = time.Time{}
	e.carryOut(now, e.router.Tick(now))
}

// carryOut begins the actions in order. Results come back as inputs, which wait
// in the queue: what is sent here is encoded before the machine steps again.
func (e *engine) carryOut(now time.Time, actions []cxtp.Action) {
	for _, action := range actions {
		e.trace.action(now, action)
		switch a := action.(type) {
		case cxtp.Send:
			e.sendMessage(a.Message, func(b []byte) error { return e.send(a.To, b, a.Expires) })
		case cxtp.SendNode:
			e.sendMessage(a.Message, func(b []byte) error { return e.toNode(a, b) })
		case cxtp.Persist:
			e.record(a)
		case cxtp.Do:
			e.chains.add(e.pool, a.Session, func() { e.do(action.(cxtp.Do)) }) // captures two words, not all of it
		case cxtp.Steer:
			// Not in the session's chain: a slow hook holds up no operation.
			e.pool.run(func() { e.finish(cxtp.Done{Session: a.Session, Op: a.Op}, e.steer(e.ctx, a)) })
		case cxtp.Report:
			e.report(a)
		}
	}
}

// arm sets the timer to the machine's next deadline.
func (e *engine) arm() {
	if e.stopped {
		return
	}
	at := e.router.Deadline()
	if at.Equal(e.armed) {
		return
	}
	e.armed = at
	if at.IsZero() {
		e.timer.Stop()
		return
	}
	e.timer.Reset(max(time.Until(at), 0))
}

// sendMessage encodes into the engine's buffer, which may hold keys and is
// cleared right away: the transport copies. A message that is not taken is as
// good as lost on the way, and the machine's repetitions are for that.
func (e *engine) sendMessage(m cxtp.Message, send func([]byte) error) {
	b, err := m.Append(e.buffer[:0])
	if err == nil {
		err = send(b)
	}
	clear(b)
	e.buffer = b[:0]
	if err != nil {
		var s step
		s.describe(m)
		e.log.Warn("failed to send", "message", s.event(0).What, "session", s.Session.String(), "error", err)
	}
}

func (e *engine) record(p cxtp.Persist) {
	session, op := p.Record.Session, p.Op
	e.persist(p.Record, func(err error) {
		if err != nil {
			e.fatal(err)
			return
		}
		e.post(cxtp.Done{Session: session, Op: op}) // the journal has more to write
	})
}

// finish gives an operation's result to the machine.
func (e *engine) finish(d cxtp.Done, err error) {
	d.Failed, d.Partial = features.Statuses(err), features.Missing(err)
	if err != nil {
		d.Detail = err.Error()
	}
	e.input(d)
}

// patience is how long an operation of the features may take. A kernel that hangs
// must not hang the session: the machine is told that it failed.
const patience = 10 * time.Second

// do carries out one operation of the features.
func (e *engine) do(d cxtp.Do) {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	ref := features.Ref{Session: d.Session, Epoch: d.Epoch, Peer: d.Peer, Previous: d.Previous}
	var s features.Snapshot
	var err error
	switch d.Verb {
	case cxtp.VerbExport:
		s, err = e.feature.Export(ctx, ref, d.Types)
	case cxtp.VerbStage:
		err = e.feature.Stage(ctx, ref, features.Staging{Blocks: d.Blocks, Manifest: d.Manifest, Deadline: d.Deadline, Reassign: d.Reassign})
	case cxtp.VerbFreeze:
		s, err = e.feature.Freeze(ctx, ref)
	case cxtp.VerbActivate:
		err = e.feature.Activate(ctx, ref, d.Blocks)
	case cxtp.VerbThaw:
		err = e.feature.Thaw(ctx, ref, d.Manifest)
	case cxtp.VerbLimit:
		err = e.feature.Limit(ctx, ref, d.Manifest)
	case cxtp.VerbSample:
		s, err = e.feature.Sample(ctx, ref)
	case cxtp.VerbRenew:
		err = e.feature.Renew(ctx, ref, features.Staging{Blocks: d.Blocks, Manifest: d.Manifest})
	case cxtp.VerbTakeOver:
		err = e.feature.TakeOver(ctx, ref)
	case cxtp.VerbRedirect:
		err = e.feature.Redirect(ctx, ref, d.Peer)
	case cxtp.VerbClose:
		s, err = e.feature.Close(ctx, ref)
	case cxtp.VerbMerge:
		err = e.feature.Merge(ctx, ref, d.Blocks)
	case cxtp.VerbRelease:
		err = e.feature.Release(ctx, ref)
	case cxtp.VerbDiscard:
		err = e.feature.Discard(ctx, ref)
	}
	// The blocks came in a message, and the feature has copied what it keeps.
	for _, b := range d.Blocks {
		clear(b.Data)
	}
	if err != nil {
		e.log.Warn("failed to carry out", "operation", d.Verb.String(), "session", d.Session.String(), "epoch", d.Epoch, "error", err)
	}
	e.finish(cxtp.Done{Session: d.Session, Op: d.Op, Blocks: s.Blocks, Manifest: s.Manifest, SPIs: e.reassigned(ref, d)}, err)
}

// reassigned lists the SPIs that a stage has changed.
func (e *engine) reassigned(ref features.Ref, d cxtp.Do) []cxtp.SPIChange {
	r, able := e.feature.(features.Reassigner)
	if !able || !d.Reassign {
		return nil
	}
	return r.Reassigned(ref)
}

// report logs, and tells the operator who asked. Of a move that goes well only the
// end is worth a line by default: in a mass move, the steps would be most of what
// the daemon does on its own account.
func (e *engine) report(r cxtp.Report) {
	level := slog.LevelInfo
	switch r.Event {
	case cxtp.EventRefused, cxtp.EventFailed, cxtp.EventThawed, cxtp.EventEnded, cxtp.EventSteering:
		level = slog.LevelWarn
	case cxtp.EventStaging, cxtp.EventStaged, cxtp.EventGranted, cxtp.EventFrozen, cxtp.EventActive, cxtp.EventSteered:
		if !r.Final {
			level = slog.LevelDebug
		}
	}
	if e.log.Enabled(e.ctx, level) {
		e.logReport(level, r)
	}
	if watcher := e.watch[r.Ticket]; watcher != nil {
		watcher(r)
	}
}

func (e *engine) logReport(level slog.Level, r cxtp.Report) {
	args := []any{"session", r.Session.String(), "epoch", r.Epoch, "peer", r.Peer}
	if r.Detail != "" {
		args = append(args, "detail", r.Detail)
	}
	for _, st := range r.Statuses {
		args = append(args, "status", st.Status.String())
	}
	e.log.Log(e.ctx, level, r.Event.String(), args...)
}

func newEngine(ctx context.Context, log *slog.Logger, router *cxtp.Router, feature features.Feature) *engine {
	e := &engine{
		log: log, router: router, feature: feature, trace: newTrace(traceEvents),
		watch: map[cxtp.Ticket]func(cxtp.Report){}, ctx: ctx,
		pool: newPool(), chains: chains{pending: map[cxtp.SessionID][]func(){}},
	}
	e.timer = time.AfterFunc(time.Hour, func() { e.run(e.tick) })
	e.timer.Stop()
	return e
}

// stop waits for the operations under way.
func (e *engine) stop() {
	e.call(func() { e.stopped = true; e.timer.Stop() })
	e.pool.end()
}
