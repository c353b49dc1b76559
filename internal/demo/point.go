package demo

import (
	"fmt"
	"slices"
	"strings"
)

// CrashAll stands for all points of [Options.Crash].
const CrashAll = "all"

// point is where in a move a gateway dies, and what has to become of the
// session then.
type point struct {
	name string
	when string // in words
	// The step of the gateway's machine, by the kind and name that its trace has:
	// the gateway dies right before it, or, with after, when the operation that
	// begins there has its result, which the machine has not heard.
	kind, step string
	after      bool

	early  bool // the session is staged before, and packets for it wait at the target
	fate   []Fate
	design string // why
	// harmless: whoever has the traffic at that moment goes on with it, so not
	// one packet may be missing.
	harmless bool
	// unmerged: what the source took after the freeze dies with it, so the target
	// takes it once more, until its window has passed (control-profile.md section
	// 11, Unmerged windows).
	unmerged bool
}

// Fate is what becomes of a session whose move is cut off.
type Fate struct {
	Lives bool   `json:"lives"` // active at a gateway; else ended, on its record
	At    string `json:"at"`    // "source", "target"
}

var (
	livesAtSource = Fate{true, "source"}
	livesAtTarget = Fate{true, "target"}
	endedAtSource = Fate{false, "source"}
	endedAtTarget = Fate{false, "target"}
)

// party is who dies: the first word of the name.
func (p *point) party() string {
	party, _, _ := strings.Cut(p.name, "-")
	return party
}

const (
	ownerDied  = "the owner's SAs died with it, nobody else may act without its final, and its restart writes the end down"
	neverKnown = "the restarted target cannot prove that nothing was sent and calls the move lost; " +
		"the source may not go on after that, and ends at its freeze deadline"
	notGranted = "nothing was granted, so the source never stopped; the target comes back without the contexts, and the source " +
		"keeps the session or stages it anew"
	alreadyActive = "the target had promised durably and is active; the restarted source says that its own part is over"
)

// points are in the order of a move.
var points = []point{
	{
		name: "target-before-promise", when: "the contexts are checked, and the promise is not written yet",
		kind: "begin", step: "persist may-activate",
		fate: []Fate{livesAtSource, livesAtTarget}, design: notGranted, harmless: true,
	},
	{
		name: "target-after-promise", when: "the promise is durable, and the source does not know it",
		kind: "begin", step: "persist may-activate", after: true,
		fate: []Fate{livesAtSource, livesAtTarget}, design: notGranted, harmless: true,
	},
	{
		name: "source-staged", when: "the target's promise is here, and nothing follows from it yet",
		kind: "report", step: "staged",
		fate: []Fate{endedAtSource}, design: ownerDied,
	},
	{
		name: "source-before-grant", when: "the grant is decided, and not written yet",
		kind: "begin", step: "persist granted", early: true,
		fate: []Fate{endedAtSource}, design: ownerDied,
	},
	{
		name: "source-after-grant", when: "the grant is durable, and nothing is frozen yet",
		kind: "begin", step: "persist granted", after: true, early: true,
		fate: []Fate{endedAtSource}, design: ownerDied,
	},
	{
		name: "source-frozen", when: "outbound is frozen and counted, and the final is not sent yet",
		kind: "begin", step: "freeze", after: true, early: true,
		fate: []Fate{endedAtSource}, design: ownerDied,
	},
	{
		name: "target-activating", when: "the final is here, and the SAs are not started yet",
		kind: "begin", step: "activate", early: true,
		fate: []Fate{endedAtSource}, design: neverKnown,
	},
	{
		name: "target-active", when: "the SAs are started and send, and nobody knows it",
		kind: "begin", step: "activate", after: true, early: true,
		fate: []Fate{endedAtSource}, design: neverKnown,
	},
	{
		name: "source-active-heard", when: "the target's \"active\" is here, and nothing follows from it yet",
		kind: "report", step: "active", early: true,
		fate: []Fate{livesAtTarget}, design: alreadyActive, unmerged: true,
	},
	{
		name: "source-closed", when: "the close is durable, and the target does not know it",
		kind: "begin", step: "persist moved", after: true, early: true,
		fate: []Fate{livesAtTarget}, design: alreadyActive, harmless: true, unmerged: true,
	},
	{
		name: "target-merged", when: "the windows are merged, the close is durable, and the source does not know it",
		kind: "begin", step: "persist closed", after: true, early: true,
		fate: []Fate{endedAtTarget}, design: ownerDied,
	},
}

// points finds the points that the options name.
func (o *Options) points() ([]point, error) {
	if len(o.Crash) == 1 && o.Crash[0] == CrashAll {
		return points, nil
	}
	var list []point
	for _, name := range o.Crash {
		i := slices.IndexFunc(points, func(p point) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("--crash %q: write %s, or some of %s", name, CrashAll, pointNames())
		}
		list = append(list, points[i])
	}
	return list, nil
}

func pointNames() string {
	names := make([]string, len(points))
	for i, p := range points {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}
