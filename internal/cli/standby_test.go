package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// waiting is a daemon with sessions that wait for the word on sg1, and one that
// does not. So many orders as wave says have to be there before one is answered.
type waiting struct {
	sessions int
	unknown  cxtp.SessionID // is refused
	wave     int
	there    func() // the wave is there

	mu    sync.Mutex
	under int // orders under way
	most  int
	asked map[cxtp.SessionID]cxtp.RouterID
	all   chan struct{} // closed when the wave is there
}

func (d *waiting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case control.PathStatus:
		json.NewEncoder(w).Encode(control.Status{Peers: []control.PeerStatus{{Peer: "sg1"}, {Peer: "sg3"}}})
		return
	case control.PathSessions:
		views := []cxtp.View{{Session: cxtp.SessionID{0xff}, Peer: "sg3"}}
		for i := range d.sessions {
			views = append(views, cxtp.View{Session: cxtp.SessionID{1, byte(i)}, Peer: "sg1"})
		}
		json.NewEncoder(w).Encode(views)
		return
	}
	var o control.Resolve
	json.NewDecoder(r.Body).Decode(&o)
	d.count(o)
	select {
	case <-d.all:
	case <-r.Context().Done():
		return
	}
	d.mu.Lock()
	d.under--
	d.mu.Unlock()
	if o.Session == d.unknown {
		w.WriteHeader(http.StatusNotFound)
		json.NewEncoder(w).Encode(control.Result{Error: "no such session"})
		return
	}
	p := control.Progress{Session: o.Session, Event: cxtp.EventActive, Peer: o.Fenced}
	for _, p.Final = range []bool{false, true} {
		json.NewEncoder(w).Encode(p)
	}
}

func (d *waiting) count(o control.Resolve) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[o.Session] = o.Fenced
	d.under++
	d.most = max(d.most, d.under)
	if len(d.asked) == d.wave {
		d.there()
	}
}

// newWaiting answers when so many are asked for at once as may be.
func newWaiting(sessions int) *waiting {
	d := &waiting{sessions: sessions, wave: min(sessions, resolvedAtOnce), asked: map[cxtp.SessionID]cxtp.RouterID{}, all: make(chan struct{})}
	d.there = func() { close(d.all) }
	return d
}

// patience ends when orders that were given one after the other have waited for
// each other long enough.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestResolveAll: what waits for the fenced gateway is resolved, many at once and
// no more than that; nothing else is touched, and no report is lost or torn.
func TestResolveAll(t *testing.T) {
	const sessions = 2*resolvedAtOnce + 3
	d := newWaiting(sessions)
	got := runUntil(patience(t), t, d.ServeHTTP, "resolve", "--all", "--fenced", "sg1")
	if got.code != exitDone || got.out != "" || strings.Count(got.err, ": active, peer sg1\n") != 2*sessions {
		t.Errorf("%+v", got)
	}
	if _, other := d.asked[cxtp.SessionID{0xff}]; len(d.asked) != sessions || other || d.asked[cxtp.SessionID{1}] != "sg1" || d.most != resolvedAtOnce {
		t.Errorf("%d at once, asked for %v", d.most, d.asked)
	}

	got = runUntil(patience(t), t, newWaiting(sessions).ServeHTTP, "resolve", "--all", "--fenced", "sg1", "--json")
	finals, lines := 0, json.NewDecoder(strings.NewReader(got.out))
	for {
		var p control.Progress
		if err := lines.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, got.out)
		}
		if p.Final {
			finals++
		}
	}
	if got.code != exitDone || got.err != "" || finals != sessions {
		t.Errorf("%d of %d sessions ended: %+v", finals, sessions, got)
	}

	got = run(t, newWaiting(0).ServeHTTP, "resolve", "--all", "--fenced", "sg1")
	if got != (ran{exitDone, "", "no session here has to do with sg1\n"}) {
		t.Errorf("%+v", got)
	}
}

// TestResolveRefused: a session that fails is named, decides the status, and keeps
// no other back.
func TestResolveRefused(t *testing.T) {
	d := newWaiting(3)
	d.unknown = cxtp.SessionID{1, 1}
	got := runUntil(patience(t), t, d.ServeHTTP, "resolve", cxtp.SessionID{1}.String(), d.unknown.String(), cxtp.SessionID{1, 2}.String(), "--fenced", "sg1")
	if got.code != exitUnknown || !strings.HasSuffix(got.err, "\ncxtp: "+d.unknown.String()+": cxtpd refused: no such session\n") || strings.Count(got.err, "active") != 4 {
		t.Errorf("%+v", got)
	}
}

// TestResolveInterrupted: no more is asked for, and that is said once.
func TestResolveInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(patience(t))
	d := newWaiting(2 * resolvedAtOnce)
	d.there = cancel
	got := runUntil(ctx, t, d.ServeHTTP, "resolve", "--all", "--fenced", "sg1")
	if got.code != exitFailed || strings.Count(got.err, "interrupted; what was asked goes on") != 1 || strings.Count(got.err, "\n") != 1 || len(d.asked) != resolvedAtOnce {
		t.Errorf("asked for %d: %+v", len(d.asked), got)
	}
}
