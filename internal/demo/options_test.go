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
