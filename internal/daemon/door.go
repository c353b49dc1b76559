package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// door is whether this gateway takes sessions. A gateway that its operator has
// drained does not, until the operator says so: also after a restart, which is
// what gateways are drained for. So the mark is a file, and since when it is there
// is the file's own time.
type door struct{ path string }

// since is when the gateway was drained; zero = it is open.
func (d door) since() time.Time {
	info, err := os.Stat(d.path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (d door) shut() error {
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("failed to note that the gateway is drained: %w", err)
	}
	return nil
}

func (d door) open() error {
	if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("failed to note that the gateway is not drained any more: %w", err)
	}
	return nil
}

// drain closes the gateway to new sessions, or opens it again. Those that are here
// go on.
func (d *daemon) drain(closed bool) error {
	change := d.door.open
	if closed {
		change = d.door.shut
	}
	if err := change(); err != nil {
		return err
	}
	d.turn(closed)
	return nil
}

// shutIfDrained carries on what an operator said before the daemon was restarted.
func (d *daemon) shutIfDrained() {
	if since := d.door.since(); !since.IsZero() {
		d.log.Warn("this gateway is drained and takes no sessions: cxtp undrain opens it again", "since", since)
		d.turn(true)
	}
}

func (d *daemon) turn(closed bool) {
	d.engine.call(func() { d.engine.step(cxtp.Drain{Closed: closed}) })
	if d.ike != nil {
		d.ike.Drain(closed)
	}
}
