package rfc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var levels = []Level{Must, MustNot, Should, ShouldNot, May, Constant}

func rowsOf(t *testing.T, document string) []Row {
	t.Helper()
	rows, err := Rows(document)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestRowsAreWellFormed: ids count up within a section, every field has one of its
// values, and a reason stands where one belongs.
func TestRowsAreWellFormed(t *testing.T) {
	for _, document := range Documents() {
		count, closed, section := map[string]int{}, map[string]bool{}, ""
		rows := rowsOf(t, document)
		t.Log(summary(document, rows))
		for _, row := range rows {
			if row.Section != section {
				if closed[row.Section] {
					t.Errorf("%s: section %s is in two places", row.ID, row.Section)
				}
				closed[section], section = true, row.Section
			}
			count[row.Section]++
			if want := fmt.Sprintf("%s-%s-%d", document, row.Section, count[row.Section]); row.ID != want {
				t.Errorf("the id %q should be %q", row.ID, want)
			}
			if !slices.Contains(levels, row.Level) || row.Implied && row.Level == Constant {
				t.Errorf("%s: level %q, implied %v", row.ID, row.Level, row.Implied)
			}
			if !strings.HasSuffix(row.Text, ".") || row.Text != strings.TrimSpace(row.Text) {
				t.Errorf("%s: %q is no sentence", row.ID, row.Text)
			}
			switch row.State {
			case Done:
				if row.Reason != "" {
					t.Errorf("%s is done and has a reason not to be", row.ID)
				}
			case NotApplicable:
				if row.Reason == "" || len(row.Tests) > 0 {
					t.Errorf("%s is not applicable: its reason is %q, its tests are %q", row.ID, row.Reason, row.Tests)
				}
			default:
				t.Errorf("%s: state %q", row.ID, row.State)
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, document := range Documents() {
		for _, want := range rowsOf(t, document) {
			if got, ok := Find(want.ID); !ok || got.Text != want.Text {
				t.Errorf("%s: found %v, %+v", want.ID, ok, got)
			}
		}
	}
	if row, ok := Find("rfc4067-2.5.1-0"); ok {
		t.Errorf("found %+v", row)
	}
	if rows, err := Rows("rfc4068"); err == nil || rows != nil {
		t.Errorf("rows of a document that is not here: %v, error %v", rows, err)
	}
}

// summary is what the rows of a document come to.
func summary(document string, rows []Row) string {
	count := map[Level]map[State]int{}
	for _, row := range rows {
		if count[row.Level] == nil {
			count[row.Level] = map[State]int{}
		}
		count[row.Level][row.State]++
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %d rows", document, len(rows))
	for _, level := range levels {
		if c := count[level]; c != nil {
			fmt.Fprintf(&out, "\n  %-10s %3d done, %2d not applicable", level, c[Done], c[NotApplicable])
		}
	}
	return out.String()
}
