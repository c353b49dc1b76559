package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/agent"
	"github.com/cxtp/cxtp/internal/harden"
	"github.com/cxtp/cxtp/internal/hook"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm"
)

// updateTimeout is how long the program that follows the gateway may run.
const updateTimeout = 10 * time.Second

func nodeCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "mn",
		Usage:       "be a mobile node's agent: follow its gateway, and ask for a move",
		UsageText:   "cxtp mn --config node.toml [--icmp] [--at ADDR --naming ADDR [--leaving] [--once]]",
		Description: nodeHelp,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "config", Usage: "the node's `file`"},
			&urfave.StringFlag{Name: "at", Usage: "ask the router with this `address` for a move"},
			&urfave.StringFlag{Name: "naming", Usage: "the other router's `address`: where to, or where from"},
			&urfave.BoolFlag{Name: "leaving", Usage: "with --at: that router is the one to leave, and only sends ahead to the other, which is asked after a line of input"},
			&urfave.BoolFlag{Name: "once", Usage: "with --at: end after the answer"},
			&urfave.BoolFlag{Name: "icmp", Usage: "speak ICMP with routers on this link, RFC 4067's own way, and not UDP"},
			&urfave.BoolFlag{Name: "trace", Usage: "also tell what is sent, received and dropped"},
		},
		Before: noArguments,
		Action: runNode,
	}
}

const nodeHelp = `Runs until it is interrupted. The file, which only its owner may read:

   listen     = "0.0.0.0:5092"      # UDP, where routers send updates
   previous   = "192.0.2.10"        # what routers know this node by
   session    = "32 hexadecimal digits"
   token_algorithm = "hmac-sha256"  # the default, or RFC 4067's "hmac-sha1"
   update_key = "hexadecimal"       # authenticates updates
   token_file = "node.tokens"       # a line for each: number and key, or:
   # [[token]]
   # number = 1
   # key    = "hexadecimal"
   kernel_reqid = 7                 # of the node's policies and SAs in Linux
   on_update  = ["/usr/local/sbin/follow"]
   types      = [0x0001]            # contexts to ask for; without it, all
   retry      = "2s"                # CT_REQUEST_RETRY; it doubles
   retry_max  = "15s"               # CT_RETRY_MAX: and then given up
   [routers]                        # address in messages = UDP endpoint
   "198.51.100.1" = "198.51.100.1:5091"

With --icmp each message is an ICMP packet (RFC 4067 section 3.2), which routers take
only from their own links, and only where their configuration says so ([node] icmp).
Routers are asked at the address in [routers], without the port, or at the one that
messages name them by; listen may be left out where updates come by ICMP too. It
needs root or CAP_NET_RAW.

With --leaving a move is asked for twice, as RFC 4067 has it: first at the router to
leave, and when a line comes on the standard input, which says that the node has
arrived, at the other, whatever the first has answered. With --once, or where the
input ends, it is asked for once.

With kernel_reqid the kernel's outbound SAs of that reqid follow each new gateway,
without loss (ip xfrm policy shows the reqid). It needs CAP_NET_ADMIN.

on_update is run for each new gateway, after that, with CXTP_ACTION ("follow"), CXTP_SESSION,
CXTP_NUMBER and CXTP_GATEWAY (address:port) in its environment. CXTP_SPIS has the SAs
that the node sends on whose SPI is another one there ("esp:0x00001001=0x00002002 ...":
where there is one with the first, it gets the second), and CXTP_FLOORS the numbers
above which the gateway goes on with SAs that the node receives on
("esp:0x00003003=4294967296 ..."); mostly both are empty. Only when it ends
with status 0 is the update acknowledged, otherwise the router repeats it, so it
may be run again for the same one.

Algorithm and keys are those of the session as it was installed. With
"hmac-sha256" the keys have 32 octets or more, and are only the first: with every
gateway that it comes to the node agrees on new ones. Those, which tokens are
used, and the last update, are kept beside the file in node.toml.state; keep it as
you keep the keys, and never go back to an older copy of it.`

// node is a run of the agent.
type node struct {
	events events
	agent  *agent.Agent
	kernel *xfrm.Node // nil = the SAs are somebody else's
	icmp   bool       // in place of UDP
	in     io.Reader  // where a line says that the node has arrived
	ended  chan struct{}
}

func runNode(c *urfave.Context) error {
	if c.String("config") == "" {
		return usagef("mn needs --config FILE; cxtp mn --help shows what is in it")
	}
	ask, err := wishOf(c)
	if err != nil {
		return err
	}
	if _, err := harden.Process(); err != nil {
		return err
	}
	n, err := newNode(c)
	if err != nil {
		return err
	}
	return n.run(c.Context, ask, c.Bool("once"))
}

// wish is what to ask for; nothing when at is not valid.
type wish struct {
	at, naming netip.Addr
	role       cxtp.Role
}

func wishOf(c *urfave.Context) (m wish, err error) {
	m.role = cxtp.RoleArriving
	if c.Bool("leaving") {
		m.role = cxtp.RoleLeaving
	}
	switch {
	case c.IsSet("at") != c.IsSet("naming"):
		return m, usagef("--at and --naming belong together: the router to ask, and the other router")
	case c.Bool("once") && !c.IsSet("at"):
		return m, usagef("--once needs --at ADDR: it ends the agent after a router's answer")
	case c.Bool("leaving") && !c.IsSet("at"):
		return m, usagef("--leaving needs --at ADDR: it says that the router asked is the one to leave")
	case !c.IsSet("at"):
		return m, nil
	}
	if m.at, err = netip.ParseAddr(c.String("at")); err != nil {
		return m, usagef("--at %q is no IP address", c.String("at"))
	}
	if m.naming, err = netip.ParseAddr(c.String("naming")); err != nil {
		return m, usagef("--naming %q is no IP address", c.String("naming"))
	}
	return m, nil
}

func newNode(c *urfave.Context) (*node, error) {
	file, err := loadNode(c.String("config"))
	if err != nil {
		return nil, err
	}
	if file.Listen == "" && !c.Bool("icmp") {
		return nil, fmt.Errorf(`%s: listen is missing: for example "0.0.0.0:5092"`, c.String("config"))
	}
	kept, err := loadState(file.state, file.Session)
	if err != nil {
		return nil, err
	}
	n := &node{events: events{out: c.App.Writer, json: c.Bool("json")}, icmp: c.Bool("icmp"), in: c.App.Reader, ended: make(chan struct{})}
	if file.ReqID != 0 {
		if n.kernel, err = xfrm.NewNode(file.ReqID); err != nil {
			return nil, fmt.Errorf("kernel_reqid: %w", err)
		}
	}
	cfg := agent.Config{
		Listen:  file.Listen,
		ICMP:    n.icmp,
		Routers: file.Routers,
		Types:   file.Types,
		Agent: cxtp.AgentConfig{
			Previous: file.Previous, Session: file.Session, Node: file.node,
			State: kept,
			Retry: file.Retry.Duration, RetryMax: file.RetryMax.Duration,
		},
		Follow: func(f cxtp.AgentFollow) error { return n.follow(c.Context, file, f) },
		Save:   func(s cxtp.AgentState) error { return saveState(file.state, file.Session, s) },
	}
	if c.Bool("trace") {
		cfg.Trace = func(dir, what string, peer netip.AddrPort) {
			n.events.write(event{Event: dir, What: what, Address: peer})
		}
	}
	n.agent, err = agent.New(cfg)
	return n, err
}

// run works until ctx ends, or with once until the request is answered. The end
// of ctx is how an agent ends that has nothing more to ask.
func (n *node) run(ctx context.Context, m wish, once bool) error {
	done := make(chan error, 1)
	go func() {
		defer close(n.ended)
		done <- n.agent.Run(ctx)
	}()
	listening := event{Event: "listening", Address: n.agent.LocalAddr()}
	if n.icmp {
		listening.What = "ICMP"
	}
	n.events.write(listening)
	if m.at.IsValid() {
		err := n.ask(ctx, m, once)
		if err != nil || once {
			n.agent.Close()
			return errors.Join(err, <-done)
		}
	}
	return <-done
}

// ask makes a request, and of a predictive one both halves: the other router is asked
// with the same sequence number in any case (RFC 4067 section 2.5.1).
func (n *node) ask(ctx context.Context, m wish, once bool) error {
	sequence, err := n.request(ctx, m, 0)
	if m.role != cxtp.RoleLeaving || once || sequence == 0 || !n.arrives(ctx) {
		return err
	}
	_, err = n.request(ctx, wish{at: m.naming, naming: m.at, role: cxtp.RoleArriving}, sequence)
	return err
}

// arrives waits for the line that says that the node is where the other router is. It
// returns false when nobody will say so any more.
func (n *node) arrives(ctx context.Context) bool {
	n.events.write(event{Event: "waiting", What: "for a line of input, which says that the node has arrived"})
	line := make(chan bool, 1)
	go func() { line <- bufio.NewScanner(n.in).Scan() }()
	select {
	case came := <-line:
		return came
	case <-ctx.Done():
	case <-n.ended:
	}
	return false
}

// request asks a router, and tells what it answers: that there is no move is an error.
// The sequence number is 0 when the router was not asked.
func (n *node) request(ctx context.Context, m wish, sequence uint32) (uint32, error) {
	answered, err := n.agent.Request(ctx, m.at, m.naming, m.role, sequence)
	if ctx.Err() != nil {
		return 0, errors.New("interrupted before the router answered; the move may go on")
	}
	if err != nil {
		return 0, err
	}
	e := event{Event: "answered", Router: m.at, Sequence: answered.Sequence, TimedOut: answered.TimedOut, Moved: answered.Moved()}
	for _, f := range answered.Failed {
		e.Failed = append(e.Failed, failure{f.FPT.String(), f.Status.String()})
	}
	n.events.write(e)
	switch {
	case answered.TimedOut && n.icmp:
		err = fmt.Errorf("router %s did not answer: is it on this node's link, and has its configuration [node] icmp = true?", m.at)
	case answered.TimedOut:
		err = fmt.Errorf("router %s did not answer: is it running, and is its endpoint in [routers] right?", m.at)
	case !answered.Moved():
		err = fmt.Errorf("router %s refused: %s (%s)", m.at, answered.Failed[0].Status, answered.Failed[0].FPT)
	}
	return answered.Sequence, err
}

// follow points the node's SAs at another gateway: the kernel's, and by the
// node's own program any others.
func (n *node) follow(ctx context.Context, file *nodeFile, f cxtp.AgentFollow) error {
	var err error
	if n.kernel != nil {
		_, err = n.kernel.Follow(ctx, f)
	}
	if err == nil {
		err = n.runHook(ctx, file, f)
	}
	e := event{Event: "following", Address: f.Gateway, Number: f.Number}
	if err != nil {
		e.Event, e.What = "not following", err.Error()
	}
	n.events.write(e)
	return err
}

func (n *node) runHook(ctx context.Context, file *nodeFile, f cxtp.AgentFollow) error {
	err := hook.Run(ctx, file.OnUpdate, updateTimeout, map[string]string{
		"CXTP_ACTION":  "follow",
		"CXTP_SESSION": file.Session.String(),
		"CXTP_NUMBER":  strconv.FormatUint(f.Number, 10),
		"CXTP_GATEWAY": f.Gateway.String(),
		"CXTP_SPIS":    changesText(f.SPIs),
		"CXTP_FLOORS":  floorsText(f.Floors),
	})
	if err != nil {
		return hookError(err)
	}
	return nil
}

// changesText is the form that on_update gets: "esp:0x00001001=0x00002002 ...".
func changesText(list []cxtp.SPIChange) string {
	var words []string
	for _, c := range list {
		words = append(words, fmt.Sprintf("%s:0x%08x=0x%08x", protocolText(c.Protocol), c.Old, c.New))
	}
	return strings.Join(words, " ")
}

// floorsText is the same for floors: "esp:0x00003003=4294967296 ...".
func floorsText(list []cxtp.SequenceFloor) string {
	var words []string
	for _, f := range list {
		words = append(words, fmt.Sprintf("%s:0x%08x=%d", protocolText(f.Protocol), f.SPI, f.Number))
	}
	return strings.Join(words, " ")
}

// endpointText is an endpoint as people read it: one that is reached by ICMP has
// no port, and none is nothing.
func endpointText(e netip.AddrPort) string {
	switch {
	case !e.IsValid():
		return ""
	case e.Port() == 0:
		return e.Addr().String()
	}
	return e.String()
}

func protocolText(protocol uint8) string {
	return strings.ToLower(ipsecctx.Protocol(protocol).String())
}

// hookError tells of on_update, where package hook tells of steering.
func hookError(err error) error {
	var e *hook.Error
	switch {
	case !errors.As(err, &e):
		return err
	case errors.Is(e.Err, context.DeadlineExceeded):
		return fmt.Errorf("on_update %s took longer than %s and was killed", e.Program, updateTimeout)
	case e.ExitCode >= 0:
		return fmt.Errorf("on_update %s ended with status %d and said %q", e.Program, e.ExitCode, e.Output)
	}
	return fmt.Errorf("on_update %s did not run: %w", e.Program, e.Err)
}

// event is what the agent tells, a JSON document a line.
type event struct {
	Time     time.Time      `json:"time"`
	Event    string         `json:"event"` // "listening", "answered", "waiting", "following", "not following", "send", "receive", "drop"
	Address  netip.AddrPort `json:"address,omitzero"`
	Router   netip.Addr     `json:"router,omitzero"`
	Number   uint64         `json:"number,omitempty"`
	Sequence uint32         `json:"sequence,omitempty"`
	Failed   []failure      `json:"failed,omitempty"`
	Moved    bool           `json:"moved,omitempty"`
	TimedOut bool           `json:"timed_out,omitempty"`
	What     string         `json:"what,omitempty"`
}

type failure struct {
	Context string `json:"context"`
	Status  string `json:"status"`
}

// events writes events from several goroutines.
type events struct {
	mu   sync.Mutex
	out  io.Writer
	json bool
}

func (s *events) write(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Time = time.Now()
	if s.json {
		json.NewEncoder(s.out).Encode(e)
		return
	}
	text := e.Time.Local().Format("15:04:05.000") + " " + e.Event
	switch e.Event {
	case "answered":
		text = fmt.Sprintf("%s by router %s, sequence number %d: ", text, e.Router, e.Sequence)
		switch {
		case e.TimedOut:
			text = fmt.Sprintf("%s no answer from router %s, sequence number %d", e.Time.Local().Format("15:04:05.000"), e.Router, e.Sequence)
		case e.Moved:
			text += "success"
			if len(e.Failed) > 0 {
				text += ", but for "
			}
		}
		for i, f := range e.Failed {
			if i > 0 {
				text += "; "
			}
			text += f.Status + " (" + f.Context + ")"
		}
	case "following", "not following":
		text = fmt.Sprintf("%s gateway %s, update %d", text, e.Address, e.Number)
		if e.What != "" {
			text += ": " + e.What
		}
	default:
		for _, more := range []string{endpointText(e.Address), e.What} {
			if more != "" {
				text += " " + more
			}
		}
	}
	fmt.Fprintln(s.out, strings.TrimSpace(text))
}
