package cxtp

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Config is what a router's machine has to know before the first input. It does
// not change while the machine runs.
type Config struct {
	Self        RouterID
	Addrs       []netip.Addr // the addresses that CXTP messages know this router by
	Incarnation Incarnation  // of the journal; never 0
	// Gateway is where nodes send their ESP: the outer address and UDP
	// encapsulation port that an Update announces. One a family; a zero entry
	// is a family that this gateway does not serve.
	Gateway4, Gateway6 netip.AddrPort
	Peers              []Peer
	Timers             Timers
	Mode               MoveMode
	// Headroom is how many sequence numbers above its present one a ceiling
	// allows an outbound SA.
	Headroom uint64
	// ReassignSPIs lets a session whose inbound SPI is taken here get another one,
	// where its node has an agent that can be told. Otherwise, and for all other
	// nodes, the session is refused.
	ReassignSPIs bool
	// Standby is the peer at which a staged copy of every session owned here is
	// kept fresh; "" = none. StandbyRate bounds the renewals of all sessions
	// together, a second; 0 means no bound.
	Standby     RouterID
	StandbyRate int
	// Attempts is how often an operator's order is tried when the target answers
	// nothing at all, with a fresh epoch each time; 0 means [DefaultAttempts].
	Attempts int
	// RequestRate is CT_REQUEST_RATE: above so many CTARs a second from one source
	// they are dropped at random; 0 means [DefaultRequestRate]. RequestTotal is
	// the same for all sources together; 0 means [DefaultRequestTotal].
	RequestRate, RequestTotal int
	// WrongTokens is how many wrong tokens of 32 bits in a row are checked for one
	// session; above that, one a second. 0 means [DefaultWrongTokens].
	WrongTokens int
	// Rand is where random numbers come from: crypto/rand.Reader. nil makes the
	// choices of this machine predictable, for simulations, and no node can then
	// agree on fresh keys.
	Rand io.Reader
	// Copyable are the context types that may go to and come from routers without
	// our control block, because two routers that hold such a context do no harm.
	Copyable []FPT
	// Inspect reads what staged contexts would make this router responsible
	// for. It must be a pure function. An error that has a method
	// Refusal() Status says with which status; any other means malformed.
	Inspect func(blocks []CDB) (Claims, error)
}

// Peer is another router, and this router's policy for it (law 5).
type Peer struct {
	ID    RouterID
	Addrs []netip.Addr // the addresses that CXTP messages know it by

	// Push lets the peer stage sessions here that nobody here asked for.
	Push bool
	// ActivateWithoutToken lets a session staged by this peer become active
	// here without a token from its node.
	ActivateWithoutToken bool
	// Identities and Inner bound what the peer may stage here: node identities
	// and inner prefixes. Empty means any.
	Identities []string
	Inner      []netip.Prefix
	// MaxSessions bounds how many sessions that came from this peer may be here
	// at once; 0 means [DefaultMaxSessions].
	MaxSessions int

	// Pull is what a request with a null token from this peer gets.
	Pull PullPolicy

	// Plain is a peer that speaks RFC 4067 and nothing of ours: it gets contexts
	// without a control block, those of [Config.Copyable] and no others.
	Plain bool
}

// PullPolicy is what a CT-Req with a null token gets. With a valid token in it
// the token decides, whatever the policy.
type PullPolicy uint8

const (
	PullOff   PullPolicy = iota // refused: the default
	PullStage                   // staged, then only a token or our own operator's trigger moves it
	PullMove                    // a standing order to hand over to this peer when it asks
)

// Claims is what a set of contexts would make a gateway responsible for.
type Claims struct {
	Identity string         // the node's identity as policies write it; "" = none given
	Inner    []netip.Prefix // inner addresses of the node
	// Gateways is what the node has for its gateway: the outer address, and the
	// UDP encapsulation port or 0. Nothing is refused for it.
	Gateways []netip.AddrPort
}

// Timers are the machine's times. DefaultTimers has what RFC 4067 section 4 and
// design experience give.
type Timers struct {
	MaxTransfer    time.Duration // CT_MAX_TRANSFER_TIME: a stage is confirmed within it or given up
	RequestWait    time.Duration // how long a nAR waits for the answer to its CT-Req
	StageHold      time.Duration // how long contexts may stay staged
	Repeat         time.Duration // first wait before a stage, a closed or a question is repeated, half of it for a final; doubles
	RepeatMax      time.Duration // the doubling stops here
	FreezeDeadline time.Duration // a session frozen for longer is ended
	SteerDeadline  time.Duration // how long the source waits for "steered" before it closes all the same
	Grace          time.Duration // inbound stays live at the source for this long after "steered" (lossless)
	UpdateRepeat   time.Duration // first wait before a gateway update is repeated; doubles
	UpdateGiveUp   time.Duration // a node that has not acknowledged by then is reported
	CloseWait      time.Duration // a target does without the source's last windows after it (lossless)
	CloseGiveUp    time.Duration // "closed" is no longer repeated, only answered
	StandbyEvery   time.Duration // between two renewals of a standby's copy
	StandbyHold    time.Duration // a standby's copy that is not renewed is given up after it, where there is no lease
	Remember       time.Duration // how long the record of a session that has ended here is kept
	Lease          time.Duration // an owner with a standby sends for so long without an acknowledgement; 0 = for ever
}

// DefaultTimers returns the defaults.
func DefaultTimers() Timers {
	return Timers{
		MaxTransfer:    200 * time.Millisecond,
		RequestWait:    time.Second, // below CT_REQUEST_RETRY, or a node's repetition would renew it
		StageHold:      time.Minute,
		Repeat:         50 * time.Millisecond,
		RepeatMax:      time.Second,
		FreezeDeadline: 30 * time.Second,
		SteerDeadline:  3 * time.Second,
		Grace:          100 * time.Millisecond,
		UpdateRepeat:   50 * time.Millisecond,
		UpdateGiveUp:   15 * time.Second,
		CloseWait:      10 * time.Second,
		CloseGiveUp:    time.Minute,
		StandbyEvery:   time.Second,
		StandbyHold:    time.Hour,
		Remember:       24 * time.Hour,
	}
}

// validate says what is wrong with a configuration.
func (c *Config) validate() error {
	switch {
	case c.Self == "":
		return fmt.Errorf("this router has no name")
	case c.Incarnation == 0:
		return fmt.Errorf("the journal's incarnation is 0: it must be random")
	case c.Inspect == nil:
		return fmt.Errorf("no function to inspect contexts")
	case c.Attempts < 0:
		return fmt.Errorf("%d attempts: at least 1 is needed", c.Attempts)
	case c.RequestRate < 0 || c.RequestTotal < 0:
		return fmt.Errorf("%d requests a second of one source and %d of all: neither may be negative", c.RequestRate, c.RequestTotal)
	case c.WrongTokens < 0:
		return fmt.Errorf("%d wrong tokens: at least 1 has to be checked", c.WrongTokens)
	case c.Mode != ModeLossless && c.Mode != ModeStrict:
		return fmt.Errorf("move mode %d is neither lossless nor strict", c.Mode)
	}
	if err := c.Timers.validate(); err != nil {
		return err
	}
	seen := map[netip.Addr]RouterID{}
	for _, a := range c.Addrs {
		seen[a] = c.Self
	}
	for _, p := range c.Peers {
		if p.ID == c.Self {
			return fmt.Errorf("peer %q is this router itself", p.ID)
		}
		for _, a := range p.Addrs {
			if other, dup := seen[a]; dup {
				return fmt.Errorf("routers %q and %q share the address %s", other, p.ID, a)
			}
			seen[a] = p.ID
		}
	}
	return nil
}

// complete puts the defaults in the place of zeros.
func (c *Config) complete() {
	c.WrongTokens = cmp.Or(c.WrongTokens, DefaultWrongTokens)
	c.Attempts = cmp.Or(c.Attempts, DefaultAttempts)
	c.RequestRate = cmp.Or(c.RequestRate, DefaultRequestRate)
	c.RequestTotal = cmp.Or(c.RequestTotal, DefaultRequestTotal)
	c.Peers = slices.Clone(c.Peers)
	for i := range c.Peers {
		c.Peers[i].MaxSessions = cmp.Or(c.Peers[i].MaxSessions, DefaultMaxSessions)
	}
}

// validate insists on times without which a machine would wait for ever or
// repeat without a pause. Grace may be 0.
func (t *Timers) validate() error {
	for name, d := range map[string]time.Duration{
		"MaxTransfer": t.MaxTransfer, "RequestWait": t.RequestWait, "StageHold": t.StageHold,
		"Repeat": t.Repeat, "RepeatMax": t.RepeatMax, "FreezeDeadline": t.FreezeDeadline,
		"SteerDeadline": t.SteerDeadline, "UpdateRepeat": t.UpdateRepeat,
		"UpdateGiveUp": t.UpdateGiveUp, "CloseWait": t.CloseWait, "CloseGiveUp": t.CloseGiveUp, "StandbyEvery": t.StandbyEvery, "StandbyHold": t.StandbyHold, "Remember": t.Remember,
	} {
		if d <= 0 {
			return fmt.Errorf("timer %s is %s: it must be above 0", name, d)
		}
	}
	if ms := t.Lease.Milliseconds(); t.Lease < 0 || t.Lease > 0 && ms == 0 || ms > math.MaxUint32 {
		return fmt.Errorf("the lease is %s: it is 0, or from 1 ms to 32 bits of milliseconds", t.Lease)
	}
	return nil
}

// announces reports whether this gateway is where a node would look for its own:
// at that outer address, and at that UDP encapsulation port if there is one.
func (c *Config) announces(gateway netip.AddrPort) bool {
	here := c.Gateway4
	if gateway.Addr().Is6() {
		here = c.Gateway6
	}
	return here.Addr() == gateway.Addr() && (gateway.Port() == 0 || here.Port() == 0 || here.Port() == gateway.Port())
}

// peer finds a peer by name.
func (c *Config) peer(id RouterID) (*Peer, bool) {
	for i := range c.Peers {
		if c.Peers[i].ID == id {
			return &c.Peers[i], true
		}
	}
	return nil, false
}

// peerByAddr finds the peer that CXTP messages call by this address.
func (c *Config) peerByAddr(addr netip.Addr) (*Peer, bool) {
	for i := range c.Peers {
		for _, a := range c.Peers[i].Addrs {
			if a == addr {
				return &c.Peers[i], true
			}
		}
	}
	return nil, false
}

// allows decides whether the peer may make this router responsible for claims.
func (p *Peer) allows(claims Claims) bool {
	if len(p.Identities) > 0 && !slices.Contains(p.Identities, claims.Identity) {
		return false
	}
	if len(p.Inner) == 0 {
		return true
	}
	for _, inner := range claims.Inner {
		if !withinAny(inner, p.Inner) {
			return false
		}
	}
	return true
}

// withinAny reports whether inner lies wholly inside one of the prefixes.
func withinAny(inner netip.Prefix, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Bits() <= inner.Bits() && p.Contains(inner.Addr()) {
			return true
		}
	}
	return false
}
