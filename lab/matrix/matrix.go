// Package matrix makes test cases of what can be combined: every combination,
// or, by default, few in which each pair of values still occurs together.
package matrix

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// Axis is one thing that cases differ in.
type Axis struct {
	Name   string
	Values []string
}

// Case is a value for each axis, by the axis's name.
type Case struct {
	axes   []Axis
	values []int // an index into the values of each axis
}

// Get returns the case's value on an axis.
func (c Case) Get(axis string) string {
	for i, a := range c.axes {
		if a.Name == axis {
			return a.Values[c.values[i]]
		}
	}
	panic("matrix: no axis " + axis)
}

// String names the case, as a subtest's name.
func (c Case) String() string {
	words := make([]string, len(c.axes))
	for i, a := range c.axes {
		words[i] = a.Values[c.values[i]]
	}
	return strings.Join(words, "/")
}

// Cases returns the cases that are allowed: all of them if LAB_FULL is set in
// the environment, else pairs.
func Cases(axes []Axis, allowed func(Case) bool) []Case {
	if os.Getenv("LAB_FULL") != "" {
		return All(axes, allowed)
	}
	return Pairs(axes, allowed)
}

// All returns every combination that is allowed; allowed nil allows all.
func All(axes []Axis, allowed func(Case) bool) []Case {
	total := 1
	for _, a := range axes {
		total *= len(a.Values)
	}
	var cases []Case
	for number := range total {
		c := Case{axes: axes, values: make([]int, len(axes))}
		for i := len(axes) - 1; i >= 0; i-- {
			c.values[i] = number % len(axes[i].Values)
			number /= len(axes[i].Values)
		}
		if allowed == nil || allowed(c) {
			cases = append(cases, c)
		}
	}
	return cases
}

// Pairs returns some of [All], the same at every call, such that any two
// values that occur together in a case of All do so in one of these. It takes,
// one after the other, the case with the most pairs that are still missing.
func Pairs(axes []Axis, allowed func(Case) bool) []Case {
	all := All(axes, allowed)
	missing := make(map[couple]bool)
	for _, c := range all {
		for p := range c.couples {
			missing[p] = true
		}
	}
	var chosen []Case
	for len(missing) > 0 {
		best := slices.MaxFunc(all, func(a, b Case) int { return a.count(missing) - b.count(missing) })
		for p := range best.couples {
			delete(missing, p)
		}
		chosen = append(chosen, best)
	}
	return chosen
}

// couple is two axes with a value of each, by their indices.
type couple struct{ axisA, a, axisB, b int }

// couples yields the pairs of values in a case. A single axis pairs with
// itself.
func (c Case) couples(yield func(couple) bool) {
	if len(c.values) == 1 {
		yield(couple{0, c.values[0], 0, c.values[0]})
		return
	}
	for i, a := range c.values {
		for j := i + 1; j < len(c.values); j++ {
			if !yield(couple{i, a, j, c.values[j]}) {
				return
			}
		}
	}
}

func (c Case) count(missing map[couple]bool) int {
	n := 0
	for p := range c.couples {
		if missing[p] {
			n++
		}
	}
	return n
}

// Table collects the results of cases.
type Table struct {
	axes    []Axis
	columns []string
	rows    [][]string
}

// NewTable makes a table with a column for each axis and for each result.
func NewTable(axes []Axis, results ...string) *Table { return &Table{axes: axes, columns: results} }

// Add puts down the results of a case.
func (t *Table) Add(c Case, results ...any) {
	var row []string
	for _, a := range t.axes {
		row = append(row, c.Get(a.Name))
	}
	for _, r := range results {
		row = append(row, fmt.Sprint(r))
	}
	t.rows = append(t.rows, row)
}

// Write prints the table, with its columns aligned.
func (t *Table) Write(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var heading []string
	for _, a := range t.axes {
		heading = append(heading, a.Name)
	}
	fmt.Fprintln(out, strings.Join(append(heading, t.columns...), "\t"))
	for _, row := range t.rows {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	return out.Flush()
}
