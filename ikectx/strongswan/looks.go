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
// So it lists all only where a number is not known, or many of them are asked for,
// and once for whoever waits then: in a mass move, that is what happens.
type looks struct {
	mu      sync.Mutex
	wanted  []look
	looking bool
	numbers map[spis]uint32 // charon's own, as of the last list of all, as far as they hold
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

// look answers whoever wants to see something, until nobody does.
func (c *Charon) look(ctx context.Context) {
	for {
		c.looks.mu.Lock()
		wanted := c.looks.wanted
		c.looks.wanted, c.looks.looking = nil, len(wanted) > 0
		c.looks.mu.Unlock()
		if len(wanted) == 0 {
			return
		}
		if !c.many(wanted) {
			wanted = slices.DeleteFunc(wanted, func(l look) bool { return c.lookUp(ctx, l) })
		}
		if len(wanted) > 0 {
			c.lookAround(ctx, wanted)
		}
	}
}

// many reports whether a list of all takes less than to ask for each: to charon, a
// question is as much work as three lines of an answer.
func (c *Charon) many(wanted []look) bool {
	c.looks.mu.Lock()
	defer c.looks.mu.Unlock()
	return 4*len(wanted) > 3+len(c.looks.numbers)
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

// lookAround answers some from the list of all, and notes all numbers.
func (c *Charon) lookAround(ctx context.Context, wanted []look) {
	all, err := c.IKESAs(ctx, 0)
	there := make(map[spis]IKESA, len(all))
	numbers := make(map[spis]uint32, len(all))
	for _, sa := range all {
		there[sa.spis()], numbers[sa.spis()] = sa, sa.Unique
	}
	if err == nil {
		c.looks.mu.Lock()
		c.looks.numbers = numbers
		c.looks.mu.Unlock()
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
