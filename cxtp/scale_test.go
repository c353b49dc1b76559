package cxtp

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

var mostSessions = flag.Int("most", 100_000, "the largest number of sessions that BenchmarkMoveAmong adopts")

// movesAmong is how many sessions BenchmarkMoveAmong moves in one operation.
const movesAmong = 1000

// BenchmarkMoveAmong moves some of many sessions from a router to another: the
// time should not depend on how many there are. What the machine asks for takes
// no time. It also reports what an adopted session takes of memory.
func BenchmarkMoveAmong(b *testing.B) {
	for n := movesAmong; n <= *mostSessions; n *= 10 {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			var octets uint64
			for b.Loop() {
				b.StopTimer()
				before := heapOctets()
				l := newLinked(b)
				for i := range n {
					l.adopt(i)
				}
				octets = heapOctets() - before
				b.StartTimer()
				for i := range movesAmong {
					id := scaleID(i * 7919 % n) // not as they lie in memory
					l.step(0, Handover{Session: id, To: l.name(1)})
					l.pass(100 * time.Microsecond)
				}
				if got := len(l.routers[1].sessions); got != movesAmong {
					b.Fatalf("%d sessions have moved, want %d", got, movesAmong)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/movesAmong, "ns/move")
			b.ReportMetric(float64(octets)/float64(n), "B/session")
		})
	}
}

func heapOctets() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// linked is two routers side by side: what one does is done at once.
type linked struct {
	b       *testing.B
	now     time.Time
	routers [2]*Router
	waiting []func()
}

func newLinked(b *testing.B) *linked {
	l := &linked{b: b, now: time.Unix(1e9, 0)}
	for i := range l.routers {
		cfg := Config{Self: l.name(i), Incarnation: 1, Inspect: simInspect, Mode: ModeLossless, Timers: DefaultTimers(),
			Peers: []Peer{{ID: l.name(1 - i), Push: true, ActivateWithoutToken: true, MaxSessions: 1 << 30}}}
		cfg.Timers.Grace = 0
		r, _, err := NewRouter(cfg, nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		l.routers[i] = r
	}
	return l
}

func (l *linked) name(i int) RouterID { return RouterID("AB"[i : i+1]) }

func scaleID(i int) SessionID {
	var id SessionID
	binary.BigEndian.PutUint64(id[8:], uint64(i)+1)
	return id
}

func scaleInner(id SessionID) netip.Prefix {
	a := [4]byte(id[12:])
	a[0] += 10
	return netip.PrefixFrom(netip.AddrFrom4(a), 32)
}

func (l *linked) adopt(i int) {
	id := scaleID(i)
	inner := scaleInner(id)
	l.step(0, Adopt{Session: id, Previous: inner.Addr(), Claims: Claims{Inner: []netip.Prefix{inner}}})
}

// step gives a router an input and carries out all that follows from it.
func (l *linked) step(i int, in Input) {
	l.carry(i, l.routers[i].Step(l.now, in))
	for len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting = l.waiting[1:]
		next()
	}
}

// pass lets time go by.
func (l *linked) pass(d time.Duration) {
	l.now = l.now.Add(d)
	for i, r := range l.routers {
		if due(r.Deadline(), l.now) {
			l.carry(i, r.Tick(l.now))
		}
	}
	if len(l.waiting) > 0 {
		l.b.Fatal("something was repeated or given up")
	}
}

func (l *linked) carry(i int, actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			l.give(1-i, FromRouter{From: l.name(i), Message: a.Message})
		case Persist:
			l.give(i, Done{Session: a.Record.Session, Op: a.Op})
		case Steer:
			l.give(i, Done{Session: a.Session, Op: a.Op})
		case Do:
			d := Done{Session: a.Session, Op: a.Op}
			if a.Verb == VerbExport {
				d.Blocks = []CDB{{FPT: FPTIPsecSession, Data: fmt.Appendf(nil, "node %v", scaleInner(a.Session))}}
			}
			l.give(i, d)
		case Report:
			if a.Event == EventFailed || a.Event == EventRefused {
				l.b.Fatalf("%+v", a)
			}
		}
	}
}

func (l *linked) give(i int, in Input) {
	l.waiting = append(l.waiting, func() { l.carry(i, l.routers[i].Step(l.now, in)) })
}
