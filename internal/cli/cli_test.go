package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/internal/control"
)

const idText = "00112233445566778899aabbccddeeff"

var id, _ = cxtp.ParseSessionID(idText)

// ran is what a run of the command left.
type ran struct {
	code     int
	out, err string
}

// run runs the command line against a daemon that the handler plays.
func run(t *testing.T, daemon http.HandlerFunc, args ...string) ran {
	t.Helper()
	return runUntil(t.Context(), t, daemon, args...)
}

// serve plays a daemon on a socket.
func serve(t *testing.T, daemon http.Handler) (socket string, stop func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(daemon)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	return socket, server.Close
}

// serving is a client of a daemon that the handler plays until the test ends.
func serving(t *testing.T, daemon http.Handler) *control.Client {
	t.Helper()
	socket, stop := serve(t, daemon)
	client := control.Dial(socket)
	t.Cleanup(stop)
	return client
}

func runUntil(ctx context.Context, t *testing.T, daemon http.HandlerFunc, args ...string) ran {
	t.Helper()
	socket, stop := serve(t, daemon)
	defer stop()
	var out, errs bytes.Buffer
	code := Run(ctx, append([]string{"cxtp", "--socket", socket}, args...), "1", Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return ran{code, out.String(), errs.String()}
}

// reporting plays a daemon that expects a move and reports on it.
func reporting(t *testing.T, want control.Handover, reports ...control.Progress) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var move control.Handover
		if err := json.NewDecoder(r.Body).Decode(&move); err != nil || move != want || r.URL.Path != control.PathHandover {
			t.Errorf("%s got %+v (%v), want %+v", r.URL.Path, move, err, want)
		}
		for _, p := range reports {
			json.NewEncoder(w).Encode(p)
		}
	}
}

func TestHandover(t *testing.T) {
	node := netip.MustParseAddr("192.0.2.10")
	staging := control.Progress{Session: id, Epoch: 4, Event: cxtp.EventStaging, Peer: "sg2"}
	last := func(e cxtp.Event) control.Progress {
		return control.Progress{Session: id, Epoch: 4, Event: e, Peer: "sg2", Final: true}
	}
	refused := last(cxtp.EventRefused)
	refused.Statuses = []cxtp.ContextStatus{{FPT: cxtp.FPTIPsecSA, Status: cxtp.StatusSPIConflict}}
	refused.Detail = "0000c0de is taken"
	for _, test := range []struct {
		args    string
		move    control.Handover
		final   control.Progress
		outcome string
		err     string // "" = status 0
	}{
		{idText + " --to sg2", control.Handover{Session: id, To: "sg2"}, last(cxtp.EventClosed), "moved", ""},
		{"--to sg2 --node 192.0.2.10", control.Handover{Previous: node, To: "sg2"}, last(cxtp.EventClosed), "moved", ""},
		{"--from sg1 --node 192.0.2.10", control.Handover{Previous: node, From: "sg1"}, last(cxtp.EventClosed), "moved", ""},
		{idText + " --from sg1 --node 192.0.2.10", control.Handover{Session: id, Previous: node, From: "sg1"}, last(cxtp.EventClosed), "moved", ""},
		{idText + " --force --to sg2", control.Handover{Session: id, To: "sg2", Force: true}, last(cxtp.EventClosed), "moved", ""},
		{idText + " --stage --to sg2", control.Handover{Session: id, To: "sg2", Stage: true}, last(cxtp.EventStaged), "staged", ""},
		{idText + " --to sg2", control.Handover{Session: id, To: "sg2"}, last(cxtp.EventWaiting), "staged", "not moved: it is staged"},
		{idText + " --to sg2", control.Handover{Session: id, To: "sg2"}, refused, "failed",
			"not moved: refused: SPI already in use (IPsec SA); 0000c0de is taken"},
		{idText + " --to sg2", control.Handover{Session: id, To: "sg2"}, last(cxtp.EventThawed), "failed", "not moved: thawed"},
		{idText + " --to sg2", control.Handover{Session: id, To: "sg2"}, last(cxtp.EventEnded), "failed", "the session is over"},
	} {
		args := append([]string{"handover"}, strings.Fields(test.args)...)
		daemon := reporting(t, test.move, staging, test.final)
		text := run(t, daemon, args...)
		doc := run(t, daemon, append(args, "--json")...)

		want := exitDone
		switch {
		case len(test.final.Statuses) > 0:
			want = exitRefused
		case test.err != "":
			want = exitFailed
		}
		if text.code != want || doc.code != want || !strings.Contains(text.err, test.err) || !strings.Contains(doc.err, test.err) {
			t.Errorf("%s: got %+v and %+v, want status %d and %q", test.args, text, doc, want, test.err)
		}
		if !strings.Contains(text.err, idText+" epoch 4: staging, peer sg2\n") || text.out != "" {
			t.Errorf("%s: the progress is %q, the result %q", test.args, text.err, text.out)
		}
		var got moved
		if err := json.Unmarshal([]byte(doc.out), &got); err != nil || got.Outcome != test.outcome || len(got.Reports) != 2 {
			t.Errorf("%s: the document is %s (%v)", test.args, doc.out, err)
		}
	}
}

func TestHandoverWithoutEnd(t *testing.T) {
	got := run(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"event":"granted"}`) },
		"handover", idText, "--to", "sg2", "--json")
	if got.code != exitFailed || !strings.Contains(got.err, "stopped reporting") || !strings.Contains(got.out, `"outcome": "unknown"`) {
		t.Errorf("the daemon went away: %+v", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	got = runUntil(ctx, t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}, "handover", idText, "--to", "sg2")
	if got.code != exitFailed || !strings.Contains(got.err, "interrupted; the move goes on") {
		t.Errorf("interrupted: %+v", got)
	}
}

func TestCancel(t *testing.T) {
	answer := func(code int, result control.Result) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var c control.Cancel
			if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.Session != id || r.URL.Path != control.PathCancel {
				t.Errorf("%s got %+v, %v", r.URL.Path, c, err)
			}
			w.WriteHeader(code)
			json.NewEncoder(w).Encode(result)
		}
	}
	if got := run(t, answer(200, control.Result{Session: id}), "handover", "--cancel", idText); got.code != exitDone || !strings.Contains(got.out, "is cancelled") {
		t.Errorf("got %+v", got)
	}
	got := run(t, answer(409, control.Result{Error: "it is granted"}), "handover", idText, "--cancel")
	if got.code != exitFailed || got.err != "cxtp: cxtpd refused: it is granted\n" {
		t.Errorf("got %+v", got)
	}
}

func TestStatusAndSessions(t *testing.T) {
	status := control.Status{Router: "sg1", Version: "1", Started: time.Now(), Sessions: 1, Counters: map[string]uint64{"zulu": 2, "alpha": 1},
		Peers: []control.PeerStatus{{Peer: "sg2", Endpoint: "192.0.2.2:5", Sent: 3, Received: 4, Error: "no route"}}}
	sessions := []cxtp.View{{Session: id, Previous: netip.MustParseAddr("192.0.2.10"), State: "owner", Epoch: 2, Identity: "fqdn:mn",
		Inner: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("2001:db8::/64")}}}
	daemon := func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{control.PathStatus: status, control.PathSessions: sessions}[r.URL.Path])
	}
	got := run(t, daemon, "status")
	for _, want := range []string{"sg1", "down at 192.0.2.2:5, 3 messages sent, 4 received: no route", "alpha     1\nzulu      2\n"} {
		if got.code != exitDone || !strings.Contains(got.out, want) {
			t.Errorf("status: %+v, want %q", got, want)
		}
	}
	var back control.Status
	if got := run(t, daemon, "status", "--json"); json.Unmarshal([]byte(got.out), &back) != nil || back.Peers[0] != status.Peers[0] {
		t.Errorf("status as JSON: %+v", got)
	}

	got = run(t, daemon, "sessions")
	lines := strings.Split(got.out, "\n")
	want := []string{idText, "192.0.2.10", "owner", "2", "fqdn:mn", "10.0.0.1/32,2001:db8::/64"}
	if got.code != exitDone || len(lines) != 3 || !slices.Equal(strings.Fields(lines[1]), want) {
		t.Errorf("sessions: %+v", got)
	}
	sessions = append(sessions, cxtp.View{Session: cxtp.SessionID{1}, State: "gone", Epoch: 3, Why: "moved to sg2"})
	lines = strings.Split(run(t, daemon, "sessions").out, "\n")
	if at := strings.Index(lines[0], "WHY"); at < 0 || strings.Index(lines[2], "moved to sg2") != at || strings.TrimRight(lines[1], " ") != lines[1] {
		t.Errorf("the columns do not stand below their names:\n%s", strings.Join(lines, "\n"))
	}
	none := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "null") }
	if got := run(t, none, "sessions", "--json"); got != (ran{exitDone, "[]\n", ""}) {
		t.Errorf("no sessions as JSON: %+v", got)
	}
}

// TestClients: what an IKE daemon has of a session is below it, and so are the groups
// that its node listens to; the daemon's own state is in the status.
func TestClients(t *testing.T) {
	ike := ikectx.ViewDaemon{Program: "strongswan", Release: "5.9.8", Protocol: "ha version 3", Clients: 2, Problem: "charon is not running\nstart it"}
	sessions := []control.Session{
		{View: cxtp.View{Session: id, State: "active", Identity: "eap:ann"}, IKE: &ikectx.View{
			Connection: "rw", Identity: "fqdn:mn.example", EAPIdentity: "ann", Remote: netip.MustParseAddrPort("198.51.100.9:4500"),
			Virtual: []netip.Prefix{netip.MustParsePrefix("10.4.0.7/32")}, InitiatorSPI: "00000000000000a1", ResponderSPI: "00000000000000b1",
			Generation: 2, Age: 3725, Children: []ikectx.ViewChild{{Name: "net", Inbound: "0000c0de", Outbound: "0000f00d", Age: 65}},
		}},
		{View: cxtp.View{Session: cxtp.SessionID{1}, State: "gone"}},
		{View: cxtp.View{Session: cxtp.SessionID{2}, State: "active"}, Groups: []mld.View{
			{Group: netip.MustParseAddr("ff1e::1"), Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Interface: "br0", Left: 260 * time.Second},
			{Group: netip.MustParseAddr("ff1e::2"), Prefix: netip.MustParsePrefix("2001:db8:1::/64")},
		}},
	}
	daemon := func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{control.PathStatus: control.Status{IKE: &ike}, control.PathSessions: sessions}[r.URL.Path])
	}
	got := run(t, daemon, "sessions")
	lines := strings.Split(got.out, "\n")
	if len(lines) != 9 || !strings.HasPrefix(lines[1], idText) || !strings.HasPrefix(lines[4], "01000000") ||
		lines[2] != "  IKE rw 00000000000000a1_i 00000000000000b1_r, generation 2, age 1h2m5s, client 198.51.100.9:4500, in IKE fqdn:mn.example, virtual 10.4.0.7/32" ||
		lines[3] != "  CHILD net in 0000c0de out 0000f00d, age 1m5s" ||
		lines[6] != "  MLD ff1e::1 on 2001:db8:1::/64, br0, for 4m20s" || lines[7] != "  MLD ff1e::2 on 2001:db8:1::/64" {
		t.Errorf("sessions: %+v", got)
	}
	var back []control.Session
	if got = run(t, daemon, "sessions", "--json"); json.Unmarshal([]byte(got.out), &back) != nil || !reflect.DeepEqual(back, sessions) {
		t.Errorf("sessions as JSON: %+v", got)
	}
	got = run(t, daemon, "status")
	if !strings.Contains(got.out, "strongswan  5.9.8, ha version 3, 2 clients; no client can be moved: charon is not running; start it\n") {
		t.Errorf("status: %+v", got)
	}
}

func TestHiddenCommandIsNotOffered(t *testing.T) {
	var errs bytes.Buffer
	code := Run(t.Context(), []string{"cxtp"}, "1", Streams{Err: &errs}, &urfave.Command{Name: "shown"}, &urfave.Command{Name: "secret", Hidden: true})
	if code != exitUsage || !strings.Contains(errs.String(), "shown") || strings.Contains(errs.String(), "secret") {
		t.Errorf("status %d: %s", code, errs.String())
	}
}

func TestFlagsAnywhere(t *testing.T) {
	app := newApp("1", Streams{}, []*urfave.Command{{Name: "nest", Subcommands: []*urfave.Command{{Name: "egg"}}}})
	for line, want := range map[string]string{
		"":                                  "cxtp",
		"handover S --to a --json":          "cxtp --json handover --to a S",
		"handover S --stage --to=a":         "cxtp handover --stage --to=a S",
		"status --socket x":                 "cxtp --socket x status",
		"--socket handover status":          "cxtp --socket handover status",
		"handover S --to":                   "cxtp handover --to",
		"handover S --socket":               "cxtp --socket",
		"decode - --json":                   "cxtp --json decode -",
		"decode -- --json":                  "cxtp decode -- --json",
		"decode decode --nonsense --json x": "cxtp --json decode --nonsense decode x",
		"nonsense --json decode":            "cxtp --json nonsense decode",
		"nest egg --json":                   "cxtp nest egg --json",
	} {
		got := strings.Join(flagsAnywhere(app, append([]string{"cxtp"}, strings.Fields(line)...)), " ")
		if got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

// TestAdvice: the source's operator is told what mends a refusal of the target.
func TestAdvice(t *testing.T) {
	daemon := func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(control.Progress{Session: id, Event: cxtp.EventRefused, Final: true,
			Statuses: []cxtp.ContextStatus{{FPT: cxtp.FPTIKESession, Status: cxtp.StatusConfiguration}}})
	}
	got := run(t, daemon, "handover", idText, "--to", "sg2")
	if got.code != exitRefused || !strings.Contains(got.err, "connection not configured (IKE session): give the IKE daemon there") {
		t.Errorf("%+v", got)
	}
}

// TestHandoverToTheNext: where one gateway cannot take the session, the next in
// the list is tried; where it is the session that is wrong, none is.
func TestHandoverToTheNext(t *testing.T) {
	answer := func(st cxtp.Status) (*[]cxtp.RouterID, http.HandlerFunc) {
		var asked []cxtp.RouterID
		return &asked, func(w http.ResponseWriter, r *http.Request) {
			var move control.Handover
			json.NewDecoder(r.Body).Decode(&move)
			asked = append(asked, move.To)
			p := control.Progress{Session: id, Event: cxtp.EventClosed, Peer: move.To, Final: true}
			if move.To != "sg4" {
				p.Event, p.Statuses = cxtp.EventRefused, []cxtp.ContextStatus{{FPT: cxtp.FPTIPsecSA, Status: st}}
			}
			json.NewEncoder(w).Encode(p)
		}
	}
	asked, daemon := answer(cxtp.StatusAlgorithm)
	if got := run(t, daemon, "handover", idText, "--to", "sg2", "--to", "sg3", "--to", "sg4", "--to", "sg5"); got.code != exitDone || !slices.Equal(*asked, []cxtp.RouterID{"sg2", "sg3", "sg4"}) {
		t.Errorf("asked %q: %+v", *asked, got)
	}
	asked, daemon = answer(cxtp.StatusUntold)
	if got := run(t, daemon, "handover", idText, "--to", "sg2"); got.code != exitUntold || !strings.Contains(got.err, "--force") {
		t.Errorf("asked %q: %+v", *asked, got)
	}
	asked, daemon = answer(cxtp.StatusUnknownSession)
	if got := run(t, daemon, "handover", idText, "--to", "sg2", "--to", "sg4"); got.code != exitUnknown || len(*asked) != 1 {
		t.Errorf("asked %q: %+v", *asked, got)
	}
}

// TestHandoverAfterRekey: a session whose SPI is taken at the target is rekeyed, once,
// and handed over again.
func TestHandoverAfterRekey(t *testing.T) {
	for _, test := range []struct {
		able bool // the daemon can have it rekeyed
		want []string
		code int
		says string
	}{
		{true, []string{control.PathHandover, control.PathRekey, control.PathHandover}, exitRefused, "another one is wanted"},
		{false, []string{control.PathHandover, control.PathRekey}, exitFailed, "could not be rekeyed"},
	} {
		var asked []string
		daemon := func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path)
			switch {
			case r.URL.Path == control.PathHandover:
				json.NewEncoder(w).Encode(control.Progress{Session: id, Event: cxtp.EventRefused, Peer: "sg2", Final: true,
					Statuses: []cxtp.ContextStatus{{FPT: cxtp.FPTIPsecSA, Status: cxtp.StatusRenegotiate}}})
			case !test.able:
				w.WriteHeader(http.StatusConflict)
				json.NewEncoder(w).Encode(control.Result{Error: "nobody can"})
			default:
				json.NewEncoder(w).Encode(control.Result{Session: id})
			}
		}
		got := run(t, daemon, "handover", idText, "--to", "sg2")
		if got.code != test.code || !strings.Contains(got.err, test.says) || !slices.Equal(asked, test.want) {
			t.Errorf("asked %q: %+v; want %q and status %d", asked, got, test.want, test.code)
		}
	}
}
