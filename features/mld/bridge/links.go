package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
)

// Config of [Links].
type Config struct {
	Interfaces []string // the links to nodes, at least one
	// Report has groups reported on bridges too, for other MLD routers on the link.
	Report bool
}

// Links are the links of this machine that nodes are on. Its methods may be called
// concurrently.
type Links struct {
	config Config
	kernel kernel

	mu     sync.Mutex
	joined map[cxtp.SessionID][]mld.Context
}

var _ mld.Backend = (*Links)(nil)

// kernel is what is asked of the machine.
type kernel interface {
	link(name string) (link, error)
	// port is the one that an address is behind, by its interface index; 0 = nobody
	// knows.
	port(bridge int, node netip.Addr) (int, error)
	table(bridge int) ([]entry, error)
	// add enters a group, with the whole timer to go. An entry that is there already
	// is [errThere], unless the kernel can start its timer again.
	add(bridge int, e entry) error
	remove(bridge int, e entry) error
	report(index int, groups []netip.Addr) error
}

// errThere says that an entry is there already.
var errThere = errors.New("the group has the port already")

// link is an interface as it is at the moment.
type link struct {
	name     string
	index    int
	prefixes []netip.Prefix
	snoops   bool  // a bridge with a multicast table
	floods   bool  // a bridge without
	ports    []int // of a bridge
}

// links reads the configured interfaces, and fails if one is missing.
func (l *Links) links() ([]link, error) {
	all := make([]link, len(l.config.Interfaces))
	for i, name := range l.config.Interfaces {
		var err error
		if all[i], err = l.kernel.link(name); err != nil {
			return nil, fmt.Errorf("failed to read the interface %s: %w", name, err)
		}
	}
	return all, nil
}

// of finds the link that a context is about; nil = there is none.
func of(links []link, c mld.Context) *link {
	for i := range links {
		if slices.ContainsFunc(links[i].prefixes, c.Within) {
			return &links[i]
		}
	}
	return nil
}

// Supports implements [mld.Backend].
func (l *Links) Supports(_ context.Context, contexts []mld.Context) error {
	links, err := l.links()
	if err != nil {
		return err
	}
	for _, c := range contexts {
		if of(links, c) == nil {
			return mld.NoLink(c)
		}
	}
	return nil
}

// Join implements [mld.Backend].
func (l *Links) Join(_ context.Context, n mld.Node, contexts []mld.Context) error {
	links, err := l.links()
	if err != nil {
		return err
	}
	wanted := map[*link][]netip.Addr{}
	for _, c := range contexts {
		on := of(links, c)
		if on == nil {
			return mld.NoLink(c)
		}
		if c.Group != allNodes {
			wanted[on] = append(wanted[on], c.Group)
		}
	}
	for on, groups := range wanted {
		if err := l.joinOn(on, n, groups); err != nil {
			return fmt.Errorf("failed to join on %s: %w", on.name, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined[n.Session] = slices.Clone(contexts)
	return nil
}

// allNodes is never reported, and goes to every node (RFC 3810 section 6).
var allNodes = netip.MustParseAddr("ff02::1")

// joinOn has groups forwarded on one link.
func (l *Links) joinOn(on *link, n mld.Node, groups []netip.Addr) error {
	if !on.snoops && !on.floods || l.config.Report {
		if err := l.kernel.report(on.index, groups); err != nil {
			return err
		}
	}
	if !on.snoops {
		return nil
	}
	ports := on.ports
	switch port, err := l.kernel.port(on.index, n.Previous); {
	case err != nil:
		return err
	case port != 0:
		ports = []int{port}
	}
	table, err := l.kernel.table(on.index)
	if err != nil {
		return err
	}
	var failed error
	some := false
	for _, port := range ports {
		err := l.enterAll(on.index, table, port, groups)
		failed, some = errors.Join(failed, err), some || err == nil
	}
	if some {
		return nil // the others are down: nobody is there
	}
	return failed
}

// enterAll gives groups to a port.
func (l *Links) enterAll(bridge int, table []entry, port int, groups []netip.Addr) error {
	for _, g := range groups {
		if err := l.enter(bridge, table, entry{port: port, group: g}); err != nil {
			return err
		}
	}
	return nil
}

// enter gives a group to a port, with the whole timer to go.
func (l *Links) enter(bridge int, table []entry, e entry) error {
	if slices.ContainsFunc(table, func(is entry) bool { return is.port == e.port && is.group == e.group && is.permanent }) {
		return nil
	}
	err := l.kernel.add(bridge, e)
	if errors.Is(err, errThere) {
		// This kernel cannot start the timer again. For a moment the group has no
		// listener at this port.
		if err = l.kernel.remove(bridge, e); err == nil {
			err = l.kernel.add(bridge, e)
		}
	}
	if errors.Is(err, errThere) {
		return nil // it was reported just now
	}
	return err
}

// Listening implements [mld.Backend].
func (l *Links) Listening(_ context.Context, n mld.Node) ([]mld.Context, error) {
	state, err := l.read()
	if err != nil {
		return nil, err
	}
	views, err := l.heard(state, n)
	contexts := make([]mld.Context, len(views))
	for i, v := range views {
		contexts[i] = mld.Context{Prefix: v.Prefix, Group: v.Group}
	}
	return contexts, err
}

// Forget implements [mld.Backend].
func (l *Links) Forget(id cxtp.SessionID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.joined, id)
}

// Views implements [mld.Backend].
func (l *Links) Views(_ context.Context, nodes []mld.Node) map[cxtp.SessionID][]mld.View {
	views := map[cxtp.SessionID][]mld.View{}
	state, err := l.read()
	if err != nil {
		return views // an export says why
	}
	for _, n := range nodes {
		if heard, err := l.heard(state, n); err == nil && len(heard) > 0 {
			views[n.Session] = heard
		}
	}
	return views
}

// state is what the links' tables have.
type state struct {
	link
	table []entry
}

func (l *Links) read() ([]state, error) {
	links, err := l.links()
	if err != nil {
		return nil, err
	}
	all := make([]state, len(links))
	for i, one := range links {
		all[i].link = one
		if one.snoops {
			if all[i].table, err = l.kernel.table(one.index); err != nil {
				return nil, fmt.Errorf("failed to read the multicast table of %s: %w", one.name, err)
			}
		}
	}
	return all, nil
}

// heard is what a node listens to: what its port has, or, while nobody knows that,
// what has come with it and has a listener still.
func (l *Links) heard(links []state, n mld.Node) (views []mld.View, err error) {
	l.mu.Lock()
	came := l.joined[n.Session]
	l.mu.Unlock()
	for i := range links {
		s := &links[i]
		prefix, ok := s.prefix()
		if !ok {
			continue
		}
		port := 0
		if s.snoops {
			if port, err = l.kernel.port(s.index, n.Previous); err != nil {
				return nil, fmt.Errorf("failed to find the node on %s: %w", s.name, err)
			}
		}
		if port != 0 {
			views = append(views, s.behind(port, prefix)...)
			continue
		}
		for _, c := range came {
			if !slices.ContainsFunc(s.prefixes, c.Within) {
				continue
			}
			at := slices.IndexFunc(s.table, func(e entry) bool { return e.group == c.Group })
			switch {
			case at >= 0:
				views = append(views, mld.View{Group: c.Group, Prefix: c.Prefix, Interface: s.name, Left: s.table[at].left})
			case !s.snoops:
				views = append(views, mld.View{Group: c.Group, Prefix: c.Prefix, Interface: s.name})
			}
		}
	}
	return views, nil
}

// prefix is the one to call the link by.
func (l *link) prefix() (netip.Prefix, bool) {
	if len(l.prefixes) == 0 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(l.prefixes[0].Addr(), 64).Masked(), true
}

// behind lists the groups that a port's listeners have reported.
func (s *state) behind(port int, prefix netip.Prefix) (views []mld.View) {
	for _, e := range s.table {
		if e.port == port && !e.permanent {
			views = append(views, mld.View{Group: e.group, Prefix: prefix, Interface: s.name, Left: e.left})
		}
	}
	return views
}
