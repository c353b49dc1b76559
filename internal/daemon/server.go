package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/control"
)

// maxRequest bounds a control request in octets.
const maxRequest = 1 << 20

// server answers on the control socket.
type server struct {
	d *daemon
}

// listenControl opens the control socket with mode 0660. A socket file that
// nobody answers on is left over from a crash and is replaced.
func listenControl(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("failed to open the control socket %s: another cxtpd answers on it; stop that one or set another path", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("failed to remove the old control socket: %w", err)
		}
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("failed to open the control socket %s: %w; does its folder exist, and may this user write to it?", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		listener.Close()
		return nil, fmt.Errorf("failed to restrict the control socket: %w", err)
	}
	return listener, nil
}

// serve runs until ctx ends.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+control.PathStatus, s.status)
	mux.HandleFunc("GET "+control.PathSessions, s.sessions)
	mux.HandleFunc("POST "+control.PathSessions, s.add)
	mux.HandleFunc("POST "+control.PathHandover, s.handover)
	mux.HandleFunc("POST "+control.PathCancel, s.cancel)
	mux.HandleFunc("POST "+control.PathRekey, s.rekey)
	mux.HandleFunc("POST "+control.PathStandby, s.standby)
	mux.HandleFunc("POST "+control.PathResolve, s.resolve)
	mux.HandleFunc("POST "+control.PathDrain, s.drain)
	mux.HandleFunc("GET "+control.PathTrace, s.trace)
	hs := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { hs.Close() })
	defer stop()
	if err := hs.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("failed to serve the control socket: %w", err)
	}
	return nil
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

// read decodes a request; an unknown field is a mistake worth telling.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		reply(w, http.StatusBadRequest, control.Result{Error: "failed to read the request: " + err.Error()})
		return false
	}
	return true
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, s.d.status())
}

// views puts together what the machine, the IKE daemon and the links know of each
// session.
func (s *server) views(ctx context.Context) []control.Session {
	var machine []cxtp.View
	s.d.engine.call(func() { machine = s.d.engine.router.Sessions() })
	var clients map[cxtp.SessionID]ikectx.View
	if s.d.ike != nil {
		clients = s.d.ike.Views()
	}
	views := make([]control.Session, 0, len(machine))
	var nodes []mld.Node
	for _, v := range machine {
		one := control.Session{View: v}
		if client, ok := clients[v.Session]; ok {
			one.IKE = &client
		}
		views = append(views, one)
		nodes = append(nodes, mld.Node{Session: v.Session, Previous: v.Previous})
	}
	groups := s.d.multicast.Views(ctx, nodes)
	for i := range views {
		views[i].Groups = groups[views[i].Session]
	}
	return views
}

func (s *server) sessions(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, s.views(r.Context()))
}

func (s *server) trace(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
	if err != nil && r.FormValue("after") != "" {
		reply(w, http.StatusBadRequest, control.Result{Error: "after: not a number"})
		return
	}
	reply(w, http.StatusOK, s.d.engine.trace.after(after))
}

// add begins a session with manual keys, or groups, and makes this gateway its owner.
func (s *server) add(w http.ResponseWriter, r *http.Request) {
	var n control.NewSession
	if !read(w, r, &n) {
		return
	}
	if n.Session.IsZero() || !n.Previous.IsValid() {
		reply(w, http.StatusBadRequest, control.Result{Error: "session and previous are required"})
		return
	}
	if !s.d.door.since().IsZero() {
		reply(w, http.StatusConflict, control.Result{Error: "this gateway is drained: cxtp undrain opens it again"})
		return
	}
	claims, node, err := s.d.begin(r.Context(), &n)
	var bad badRequest
	switch {
	case errors.As(err, &bad):
		reply(w, http.StatusBadRequest, control.Result{Error: err.Error()})
		return
	case err != nil:
		reply(w, http.StatusConflict, control.Result{Error: err.Error()})
		return
	}
	adopted := make(chan cxtp.Report, 1)
	unwatch := s.d.engine.ask(func(rep cxtp.Report) { adopted <- rep }, func(t cxtp.Ticket) cxtp.Input {
		return cxtp.Adopt{Session: n.Session, Previous: n.Previous, Node: node, Ticket: t, Claims: claims}
	})
	defer unwatch()
	rep := <-adopted
	if rep.Event == cxtp.EventFailed {
		if err := s.d.end(r.Context(), n.Session); err != nil {
			s.d.log.Error("failed to remove a session that was not adopted", "session", n.Session.String(), "error", err)
		}
		reply(w, http.StatusConflict, control.Result{Error: rep.Detail})
		return
	}
	reply(w, http.StatusOK, control.Result{Session: n.Session})
}

// handover starts a move and reports on it.
func (s *server) handover(w http.ResponseWriter, r *http.Request) {
	var h control.Handover
	if !read(w, r, &h) {
		return
	}
	if code, why := s.complete(&h); why != "" {
		reply(w, code, control.Result{Error: why})
		return
	}
	s.follow(w, r, func(t cxtp.Ticket) cxtp.Input {
		if h.To != "" {
			return cxtp.Handover{Session: h.Session, To: h.To, StageOnly: h.Stage, Force: h.Force, Ticket: t}
		}
		return cxtp.Pull{Previous: h.Previous, Session: h.Session, From: h.From, StageOnly: h.Stage, Force: h.Force, Sequence: s.d.sequences.Draw(time.Now()), Ticket: t}
	})
}

// rekey has the IKE daemon rekey a session.
func (s *server) rekey(w http.ResponseWriter, r *http.Request) {
	var k control.Rekey
	if !read(w, r, &k) {
		return
	}
	if s.d.ike == nil {
		reply(w, http.StatusConflict, control.Result{Error: "this gateway has no IKE daemon that could rekey its sessions: negotiate them anew by whatever has set them up"})
		return
	}
	if err := s.d.ike.Rekey(r.Context(), k.Session); err != nil {
		reply(w, http.StatusConflict, control.Result{Error: err.Error()})
		return
	}
	reply(w, http.StatusOK, control.Result{Session: k.Session})
}

// drain closes the gateway to new sessions, or opens it again.
func (s *server) drain(w http.ResponseWriter, r *http.Request) {
	var o control.Drain
	if !read(w, r, &o) {
		return
	}
	known := func(p config.Peer) bool { return p.Name == string(o.To) }
	if o.To != "" && !slices.ContainsFunc(s.d.cfg.Peers, known) {
		reply(w, http.StatusNotFound, control.Result{Error: fmt.Sprintf("no peer %q is configured here", o.To)})
		return
	}
	if err := s.d.drain(o.To != ""); err != nil {
		reply(w, http.StatusInternalServerError, control.Result{Error: err.Error()})
		return
	}
	reply(w, http.StatusOK, control.Result{})
}

// standby orders a copy to be kept fresh.
func (s *server) standby(w http.ResponseWriter, r *http.Request) {
	var o control.Standby
	if read(w, r, &o) {
		s.follow(w, r, func(t cxtp.Ticket) cxtp.Input { return cxtp.Standby{Session: o.Session, To: o.To, Ticket: t} })
	}
}

// resolve gives the machine the operator's word on a router.
func (s *server) resolve(w http.ResponseWriter, r *http.Request) {
	var o control.Resolve
	if read(w, r, &o) {
		s.follow(w, r, func(t cxtp.Ticket) cxtp.Input { return cxtp.Resolve{Session: o.Session, Fenced: o.Fenced, Ticket: t} })
	}
}

// follow gives the machine an operator's request and streams the reports on it
// until the last one.
func (s *server) follow(w http.ResponseWriter, r *http.Request, request func(cxtp.Ticket) cxtp.Input) {
	reports := make(chan cxtp.Report, 64)
	unwatch := s.d.engine.ask(func(rep cxtp.Report) {
		select {
		case reports <- rep:
		default: // the operator's tool reads too slowly: it misses one
		}
	}, request)
	defer unwatch()
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case rep := <-reports:
			if enc.Encode(progress(rep)) != nil || rep.Final {
				return
			}
			flush.Flush()
		}
	}
}

// complete completes a handover's names, or says what is missing.
func (s *server) complete(h *control.Handover) (code int, why string) {
	switch {
	case (h.To == "") == (h.From == ""):
		return http.StatusBadRequest, "give either to (this gateway is the source) or from (it is the target)"
	case h.From != "" && !h.Previous.IsValid():
		return http.StatusBadRequest, "with from, the node's previous address is required"
	case h.To != "" && h.Session.IsZero():
		var ids []cxtp.SessionID
		s.d.engine.call(func() { ids = s.d.engine.router.At(h.Previous) })
		switch len(ids) {
		case 0:
			return http.StatusNotFound, fmt.Sprintf("no session of the node %s is here", h.Previous)
		case 1:
			h.Session = ids[0]
		default:
			return http.StatusNotFound, fmt.Sprintf("the address %s has %d sessions here: name one by its id", h.Previous, len(ids))
		}
	}
	return 0, ""
}

func progress(r cxtp.Report) control.Progress {
	return control.Progress{Time: time.Now(), Session: r.Session, Epoch: r.Epoch, Event: r.Event, Peer: r.Peer,
		Statuses: r.Statuses, Detail: r.Detail, Final: r.Final}
}

func (s *server) cancel(w http.ResponseWriter, r *http.Request) {
	var c control.Cancel
	if !read(w, r, &c) {
		return
	}
	answer := make(chan cxtp.Report, 8)
	unwatch := s.d.engine.ask(func(rep cxtp.Report) { answer <- rep },
		func(t cxtp.Ticket) cxtp.Input { return cxtp.Cancel{Session: c.Session, Ticket: t} })
	defer unwatch()
	select {
	case rep := <-answer:
		if slices.ContainsFunc(rep.Statuses, func(st cxtp.ContextStatus) bool { return st.Status == cxtp.StatusCancelled }) {
			reply(w, http.StatusOK, control.Result{Session: c.Session})
			return
		}
		reply(w, http.StatusConflict, control.Result{Error: rep.Detail})
	case <-r.Context().Done():
	}
}
