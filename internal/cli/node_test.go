package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/transport"
)

var (
	nodeAddr  = netip.MustParseAddr("192.0.2.10")
	updateKey = secret.New([]byte{0xaa, 0xbb})
)

// routerAt answers CTARs from answers and passes acknowledgements on.
func routerAt(t *testing.T, answers <-chan *cxtp.CTAA) (*transport.NodeConn, chan *cxtp.CTAR, chan *cxtp.UpdateAck) {
	ctars, acks := make(chan *cxtp.CTAR, 10), make(chan *cxtp.UpdateAck, 10)
	ready := make(chan *transport.NodeConn, 1)
	conn, err := transport.ListenNode("127.0.0.1:0", func(from netip.AddrPort, text []byte) {
		m, err := cxtp.Decode(text)
		if err != nil {
			t.Errorf("the agent sent what cannot be decoded: %v", err)
		}
		switch m := m.(type) {
		case *cxtp.CTAR:
			ctars <- m
			conn := <-ready
			sendTo(t, conn, from, <-answers)
			ready <- conn
		case *cxtp.UpdateAck:
			acks <- m
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ready <- conn
	t.Cleanup(func() { conn.Close() })
	return conn, ctars, acks
}

func sendTo(t *testing.T, conn *transport.NodeConn, to netip.AddrPort, m cxtp.Message) {
	text, err := m.Append(nil)
	if err == nil {
		err = conn.Send(to, text)
	}
	if err != nil {
		t.Error(err)
	}
}

// nodeConfig writes a node's file.
func nodeConfig(t *testing.T, router netip.AddrPort, more string) string {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "node.toml")
	text := fmt.Sprintf(`listen = "127.0.0.1:0"
previous = "%s"
session = "%s"
token_algorithm = "hmac-sha1"
update_key = "aabb"
token_file = "tokens"
%s
[routers]
"198.51.100.1" = "%s"
`, nodeAddr, idText, more, router)
	for name, text := range map[string]string{path: text, filepath.Join(folder, "tokens"): "# none yet\n1 01\n2 02\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func state(t *testing.T, config string) cxtp.AgentState {
	t.Helper()
	info, err := os.Stat(config + ".state")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the state's file is %v, %v", info, err)
	}
	s, err := loadState(config+".state", id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each run uses the next token key, refused or not, until none is left.
func TestNodeAsks(t *testing.T) {
	answers := make(chan *cxtp.CTAA, 1)
	router, ctars, _ := routerAt(t, answers)
	config := nodeConfig(t, router.LocalAddr(), "")
	ask := func() ran {
		return run(t, nil, "mn", "--config", config, "--at", "198.51.100.1", "--naming", "198.51.100.2", "--once", "--json")
	}
	used := func(key byte) {
		t.Helper()
		m := <-ctars
		if !cxtp.VerifyToken(secret.New([]byte{key}), m.Previous, m.Sequence, m.Requests, m.Token) {
			t.Errorf("token key %d does not authorise %+v", key, m)
		}
	}

	answers <- &cxtp.CTAA{Previous: nodeAddr}
	if got := ask(); got.code != exitDone || !strings.Contains(got.out, `"event":"answered"`) {
		t.Fatalf("got %+v", got)
	}
	used(1)
	if s := state(t, config); !reflect.DeepEqual(s, cxtp.AgentState{NextToken: 2}) {
		t.Errorf("kept %+v", s)
	}

	answers <- &cxtp.CTAA{Previous: nodeAddr, Failed: []cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusNotAuthorised}}}
	got := ask()
	if got.code != exitFailed || got.err != "cxtp: router 198.51.100.1 refused: not authorised (control)\n" ||
		!strings.Contains(got.out, `"failed":[{"context":"control","status":"not authorised"}]`) {
		t.Fatalf("got %+v", got)
	}
	used(2)

	if got := ask(); got.code != exitFailed || !strings.Contains(got.err, "no token key is left") {
		t.Fatalf("got %+v", got)
	}
}

// A node that leaves asks both routers, with one sequence number and one token: the
// second when it has arrived there, though the first has refused (RFC 4067 sections
// 2.5.1 and 3.2).
func TestNodeAsksBoth(t *testing.T) {
	const pAR, nAR = "198.51.100.1", "198.51.100.2"
	for name, c := range map[string]struct {
		failed []cxtp.ContextStatus
		input  string
		asked  bool
	}{
		"sent ahead":   {nil, "\n", true},
		"refused":      {[]cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusNotAuthorised}}, "here\n", true},
		"end of input": {[]cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusNotAuthorised}}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := make(chan *cxtp.CTAA, 1), make(chan *cxtp.CTAA, 1)
			p, atP, _ := routerAt(t, first)
			n, atN, _ := routerAt(t, second)
			config := nodeConfig(t, p.LocalAddr(), "")
			file, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(file, "%q = %q\n", nAR, n.LocalAddr())
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			first <- &cxtp.CTAA{Previous: nodeAddr, Failed: c.failed}
			second <- &cxtp.CTAA{Previous: nodeAddr, Failed: []cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusBusy}}} // so that it ends
			var out, errs strings.Builder
			code := Run(t.Context(), []string{"cxtp", "mn", "--config", config, "--at", pAR, "--naming", nAR, "--leaving", "--json"}, "1",
				Streams{In: strings.NewReader(c.input), Out: &out, Err: &errs})
			if code != exitFailed || strings.Contains(errs.String(), "busy") != c.asked {
				t.Fatalf("ended with %d and said %q", code, errs.String())
			}
			one := <-atP
			if one.Router != netip.MustParseAddr(nAR) {
				t.Errorf("the router to leave is named %s", one.Router)
			}
			if !c.asked {
				if len(atN) > 0 {
					t.Error("the other router was asked")
				}
				return
			}
			if two := <-atN; two.Router != netip.MustParseAddr(pAR) || two.Sequence != one.Sequence || two.Token != one.Token {
				t.Errorf("asked with %+v, and then with %+v", one, two)
			}
		})
	}
}

// The agent runs its program for an update, acknowledges it only when that
// succeeds, remembers it, and ends cleanly when it is interrupted.
func TestNodeFollows(t *testing.T) {
	router, _, acks := routerAt(t, nil)
	config := nodeConfig(t, router.LocalAddr(), `on_update = ["sh", "-c", "echo $CXTP_ACTION $CXTP_SESSION $CXTP_NUMBER $CXTP_GATEWAY $CXTP_SPIS, $CXTP_FLOORS >>FOLDER/followed; test $(wc -l <FOLDER/followed) = 2"]`)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(config)
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "FOLDER", folder)), 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, interrupt := context.WithCancel(t.Context())
	in, out := io.Pipe()
	done := make(chan int, 1)
	var errs strings.Builder
	go func() {
		done <- Run(ctx, []string{"cxtp", "mn", "--json", "--config", config}, "1", Streams{Out: out, Err: &errs})
		out.Close()
	}()
	events := json.NewDecoder(in)
	next := func() (e event) {
		t.Helper()
		if err := events.Decode(&e); err != nil {
			t.Fatal(err)
		}
		return e
	}

	at := next().Address
	update := &cxtp.Update{Previous: nodeAddr, Session: id, Number: 7, Gateway: netip.MustParseAddrPort("203.0.113.2:4500"),
		SPIs: []cxtp.SPIChange{{Protocol: 50, Old: 0x1001, New: 0x2002}, {Protocol: 51, Old: 0x1003, New: 0x2004}}, Floors: []cxtp.SequenceFloor{{Protocol: 50, SPI: 0x3003, Number: 1 << 32}}}
	if err := update.Sign(updateKey); err != nil {
		t.Fatal(err)
	}
	sendTo(t, router, at, update)
	if e := next(); e.Event != "not following" || !strings.Contains(e.What, "ended with status 1") {
		t.Errorf("got %+v", e)
	}
	sendTo(t, router, at, update)
	if e := next(); e.Event != "following" || e.Address != update.Gateway || e.Number != 7 {
		t.Errorf("got %+v", e)
	}
	if ack := <-acks; ack.Number != 7 || !ack.Verify(updateKey) {
		t.Errorf("acknowledged with %+v", ack)
	}
	interrupt()
	if code := <-done; code != exitDone || errs.String() != "" {
		t.Errorf("ended with %d and said %q", code, errs.String())
	}
	line := "follow " + idText + " 7 203.0.113.2:4500 esp:0x00001001=0x00002002 ah:0x00001003=0x00002004, esp:0x00003003=4294967296\n"
	if followed, err := os.ReadFile(filepath.Join(folder, "followed")); err != nil || string(followed) != line+line {
		t.Errorf("the program was run with %q, %v", followed, err)
	}
	told := []cxtp.SPIChange{{Protocol: 50, Old: 0x1001, New: 0x2002}, {Protocol: 51, Old: 0x1003, New: 0x2004}}
	if s := state(t, config); !reflect.DeepEqual(s, cxtp.AgentState{Number: 7, Told: told}) {
		t.Errorf("kept %+v", s)
	}
}

func TestStateOfAnotherSession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := saveState(path, cxtp.SessionID{9}, cxtp.AgentState{NextToken: 5, Number: 5}); err != nil {
		t.Fatal(err)
	}
	if s, err := loadState(path, id); err != nil || !reflect.DeepEqual(s, cxtp.AgentState{}) {
		t.Errorf("got %+v, %v", s, err)
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// CT_REQUEST_RETRY and CT_RETRY_MAX have RFC 4067's defaults and are settings.
func TestNodeRetries(t *testing.T) {
	router := netip.MustParseAddrPort("127.0.0.1:5092")
	for _, test := range []struct{ more, retry, max, err string }{
		{"", "2s", "15s", ""},
		{"retry = \"500ms\"\nretry_max = \"1m\"", "500ms", "1m0s", ""},
		{`retry = "0s"`, "", "", "retry is 0s: it must be above 0s"},
		{`retry = "20s"`, "", "", "retry_max is 15s: it must be at least retry, 20s"},
	} {
		file, err := loadNode(nodeConfig(t, router, test.more))
		switch {
		case test.err != "":
			if err == nil || !strings.HasSuffix(err.Error(), test.err) {
				t.Errorf("%s: error is %v, want %s", test.more, err, test.err)
			}
		case err != nil:
			t.Errorf("%s: %v", test.more, err)
		case file.Retry.String() != test.retry || file.RetryMax.String() != test.max:
			t.Errorf("%s: %s and %s", test.more, file.Retry, file.RetryMax)
		}
	}
}
