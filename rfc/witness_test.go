package rfc_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/rfc"
)

// ofProfile is a section of one of our own specifications.
var ofProfile = regexp.MustCompile(`^(control profile|IPsec profile|IKE profile|authorisation) section ([0-9.]+)$`)

// astray says what is wrong with what a witness shows, "" if nothing is: rows, or a
// rule of one of our own specifications, which have none.
func (w witness) astray() string {
	for _, id := range w.rows {
		if _, ok := rfc.Find(id); !ok {
			return fmt.Sprintf("%s names %q, and there is no such row", w.name, id)
		}
	}
	if len(w.rows) > 0 {
		return ""
	}
	place := ofProfile.FindStringSubmatch(w.section)
	if place == nil {
		return fmt.Sprintf("%s, of %s, names no row", w.name, w.section)
	}
	name := strings.ReplaceAll(strings.ToLower(place[1]), " ", "-") + ".md"
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Sprintf("%s is of %s: %v", w.name, w.section, err)
	}
	if !regexp.MustCompile(`(?m)^#+ ` + regexp.QuoteMeta(place[2]) + `\.? `).Match(text) {
		return fmt.Sprintf("%s is of %s, and %s has no such section", w.name, w.section, name)
	}
	return ""
}

// TestWitnessesHaveRows: every vector and every case shows a row that is there.
func TestWitnessesHaveRows(t *testing.T) {
	for _, w := range witnesses(t) {
		if why := w.astray(); why != "" {
			t.Error(why)
		}
	}
}
