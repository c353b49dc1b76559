package daemon

import (
	"sync"

	"github.com/cxtp/cxtp/cxtp"
)

// maxIdle is how many goroutines a pool keeps for what comes next.
const maxIdle = 64

// pool runs functions side by side, without a bound: an operation may wait for a
// kernel or a hook, and must not hold up those of other sessions. Goroutines are
// used again, because in a mass move each new one would first grow its stack.
type pool struct {
	workers sync.WaitGroup

	mu    sync.Mutex
	idle  []chan func() // one for each that waits, the last to begin at the end
	ended bool
}

// run starts f on a goroutine that has nothing to do, or on a new one. After the
// end, it runs f itself.
func (p *pool) run(f func()) {
	p.mu.Lock()
	ended, last := p.ended, len(p.idle)-1
	switch {
	case ended:
	case last >= 0: // its stack is the one that is still in the caches
		p.idle[last] <- f
		p.idle = p.idle[:last]
	default:
		p.workers.Go(func() { p.work(f) })
	}
	p.mu.Unlock()
	if ended {
		f()
	}
}

// work runs f and then what it is given, until there is no need for it.
func (p *pool) work(f func()) {
	given := make(chan func(), 1)
	for f != nil {
		f()
		if !p.wait(given) {
			return
		}
		f = <-given
	}
}

// wait puts a goroutine among the idle, if there is a use for it.
func (p *pool) wait(given chan func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || len(p.idle) == maxIdle {
		return false
	}
	p.idle = append(p.idle, given)
	return true
}

// end waits for what runs.
func (p *pool) end() {
	p.mu.Lock()
	p.ended = true
	for _, given := range p.idle {
		close(given)
	}
	p.idle = nil
	p.mu.Unlock()
	p.workers.Wait()
}

// chains orders the operations of each session; different sessions' run side by
// side.
type chains struct {
	mu      sync.Mutex
	pending map[cxtp.SessionID][]func() // what waits for the one that runs
}

// add runs f once what was added before it for the session has ended.
func (c *chains) add(p *pool, id cxtp.SessionID, f func()) {
	c.mu.Lock()
	waiting, busy := c.pending[id]
	if busy {
		waiting = append(waiting, f)
	}
	c.pending[id] = waiting
	c.mu.Unlock()
	if !busy {
		p.run(func() { c.drain(id, f) })
	}
}

// drain runs f and what has been added since.
func (c *chains) drain(id cxtp.SessionID, f func()) {
	for f != nil {
		f()
		f = c.next(id)
	}
}

func (c *chains) next(id cxtp.SessionID) (f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waiting := c.pending[id]; len(waiting) > 0 {
		f, c.pending[id] = waiting[0], waiting[1:]
	} else {
		delete(c.pending, id)
	}
	return f
}
