package cxtp

import (
	"slices"
	"testing"
)

// TestFollowed: wherever a node stands, the changes lead it to where its gateway
// receives.
func TestFollowed(t *testing.T) {
	esp := func(was, is uint32) SPIChange { return SPIChange{protocolESP, was, is} }
	for _, c := range []struct{ earlier, later, want []SPIChange }{
		{nil, nil, nil},
		{nil, []SPIChange{esp(1, 2)}, []SPIChange{esp(1, 2)}},
		{[]SPIChange{esp(1, 2)}, nil, []SPIChange{esp(1, 2)}},
		{[]SPIChange{esp(1, 2)}, []SPIChange{esp(2, 3)}, []SPIChange{esp(1, 3), esp(2, 3)}},
		{[]SPIChange{esp(1, 3), esp(2, 3)}, []SPIChange{esp(3, 4)}, []SPIChange{esp(1, 4), esp(2, 4), esp(3, 4)}},
		{[]SPIChange{esp(1, 2)}, []SPIChange{{protocolAH, 2, 3}}, []SPIChange{esp(1, 2), {protocolAH, 2, 3}}},
		{[]SPIChange{esp(1, 2)}, slices.Repeat([]SPIChange{esp(5, 6)}, MaxUpdateEntries), slices.Repeat([]SPIChange{esp(5, 6)}, MaxUpdateEntries)},
	} {
		before := slices.Clone(c.earlier)
		if got := followed(c.earlier, c.later); !slices.Equal(got, c.want) {
			t.Errorf("%v, then %v: %v, want %v", c.earlier, c.later, got, c.want)
		}
		if !slices.Equal(c.earlier, before) {
			t.Error("the earlier ones were changed")
		}
	}
}
