package conform

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrNothing says that no case is of the sections asked for, or that there are no
// cases at all: a run of nothing would pass.
var ErrNothing = errors.New("no case was selected")

// Select takes the cases of any of the sections, all cases where none is named. A
// section is written as in "2.5" (of RFC 4067), "control-profile/2",
// "ipsec-profile" (the whole document) or as a row's id, "rfc4067-2.5.1-3"; with a
// section come those below it. The error is [ErrNothing], also when only one of
// several sections has no case.
func Select(cases []Case, sections ...string) ([]Case, error) {
	if len(cases) == 0 {
		return nil, ErrNothing
	}
	if len(sections) == 0 {
		return cases, nil
	}
	taken := make([]bool, len(cases))
	for _, section := range sections {
		found := false
		for i, c := range cases {
			if c.in(section) {
				taken[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("%w by %q: name a section of RFC 4067 as 2.5.1, of another document as control-profile/2, or a row as rfc4067-2.5.1-1", ErrNothing, section)
		}
	}
	var chosen []Case
	for i, c := range cases {
		if taken[i] {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// in reports whether the case is of the section.
func (c Case) in(section string) bool {
	if slices.Contains(c.Rows, section) {
		return true
	}
	document, number, _ := strings.Cut(section, "/")
	if section != "" && strings.Trim(section, ".0123456789") == "" {
		document, number = "rfc4067", section
	}
	itsDocument, itsNumber := place(c.Section)
	return document == itsDocument &&
		(number == "" || number == itsNumber || strings.HasPrefix(itsNumber, number+"."))
}

// place takes a section apart: "RFC 4067 section 2.5.1" is 2.5.1 of rfc4067, and
// "control profile section 2" is 2 of control-profile.
func place(section string) (document, number string) {
	for _, word := range []string{" section ", " appendix "} {
		if before, after, found := strings.Cut(section, word); found {
			section, number = before, after
			break
		}
	}
	document = strings.ReplaceAll(strings.ToLower(section), " ", "-")
	if rest, isRFC := strings.CutPrefix(document, "rfc-"); isRFC {
		document = "rfc" + rest
	}
	return document, number
}

// bySection orders results by document, RFCs first, and section, 2.5.10 after 2.5.9.
func bySection(a, b Result) int {
	aDocument, aNumber := place(a.Section)
	bDocument, bNumber := place(b.Section)
	if aDocument != bDocument {
		aIsRFC, bIsRFC := strings.HasPrefix(aDocument, "rfc"), strings.HasPrefix(bDocument, "rfc")
		switch {
		case aIsRFC != bIsRFC && aIsRFC:
			return -1
		case aIsRFC != bIsRFC:
			return 1
		}
		return strings.Compare(aDocument, bDocument)
	}
	return slices.CompareFunc(strings.Split(aNumber, "."), strings.Split(bNumber, "."), byNumber)
}

// byNumber orders parts of a section's number, letters of appendices last.
func byNumber(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	switch {
	case errX == nil && errY == nil:
		return x - y
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return strings.Compare(a, b)
}
