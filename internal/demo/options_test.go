package demo

import (
	"slices"
	"strings"
	"testing"
)

func TestOptionsCheck(t *testing.T) {
	good := Options{Moves: 6, Rate: 1000}
	for name, test := range map[string]struct {
		change func(*Options)
		want   string // in the error; "" = none
	}{
		"as it is":      {func(*Options) {}, ""},
		"most":          {func(o *Options) { o.Moves, o.Rate, o.Port = MaxMoves, MaxRate, 65536-Ports }, ""},
		"no moves":      {func(o *Options) { o.Moves = 0 }, "--moves 0"},
		"many moves":    {func(o *Options) { o.Moves = MaxMoves + 1 }, "from 1 to 96"},
		"no packets":    {func(o *Options) { o.Rate = 0 }, "--rate 0"},
		"many packets":  {func(o *Options) { o.Rate = MaxRate + 1 }, "20000"},
		"privileged":    {func(o *Options) { o.Port = 80 }, "--port 80"},
		"too high":      {func(o *Options) { o.Port = 65536 - Ports + 1 }, "leave it out"},
		"unknown guard": {func(o *Options) { o.Break = "glass" }, "freeze, counters, policy, certificate"},
		"gain":          {func(o *Options) { o.Loss = -1 }, "--loss -1"},
		"most loss":     {func(o *Options) { o.Loss = MaxLoss }, ""},
		"much loss":     {func(o *Options) { o.Loss = MaxLoss + 1 }, "from 0 to 50"},
		"loss and none": {func(o *Options) { o.Loss, o.Break = 1, BreakFreeze }, "leave out --loss"},
		"all points":    {func(o *Options) { o.Moves, o.Crash = 0, []string{CrashAll} }, ""},
		"two points":    {func(o *Options) { o.Moves, o.Crash = 0, []string{"source-frozen", "target-active"} }, ""},
		"no such point": {func(o *Options) { o.Moves, o.Crash = 0, []string{"source-asleep"} }, "some of target-before-promise, "},
		"all and one":   {func(o *Options) { o.Moves, o.Crash = 0, []string{CrashAll, "source-frozen"} }, "write all, or some"},
		"crash, moves":  {func(o *Options) { o.Crash = []string{CrashAll} }, "one move for each point"},
		"crash, break":  {func(o *Options) { o.Moves, o.Crash, o.Break = 0, []string{CrashAll}, BreakFreeze }, "--crash"},
	} {
		o := good
		test.change(&o)
		err := o.check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestPlans checks that six moves have every starter both ways, and that each
// move begins where the one before ended.
func TestPlans(t *testing.T) {
	o := Options{Moves: 12}
	plans := o.plans()
	var seen []plan
	for i, p := range plans {
		if i > 0 && p.from != plans[i-1].to || p.to != 1-p.from {
			t.Errorf("move %d goes from %d to %d", i+1, p.from, p.to)
		}
		if slices.Contains(seen, p) {
			t.Errorf("move %d is there twice: %+v", i+1, p)
		}
		seen = append(seen, p)
	}
	for _, by := range []starter{bySource, byTarget, byNode} {
		for _, early := range []bool{false, true} {
			if !slices.ContainsFunc(plans[:6], func(p plan) bool { return p.by == by && p.early == early }) {
				t.Errorf("no move by the %s with early staging %v among the first six", by, early)
			}
		}
	}
	o.Break = BreakCounters
	if slices.ContainsFunc(o.plans(), func(p plan) bool { return !p.early }) {
		t.Error("a move without early staging has no packets between its stage and its freeze")
	}
	o.Break = BreakCertificate
	if slices.ContainsFunc(o.plans(), func(p plan) bool { return p.from != 0 }) {
		t.Error("a move begins where the session never gets to")
	}
}

// TestPoints checks that every point says who dies, has a fate, and is told from
// the others by its name and its step.
func TestPoints(t *testing.T) {
	steps := map[[3]any]string{}
	for _, p := range points {
		if party := p.party(); party != "source" && party != "target" {
			t.Errorf("%s: %q is no party", p.name, party)
		}
		if len(p.fate) == 0 || p.design == "" || p.when == "" {
			t.Errorf("%s: the table does not say what must become of it", p.name)
		}
		key := [3]any{p.kind, p.step, p.after}
		if other, twice := steps[key]; twice {
			t.Errorf("%s and %s are the same step", other, p.name)
		}
		steps[key] = p.name
		o := Options{Crash: []string{p.name}}
		if found, err := o.points(); err != nil || len(found) != 1 || found[0].name != p.name {
			t.Errorf("%s is not found by its name: %v, %v", p.name, found, err)
		}
	}
}
