package xfrm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/gaissmai/bart"
)

// Placement is what a session gets at this gateway that means something here
// only, and so does not travel.
type Placement struct {
	Mark       uapi.Mark `json:"mark"`        // what a packet must carry to be the session's
	OutputMark uapi.Mark `json:"output_mark"` // what its packets carry afterwards
	IfID       uint32    `json:"if_id"`       // of an xfrm interface; 0 = none
}

// Config says what a Gateway may use of its machine.
type Config struct {
	// Dir is the folder for what the kernel does not keep of a session: a file
	// without keys, that means nothing after a reboot.
	// /run/cxtp/sessions is a good place. It is made if it is missing.
	Dir string

	// Protect are the addresses that nodes have behind this gateway. From New on,
	// and after the daemon has ended, what comes from them or goes to them in the
	// clear is blocked: a session's policies are exceptions to that. A session
	// with other remote addresses is refused. Prefixes that were given once stay
	// blocked until the machine is restarted, or their policies are deleted.
	Protect []netip.Prefix

	// Inside is the interface number of the protected side; 0 = not said. What
	// goes out there for the nodes is let through: another gateway has the
	// session, and protects it.
	Inside int

	// Strict has Freeze end the inbound SAs too, in the step that reads their
	// windows (the strict mode of rfc/control-profile.md section 8.5).
	Strict bool

	// Place gives a session its marks and interface; nil gives none. It is asked
	// once, when the session is staged or installed.
	Place func(*ipsecctx.Session) Placement

	// FirstReqID and LastReqID bound the reqids of this gateway's SAs and
	// policies. Nobody else may use them: what has one and belongs to no session
	// is deleted when the daemon starts. 0 means the default, 0x40000000 to
	// 0x7fffffff.
	FirstReqID, LastReqID uint32

	// Priority is that of the sessions' policies, lower than that of others'
	// that these are exceptions to. 0 means DefaultPriority.
	Priority uint32

	// FirstSPI and LastSPI are the part of the SPIs that is this gateway's alone
	// in its fleet, for ReserveSPI. 0 means all.
	FirstSPI, LastSPI uint32

	// OthersEncapsulate says that another program, an IKE daemon, has the sockets
	// on which ESP in UDP arrives. Else the gateway opens them.
	OthersEncapsulate bool

	// Sockets keeps the sockets for ESP in UDP open while this gateway's daemon is
	// dead; nil = nobody does, and then what arrives in UDP is lost meanwhile.
	Sockets Sockets

	// Adopt says that an IKE daemon on this machine installs the SAs of the
	// sessions that are staged here, and their policies, and goes on rekeying and
	// deleting them: see Adopt and Adopted. Place then has to give what that daemon
	// is configured to give. It includes OthersEncapsulate.
	Adopt bool

	// Redirect makes the route of a session's inner addresses lead to another
	// gateway, on the protected side; nil leaves the routes to others.
	Redirect func(ctx context.Context, id cxtp.SessionID, inner []netip.Prefix, to cxtp.RouterID) error

	// NearCeiling is told of a session with an outbound SA that has used half of
	// what its ceiling allowed; nil means nobody is.
	NearCeiling func(cxtp.SessionID)

	// Vanished is told, more than once, of a session that is active and of which no
	// SA of a direction is left: they have expired, or somebody deleted them. nil
	// means nobody is.
	Vanished func(id cxtp.SessionID, why string)

	Log *slog.Logger // nil = none
}

// Sockets is somebody who holds UDP sockets, and outlives the daemon.
type Sockets interface {
	// Take returns the socket that an earlier daemon had bound to this address and
	// port, to be closed by the caller; nil = there is none.
	Take(at netip.AddrPort) *os.File
	// Keep has a socket held.
	Keep(socket syscall.Conn) error
}

// DefaultPriority of the sessions' policies is before what IKE daemons choose.
const DefaultPriority = 1000

const (
	defaultFirstReqID = 0x4000_0000
	defaultLastReqID  = 0x7fff_ffff
	firstSPI          = 256 // RFC 4303 section 2.1
)

// Gateway is the security gateway that the kernel of this machine is, in one
// network namespace. Its methods are safe for concurrent use.
type Gateway struct {
	cfg    Config
	kernel kernel
	store  *store
	log    *slog.Logger
	now    func() time.Time
	pause  func()                                  // while the next packet is waited for
	listen func(netip.AddrPort) (io.Closer, error) // a socket for ESP in UDP

	release func() error // closes what New has opened; nil = nothing

	mu       sync.Mutex // guards what follows, and no kernel call
	sessions map[cxtp.SessionID]*session
	claimed  bart.Table[*session] // inner and remote addresses
	byState  map[uapi.StateID]*session
	nextID   uint32 // reqid of the next group
	reqids   map[uint32]bool
	sockets  map[netip.AddrPort]io.Closer
	reserved map[uapi.StateID]time.Time
	probed   map[string]error // what the kernel said of transforms

	probing sync.Mutex // one SA for a probe at a time
}

var (
	_ ipsecctx.Backend  = (*Gateway)(nil)
	_ ipsecctx.Reserver = (*Gateway)(nil)
)

// newGateway makes a gateway on a kernel. boot names the life of that kernel's
// SAs.
func newGateway(ctx context.Context, k kernel, boot string, cfg Config) (*Gateway, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	files, err := openStore(cfg.Dir, boot)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, kernel: newGatherer(k), log: cfg.Log, now: time.Now, listen: noSocket,
		pause:    func() { time.Sleep(mergePause) },
		store:    files,
		sessions: map[cxtp.SessionID]*session{}, byState: map[uapi.StateID]*session{},
		nextID: cfg.FirstReqID, reqids: map[uint32]bool{}, sockets: map[netip.AddrPort]io.Closer{},
		reserved: map[uapi.StateID]time.Time{}, probed: map[string]error{},
	}
	var requests []uapi.Request
	for _, p := range cfg.Protect {
		for _, block := range blockPolicies(p) {
			requests = append(requests, uapi.Request{Op: uapi.OpUpdatePolicy, Policy: &block, PolicyID: block.ID()})
		}
		if cfg.Inside != 0 {
			pass := passPolicy(p, cfg.Inside, cfg.Priority)
			requests = append(requests, uapi.Request{Op: uapi.OpUpdatePolicy, Policy: &pass, PolicyID: pass.ID()})
		}
	}
	if _, err := g.each(ctx, requests); err != nil {
		return nil, errors.Join(explain("failed to block unprotected traffic of the nodes", err), files.close())
	}
	return g, nil
}

func noSocket(a netip.AddrPort) (io.Closer, error) {
	return nil, fmt.Errorf("no sockets for ESP in UDP at %v here", a)
}

// complete checks a configuration and puts defaults in.
func (c *Config) complete() error {
	if c.FirstReqID == 0 && c.LastReqID == 0 {
		c.FirstReqID, c.LastReqID = defaultFirstReqID, defaultLastReqID
	}
	if c.FirstSPI == 0 && c.LastSPI == 0 {
		c.FirstSPI, c.LastSPI = firstSPI, last32
	}
	if c.Priority == 0 {
		c.Priority = DefaultPriority
	}
	if c.Place == nil {
		c.Place = func(*ipsecctx.Session) Placement { return Placement{} }
	}
	if c.NearCeiling == nil {
		c.NearCeiling = func(cxtp.SessionID) {}
	}
	if c.Vanished == nil {
		c.Vanished = func(cxtp.SessionID, string) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.OthersEncapsulate = c.OthersEncapsulate || c.Adopt
	switch {
	case c.Dir == "":
		return errors.New("a kernel gateway needs a folder for what the kernel does not keep: set Dir")
	case len(c.Protect) == 0:
		return errors.New("a kernel gateway needs the nodes' addresses behind it: without Protect their traffic could leave in the clear")
	case c.FirstReqID == 0 || c.LastReqID < c.FirstReqID || c.LastReqID-c.FirstReqID < doors-1:
		return fmt.Errorf("reqids from %d to %d: want a range above 0 with room for at least %d", c.FirstReqID, c.LastReqID, doors)
	case c.FirstSPI < firstSPI || c.LastSPI < c.FirstSPI:
		return fmt.Errorf("SPIs from %d to %d: want a range from %d on", c.FirstSPI, c.LastSPI, firstSPI)
	case c.Priority >= asidePriority:
		return fmt.Errorf("priority %d: want less than %d, from which on policies block", c.Priority, uint32(asidePriority))
	}
	for _, p := range c.Protect {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("protected prefix %v: want an address whose bits behind the length are 0", p)
		}
	}
	return nil
}

// Stop closes the sockets, those for ESP in UDP among them. SAs and policies
// stay: the kernel goes on with them, and the next Gateway finds them.
func (g *Gateway) Stop() error {
	for _, s := range g.all() {
		s.mu.Lock()
		s.wipe()
		s.mu.Unlock()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := []error{g.store.close()}
	for at, s := range g.sockets {
		errs = append(errs, s.Close())
		delete(g.sockets, at)
	}
	if g.release != nil {
		errs = append(errs, g.release())
		g.release = nil
	}
	return errors.Join(errs...)
}

// encapsulate sees to it that there is a socket for ESP in UDP at every local end
// of the session.
func (g *Gateway) encapsulate(s *ipsecctx.Session) error {
	if g.cfg.OthersEncapsulate {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range s.SAs {
		sa := &s.SAs[i]
		if !sa.Encap.Enabled() {
			continue
		}
		at := netip.AddrPortFrom(sa.Local, sa.Encap.LocalPort)
		if g.sockets[at] != nil {
			continue
		}
		socket, err := g.listen(at)
		if err != nil {
			return refuse(cxtp.StatusUnsupported, "%s: %w", sa.ID(), err)
		}
		g.sockets[at] = socket
	}
	return nil
}

// admit enters a session among the others, or says which it collides with.
func (g *Gateway) admit(s *session) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[s.id] != nil {
		return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusBusy, "session %v is here already", s.id)
	}
	if err := g.collision(s); err != nil {
		return err
	}
	g.enter(s)
	return nil
}

// collision says which of the sessions one collides with that is not among them;
// the caller holds the tables.
func (g *Gateway) collision(s *session) error {
	for _, p := range s.claims.Inner {
		if !g.protects(p) {
			return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnsupported,
				"%v is not among the addresses that this gateway keeps from going out in the clear: add it to them", p)
		}
		if g.claimed.OverlapsPrefix(p) {
			return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusPolicyConflict, "inner addresses or selectors overlap those of another session: %v", p)
		}
	}
	for i := range s.sas {
		if other := g.byState[s.sas[i].id]; other != nil {
			return ipsecctx.RefuseSPI(s.static.SAs[i].ID(), "%s: its SPI belongs to session %v", s.static.SAs[i].ID(), other.id)
		}
	}
	return nil
}

// enter puts a session into the tables; the caller holds them.
func (g *Gateway) enter(s *session) {
	g.sessions[s.id] = s
	for _, p := range s.claims.Inner {
		g.claimed.Insert(p, s)
	}
	for i := range s.sas {
		g.byState[s.sas[i].id] = s
		g.reqids[s.sas[i].group] = true
	}
}

// strike takes a session out of the tables.
func (g *Gateway) strike(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[s.id] == s {
		g.leave(s)
	}
}

// leave undoes enter; the caller holds the tables.
func (g *Gateway) leave(s *session) {
	delete(g.sessions, s.id)
	for _, p := range s.claims.Inner {
		g.claimed.Delete(p)
	}
	for i := range s.sas {
		delete(g.byState, s.sas[i].id)
		delete(g.reqids, s.sas[i].group)
	}
}

func (g *Gateway) protects(p netip.Prefix) bool {
	for _, wide := range g.cfg.Protect {
		if wide.Bits() <= p.Bits() && wide.Overlaps(p) {
			return true
		}
	}
	return false
}

// groupID takes a reqid that nobody has, and those of its doors.
func (g *Gateway) groupID() (uint32, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range uint64(g.cfg.LastReqID-g.cfg.FirstReqID)/doors + 1 {
		id := g.nextID
		g.nextID += doors
		if g.nextID < id || g.nextID > g.cfg.LastReqID-(doors-1) {
			g.nextID = g.cfg.FirstReqID
		}
		if !g.reqids[id] {
			g.reqids[id] = true
			return id, nil
		}
	}
	return 0, refuseFor(cxtp.FPTIPsecSession, cxtp.StatusNoResources, "all reqids from %d to %d are taken: widen the range", g.cfg.FirstReqID, g.cfg.LastReqID)
}

func (g *Gateway) freeGroupIDs(ids []uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		delete(g.reqids, id)
	}
}

// session returns the session of that id, or nil.
func (g *Gateway) session(id cxtp.SessionID) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[id]
}

// with runs f on a session that nothing else works on meanwhile.
func (g *Gateway) with(id cxtp.SessionID, operation string, f func(*session) error) error {
	s := g.session(id)
	if s == nil {
		return unknown(id, operation)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == gone {
		return unknown(id, operation)
	}
	return f(s)
}
