package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/route"
	"github.com/cxtp/cxtp/ipsecctx"
)

// sharing is what a kernel gateway does about the outer addresses that it shares
// with others: the uplink of sessions whose nodes keep sending to the same address.
//
// A session that leaves is forwarded, at once and by whoever had it last: so where
// it has been twice removed, its packets go from the holder of the address to the
// next gateway, and from there on. A session that comes is forwarded no more. When
// the last session with an address leaves its holder, and all that is forwarded
// goes to one gateway, the address is given to that one: all that comes for it is
// forwarded, whatever it is, the target is told with the close, and only when it
// answers for the address does this gateway stop to. So somebody always does.
//
// What is forwarded is in the kernel and in a file. That of an address that was
// given, the gift, has the address as its id.
type sharing struct {
	addresses *route.Addresses
	forwards  *route.Forwards
	static    func(cxtp.SessionID) *ipsecctx.Session
	log       *slog.Logger
	wake      chan struct{}

	mu      sync.Mutex
	members map[cxtp.SessionID]*member
	gifts   map[netip.Addr]*gift
	taken   []announcement
	claims  []claim
	doubts  []netip.Addr // whose sessions may have been taken over
}

// member is a session with a shared address.
type member struct {
	flows []route.Flow
	here  bool          // at work, or frozen; not staged, and not left
	to    cxtp.RouterID // where it goes
}

// openSharing prepares the addresses; nil where none is shared.
func openSharing(cfg *config.Config, log *slog.Logger, static func(cxtp.SessionID) *ipsecctx.Session) (*sharing, error) {
	k := &cfg.Kernel
	forward := route.ForwardConfig{On: k.Outside, File: filepath.Join(cfg.StateDir, "forwards"), Shared: k.Shared}
	for _, p := range cfg.Peers {
		forward.Neighbours = append(forward.Neighbours, route.Neighbour{Name: p.Name, Addrs: p.Outside})
	}
	if len(k.Shared) == 0 {
		return nil, forwardNothing(forward)
	}
	addresses, err := route.NewAddresses(k.Outside, k.Shared)
	if err != nil {
		return nil, fmt.Errorf("[kernel] shared: %w", err)
	}
	forwards, err := route.OpenForwards(forward)
	if err != nil {
		addresses.Close()
		return nil, fmt.Errorf("[kernel] shared: %w", err)
	}
	s := &sharing{addresses: addresses, forwards: forwards, static: static, log: log, wake: make(chan struct{}, 1),
		members: map[cxtp.SessionID]*member{}, gifts: map[netip.Addr]*gift{}}
	for _, fw := range forwards.List() {
		if a, given := giftOf(fw); given {
			s.gifts[a] = &gift{}
		}
	}
	return s, nil
}

// forwardNothing ends what was forwarded when addresses were shared.
func forwardNothing(cfg route.ForwardConfig) error {
	if _, err := os.Stat(cfg.File); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	forwards, err := route.OpenForwards(cfg)
	if err == nil {
		err = errors.Join(forwards.Close(), os.Remove(cfg.File))
	}
	if err != nil {
		return fmt.Errorf("failed to end what was forwarded: %w", err)
	}
	return nil
}

func (s *sharing) close() error {
	if s == nil {
		return nil
	}
	s.addresses.Close()
	return s.forwards.Close()
}

// flowsOf are the session's, as far as they come to shared addresses.
func (s *sharing) flowsOf(static *ipsecctx.Session) []route.Flow {
	var flows []route.Flow
	for i := range static.SAs {
		sa := &static.SAs[i]
		if sa.Direction != ipsecctx.Inbound || !s.addresses.Shared(sa.Local) {
			continue
		}
		flows = append(flows, route.Flow{Local: netip.AddrPortFrom(sa.Local, sa.Encap.LocalPort),
			Remote: netip.AddrPortFrom(sa.Remote, sa.Encap.RemotePort), Protocol: uint8(sa.Protocol), SPI: sa.SPI})
	}
	return flows
}

// staged notes a session that may come.
func (s *sharing) staged(id cxtp.SessionID, static *ipsecctx.Session) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.members, id)
	if flows := s.flowsOf(static); len(flows) > 0 {
		s.members[id] = &member{flows: flows}
	}
}

// arrived ends what is forwarded of a session that is here, or here again. It
// returns where it would have gone.
func (s *sharing) arrived(ctx context.Context, id cxtp.SessionID) (to cxtp.RouterID) {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	if m == nil {
		return ""
	}
	to, m.here, m.to = m.to, true, ""
	err := s.forwards.Stop(id.String())
	for _, flow := range m.flows {
		if err == nil {
			err = s.forwards.Narrow(ctx, flow.Remote)
		}
		if g := s.gifts[flow.Local.Addr()]; g != nil && g.letGo.IsZero() {
			// Its new holder may have never heard of it: then it stays.
			s.claims = append(s.claims, claim{address: flow.Local.Addr()})
			s.rouse()
		}
	}
	if err != nil {
		s.log.Error("what comes for a session that is here may be forwarded", "session", id.String(), "error", err)
	}
	return to
}

// leaving notes where a session goes that is about to be frozen.
func (s *sharing) leaving(id cxtp.SessionID, to cxtp.RouterID) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[id]; m != nil {
		m.to = to
	}
}

// left forwards what comes for a session that is another gateway's now.
func (s *sharing) left(ctx context.Context, id cxtp.SessionID, to cxtp.RouterID) {
	if s == nil {
		return
	}
	static := s.static(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	if m == nil || static == nil {
		return
	}
	m.flows = s.flowsOf(static) // the node's port may have changed
	m.here, m.to = false, to
	fw := route.Forward{ID: id.String(), To: string(to), Width: s.width(m), Flows: m.flows}
	if err := s.forwards.Forward(ctx, fw); err != nil {
		s.log.Error("what comes for a session that has moved is not forwarded", "session", id.String(), "peer", string(to), "error", err)
	}
}

// width is how much of what the node sends can only be this session's. A node
// behind a NAT has its address in common with others.
func (s *sharing) width(m *member) route.Width {
	width := route.ByAddress
	for _, other := range s.members {
		if !other.here {
			continue
		}
		for _, theirs := range other.flows {
			for _, ours := range m.flows {
				switch {
				case theirs.Remote.Addr() != ours.Remote.Addr():
				case ours.Remote.Port() == 0 || theirs.Remote == ours.Remote:
					return route.BySPI
				default:
					width = route.ByPort
				}
			}
		}
	}
	return width
}

// gone forgets a session that is not held here any more. What is forwarded of it
// stays. One that has not left has ended, perhaps because a standby has taken it over,
// and the address with it.
func (s *sharing) gone(id cxtp.SessionID) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	delete(s.members, id)
	if m == nil || !m.here {
		return
	}
	for _, flow := range m.flows {
		if a := flow.Local.Addr(); !slices.Contains(s.doubts, a) {
			s.doubts = append(s.doubts, a)
		}
	}
	s.rouse()
}

// needed reports whether a session with an address is at work here, or frozen.
func (s *sharing) needed(a netip.Addr) bool {
	for _, m := range s.members {
		if m.here && slices.ContainsFunc(m.flows, func(f route.Flow) bool { return f.Local.Addr() == a }) {
			return true
		}
	}
	return false
}

// found takes over what the daemon before has left. An address that another
// gateway may have taken while this one was away is in doubt.
func (s *sharing) found(ctx context.Context, held []cxtp.Held) {
	if s == nil {
		return
	}
	for _, h := range held {
		static := s.static(h.Session)
		if static == nil {
			continue
		}
		s.staged(h.Session, static)
		switch h.State {
		case cxtp.HeldActive:
			s.arrived(ctx, h.Session)
		case cxtp.HeldFrozen:
			if m := s.members[h.Session]; m != nil {
				m.here = true // until it has left, again
			}
		}
	}
	s.mu.Lock()
	s.doubts = slices.DeleteFunc(slices.Clone(s.addresses.All()), s.needed) // to ask takes time
	s.mu.Unlock()
	s.concede(ctx)
}

// shared implements [ipsecctx.Sharer] with the methods below.
func (s *sharing) shared(a netip.Addr) bool { return s != nil && s.addresses.Shared(a) }

func (s *sharing) yield(ctx context.Context, id cxtp.SessionID) (given []netip.Addr) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	if m == nil || m.here || m.to == "" {
		return nil
	}
	for _, flow := range m.flows {
		a := flow.Local.Addr()
		if slices.Contains(given, a) {
			continue
		}
		ok, err := s.give(ctx, a, m.to)
		if err != nil {
			s.log.Error("a shared address stays here", "address", a, "peer", string(m.to), "error", err)
		}
		if ok {
			given = append(given, a)
		}
	}
	return given
}

// give forwards all that comes for an address, where nobody else needs it here,
// and reports whether it is the target's now.
func (s *sharing) give(ctx context.Context, a netip.Addr, to cxtp.RouterID) (bool, error) {
	if fw, given := s.forwards.Get(a.String()); given {
		return fw.To == string(to), nil
	}
	if held, err := s.addresses.Holds(a); err != nil || !held {
		return false, err
	}
	if s.needed(a) {
		return false, nil
	}
	for _, fw := range s.forwards.List() {
		if fw.To != string(to) && concerns(fw, a) {
			return false, nil
		}
	}
	s.gifts[a] = &gift{}
	s.rouse()
	return true, s.forwards.Forward(ctx, route.Forward{ID: a.String(), To: string(to), Width: route.ByLocal,
		Flows: []route.Flow{{Local: netip.AddrPortFrom(a, 0)}}})
}

func (s *sharing) take(id cxtp.SessionID, addrs []netip.Addr) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	for _, a := range addrs {
		switch {
		case !s.addresses.Shared(a):
			s.log.Warn("refused an outer address that is not shared here: add it to kernel.shared", "address", a, "session", id.String())
		case m == nil || !slices.ContainsFunc(m.flows, func(f route.Flow) bool { return f.Local.Addr() == a }):
			s.log.Warn("refused an outer address that is not the session's", "address", a, "session", id.String())
		default:
			s.takeNow(a)
		}
	}
}

// takeNow makes this gateway the holder of an address.
func (s *sharing) takeNow(a netip.Addr) {
	delete(s.gifts, a)
	err := s.forwards.Stop(a.String())
	if err == nil {
		err = s.addresses.Take(a)
	}
	if err != nil {
		s.log.Error("a shared address was not taken", "address", a, "error", err)
		return
	}
	s.log.Info("a shared address is here", "address", a)
	s.announceAgain(a)
}

func (s *sharing) inherit(id cxtp.SessionID, from cxtp.RouterID) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[id]; m != nil {
		for _, flow := range m.flows {
			if c := (claim{flow.Local.Addr(), from}); !slices.Contains(s.claims, c) {
				s.claims = append(s.claims, c)
			}
		}
		s.rouse()
	}
}

func (s *sharing) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// count counts what is forwarded.
func (s *sharing) count(counters map[string]uint64) {
	if s != nil {
		counters["forwarded"] = uint64(len(s.forwards.List()))
	}
}

// notes are sentences for the operator about addresses that are not where their
// sessions are.
func (s *sharing) notes() []string {
	if s == nil {
		return nil
	}
	all := s.forwards.List()
	var notes []string
	for _, a := range s.addresses.All() {
		held, err := s.addresses.Holds(a)
		if err != nil || !held {
			continue
		}
		away := map[string]int{}
		for _, fw := range all {
			if fw.ID != a.String() && concerns(fw, a) {
				away[fw.To]++
			}
		}
		if fw, given := s.forwards.Get(a.String()); given {
			notes = append(notes, fmt.Sprintf("%s is to be %s's, which does not answer for it yet: what comes for it is forwarded there", a, fw.To))
			continue
		}
		for _, to := range slices.Sorted(maps.Keys(away)) {
			notes = append(notes, fmt.Sprintf("%s stays here as long as sessions with it are at more than one gateway: what comes for %d at %s is forwarded there", a, away[to], to))
		}
	}
	return notes
}

// concerns reports whether something is forwarded of what comes for an address.
func concerns(fw route.Forward, a netip.Addr) bool {
	return slices.ContainsFunc(fw.Flows, func(f route.Flow) bool { return f.Local.Addr() == a })
}

// giftOf is the address that all is forwarded of.
func giftOf(fw route.Forward) (netip.Addr, bool) {
	if fw.Width != route.ByLocal {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(fw.ID)
	return a, err == nil
}

// foreign are those of the answers that are not one gateway's.
func foreign(answers []net.HardwareAddr, own net.HardwareAddr) []net.HardwareAddr {
	return slices.DeleteFunc(slices.Clone(answers), func(h net.HardwareAddr) bool { return bytes.Equal(h, own) })
}
