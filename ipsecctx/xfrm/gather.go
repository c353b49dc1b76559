package xfrm

import (
	"context"
	"errors"
	"sync"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// gatherMost bounds what is done together, in requests to the kernel or lines of
// the file, so that nobody waits long for others.
const gatherMost = 200

// gather has done together what many sessions ask for at the same time: a thing on
// its own costs several times what one among a hundred does. Nobody waits for
// others to come; who finds it at work is served next, with whoever else asked
// meanwhile.
type gather[T any] struct {
	do   func([]T)   // and gives each what it asked for
	size func(T) int // nil = 1

	mu      sync.Mutex
	busy    bool
	waiting []*asked[T]
}

// asked is one caller.
type asked[T any] struct {
	what T
	done bool
	turn chan struct{} // it is done, or its caller is to have it done
}

// ask returns when what is done.
func (g *gather[T]) ask(what T) {
	own := &asked[T]{what: what, turn: make(chan struct{}, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, own)
	if g.busy {
		g.mu.Unlock()
		<-own.turn
		if own.done {
			return
		}
		g.mu.Lock()
	}
	g.busy = true
	together := g.take()
	g.mu.Unlock()

	all := make([]T, len(together))
	for i, a := range together {
		all[i] = a.what
	}
	g.do(all)

	g.mu.Lock()
	if g.busy = len(g.waiting) > 0; g.busy {
		g.waiting[0].turn <- struct{}{}
	}
	g.mu.Unlock()
	for _, a := range together {
		if a.done = true; a != own {
			a.turn <- struct{}{}
		}
	}
}

// take takes those who have waited longest, the first of them in any case.
func (g *gather[T]) take() []*asked[T] {
	n, sum := 0, 0
	for n < len(g.waiting) {
		size := 1
		if g.size != nil {
			size = g.size(g.waiting[n].what)
		}
		if sum += size; n > 0 && sum > gatherMost {
			break
		}
		n++
	}
	together := g.waiting[:n:n]
	g.waiting = append([]*asked[T](nil), g.waiting[n:]...)
	return together
}

// gatherer is a kernel that is asked together what many sessions ask of it.
type gatherer struct {
	kernel
	batches gather[*batch]
}

// batch is one caller's requests, which stay together and in their order.
type batch struct {
	requests []uapi.Request
	results  []uapi.Result
	err      error
}

func newGatherer(k kernel) *gatherer {
	g := &gatherer{kernel: k}
	g.batches.do = g.send
	g.batches.size = func(b *batch) int { return len(b.requests) }
	return g
}

// Batch implements kernel.
func (g *gatherer) Batch(ctx context.Context, requests []uapi.Request) ([]uapi.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := &batch{requests: requests}
	g.batches.ask(b)
	return b.results, b.err
}

// send makes the requests of several callers and gives each its results. Nobody's
// deadline is that of all.
func (g *gatherer) send(together []*batch) {
	ctx := context.Background()
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
