package strongswan

import (
	"context"
	"time"
)

// pausesAtOnce is how many clients may stand still at once, in a mass move: from when
// one is frozen until another gateway has it. What comes for one meanwhile waits in a
// short queue, and the more there are of them the longer each takes.
const pausesAtOnce = 8

// pausePatience is how long a client waits until it may. Then it stands still all the
// same: those before it may be on the way to a gateway that is not there any more.
const pausePatience = 2 * time.Second

// beginPause waits until a client may stand still, and counts it among those that do.
func (a *Agent) beginPause(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, pausePatience)
	defer cancel()
	if a.pauses.Acquire(ctx, 1) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.paused = a.sessions[s.id] == s; !s.paused {
		a.pauses.Release(1) // it has gone meanwhile
	}
}

// endPause lets the next client have its pause, if a session had one; the caller
// holds the tables.
func (a *Agent) endPause(s *session) {
	if s.paused {
		s.paused = false
		a.pauses.Release(1)
	}
}
