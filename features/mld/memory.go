package mld

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
)

// Memory is a [Backend] that keeps what its nodes listen to, and joins nothing: for a
// gateway whose nodes are on links that it has no hand in. There is no MLD, so there
// are no timers either: a session has its groups for as long as it is here.
type Memory struct {
	prefixes []netip.Prefix

	mu       sync.Mutex
	sessions map[cxtp.SessionID][]Context
}

var _ Backend = (*Memory)(nil)

// NewMemory makes one for links with these prefixes; each takes every /64 within it.
func NewMemory(prefixes []netip.Prefix) *Memory {
	return &Memory{prefixes: slices.Clone(prefixes), sessions: map[cxtp.SessionID][]Context{}}
}

// Listening implements [Backend].
func (m *Memory) Listening(_ context.Context, n Node) ([]Context, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.sessions[n.Session]), nil
}

// Supports implements [Backend].
func (m *Memory) Supports(_ context.Context, contexts []Context) error {
	for _, c := range contexts {
		if !slices.ContainsFunc(m.prefixes, c.Within) {
			return NoLink(c)
		}
	}
	return nil
}

// Within reports whether the context is about a link with this prefix.
func (c Context) Within(link netip.Prefix) bool {
	return link.Bits() <= prefixBits && link.Contains(c.Prefix.Addr())
}

// NoLink is the refusal of a context whose prefix no link here has.
func NoLink(c Context) error {
	return refuse(StatusNoLink, "no link here has the prefix %s", c.Prefix)
}

// Join implements [Backend]: it replaces what the session had.
func (m *Memory) Join(_ context.Context, n Node, contexts []Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[n.Session] = slices.Clone(contexts)
	return nil
}

// Forget implements [Backend].
func (m *Memory) Forget(id cxtp.SessionID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, id)
}

// Views implements [Backend].
func (m *Memory) Views(_ context.Context, nodes []Node) map[cxtp.SessionID][]View {
	m.mu.Lock()
	defer m.mu.Unlock()
	views := map[cxtp.SessionID][]View{}
	for _, n := range nodes {
		for _, c := range m.sessions[n.Session] {
			views[n.Session] = append(views[n.Session], View{Group: c.Group, Prefix: c.Prefix})
		}
	}
	return views
}
