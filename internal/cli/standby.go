package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

func standbyCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "standby",
		Usage:     "keep a copy of a session fresh at another gateway, which can go on with it",
		UsageText: "cxtp standby SESSION --at ROUTER\n   cxtp standby SESSION --off",
		Description: "Ask the gateway that owns the session. The copy becomes active when an operator\n" +
			"tells the other gateway that this one is powered off (cxtp resolve --fenced), or by\n" +
			"itself where both are configured with a lease. cxtpd's [standby] orders it for all.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "at", Usage: "the `router` that holds the copy"},
			&urfave.BoolFlag{Name: "off", Usage: "keep no copy any more"},
		},
		Action: standby,
	}
}

func standby(c *urfave.Context) error {
	sessions, err := sessionArguments(c)
	if err != nil {
		return err
	}
	if (c.String("at") == "") != c.Bool("off") || len(sessions) != 1 {
		return usagef("name one session, and where its copy goes: cxtp standby SESSION --at ROUTER, or --off")
	}
	client := dial(c)
	return follow(c, []cxtp.Event{cxtp.EventStaged, cxtp.EventStandby}, func(report func(control.Progress)) (control.Progress, error) {
		return client.Standby(c.Context, control.Standby{Session: sessions[0], To: cxtp.RouterID(c.String("at"))}, report)
	})
}

func resolveCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "resolve",
		Usage:     "say that another gateway is powered off, where a session waits for it",
		UsageText: "cxtp resolve SESSION... --fenced ROUTER\n   cxtp resolve --all --fenced ROUTER",
		Description: "A gateway that waits for another one's answer must not guess: the other may be\n" +
			"sending. Fenced means powered off, with whatever it held gone. Not: it does not\n" +
			"answer. If the word is wrong, two gateways send for one session, and the node's\n" +
			"packets go to either. Keep the other gateway off until this command has ended.\n\n" +
			"What follows depends on where the session stands here:\n" +
			"   frozen on its way there    goes on here, above its ceiling; what that gateway accepted meanwhile could be replayed here\n" +
			"   a standby's copy from it   becomes active here, above its ceiling; what that gateway accepted since the last renewal could be replayed here\n" +
			"   active, close unconfirmed  no longer waits for the close; what that gateway accepted since the final could be replayed here once\n" +
			"   staged here, no standby    is given up: nothing was granted\n" +
			"   its standby is fenced      goes on without a standby; nothing is risked\n" +
			"   moved there                the session has ended with that gateway\n" +
			"Rekey the session afterwards. Many sessions are resolved at once. Interrupting the\n" +
			"command asks for no more of them, and what was asked goes on. The status is 4 if\n" +
			"no such gateway is configured.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "fenced", Usage: "the `router` that is powered off"},
			&urfave.BoolFlag{Name: "all", Usage: "every session here that has to do with that router"},
		},
		Action: resolve,
	}
}

func resolve(c *urfave.Context) error {
	sessions, err := sessionArguments(c)
	fenced := cxtp.RouterID(c.String("fenced"))
	switch {
	case err != nil:
		return err
	case fenced == "":
		return usagef("name the gateway that is powered off: cxtp resolve SESSION --fenced ROUTER")
	case c.Bool("all") == (len(sessions) > 0):
		return usagef("name sessions, or --all for every one that has to do with %s", fenced)
	}
	client := dial(c)
	if c.Bool("all") {
		views, err := client.Sessions(c.Context)
		if err != nil {
			return err
		}
		for _, v := range views {
			if v.Peer == fenced {
				sessions = append(sessions, v.Session)
			}
		}
		if len(sessions) == 0 {
			return nobodyWaits(c, client, fenced)
		}
	}
	return resolveEach(c, client, sessions, fenced)
}

// resolvedAtOnce is how many sessions are resolved at the same time.
const resolvedAtOnce = 32

// resolveEach gives the word on each session, on many at once: a gateway is dead,
// and the traffic of all waits. One that fails does not keep the others back.
func resolveEach(c *urfave.Context, client *control.Client, sessions []cxtp.SessionID, fenced cxtp.RouterID) error {
	good := []cxtp.Event{cxtp.EventClosed, cxtp.EventThawed, cxtp.EventStandby, cxtp.EventActive, cxtp.EventRefused, cxtp.EventEnded}
	var orders errgroup.Group
	orders.SetLimit(resolvedAtOnce)
	var printing sync.Mutex
	errs := make([]error, len(sessions))
	for i, id := range sessions {
		orders.Go(func() error {
			errs[i] = follow(c, good, func(report func(control.Progress)) (control.Progress, error) {
				final, err := client.Resolve(c.Context, control.Resolve{Session: id, Fenced: fenced}, func(p control.Progress) {
					printing.Lock()
					defer printing.Unlock()
					report(p)
				})
				if err != nil {
					err = fmt.Errorf("%s: %w", id, err)
				}
				return final, err
			})
			return nil
		})
	}
	orders.Wait()
	interrupted := func(err error) bool { return errors.Is(err, context.Canceled) }
	if slices.ContainsFunc(errs, interrupted) {
		errs = append(slices.DeleteFunc(errs, interrupted),
			errors.New("interrupted; what was asked goes on, see cxtp sessions, and give the order again for what still waits"))
	}
	return errors.Join(errs...)
}

// nobodyWaits says so, unless the name of the gateway is a mistake: then sessions may
// wait for another.
func nobodyWaits(c *urfave.Context, client *control.Client, fenced cxtp.RouterID) error {
	status, err := client.Status(c.Context)
	if err == nil {
		_, err = peerOf(status, fenced)
	}
	if err == nil {
		fmt.Fprintf(c.App.ErrWriter, "no session here has to do with %s\n", fenced)
	}
	return err
}

// sessionArguments reads session ids.
func sessionArguments(c *urfave.Context) ([]cxtp.SessionID, error) {
	var ids []cxtp.SessionID
	for _, text := range c.Args().Slice() {
		id, err := cxtp.ParseSessionID(text)
		if err != nil {
			return nil, usagef("%s; cxtp sessions lists the sessions", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// follow prints the reports on an order, one JSON document a line with --json,
// and judges the last.
func follow(c *urfave.Context, good []cxtp.Event, order func(func(control.Progress)) (control.Progress, error)) error {
	var printed error
	final, err := order(func(p control.Progress) {
		if c.Bool("json") {
			printed = errors.Join(printed, printJSON(c, p))
			return
		}
		fmt.Fprintln(c.App.ErrWriter, line(p))
	})
	if err != nil || printed != nil {
		return errors.Join(err, printed)
	}
	for _, e := range good {
		if final.Event == e {
			return nil
		}
	}
	return fmt.Errorf("%s: %s%s", final.Session, final.Event, reasons(final))
}
