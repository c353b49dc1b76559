package ipsecctx

import (
	"context"
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
)

// WithoutSAs says that a session whose life begins here has no SAs, but contexts of
// other features alone: nothing of it is asked of the gateway, or missing there. A
// stage without IPsec contexts says the same. It is an error if the session is here
// already.
func (f *Feature) WithoutSAs(ctx context.Context, id cxtp.SessionID) error {
	s, _, err := f.backend.Export(ctx, id)
	if err == nil {
		s.Wipe()
	}
	if err == nil || f.isBare(id) {
		return fmt.Errorf("session %v is here already", id)
	}
	f.setBare(id, true)
	return nil
}

// Forget ends what WithoutSAs has begun.
func (f *Feature) Forget(id cxtp.SessionID) { f.setBare(id, false) }

// isBare reports whether a session is known to have no SAs.
func (f *Feature) isBare(id cxtp.SessionID) bool {
	f.bareMu.Lock()
	defer f.bareMu.Unlock()
	return f.bare[id]
}

func (f *Feature) setBare(id cxtp.SessionID, bare bool) {
	f.bareMu.Lock()
	defer f.bareMu.Unlock()
	if bare {
		f.bare[id] = true
	} else {
		delete(f.bare, id)
	}
}
