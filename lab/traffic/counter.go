// Package traffic sends numbered packets between a mobile node and what it
// talks to, and counts what became of them: echoes there and back, and
// datagrams both ways.
package traffic

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Counter follows one flow of packets numbered from 0. Its methods are safe
// for concurrent use.
type Counter struct {
	every time.Duration // between packets

	mu       sync.Mutex
	sent     []time.Time   // by number
	arrived  []bool        // by number
	count    int           // of those
	arrivals []time.Time   // of first copies, in the order they came
	delay    time.Duration // the longest
	highest  int           // number that arrived, -1 = none

	refused, duplicated, reordered, strange int
}

// NewCounter makes a counter of a flow that is yet to begin, with a packet so
// often.
func NewCounter(every time.Duration) *Counter { return &Counter{every: every, highest: -1} }

// Sent gives the next packet its number.
func (c *Counter) Sent(now time.Time) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, now)
	c.arrived = append(c.arrived, false)
	return uint64(len(c.sent) - 1)
}

// Refused counts a packet that the sender's own kernel did not take. It is
// lost, too.
func (c *Counter) Refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused++
}

// Received counts a packet by its number.
func (c *Counter) Received(number uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case number >= uint64(len(c.sent)):
		c.strange++
		return
	case c.arrived[number]:
		c.duplicated++
		return
	case int(number) < c.highest:
		c.reordered++
	default:
		c.highest = int(number)
	}
	c.arrived[number] = true
	c.count++
	c.arrivals = append(c.arrivals, now)
	c.delay = max(c.delay, now.Sub(c.sent[number]))
}

// Count is how many packets were sent.
func (c *Counter) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

// Complete reports whether every packet has arrived.
func (c *Counter) Complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count == len(c.sent)
}

// Direction is what became of a flow.
type Direction struct {
	Sent, Received, Lost int
	Refused              int // of those lost, by the sender's own kernel
	Duplicated           int // copies beyond the first
	Reordered            int // arrived after a packet that was sent later
	Strange              int // arrived with a number that nobody sent

	Blackout time.Duration // the longest time without an arrival while packets were sent; see Direction
	Stall    time.Duration // the longest time between two packets sent
	Delay    time.Duration // the longest from sending to arrival
	Missing  []uint64      // the numbers of those lost
}

// String is the summary for a table.
func (d Direction) String() string {
	return fmt.Sprintf("%d of %d lost, gap %v", d.Lost, d.Sent, d.Blackout.Round(time.Millisecond))
}

// Direction sums up. A blackout is looked for from the first packet sent to the
// last, so that it is never shorter than the way of the first, and in the time
// in which the sender worked: where it stood still, all of a busy machine did.
func (c *Counter) Direction() Direction {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := Direction{
		Sent: len(c.sent), Received: c.count, Lost: len(c.sent) - c.count, Refused: c.refused,
		Duplicated: c.duplicated, Reordered: c.reordered, Strange: c.strange, Delay: c.delay,
	}
	for number, arrived := range c.arrived {
		if !arrived {
			d.Missing = append(d.Missing, uint64(number))
		}
	}
	if len(c.sent) == 0 {
		return d
	}
	worked := make([]time.Duration, len(c.sent)) // until each packet was sent
	for i := 1; i < len(c.sent); i++ {
		gap := c.sent[i].Sub(c.sent[i-1])
		d.Stall = max(d.Stall, gap)
		worked[i] = worked[i-1] + c.work(gap)
	}
	var last time.Duration
	next := 0 // the first packet that was sent after an arrival
	for _, at := range slices.Concat(c.arrivals, c.sent[len(c.sent)-1:]) {
		for next < len(c.sent) && !c.sent[next].After(at) {
			next++
		}
		now := worked[next-1] + c.work(at.Sub(c.sent[next-1]))
		d.Blackout = max(d.Blackout, now-last)
		last = now
	}
	return d
}

// work is how much of the time after a packet the sender did not stand still:
// all of it, unless it is many times as long as it should be.
func (c *Counter) work(gap time.Duration) time.Duration {
	const late = 4
	if gap > late*c.every {
		return c.every
	}
	return gap
}
