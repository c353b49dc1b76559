package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// gatewayOf is a daemon with sessions, some of which refuse to move, the first
// time or always.
type gatewayOf struct {
	mu       sync.Mutex
	sessions map[cxtp.SessionID]string // state
	refuse   map[cxtp.SessionID]int    // how often yet, unless it is forced
	busy     map[cxtp.SessionID]int    // the same, because they are busy
	notes    []string
	drained  []cxtp.RouterID // what it was told: where to, or "" for undrain
	under    int             // moves under way
	most     int
	wave     int           // so many wait for each other first
	together chan struct{} // closed when they are there
	started  func()
}

func (g *gatewayOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.URL.Path == control.PathSessions {
		views := []cxtp.View{}
		for id, state := range g.sessions {
			views = append(views, cxtp.View{Session: id, State: state})
		}
		json.NewEncoder(w).Encode(views)
		return
	}
	if r.URL.Path == control.PathStatus {
		json.NewEncoder(w).Encode(control.Status{Notes: g.notes, Peers: []control.PeerStatus{{Peer: "sg2"}}})
		return
	}
	if r.URL.Path == control.PathDrain {
		var o control.Drain
		json.NewDecoder(r.Body).Decode(&o)
		g.drained = append(g.drained, o.To)
		json.NewEncoder(w).Encode(control.Result{})
		return
	}
	var h control.Handover
	json.NewDecoder(r.Body).Decode(&h)
	g.under++
	g.most = max(g.most, g.under)
	if g.started != nil {
		g.started()
	}
	if g.under == g.wave {
		close(g.together)
		g.wave = 0
	}
	g.mu.Unlock()
	<-g.together
	g.mu.Lock()
	g.under--
	p := control.Progress{Session: h.Session, Event: cxtp.EventClosed, Peer: h.To, Final: true}
	if g.busy[h.Session] > 0 {
		g.busy[h.Session]--
		p.Event, p.Statuses = cxtp.EventRefused, []cxtp.ContextStatus{{FPT: cxtp.FPTIKESession, Status: cxtp.StatusBusy}}
	} else if g.refuse[h.Session] > 0 && !h.Force {
		g.refuse[h.Session]--
		p.Event, p.Detail = cxtp.EventFailed, "not today"
	} else {
		delete(g.sessions, h.Session)
	}
	json.NewEncoder(w).Encode(p)
}

func newGatewayOf(n, wave int) *gatewayOf {
	g := &gatewayOf{wave: wave, together: make(chan struct{}), sessions: map[cxtp.SessionID]string{{0xff}: "held"}, refuse: map[cxtp.SessionID]int{}}
	for i := range n {
		g.sessions[cxtp.SessionID{1, byte(i)}] = "active"
	}
	return g
}

// TestDrain: everything that is owned here goes, in bounded parallel; what fails
// once is tried again, what fails always stays and is told of.
func TestDrain(t *testing.T) {
	g := newGatewayOf(100, 8)
	g.notes = []string{"the address stays"}
	g.refuse[cxtp.SessionID{1, 7}] = 1
	got := run(t, g.ServeHTTP, "drain", "--to", "sg2", "--outstanding", "8")
	if got.code != exitDone || !strings.HasPrefix(got.out, "moved 100 sessions to sg2 in ") || !strings.Contains(got.err, "of 100 moved") {
		t.Errorf("%+v", got)
	}
	if !strings.HasSuffix(got.out, "this gateway takes no sessions until cxtp undrain\nnote: the address stays\n") || !slices.Equal(g.drained, []cxtp.RouterID{"sg2"}) {
		t.Errorf("told %q: %s", g.drained, got.out)
	}
	if g.most != 8 || len(g.sessions) != 1 {
		t.Errorf("%d at once, %d left", g.most, len(g.sessions))
	}

	g = newGatewayOf(20, 1)
	for i := range 3 {
		g.refuse[cxtp.SessionID{1, byte(i)}] = 1000
	}
	got = run(t, g.ServeHTTP, "drain", "--to", "sg2", "--json")
	var doc drained
	if err := json.Unmarshal([]byte(got.out), &doc); err != nil || got.code != exitFailed || doc.Moved != 17 || doc.Failed != 3 || !doc.Closed || len(doc.Sessions) != 20 || doc.Sessions[0].Moved || !doc.Sessions[19].Moved {
		t.Errorf("%+v, %v", got, err)
	}
	got = run(t, g.ServeHTTP, "drain", "--to", "sg2")
	if got.code != exitFailed || !strings.Contains(got.out, "3, for example 010") || !strings.Contains(got.out, "not today") {
		t.Errorf("%+v", got)
	}
	// That was for nothing, and so is taken back.
	if want := []cxtp.RouterID{"sg2", "sg2", ""}; !slices.Equal(g.drained, want) || strings.Contains(got.out, "undrain") {
		t.Errorf("told %q, want %q: %s", g.drained, want, got.out)
	}
	if got = run(t, g.ServeHTTP, "drain", "--to", "sg2", "--force"); got.code != exitDone || len(g.sessions) != 1 {
		t.Errorf("%+v, %d left", got, len(g.sessions))
	}
}

// TestDrainBusy: a session that is busy is tried again, so often and no more, and
// each is told of.
func TestDrainBusy(t *testing.T) {
	for busy, want := range map[int]fate{
		2:    {Moved: true, Tries: 3},
		1000: {Why: "not moved: refused: session busy (IKE session)", Tries: busyTries},
	} {
		g := newGatewayOf(1, 1)
		g.busy = map[cxtp.SessionID]int{{1}: busy}
		var each strings.Builder
		d := &drainage{client: serving(t, g), to: "sg2", outstanding: 1, pause: time.Nanosecond, fates: map[cxtp.SessionID]*fate{}, each: &each}
		if err := d.empty(t.Context()); (err == nil) != want.Moved {
			t.Errorf("%d times busy: %v", busy, err)
		}
		got := *d.fates[cxtp.SessionID{1}]
		if got.Moved != want.Moved || got.Why != want.Why || got.Tries != want.Tries || d.busy != 0 || !strings.Contains(each.String(), "tries)") {
			t.Errorf("%d times busy: %+v, want %+v; %s", busy, got, want, &each)
		}
	}
}

// TestUndrain opens the gateway.
func TestUndrain(t *testing.T) {
	g := newGatewayOf(0, 0)
	if got := run(t, g.ServeHTTP, "undrain"); got.code != exitDone || !slices.Equal(g.drained, []cxtp.RouterID{""}) {
		t.Errorf("%+v, told %q", got, g.drained)
	}
}

// TestMeter: on a terminal a line that changes, elsewhere a line every tenth.
func TestMeter(t *testing.T) {
	var terminal, other strings.Builder
	for _, m := range []meter{{out: &terminal, terminal: true}, {out: &other}} {
		m.show(tally{moved: 1, busy: 2, total: 30})
		m.show(tally{moved: 2, failed: 1, total: 30})
		m.end(tally{moved: 2, failed: 1, total: 30})
	}
	if got := terminal.String(); !strings.Contains(got, "\r[#                             ] 1 of 30 moved, 2 busy") || !strings.HasSuffix(got, "2 of 30 moved, 1 not\x1b[K\n") {
		t.Errorf("on a terminal: %q", got)
	}
	if got := other.String(); got != "2 of 30 moved, 1 not\n" {
		t.Errorf("elsewhere: %q", got)
	}
}

// TestDrainOfNobody: where there is no daemon, nothing was moved and nothing says so.
func TestDrainOfNobody(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	if got := run(t, refuse, "drain", "--to", "sg2"); got.code != exitFailed || got.out != "" {
		t.Errorf("%+v", got)
	}
}

// TestUnknownGateway: a name that is a mistake changes nothing and has a status of its
// own, also where no session would have to do with it.
func TestUnknownGateway(t *testing.T) {
	g := newGatewayOf(1, 1)
	for _, args := range [][]string{{"drain", "--to", "sg9"}, {"check", "--to", "sg9"}, {"resolve", "--all", "--fenced", "sg9"}} {
		got := run(t, g.ServeHTTP, args...)
		if got.code != exitRefused || got.out != "" || !strings.Contains(got.err, `no gateway "sg9" is configured here`) || len(g.drained) > 0 {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := run(t, g.ServeHTTP, "resolve", "--all", "--fenced", "sg2"); got != (ran{exitDone, "", "no session here has to do with sg2\n"}) {
		t.Errorf("%+v", got)
	}
}

func TestDrainInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newGatewayOf(100, 1)
	g.started = cancel
	got := runUntil(ctx, t, g.ServeHTTP, "drain", "--to", "sg2", "--outstanding", "2")
	if got.code != exitFailed || !strings.Contains(got.err, "interrupted") || len(g.sessions) < 90 {
		t.Errorf("%d left: %+v", len(g.sessions), got)
	}
}

// TestInstall: a file that others may read is refused, a mistake is named, and
// the id of the session is printed.
func TestInstall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.json")
	var came control.NewSession
	daemon := func(w http.ResponseWriter, r *http.Request) {
		json.NewDecoder(r.Body).Decode(&came)
		json.NewEncoder(w).Encode(control.Result{Session: came.Session})
	}
	write := func(text string, mode os.FileMode) {
		os.Remove(path)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"identity": "node.example"}`, 0o644)
	if got := run(t, daemon, "install", path); got.code != exitFailed || !strings.Contains(got.err, "chmod 600") {
		t.Errorf("%+v", got)
	}
	write(`{"identity": "node.example", "colour": 1}`, 0o600)
	if got := run(t, daemon, "install", path); got.code != exitFailed || !strings.Contains(got.err, `unknown field "colour"`) {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{
		"":                                   "it is empty",
		"[]":                                 "line 1: it is a JSON array, and not an object",
		"{\n\"sas\": [\n{\"spi\": \"1\"}]}":  "line 3: sas.spi cannot be a JSON string",
		"{\n\"identity\": \"a\",\n":          "it ends too early",
		"{\n\"identity\" \"a\"}":             "line 2: invalid character",
		"{\n\"previous\": \"192.0.2\"}":      `line 2: ParseAddr("192.0.2")`,
		"{\"identity\": \"a\"}\n\n{}":        "line 3: there is something behind the session",
		"{\"identity\": \"a\",\n\"col\": 1}": `line 2: unknown field "col"; cxtp install --help`,
	} {
		write(text, 0o600)
		if got := run(t, daemon, "install", path); got.code != exitFailed || !strings.Contains(got.err, want) || strings.Contains(got.err, "control.") {
			t.Errorf("%q: %+v, want %q", text, got, want)
		}
	}
	write(`{"identity": "node.example"}`, 0o600)
	got := run(t, daemon, "install", path)
	if got.code != exitDone || got.out != fmt.Sprintln(came.Session) || came.Session.IsZero() || came.Identity != "node.example" {
		t.Errorf("%+v, installed %+v", got, came)
	}
}
