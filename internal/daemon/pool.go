package daemon

import (
	"sync"
	"sync/atomic"

	"github.com/cxtp/cxtp/cxtp"
)

// maxIdle is how many goroutines a pool keeps for what comes next.
const maxIdle = 64

// pool runs functions side by side, without a bound: an operation may wait for a
// kernel or a hook, and must not hold up those of other sessions. Goroutines are
// used again, because in a mass move each new one would first grow its stack.
type pool struct {
	ready   chan func()
	idle    atomic.Int32
	workers sync.WaitGroup
}

func newPool() *pool { return &pool{ready: make(chan func())} }

// run starts f on a goroutine that has nothing to do, or on a new one.
func (p *pool) run(f func()) {
	select {
	case p.ready <- f:
	default:
		p.workers.Go(func() { p.work(f) })
	}
}

func (p *pool) work(f func()) {
	for more := true; more; {
		f()
		if p.idle.Add(1) > maxIdle {
			p.idle.Add(-1)
			return
		}
		f, more = <-p.ready
		p.idle.Add(-1)
	}
}

// end waits for what runs; nothing may be run any more.
func (p *pool) end() {
	close(p.ready)
	p.workers.Wait()
}

// chains orders the operations of each session; different sessions' run side by
// side.
type chains struct {
	mu      sync.Mutex
	pending map[cxtp.SessionID][]func()
}

// add appends f to the session's chain.
func (c *chains) add(p *pool, id cxtp.SessionID, f func()) {
	c.mu.Lock()
	waiting, busy := c.pending[id]
	c.pending[id] = append(waiting, f)
	c.mu.Unlock()
	if !busy {
		p.run(func() { c.drain(id) })
	}
}

func (c *chains) drain(id cxtp.SessionID) {
	for {
		c.mu.Lock()
		waiting := c.pending[id]
		if len(waiting) == 0 {
			delete(c.pending, id)
			c.mu.Unlock()
			return
		}
		f := waiting[0]
		c.pending[id] = waiting[1:]
		c.mu.Unlock()
		f()
	}
}
