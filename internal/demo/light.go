package demo

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// Fuse is for tests of other gateways than this demo's: a Trace of the daemon's
// options that ends its process at a point of a session's next move, as sudden as
// it gets. The zero session is whichever comes to that point first.
func Fuse(point string, session cxtp.SessionID) (func(control.TraceEvent), error) {
	f := &fuse{burn: func([]control.TraceEvent) { die(nil) }}
	if err := f.light(order{point, session}); err != nil {
		return nil, err
	}
	return f.step, nil
}
