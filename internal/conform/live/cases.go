package live

import (
	"context"
	"slices"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/rfc"
)

// check is a case before it has a router. rows are ids of RFC 4067's without the
// document's name. The first is what the case is about, and gives it its level; the
// others are broken, too, where it fails.
type check struct {
	name   string
	rows   []string
	expect string
	run    func(*trial)
}

// checks are all cases, in the order in which they are run: those that leave the
// router as it is, those that use up a node, and the flood at the end.
func checks() []check {
	return slices.Concat(requestChecks, damageChecks, tokenChecks, sourceChecks, keyChecks, targetChecks, strangerChecks, rateChecks)
}

// Cases are the cases against a prober's router; with nil, which runs none of them,
// for whoever wants to know what there is.
func Cases(p *Prober) []conform.Case {
	var cases []conform.Case
	for _, c := range checks() {
		rows := make([]string, len(c.rows))
		for i, row := range c.rows {
			rows[i] = "rfc4067-" + row
		}
		first, _ := rfc.Find(rows[0])
		cases = append(cases, conform.Case{
			Name: c.name, Rows: rows, Section: "RFC 4067 section " + first.Section, Level: first.Level, Expect: c.expect,
			Run: func(ctx context.Context) conform.Finding { return p.try(ctx, c.run) },
		})
	}
	return cases
}
