package demo

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
)

// CrashReport is what became of a session whose move was cut off.
type CrashReport struct {
	Point  string `json:"point"`
	When   string `json:"when"`          // the point in words
	Killed string `json:"killed"`        // a gateway
	Lives  bool   `json:"lives"`         // the session is active somewhere
	At     string `json:"at,omitempty"`  // the gateway that has it, or on whose record it ended; "" = neither
	Why    string `json:"why,omitempty"` // that record's reason
	Design string `json:"design"`        // why that is what the design wants
	// Exposed counts packets that the target took although the source had.
	Exposed uint64   `json:"exposed"`
	Broken  []string `json:"broken,omitempty"`
}

// outcome is the report in a few words.
func (r *CrashReport) outcome() string {
	switch {
	case r.At == "":
		return "is neither active nor ended on record"
	case r.Lives:
		return "lives at " + r.At
	}
	return fmt.Sprintf("ended at %s: %s", r.At, r.Why)
}

func (r *CrashReport) write(w io.Writer) {
	fmt.Fprintf(w, "  crash    %s killed itself at %s (%s) and was started again\n", r.Killed, r.Point, r.When)
	fmt.Fprintf(w, "  outcome  session %s\n", r.outcome())
	if len(r.Broken) == 0 {
		fmt.Fprintf(w, "           as designed: %s\n", r.Design)
	}
	for _, law := range r.Broken {
		fmt.Fprintf(w, "  broken   %s\n", law)
	}
	if r.Exposed > 0 {
		fmt.Fprintf(w, "  exposed  %d packets that %s had taken after the freeze were taken by %s once more (control-profile.md, Unmerged windows)\n",
			r.Exposed, r.Killed, r.At)
	}
}

// blame says that a law was broken.
func (c *crash) blame(format string, args ...any) {
	c.crash.Broken = append(c.crash.Broken, fmt.Sprintf(format, args...))
}

// judge waits for the session's fate, and sees whether it is what it has to be.
func (c *crash) judge(ctx context.Context) error {
	if _, err := settle(ctx, c.d.opts.patience(), func() (bool, error) { return c.decided(ctx) }); err != nil {
		return err
	}
	switch r := c.crash; {
	case r.At == "":
		states, err := c.states(ctx)
		if err != nil {
			return err
		}
		c.blame("law 2, one owner: %s at %s: after %v the session %s: it is %q at %s and %q at %s", r.Killed, r.Point,
			c.d.opts.patience(), r.outcome(), states[0], gatewayNames[0], states[1], gatewayNames[1])
	case !slices.Contains(c.point.fate, c.fate()):
		c.blame("%s at %s: the session %s, but the design wants something else: %s", r.Killed, r.Point, r.outcome(), r.Design)
	case r.Lives:
		return c.alive(ctx)
	}
	return nil
}

// fate is the outcome in terms of the move.
func (c *crash) fate() Fate {
	if c.crash.At == c.from.Name {
		return Fate{c.crash.Lives, "source"}
	}
	return Fate{c.crash.Lives, "target"}
}

// decided looks for the session's fate. As long as the source owes an answer to
// its operator, nothing is decided.
func (c *crash) decided(ctx context.Context) (bool, error) {
	if c.victim == c.plan.to && !c.answered {
		select {
		case <-c.asked:
			c.answered = true
		default:
			return false, nil
		}
	}
	states, err := c.states(ctx)
	if err != nil {
		return false, err
	}
	owner, over := settled(states)
	if owner != nobody {
		c.crash.Lives, c.crash.At = true, c.d.gateways[owner].Name
		return true, nil
	}
	if !over {
		return false, nil
	}
	for _, g := range c.d.gateways {
		why, err := g.ended(c.d.keys.id)
		if err != nil {
			return false, err
		}
		if why != "" {
			c.crash.At, c.crash.Why = g.Name, why
		}
	}
	return c.crash.At != "", nil
}

// What gateways say of a session, as far as it matters here.
const activeState = "active"

var (
	// It sends, or may.
	sendingStates = []string{activeState, "adopting", "resuming", "staging", "staged", "retracting", "granting", "active-unclosed"}
	// It is not there, or waits for a final that nobody can send any more.
	restingStates = []string{"", "gone", "moved", "held"}
)

// nobody is the owner of a session that no gateway has, or that is on its way.
const nobody = -1

// settled says who owns a session for good, by the states that it has at the
// gateways, and whether it is over, for which there should be a record.
func settled(states [2]string) (owner int, over bool) {
	resting := [2]bool{slices.Contains(restingStates, states[0]), slices.Contains(restingStates, states[1])}
	for i := range states {
		if states[i] == activeState && resting[1-i] {
			return i, false
		}
	}
	return nobody, resting[0] && resting[1]
}

// states asks both gateways for the session.
func (c *crash) states(ctx context.Context) (states [2]string, err error) {
	for i, g := range c.d.gateways {
		all, err := g.states(ctx)
		if err != nil {
			return states, err
		}
		states[i] = all[c.d.keys.id]
	}
	return states, nil
}

// alive checks that all traffic goes to where the session lives, and arrives.
func (c *crash) alive(ctx context.Context) error {
	d, at := c.d, slices.Index(gatewayNames[:], c.crash.At)
	followed, err := settle(ctx, d.opts.patience(), func() (bool, error) {
		return d.host.gateway() == at && d.tap.side() == at, nil
	})
	if err != nil {
		return err
	}
	if !followed {
		c.blame("%s at %s: the session lives at %s, but the node or the network was not told", c.crash.Killed, c.crash.Point, c.crash.At)
		return nil
	}
	up, down := d.up.sent(), d.down.sent()
	d.node.burst()
	d.host.burst()
	c.complete(ctx, "the session lives at "+c.crash.At, up, down)
	return nil
}

// complete checks that every packet after those given arrives.
func (c *crash) complete(ctx context.Context, when string, up, down uint64) {
	d := c.d
	upTo, downTo := d.up.sent(), d.down.sent()
	d.up.drained(ctx, up, upTo)
	d.down.drained(ctx, down, downTo)
	if lost := d.up.missing(up, upTo) + d.down.missing(down, downTo); lost > 0 && ctx.Err() == nil {
		c.blame("%s at %s: %s, but %d of %d packets were lost", c.crash.Killed, c.crash.Point, when, lost, upTo-up+downTo-down)
	}
}

// examine puts the laws to the test once the traffic has stopped.
func (c *crash) examine(ctx context.Context) error {
	if c.point.harmless {
		c.complete(ctx, "this harms nobody", c.up.number, c.down.number)
	}
	if err := c.replay(ctx); err != nil {
		return err
	}
	for _, id := range c.d.sessions {
		owners, err := c.d.owners(ctx, id)
		if err != nil {
			return err
		}
		if len(owners) > 1 {
			c.blame("law 2, one owner: after the crash of %s at %s, session %v may send at %v", c.crash.Killed, c.crash.Point, id, owners)
		}
	}
	return nil
}

// replay sends once more what was accepted in this session to the gateway that
// came back, and to the one that has the session. A gateway that has nothing to
// do with the session any more also gets packets for the node, which must not
// leave it in clear.
func (c *crash) replay(ctx context.Context) error {
	d := c.d
	for i, g := range d.gateways {
		switch {
		case c.crash.Lives && c.crash.At == g.Name:
			c.replayAlive(ctx, i)
		case i == c.victim:
			packets := d.tap.accepted(func(keptPacket) bool { return true })
			err := d.discarded(ctx, g, "unknown_spi", func() uint64 {
				d.tap.replayAt(i, packets)
				return uint64(len(packets))
			}, func() uint64 { return d.up.total().Replayed })
			if err != nil {
				return err
			}
			if err := d.probe(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// replayAlive replays at the gateway that has the session. What a source that
// died had taken after the freeze is a case of its own.
func (c *crash) replayAlive(ctx context.Context, at int) {
	d := c.d
	late := func(k keptPacket) bool { return c.point.unmerged && k.side == c.plan.from && k.number > c.first }
	last := d.tap.accepted(late)
	d.tap.replayAt(at, d.tap.accepted(func(k keptPacket) bool { return !late(k) }))
	d.follow(ctx, 1)
	if len(last) == 0 {
		return
	}
	before := d.up.total().Replayed
	d.tap.replayAt(at, last)
	d.follow(ctx, 1)
	c.crash.Exposed = d.up.total().Replayed - before
	d.follow(ctx, 1+window/burstPackets)
	d.tap.replayAt(at, last)
	d.follow(ctx, 1)
}

// follow sends bursts behind replayed packets: when they arrive, these have been
// judged.
func (d *demo) follow(ctx context.Context, bursts int) {
	up := d.up.sent()
	for range bursts {
		d.node.burst()
	}
	d.up.drained(ctx, up, d.up.sent())
}

// owners are the gateways that may send for a session, by what they say.
func (d *demo) owners(ctx context.Context, id cxtp.SessionID) (owners []string, err error) {
	for _, g := range d.gateways {
		states, err := g.states(ctx)
		if err != nil {
			return nil, err
		}
		if slices.Contains(sendingStates, states[id]) {
			owners = append(owners, g.Name)
		}
	}
	return owners, nil
}
