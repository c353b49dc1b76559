package soft

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Where a session stands decides what becomes of the traffic that arrives for it:
//
//	             from inside        from outside
//	staged       queued             dropped
//	active       sent               accepted
//	frozen       queued             accepted until Close
//	redirected   passed on          accepted until Close
//
// To one that is gone a packet may be on its way still.
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

// session is one node's part of the SAD and the SPD. Its two directions have a
// lock each, out before in, and both before the gateway's tables.
type session struct {
	id        cxtp.SessionID
	gw        *Gateway
	static    *ipsecctx.Session
	senders   []*sender // in order of preference
	receivers []*receiver

	out      sync.Mutex
	phase    Phase
	queue    [][]byte // inner packets, each with headroom and tailroom
	redirect netip.AddrPort
	frozen   []ipsecctx.Dynamic // what Freeze answered
	sent     OutCounters

	in       sync.Mutex
	live     bool // inbound packets are accepted
	closed   bool // and were once
	received InCounters
}

// newSession builds the SAs of a session of which it keeps a copy of its own.
func newSession(gw *Gateway, id cxtp.SessionID, static *ipsecctx.Session, now time.Time) (*session, error) {
	if err := static.Validate(); err != nil {
		return nil, err
	}
	s := &session{id: id, gw: gw, static: static.Clone()}
	for i := range s.static.SAs {
		sa := &s.static.SAs[i]
		err := supports(sa)
		if err == nil {
			err = s.addSA(sa, now)
		}
		if err != nil {
			s.static.Wipe()
			return nil, err
		}
	}
	s.order()
	return s, nil
}

func (s *session) addSA(sa *ipsecctx.SA, now time.Time) error {
	if sa.Direction == ipsecctx.Outbound {
		o, err := newSender(sa, now)
		s.senders = append(s.senders, o)
		return err
	}
	r, err := newReceiver(s, sa, now)
	s.receivers = append(s.receivers, r)
	return err
}

// order puts the outbound SAs that a rekey is replacing behind all others, and
// newer pairs before older ones.
func (s *session) order() {
	replaced := make(map[uint32]bool)
	for _, o := range s.senders {
		if o.sa.Replaces != 0 {
			replaced[o.sa.Replaces] = true
		}
	}
	rank := func(o *sender) int {
		if replaced[o.sa.Pair] {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(s.senders, func(a, b *sender) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.sa.Pair, a.sa.Pair))
	})
}

// claims reports whether an outbound SA of the session is for the flow.
func (s *session) claims(f *flow) bool {
	for _, o := range s.senders {
		if carries(o.sa, f) {
			return true
		}
	}
	return false
}

// outbound does with an inner packet buf[start:end] what the phase says. It
// reports false if the session is gone, so that the packet is not its own.
func (s *session) outbound(buf []byte, start, end int, f *flow) bool {
	s.out.Lock()
	defer s.out.Unlock()
	switch s.phase {
	case Active:
		s.transmit(time.Now(), buf, start, end, f)
	case Staged, Frozen:
		s.enqueue(buf[start:end])
	case Redirected:
		s.pass(buf[start:end])
	case gone:
		return false
	}
	return true
}

// transmit protects one packet and sends it. The caller holds out, and that is
// what makes Freeze exact.
func (s *session) transmit(now time.Time, buf []byte, start, end int, f *flow) {
	used := false
	for _, o := range s.senders {
		if !o.carries(f) {
			continue
		}
		if !o.ready(now, end-start) {
			used = true
			continue
		}
		packet := o.seal(now, buf, start, end, f.tunnelHeader())
		if o.last == o.near {
			go s.gw.nearCeiling(s.id) // it may want the lock that is held here
		}
		if _, err := s.gw.outside.WriteToUDPAddrPort(packet, o.remote); err != nil {
			s.sent.SendErrors++
			return
		}
		s.sent.Sent++
		return
	}
	if used {
		s.sent.Expired++
	} else {
		s.sent.PolicyDrops++
	}
}

// enqueue keeps a copy of a packet. When the queue is full the packet is
// dropped, not one that waits already: what left the host first arrives first.
func (s *session) enqueue(packet []byte) {
	if len(s.queue) >= s.gw.queuePackets {
		s.sent.QueueDrops++
		return
	}
	buf := make([]byte, headroom+len(packet)+tailroom)
	copy(buf[headroom:], packet)
	s.queue = append(s.queue, buf)
	s.sent.Queued++
}

// drain sends what waits.
func (s *session) drain(now time.Time) {
	for _, buf := range s.queue {
		end := len(buf) - tailroom
		if f, _, err := parse(buf[headroom:end]); err == nil {
			s.transmit(now, buf, headroom, end, &f)
		}
	}
	s.queue = nil
}

// pass hands a packet to the gateway that the session was moved to, on the
// protected side.
func (s *session) pass(packet []byte) {
	if _, err := s.gw.inside.WriteToUDPAddrPort(packet, s.redirect); err != nil {
		s.sent.SendErrors++
		return
	}
	s.sent.Redirected++
}

// inbound does with an ESP packet of the SA r what the phase says, and returns
// the inner packet that may go on.
func (s *session) inbound(r *receiver, packet []byte, low uint32) []byte {
	s.in.Lock()
	defer s.in.Unlock()
	if !s.live {
		if s.closed {
			s.received.ClosedDrops++
		} else {
			s.received.StagedDrops++
		}
		return nil
	}
	inner, err := r.open(time.Now(), packet, low)
	switch err {
	case nil:
		s.received.Received++
	case errReplay:
		s.received.Replayed++
	case errAuth:
		s.received.AuthFailed++
	case errPolicy:
		s.received.PolicyDrops++
	case errExpired:
		s.received.Expired++
	case errDummy:
		s.received.Dummies++
	default:
		s.received.Malformed++
	}
	return inner
}

func (s *session) lock() {
	s.out.Lock()
	s.in.Lock()
}

func (s *session) unlock() {
	s.in.Unlock()
	s.out.Unlock()
}

// misplaced is the error of an operation that the phase does not allow.
func (s *session) misplaced(operation string) error {
	return &PhaseError{Session: s.id, Operation: operation, Phase: s.phase, Closed: s.closed}
}

// forget ends both directions and wipes the keys; the caller holds both locks.
func (s *session) forget() {
	s.phase, s.live, s.queue = gone, false, nil
	s.static.Wipe()
}

// save reads the dynamic state of every SA; the caller holds both locks.
func (s *session) save(now time.Time) []ipsecctx.Dynamic {
	d := s.saveInbound(now)
	for _, o := range s.senders {
		d = append(d, o.save(now))
	}
	return d
}

func (s *session) saveInbound(now time.Time) []ipsecctx.Dynamic {
	var d []ipsecctx.Dynamic
	for _, r := range s.receivers {
		d = append(d, r.save(now))
	}
	return d
}

// find returns the state of the SA, or nil.
func find(dynamic []ipsecctx.Dynamic, sa *ipsecctx.SA) *ipsecctx.Dynamic {
	for i := range dynamic {
		if dynamic[i].ID() == sa.ID() {
			return &dynamic[i]
		}
	}
	return nil
}

func (s *session) loadInbound(dynamic []ipsecctx.Dynamic, now time.Time) {
	for _, r := range s.receivers {
		if d := find(dynamic, r.sa); d != nil {
			r.load(d, now)
		}
	}
}

func (s *session) loadOutbound(dynamic []ipsecctx.Dynamic, now time.Time) {
	for _, o := range s.senders {
		if d := find(dynamic, o.sa); d != nil {
			o.load(d, now)
		}
	}
}

// check refuses dynamic state that is not that of the session's SAs.
func (s *session) check(dynamic []ipsecctx.Dynamic, complete bool) error {
	return s.static.CheckDynamic(dynamic, complete)
}

// refuse makes a refusal of one SA.
func refuse(status cxtp.Status, format string, args ...any) error {
	return refuseFor(cxtp.FPTIPsecSA, status, format, args...)
}

func refuseFor(fpt cxtp.FPT, status cxtp.Status, format string, args ...any) error {
	return &features.Error{FPT: fpt, Status: status, Err: fmt.Errorf(format, args...)}
}
