package cxtp

import (
	"container/heap"
	"iter"
	"time"
)

// timers orders sessions, or requests, by the time at which they next have
// something to do.
// Entries that a later set has overtaken stay in the heap until they surface.
type timers[K comparable] struct {
	heap timerHeap[K]
	at   map[K]time.Time
}

type timer[K comparable] struct {
	at time.Time
	id K
}

// set replaces the time of one; zero removes it.
func (t *timers[K]) set(id K, at time.Time) {
	if t.at == nil {
		t.at = map[K]time.Time{}
	}
	switch {
	case at.IsZero():
		delete(t.at, id)
	case !t.at[id].Equal(at):
		t.at[id] = at
		heap.Push(&t.heap, timer[K]{at, id})
	}
}

// next is the earliest time; zero = none.
func (t *timers[K]) next() time.Time {
	for len(t.heap) > 0 {
		if top := t.heap[0]; t.at[top.id].Equal(top.at) {
			return top.at
		}
		heap.Pop(&t.heap)
	}
	return time.Time{}
}

// due yields those whose time has come, and takes them out.
func (t *timers[K]) due(now time.Time) iter.Seq[K] {
	return func(yield func(K) bool) {
		for at := t.next(); due(at, now); at = t.next() {
			id := heap.Pop(&t.heap).(timer[K]).id
			delete(t.at, id)
			if !yield(id) {
				return
			}
		}
	}
}

type timerHeap[K comparable] []timer[K]

func (h timerHeap[K]) Len() int           { return len(h) }
func (h timerHeap[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap[K]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap[K]) Push(x any)        { *h = append(*h, x.(timer[K])) }
func (h *timerHeap[K]) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
