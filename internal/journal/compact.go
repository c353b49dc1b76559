package journal

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// A journal is compacted when it is dueFactor times as large as what matters in
// it, so that each octet appended causes less than one to be copied, and has at
// least dueSize octets.
const (
	dueFactor = 3
	dueSize   = 1 << 20
)

func (j *Journal) dueAfter(live int64) int64 {
	return max(cmp.Or(j.options.smallest, dueSize), dueFactor*live)
}

// since is the time before which a session has to have ended to be forgotten.
func (j *Journal) since() time.Time { return time.Now().Add(-j.options.Retention) }

// pick reads the first octets of a journal and hands over the records that
// matter, each with its line. It reads twice, because what matters is known only
// at the end, and a journal may be larger than what fits in memory.
func pick(src io.ReadSeeker, octets int64, since time.Time, use func(line []byte, e *entry) error) (cxtp.Incarnation, int64, error) {
	var c cxtp.Compaction
	incarnation, whole, err := scan(io.LimitReader(src, octets), func(_ []byte, e *entry) error {
		c.Add(e.Record, e.time())
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	keep := c.Keep(since)
	place := -1
	_, _, err = scan(io.LimitReader(src, whole), func(line []byte, e *entry) error {
		place++
		if len(keep) == 0 || keep[0] != place {
			return nil
		}
		keep = keep[1:]
		return use(line, e)
	})
	return incarnation, whole, err
}

// compacted is a copy of a journal that has only what matters.
type compacted struct {
	file file  // durable, under a temporary name
	of   int64 // how many octets of the journal it stands for
	size int64
	err  error
}

// compactIfDue begins to copy what matters, if the file has become too large.
func (j *Journal) compactIfDue() {
	if j.size < j.due || j.failed != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.compacting {
		return
	}
	j.compacting = true
	go func(size int64) {
		c := j.copy(size)
		j.mu.Lock()
		j.ready = c
		j.mu.Unlock()
		j.more.Signal()
	}(j.size)
}

// copy writes what matters in the first octets of the journal to a new file. The
// writer may be appending to the journal.
func (j *Journal) copy(octets int64) *compacted {
	c := &compacted{of: octets}
	src, err := j.folder.read(fileName)
	if err != nil {
		return &compacted{err: err}
	}
	defer src.Close()
	if c.file, err = j.folder.create(newName); err != nil {
		return &compacted{err: err}
	}
	w := bufio.NewWriterSize(c.file, 1<<16)
	add := func(line []byte, _ *entry) error {
		c.size += int64(len(line))
		_, err := w.Write(line)
		return err
	}
	if err = add(header(j.incarnation), nil); err == nil {
		_, _, err = pick(src, octets, j.since(), add)
	}
	c.err = errors.Join(err, w.Flush())
	if c.err == nil {
		c.err = c.file.Sync() // now, so that the writer's own is short
	}
	return c
}

// compact puts a copy in the journal's place. What fails before the journal's
// name is touched costs nothing but the time; after that it is not known which
// of the two a crash would leave, so nothing may be written any more.
func (j *Journal) compact(c *compacted) {
	j.mu.Lock()
	j.compacting = false
	j.mu.Unlock()
	live := c.size
	if err := j.complete(c); err != nil {
		j.due = 2 * j.size // not at once again
		if j.options.Warn != nil {
			j.options.Warn(fmt.Errorf("failed to compact the journal: %w", err))
		}
		return
	}
	if err := j.replace(); err != nil {
		j.fail(err)
		return
	}
	j.size, j.due = c.size, j.dueAfter(live)
	j.mu.Lock()
	j.stats.Compactions++
	j.mu.Unlock()
}

// complete adds to a copy what was appended to the journal meanwhile.
func (j *Journal) complete(c *compacted) (err error) {
	if c.file != nil {
		defer func() { err = errors.Join(err, c.file.Close()) }()
	}
	if err := errors.Join(c.err, j.failed); err != nil {
		return err
	}
	src, err := j.folder.read(fileName)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := src.Seek(c.of, io.SeekStart); err != nil {
		return err
	}
	n, err := io.CopyN(c.file, src, j.size-c.of)
	if err != nil {
		return err
	}
	c.size += n
	return c.file.Sync()
}

// replace gives the copy the journal's name. Some systems rename no open file.
func (j *Journal) replace() error {
	err := j.file.Close()
	if err == nil {
		err = j.folder.rename(newName, fileName)
	}
	if err == nil {
		err = j.folder.sync()
	}
	if err != nil {
		return err
	}
	f, err := j.folder.extend(fileName)
	if err == nil {
		j.file = f
	}
	return err
}
