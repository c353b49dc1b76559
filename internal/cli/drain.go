package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
		Usage:     "move every session of this gateway to another one",
		UsageText: "cxtp drain --to ROUTER [--outstanding N] [--force]",
		Description: "Ask the gateway that is to be emptied. Sessions that come while it is being drained\n" +
			"are moved too. What could not be moved stays, and is listed with the reason; the\n" +
			"status is then 1. Interrupting the command begins no more moves, and those under\n" +
			"way go on.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "to", Usage: "the `router` to move to"},
			&urfave.IntFlag{Name: "outstanding", Value: 64, Usage: "how many moves may be under way at once, `N`; above 128 they hinder each other"},
			&urfave.BoolFlag{Name: "force", Usage: "also sessions whose node is left behind: see cxtp handover"},
		},
		Before: noArguments,
		Action: drain,
	}
}

func drain(c *urfave.Context) error {
	to := cxtp.RouterID(c.String("to"))
	switch {
	case to == "":
		return usagef("say where the sessions go: cxtp drain --to ROUTER")
	case c.Int("outstanding") < 1:
		return usagef("--outstanding %d moves nothing: it has to be 1 or more", c.Int("outstanding"))
	}
	client := dial(c)
	defer client.Close()
	d := &drainage{client: client, to: to, force: c.Bool("force"), outstanding: c.Int("outstanding"), failed: map[cxtp.SessionID]string{}, started: time.Now(),
		progress: meter{out: c.App.ErrWriter, terminal: isTerminal(c.App.ErrWriter)}}
	err := d.run(c.Context)
	if err != nil && d.total == 0 {
		return err // it has not begun
	}
	d.progress.end(d.moved, d.total, len(d.failed))
	if c.Bool("json") {
		return errors.Join(printJSON(c, d.document()), err)
	}
	fmt.Fprintf(c.App.Writer, "moved %d sessions to %s in %.1f s\n", d.moved, to, time.Since(d.started).Seconds())
	for _, line := range d.reasons() {
		fmt.Fprintln(c.App.Writer, line)
	}
	return err
}

// drainage is one run of drain.
type drainage struct {
	client      *control.Client
	to          cxtp.RouterID
	force       bool
	outstanding int
	started     time.Time

	mu       sync.Mutex
	moved    int
	total    int // that were there to be moved
	failed   map[cxtp.SessionID]string
	progress meter
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
		d.total = d.moved + len(here)
		clear(d.failed)
		d.round(ctx, here)
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted; moves under way go on, see cxtp sessions")
		case d.moved == before:
			return fmt.Errorf("%d sessions were not moved", len(d.failed))
		}
	}
}

// here lists the sessions that this gateway owns, or has just got.
func (d *drainage) here(ctx context.Context) ([]cxtp.SessionID, error) {
	views, err := d.client.Sessions(ctx)
	var ids []cxtp.SessionID
	for _, v := range views {
		switch v.State {
		case "active", "staging", "staged", "active-unclosed":
			ids = append(ids, v.Session)
		}
	}
	return ids, err
}

func (d *drainage) round(ctx context.Context, sessions []cxtp.SessionID) {
	next := make(chan cxtp.SessionID)
	var workers sync.WaitGroup
	for range min(d.outstanding, len(sessions)) {
		workers.Go(func() {
			for id := range next {
				d.move(ctx, id)
			}
		})
	}
	for _, id := range sessions {
		select {
		case next <- id:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
}

func (d *drainage) move(ctx context.Context, id cxtp.SessionID) {
	final, err := handoverAnew(ctx, d.client, control.Handover{Session: id, To: d.to, Force: d.force}, nil)
	if err == nil {
		_, err = judge(final, false)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.moved++
	} else {
		d.failed[id] = err.Error()
	}
	d.progress.show(d.moved, d.total, len(d.failed))
}

// maxReasons bounds the lines that tell why sessions were not moved.
const maxReasons = 10

// reasons tells why sessions were not moved, the most frequent reason first, each
// with one of them.
func (d *drainage) reasons() []string {
	example, count := map[string]cxtp.SessionID{}, map[string]int{}
	for id, why := range d.failed {
		example[why] = id
		count[why]++
	}
	var whys []string
	for why := range count {
		whys = append(whys, why)
	}
	slices.SortFunc(whys, func(a, b string) int {
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
		lines = append(lines, fmt.Sprintf("%d, for example %s: %s", count[why], example[why], why))
	}
	return lines
}

// drained is the JSON document of drain.
type drained struct {
	To      cxtp.RouterID             `json:"to"`
	Moved   int                       `json:"moved"`
	Failed  map[cxtp.SessionID]string `json:"failed"`
	Seconds float64                   `json:"seconds"`
}

func (d *drainage) document() drained {
	return drained{To: d.to, Moved: d.moved, Failed: d.failed, Seconds: time.Since(d.started).Seconds()}
}

// meter shows how far long work has come: on a terminal in one line that changes,
// elsewhere a line every tenth.
type meter struct {
	out      io.Writer
	terminal bool
	tenth    int
	shown    bool
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (m *meter) show(done, total, failed int) {
	text := fmt.Sprintf("%d of %d moved", done, total)
	if failed > 0 {
		text += fmt.Sprintf(", %d not", failed)
	}
	tenth := 10 * (done + failed) / total
	switch {
	case m.terminal:
		const width = 30
		bar := strings.Repeat("#", width*(done+failed)/total)
		fmt.Fprintf(m.out, "\r[%-*s] %s", width, bar, text)
		m.shown = true
	case tenth > m.tenth:
		m.tenth = tenth
		fmt.Fprintln(m.out, text)
	}
}

// end leaves the line.
func (m *meter) end(done, total, failed int) {
	if m.shown {
		m.show(done, total, failed)
		fmt.Fprintln(m.out)
	}
}
