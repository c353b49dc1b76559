package demo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// crash is a move in the middle of which a gateway dies and comes back.
type crash struct {
	*move
	point    point
	victim   int  // the gateway that dies
	answered bool // the operator's order, by a final report or by its end
}

// crashes makes one move of one session for each point.
func (d *demo) crashes(ctx context.Context, report *Report) error {
	points, err := d.opts.points()
	if err != nil {
		return err
	}
	for i, p := range points {
		r, err := d.crash(ctx, i, p)
		for attempt := 1; d.opts.Loss > 0 && errors.Is(err, errNotReached) && attempt < attempts; attempt++ {
			r, err = d.crash(ctx, i, p) // the messages of a move may all get lost
		}
		report.Moves = append(report.Moves, r)
		if ctx.Err() == nil {
			d.opts.show(r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// crash shows one point. The sessions begin at the one gateway and the other in
// turn, so that each dies as a source and as a target.
func (d *demo) crash(ctx context.Context, i int, p point) (r *MoveReport, err error) {
	c := &crash{move: d.newMove(i+1, plan{by: bySource, early: p.early, from: i % 2, to: 1 - i%2}), point: p}
	c.victim = c.plan.from
	if p.party() == "target" {
		c.victim = c.plan.to
	}
	c.crash = &CrashReport{Point: p.name, When: p.when, Killed: d.gateways[c.victim].Name, Design: p.design}
	err = d.serve(ctx, c.plan.from, 1, func(ctx context.Context) error {
		err := d.traffic(ctx, func() error { return c.run(ctx) })
		if err == nil {
			err = c.examine(ctx)
		}
		r = c.account(ctx)
		return err
	})
	if r == nil { // it did not even begin
		r = c.account(ctx)
	}
	return r, err
}

// account describes the move. What is missing now stays so: where a session has
// ended, there is nothing to wait for.
func (c *crash) account(ctx context.Context) *MoveReport {
	r := c.describe(ctx)
	c.up, r.Up = c.d.up.cutNow(c.up)
	c.down, r.Down = c.d.down.cutNow(c.down)
	return r
}

// run makes the move, and sees the gateway die and come back.
func (c *crash) run(ctx context.Context) (err error) {
	if c.up, c.down, err = c.d.warmUp(ctx); err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := c.die(ctx); err != nil {
		return err
	}
	if err := c.revive(ctx); err != nil {
		return err
	}
	return c.judge(ctx)
}

// errNotReached is a move in which the gateway did not die.
var errNotReached = errors.New("the move did not come to that point")

// die makes the move up to the point. Where contexts are staged before it, the
// network is early too, so that packets wait at the target.
func (c *crash) die(ctx context.Context) error {
	if c.plan.early {
		if err := c.stage(ctx); err != nil {
			return fmt.Errorf("%w: %w", errNotReached, err)
		}
		c.d.host.ahead(c.plan.to)
	}
	g := c.d.gateways[c.victim]
	if err := g.process.doom(ctx, order{c.point.name, c.d.keys.id}); err != nil {
		return err
	}
	c.ordered = time.Now()
	c.order(ctx)
	if err := c.awaitDeath(ctx, g.process); err != nil {
		return err
	}
	at := time.Now()
	if n := len(g.process.last); n > 0 {
		at = g.process.last[n-1].Time
	}
	c.d.saw(event{at: at, where: g.Name, text: "DIES"})
	return nil
}

func (c *crash) awaitDeath(ctx context.Context, p *process) error {
	timeout := time.NewTimer(c.d.opts.patience())
	defer timeout.Stop()
	for {
		select {
		case <-p.ended:
			if p.last == nil {
				return p.failure()
			}
			return nil
		case err := <-c.asked:
			c.answered = true
			var f *failure
			switch {
			case err == nil:
				return errNotReached
			case errors.As(err, &f):
				return fmt.Errorf("%w: %w", errNotReached, err)
			} // else who should have answered is dead already
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return fmt.Errorf("%w: nothing came of it within %v", errNotReached, c.d.opts.patience())
		}
	}
}

// deadFor is how long a gateway is missed: long enough for messages to it to get
// lost and be repeated.
const deadFor = 200 * time.Millisecond

// revive starts the gateway again.
func (c *crash) revive(ctx context.Context) error {
	select {
	case <-time.After(deadFor):
	case <-ctx.Done():
		return ctx.Err()
	}
	g := c.d.gateways[c.victim]
	if err := g.restart(ctx, func(p *process) { c.d.watch(ctx, p) }); err != nil {
		return fmt.Errorf("failed to start %s again: %w", g.Name, err)
	}
	c.d.saw(event{at: time.Now(), where: g.Name, text: "is back"})
	return nil
}
