package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx"
)

var id = cxtp.SessionID{0xab, 1}

// serve answers on a Unix socket with the handler.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	client := Dial(socket)
	t.Cleanup(server.Close)
	return client
}

// answering expects one request and answers it with a document.
func answering(t *testing.T, method, uri, request string, code int, answer any) *Client {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != method || r.RequestURI != uri || string(body) != request {
			t.Errorf("got %s %s %s (%v), want %s %s %s", r.Method, r.RequestURI, body, err, method, uri, request)
		}
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(answer)
	})
}

// same fails unless the client made of the answer what the daemon meant.
func same(t *testing.T, got, want any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestQuestions(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	t.Run("status", func(t *testing.T) {
		want := Status{Router: "sg1", Version: "1", Started: now, Sessions: 2, Counters: map[string]uint64{"a": 1},
			Peers: []PeerStatus{{Peer: "sg2", Endpoint: "192.0.2.1:1", Sent: 3, Error: "refused"}}}
		got, err := answering(t, "GET", "/v1/status", "", 200, want).Status(t.Context())
		same(t, got, want, err)
	})
	t.Run("sessions", func(t *testing.T) {
		want := []Session{{View: cxtp.View{Session: id, Previous: netip.MustParseAddr("192.0.2.10"), State: "owner", Epoch: 3,
			Inner: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}, IKE: &ikectx.View{Connection: "rw", Children: []ikectx.ViewChild{{Name: "net"}}}}}
		got, err := answering(t, "GET", "/v1/sessions", "", 200, want).Sessions(t.Context())
		same(t, got, want, err)
	})
	t.Run("trace", func(t *testing.T) {
		want := []TraceEvent{{Number: 8, Time: now, Session: id, Kind: "send", Peer: "sg2", What: "PCTD stage"}}
		got, err := answering(t, "GET", "/v1/trace?after=7", "", 200, want).Trace(t.Context(), 7)
		same(t, got, want, err)
	})
}

func TestChanges(t *testing.T) {
	cancel := `{"session":"` + id.String() + `"}`
	if err := answering(t, "POST", "/v1/cancel", cancel, 200, Result{Session: id}).Cancel(t.Context(), id); err != nil {
		t.Error(err)
	}
	for name, refused := range map[string]*Client{
		"by status": answering(t, "POST", "/v1/cancel", cancel, 409, Result{Error: "the reason"}),
		"by result": answering(t, "POST", "/v1/cancel", cancel, 200, Result{Error: "the reason"}),
		"in text": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the reason", http.StatusNotFound)
		}),
	} {
		var refusal *Refusal
		if err := refused.Cancel(t.Context(), id); !errors.As(err, &refusal) || refusal.Reason != "the reason" {
			t.Errorf("%s: %v", name, err)
		}
	}

	for order, request := range map[Drain]string{{To: "sg2"}: `{"to":"sg2"}`, {}: `{}`} {
		if err := answering(t, "POST", "/v1/drain", request, 200, Result{}).Drain(t.Context(), order); err != nil {
			t.Error(err)
		}
	}

	session := NewSession{Session: id, Identity: "node.example"}
	body, err := json.Marshal(session)
	if err != nil {
		t.Fatal(err)
	}
	if err := answering(t, "POST", "/v1/sessions", string(body), 200, Result{Session: id}).AddSession(t.Context(), session); err != nil {
		t.Error(err)
	}
}

// A connection that is kept may end at the moment when it is used again.
func TestConnectionsEndWithTheirRequests(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			t.Error("the client keeps its connection for another request")
		}
		json.NewEncoder(w).Encode(Result{})
	})
	if err := client.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func TestHandover(t *testing.T) {
	reports := []Progress{
		{Session: id, Epoch: 4, Event: cxtp.EventStaging, Peer: "sg2"},
		{Session: id, Epoch: 4, Event: cxtp.EventRefused, Peer: "sg2", Detail: "no", Final: true,
			Statuses: []cxtp.ContextStatus{{FPT: cxtp.FPTIPsecSA, Status: cxtp.StatusSPIConflict}, {FPT: 7, Status: 0x42}}},
	}
	more := make(chan struct{})
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var move Handover
		if err := json.NewDecoder(r.Body).Decode(&move); err != nil || move != (Handover{Session: id, To: "sg2", Stage: true}) {
			t.Errorf("the daemon got %+v, %v", move, err)
		}
		json.NewEncoder(w).Encode(reports[0])
		http.NewResponseController(w).Flush()
		<-more // the first report must arrive before there is a second one
		json.NewEncoder(w).Encode(reports[1])
	})
	var seen []Progress
	final, err := client.Handover(t.Context(), Handover{Session: id, To: "sg2", Stage: true}, func(p Progress) {
		if len(seen) == 0 {
			close(more)
		}
		seen = append(seen, p)
	})
	same(t, final, reports[1], err)
	same(t, seen, reports, err)
}

func TestHandoverIsCutOff(t *testing.T) {
	for name, text := range map[string]string{
		"no report":      "",
		"half a report":  `{"event":"stag`,
		"none is final":  `{"event":"staging"}`,
		"no JSON":        "hello",
		"no known event": `{"event":"dancing","final":true}`,
	} {
		client := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
		if final, err := client.Handover(t.Context(), Handover{}, nil); err == nil {
			t.Errorf("%s: taken for the end %+v", name, final)
		}
	}
}

func TestHandoverIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // the server hears of the client's end after that alone
		json.NewEncoder(w).Encode(Progress{Event: cxtp.EventStaging})
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	if _, err := client.Handover(ctx, Handover{}, func(Progress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNoDaemon(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := Dial(missing).Status(t.Context()); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), "is cxtpd running?") || strings.Contains(err.Error(), "http:") {
		t.Errorf("no socket: %v", err)
	}

	left := filepath.Join(t.TempDir(), "left")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: left})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	client := Dial(left)
	if _, err := client.Status(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "is cxtpd running?") {
		t.Errorf("a socket without a daemon: %v", err)
	}

	// Root is denied nothing, so the kernel's answer is played here.
	denied := &net.OpError{Op: "dial", Net: "unix", Err: syscall.EACCES}
	if err := client.unreachable(t.Context(), denied); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "mode is 0") || !strings.Contains(err.Error(), "group") {
		t.Errorf("a socket of somebody else's: %v", err)
	}
}
