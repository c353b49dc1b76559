package daemon

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cxtp/cxtp/cxtp"
)

// TestPool runs many functions that wait for each other, which a bounded pool
// would never end, and then as many again.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool()
		for range 2 {
			var ran atomic.Int32
			all := make(chan struct{})
			for range 3 * maxIdle {
				p.run(func() {
					if ran.Add(1) == 3*maxIdle {
						close(all)
					}
					<-all
				})
			}
			<-all
			synctest.Wait()
			if p.idle != maxIdle || len(p.ready) != 0 {
				t.Errorf("%d goroutines wait for %d functions, want %d for none", p.idle, len(p.ready), maxIdle)
			}
		}
		p.run(func() {}) // on one of those that wait
		p.end()
		if p.idle != 0 {
			t.Errorf("%d goroutines are left", p.idle)
		}
		late := false
		p.run(func() { late = true })
		if !late {
			t.Error("what came after the end was not run")
		}
	})
}

// TestChains gives operations to two sessions: those of one run in order, one at a
// time, while the other's wait for nothing.
func TestChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPool(), chains{pending: map[cxtp.SessionID][]func(){}}
		slow, fast := cxtp.SessionID{1}, cxtp.SessionID{2}
		var order []int
		release := make(chan struct{})
		for i := range 3 {
			c.add(p, slow, func() {
				<-release
				order = append(order, i)
			})
		}
		done := false
		c.add(p, fast, func() { done = true })
		synctest.Wait()
		if !done || len(order) > 0 {
			t.Errorf("the fast session has run: %t, the slow one %v", done, order)
		}
		close(release)
		p.end()
		if len(order) != 3 || order[0] != 0 || order[2] != 2 || len(c.pending) != 0 {
			t.Errorf("ran in the order %v; left: %v", order, c.pending)
		}
	})
}
