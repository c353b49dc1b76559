package xfrm

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// Where a session stands: the package comment has what its doors are then.
type (
	Phase      = ipsecctx.Phase
	PhaseError = ipsecctx.PhaseError
)

const (
	Staged     = ipsecctx.Staged
	Active     = ipsecctx.Active
	Frozen     = ipsecctx.Frozen
	Redirected = ipsecctx.Redirected
	gone       = ipsecctx.Gone
)

// session is one node's part of the SAD and the SPD: what the kernel does not
// know of it. Its keys are in the kernel alone.
type session struct {
	id      cxtp.SessionID
	adopted bool // its SAs are an IKE daemon's
	layout

	mu       sync.Mutex
	phase    Phase
	disowned bool                // and that is gone
	closed   bool                // inbound has ended
	frozen   []ipsecctx.Dynamic  // what Freeze answered
	last     []ipsecctx.Dynamic  // what Close answered
	parked   map[int]*uapi.State // frozen SAs that the kernel did not take back, by place in sas

	// Of an adopted session whose SAs the IKE daemon has yet to bring: what they
	// have to be like, with keys, in the order of sas.
	expected []*uapi.State
	stirred  chan struct{} // the kernel has told something of an adopted session
}

// layout is where a session's SAs and policies are in the kernel. It changes when
// the IKE daemon of an adopted session has rekeyed.
type layout struct {
	static   *ipsecctx.Session // without keys
	sas      []saAt            // in the order of static.SAs
	policies []uapi.Policy     // with the group's own reqid, inbound first
	at       Placement
	claims   cxtp.Claims
}

// saAt is what is known here of one SA beside static.SAs.
type saAt struct {
	id         uapi.StateID
	group      uint32       // the reqid that the doors of its policies count from
	reqid      uint32       // its own; 0 = an adopted one that is not here yet
	generation int          // in its group; 0 = the newest
	ceiling    *ceiling     // nil = none but its own
	heard      time.Time    // when it carried a packet last, before it was here; zero = not known
	form       *uapi.Replay // of an adopted one, what the IKE daemon gave it for its sequence state; the numbers mean nothing
}

// ceiling is the last sequence number that an outbound SA may use.
type ceiling struct {
	last uint64
	half uint64 // half way there; of an adopted SA
	told bool   // that half is past
}

// reqIDs are the numbers of a session, each list with one for each SA.
type reqIDs struct {
	groups []uint32 // nil = new ones are to be taken
	own    []uint32 // of adopted SAs, as in saAt; nil = the SAs are this gateway's
}

// newSession lays out a session whose static part it copies, without the keys.
func (g *Gateway) newSession(id cxtp.SessionID, static *ipsecctx.Session, reqids reqIDs, at Placement) (*session, error) {
	s := &session{id: id, adopted: reqids.own != nil, parked: map[int]*uapi.State{}, stirred: make(chan struct{}, 1)}
	s.static, s.at = keyless(static), at
	s.claims = s.static.Claims()
	s.sas = make([]saAt, len(s.static.SAs))
	groups, err := groupsOf(s.static)
	if err != nil {
		return nil, err
	}
	var taken []uint32
	for _, group := range groups {
		number := uint32(0)
		if reqids.groups == nil {
			if number, err = g.groupID(); err != nil {
				break
			}
			taken = append(taken, number)
		}
		for i := range s.static.SAs {
			age := slices.Index(group.pairs, s.static.SAs[i].Pair)
			if age < 0 {
				continue
			}
			if reqids.groups != nil {
				number = reqids.groups[i]
			}
			s.sas[i].group, s.sas[i].reqid, s.sas[i].generation = number, number, age
			if s.adopted {
				s.sas[i].reqid = reqids.own[i]
			}
		}
		policies, failed := policiesOf(s.static, group, number, g.cfg.Priority, at)
		if err = failed; err != nil {
			break
		}
		s.policies = append(s.policies, policies...)
	}
	if err != nil {
		g.freeGroupIDs(taken)
		return nil, err
	}
	slices.SortStableFunc(s.policies, func(a, b uapi.Policy) int { return rank(a.Dir) - rank(b.Dir) })
	for i := range s.policies {
		if s.adopted {
			s.policies[i].Selector.User = overlayUser
		}
	}
	for i := range s.static.SAs {
		s.sas[i].id = stateID(&s.static.SAs[i], at)
		s.static.SAs[i].Encryption.IV = ivMode(s.static.SAs[i].Encryption.ID)
	}
	return s, nil
}

// stateID is the kernel's name for an SA.
func stateID(sa *ipsecctx.SA, at Placement) uapi.StateID {
	id := uapi.StateID{Dst: sa.Remote, SPI: sa.SPI, Proto: uapi.Proto(sa.Protocol), Mark: at.Mark}
	if sa.Direction == ipsecctx.Inbound {
		id.Dst = sa.Local
	}
	return id
}

// keyless is a copy without keys.
func keyless(s *ipsecctx.Session) *ipsecctx.Session {
	c := *s
	c.SAs = slices.Clone(s.SAs)
	for i := range c.SAs {
		sa := &c.SAs[i]
		sa.Encryption.Key, sa.Encryption.Salt, sa.Integrity.Key = secret.Key{}, secret.Key{}, secret.Key{}
	}
	return c.Clone()
}

// of lists the places of the SAs of a direction.
func (s *session) of(d ipsecctx.Direction) []int {
	var places []int
	for i := range s.static.SAs {
		if s.static.SAs[i].Direction == d {
			places = append(places, i)
		}
	}
	return places
}

func (s *session) all() []int { return append(s.of(ipsecctx.Inbound), s.of(ipsecctx.Outbound)...) }

// reqids lists the numbers of each SA.
func (s *session) reqids() reqIDs {
	var all reqIDs
	for i := range s.sas {
		all.groups = append(all.groups, s.sas[i].group)
		if s.adopted {
			all.own = append(all.own, s.sas[i].reqid)
		}
	}
	return all
}

// turn are the requests that put the doors of policies of some directions as
// given.
func (s *session) turn(d door, dirs ...uapi.Dir) []uapi.Request {
	var requests []uapi.Request
	for _, p := range s.policies {
		if slices.Contains(dirs, p.Dir) {
			p = s.stand(p, d)
			requests = append(requests, uapi.Request{Op: uapi.OpUpdatePolicy, Policy: &p, PolicyID: p.ID()})
		}
	}
	return requests
}

// stand is a policy of the session with its door as given. That of an adopted one
// steps aside to be open: see overlays.
func (s *session) stand(p uapi.Policy, d door) uapi.Policy {
	if s.adopted && d == open {
		return aside(p)
	}
	return behind(p, d)
}

// wipe empties the keys that are held here.
func (s *session) wipe() {
	for i := range s.parked {
		s.unpark(i)
	}
	wipeStates(s.expected)
	s.expected = nil
}

// misplaced is the error of an operation that the phase does not allow.
func (s *session) misplaced(operation string) error {
	return &PhaseError{Session: s.id, Operation: operation, Phase: s.phase, Closed: s.closed}
}

// check refuses dynamic state that is not that of the session's SAs.
func (s *session) check(dynamic []ipsecctx.Dynamic, complete bool) error {
	return s.static.CheckDynamic(dynamic, complete)
}

// find returns the state of the SA, or that of one that has carried nothing yet.
func find(dynamic []ipsecctx.Dynamic, sa *ipsecctx.SA) ipsecctx.Dynamic {
	for i := range dynamic {
		if dynamic[i].ID() == sa.ID() {
			return dynamic[i]
		}
	}
	d := ipsecctx.Dynamic{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI}
	if sa.Direction == ipsecctx.Inbound {
		d.Window = make([]uint64, words(sa))
	}
	return d
}

func (s *session) String() string { return fmt.Sprintf("session %v", s.id) }
