package demo

import (
	"context"
	"sync"
	"time"
)

// flow keeps account of the inner packets of one direction. They are numbered
// from 1 by the sender; number 0 is outside of the account.
type flow struct {
	mu       sync.Mutex
	arrivals []uint8 // arrivals[n-1] says how often packet n has arrived
	replayed map[uint64]bool
	twice    uint64 // arrivals of packets that were there already
	accepted uint64 // the same, for packets that the tap had replayed
	last     time.Time
	gap      time.Duration // the longest time without an arrival, since the last cut
	longest  time.Duration // and of all
}

func newFlow() *flow { return &flow{replayed: map[uint64]bool{}} }

// next gives the number of the next packet to send.
func (f *flow) next() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.arrivals = append(f.arrivals, 0)
	return uint64(len(f.arrivals))
}

// arrived counts an arrival.
func (f *flow) arrived(number uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number == 0 || number > uint64(len(f.arrivals)) {
		return
	}
	if !f.last.IsZero() {
		f.gap = max(f.gap, now.Sub(f.last))
		f.longest = max(f.longest, f.gap)
	}
	f.last = now
	times := &f.arrivals[number-1]
	switch {
	case *times == 0:
	case f.replayed[number]:
		f.accepted++
	default:
		f.twice++
	}
	if *times < 255 {
		*times++
	}
}

// has reports whether a packet has arrived.
func (f *flow) has(number uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return number > 0 && number <= uint64(len(f.arrivals)) && f.arrivals[number-1] > 0
}

// replaying says that a packet which has arrived is about to be sent again by
// somebody who was not asked to.
func (f *flow) replaying(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replayed[number] = true
}

// sent is the number of the last packet sent.
func (f *flow) sent() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return uint64(len(f.arrivals))
}

// missing counts the packets in (after, upTo] that have not arrived.
func (f *flow) missing(after, upTo uint64) (n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.arrivals[after:upTo] {
		if times == 0 {
			n++
		}
	}
	return n
}

// begin begins a stretch of the account after a silence, which is no gap.
func (f *flow) begin() flowCut {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.gap = time.Time{}, 0
	return flowCut{number: uint64(len(f.arrivals)), twice: f.twice, accepted: f.accepted}
}

// cut ends a stretch of the account, begun at an earlier cut, with the last
// packet sent. It waits until that has arrived, with all before it.
func (f *flow) cut(ctx context.Context, before flowCut) (flowCut, FlowFigures) {
	upTo := f.sent()
	f.drained(ctx, before.number, upTo)
	return f.cutAt(before, upTo)
}

// cutNow is a cut that waits for nothing.
func (f *flow) cutNow(before flowCut) (flowCut, FlowFigures) { return f.cutAt(before, f.sent()) }

func (f *flow) cutAt(before flowCut, upTo uint64) (flowCut, FlowFigures) {
	lost := f.missing(before.number, upTo)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := flowCut{number: upTo, twice: f.twice, accepted: f.accepted}
	figures := FlowFigures{
		Sent: now.number - before.number, Lost: lost,
		Duplicated: f.twice - before.twice, Replayed: f.accepted - before.accepted,
		LongestGap: milliseconds(f.gap),
	}
	f.gap = 0
	return now, figures
}

// total is the account of everything.
func (f *flow) total() FlowFigures {
	sent := f.sent()
	lost := f.missing(0, sent)
	f.mu.Lock()
	defer f.mu.Unlock()
	return FlowFigures{Sent: sent, Lost: lost, Duplicated: f.twice, Replayed: f.accepted, LongestGap: milliseconds(f.longest)}
}

// flowCut is where a stretch of the account ends.
type flowCut struct{ number, twice, accepted uint64 }

// Draining ends when nothing has arrived for drainQuiet while packets are
// missing: they are lost, then.
const (
	drainPoll  = time.Millisecond
	drainQuiet = 2 * time.Second
)

// drained waits until every packet in (after, upTo] has arrived, or is not going
// to.
func (f *flow) drained(ctx context.Context, after, upTo uint64) {
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	missing, since := f.missing(after, upTo), time.Now()
	for missing > 0 && time.Since(since) < drainQuiet {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
		if m := f.missing(after, upTo); m < missing {
			missing, since = m, time.Now()
		}
	}
}

// maxCatchUp bounds how far behind its schedule a sender may be and still make
// up for it: a machine that stood still should not see a flood.
const maxCatchUp = 20 * time.Millisecond

// pace calls send rate times a second until ctx ends.
func pace(ctx context.Context, rate int, send func()) {
	interval := time.Second / time.Duration(rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		if now.Sub(due) > maxCatchUp {
			due = now
		}
		for ; !due.After(now); due = due.Add(interval) {
			send()
		}
		timer.Reset(time.Until(due))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
