package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

func checkCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "check",
		Usage:     "see whether another gateway could take the sessions of this one",
		UsageText: "cxtp check --to ROUTER [--all]",
		Description: "Ask the gateway that would be emptied. One session of each connection is staged at the\n" +
			"other gateway, which tells all that is missing there, and is taken back: it goes on\n" +
			"here meanwhile, and nothing is sent from there. --all tries every session, since what\n" +
			"keeps one client from moving, a NAT for instance, need not keep the others. Nothing is\n" +
			"tried where no session is. The status is 1 if any of them cannot move, 4 if no such\n" +
			"gateway is configured, and 6 if it is not connected.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "to", Usage: "the `router` that is to take them"},
			&urfave.BoolFlag{Name: "all", Usage: "try every session"},
		},
		Before: noArguments,
		Action: check,
	}
}

// trial is what came of trying one session.
type trial struct {
	Session    cxtp.SessionID `json:"session"`
	Connection string         `json:"connection,omitempty"`
	Why        string         `json:"why,omitempty"` // it cannot move; "" = it can
}

func check(c *urfave.Context) error {
	to := cxtp.RouterID(c.String("to"))
	if to == "" {
		return usagef("say which gateway: cxtp check --to ROUTER")
	}
	client := dial(c)
	if err := ready(c.Context, client, to); err != nil {
		return err
	}
	sessions, err := client.Sessions(c.Context)
	if err != nil {
		return err
	}
	trials, failed := []trial{}, 0
	for _, s := range candidates(sessions, c.Bool("all")) {
		t := trial{Session: s.Session, Connection: connection(s)}
		if err := try(c.Context, client, s.Session, to); err != nil {
			t.Why = err.Error()
			failed++
		}
		trials = append(trials, t)
	}
	if c.Bool("json") {
		err = printJSON(c, trials)
	} else {
		err = printTrials(c, trials, to)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d sessions tried cannot go to %s", failed, len(trials), to)
	}
	return err
}

// ready says what is wrong before any session is tried.
func ready(ctx context.Context, client *control.Client, to cxtp.RouterID) error {
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if status.IKE != nil && status.IKE.Problem != "" {
		return fmt.Errorf("here: %s", status.IKE.Problem)
	}
	peer, err := peerOf(status, to)
	if err == nil && !peer.Up {
		err = &codedError{fmt.Errorf("%s is not connected: cxtp status says more", to), exitSilent}
	}
	return err
}

// peerOf finds a gateway among those that are configured.
func peerOf(status control.Status, name cxtp.RouterID) (control.PeerStatus, error) {
	for _, p := range status.Peers {
		if p.Peer == name {
			return p, nil
		}
	}
	return control.PeerStatus{}, &codedError{fmt.Errorf("no gateway %q is configured here: cxtp status lists those that are; add a [[peer]] for others", name), exitRefused}
}

// candidates are the sessions to try: of each connection one that is at rest.
func candidates(sessions []control.Session, all bool) []control.Session {
	seen := map[string]bool{}
	var some []control.Session
	for _, s := range sessions {
		if s.State != "active" || !all && seen[connection(s)] {
			continue
		}
		seen[connection(s)] = true
		some = append(some, s)
	}
	return some
}

// connection is the IKE daemon's name for what a session is one of.
func connection(s control.Session) string {
	if s.IKE == nil {
		return ""
	}
	return s.IKE.Connection
}

// try stages a session and takes it back.
func try(ctx context.Context, client *control.Client, id cxtp.SessionID, to cxtp.RouterID) error {
	final, err := client.Handover(ctx, control.Handover{Session: id, To: to, Stage: true}, nil)
	if err != nil {
		return err
	}
	if _, err := judge(final, true); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "not moved: "))
	}
	if err := client.Cancel(ctx, id); err != nil {
		return fmt.Errorf("it could, and is still staged there: %w", err)
	}
	return nil
}

func printTrials(c *urfave.Context, trials []trial, to cxtp.RouterID) error {
	if len(trials) == 0 {
		_, err := fmt.Fprintf(c.App.Writer, "%s is connected; there is no session here to try\n", to)
		return err
	}
	rows := []string{row("CONNECTION", "SESSION", "TO "+string(to))}
	for _, t := range trials {
		verdict := "can go"
		if t.Why != "" {
			verdict = t.Why
		}
		name := t.Connection
		if name == "" {
			name = "-"
		}
		rows = append(rows, row(name, t.Session, verdict))
	}
	return printTable(c, rows)
}
