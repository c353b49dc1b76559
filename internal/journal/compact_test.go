package journal

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// small makes a journal compact itself after a few records.
var small = Options{smallest: 2000}

// visits is what is recorded of a session that comes and goes: a copy that is
// renewed, takes over, and hands over.
var visits = []cxtp.RecordKind{cxtp.RecordMayActivate, cxtp.RecordMayActivate, cxtp.RecordMayActivate, cxtp.RecordMayActivate,
	cxtp.RecordActive, cxtp.RecordClosed, cxtp.RecordAllocated, cxtp.RecordGranted, cxtp.RecordMoved}

// visitor is the n-th record of two sessions that come and go all the time.
func visitor(n int) cxtp.Record {
	r := sample(n % 2)
	turn := n / 2
	r.Kind, r.Epoch = visits[turn%len(visits)], cxtp.Epoch(1+2*(turn/len(visits)))
	if turn%len(visits) > slices.Index(visits, cxtp.RecordClosed) {
		r.Epoch++
	}
	return r
}

// matter picks the records that matter.
func matter(records []cxtp.Record) []cxtp.Record {
	var c cxtp.Compaction
	for _, r := range records {
		c.Add(r, time.Now())
	}
	places := c.Keep(time.Time{})
	var kept []cxtp.Record
	for i, r := range records {
		if places.Has(i) {
			kept = append(kept, r)
		}
	}
	return kept
}

// work appends records to a journal, one after the other and some while it is
// being compacted, until one fails. It returns how many became durable.
func work(m *memory, n int) (durable int, stats Stats) {
	j, _, err := load(m, small)
	if err != nil {
		close(m.mayCopy)
		return 0, Stats{}
	}
	meanwhile := 0
	for durable < n {
		select {
		case <-m.copying:
			meanwhile = 3
		default:
		}
		if meanwhile--; meanwhile == 0 {
			m.mayCopy <- struct{}{}
		}
		result := make(chan error, 1)
		j.Append(visitor(durable), func(err error) { result <- err })
		if <-result != nil {
			break
		}
		durable++
	}
	close(m.mayCopy)
	j.Close()
	return durable, j.Stats()
}

// TestPowerFails takes the power away before each step in turn of a journal that
// compacts itself. Whatever is left on the disk, it opens again with every record
// that was reported durable, and goes on.
func TestPowerFails(t *testing.T) {
	const records = 45
	for failAt := 1; ; failAt++ {
		m := newMemory(failAt)
		durable, stats := work(m, records)
		var all []cxtp.Record
		for n := range min(durable+1, records) {
			all = append(all, visitor(n))
		}
		for i, after := range m.left() {
			j, got, err := load(after, small)
			if err != nil {
				t.Fatalf("power failed at step %d, disk %d: %v", failAt, i, err)
			}
			if !reflect.DeepEqual(got, matter(all[:durable])) && !reflect.DeepEqual(got, matter(all)) {
				t.Fatalf("power failed at step %d, after %d records; disk %d has\n%+v\nwant\n%+v", failAt, durable, i, got, matter(all[:durable]))
			}
			store(t, j, visitor(records))
			closeIt(t, j)
			if _, got, err = load(after, small); err != nil || !reflect.DeepEqual(got[len(got)-1], visitor(records)) {
				t.Fatalf("power failed at step %d, disk %d, appended to after that: %v, %v", failAt, i, got, err)
			}
		}
		if durable == records && m.steps < failAt {
			if stats.Compactions < 2 {
				t.Errorf("%d steps in all, but only %d compactions", m.steps, stats.Compactions)
			}
			return
		}
	}
}

// TestCompactionFails fails each kind of step by itself. Before the journal's
// name is touched that costs nothing; after it, nothing is written any more.
func TestCompactionFails(t *testing.T) {
	for kind, fatal := range map[string]bool{"create": false, "rename": true, "sync of the folder": true, "extend": true} {
		m := newMemory(0)
		close(m.mayCopy)
		var warned []error
		options := small
		options.Warn = func(err error) { warned = append(warned, err) }
		j, _, err := load(m, options)
		if err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		m.fault = kind
		m.mu.Unlock()
		result := make(chan error, 1)
		for n := 0; n < 60 && err == nil; n++ {
			j.Append(visitor(n), func(err error) { result <- err })
			err = <-result
		}
		closed := j.Close()
		if (closed != nil) != fatal || (err != nil) && !fatal || (len(warned) > 0) == fatal {
			t.Errorf("%s: appending gave %v, closing %v; warned of %v", kind, err, closed, warned)
		}
		for _, w := range warned {
			if !strings.Contains(w.Error(), "failed to compact the journal: create failed") {
				t.Errorf("%s: warned of %v", kind, w)
			}
		}
	}
}

// TestCompaction fills a journal on a real disk until it has been compacted, and
// opens it again.
func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	j, _, err := Open(dir, small)
	if err != nil {
		t.Fatal(err)
	}
	var all []cxtp.Record
	for n := range 300 {
		all = append(all, visitor(n))
		store(t, j, visitor(n))
	}
	closeIt(t, j)
	stats := j.Stats()
	if stats.Compactions == 0 || stats.Appended != 300 {
		t.Errorf("counted %+v", stats)
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() > 300*100 {
		t.Errorf("the compacted journal has %d octets and mode %v (%v)", info.Size(), info.Mode(), err)
	}
	again, records := open(t, dir)
	if again.Incarnation() != j.Incarnation() || !reflect.DeepEqual(records, matter(all)) {
		t.Errorf("incarnation %d became %d, records\n%+v\nwant\n%+v", j.Incarnation(), again.Incarnation(), records, matter(all))
	}
}

// TestRetention opens a journal a day after a session ended there.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, _ := open(t, dir)
		moved, owned := sample(1), sample(2)
		moved.Kind, owned.Kind = cxtp.RecordMoved, cxtp.RecordOwned
		store(t, j, moved, owned)
		closeIt(t, j)
		time.Sleep(DefaultRetention)
		j, records := open(t, dir)
		closeIt(t, j)
		if want := []cxtp.Record{moved, owned}; !reflect.DeepEqual(records, want) {
			t.Errorf("after %v: %+v, want %+v", DefaultRetention, records, want)
		}
		time.Sleep(time.Second)
		j, records = open(t, dir)
		closeIt(t, j)
		if want := []cxtp.Record{owned}; !reflect.DeepEqual(records, want) {
			t.Errorf("a second later: %+v, want %+v", records, want)
		}
	})
}

// TestWhatIsReadIsDurable opens a journal whose last record a killed daemon wrote
// and did not sync: from then on it is acted upon, and so has to last.
func TestWhatIsReadIsDurable(t *testing.T) {
	m := newMemory(0)
	j, _, err := load(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	store(t, j, sample(0))
	closeIt(t, j)
	m.names[fileName].synced = len(header(1))
	j, read, err := load(m, Options{})
	if err != nil || len(read) != 1 {
		t.Fatalf("%v, %v", read, err)
	}
	closeIt(t, j)
	for i, after := range m.left() {
		j, records, err := load(after, Options{})
		if err != nil || !reflect.DeepEqual(records, read) {
			t.Fatalf("disk %d: %v, %v", i, records, err)
		}
		closeIt(t, j)
	}
}
