package cli

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/internal/control"
)

func rekeyCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "rekey",
		Usage:     "give a session other keys and SPIs, where an IKE daemon can",
		UsageText: "cxtp rekey SESSION",
		Description: "Ask the gateway that owns the session. It is wanted after a takeover, and where an\n" +
			"SPI of the session is taken at another gateway. Nothing is lost meanwhile. The\n" +
			"command ends when the new SAs are at work.",
		Action: func(c *urfave.Context) error {
			sessions, err := sessionArguments(c)
			if err != nil {
				return err
			}
			if len(sessions) != 1 {
				return usagef("name one session: cxtp rekey SESSION")
			}
			client := dial(c)
			if err := client.Rekey(c.Context, sessions[0]); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, control.Result{Session: sessions[0]})
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s is rekeyed\n", sessions[0])
			return err
		},
	}
}
