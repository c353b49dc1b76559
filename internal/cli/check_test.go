package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/internal/control"
)

// checked plays a gateway with sessions of two connections. The other gateway has one
// of them. It notes what is staged and taken back.
type checked struct {
	status            control.Status
	sessions          []control.Session
	missing           string
	staged, cancelled []cxtp.SessionID
}

func newChecked() *checked {
	session := func(n byte, connection, state string) control.Session {
		return control.Session{View: cxtp.View{Session: cxtp.SessionID{n}, State: state}, IKE: &ikectx.View{Connection: connection}}
	}
	return &checked{
		status: control.Status{Peers: []control.PeerStatus{{Peer: "sg2", Up: true}, {Peer: "sg3"}}, IKE: &ikectx.ViewDaemon{}},
		sessions: []control.Session{
			session(1, "roaming", "staged"), session(2, "roaming", "active"), session(3, "roaming", "active"), session(4, "sites", "active"),
		},
	}
}

func (d *checked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := json.NewEncoder(w)
	switch r.URL.Path {
	case control.PathStatus:
		answer.Encode(d.status)
	case control.PathSessions:
		answer.Encode(d.sessions)
	case control.PathHandover:
		var move control.Handover
		json.NewDecoder(r.Body).Decode(&move)
		p := control.Progress{Session: move.Session, Event: cxtp.EventStaged, Peer: move.To, Final: true}
		if !move.Stage {
			p.Event = cxtp.EventClosed
		}
		for _, s := range d.sessions {
			if s.Session == move.Session && s.IKE.Connection == d.missing {
				p.Event, p.Statuses = cxtp.EventRefused, []cxtp.ContextStatus{{FPT: cxtp.FPTIKESession, Status: cxtp.StatusConfiguration}}
			}
		}
		d.staged = append(d.staged, move.Session)
		answer.Encode(p)
	case control.PathCancel:
		var c control.Cancel
		json.NewDecoder(r.Body).Decode(&c)
		d.cancelled = append(d.cancelled, c.Session)
		answer.Encode(control.Result{Session: c.Session})
	}
}

// TestCheck tries one session of each connection that is at rest, or all, takes back
// what is staged, and says what is missing.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		args, missing     string
		code              int
		says              string
		staged, cancelled int
	}{
		{"--to sg2", "", exitDone, "can go", 2, 2},
		{"--to sg2 --all", "", exitDone, "can go", 3, 3},
		{"--to sg2", "sites", exitFailed, "give the IKE daemon there the source's connections", 2, 1},
		{"--to sg3", "", exitSilent, "sg3 is not connected", 0, 0},
		{"--to sg4", "", exitRefused, `no gateway "sg4" is configured`, 0, 0},
		{"", "", exitUsage, "say which gateway", 0, 0},
	} {
		d := newChecked()
		d.missing = c.missing
		got := run(t, d.ServeHTTP, append([]string{"check"}, strings.Fields(c.args)...)...)
		if got.code != c.code || !strings.Contains(got.out+got.err, c.says) || len(d.staged) != c.staged || len(d.cancelled) != c.cancelled {
			t.Errorf("%q: staged %v, cancelled %v: %+v", c.args, d.staged, d.cancelled, got)
		}
	}
}

// TestCheckHere: what is wrong with this gateway's own IKE daemon is said, and nothing
// is tried.
func TestCheckHere(t *testing.T) {
	d := newChecked()
	d.status.IKE.Problem = "charon is not running"
	if got := run(t, d.ServeHTTP, "check", "--to", "sg2"); got.code != exitFailed || !strings.Contains(got.err, "here: charon is not running") || len(d.staged) > 0 {
		t.Errorf("%+v", got)
	}
	d = newChecked()
	d.sessions = nil
	if got := run(t, d.ServeHTTP, "check", "--to", "sg2"); got.code != exitDone || !strings.Contains(got.out, "no session here to try") {
		t.Errorf("without sessions: %+v", got)
	}
	var none []trial
	if got := run(t, d.ServeHTTP, "check", "--to", "sg2", "--json"); json.Unmarshal([]byte(got.out), &none) != nil || none == nil {
		t.Errorf("as a document: %+v", got)
	}
}
