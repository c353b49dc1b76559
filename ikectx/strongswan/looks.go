package strongswan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// looks are what is to be looked up of IKE SAs. charon finds one quickly by its own
// number for it, and lists all of them slowly, because it asks the kernel about each.
// It numbers them as they come, so a new one is found a little further on. All of
// them are listed only when that fails, or many are asked for, and then once for
// whoever waits: in a mass move, that is what happens.
type looks struct {
	mu      sync.Mutex
	wanted  []look
	looking bool
	numbers map[spis]uint32 // charon's own, of those that were met, as far as they hold

	// Whoever looks has these.
	highest uint32 // of the numbers that were met
	listed  int    // how many there were in the last list of all
}

// spis name an IKE SA: the initiator's and the responder's.
type spis [2]uint64

func spisOf(id ha.SAID) spis { return spis{id.SPIi, id.SPIr} }
func (sa *IKESA) spis() spis { return spis{sa.SPIi, sa.SPIr} }

// look is somebody who wants to see an IKE SA as it is from now on.
type look struct {
	id   ha.SAID
	seen chan<- sight // with room for the answer
}

type sight struct {
	sa  IKESA
	err error
}

// ErrUnknownSA says that charon does not have an IKE SA.
var ErrUnknownSA = errors.New("charon does not have this IKE SA")

// find is an IKE SA by its SPIs; ErrUnknownSA if charon does not have it.
func (c *Charon) find(ctx context.Context, id ha.SAID) (IKESA, error) {
	seen := make(chan sight, 1)
	c.looks.mu.Lock()
	c.looks.wanted = append(c.looks.wanted, look{id, seen})
	if !c.looks.looking {
		c.looks.looking = true
		go c.look(context.WithoutCancel(ctx))
	}
	c.looks.mu.Unlock()
	select {
	case s := <-seen:
		return s.sa, s.err
	case <-ctx.Done():
		return IKESA{}, ctx.Err()
	}
}

// look answers whoever wants to see something, until nobody does. In between, charon
// has as long for its work as it had to answer: most look for what it is yet to do.
func (c *Charon) look(ctx context.Context) {
	for {
		began := time.Now()
		c.looks.mu.Lock()
		wanted := c.looks.wanted
		c.looks.wanted, c.looks.looking = nil, len(wanted) > 0
		c.looks.mu.Unlock()
		if len(wanted) == 0 {
			return
		}
		if !c.many(wanted) {
			wanted = slices.DeleteFunc(wanted, func(l look) bool { return c.lookUp(ctx, l) })
			wanted = c.lookAhead(ctx, wanted)
		}
		if len(wanted) > 0 {
			c.lookAround(ctx, wanted)
		}
		time.Sleep(time.Since(began))
	}
}

// many reports whether a list of all takes less than to ask for each: to charon, a
// question is as much work as three lines of an answer.
func (c *Charon) many(wanted []look) bool {
	return 4*len(wanted) > 3+c.known()
}

// known is how many numbers are.
func (c *Charon) known() int {
	c.looks.mu.Lock()
	defer c.looks.mu.Unlock()
	return len(c.looks.numbers)
}

// lookUp answers one by charon's number, and reports whether that is known.
func (c *Charon) lookUp(ctx context.Context, l look) bool {
	c.looks.mu.Lock()
	unique := c.looks.numbers[spisOf(l.id)]
	c.looks.mu.Unlock()
	if unique == 0 {
		return false
	}
	all, err := c.IKESAs(ctx, unique)
	switch {
	case err != nil:
		l.seen <- sight{err: err}
	case len(all) == 1 && all[0].spis() == spisOf(l.id):
		l.seen <- sight{sa: all[0]}
	default:
		c.forget(l.id)
		l.seen <- sight{err: fmt.Errorf("%v: %w", l.id, ErrUnknownSA)}
	}
	return true
}

// lookAhead answers those that have come since charon was looked at last, and
// returns the others. Numbers in between are missing of clients that have gone again.
// Now and then it leaves all to a list, so that numbers of those that have gone are
// not kept for ever.
func (c *Charon) lookAhead(ctx context.Context, wanted []look) []look {
	const further = 4
	if c.looks.listed == 0 || c.known() > 2*c.looks.listed+100 {
		return wanted
	}
	for missing := uint32(0); len(wanted) > 0 && missing < further; {
		all, err := c.IKESAs(ctx, c.looks.highest+1+missing)
		switch {
		case err != nil:
			return wanted
		case len(all) == 0:
			missing++
			continue
		}
		missing = 0
		c.meet(all[0])
		wanted = slices.DeleteFunc(wanted, func(l look) bool {
			is := all[0].spis() == spisOf(l.id)
			if is {
				l.seen <- sight{sa: all[0]}
			}
			return is
		})
	}
	return wanted
}

// lookAround answers some from the list of all.
func (c *Charon) lookAround(ctx context.Context, wanted []look) {
	all, err := c.IKESAs(ctx, 0)
	if err == nil {
		c.looks.mu.Lock()
		c.looks.numbers = make(map[spis]uint32, len(all))
		c.looks.mu.Unlock()
		c.looks.highest, c.looks.listed = 0, len(all)
	}
	there := make(map[spis]IKESA, len(all))
	for _, sa := range all {
		c.meet(sa)
		there[sa.spis()] = sa
	}
	for _, l := range wanted {
		sa, ok := there[spisOf(l.id)]
		if !ok && err == nil {
			l.seen <- sight{err: fmt.Errorf("%v: %w", l.id, ErrUnknownSA)}
			continue
		}
		l.seen <- sight{sa, err}
	}
}

// meet notes an IKE SA's number.
func (c *Charon) meet(sa IKESA) {
	c.looks.mu.Lock()
	defer c.looks.mu.Unlock()
	c.looks.numbers[sa.spis()] = sa.Unique
	c.looks.highest = max(c.looks.highest, sa.Unique)
}

// forget forgets charon's number of an IKE SA: one that comes back has another.
func (c *Charon) forget(id ha.SAID) {
	c.looks.mu.Lock()
	defer c.looks.mu.Unlock()
	delete(c.looks.numbers, spisOf(id))
}

// await looks at an IKE SA until it is as wanted. A look that fails is one that shows
// nothing, unless charon is not there.
func (c *Charon) await(ctx context.Context, id ha.SAID, done func(IKESA) bool) (IKESA, error) {
	return c.awaitAs(ctx, func() ha.SAID { return id }, done)
}

// awaitAs is await for an IKE SA that may be rekeyed meanwhile, and have another name
// then.
func (c *Charon) awaitAs(ctx context.Context, name func() ha.SAID, done func(IKESA) bool) (IKESA, error) {
	const first, longest = time.Millisecond, 50 * time.Millisecond
	for wait := first; ; wait = min(2*wait, longest) {
		sa, err := c.find(ctx, name())
		if err == nil && done(sa) {
			return sa, nil
		}
		if errors.Is(err, ErrNotRunning) {
			return sa, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return sa, errors.Join(ctx.Err(), err)
		}
	}
}

// gone waits until charon does not have an IKE SA.
func (c *Charon) gone(ctx context.Context, id ha.SAID) error {
	const wait = 5 * time.Millisecond
	for {
		_, err := c.find(ctx, id)
		switch {
		case errors.Is(err, ErrUnknownSA):
			return nil
		case errors.Is(err, ErrNotRunning):
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
