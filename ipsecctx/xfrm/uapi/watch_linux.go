package uapi

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// Watch joins the groups and returns the events from now on; the loop ends with
// the context or with an error, which is then the last. Events that were not
// read in time are replaced by one [*EventsLost]; one that cannot be read is
// yielded as a [*FormatError], and the next follow. A Conn has one watcher at a
// time: the loop has to end before the next call.
func (c *Conn) Watch(ctx context.Context, groups ...Group) (iter.Seq2[Event, error], error) {
	select {
	case c.events.turn <- struct{}{}:
	default:
		return nil, errors.New("failed to watch XFRM: the last watcher has not ended")
	}
	c.events.drain(func(message) bool { return true })
	for i, g := range groups {
		if err := c.events.membership(unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			c.unwatch(groups[:i])
			return nil, fmt.Errorf("failed to watch XFRM: %w", err)
		}
	}
	return func(yield func(Event, error) bool) {
		defer c.unwatch(groups)
		more := true
		for more {
			err := c.events.receive(ctx, func(m message) bool {
				more = yield(decodeEvent(m.kind, m.payload))
				return more
			})
			switch {
			case errors.Is(err, unix.ENOBUFS):
				more = yield(&EventsLost{}, nil)
			case err != nil:
				yield(nil, err)
				return
			}
		}
	}, nil
}

// unwatch ends a watcher.
func (c *Conn) unwatch(groups []Group) {
	for _, g := range groups {
		c.events.membership(unix.NETLINK_DROP_MEMBERSHIP, g)
	}
	<-c.events.turn
}
