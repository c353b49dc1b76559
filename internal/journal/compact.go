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

// pick hands over the lines of the records at some places, out of the first octets
// of a journal.
func pick(src io.Reader, octets int64, places *cxtp.Places, use func(line []byte) error) error {
	_, err := lines(io.LimitReader(src, octets), func(number int, line []byte) error {
		if number == 1 || !places.Has(number-2) { // the header has no place
			return nil
		}
		return use(line)
	})
	return err
}

// compacted is a copy of a journal that has only what matters.
type compacted struct {
	file   file         // durable, under a temporary name
	of     int64        // how many octets of the journal it stands for
	places *cxtp.Places // what it has of them
	size   int64
	err    error
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
	c := &compacted{of: j.size, places: j.matters.Keep(j.since())}
	go func() {
		c.err = j.copy(c)
		j.mu.Lock()
		j.ready = c
		j.mu.Unlock()
		j.more.Signal()
	}()
}

// copy writes what matters to a new file. Meanwhile the journal is appended to.
func (j *Journal) copy(c *compacted) error {
	src, err := j.folder.read(fileName)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := j.folder.create(newName)
	if err != nil {
		return err
	}
	c.file = f
	w := bufio.NewWriterSize(f, 1<<16)
	add := func(line []byte) error {
		c.size += int64(len(line))
		_, err := w.Write(line)
		return err
	}
	if err := add(header(j.incarnation)); err != nil {
		return err
	}
	if err := pick(src, c.of, c.places, add); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync() // now, so that the writer's own is short
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
	j.matters.Kept(c.places)
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
