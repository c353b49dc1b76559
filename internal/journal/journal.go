// Package journal keeps a router's decisions through a crash.
//
// Everything that a router may be asked for after a crash (which epochs it
// used up, granted, promised to activate) is a [cxtp.Record], and nobody is
// told of a decision before its record is on stable storage. The journal is
// one file to which records are appended; it holds no keys.
//
// Since a move waits for its records, what counts is how long an fsync takes
// and how many records share one. [Journal.Append] therefore only queues, and
// one goroutine writes all that has queued while the previous fsync ran, then
// makes it durable with a single one: the busier the router, the cheaper the
// record.
//
// The file is text, one line for each record: the CRC-32C of a JSON document
// in eight hexadecimal digits, a space, the document, a line feed. The document
// is the record with the time of its writing. The first line is a header with
// the format's version and the journal's incarnation. A last line without its
// line feed is what a crash leaves of a record that nobody was told about, and
// [Open] cuts it off. Any other damage may hide a promise, so Open refuses it.
//
// When the file has become several times as large as what matters in it
// ([cxtp.Compaction] says what does), it is compacted: the lines that matter are
// copied to a new file while the old one is still appended to, what was appended
// meanwhile is added, and the new file takes the old one's name. The two are
// durable before and after that, so that a crash leaves one or the other.
package journal

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// ErrClosed is what Append reports once Close has been called.
var ErrClosed = errors.New("the journal is closed")

// Names within the state folder. The lock is a file of its own because the
// journal itself appears by renaming, complete with its header or not at all.
const (
	fileName = "journal"
	lockName = "lock"
	newName  = "journal.new"
)

// DefaultRetention is how long a session that has ended here is remembered, where
// the options do not say.
const DefaultRetention = 24 * time.Hour

// Options are the choices of whoever opens a journal.
type Options struct {
	// Retention is how long a session that has ended here is remembered; 0
	// means DefaultRetention. Its epochs must not be forgotten while anybody may
	// still hold a context with its SAs, so it has to be longer than the SAs'
	// hard lifetimes.
	Retention time.Duration
	// Warn is told why the journal could not be compacted, which is tried again
	// later. It may be nil.
	Warn func(error)

	smallest int64 // that is compacted; 0 means dueSize
}

// Journal is an open journal. Its methods are safe for concurrent use.
type Journal struct {
	incarnation cxtp.Incarnation
	options     Options
	folder      folder // nil: journal off
	lock        *os.File
	ended       chan struct{} // closed when the writer has returned

	// The writer's.
	file    file
	size    int64           // of the file, in octets
	due     int64           // the size at which it is compacted
	matters cxtp.Compaction // what in the file matters
	failed  error           // the first failure to write; nothing is written after it

	mu         sync.Mutex
	more       *sync.Cond // the queue grew, a copy is ready, or closed was set
	queue      []waiting
	compacting bool
	ready      *compacted // the copy is complete
	closed     bool
	stats      Stats
}

// waiting is a record that waits to be written.
type waiting struct {
	record cxtp.Record
	err    error // why it cannot be written
	done   func(error)
}

// Stats counts what a Journal has done since it was opened.
type Stats struct {
	Appended    uint64 // records that became durable
	Syncs       uint64 // fsyncs that they took
	Compactions uint64
}

// Open opens the journal in the folder dir, which it creates where there is
// none, and returns those records in it that matter, oldest first. Until
// [Journal.Close] no other process can open it. Damage is reported as a
// [DamageError].
func Open(dir string, options Options) (*Journal, []cxtp.Record, error) {
	if err := makeDir(dir); err != nil {
		return nil, nil, fmt.Errorf("failed to create the state folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to open the journal's lock: %w", err)
	}
	if err := tryLock(lock); err != nil {
		lock.Close()
		return nil, nil, fmt.Errorf("the state folder %s is in use by another daemon (%w): stop that one, or give this one a state_dir of its own", dir, err)
	}
	j, records, err := load(directory(dir), options)
	if err != nil {
		lock.Close()
		if damage, ok := errors.AsType[*DamageError](err); ok {
			damage.Path = filepath.Join(dir, fileName)
			return nil, nil, damage
		}
		return nil, nil, fmt.Errorf("failed to open the journal: %w", err)
	}
	j.lock = lock
	return j, records, nil
}

// None returns a journal that keeps nothing and reports every record as
// durable at once, before Append returns. With it a crash can break every
// promise: it exists to measure what durability costs.
func None() *Journal { return &Journal{incarnation: newIncarnation()} }

// load reads the journal in a folder, or creates it, and starts its writer.
func load(dir folder, options Options) (*Journal, []cxtp.Record, error) {
	options.Retention = cmp.Or(options.Retention, DefaultRetention)
	src, err := dir.read(fileName)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(dir, header(newIncarnation())); err != nil {
			return nil, nil, err
		}
		src, err = dir.read(fileName)
	}
	if err != nil {
		return nil, nil, err
	}
	defer src.Close()
	j := &Journal{folder: dir, options: options}
	j.incarnation, j.size, err = read(src, func(e *entry) { j.matters.Add(e.Record, e.time()) })
	if err != nil {
		return nil, nil, err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	// Read twice: a journal may be larger than what fits in memory, and what in it
	// matters is known only at its end.
	var records []cxtp.Record
	var live int64
	err = pick(src, j.size, j.matters.Keep(j.since()), func(line []byte) error {
		var e entry
		live += int64(len(line))
		err := parse(line, &e)
		records = append(records, e.Record)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if j.file, err = dir.extend(fileName); err != nil {
		return nil, nil, err
	}
	// The sync is for what a killed process wrote and did not sync: from here
	// those records are acted upon.
	if err := errors.Join(j.file.Truncate(j.size), j.file.Sync()); err != nil {
		j.file.Close()
		return nil, nil, err
	}
	j.due = j.dueAfter(live)
	j.start()
	return j, records, nil
}

// start runs the writer.
func (j *Journal) start() {
	j.ended = make(chan struct{})
	j.more = sync.NewCond(&j.mu)
	go j.write()
}

// create makes a journal that has only a header, durably.
func create(dir folder, header []byte) error {
	f, err := dir.create(newName)
	if err != nil {
		return err
	}
	_, err = f.Write(header)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := dir.rename(newName, fileName); err != nil {
		return err
	}
	return dir.sync()
}

// newIncarnation draws a random number that is not 0.
func newIncarnation() cxtp.Incarnation {
	for {
		var b [8]byte
		rand.Read(b[:])
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return cxtp.Incarnation(n)
		}
	}
}

// Incarnation is the random number that the journal was created with.
func (j *Journal) Incarnation() cxtp.Incarnation { return j.incarnation }

// Stats returns the counts so far.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats
}

// Append queues a record and calls done, once, when the record is durable or
// with the reason why it never will be. It does not wait. The calls are made
// in the order of the Appends from the journal's only writer, so done has to
// be quick; it may call Append, but not Close.
//
// After a failure to write or sync, every later record fails with the same
// error: what reached the disk is then known only after [Open].
func (j *Journal) Append(r cxtp.Record, done func(error)) {
	if j.folder == nil {
		j.mu.Lock()
		j.stats.Appended++
		j.mu.Unlock()
		done(nil)
		return
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		done(ErrClosed)
		return
	}
	j.queue = append(j.queue, waiting{record: r, done: done})
	j.mu.Unlock()
	j.more.Signal()
}

// Close makes what is queued durable, calls what waits for it and lets go of
// the state folder. It returns the first failure to write, if there was one.
func (j *Journal) Close() error {
	if j.folder == nil {
		return nil
	}
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	j.more.Signal()
	<-j.ended
	if !first {
		return j.failed
	}
	err := j.file.Close()
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
	}
	return errors.Join(j.failed, err)
}

// write is the writer: it commits group after group until the journal is
// closed and its queue empty, and compacts the file in between.
func (j *Journal) write() {
	defer close(j.ended)
	j.compactIfDue()
	var group []waiting
	var lines []byte
	for {
		var copied *compacted
		var more bool
		if group, copied, more = j.next(group); !more {
			return
		}
		lines = j.commit(group, lines[:0])
		if copied != nil {
			j.compact(copied)
		}
		j.compactIfDue()
	}
}

// next waits for something to do, and takes all the records that there are; spent
// becomes the queue's new storage. There is no more when the journal is closed.
func (j *Journal) next(spent []waiting) (group []waiting, copied *compacted, more bool) {
	clear(spent)
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) == 0 && j.ready == nil {
		if j.closed && !j.compacting {
			return nil, nil, false
		}
		j.more.Wait()
	}
	group, copied = j.queue, j.ready
	j.queue, j.ready = spent[:0], nil
	return group, copied, true
}

// commit makes records durable and reports them. It appends their lines to
// lines, which it returns to be used again.
func (j *Journal) commit(group []waiting, lines []byte) []byte {
	now := time.Now()
	records := uint64(0)
	for i := range group {
		w := &group[i]
		if lines, w.err = appendEntry(lines, &entry{now.Unix(), w.record}); w.err == nil {
			records++
		}
	}
	err := j.append(lines, records)
	for i := range group {
		w := &group[i]
		if w.err == nil && err == nil {
			j.matters.Add(w.record, now)
		}
		w.done(cmp.Or(w.err, err))
	}
	return lines
}

// append makes lines durable. It never tries again after a failure: a failed
// sync may have dropped the very pages that a second one would report as
// clean, and a line that was written in part must stay the last one.
func (j *Journal) append(lines []byte, records uint64) error {
	if j.failed != nil || len(lines) == 0 {
		return j.failed
	}
	_, err := j.file.Write(lines)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return j.fail(err)
	}
	j.size += int64(len(lines))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Appended += records
	j.stats.Syncs++
	return nil
}

func (j *Journal) fail(err error) error {
	j.failed = fmt.Errorf("failed to write the journal, restart once its disk is in order: %w", err)
	return j.failed
}
