package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// fuse ends a gateway's process, from within, at a point of one session's move.
// The demo lights it through the process's standard input; before it burns down,
// it hands over the steps of the machine that nobody has seen, because they die
// with the process.
type fuse struct {
	burn func(last []control.TraceEvent) // does not return

	mu        sync.Mutex
	point     *point // nil: not lit
	session   cxtp.SessionID
	operation string // whose result is the point, once it has begun
	steps     []control.TraceEvent
}

// order is what lights a fuse.
type order struct {
	Point   string         `json:"point"`
	Session cxtp.SessionID `json:"session"`
}

// obey lights the fuse for each order until there are no more.
func (f *fuse) obey(orders io.Reader, lit func()) error {
	for decoder := json.NewDecoder(orders); ; {
		var o order
		err := decoder.Decode(&o)
		if err == nil {
			err = f.light(o)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("failed to read where to die: %w", err)
		}
		lit()
	}
}

func (f *fuse) light(o order) error {
	i := slices.IndexFunc(points, func(p point) bool { return p.name == o.Point })
	if i < 0 {
		return fmt.Errorf("there is no point %q", o.Point)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.point, f.session, f.operation, f.steps = &points[i], o.Session, "", nil
	return nil
}

// step is told each step of the machine before it is taken. The machine stands
// still meanwhile, so nothing follows from what is here.
func (f *fuse) step(e control.TraceEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.point == nil {
		return
	}
	f.steps = append(f.steps, e)
	switch {
	case !f.session.IsZero() && e.Session != f.session:
	case f.operation != "":
		if e.Kind == "end" && e.What == f.operation {
			f.burn(f.steps)
		}
	case e.Kind == f.point.kind && e.What == f.point.step:
		if !f.point.after {
			f.burn(f.steps)
		}
		f.operation, f.session = e.Detail, e.Session
	}
}

// Lines that a gateway prints for the demo.
const (
	readyLine = "ready" // everything listens
	litLine   = "lit"   // the fuse is
	lastLine  = "last " // before the steps of a machine that dies
)

// die is the end of a gateway: as sudden as it gets, without a word to its
// peers, its journal or its own other goroutines.
func die(last []control.TraceEvent) {
	if text, err := json.Marshal(last); err == nil && last != nil {
		fmt.Printf("%s%s\n", lastLine, text)
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		self.Kill()
	}
	select {}
}
