package uapi

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a connection to the kernel's XFRM interface in one network namespace.
// Its methods may be called concurrently. A context that ends ends the waiting
// for a turn, for the next part of a list, for an event; a request once sent has
// its answer.
//
// A request that the kernel refuses gives an [*Error].
type Conn struct {
	kernel kernel

	// requests carries everything but dumps and events, and is a member of the
	// group that tells of deletions only while there is one: so what others do
	// to the SAD meanwhile does not fill its buffer.
	requests line
	out      writer // requests are encoded in here
	seq      uint32

	dumps line

	// events is opened with the others, so that it is in the same namespace.
	events line
}

// line is a socket and the right to use it.
type line struct {
	*socket
	turn chan struct{}
}

func openLine() (line, error) {
	s, err := openSocket()
	return line{s, make(chan struct{}, 1)}, err
}

// use runs f when it is its turn.
func (l line) use(ctx context.Context, f func() error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		return f()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Dial connects to the network namespace of the calling thread. Without the
// interface the error is [ErrUnsupportedProtocol], without CAP_NET_ADMIN
// [ErrPermission].
func Dial() (*Conn, error) {
	if runtime.GOARCH == "386" {
		return nil, errors.New("failed to connect to XFRM: the messages of 32-bit x86 are laid out differently, run a 64-bit build")
	}
	c := &Conn{}
	for _, l := range []*line{&c.requests, &c.dumps, &c.events} {
		var err error
		if *l, err = openLine(); err != nil {
			c.Close()
			return nil, dialError(err)
		}
	}
	if err := c.probe(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// dialError is an error of the system as one of Dial.
func dialError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &Error{Op: opDial, Errno: errno}
	}
	return fmt.Errorf("failed to connect to XFRM: %w", err)
}

// probe finds out whether XFRM may be used and what the kernel knows, by a
// request that changes nothing: for an SA that cannot be, with a direction that
// is none. A kernel that knows directions objects to that, an older one to the
// SA.
func (c *Conn) probe() error {
	impossible := StateID{Dst: netip.IPv4Unspecified(), Proto: ESP}
	err := c.do(context.Background(), &Request{Op: OpGetState, ID: impossible, dir: 0xff}).Err
	switch {
	case errors.Is(err, unix.ERANGE):
		c.kernel.directions = true
	case !errors.Is(err, ErrNotFound):
		return dialError(err)
	}
	return nil
}

// Close ends the connection and whatever waits on it.
func (c *Conn) Close() error {
	var failed []error
	for _, l := range []line{c.requests, c.dumps, c.events} {
		if l.socket != nil {
			failed = append(failed, l.close())
		}
	}
	return errors.Join(failed...)
}

// do makes one request.
func (c *Conn) do(ctx context.Context, r *Request) Result {
	results := make([]Result, 1)
	c.batch(ctx, []Request{*r}, results)
	return results[0]
}

// AddState adds an SA, as this kernel takes it (see quirks.go). It goes on after
// Replay.OSeq and Used. [ErrExists] is also the answer where the SPI is only
// reserved: use UpdateState then.
func (c *Conn) AddState(ctx context.Context, s *State) error {
	return c.do(ctx, &Request{Op: OpAddState, State: s}).Err
}

// UpdateState fills a reserved SPI, or changes of an SA in use what the kernel
// lets change: lifetimes, encapsulation ports, output mark, interface id. It
// ignores the rest in silence.
func (c *Conn) UpdateState(ctx context.Context, s *State) error {
	return c.do(ctx, &Request{Op: OpUpdateState, State: s}).Err
}

// DeleteState deletes an SA and returns it as it was at that moment, exactly:
// no packet was numbered after. The keys in it are the caller's to wipe.
//
// If the SA is gone and the kernel's event with its last state was lost, the
// error is [ErrFinalUnknown].
func (c *Conn) DeleteState(ctx context.Context, id StateID) (*State, error) {
	result := c.do(ctx, &Request{Op: OpDeleteState, ID: id})
	return result.State, result.Err
}

// GetState reads an SA, keys included.
func (c *Conn) GetState(ctx context.Context, id StateID) (*State, error) {
	result := c.do(ctx, &Request{Op: OpGetState, ID: id})
	return result.State, result.Err
}

// AllocSPI reserves an SPI and returns the reservation, a State without keys.
// [ErrInUse] = none is free.
func (c *Conn) AllocSPI(ctx context.Context, q *SPIRequest) (*State, error) {
	result := c.do(ctx, &Request{Op: OpAllocSPI, SPI: q})
	return result.State, result.Err
}

// SetReplay sets what is not nil of the sequence state, usage and thresholds of
// an SA. The form and bitmap length of the sequence state must be those of the
// SA.
func (c *Conn) SetReplay(ctx context.Context, e *AEvent) error {
	return c.do(ctx, &Request{Op: OpSetReplay, Replay: e}).Err
}

// GetReplay reads the sequence state, usage and thresholds of an SA. The replay
// and timer thresholds are told nowhere else.
func (c *Conn) GetReplay(ctx context.Context, id StateID) (*AEvent, error) {
	result := c.do(ctx, &Request{Op: OpGetReplay, ID: id})
	return result.Replay, result.Err
}

// AddPolicy adds a policy; [ErrExists] if there is one with its [PolicyID].
func (c *Conn) AddPolicy(ctx context.Context, p *Policy) error {
	return c.do(ctx, &Request{Op: OpAddPolicy, Policy: p}).Err
}

// UpdatePolicy replaces the policy with its [PolicyID], or adds it. Packets that
// wait for an SA of the policy are tried again at once.
func (c *Conn) UpdatePolicy(ctx context.Context, p *Policy) error {
	return c.do(ctx, &Request{Op: OpUpdatePolicy, Policy: p}).Err
}

// DeletePolicy deletes a policy.
func (c *Conn) DeletePolicy(ctx context.Context, id PolicyID) error {
	return c.do(ctx, &Request{Op: OpDeletePolicy, PolicyID: id}).Err
}

// GetPolicy reads a policy.
func (c *Conn) GetPolicy(ctx context.Context, id PolicyID) (*Policy, error) {
	result := c.do(ctx, &Request{Op: OpGetPolicy, PolicyID: id})
	return result.Policy, result.Err
}

// SADInfo reads how many SAs the kernel has.
func (c *Conn) SADInfo(ctx context.Context) (SADInfo, error) {
	result := c.do(ctx, &Request{Op: opSADInfo})
	if result.info == nil {
		return SADInfo{}, result.Err
	}
	return *result.info, nil
}
