package matrix

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// names returns the cases' names.
func names(cases []Case) []string {
	var list []string
	for _, c := range cases {
		list = append(list, c.String())
	}
	return list
}

// Every two values that may occur together do, in a case that is allowed, and
// nothing is said twice.
func TestPairsCoverEveryPair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		axes := make([]Axis, rapid.IntRange(1, 5).Draw(t, "axes"))
		for i := range axes {
			axes[i].Name = fmt.Sprintf("axis%d", i)
			for v := range rapid.IntRange(1, 4).Draw(t, "values") {
				axes[i].Values = append(axes[i].Values, fmt.Sprintf("%c%d", 'a'+i, v))
			}
		}
		forbidden := rapid.SliceOfN(rapid.SampledFrom(names(All(axes, nil))), 0, 10).Draw(t, "forbidden")
		allowed := func(c Case) bool { return !slices.Contains(forbidden, c.String()) }
		pairs := Pairs(axes, allowed)
		seen := make(map[couple]bool)
		for _, c := range pairs {
			if !allowed(c) {
				t.Fatalf("%v is not allowed", c)
			}
			before := len(seen)
			for p := range c.couples {
				seen[p] = true
			}
			if len(seen) == before {
				t.Fatalf("%v adds nothing", c)
			}
		}
		for _, c := range All(axes, allowed) {
			for p := range c.couples {
				if !seen[p] {
					t.Fatalf("%v: the pair %v is missing", c, p)
				}
			}
		}
		if again := names(Pairs(axes, allowed)); !slices.Equal(again, names(pairs)) {
			t.Fatalf("%v, then %v", names(pairs), again)
		}
	})
}

var sizes = []Axis{
	{"cipher", []string{"gcm", "ccm", "chacha", "cbc", "ctr", "null", "3des"}},
	{"esn", []string{"esn", "no-esn"}},
	{"mode", []string{"tunnel", "transport"}},
	{"family", []string{"4in4", "4in6", "6in4", "6in6"}},
	{"encap", []string{"udp", "bare"}},
}

// As many as the two largest axes need, and not many more.
func TestPairsAreFew(t *testing.T) {
	if all := All(sizes, nil); len(all) != 7*2*2*4*2 {
		t.Fatalf("%d combinations", len(all))
	}
	if pairs := Pairs(sizes, nil); len(pairs) < 7*4 || len(pairs) > 7*4+4 {
		t.Fatalf("%d pairs", len(pairs))
	}
}

func TestFullByEnvironment(t *testing.T) {
	pairs := len(Cases(sizes, nil))
	t.Setenv("LAB_FULL", "1")
	if full := len(Cases(sizes, nil)); full != 224 || pairs >= full {
		t.Fatalf("%d cases, %d with LAB_FULL", pairs, full)
	}
}

func TestTable(t *testing.T) {
	axes := sizes[:2]
	table := NewTable(axes, "lost")
	cases := All(axes, nil)
	table.Add(cases[0], 0)
	table.Add(cases[5], 12)
	var out strings.Builder
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "cipher  esn     lost\ngcm     esn     0\nchacha  no-esn  12\n"
	if out.String() != want {
		t.Fatalf("%q, want %q", out.String(), want)
	}
}
