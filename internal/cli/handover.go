package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

func handoverCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "handover",
		Usage:     "move a session to another gateway, or fetch it from there",
		UsageText: "cxtp handover SESSION --to ROUTER [--to ROUTER...] [--stage] [--force]\n   cxtp handover --from ROUTER --node ADDR [SESSION] [--stage] [--force]\n   cxtp handover --cancel SESSION",
		Description: "SESSION is the id that cxtp sessions shows. With --to, --node ADDR may stand for\n" +
			"it where the node has one session only. --stage puts the session at the target\n" +
			"without moving it. Interrupting the command does not stop the move.\n\n" +
			"The status is 0 when it was done, 2 for a mistake on the command line, and else\n" +
			"   3  there is no such session or node\n" +
			"   4  no such gateway is configured, a policy does not allow it, or the gateway cannot hold the session\n" +
			"   5  another move of the session is under way\n" +
			"   6  the other gateway did not answer in time\n" +
			"   7  the node would get another gateway address, and its agent cannot be told, because a restarted cxtpd has lost its key. --force moves the session all the same: the node has no traffic until it finds the gateway by other means\n" +
			"   1  anything else; the session is where it was, if the words do not say otherwise",
		Flags: []urfave.Flag{
			&urfave.StringSliceFlag{Name: "to", Usage: "the `router` to move to; ask the source. May be repeated: the next one is tried when one cannot take the session, or does not answer"},
			&urfave.StringFlag{Name: "from", Usage: "the `router` to fetch from; ask the target"},
			&urfave.StringFlag{Name: "node", Usage: "the node's previous `address`"},
			&urfave.BoolFlag{Name: "stage", Usage: "stage only"},
			&urfave.BoolFlag{Name: "force", Usage: "also where the node is left behind (status 7)"},
			&urfave.BoolFlag{Name: "cancel", Usage: "give up a move that has not been granted"},
		},
		Action: handover,
	}
}

func handover(c *urfave.Context) error {
	move, err := moveOf(c)
	if err != nil {
		return err
	}
	client := dial(c)
	if c.Bool("cancel") {
		return cancel(c, client, move.Session)
	}
	doc := moved{Outcome: "unknown", Reports: []control.Progress{}}
	for i, to := range targets(c) {
		if i > 0 && !elsewhere(err) {
			break
		}
		move.To = to
		final, failed := handoverAnew(c.Context, client, move, func(p control.Progress) {
			doc.Reports = append(doc.Reports, p)
			if !c.Bool("json") {
				fmt.Fprintln(c.App.ErrWriter, line(p))
			}
		})
		if err = failed; err == nil {
			doc.Outcome, err = judge(final, move.Stage)
		}
	}
	if c.Bool("json") {
		if printed := printJSON(c, doc); printed != nil {
			return printed
		}
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted; the move goes on, see cxtp sessions, or stop it with cxtp handover --cancel SESSION")
	}
	return err
}

// handoverAnew moves a session, and has it rekeyed and tries again where the target
// wants other SPIs.
func handoverAnew(ctx context.Context, client *control.Client, move control.Handover, report func(control.Progress)) (control.Progress, error) {
	final, err := client.Handover(ctx, move, report)
	wanted := func(s cxtp.ContextStatus) bool { return s.Status == cxtp.StatusRenegotiate }
	if err != nil || move.To == "" || !slices.ContainsFunc(final.Statuses, wanted) {
		return final, err
	}
	if err := client.Rekey(ctx, final.Session); err != nil {
		return final, fmt.Errorf("not moved: an SPI is taken at %s, and the session could not be rekeyed: %w", move.To, err)
	}
	return client.Handover(ctx, move, report)
}

// targets are the gateways to try in turn; one without a name where the session
// is fetched.
func targets(c *urfave.Context) []cxtp.RouterID {
	names := []cxtp.RouterID{}
	for _, name := range c.StringSlice("to") {
		names = append(names, cxtp.RouterID(name))
	}
	if len(names) == 0 {
		names = append(names, "")
	}
	return names
}

// elsewhere reports whether another gateway may take what this one has not: the
// session is where it was.
func elsewhere(err error) bool {
	var coded *codedError
	return errors.As(err, &coded) && (coded.code == exitRefused || coded.code == exitSilent || coded.code == exitUntold)
}

// moved is the JSON document of handover.
type moved struct {
	Outcome string             `json:"outcome"` // "moved", "staged", "failed", or "unknown" without a final report
	Reports []control.Progress `json:"reports"`
}

// moveOf reads what the command line asks for.
func moveOf(c *urfave.Context) (move control.Handover, err error) {
	if c.NArg() > 1 {
		return move, usagef("handover moves one session, got %q after %q", c.Args().Get(1), c.Args().First())
	}
	move.To, move.From = targets(c)[0], cxtp.RouterID(c.String("from"))
	move.Stage, move.Force = c.Bool("stage"), c.Bool("force")
	if c.Args().Present() {
		if move.Session, err = cxtp.ParseSessionID(c.Args().First()); err != nil {
			return move, usagef("%s; cxtp sessions lists the sessions", err)
		}
	}
	if c.IsSet("node") {
		if move.Previous, err = netip.ParseAddr(c.String("node")); err != nil {
			return move, usagef("--node %q is no IP address", c.String("node"))
		}
	}
	named := c.Args().Present()
	switch {
	case c.Bool("cancel") && (!named || move.To != "" || move.From != "" || move.Stage || move.Force):
		return move, usagef("--cancel takes a session id and no other flag: cxtp handover --cancel SESSION")
	case c.Bool("cancel"):
	case (move.To == "") == (move.From == ""):
		return move, usagef("say where the session goes: --to ROUTER at its source, or --from ROUTER at its target")
	case move.From != "" && !move.Previous.IsValid():
		return move, usagef("--from needs --node ADDR, the address that the other router knows the node by")
	case move.To != "" && named == move.Previous.IsValid():
		return move, usagef("name one session: cxtp handover SESSION --to %s, or --node ADDR in place of SESSION", move.To)
	}
	return move, nil
}

// judge says what the last report means for what was asked.
func judge(final control.Progress, stage bool) (outcome string, err error) {
	switch final.Event {
	case cxtp.EventClosed, cxtp.EventActive, cxtp.EventSteered:
		return "moved", nil
	case cxtp.EventStaged, cxtp.EventWaiting:
		if stage {
			return "staged", nil
		}
		return "staged", errors.New("not moved: it is staged, and moves when its node or its source asks")
	case cxtp.EventEnded:
		return "failed", fmt.Errorf("the session is over%s", reasons(final))
	}
	err = fmt.Errorf("not moved: %s%s", final.Event, reasons(final))
	for _, st := range final.Statuses {
		if st.Status == cxtp.StatusUntold {
			err = fmt.Errorf("%w; --force moves it and leaves the node behind", err)
		}
		if code, ok := exitStatus[st.Status]; ok {
			return "failed", &codedError{err, code}
		}
	}
	return "failed", err
}

// codedError has an exit status of its own.
type codedError struct {
	error
	code int
}

func (e *codedError) Unwrap() error { return e.error }

// exitStatus is what scripts can tell apart.
var exitStatus = map[cxtp.Status]int{
	cxtp.StatusUnknownSession: exitUnknown, cxtp.StatusAmbiguous: exitUnknown,
	cxtp.StatusNotAuthorised: exitRefused, cxtp.StatusUnsupported: exitRefused, cxtp.StatusAlgorithm: exitRefused,
	cxtp.StatusWindow: exitRefused, cxtp.StatusSPIConflict: exitRefused, cxtp.StatusRenegotiate: exitRefused, cxtp.StatusPolicyConflict: exitRefused,
	cxtp.StatusUnknownFPT: exitRefused, cxtp.StatusUnknownCritical: exitRefused, cxtp.StatusNoResources: exitRefused,
	cxtp.StatusDaemon: exitRefused, cxtp.StatusConfiguration: exitRefused, cxtp.StatusImmobile: exitRefused, cxtp.StatusDrained: exitRefused,
	cxtp.StatusBusy:    exitBusy,
	cxtp.StatusExpired: exitSilent,
	cxtp.StatusUntold:  exitUntold,
}

// line is a report for people.
func line(p control.Progress) string {
	text := p.Time.Local().Format("15:04:05.000")
	if !p.Session.IsZero() {
		text += " " + p.Session.String()
	}
	if p.Epoch > 0 {
		text += fmt.Sprintf(" epoch %d", p.Epoch)
	}
	text += ": " + p.Event.String()
	if p.Peer != "" {
		text += ", peer " + string(p.Peer)
	}
	return text + reasons(p)
}

// reasons are a report's statuses and detail: ": SPI already in use (IPsec SA); ..."
func reasons(p control.Progress) string {
	var parts []string
	for _, s := range p.Statuses {
		part := fmt.Sprintf("%s (%s)", s.Status, s.FPT)
		if advice := s.Status.Advice(); advice != "" && p.Event == cxtp.EventRefused {
			part += ": " + advice
		}
		parts = append(parts, part)
	}
	if p.Detail != "" {
		parts = append(parts, p.Detail)
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, "; ")
}

func cancel(c *urfave.Context, client *control.Client, session cxtp.SessionID) error {
	if err := client.Cancel(c.Context, session); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, control.Result{Session: session})
	}
	_, err := fmt.Fprintf(c.App.Writer, "the move of %s is cancelled\n", session)
	return err
}
