package strongswan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/strongswan/govici/vici"
)

// Charon is the control socket (vici) of a charon: what it has loaded, and what
// its IKE SAs are doing. Nothing is asked of it but a rekey, and to
// send clients away that a drained gateway has refused. It is opened when it is
// needed, and again when charon has been restarted. Its methods are safe for
// concurrent use.
type Charon struct {
	path string

	mu      sync.Mutex
	session *vici.Session // nil = none open
	conn    net.Conn      // its connection

	looks looks
}

// DefaultSocket is where Debian's charon has its control socket.
const DefaultSocket = "/var/run/charon.vici"

// NewCharon is the charon with a control socket; "" is [DefaultSocket].
func NewCharon(path string) *Charon {
	return &Charon{path: cmp.Or(path, DefaultSocket)}
}

// Close closes the socket.
func (c *Charon) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hangUp()
}

func (c *Charon) hangUp() error {
	if c.session == nil {
		return nil
	}
	err := c.session.Close()
	c.session, c.conn = nil, nil
	return err
}

// ErrNotRunning says that nobody answers on charon's control socket.
var ErrNotRunning = errors.New("charon is not running")

func (c *Charon) open(ctx context.Context) (err error) {
	if c.session != nil {
		return nil
	}
	c.session, err = vici.NewSession(vici.WithDialContext(func(context.Context, string, string) (net.Conn, error) {
		var d net.Dialer
		if c.conn, err = d.DialContext(ctx, "unix", c.path); err != nil {
			return nil, err
		}
		return newAttentive(c.conn), nil
	}))
	return c.explain(err)
}

// explain says what to do about a socket that could not be opened.
func (c *Charon) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens on %s: start strongswan, or correct the path of its control socket: %w", ErrNotRunning, c.path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not talk to charon: run as root, or as a member of the group of %s: %w", c.path, err)
	case err != nil:
		return fmt.Errorf("failed to reach charon: %w", err)
	}
	return nil
}

// patience is how long charon may take for an answer.
const patience = 5 * time.Second

// ask has charon answer a command, which is streamed where it has an event. What
// fails closes the socket: nobody knows what would be read from it next. One that
// an earlier charon had opened is opened anew.
func (c *Charon) ask(ctx context.Context, command, event string, in *vici.Message) ([]*vici.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.session != nil
	all, err := c.once(ctx, command, event, in)
	if old && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
		return c.once(ctx, command, event, in)
	}
	return all, err
}

func (c *Charon) once(ctx context.Context, command, event string, in *vici.Message) (all []*vici.Message, err error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if event != "" {
		all, err = c.session.StreamedCommandRequest(command, event, in)
	} else {
		var m *vici.Message
		m, err = c.session.CommandRequest(command, in)
		all = []*vici.Message{m}
	}
	if err == nil {
		return all, nil
	}
	return nil, errors.Join(fmt.Errorf("charon does not answer %s: %w", command, err), c.hangUp())
}

// Release is the release of strongSwan that runs, such as "5.9.8".
func (c *Charon) Release(ctx context.Context) (string, error) {
	m, err := c.ask(ctx, "version", "", nil)
	if err != nil {
		return "", err
	}
	release, _ := m[0].Get("version").(string)
	return release, nil
}

// line is a connection on which nothing is said: it ends with charon.
func (c *Charon) line(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	return conn, c.explain(err)
}

// Since says when charon was started, in its own words.
func (c *Charon) Since(ctx context.Context) (string, error) {
	m, err := c.ask(ctx, "stats", "", nil)
	if err != nil {
		return "", err
	}
	since := ""
	if uptime := section(m[0], "uptime"); uptime != nil {
		since, _ = uptime.Get("since").(string)
	}
	return since, nil
}

// Plugins are the names of the plugins that are loaded.
func (c *Charon) Plugins(ctx context.Context) ([]string, error) {
	m, err := c.ask(ctx, "stats", "", nil)
	if err != nil {
		return nil, err
	}
	plugins, _ := m[0].Get("plugins").([]string)
	return plugins, nil
}

// Connections are the connections that are loaded, with the names of their
// children.
func (c *Charon) Connections(ctx context.Context) (map[string][]string, error) {
	messages, err := c.ask(ctx, "list-conns", "list-conn", nil)
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, m := range messages {
		for _, name := range m.Keys() {
			if children := section(section(m, name), "children"); children != nil {
				all[name] = slices.Sorted(slices.Values(children.Keys()))
			}
		}
	}
	return all, nil
}

// RekeyChild begins to rekey a CHILD SA.
func (c *Charon) RekeyChild(ctx context.Context, unique uint32) error {
	return c.rekey(ctx, "child-id", unique)
}

// RekeyIKE begins to rekey an IKE SA.
func (c *Charon) RekeyIKE(ctx context.Context, unique uint32) error {
	return c.rekey(ctx, "ike-id", unique)
}

func (c *Charon) rekey(ctx context.Context, what string, unique uint32) error {
	in := vici.NewMessage()
	if err := in.Set(what, strconv.FormatUint(uint64(unique), 10)); err != nil {
		return err
	}
	_, err := c.ask(ctx, "rekey", "", in)
	return err
}

// section is a part of a message; nil where there is none.
func section(m *vici.Message, name string) *vici.Message {
	if m == nil {
		return nil
	}
	s, _ := m.Get(name).(*vici.Message)
	return s
}

// IKESA is an IKE SA as charon's control socket shows it.
type IKESA struct {
	Connection string
	Unique     uint32 // charon's own number for it
	State      string // "ESTABLISHED", "PASSIVE" and so on
	Initiator  bool   // charon initiated it
	SPIi, SPIr uint64
	Local      netip.AddrPort
	Remote     netip.AddrPort
	Virtual    []netip.Addr // that the client has been given
	Exchanges  []string     // that have begun and have not ended, by charon's names for them: "IKE_DPD"
	Children   []ChildSA
}

// ChildSA is one of its CHILD SAs.
type ChildSA struct {
	Name    string
	State   string
	Unique  uint32 // charon's own number for it
	ReqID   uint32
	In, Out uint32 // the SPIs
}

// The states of an IKE SA that matter here.
const (
	established = "ESTABLISHED"
	passive     = "PASSIVE" // another gateway answers for it
)

// installed is the state of a CHILD SA with which nothing is under way.
const installed = "INSTALLED"

// IKESAs lists the IKE SAs; with a number that is not 0, the one that has it.
func (c *Charon) IKESAs(ctx context.Context, unique uint32) ([]IKESA, error) {
	filter := vici.NewMessage()
	if unique != 0 {
		if err := filter.Set("ike-id", strconv.FormatUint(uint64(unique), 10)); err != nil {
			return nil, err
		}
	}
	messages, err := c.ask(ctx, "list-sas", "list-sa", filter)
	if err != nil {
		return nil, err
	}
	var all []IKESA
	for _, m := range messages {
		for _, name := range m.Keys() {
			sa, err := readIKESA(name, section(m, name))
			if err != nil {
				return nil, err
			}
			all = append(all, sa)
		}
	}
	return all, nil
}

// anyAddress is how charon writes an address that is not known yet.
const anyAddress = "%any"

// readIKESA reads one event of list-sas.
func readIKESA(connection string, m *vici.Message) (IKESA, error) {
	var fields struct {
		Unique   uint32                 `vici:"uniqueid"`
		State    string                 `vici:"state"`
		First    string                 `vici:"initiator"` // "yes"
		SPIi     string                 `vici:"initiator-spi"`
		SPIr     string                 `vici:"responder-spi"`
		LocalAt  string                 `vici:"local-host"`
		LocalOn  uint16                 `vici:"local-port"`
		RemoteAt string                 `vici:"remote-host"`
		RemoteOn uint16                 `vici:"remote-port"`
		Queued   []string               `vici:"tasks-queued"`
		Active   []string               `vici:"tasks-active"`
		Passive  []string               `vici:"tasks-passive"`
		Virtual  []string               `vici:"remote-vips"`
		Children map[string]childFields `vici:"child-sas"`
	}
	fail := func(err error) (IKESA, error) {
		return IKESA{}, fmt.Errorf("charon describes an IKE SA of %q in a way that is not understood: %w", connection, err)
	}
	if m == nil {
		return fail(errors.New("it is no section"))
	}
	err := vici.UnmarshalMessage(m, &fields)
	if err != nil {
		return fail(err)
	}
	sa := IKESA{Connection: connection, Unique: fields.Unique, State: fields.State, Initiator: fields.First == "yes",
		Exchanges: slices.Concat(fields.Queued, fields.Active, fields.Passive)}
	if sa.SPIi, err = strconv.ParseUint(fields.SPIi, 16, 64); err != nil {
		return fail(err)
	}
	if sa.SPIr, err = strconv.ParseUint(fields.SPIr, 16, 64); err != nil {
		return fail(err)
	}
	for _, host := range [...]struct {
		at   string
		port uint16
		to   *netip.AddrPort
	}{{fields.LocalAt, fields.LocalOn, &sa.Local}, {fields.RemoteAt, fields.RemoteOn, &sa.Remote}} {
		if host.at == anyAddress {
			continue // one that has only begun
		}
		a, err := netip.ParseAddr(host.at)
		if err != nil {
			return fail(err)
		}
		*host.to = netip.AddrPortFrom(a, host.port)
	}
	for _, text := range fields.Virtual {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fail(err)
		}
		sa.Virtual = append(sa.Virtual, a)
	}
	for _, f := range fields.Children {
		child := ChildSA{Name: f.Name, State: f.State, Unique: f.Unique, ReqID: f.ReqID}
		for _, spi := range [...]struct {
			digits string
			to     *uint32
		}{{f.In, &child.In}, {f.Out, &child.Out}} {
			if spi.digits == "" {
				continue // one that is not installed yet has none
			}
			n, err := strconv.ParseUint(spi.digits, 16, 32)
			if err != nil {
				return fail(err)
			}
			*spi.to = uint32(n)
		}
		sa.Children = append(sa.Children, child)
	}
	return sa, nil
}

// settled reports whether nothing is under way: no exchange, and no CHILD SA that
// is being rekeyed or waits for its end, which it does for five seconds. What is
// under way when charon becomes passive is never finished.
func (sa *IKESA) settled() bool {
	return (sa.State == established || sa.State == passive) && len(sa.Exchanges) == 0 && !slices.ContainsFunc(sa.Children, func(c ChildSA) bool { return c.State != installed })
}

type childFields struct {
	Name   string `vici:"name"`
	State  string `vici:"state"`
	Unique uint32 `vici:"uniqueid"`
	ReqID  uint32 `vici:"reqid"`
	In     string `vici:"spi-in"`
	Out    string `vici:"spi-out"`
}
