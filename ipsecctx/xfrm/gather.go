package xfrm

import (
	"context"
	"errors"
	"sync"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// gatherMost bounds the requests that are sent together, so that nobody waits
// long for those of others.
const gatherMost = 200

// gatherer sends together what many sessions ask of the kernel at the same time:
// a message on its own costs several times what one among a hundred does. Nobody
// waits for others to come; who finds the kernel busy is sent with whoever else
// did meanwhile.
type gatherer struct {
	kernel

	mu      sync.Mutex
	busy    bool
	waiting []*batch
}

// batch is one caller's requests, which stay together and in their order.
type batch struct {
	requests []uapi.Request
	results  []uapi.Result
	err      error
	done     bool
	turn     chan struct{} // it is done, or its caller is to send
}

// Batch implements kernel.
func (g *gatherer) Batch(ctx context.Context, requests []uapi.Request) ([]uapi.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	own := &batch{requests: requests, turn: make(chan struct{}, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, own)
	if g.busy {
		g.mu.Unlock()
		<-own.turn
		if own.done {
			return own.results, own.err
		}
		g.mu.Lock()
	}
	g.busy = true
	together := g.take()
	g.mu.Unlock()

	// Whoever else is in it has not agreed to this caller's deadline.
	g.send(context.WithoutCancel(ctx), together)

	g.mu.Lock()
	if g.busy = len(g.waiting) > 0; g.busy {
		g.waiting[0].turn <- struct{}{}
	}
	g.mu.Unlock()
	for _, b := range together {
		if b.done = true; b != own {
			b.turn <- struct{}{}
		}
	}
	return own.results, own.err
}

// take takes those who have waited longest, the first of them in any case.
func (g *gatherer) take() []*batch {
	n, requests := 0, 0
	for n < len(g.waiting) && (n == 0 || requests+len(g.waiting[n].requests) <= gatherMost) {
		requests += len(g.waiting[n].requests)
		n++
	}
	together := g.waiting[:n:n]
	g.waiting = append([]*batch(nil), g.waiting[n:]...)
	return together
}

// send makes the requests of several callers and gives each its results.
func (g *gatherer) send(ctx context.Context, together []*batch) {
	if len(together) == 1 {
		together[0].results, together[0].err = g.kernel.Batch(ctx, together[0].requests)
		return
	}
	var all []uapi.Request
	for _, b := range together {
		all = append(all, b.requests...)
	}
	results, err := g.kernel.Batch(ctx, all)
	for len(results) < len(all) { // what is missing is of no known outcome
		results = append(results, uapi.Result{Err: errors.Join(uapi.ErrOutcomeUnknown, err)})
	}
	for _, b := range together {
		b.results, b.err = results[:len(b.requests):len(b.requests)], err
		results = results[len(b.requests):]
	}
}
