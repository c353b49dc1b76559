package strongswan

import (
	"fmt"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Views describes all clients, from memory: charon is not asked.
func (a *Agent) Views() map[cxtp.SessionID]ikectx.View {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[cxtp.SessionID]ikectx.View, len(a.sessions))
	for id, s := range a.sessions {
		all[id] = s.l.context(now).View()
	}
	return all
}

// seen is charon as it was met last.
type seen struct {
	release string
	version ha.Version
	since   string // it has been running, in its own words
	problem string // "" = it is there
}

// sinceLayout is how charon writes when it was started, in its machine's zone.
const sinceLayout = "Jan _2 15:04:05 2006"

// View describes charon.
func (a *Agent) View() ikectx.ViewDaemon {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := ikectx.ViewDaemon{Program: Implementation, Release: a.seen.release, Problem: a.seen.problem, Reserved: a.departed.count()}
	if v.Problem == "" && !a.settled() {
		v.Problem = "charon has not been met yet"
	}
	if a.seen.version != 0 {
		v.Protocol = fmt.Sprintf("ha version %d", a.seen.version)
	}
	if since, err := time.ParseInLocation(sinceLayout, a.seen.since, time.Local); err == nil {
		v.Since = since
	}
	for _, s := range a.sessions {
		if s.phase == ipsecctx.Active {
			v.Clients++
		}
	}
	return v
}

// met notes who charon is.
func (a *Agent) met(release string, version ha.Version) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen.release, a.seen.version = release, version
}

// looked notes what came of looking for charon, and reports whether a problem is
// another one than before.
func (a *Agent) looked(since string, err error) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.seen.problem
	if a.seen.problem = ""; err != nil {
		a.seen.problem = err.Error()
		return before != a.seen.problem
	}
	a.seen.since = since
	return false
}
