package cxtp

import (
	"container/heap"
	"iter"
	"time"
)

// timers orders sessions by the time at which they next have something to do.
// Entries that a later set has overtaken stay in the heap until they surface.
type timers struct {
	heap timerHeap
	at   map[SessionID]time.Time
}

type timer struct {
	at time.Time
	id SessionID
}

// set replaces a session's time; zero removes it.
func (t *timers) set(id SessionID, at time.Time) {
	if t.at == nil {
		t.at = map[SessionID]time.Time{}
	}
	switch {
	case at.IsZero():
		delete(t.at, id)
	case !t.at[id].Equal(at):
		t.at[id] = at
		heap.Push(&t.heap, timer{at, id})
	}
}

// next is the earliest time; zero = none.
func (t *timers) next() time.Time {
	for len(t.heap) > 0 {
		if top := t.heap[0]; t.at[top.id].Equal(top.at) {
			return top.at
		}
		heap.Pop(&t.heap)
	}
	return time.Time{}
}

// due yields the sessions whose time has come, and takes them out.
func (t *timers) due(now time.Time) iter.Seq[SessionID] {
	return func(yield func(SessionID) bool) {
		for at := t.next(); due(at, now); at = t.next() {
			id := heap.Pop(&t.heap).(timer).id
			delete(t.at, id)
			if !yield(id) {
				return
			}
		}
	}
}

type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
