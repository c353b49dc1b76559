package strongswan

import (
	"encoding/hex"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// passage is a part of a recorded stream: what the gateway was doing, and what
// its charon told.
type passage struct {
	doing    string
	messages [][]byte
}

// streams reads what charons told, by scenario.
func streams(t testing.TB) map[string][]passage {
	t.Helper()
	text, err := os.ReadFile("testdata/streams.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, name := map[string][]passage{}, ""
	for line := range strings.Lines(string(text)) {
		first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case first == "=":
			name = rest
		case first == "#":
			if name != "" {
				all[name] = append(all[name], passage{doing: rest})
			}
		case first != "":
			octets, err := hex.DecodeString(first)
			if err != nil {
				t.Fatal(err)
			}
			last := &all[name][len(all[name])-1]
			last.messages = append(last.messages, octets)
		}
	}
	return all
}

func parsed(t testing.TB, octets []byte) ha.Message {
	t.Helper()
	m, err := ha.Parse(octets)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hearAll plays messages to a journal, and lists what changed.
func hearAll(t testing.TB, j *journal, messages [][]byte) (changes []change) {
	t.Helper()
	for _, octets := range messages {
		_, c, err := j.hear(parsed(t, octets), day)
		if err != nil {
			t.Fatal(err)
		}
		if c != nothing && c != moved {
			changes = append(changes, c)
		}
	}
	return changes
}

// only is the lineage of a journal that has one.
func only(t testing.TB, j *journal) *lineage {
	t.Helper()
	if len(j.lineages) != 1 {
		t.Fatalf("%d lineages, want 1", len(j.lineages))
	}
	for _, l := range j.lineages {
		return l
	}
	return nil
}

// TestJournal follows a client whose SAs are rekeyed from both sides.
func TestJournal(t *testing.T) {
	j := newJournal()
	for i, want := range []struct {
		doing             string
		changes           []change
		generations       []uint32 // that are kept
		children          []uint32 // by which of them each was made
		request, expected uint32
	}{
		{"set-up", []change{completed}, []uint32{1}, []uint32{1}, 0, 2},
		{"CHILD rekey, gateway", []change{altered}, []uint32{1}, []uint32{1, 1}, 2, 2},
		{"what came until", []change{altered}, []uint32{1}, []uint32{1}, 2, 2},
		{"CHILD rekey, client", []change{altered}, []uint32{1}, []uint32{1, 1}, 2, 4},
		{"IKE rekey, gateway", []change{altered, altered}, []uint32{1, 2}, []uint32{1, 1}, 0, 0},
		{"IKE rekey, client", []change{altered, altered}, []uint32{1, 2, 3}, []uint32{1, 1}, 0, 0},
		{"CHILD rekey, client-initiated, after", []change{altered, altered}, []uint32{1, 2, 3}, []uint32{1, 3}, 0, 2},
		{"what came until", []change{altered}, []uint32{3}, []uint32{3}, 0, 2},
		{"MOBIKE", nil, []uint32{3}, []uint32{3}, 0, 4},
	} {
		s := streams(t)["gcm"][i]
		if !strings.HasPrefix(s.doing, want.doing) {
			t.Fatalf("passage %d is %q, want %q", i, s.doing, want.doing)
		}
		if got := hearAll(t, j, s.messages); !slices.Equal(got, want.changes) {
			t.Errorf("%s: changes %v, want %v", s.doing, got, want.changes)
		}
		l := only(t, j)
		var generations, children []uint32
		for _, g := range l.generations {
			generations = append(generations, g.number)
		}
		for _, c := range l.children {
			children = append(children, c.generation)
		}
		if !slices.Equal(generations, want.generations) || !slices.Equal(children, want.children) {
			t.Errorf("%s: generations %v, CHILD SAs of %v; want %v and %v", s.doing, generations, children, want.generations, want.children)
		}
		if g := l.current(); g.request != want.request || g.expected != want.expected {
			t.Errorf("%s: next request %d, next expected %d; want %d and %d", s.doing, g.request, g.expected, want.request, want.expected)
		}
	}
	if got := hearAll(t, j, streams(t)["gcm"][9].messages); !slices.Equal(got, []change{ended}) || len(j.lineages) != 0 {
		t.Errorf("the client has gone: changes %v, %d lineages left", got, len(j.lineages))
	}
}

// TestImport: at any point of any stream, what a journal knows goes through a
// context, and what an empty charon is told of it makes a journal that listens
// there know the same.
func TestImport(t *testing.T) {
	for name, sections := range streams(t) {
		t.Run(name, func(t *testing.T) {
			j, n := newJournal(), 0
			for _, s := range sections {
				for _, octets := range s.messages {
					if _, _, err := j.hear(parsed(t, octets), day); err != nil {
						t.Fatal(err)
					}
					for _, l := range j.lineages {
						if l.complete() && j.successor(l) == (ha.SAID{}) {
							imports(t, l)
							n++
						}
					}
				}
			}
			if n < 20 {
				t.Errorf("%d imports", n)
			}
		})
	}
}

func imports(t *testing.T, l *lineage) {
	t.Helper()
	want := l.context(day)
	if err := want.Validate(); err != nil {
		t.Fatalf("%v: %v", l, err)
	}
	there, err := lineageOf(want, day)
	if err != nil {
		t.Fatal(err)
	}
	j := newJournal()
	for _, body := range there.script() {
		octets, err := (ha.Message{Version: ha.Version3, Body: body}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := j.hear(parsed(t, octets), day); err != nil {
			t.Fatalf("%v: %v", l, err)
		}
	}
	// A lineage is numbered from 1 where it is heard of first.
	if got := numbered(only(t, j).context(day)); !reflect.DeepEqual(got, numbered(want)) {
		t.Errorf("%v arrives as\n%+v, it was\n%+v", l, got, want)
	}
}

// numbered counts the generations of a session from 1.
func numbered(s *ikectx.Session) *ikectx.Session {
	first := s.SAs[0].Generation - 1
	for i := range s.SAs {
		s.SAs[i].Generation -= first
		s.SAs[i].Replaces -= min(first, s.SAs[i].Replaces)
	}
	for i := range s.Children {
		s.Children[i].Generation -= first
	}
	return s
}
