package uapi

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// States reads the SAs that match, keys included, as the kernel hands them out:
// one that is added or deleted meanwhile may be among them or not. An SA that
// cannot be read is yielded as a [*FormatError], and the next follow; any other
// error is the last. Inside the loop every method may be called but States and
// Policies.
func (c *Conn) States(ctx context.Context, f Filter) iter.Seq2[*State, error] {
	return dump(ctx, c, OpGetState, func(w *writer) { w.filter(&f) }, decodeState)
}

// Policies reads all policies, in the manner of States.
func (c *Conn) Policies(ctx context.Context) iter.Seq2[*Policy, error] {
	return dump(ctx, c, OpGetPolicy, func(*writer) {}, decodePolicy)
}

func dump[T any](ctx context.Context, c *Conn, op Op, ask func(*writer), decode func([]byte) (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		stopped := false
		err := c.dumps.use(ctx, func() error {
			return c.dump(ctx, op, ask, func(payload []byte) bool {
				stopped = !yield(decode(payload))
				return !stopped
			})
		})
		if err != nil && !stopped {
			yield(nil, fmt.Errorf("failed to list what XFRM holds: %w", err))
		}
	}
}

// dump asks for a dump and gives what comes to f, until that returns false.
func (c *Conn) dump(ctx context.Context, op Op, ask func(*writer), f func(payload []byte) bool) error {
	var w writer
	start := w.begin(uint16(op), flagRequest|flagDump, 0, c.dumps.port)
	ask(&w)
	if err := w.end(start); err != nil {
		return err
	}
	if err := c.dumps.send(w.b); err != nil {
		return err
	}
	more, ended, failed := true, false, error(nil)
	for more {
		err := c.dumps.receive(ctx, func(m message) bool {
			if ended = m.kind == msgDone || m.kind == msgError; ended {
				failed = dumpEnd(op, m)
			}
			more = !ended && f(m.payload)
			return more
		})
		if err != nil {
			more, failed = false, err
		}
	}
	if !ended {
		// What is left of it would be in the way of the next.
		c.dumps.drain(func(m message) bool { return m.kind != msgDone && m.kind != msgError })
	}
	return failed
}

// dumpEnd is the error that ended a dump, nil if none did.
func dumpEnd(op Op, m message) error {
	if len(m.payload) < 4 {
		return &FormatError{What: "end of a dump", Why: fmt.Sprintf("%d octets", len(m.payload))}
	}
	if code := -int32(native.Uint32(m.payload)); code > 0 {
		return &Error{Op: op, ID: "all", Errno: unix.Errno(code)}
	}
	return nil
}
