package journal

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
)

// sample is a record with something in every field, different for each n.
func sample(n int) cxtp.Record {
	return cxtp.Record{
		Kind: cxtp.RecordMayActivate, Session: cxtp.SessionID{byte(n), byte(n >> 8), 15: 1}, Epoch: cxtp.Epoch(n + 1),
		Previous: netip.MustParseAddr("2001:db8::77"), Peer: "sg2",
		Ceilings: []cxtp.ManifestEntry{{FPT: 1, Direction: 2, Protocol: 50, SPI: 0xfffffffe, Ceiling: 1<<64 - 1}},
		Why:      "a \"reason\"\nof two lines",
	}
}

// content is what is in a journal.
type content struct {
	incarnation cxtp.Incarnation
	records     []cxtp.Record
	whole       int64 // octets up to the end of the last whole line
}

func decode(data []byte) (c content, err error) {
	c.incarnation, c.whole, err = read(bytes.NewReader(data), func(e *entry) { c.records = append(c.records, e.Record) })
	if err != nil {
		return content{}, err
	}
	return c, nil
}

// document is a line of a journal.
func document(text string) string {
	return string(appendLine(nil, func(b []byte) []byte { return append(b, text...) }))
}

func samples(n int) []cxtp.Record {
	records := make([]cxtp.Record, n)
	for i := range records {
		records[i] = sample(i)
	}
	return records
}

// store appends records and waits until they are durable.
func store(t *testing.T, j *Journal, records ...cxtp.Record) {
	t.Helper()
	results := make(chan error, len(records))
	for _, r := range records {
		j.Append(r, func(err error) { results <- err })
	}
	for range records {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string) (*Journal, []cxtp.Record) {
	t.Helper()
	j, records, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, records
}

func closeIt(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "cxtpd")
	j, records := open(t, dir)
	incarnation := j.Incarnation()
	if len(records) != 0 || incarnation == 0 {
		t.Fatalf("a new journal has %d records and the incarnation %d", len(records), incarnation)
	}
	store(t, j, samples(3)...)
	closeIt(t, j)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, fileName): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
	j, records = open(t, dir)
	if j.Incarnation() != incarnation || !reflect.DeepEqual(records, samples(3)) {
		t.Errorf("incarnation %d became %d, records %+v", incarnation, j.Incarnation(), records)
	}
	other, _ := open(t, t.TempDir())
	if other.Incarnation() == incarnation {
		t.Error("two journals have the same incarnation")
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	if _, _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
		t.Fatalf("a second Open gives %v", err)
	}
	closeIt(t, j)
	open(t, dir)
}

// written returns the octets of a journal with n records, and where its lines
// end.
func written(n int) (data []byte, ends []int) {
	data = header(1)
	ends = append(ends, len(data))
	for i, r := range samples(n) {
		var err error
		if data, err = appendEntry(data, &entry{int64(i), r}); err != nil {
			panic(err)
		}
		ends = append(ends, len(data))
	}
	return data, ends
}

// TestTornTail cuts a journal at every octet: the whole lines before the cut
// are what there is, and what is appended then follows them.
func TestTornTail(t *testing.T) {
	data, ends := written(3)
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	whole := 0
	for cut := ends[0]; cut <= len(data); cut++ {
		for whole+1 < len(ends) && ends[whole+1] <= cut {
			whole++
		}
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j, records := open(t, dir)
		if len(records) != whole || whole > 0 && !reflect.DeepEqual(records, samples(whole)) {
			t.Fatalf("cut at %d: %d records, want %d", cut, len(records), whole)
		}
		store(t, j, sample(9))
		closeIt(t, j)
		j, records = open(t, dir)
		closeIt(t, j)
		if want := append(samples(whole), sample(9)); !reflect.DeepEqual(records, want) {
			t.Fatalf("cut at %d, then one appended: %+v", cut, records)
		}
	}
}

// TestTornHeader has no excuse: a journal appears with its header.
func TestTornHeader(t *testing.T) {
	data := header(1)
	for cut := range data {
		_, err := decode(data[:cut])
		if damage, ok := errors.AsType[*DamageError](err); !ok || damage.Line != 1 {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// TestDamage changes every octet of a journal in turn. Only the line feed at
// the end may go unnoticed, because a line without it looks torn.
func TestDamage(t *testing.T) {
	data, ends := written(3)
	for at := range len(data) - 1 {
		line := 1
		for ends[line-1] <= at {
			line++
		}
		bad := append([]byte(nil), data...)
		bad[at] ^= 0x01
		_, err := decode(bad)
		if damage, ok := errors.AsType[*DamageError](err); !ok || damage.Line != line {
			t.Fatalf("octet %d of line %d changed: %v", at, line, err)
		}
	}
}

func TestDamageIsReported(t *testing.T) {
	data, ends := written(3)
	data[ends[1]+20] ^= 0x01
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first failure must not keep the lock
		_, _, err := Open(dir, Options{})
		if err == nil || !strings.Contains(err.Error(), path+" is damaged at line 3") {
			t.Fatalf("got %v", err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(data) {
		t.Errorf("the damaged journal was changed (%v)", err)
	}
}

func TestUnreadableLines(t *testing.T) {
	head := string(header(1))
	for name, text := range map[string]string{
		"later version":   document(`{"cxtp_journal":3,"incarnation":"1"}`),
		"no incarnation":  document(`{"cxtp_journal":2,"incarnation":"0"}`),
		"unknown kind":    head + document(`{"kind":"teleported"}`),
		"unknown field":   head + document(`{"kind":"owned","colour":1}`),
		"no checksum":     head + "{}\n",
		"empty line":      head + "\n",
		"bad hexadecimal": head + "zzzzzzzz {}\n",
	} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzDecode looks for input that breaks decode, or that it reads differently
// without the torn tail.
func FuzzDecode(f *testing.F) {
	data, _ := written(2)
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(data[:c.whole])
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("without its torn tail it reads %+v, %v; with it %+v", again, err, c)
		}
	})
}
