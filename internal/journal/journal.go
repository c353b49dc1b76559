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
// in eight hexadecimal digits, a space, the document, a line feed. The first
// line is a header with the format's version and the journal's incarnation. A
// last line without its line feed is what a crash leaves of a record that
// nobody was told about, and [Open] cuts it off. Any other damage may hide a
// promise, so Open refuses it.
//
// The journal is never compacted: a move adds about five lines of some 150
// octets, and the records have to outlive the SAs that they are about.
package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

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

// Journal is an open journal. Its methods are safe for concurrent use.
type Journal struct {
	incarnation cxtp.Incarnation
	file        file // nil: journal off
	lock        *os.File
	ended       chan struct{} // closed when the writer has returned

	mu     sync.Mutex
	more   *sync.Cond // the queue grew, or closing was set
	queue  []entry
	closed bool
	stats  Stats
	failed error // the first failure to write; nothing is written after it
}

// file is what the journal needs of an [os.File].
type file interface {
	Write(b []byte) (int, error)
	Sync() error
	Close() error
}

// entry is a record that waits to be written.
type entry struct {
	line []byte
	err  error // why it cannot be written
	done func(error)
}

// Stats counts what a Journal has done since it was opened.
type Stats struct {
	Appended uint64 // records that became durable
	Syncs    uint64 // fsyncs that they took
}

// Open opens the journal in the folder dir, which it creates where there is
// none, and returns the records in it, oldest first. Until [Journal.Close] no
// other process can open it. Damage is reported as a [DamageError].
func Open(dir string) (*Journal, []cxtp.Record, error) {
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
	f, incarnation, records, err := load(dir)
	if err != nil {
		lock.Close()
		return nil, nil, err
	}
	j := start(f, incarnation)
	j.lock = lock
	return j, records, nil
}

// None returns a journal that keeps nothing and reports every record as
// durable at once, before Append returns. With it a crash can break every
// promise: it exists to measure what durability costs.
func None() *Journal { return &Journal{incarnation: newIncarnation()} }

// load reads the journal in dir, or creates it, and leaves it ready to append.
func load(dir string) (*os.File, cxtp.Incarnation, []cxtp.Record, error) {
	path := filepath.Join(dir, fileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		data = header(newIncarnation())
		err = create(dir, data)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("failed to open the journal: %w", err)
	}
	content, err := decode(data)
	if err != nil {
		var damage *DamageError
		if errors.As(err, &damage) {
			damage.Path = path
		}
		return nil, 0, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("failed to open the journal: %w", err)
	}
	// The sync is for what a killed process wrote and did not sync: from here
	// those records are acted upon.
	if err := errors.Join(f.Truncate(int64(content.whole)), f.Sync()); err != nil {
		f.Close()
		return nil, 0, nil, fmt.Errorf("failed to prepare the journal: %w", err)
	}
	return f, content.incarnation, content.records, nil
}

// create makes a journal that has only a header, durably.
func create(dir string, header []byte) error {
	temporary := filepath.Join(dir, newName)
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(header)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(dir, fileName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// makeDir creates dir, durably, unless it is there.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
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

// start runs the writer of a journal.
func start(f file, incarnation cxtp.Incarnation) *Journal {
	j := &Journal{incarnation: incarnation, file: f, ended: make(chan struct{})}
	j.more = sync.NewCond(&j.mu)
	go j.write()
	return j
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
	line, err := encode(r)
	if j.file == nil {
		j.mu.Lock()
		j.stats.Appended++
		j.mu.Unlock()
		done(err)
		return
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		done(ErrClosed)
		return
	}
	j.queue = append(j.queue, entry{line: line, err: err, done: done})
	j.mu.Unlock()
	j.more.Signal()
}

// Close makes what is queued durable, calls what waits for it and lets go of
// the state folder. It returns the first failure to write, if there was one.
func (j *Journal) Close() error {
	if j.file == nil {
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
// closed and its queue empty.
func (j *Journal) write() {
	defer close(j.ended)
	var group []entry
	var buf []byte
	for {
		if group = j.next(group); len(group) == 0 {
			return
		}
		buf = buf[:0]
		records := uint64(0)
		for _, e := range group {
			if e.err == nil {
				buf = append(buf, e.line...)
				records++
			}
		}
		err := j.commit(buf, records)
		for _, e := range group {
			if e.err != nil {
				e.done(e.err)
			} else {
				e.done(err)
			}
		}
	}
}

// next waits for records and takes all there are; spent becomes the queue's
// new storage. None means that the journal is closed.
func (j *Journal) next(spent []entry) []entry {
	clear(spent)
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) == 0 && !j.closed {
		j.more.Wait()
	}
	group := j.queue
	j.queue = spent[:0]
	return group
}

// commit makes lines durable. It never tries again after a failure: a failed
// sync may have dropped the very pages that a second one would report as
// clean, and a line that was written in part must stay the last one.
func (j *Journal) commit(lines []byte, records uint64) error {
	if j.failed != nil || len(lines) == 0 {
		return j.failed
	}
	_, err := j.file.Write(lines)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.failed = fmt.Errorf("failed to write the journal, restart once its disk is in order: %w", err)
		return j.failed
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Appended += records
	j.stats.Syncs++
	return nil
}
