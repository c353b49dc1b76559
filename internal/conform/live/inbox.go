package live

import (
	"context"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// side is where a message comes from.
type side string

const (
	fromRouter side = "as a router" // over the association
	fromNode   side = "as a node's router"
)

// arrival is what the router sent, a message or not.
type arrival struct {
	at      time.Time
	side    side
	octets  []byte
	message cxtp.Message // nil = it is none
	err     error        // why not
	taken   bool
}

// The room for what a router sends during one case. What is beyond is dropped: a
// router that floods the prober costs it no more than that.
const (
	maxArrivals = 4096
	maxOctets   = 32 << 20
)

// inbox keeps what the router sends until the case asks for it.
type inbox struct {
	mu       sync.Mutex
	arrivals []*arrival
	octets   int
	changed  chan struct{} // closed and replaced when something happens
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{})} }

// put takes a message from the network.
func (b *inbox) put(from side, octets []byte) {
	a := &arrival{at: time.Now(), side: from, octets: octets}
	a.message, a.err = cxtp.Decode(octets)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.arrivals) < maxArrivals && b.octets+len(octets) <= maxOctets {
		b.arrivals, b.octets = append(b.arrivals, a), b.octets+len(octets)
	}
	b.wake()
}

// poke has whoever waits look again.
func (b *inbox) poke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake()
}

func (b *inbox) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// clear forgets what came for the case before.
func (b *inbox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrivals, b.octets = nil, 0
}

// find looks at what is there and has not been taken, in the order in which it
// came, and gives the first that look wants, and what to wait for where there is
// none.
func (b *inbox) find(look func(*arrival) bool) (*arrival, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.arrivals {
		if !a.taken && look(a) {
			a.taken = true
			return a, nil
		}
	}
	return nil, b.changed
}

// putBack has what was found be found again.
func (b *inbox) putBack(a *arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.taken = false
}

// all is everything that came during this case.
func (b *inbox) all() []*arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*arrival(nil), b.arrivals...)
}

// wait ends when something happens, the time is over or ctx ends; false = the
// latter two.
func wait(ctx context.Context, something <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-something:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
