package journal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"sync"
)

// errPower is what every step gives after the power failed.
var errPower = errors.New("the power failed")

// memory is a folder that knows what of it would be left if the power failed
// now, and in which it fails at a step of the test's choice.
type memory struct {
	mu      sync.Mutex
	names   map[string]*stored
	durable map[string]*stored // the names as they were last synced
	steps   int                // so far
	failAt  int                // the step that does not happen, nor any after it; 0 = none
	fault   string             // a kind of step that fails by itself, the power stays

	// A copy begins: it goes on when it may.
	copying, mayCopy chan struct{}
}

// stored is what a file has.
type stored struct {
	data   []byte
	synced int
}

func newMemory(failAt int) *memory {
	return &memory{names: map[string]*stored{}, durable: map[string]*stored{}, failAt: failAt,
		copying: make(chan struct{}, 1), mayCopy: make(chan struct{})}
}

// step does one thing that a failure of the power could come before.
func (m *memory) step(kind string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps++
	switch {
	case m.failAt > 0 && m.steps >= m.failAt:
		return errPower
	case kind == m.fault:
		return errors.New(kind + " failed")
	}
	return do()
}

func (m *memory) create(name string) (f file, err error) {
	if m.has(fileName) && name == newName {
		select {
		case m.copying <- struct{}{}:
		default: // nobody waits for it any more
		}
		<-m.mayCopy
	}
	return f, m.step("create", func() error {
		m.names[name] = new(stored)
		f = &handle{m, m.names[name]}
		return nil
	})
}

func (m *memory) has(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[name] != nil
}

func (m *memory) extend(name string) (f file, err error) {
	return f, m.step("extend", func() error {
		f = &handle{m, m.names[name]}
		return nil
	})
}

func (m *memory) read(name string) (io.ReadSeekCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.names[name]
	if c == nil {
		return nil, fs.ErrNotExist
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(bytes.Clone(c.data)), io.NopCloser(nil)}, nil
}

func (m *memory) rename(from, to string) error {
	return m.step("rename", func() error {
		m.names[to] = m.names[from]
		delete(m.names, from)
		return nil
	})
}

func (m *memory) sync() error {
	return m.step("sync of the folder", func() error {
		m.durable = maps.Clone(m.names)
		return nil
	})
}

// handle is an open file; it writes at the end.
type handle struct {
	m *memory
	c *stored
}

func (h *handle) Write(b []byte) (int, error) {
	return len(b), h.m.step("write", func() error {
		h.c.data = append(h.c.data, b...)
		return nil
	})
}

func (h *handle) Truncate(size int64) error {
	return h.m.step("truncate", func() error {
		h.c.data = h.c.data[:size]
		h.c.synced = min(h.c.synced, int(size))
		return nil
	})
}

func (h *handle) Sync() error {
	return h.m.step("sync", func() error {
		h.c.synced = len(h.c.data)
		return nil
	})
}

func (h *handle) Close() error { return nil }

// left is every folder that a failure of the power now could leave: with the
// names from before or after the last changes to them, and nothing, a half or all
// of what was written and not synced.
func (m *memory) left() []*memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*memory
	for _, names := range []map[string]*stored{m.durable, m.names} {
		for half := range 3 {
			after := newMemory(0)
			for name, c := range names {
				n := c.synced + (len(c.data)-c.synced)*half/2
				after.names[name] = &stored{bytes.Clone(c.data[:n]), n}
			}
			after.durable = maps.Clone(after.names)
			close(after.mayCopy)
			all = append(all, after)
		}
	}
	return all
}
