package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cxtp/cxtp/cxtp"
)

// maxAnswer bounds an answer, and maxReason what is read of a refusal, in
// octets.
const (
	maxAnswer = 64 << 20
	maxReason = 4 << 10
)

// Refusal is the daemon's own answer that it did not do what was asked.
type Refusal struct {
	Code   int    // of HTTP
	Reason string // in the daemon's words
}

func (e *Refusal) Error() string { return "cxtpd refused: " + e.Reason }

// Client talks to one daemon. It may be used by several goroutines, and keeps nothing
// open between requests: the daemon might close what waits at the moment when it is
// used, and nobody could say then whether an order has been heard.
type Client struct {
	socket string
	http   *http.Client
}

// Dial returns a client of the daemon that listens on a Unix socket. Nothing is
// connected before the first request.
func Dial(socket string) *Client {
	return &Client{socket, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// Status asks for the daemon's state.
func (c *Client) Status(ctx context.Context) (status Status, err error) {
	return status, c.call(ctx, http.MethodGet, PathStatus, nil, &status)
}

// Sessions lists the sessions that the daemon knows.
func (c *Client) Sessions(ctx context.Context) (sessions []Session, err error) {
	return sessions, c.call(ctx, http.MethodGet, PathSessions, nil, &sessions)
}

// Trace lists the steps with numbers above after that the daemon still has.
func (c *Client) Trace(ctx context.Context, after uint64) (events []TraceEvent, err error) {
	path := PathTrace + "?" + url.Values{"after": {strconv.FormatUint(after, 10)}}.Encode()
	return events, c.call(ctx, http.MethodGet, path, nil, &events)
}

// AddSession installs a session that begins at this gateway.
func (c *Client) AddSession(ctx context.Context, session NewSession) error {
	return c.change(ctx, PathSessions, session)
}

// Cancel gives up a move that has not been granted.
func (c *Client) Cancel(ctx context.Context, session cxtp.SessionID) error {
	return c.change(ctx, PathCancel, Cancel{session})
}

// Rekey has a session's CHILD SAs rekeyed, and returns when the new ones are at
// work.
func (c *Client) Rekey(ctx context.Context, session cxtp.SessionID) error {
	return c.change(ctx, PathRekey, Rekey{session})
}

// Drain closes the gateway to new sessions, or opens it again.
func (c *Client) Drain(ctx context.Context, order Drain) error {
	return c.change(ctx, PathDrain, order)
}

// Handover asks for a move and calls report, which may be nil, for each of the
// daemon's reports; it returns the last one. The move goes on without the
// client when ctx ends or the connection breaks.
func (c *Client) Handover(ctx context.Context, move Handover, report func(Progress)) (Progress, error) {
	return c.follow(ctx, PathHandover, move, report)
}

// Standby orders a standby for a session, and is reported on as a move is.
func (c *Client) Standby(ctx context.Context, order Standby, report func(Progress)) (Progress, error) {
	return c.follow(ctx, PathStandby, order, report)
}

// Resolve gives the operator's word on a router, and is reported on as a move is.
func (c *Client) Resolve(ctx context.Context, word Resolve, report func(Progress)) (Progress, error) {
	return c.follow(ctx, PathResolve, word, report)
}

// follow makes a request that is answered by a stream of reports.
func (c *Client) follow(ctx context.Context, path string, request any, report func(Progress)) (Progress, error) {
	answer, err := c.send(ctx, http.MethodPost, path, request)
	if err != nil {
		return Progress{}, err
	}
	defer answer.Body.Close()
	lines := json.NewDecoder(answer.Body)
	for {
		var p Progress
		switch err := lines.Decode(&p); {
		case ctx.Err() != nil:
			return Progress{}, ctx.Err()
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return Progress{}, errors.New("cxtpd stopped reporting before the move ended: see `cxtp sessions` for where the session is")
		case err != nil:
			return Progress{}, fmt.Errorf("failed to read cxtpd's report: %w", err)
		}
		if report != nil {
			report(p)
		}
		if p.Final {
			return p, nil
		}
	}
}

func (c *Client) change(ctx context.Context, path string, request any) error {
	var result Result
	if err := c.call(ctx, http.MethodPost, path, request, &result); err != nil {
		return err
	}
	if result.Error != "" {
		return &Refusal{http.StatusOK, result.Error}
	}
	return nil
}

// call makes a request that is answered by one document.
func (c *Client) call(ctx context.Context, method, path string, request, result any) error {
	answer, err := c.send(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(result); err != nil {
		return fmt.Errorf("failed to read the answer of cxtpd, which may be of another version: %w", err)
	}
	return nil
}

// send makes a request; its answer is a success, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, request any) (*http.Response, error) {
	var body io.Reader
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			return nil, fmt.Errorf("failed to encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://cxtpd"+path, body)
	if err != nil {
		return nil, fmt.Errorf("failed to make the request: %w", err)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	return answer, nil
}

// refusal reads what the daemon said, which is a Result or, of the HTTP server
// itself, a line of text.
func refusal(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxReason))
	var result Result
	if json.Unmarshal(text, &result) != nil || result.Error == "" {
		result.Error = strings.TrimSpace(string(text))
	}
	if result.Error == "" {
		result.Error = answer.Status
	}
	return &Refusal{answer.StatusCode, result.Error}
}

// unreachable says what to do about a daemon that does not answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no control socket %s: is cxtpd running? Start it, or name its socket with --socket: %w", c.socket, cause(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers on the control socket %s: is cxtpd running? The socket is left from a run that ended: %w", c.socket, cause(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("not allowed to use the control socket %s%s: %w", c.socket, c.access(), cause(err))
	}
	return fmt.Errorf("failed to talk to cxtpd on %s: %w", c.socket, cause(err))
}

// cause takes the request's made-up URL off an error.
func cause(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// access says who may use the socket.
func (c *Client) access() string {
	info, err := os.Stat(c.socket)
	if err != nil {
		return ": its folder is closed to this user; use the daemon's user"
	}
	return fmt.Sprintf(", whose mode is %#o%s: use the daemon's user, or join that group", info.Mode().Perm(), owners(info))
}
