package cli

import (
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/internal/control"
)

func sessionsCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "sessions",
		Usage: "list the sessions that a daemon knows",
		Description: "Below a session of an IKE daemon's are its IKE SA and its CHILD SAs, with the SPIs in\n" +
			"hexadecimal: of the IKE SA the initiator's and the responder's, of a CHILD SA those of\n" +
			"what comes from the client and of what goes to it. The client's outer address is the\n" +
			"one that the IKE daemon told last. MLD lines are the multicast groups that the node\n" +
			"listens to, the prefix of the link, and how long they last unless it is heard again.",
		Before: noArguments,
		Action: func(c *urfave.Context) error {
			client := dial(c)
			sessions, err := client.Sessions(c.Context)
			switch {
			case err != nil:
				return err
			case c.Bool("json") && sessions == nil:
				return printJSON(c, []control.Session{})
			case c.Bool("json"):
				return printJSON(c, sessions)
			}
			return printSessions(c, sessions)
		},
	}
}

func printSessions(c *urfave.Context, sessions []control.Session) error {
	rows := []string{row("SESSION", "NODE", "STATE", "EPOCH", "PEER", "IDENTITY", "INNER", "WHY")}
	below := map[int][]string{} // lines after that row
	for i, s := range sessions {
		rows = append(rows, row(s.Session, s.Previous, s.State, s.Epoch, s.Peer, s.Identity, joined(s.Inner), s.Why))
		if s.IKE != nil {
			below[i+1] = ikeLines(s.IKE)
		}
		below[i+1] = append(below[i+1], groupLines(s.Groups)...)
	}
	return printTableWith(c, rows, below)
}

// ikeLines are a client's IKE SA and its CHILD SAs, a line each.
func ikeLines(v *ikectx.View) []string {
	ike := fmt.Sprintf("  IKE %s %s_i %s_r, generation %d, age %s, client %s", v.Connection, v.InitiatorSPI, v.ResponderSPI, v.Generation, age(v.Age), v.Remote)
	if v.EAPIdentity != "" {
		ike += ", in IKE " + v.Identity
	}
	if len(v.Virtual) > 0 {
		ike += ", virtual " + joined(v.Virtual)
	}
	lines := []string{ike}
	for _, child := range v.Children {
		lines = append(lines, fmt.Sprintf("  CHILD %s in %s out %s, age %s", child.Name, child.Inbound, child.Outbound, age(child.Age)))
	}
	return lines
}

// groupLines are the multicast groups that a node listens to, a line each.
func groupLines(groups []mld.View) (lines []string) {
	for _, g := range groups {
		line := fmt.Sprintf("  MLD %s on %s", g.Group, g.Prefix)
		if g.Interface != "" {
			line += ", " + g.Interface
		}
		if g.Left > 0 {
			line += fmt.Sprintf(", for %s", g.Left)
		}
		lines = append(lines, line)
	}
	return lines
}

// age is a number of seconds for people.
func age(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

// joined puts things together with commas.
func joined[T fmt.Stringer](all []T) string {
	var texts []string
	for _, one := range all {
		texts = append(texts, one.String())
	}
	return strings.Join(texts, ",")
}
