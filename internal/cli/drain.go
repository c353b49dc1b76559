package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

func drainCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "drain",
		Usage:     "move every session of this gateway to another one, and take no more",
		UsageText: "cxtp drain --to ROUTER [--outstanding N] [--each] [--force]",
		Description: "Ask the gateway that is to be emptied. From then on it takes no session from other\n" +
			"gateways, and clients of an IKE daemon that come while it is being drained are\n" +
			"moved too; when the last one has gone, clients that ask for an inner address are\n" +
			"refused. cxtp undrain ends that, and nothing else does, a restart of cxtpd neither.\n\n" +
			"A session that is busy, because it is being rekeyed for instance, is tried again for\n" +
			"a while. What could not be moved goes on here and is listed with the reason; the\n" +
			"status is then 1, and 4 if no such gateway is configured. If nothing could be moved at\n" +
			"all, the gateway takes sessions as before. Interrupting the command begins no more moves, and those under way go on.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "to", Usage: "the `router` to move to"},
			&urfave.IntFlag{Name: "outstanding", Usage: "how many moves may be under way at once, `N`: 64, or 16 of clients of an IKE daemon, which does one thing at a time; above twice that they hinder each other"},
			&urfave.BoolFlag{Name: "each", Usage: "say of each session what became of it, in place of the progress"},
			&urfave.BoolFlag{Name: "force", Usage: "also sessions whose node is left behind: see cxtp handover"},
		},
		Before: noArguments,
		Action: drain,
	}
}

func undrainCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "undrain",
		Usage: "take sessions again after cxtp drain",
		Description: "Ask the gateway that was drained. Sessions that have gone stay where they are: to\n" +
			"have them back, drain that gateway, or hand some of them over.",
		Before: noArguments,
		Action: func(c *urfave.Context) error {
			client := dial(c)
			if err := client.Drain(c.Context, control.Drain{}); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, control.Result{})
			}
			_, err := fmt.Fprintln(c.App.Writer, "this gateway takes sessions")
			return err
		},
	}
}

func drain(c *urfave.Context) error {
	to := cxtp.RouterID(c.String("to"))
	switch {
	case to == "":
		return usagef("say where the sessions go: cxtp drain --to ROUTER")
	case c.IsSet("outstanding") && c.Int("outstanding") < 1:
		return usagef("--outstanding %d moves nothing: it has to be 1 or more", c.Int("outstanding"))
	}
	client := dial(c)
	d := &drainage{client: client, to: to, force: c.Bool("force"), outstanding: c.Int("outstanding"), pause: busyPause,
		fates: map[cxtp.SessionID]*fate{}, started: time.Now(), progress: meter{out: c.App.ErrWriter, terminal: isTerminal(c.App.ErrWriter)}}
	if c.Bool("each") {
		d.each = c.App.ErrWriter
	}
	err := d.empty(c.Context)
	if err != nil && d.total == 0 {
		return err // it has not begun
	}
	d.progress.end(d.tally)
	if c.Bool("json") {
		return errors.Join(printJSON(c, d.document()), err)
	}
	lines := []string{fmt.Sprintf("moved %d sessions to %s in %.1f s", d.moved, to, time.Since(d.started).Seconds())}
	lines = append(append(lines, d.reasons()...), d.after...)
	if _, failed := fmt.Fprintln(c.App.Writer, strings.Join(lines, "\n")); failed != nil {
		err = errors.Join(err, fmt.Errorf("failed to write the result: %w", failed))
	}
	return err
}

// drainage is one run of drain.
type drainage struct {
	client      *control.Client
	to          cxtp.RouterID
	force       bool
	outstanding int           // 0 = what suits the gateway
	pause       time.Duration // before a session that is busy is tried again, at first
	started     time.Time
	closed      bool     // the gateway takes no sessions now
	after       []string // what the operator should know of the gateway afterwards

	mu sync.Mutex
	tally
	fates    map[cxtp.SessionID]*fate
	progress meter
	each     io.Writer // nil = progress is enough
}

// fate is what became of a session.
type fate struct {
	Session  cxtp.SessionID `json:"session"`
	Identity string         `json:"identity,omitempty"`
	Moved    bool           `json:"moved"`
	Why      string         `json:"why,omitempty"` // it was not
	Tries    int            `json:"tries"`
	Seconds  float64        `json:"seconds"`
}

func (f *fate) String() string {
	what := fmt.Sprintf("moved in %.1f s", f.Seconds)
	if !f.Moved {
		what = f.Why
	}
	if f.Tries > 1 {
		what += fmt.Sprintf(" (%d tries)", f.Tries)
	}
	return fmt.Sprintf("%s %s: %s", f.Session, f.Identity, what)
}

// empty closes the gateway, and moves what is there. A drain that has come to
// nothing leaves it as it was.
func (d *drainage) empty(ctx context.Context) error {
	before, err := d.client.Status(ctx)
	if err == nil {
		_, err = peerOf(before, d.to)
	}
	if err == nil {
		err = d.client.Drain(ctx, control.Drain{To: d.to})
	}
	if err != nil {
		return err
	}
	if d.outstanding == 0 {
		d.outstanding = outstandingOf(before)
	}
	d.closed = true
	err = d.run(ctx)
	ctx = context.WithoutCancel(ctx) // what the operator has interrupted is over
	if err != nil && d.moved == 0 && before.Drained.IsZero() {
		if opened := d.client.Drain(ctx, control.Drain{}); opened != nil {
			return errors.Join(err, opened)
		}
		d.closed = false
		return err
	}
	d.after = append(d.after, "this gateway takes no sessions until cxtp undrain")
	notes, failed := d.notes(ctx)
	for _, note := range notes {
		d.after = append(d.after, "note: "+note)
	}
	return errors.Join(err, failed)
}

// outstandingOf is how many moves a gateway does best at once.
func outstandingOf(s control.Status) int {
	if s.IKE != nil {
		return 16
	}
	return 64
}

// noteTime is how long an address may take to follow the last session. After that
// it is something that the operator has to know.
const noteTime = 3 * time.Second

// notes are what the gateway has to say when all that was moved is at rest.
func (d *drainage) notes(ctx context.Context) ([]string, error) {
	const look = 100 * time.Millisecond
	for deadline := time.Now().Add(noteTime); ; time.Sleep(look) {
		now, err := d.client.Status(ctx)
		if err != nil || len(now.Notes) == 0 || time.Now().After(deadline) {
			return now.Notes, err
		}
	}
}

// run moves what is here until nothing is left, or a round over what is left has
// moved none.
func (d *drainage) run(ctx context.Context) error {
	for {
		here, err := d.here(ctx)
		if err != nil {
			return err
		}
		if len(here) == 0 {
			return nil
		}
		before := d.moved
		d.total, d.failed = d.moved+len(here), 0
		maps.DeleteFunc(d.fates, func(_ cxtp.SessionID, f *fate) bool { return !f.Moved })
		d.round(ctx, here)
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted; moves under way go on, see cxtp sessions")
		case d.moved == before:
			return fmt.Errorf("%d sessions were not moved", d.failed)
		}
	}
}

// here lists the sessions that this gateway owns, or has just got.
func (d *drainage) here(ctx context.Context) (sessions []control.Session, err error) {
	all, err := d.client.Sessions(ctx)
	for _, s := range all {
		switch s.State {
		case "active", "staging", "staged", "active-unclosed":
			sessions = append(sessions, s)
		}
	}
	return sessions, err
}

func (d *drainage) round(ctx context.Context, sessions []control.Session) {
	next := make(chan control.Session)
	var workers sync.WaitGroup
	for range min(d.outstanding, len(sessions)) {
		workers.Go(func() {
			for s := range next {
				d.move(ctx, s)
			}
		})
	}
	for _, s := range sessions {
		select {
		case next <- s:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
}

// A rekey passes: an IKE daemon keeps what was replaced for some seconds. So a
// session that is busy is tried again a few times, each after twice the pause.
const (
	busyTries = 4
	busyPause = time.Second
)

// move moves a session, and notes what became of it.
func (d *drainage) move(ctx context.Context, s control.Session) {
	began, pause := time.Now(), d.pause
	f := &fate{Session: s.Session, Identity: s.Identity, Tries: 1}
	err := d.handover(ctx, s.Session)
	for ; busy(err) && f.Tries < busyTries && d.wait(ctx, pause); f.Tries++ {
		err = d.handover(ctx, s.Session)
		pause *= 2
	}
	f.Seconds = time.Since(began).Seconds()
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Moved = err == nil; f.Moved {
		d.moved++
	} else {
		f.Why = err.Error()
		d.failed++
	}
	d.fates[s.Session] = f
	d.show(f)
}

func (d *drainage) handover(ctx context.Context, id cxtp.SessionID) error {
	final, err := handoverAnew(ctx, d.client, control.Handover{Session: id, To: d.to, Force: d.force}, nil)
	if err == nil {
		_, err = judge(final, false)
	}
	return err
}

func busy(err error) bool {
	var coded *codedError
	return errors.As(err, &coded) && coded.code == exitBusy
}

// wait lets a session that is busy come to rest; false = the operator does not want to.
func (d *drainage) wait(ctx context.Context, pause time.Duration) bool {
	count := func(n int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.busy += n
		d.show(nil)
	}
	count(1)
	defer count(-1)
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// show shows how far it has come, and what became of a session; nil = of none.
func (d *drainage) show(f *fate) {
	switch {
	case d.each == nil:
		d.progress.show(d.tally)
	case f != nil:
		fmt.Fprintln(d.each, f)
	}
}

// maxReasons bounds the lines that tell why sessions were not moved.
const maxReasons = 10

// reasons tells why sessions were not moved, the most frequent reason first, each
// with one of them.
func (d *drainage) reasons() []string {
	example, count := map[string]*fate{}, map[string]int{}
	for _, f := range d.fates {
		if !f.Moved {
			example[f.Why] = f
			count[f.Why]++
		}
	}
	whys := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	var lines []string
	for i, why := range whys {
		if i == maxReasons {
			return append(lines, fmt.Sprintf("and %d other reasons: --json has them all", len(whys)-i))
		}
		lines = append(lines, fmt.Sprintf("%d, for example %s", count[why], example[why]))
	}
	return lines
}

// drained is the JSON document of drain.
type drained struct {
	To       cxtp.RouterID `json:"to"`
	Closed   bool          `json:"closed"` // this gateway takes no sessions now
	Moved    int           `json:"moved"`
	Failed   int           `json:"failed"`
	Seconds  float64       `json:"seconds"`
	Sessions []*fate       `json:"sessions"`
}

func (d *drainage) document() drained {
	doc := drained{To: d.to, Closed: d.closed, Moved: d.moved, Failed: d.failed, Seconds: time.Since(d.started).Seconds(), Sessions: []*fate{}}
	for _, f := range d.fates {
		doc.Sessions = append(doc.Sessions, f)
	}
	slices.SortFunc(doc.Sessions, func(a, b *fate) int { return strings.Compare(a.Session.String(), b.Session.String()) })
	return doc
}
