package cxtp

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawJournal draws records of a few sessions, with epochs that do not go down.
// Some journals tell of more epochs than are remembered.
func drawJournal(t *rapid.T) []Record {
	epochs := map[SessionID]Epoch{}
	length := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(100, 300)).Draw(t, "length")
	step := rapid.SampledFrom([]uint64{1, 1, 9}).Draw(t, "largest step")
	kind := rapid.Custom(func(t *rapid.T) RecordKind {
		return RecordKind(rapid.IntRange(int(RecordOwned), int(RecordLost)).Draw(t, "kind"))
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Record {
		id := SessionID{rapid.ByteRange(1, 3).Draw(t, "session")}
		epochs[id] += Epoch(rapid.Uint64Range(0, step).Draw(t, "step"))
		return Record{
			Kind: kind.Draw(t, "kind"), Session: id, Epoch: epochs[id],
			Previous: netip.AddrFrom4([4]byte{192, 0, 2, id[0]}),
			Peer:     rapid.SampledFrom([]RouterID{"B", "C"}).Draw(t, "peer"),
			Standby:  rapid.Bool().Draw(t, "standby"),
		}
	}), length, length).Draw(t, "journal")
}

// compact compacts a journal as of a time; record i was written i seconds after
// the beginning of time.
func compact(journal []Record, since time.Time) []Record {
	var c Compaction
	for i, r := range journal {
		c.Add(r, time.Unix(int64(i), 0))
	}
	return pick(journal, c.Keep(since))
}

// pick returns the records at some places, and all that were added since.
func pick(journal []Record, p *Places) []Record {
	var kept []Record
	for i, r := range journal {
		if p.Has(i) || i >= p.records {
			kept = append(kept, r)
		}
	}
	return kept
}

// restored is what can be seen of a router that restarts with a journal.
type restored struct {
	Added    []Record
	Sessions []restoredSession
	Resumed  []Action // with the SAs of half of the sessions still there
}

type restoredSession struct {
	Session  SessionID
	Epoch    Epoch
	Previous netip.Addr
	Outcomes map[Epoch]OutcomeState
}

func restart(t *rapid.T, journal []Record) restored {
	cfg := Config{Self: "A", Incarnation: 1, Inspect: simInspect, Mode: ModeLossless, Timers: DefaultTimers(),
		Peers: []Peer{{ID: "B"}, {ID: "C"}}}
	begin := func(held ...Held) (*Router, []Record) {
		r, added, err := NewRouter(cfg, journal, held)
		if err != nil {
			t.Fatal(err)
		}
		return r, added
	}
	r, added := begin()
	all := restored{Added: added}
	for _, v := range r.Sessions() {
		s := restoredSession{v.Session, v.Epoch, v.Previous, map[Epoch]OutcomeState{}}
		for e := range v.Epoch + 2 {
			s.Outcomes[e] = r.sessions[v.Session].outcome(e)
		}
		all.Sessions = append(all.Sessions, s)
	}
	r, _ = begin(Held{Session: SessionID{1}, State: HeldActive}, Held{Session: SessionID{2}, State: HeldStaged})
	all.Resumed = r.Tick(time.Unix(1<<30, 0))
	return all
}

// TestCompactedJournalMakesTheSameRouter writes a journal and compacts it twice
// on the way, each time while it is written to. A restart from what is left is as
// one from the whole.
func TestCompactedJournalMakesTheSameRouter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		journal := drawJournal(t)
		at := rapid.SliceOfN(rapid.IntRange(0, len(journal)), 4, 4).Draw(t, "keep, kept, keep, kept after")
		slices.Sort(at)
		var c Compaction
		var kept []Record
		var places *Places
		for i := range len(journal) + 1 {
			for turn := range at {
				switch {
				case at[turn] != i:
				case turn%2 == 0:
					places = c.Keep(time.Time{})
				default:
					kept = pick(kept, places)
					c.Kept(places)
				}
			}
			if i < len(journal) {
				c.Add(journal[i], time.Time{})
				kept = append(kept, journal[i])
			}
		}
		whole := restart(t, journal)
		if got := restart(t, kept); !reflect.DeepEqual(got, whole) {
			t.Fatalf("from\n%+v\nit is\n%+v\nfrom all of\n%+v\nit is\n%+v", kept, got, journal, whole)
		}
		places = c.Keep(time.Time{})
		if got, want := pick(kept, places), compact(journal, time.Time{}); len(got) != places.Len() || !reflect.DeepEqual(got, want) {
			t.Fatalf("compacted again it has\n%+v\nall of it compacted at once\n%+v", got, want)
		}
	})
}

// TestCompactionForgets lets time pass: a session that has ended is forgotten,
// one that this router has, or answers for, is not.
func TestCompactionForgets(t *testing.T) {
	over := []RecordKind{RecordMoved, RecordEnded, RecordRefused, RecordLost}
	for kind := RecordOwned; kind <= RecordLost; kind++ {
		journal := []Record{
			{Kind: RecordOwned, Session: SessionID{1}},
			{Kind: kind, Session: SessionID{1}, Epoch: 1}, // at 1 s
		}
		if got := compact(journal, time.Unix(1, 0)); len(got) == 0 {
			t.Errorf("%v: forgotten too early", kind)
		}
		if got, want := compact(journal, time.Unix(2, 0)), slices.Contains(over, kind); (len(got) == 0) != want {
			t.Errorf("%v: %v is left, forgotten should be %t", kind, got, want)
		}
	}
}

// TestCompactionIsSmall moves a session here and away a thousand times.
func TestCompactionIsSmall(t *testing.T) {
	var journal []Record
	for e := Epoch(1); e < 2000; e += 2 {
		for _, kind := range []RecordKind{RecordMayActivate, RecordActive, RecordClosed} {
			journal = append(journal, Record{Kind: kind, Session: SessionID{1}, Epoch: e})
		}
		for _, kind := range []RecordKind{RecordAllocated, RecordGranted, RecordMoved} {
			journal = append(journal, Record{Kind: kind, Session: SessionID{1}, Epoch: e + 1})
		}
	}
	if got := compact(journal, time.Time{}); len(got) != maxAnswered+1 {
		t.Errorf("%d of %d records are left, want %d", len(got), len(journal), maxAnswered+1)
	}
}
