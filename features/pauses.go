package features

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/cxtp/cxtp/cxtp"
)

// pausesAtOnce is how many sessions may stand still at once, in a mass move: from when
// one is frozen until another gateway has it. What comes for one meanwhile waits in a
// short queue, and where a processor is what they wait for, each takes the longer the
// more there are of them.
const pausesAtOnce = 8

// pausePatience is how long a session waits until it may. Then it stands still all the
// same: those before it may be on the way to a gateway that is not there any more.
const pausePatience = 2 * time.Second

// pauses are the sessions that stand still, as far as they have waited for their turn.
type pauses struct {
	room *semaphore.Weighted

	mu sync.Mutex
	of map[cxtp.SessionID]bool
}

func newPauses() *pauses {
	return &pauses{room: semaphore.NewWeighted(pausesAtOnce), of: map[cxtp.SessionID]bool{}}
}

// begin waits until a session may stand still, and counts it among those that do.
func (p *pauses) begin(ctx context.Context, id cxtp.SessionID) {
	ctx, cancel := context.WithTimeout(ctx, pausePatience)
	defer cancel()
	if p.room.Acquire(ctx, 1) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[id] {
		p.room.Release(1) // it is frozen again
	}
	p.of[id] = true
}

// end lets the next session stand still, if one was counted.
func (p *pauses) end(id cxtp.SessionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[id] {
		delete(p.of, id)
		p.room.Release(1)
	}
}
