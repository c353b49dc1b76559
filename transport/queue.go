package transport

import (
	"fmt"
	"slices"
	"time"
)

// queueOverhead is charged for each waiting message on top of its length, in
// octets, so that many small ones are bounded too.
const queueOverhead = 128

// message is one that waits for SCTP.
type message struct {
	data    []byte
	expires time.Time // zero: never
}

func (m message) stale(now time.Time) bool {
	return !m.expires.IsZero() && !now.Before(m.expires)
}

// queue holds what waits for one peer, in order, within a limit in octets. It
// owns its copies of the messages and wipes them: they carry other people's
// keys.
type queue struct {
	limit, octets int
	items         []message
}

// push adds a copy of a message. Stale ones make room first; their number is
// returned.
func (q *queue) push(data []byte, expires, now time.Time) (expired int, err error) {
	cost := len(data) + queueOverhead
	if q.octets+cost > q.limit {
		expired = q.expire(now)
	}
	if q.octets+cost > q.limit {
		return expired, fmt.Errorf("%w: %d octets wait", ErrQueueFull, q.octets)
	}
	q.octets += cost
	q.items = append(q.items, message{slices.Clone(data), expires})
	return expired, nil
}

func (q *queue) empty() bool { return len(q.items) == 0 }

func (q *queue) front() message { return q.items[0] }

func (q *queue) pop() {
	q.forget(q.items[0])
	q.items[0] = message{}
	if q.items = q.items[1:]; len(q.items) == 0 {
		q.items = nil // let go of the array
	}
}

// expire drops what is stale and returns how many that were.
func (q *queue) expire(now time.Time) int {
	before := len(q.items)
	q.items = slices.DeleteFunc(q.items, func(m message) bool {
		if m.stale(now) {
			q.forget(m)
			return true
		}
		return false
	})
	return before - len(q.items)
}

func (q *queue) forget(m message) {
	q.octets -= len(m.data) + queueOverhead
	clear(m.data)
}

// wipe drops everything.
func (q *queue) wipe() {
	for _, m := range q.items {
		q.forget(m)
	}
	q.items = nil
}
