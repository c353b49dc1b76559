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
	more  sync.Cond // something is ready, or the end has come
	ready []func()  // for those that are idle, at most one each
	idle  int
	ended bool
}

func newPool() *pool {
	p := &pool{}
	p.more.L = &p.mu
	return p
}

// run starts f on a goroutine that has nothing to do, or on a new one. After the
// end, it runs f itself.
func (p *pool) run(f func()) {
	p.mu.Lock()
	ended := p.ended
	switch {
	case ended:
	case p.idle > len(p.ready):
		p.ready = append(p.ready, f)
		p.more.Signal()
	default:
		p.workers.Go(func() { p.work(f) })
	}
	p.mu.Unlock()
	if ended {
		f()
	}
}

func (p *pool) work(f func()) {
	for f != nil {
		f()
		f = p.next()
	}
}

// next waits for something to do; nil means that there is no need to.
func (p *pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == maxIdle {
		return nil
	}
	p.idle++
	for len(p.ready) == 0 && !p.ended {
		p.more.Wait()
	}
	p.idle--
	if len(p.ready) == 0 {
		return nil
	}
	last := len(p.ready) - 1
	f := p.ready[last]
	p.ready = p.ready[:last]
	return f
}

// end waits for what runs.
func (p *pool) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.more.Broadcast()
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
