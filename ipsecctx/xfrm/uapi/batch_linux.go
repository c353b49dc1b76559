package uapi

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A send holds at most so many requests and, but for the last of them, octets.
// What it costs the kernel to take a send is then small beside what the
// requests cost, and all their answers fit the receive buffer many times over.
const (
	sendRequests = 128
	sendOctets   = 64 << 10
)

// Batch makes many requests in few system calls and returns as many results, in
// order. Each stands alone: a refused one changes nothing for the others. The
// error is for what concerns them all (the context, the socket); what was done
// by then has its result, and the Err of the others says so.
func (c *Conn) Batch(ctx context.Context, requests []Request) ([]Result, error) {
	results := make([]Result, len(requests))
	return results, c.batch(ctx, requests, results)
}

func (c *Conn) batch(ctx context.Context, requests []Request, results []Result) error {
	done := 0
	err := c.requests.use(ctx, func() error {
		for done < len(requests) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := c.exchange(ctx, requests[done:], results[done:])
			done += n
			if err != nil {
				return err
			}
		}
		return nil
	})
	for i := done; i < len(requests); i++ {
		results[i].Err = fmt.Errorf("not asked: %w", err)
	}
	return err
}

// exchange is one send and its answers.
//
// The kernel carries out all of a send before the call returns, and has queued
// its answers by then. It answers every request that fails, but one that
// succeeds only if it is asked to; the last is. When that answer is there, a
// request before it that has none has succeeded. If the kernel had to drop an
// answer it says so (ENOBUFS) ahead of those that are there, and from then on no
// answer means nothing.
type exchange struct {
	conn     *Conn
	requests []Request
	results  []Result
	first    uint32 // number of the first request; the others count on
	last     int    // the last request that was sent; -1 = none was
	acked    []bool
	lost     bool // an answer or an event was dropped
}

// exchange makes the first of the requests, as many as go into a send, and
// returns how many these are.
func (c *Conn) exchange(ctx context.Context, requests []Request, results []Result) (int, error) {
	n := min(len(requests), sendRequests)
	e := exchange{conn: c, requests: requests[:n], results: results[:n], first: c.seq, last: -1}
	defer c.out.wipe()
	e.encode()
	n = len(e.requests)
	c.seq += uint32(n)
	if e.last < 0 {
		return n, nil
	}
	leave, err := e.join()
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := c.requests.send(c.out.b); err != nil {
		return 0, fmt.Errorf("failed to send to XFRM: %w", err)
	}
	e.acked = make([]bool, n)
	err = e.collect(ctx)
	e.settle(ctx, err)
	return n, err
}

// encode writes the messages of as many requests as fit and cuts the exchange
// to these. A request that cannot be written has its result already.
func (e *exchange) encode() {
	w := &e.conn.out
	lastStart := 0
	for i := range e.requests {
		if len(w.b) > sendOctets {
			e.requests, e.results = e.requests[:i], e.results[:i]
			break
		}
		r := &e.requests[i]
		start := w.begin(uint16(r.Op), r.flags(), e.first+uint32(i), e.conn.requests.port)
		w.request(r, e.conn.kernel)
		if err := w.end(start); err != nil {
			e.results[i].Err = err
			continue
		}
		e.last, lastStart = i, start
	}
	if e.last >= 0 {
		w.addFlags(lastStart, flagAck)
	}
}

// join makes the socket hear of deletions for as long as the exchange lasts, if
// there is one in it.
func (e *exchange) join() (leave func(), err error) {
	for i := range e.requests {
		if e.requests[i].Op == OpDeleteState {
			s := e.conn.requests.socket
			if err := s.membership(unix.NETLINK_ADD_MEMBERSHIP, GroupStates); err != nil {
				return nil, fmt.Errorf("failed to join the events of XFRM: %w", err)
			}
			return func() { s.membership(unix.NETLINK_DROP_MEMBERSHIP, GroupStates) }, nil
		}
	}
	return func() {}, nil
}

// collect receives until the last request is answered, or, if answers were
// dropped, until there are no more.
func (e *exchange) collect(ctx context.Context) error {
	for !e.acked[e.last] && e.results[e.last].Err == nil {
		err := e.conn.requests.poll(e.take)
		if err == errEmpty && !e.lost {
			err = e.conn.requests.receive(ctx, e.take)
		}
		switch {
		case errors.Is(err, unix.ENOBUFS):
			e.lost = true
		case err == errEmpty:
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// take takes one message, which may have nothing to do with this exchange.
func (e *exchange) take(m message) bool {
	i := m.seq - e.first
	if m.port != e.conn.requests.port || i >= uint32(len(e.requests)) {
		return true
	}
	r, to := &e.requests[i], &e.results[i]
	if m.kind != msgError {
		r.answer(m.kind, m.payload, to)
		return true
	}
	errno, text, err := decodeError(m.flags, m.payload)
	switch {
	case err != nil:
		to.Err = r.without(err)
	case errno != 0:
		to.Err = r.refused(errno, text)
	default:
		e.acked[i] = true
	}
	return true
}

// settle gives an error to the requests that have no answer and needed one.
func (e *exchange) settle(ctx context.Context, err error) {
	for i := range e.requests {
		r, to := &e.requests[i], &e.results[i]
		carriedOut := e.acked[i] || err == nil && !e.lost
		switch {
		case to.Err != nil || r.answered(to) || carriedOut && !r.asks():
		case r.Op == OpDeleteState && (carriedOut || e.gone(ctx, r.ID)):
			to.Err = r.without(ErrFinalUnknown)
		default:
			to.Err = r.without(ErrOutcomeUnknown)
		}
	}
}

// gone reports whether an SA is certainly not there.
func (e *exchange) gone(ctx context.Context, id StateID) bool {
	var result [1]Result
	e.conn.out.wipe()
	e.conn.exchange(ctx, []Request{{Op: OpGetState, ID: id}}, result[:])
	if result[0].State != nil {
		result[0].State.Wipe()
	}
	return errors.Is(result[0].Err, ErrNotFound)
}
