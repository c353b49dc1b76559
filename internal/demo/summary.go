package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Write prints the report: as one JSON document, or the summary that closes the
// text.
func (r *Report) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	carried := "not yet past 2^32"
	if r.Witness.Carried {
		carried = "past 2^32 on both SAs"
	}
	fmt.Fprintf(w, "Summary of %d moves: %d ESP packets on the wire, 64-bit sequence numbers %s\n\n", len(r.Moves), r.Witness.Packets, carried)
	lines := []summaryLine{
		{"(SPI, key, sequence number) seen twice", r.Witness.SequenceTwice},
		{"(key, IV) seen twice", r.Witness.IVTwice},
		{"packets of a gateway in clear", r.Witness.Clear},
		{"ESP packets that do not open", r.Witness.Unreadable},
		{fmt.Sprintf("accepted of %d replayed packets", r.Witness.Replays), r.Up.Replayed + r.Down.Replayed},
		{fmt.Sprintf("inner packets lost of %d", r.Up.Sent+r.Down.Sent), r.Up.Lost + r.Down.Lost},
		{"inner packets delivered twice", r.Up.Duplicated + r.Down.Duplicated},
		{"longest gap, node to host (ms)", r.Up.LongestGap},
		{"longest gap, host to node (ms)", r.Down.LongestGap},
	}
	for _, line := range append(lines, r.hardships()...) {
		fmt.Fprintf(w, "  %-42s %v\n", line.what, line.count)
	}
	fmt.Fprintln(w)
	switch {
	case r.Failure != "":
		fmt.Fprintln(w, "Not finished:", r.Failure)
	case !r.Kept:
		for _, law := range r.Broken {
			fmt.Fprintln(w, "Broken:", law)
		}
	case r.Break == BreakCertificate:
		fmt.Fprintf(w, "No move was possible, because sg2's certificate is a stranger's (%s).\nThe session at sg1 is unharmed: it went on, and nothing was lost.\n", r.Refusal)
	default:
		fmt.Fprintln(w, "All laws were kept.")
	}
	return nil
}

// summaryLine is one figure of the summary.
type summaryLine struct {
	what  string
	count any
}

// hardships are the figures of a demo that was made hard.
func (r *Report) hardships() (lines []summaryLine) {
	var blackouts []string
	lives, ended, exposed := 0, 0, uint64(0)
	for _, m := range r.Moves {
		if m.Crash == nil {
			blackouts = append(blackouts, fmt.Sprintf("%.1f", m.Phases.Blackout))
			continue
		}
		exposed += m.Crash.Exposed
		if m.Crash.Lives {
			lives++
		} else if m.Crash.At != "" {
			ended++
		}
	}
	if r.Loss > 0 {
		lines = append(lines, summaryLine{fmt.Sprintf("datagrams of CXTP dropped of %d", r.CXTP.Datagrams), r.CXTP.Dropped})
		if len(blackouts) > 0 {
			lines = append(lines, summaryLine{"blackout of each move (ms)", strings.Join(blackouts, " ")})
		}
	}
	if len(blackouts) < len(r.Moves) {
		lines = append(lines, summaryLine{"of the accepted, by unmerged windows", exposed},
			summaryLine{"sessions that live on after a crash", lives}, summaryLine{"sessions that ended on record", ended})
	}
	return lines
}

// announce says what is made hard.
func (o *Options) announce() {
	if o.Loss > 0 && !o.JSON {
		fmt.Fprintf(o.Out, "%d %% of the datagrams between the gateways, and between them and the node's agent, get lost;\n"+
			"chosen by --seed %d.\n\n", o.Loss, o.Seed)
	}
}
