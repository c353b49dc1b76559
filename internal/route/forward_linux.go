package route

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Width is how much of what comes for a shared address is a session's.
type Width string

const (
	BySPI     Width = "spi"     // what has its SPIs
	ByPort    Width = "port"    // and all from the node's UDP port
	ByAddress Width = "address" // and all from the node's address
	ByLocal   Width = "local"   // all that comes for the shared address
)

// Flow is what arrives from a node on one SA. The ports are those of ESP in UDP, 0
// without.
type Flow struct {
	Local    netip.AddrPort `json:"local"` // the shared address
	Remote   netip.AddrPort `json:"remote,omitzero"`
	Protocol uint8          `json:"protocol,omitempty"` // 50 (ESP) or 51 (AH)
	SPI      uint32         `json:"spi,omitempty"`
}

// Forward is what is thrown on to another gateway.
type Forward struct {
	ID    string `json:"id"` // whose it is
	To    string `json:"to"`
	Width Width  `json:"width"`
	Flows []Flow `json:"flows"`
}

// Neighbour is a gateway that can be forwarded to, by addresses that it has on the
// link; one that answers is enough.
type Neighbour struct {
	Name  string
	Addrs []netip.Addr
}

// ForwardConfig is what [OpenForwards] needs.
type ForwardConfig struct {
	On         string // the interface towards the nodes
	File       string // for what the kernel does not keep: what belongs to whom
	Shared     []netip.Addr
	Neighbours []Neighbour
}

// Forwards throw what arrives at this gateway for sessions that are at others on
// to them, on the link to the nodes and before this machine's stack has seen it.
// Nothing of a packet changes but its hardware addresses. The kernel does it alone
// when the daemon has ended.
type Forwards struct {
	cfg     ForwardConfig
	kernel  *netlink.Handle
	link    netlink.Link
	filters *filters
	file    *ledger

	mu    sync.Mutex
	live  map[string]Forward
	users map[rule]int
	at    []net.HardwareAddr // of the neighbours; nil = not known yet
}

// OpenForwards finds again what was forwarded, or lays the ground for it.
func OpenForwards(cfg ForwardConfig) (*Forwards, error) {
	kernel, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open a routing socket: %w", err)
	}
	f := &Forwards{cfg: cfg, kernel: kernel, users: map[rule]int{}, at: make([]net.HardwareAddr, len(cfg.Neighbours))}
	if err := f.open(); err != nil {
		kernel.Close()
		return nil, err
	}
	return f, nil
}

func (f *Forwards) open() (err error) {
	if f.link, err = link(f.kernel, f.cfg.On); err != nil {
		return err
	}
	if len(f.link.Attrs().HardwareAddr) != 6 {
		return fmt.Errorf("interface %q is no Ethernet, and gateways that share an address forward frames: share none", f.cfg.On)
	}
	if f.filters, err = openFilters(f.kernel, f.link, len(f.cfg.Neighbours), f.cfg.Shared); err != nil {
		return err
	}
	if f.file, f.live, err = openLedger(f.cfg.File); err != nil {
		return err
	}
	wanted := map[rule]bool{}
	for id, fw := range f.live {
		rules, err := f.rules(fw)
		if err != nil { // of a peer or an address that there is no more
			delete(f.live, id)
			if err := f.file.add(Forward{ID: id}, f.live); err != nil {
				return err
			}
			continue
		}
		for _, r := range rules {
			wanted[r] = true
			f.users[r]++
		}
	}
	for r := range maps.Clone(f.filters.there) {
		if r.stage != stageEntry && !wanted[r] {
			err = errors.Join(err, f.filters.remove(r))
		}
	}
	for r := range wanted {
		err = errors.Join(err, f.filters.add(r))
	}
	return err
}

// Close closes the sockets. What is forwarded goes on.
func (f *Forwards) Close() error {
	f.kernel.Close()
	return f.file.close()
}

// rules are what a forward is made of.
func (f *Forwards) rules(fw Forward) ([]rule, error) {
	peer := slices.IndexFunc(f.cfg.Neighbours, func(n Neighbour) bool { return n.Name == fw.To })
	if peer < 0 {
		return nil, fmt.Errorf("failed to forward to %q: no such peer with an address outside", fw.To)
	}
	if len(fw.Flows) == 0 {
		return nil, fmt.Errorf("failed to forward to %q: nothing to forward", fw.To)
	}
	var rules []rule
	add := func(r rule) {
		if !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	for _, flow := range fw.Flows {
		local := flow.Local.Addr()
		if !slices.Contains(f.cfg.Shared, local) {
			return nil, fmt.Errorf("failed to forward what comes for %s: it is not shared", local)
		}
		if fw.Width == ByLocal {
			add(rule{peer: peer, stage: stageAddress, local: local})
			continue
		}
		add(rule{peer: peer, stage: stageSPI, local: local, protocol: flow.Protocol, spi: flow.SPI, port: flow.Local.Port()})
		switch {
		case fw.Width == ByAddress:
			add(rule{peer: peer, stage: stageSource, local: local, remote: netip.AddrPortFrom(flow.Remote.Addr(), 0)})
		case fw.Width == ByPort && flow.Remote.Port() != 0:
			add(rule{peer: peer, stage: stageSource, local: local, remote: flow.Remote})
		}
	}
	return rules, nil
}

// Forward begins to forward, in place of what was forwarded under this id. It
// returns when frames leave: the peer's hardware address is looked up.
func (f *Forwards) Forward(ctx context.Context, fw Forward) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	rules, err := f.rules(fw)
	if err != nil {
		return err
	}
	before, _ := f.rules(f.live[fw.ID])
	f.live[fw.ID] = fw
	errs := []error{f.file.add(fw, f.live)}
	for _, r := range rules {
		f.users[r]++
		errs = append(errs, f.filters.add(r))
	}
	errs = append(errs, f.drop(before))
	if f.at[rules[0].peer] == nil {
		errs = append(errs, f.find(ctx, rules[0].peer))
	}
	return errors.Join(errs...)
}

// drop deletes the filters that nobody uses any more.
func (f *Forwards) drop(rules []rule) (err error) {
	for _, r := range rules {
		if f.users[r]--; f.users[r] <= 0 {
			delete(f.users, r)
			err = errors.Join(err, f.filters.remove(r))
		}
	}
	return err
}

// Stop ends a forward. One that there is not is no error.
func (f *Forwards) Stop(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fw, there := f.live[id]
	if !there {
		return nil
	}
	rules, _ := f.rules(fw)
	err := f.drop(rules)
	delete(f.live, id)
	return errors.Join(err, f.file.add(Forward{ID: id}, f.live))
}

// Narrow has what is forwarded leave alone what comes from a node's address and port:
// a session of that node is here.
func (f *Forwards) Narrow(ctx context.Context, from netip.AddrPort) error {
	f.mu.Lock()
	var wide []Forward
	if f.anyFrom(from.Addr()) {
		for _, fw := range f.live {
			if fw.Width != ByLocal && slices.ContainsFunc(fw.Flows, func(flow Flow) bool { return flow.Remote.Addr() == from.Addr() }) {
				wide = append(wide, fw)
			}
		}
	}
	f.mu.Unlock()
	var errs []error
	for _, fw := range wide {
		width := ByPort
		if slices.ContainsFunc(fw.Flows, func(flow Flow) bool { return flow.Remote.Port() == 0 || flow.Remote == from }) {
			width = BySPI
		}
		if fw.Width == ByAddress || width == BySPI && fw.Width == ByPort {
			fw.Width = width
			errs = append(errs, f.Forward(ctx, fw))
		}
	}
	return errors.Join(errs...)
}

// anyFrom reports whether something is forwarded because of where it comes from.
func (f *Forwards) anyFrom(a netip.Addr) bool {
	for r := range f.users {
		if r.stage == stageSource && r.remote.Addr() == a {
			return true
		}
	}
	return false
}

// Get returns one of the forwards.
func (f *Forwards) Get(id string) (Forward, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fw, there := f.live[id]
	return fw, there
}

// List returns all forwards.
func (f *Forwards) List() []Forward {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.live), func(a, b Forward) int { return strings.Compare(a.ID, b.ID) })
}

// Idle lists those that nothing has used for so long.
func (f *Forwards) Idle(long time.Duration) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.live) == 0 {
		return nil, nil
	}
	idle, err := f.filters.idle()
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, fw := range f.live {
		rules, _ := f.rules(fw)
		if !slices.ContainsFunc(rules, func(r rule) bool { return idle[r] < long }) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Refresh looks the peers' hardware addresses up again: one may have moved to
// another machine, or not have answered before.
func (f *Forwards) Refresh(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for peer := range f.cfg.Neighbours {
		errs = append(errs, f.find(ctx, peer))
	}
	return errors.Join(errs...)
}

// Hardware is where a peer was found; nil = not yet.
func (f *Forwards) Hardware(name string) net.HardwareAddr {
	f.mu.Lock()
	defer f.mu.Unlock()
	for peer, n := range f.cfg.Neighbours {
		if n.Name == name {
			return f.at[peer]
		}
	}
	return nil
}

const (
	resolveTries = 50
	resolvePause = 20 * time.Millisecond
)

// find has the kernel look a peer up, and points its exit there.
func (f *Forwards) find(ctx context.Context, peer int) error {
	n := f.cfg.Neighbours[peer]
	for range resolveTries {
		for _, a := range n.Addrs {
			to, err := f.lookUp(a)
			if err != nil {
				return err
			}
			if to == nil {
				continue
			}
			if bytes.Equal(to, f.at[peer]) {
				return nil
			}
			if err := f.filters.exit(peer, to); err != nil {
				return fmt.Errorf("failed to forward to %q: %w", n.Name, err)
			}
			f.at[peer] = to
			return nil
		}
		select {
		case <-time.After(resolvePause): // the kernel has no way to tell when it is done
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("failed to forward to %q: none of %v answers on %s: set its outside to addresses that it has there", n.Name, n.Addrs, f.cfg.On)
}

// lookUp returns the hardware address of a neighbour, or has the kernel ask for it.
func (f *Forwards) lookUp(a netip.Addr) (net.HardwareAddr, error) {
	known, err := f.kernel.NeighList(f.link.Attrs().Index, family(a))
	if err != nil {
		return nil, fmt.Errorf("failed to read the neighbours on %s: %w", f.cfg.On, err)
	}
	const valid = unix.NUD_PERMANENT | unix.NUD_NOARP | unix.NUD_REACHABLE | unix.NUD_PROBE | unix.NUD_STALE | unix.NUD_DELAY
	var found net.HardwareAddr
	for _, n := range known {
		if !n.IP.Equal(a.AsSlice()) || n.State&valid == 0 || len(n.HardwareAddr) != 6 {
			continue
		}
		if found = n.HardwareAddr; n.State != unix.NUD_STALE {
			return found, nil
		}
	}
	// It has to be asked for; or again, for the next time.
	err = f.kernel.NeighSet(&netlink.Neigh{LinkIndex: f.link.Attrs().Index, Family: family(a), Flags: netlink.NTF_USE, State: unix.NUD_NONE, IP: a.AsSlice()})
	if err != nil {
		return nil, fmt.Errorf("failed to look %s up on %s: %w", a, f.cfg.On, err)
	}
	return found, nil
}
