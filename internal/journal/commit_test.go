package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
)

// disk is a file whose syncs wait for the test.
type disk struct {
	bytes.Buffer
	durable int           // octets of the buffer that were synced
	began   chan struct{} // a sync has begun
	release chan error    // and ends with this
}

func newDisk() *disk { return &disk{began: make(chan struct{}, 1), release: make(chan error, 1)} }

func (d *disk) Sync() error {
	d.began <- struct{}{}
	if err := <-d.release; err != nil {
		return err
	}
	d.durable = d.Len()
	return nil
}

func (d *disk) Truncate(int64) error { return nil }
func (d *disk) Close() error         { return nil }

// writing returns a journal that is appended to f and never compacted.
func writing(f file) *Journal {
	j := &Journal{incarnation: 1, folder: newMemory(0), file: f, due: math.MaxInt64}
	j.start()
	return j
}

// TestGroupCommit appends one record, and a hundred more while its sync runs:
// they share the next one, in order, and none is reported before it ended.
func TestGroupCommit(t *testing.T) {
	d := newDisk()
	j := writing(d)
	var order []cxtp.Epoch
	reported := make(chan struct{}, 200)
	add := func(n int) {
		r := sample(n)
		j.Append(r, func(err error) {
			if err != nil {
				t.Errorf("record %d: %v", n, err)
			}
			if c, err := decode(append(header(1), d.Bytes()[:d.durable]...)); err != nil || !contains(c.records, r) {
				t.Errorf("record %d was reported before it was durable", n)
			}
			order = append(order, r.Epoch)
			reported <- struct{}{}
		})
	}
	add(0)
	<-d.began
	for n := 1; n <= 100; n++ {
		add(n)
	}
	if len(reported) != 0 {
		t.Error("reported while the sync ran")
	}
	d.release <- nil
	<-d.began
	if len(reported) != 1 {
		t.Errorf("%d reported after the first sync, want 1", len(reported))
	}
	d.release <- nil
	closeIt(t, j)
	if len(order) != 101 || !slices.IsSorted(order) {
		t.Errorf("reported in the order %v", order)
	}
	if got, want := j.Stats(), (Stats{Appended: 101, Syncs: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func contains(records []cxtp.Record, r cxtp.Record) bool {
	return slices.ContainsFunc(records, func(other cxtp.Record) bool { return reflect.DeepEqual(other, r) })
}

// TestFailureIsFinal fails a sync: neither that record nor a later one is
// reported durable, or written.
func TestFailureIsFinal(t *testing.T) {
	broken := errors.New("the disk is broken")
	d := newDisk()
	j := writing(d)
	results := make(chan error, 2)
	j.Append(sample(0), func(err error) { results <- err })
	<-d.began
	d.release <- broken
	if err := <-results; !errors.Is(err, broken) {
		t.Errorf("the record whose sync failed: %v", err)
	}
	size := d.Len()
	d.release <- nil // a second sync would succeed
	j.Append(sample(1), func(err error) { results <- err })
	if err := <-results; !errors.Is(err, broken) {
		t.Errorf("the record after it: %v", err)
	}
	if err := j.Close(); !errors.Is(err, broken) {
		t.Errorf("Close: %v", err)
	}
	if d.Len() != size || j.Stats() != (Stats{}) {
		t.Errorf("%d octets written after the failure, counts %+v", d.Len()-size, j.Stats())
	}
}

// TestPartialWrite fails a write half-way: what is on disk is a torn tail.
func TestPartialWrite(t *testing.T) {
	full := errors.New("no space")
	d := &shortDisk{err: full}
	j := writing(d)
	for n := range 3 {
		result := make(chan error, 1)
		j.Append(sample(n), func(err error) { result <- err })
		if err := <-result; !errors.Is(err, full) {
			t.Errorf("record %d: %v", n, err)
		}
	}
	j.Close()
	c, err := decode(append(header(1), d.Bytes()...))
	if err != nil || len(c.records) != 0 {
		t.Errorf("left %d records, %v", len(c.records), err)
	}
}

// shortDisk takes half of each write.
type shortDisk struct {
	bytes.Buffer
	err error
}

func (d *shortDisk) Write(b []byte) (int, error) {
	n, _ := d.Buffer.Write(b[:len(b)/2])
	return n, d.err
}
func (d *shortDisk) Truncate(int64) error { return nil }
func (d *shortDisk) Sync() error          { return nil }
func (d *shortDisk) Close() error         { return nil }

// TestBadRecord refuses what could not be read back, in its turn, and goes on.
func TestBadRecord(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	results := make(chan error, 3)
	for _, r := range []cxtp.Record{sample(0), {Kind: 99}, sample(1)} {
		j.Append(r, func(err error) { results <- err })
	}
	for i, want := range []bool{true, false, true} {
		if err := <-results; (err == nil) != want {
			t.Errorf("record %d: %v", i, err)
		}
	}
	closeIt(t, j)
	if _, records := open(t, dir); len(records) != 2 {
		t.Errorf("%d records, want 2", len(records))
	}
}

// TestAppendFromDone lets a callback append: the next decision often follows
// from the one before.
func TestAppendFromDone(t *testing.T) {
	j, _ := open(t, t.TempDir())
	result := make(chan error, 1)
	j.Append(sample(0), func(error) {
		j.Append(sample(1), func(err error) { result <- err })
	})
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	j, _ := open(t, t.TempDir())
	closeIt(t, j)
	closeIt(t, j)
	var got error
	j.Append(sample(0), func(err error) { got = err })
	if !errors.Is(got, ErrClosed) {
		t.Errorf("Append after Close: %v", got)
	}
}

func TestNone(t *testing.T) {
	j := None()
	reported := false
	j.Append(sample(0), func(err error) { reported = err == nil })
	if !reported || j.Incarnation() == 0 || j.Stats() != (Stats{Appended: 1}) {
		t.Errorf("reported %t, incarnation %d, counts %+v", reported, j.Incarnation(), j.Stats())
	}
	closeIt(t, j)
}

// BenchmarkAppend measures records a second with so many waiting at a time.
func BenchmarkAppend(b *testing.B) {
	for _, waiting := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			j, _, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			r := sample(0)
			slots := make(chan error, waiting)
			for range waiting {
				slots <- nil
			}
			for b.Loop() {
				if err := <-slots; err != nil {
					b.Fatal(err)
				}
				j.Append(r, func(err error) { slots <- err })
			}
			for range waiting {
				<-slots
			}
			stats := j.Stats()
			b.ReportMetric(float64(stats.Appended)/float64(max(stats.Syncs, 1)), "records/sync")
		})
	}
}
