package live

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/conform"
)

// trial is one run of a case. Its methods end the case when the router does
// something else than what they want, so that a case reads as what should happen.
type trial struct {
	*Prober
	ctx     context.Context
	began   time.Time
	finding conform.Finding
}

// limit bounds a case, whatever the subject's times are.
const limit = 2 * time.Minute

// try runs a case.
func (p *Prober) try(ctx context.Context, run func(*trial)) conform.Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p.inbox.clear()
	t := &trial{Prober: p, ctx: ctx, began: time.Now(), finding: conform.Pass()}
	done := make(chan struct{})
	go func() { // so that fail and skip can end it from within
		defer close(done)
		run(t)
	}()
	<-done
	return t.finding
}

// fail ends the case: the router does something else.
func (t *trial) fail(format string, args ...any) {
	t.finding = conform.Fail(format, args...)
	runtime.Goexit()
}

// skip ends the case: it cannot be run.
func (t *trial) skip(format string, args ...any) {
	t.finding = conform.Skip(format, args...)
	runtime.Goexit()
}

// check ends the case unless the router did what it should.
func (t *trial) check(ok bool, format string, args ...any) {
	if !ok {
		t.fail(format, args...)
	}
}

// must ends the case when the prober itself cannot go on.
func (t *trial) must(err error) {
	if err != nil {
		t.skip("the prober failed: %v", err)
	}
}

func (t *trial) patience() time.Duration { return t.subject.Timers.Patience.Duration }

func (t *trial) quiet() time.Duration { return t.subject.Timers.Quiet.Duration }

func (t *trial) maxTransfer() time.Duration { return t.subject.Timers.MaxTransfer.Duration }

// pause lets time pass.
func (t *trial) pause(d time.Duration) {
	wait(t.ctx, nil, d)
	t.goOn()
}

// goOn ends the case when the run has been interrupted.
func (t *trial) goOn() {
	if t.ctx.Err() != nil {
		t.skip("interrupted")
	}
}

// connected waits for the association. A router that has not been there for longer
// than the prober's patience is not waited for again.
func (t *trial) connected() {
	for {
		up, since, why := t.link()
		if up {
			return
		}
		left := t.patience() - time.Since(since)
		if left <= 0 {
			t.fail("there is no association with the router: %v", why)
		}
		_, changed := t.inbox.find(func(*arrival) bool { return false })
		wait(t.ctx, changed, left)
		t.goOn()
	}
}

// hears ends the case where the subject has no endpoint for nodes.
func (t *trial) hears() {
	if t.nodes == nil {
		t.skip("the subject names no endpoint for mobile nodes (node)")
	}
}

// toRouter sends octets over the association.
func (t *trial) toRouter(octets []byte) {
	t.connected()
	t.must(t.routers.Send(peerName, octets, time.Time{}))
}

// toNodeSide sends octets as a mobile node does.
func (t *trial) toNodeSide(octets []byte) {
	t.hears()
	for {
		left := t.Prober.pace.next(time.Now())
		if left == 0 {
			break
		}
		t.pause(left)
	}
	t.must(t.nodes.Send(t.node, octets))
}

// send sends a message to where messages of its type go.
func (t *trial) send(m cxtp.Message) {
	if octets := t.encoded(m); m.Type() == cxtp.TypeCTAR {
		t.toNodeSide(octets)
	} else {
		t.toRouter(octets)
	}
}

func (t *trial) encoded(m cxtp.Message) []byte {
	octets, err := m.Append(nil)
	t.must(err)
	return octets
}

// await waits for what look wants, which is called what, and ends the case when it
// does not come.
func (t *trial) await(what string, look func(*arrival) bool) *arrival {
	a := t.within(t.patience(), look)
	if a == nil {
		t.fail("%s did not come within %v%s", what, t.patience(), t.instead())
	}
	return a
}

// within waits for what look wants; nil = it has not come.
func (t *trial) within(d time.Duration, look func(*arrival) bool) *arrival {
	end := time.Now().Add(d)
	for {
		a, changed := t.inbox.find(look)
		if a != nil {
			return a
		}
		t.sound()
		if !wait(t.ctx, changed, time.Until(end)) {
			t.goOn()
			return nil
		}
	}
}

// never ends the case when something comes that must not, in the time in which it
// would.
func (t *trial) never(what string, look func(*arrival) bool) {
	if a := t.within(t.quiet(), look); a != nil {
		t.fail("%s came, %v after the case had begun: %s", what, a.at.Sub(t.began).Round(time.Millisecond), a.summary())
	}
}

// sound ends the case when the router has sent what is no message, or has ended the
// association.
func (t *trial) sound() {
	for _, a := range t.inbox.all() {
		if a.err != nil {
			t.fail("the router sent, %s, %d octets that are no message: %v", a.side, len(a.octets), a.err)
		}
	}
	if up, since, why := t.link(); !up && since.After(t.began) {
		t.fail("the router's association ended: %v", why)
	}
}

// instead tells what came in place of what was awaited.
func (t *trial) instead() string {
	text := ""
	for _, a := range t.inbox.all() {
		if !a.taken && a.message != nil && len(text) < 200 {
			text += ", " + a.summary()
		}
	}
	if text == "" {
		return "; nothing else came"
	}
	return "; there came" + text[1:]
}

// summary is a message in a few words, without its data.
func (a *arrival) summary() string {
	text := a.message.Type().String()
	switch m := a.message.(type) {
	case *cxtp.CTAA:
		text += fmt.Sprint(" ", m.Failed)
	case *cxtp.CTDR:
		text += fmt.Sprintf(" S=%t %v", m.Success, m.Statuses)
	case *cxtp.CTD:
		text += " with"
		for _, b := range m.Blocks {
			text += fmt.Sprintf(" %v", b.FPT)
		}
	case *cxtp.Outcome:
		text += fmt.Sprintf(" %v %v", m.State, m.Statuses)
	}
	return text
}

// is wants a message of a type about a node. *M is a message.
func is[M any, P interface {
	*M
	cxtp.Message
}](previous netip.Addr) func(*arrival) bool {
	return func(a *arrival) bool {
		m, ok := a.message.(P)
		return ok && about(m) == previous
	}
}

// about is the node that a message is about.
func about(m cxtp.Message) netip.Addr {
	switch m := m.(type) {
	case *cxtp.CTAR:
		return m.Previous
	case *cxtp.CTAA:
		return m.Previous
	case *cxtp.CTD:
		return m.Previous
	case *cxtp.CTDR:
		return m.Previous
	case *cxtp.CTC:
		return m.Previous
	case *cxtp.CTReq:
		return m.Previous
	case *cxtp.Outcome:
		return m.Previous
	}
	return netip.Addr{}
}

// expect awaits the message of a type about a node.
func expect[M any, P interface {
	*M
	cxtp.Message
}](t *trial, previous netip.Addr) (P, *arrival) {
	var want P = new(M)
	a := t.await(fmt.Sprintf("the %v about %v", want.Type(), previous), is[M, P](previous))
	return a.message.(P), a
}

// refuse ends the case when a message of a type about a node comes.
func refuse[M any, P interface {
	*M
	cxtp.Message
}](t *trial, previous netip.Addr) {
	var want P = new(M)
	t.never(fmt.Sprintf("a %v", want.Type()), is[M, P](previous))
}
