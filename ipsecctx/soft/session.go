package soft

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Phase is where a session stands in a move. It decides what becomes of the
// traffic that arrives for it:
//
//	             from inside        from outside
//	staged       queued             dropped
//	active       sent               accepted
//	frozen       queued             accepted until Close
//	redirected   passed on          accepted until Close
type Phase uint8

const (
	Staged Phase = iota
	Active
	Frozen
	Redirected
	gone // forgotten, but a packet may be on its way to it still
)

func (p Phase) String() string {
	return [...]string{"staged", "active", "frozen", "redirected", "gone"}[p]
}

// PhaseError says that an operation does not fit where the session stands.
type PhaseError struct {
	Session   cxtp.SessionID
	Operation string
	Phase     Phase
	Closed    bool // inbound has ended
}

func (e *PhaseError) Error() string {
	phase := e.Phase.String()
	if e.Closed {
		phase += " and closed"
	}
	return fmt.Sprintf("session %v is %s: %s is not possible", e.Session, phase, e.Operation)
}

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
	s := &session{id: id, gw: gw, static: clone(static)}
	seen := make(map[[2]uint32]bool, len(s.static.SAs))
	for i := range s.static.SAs {
		sa := &s.static.SAs[i]
		err := supports(sa)
		if key := [2]uint32{uint32(sa.Direction), sa.SPI}; err == nil && seen[key] {
			err = refuse(cxtp.StatusMalformed, "SPI %#x occurs twice in one direction", sa.SPI)
		} else if err == nil {
			seen[key] = true
			err = s.addSA(sa, now)
		}
		if err != nil {
			wipe(s.static)
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
	wipe(s.static)
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

// check refuses dynamic state that is not that of the session's SAs. With
// complete set there has to be some for each of them.
func (s *session) check(dynamic []ipsecctx.Dynamic, complete bool) error {
	seen := make(map[[2]uint32]bool, len(dynamic))
	for i := range dynamic {
		d := &dynamic[i]
		sa := s.find(d)
		key := [2]uint32{uint32(d.Direction), d.SPI}
		switch {
		case sa == nil:
			return refuseFor(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "dynamic state of an SA that the session does not have: SPI %#x", d.SPI)
		case seen[key]:
			return refuseFor(cxtp.FPTIPsecDynamic, cxtp.StatusMalformed, "dynamic state twice for SPI %#x", d.SPI)
		case d.Sequence > maxSequence(sa):
			return refuseFor(cxtp.FPTIPsecDynamic, cxtp.StatusMalformed, "sequence number %d without ESN for SPI %#x", d.Sequence, d.SPI)
		case sa.Direction == ipsecctx.Inbound && d.Sequence > 0 && len(d.Window) < int(sa.Window+63)/64:
			return refuseFor(cxtp.FPTIPsecDynamic, cxtp.StatusMalformed, "%d words of window for SPI %#x, which has %d packets", len(d.Window), d.SPI, sa.Window)
		}
		seen[key] = true
	}
	if complete && len(dynamic) < len(s.static.SAs) {
		return refuseFor(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "dynamic state of %d SAs where the session has %d", len(dynamic), len(s.static.SAs))
	}
	return nil
}

func (s *session) find(d *ipsecctx.Dynamic) *ipsecctx.SA {
	i := slices.IndexFunc(s.static.SAs, func(sa ipsecctx.SA) bool {
		return sa.Direction == d.Direction && sa.Protocol == d.Protocol && sa.SPI == d.SPI
	})
	if i < 0 {
		return nil
	}
	return &s.static.SAs[i]
}

func (s *session) loadInbound(dynamic []ipsecctx.Dynamic, now time.Time) {
	for _, r := range s.receivers {
		for i := range dynamic {
			if d := &dynamic[i]; d.Direction == ipsecctx.Inbound && d.SPI == r.sa.SPI {
				r.load(d, now)
			}
		}
	}
}

func (s *session) loadOutbound(dynamic []ipsecctx.Dynamic, now time.Time) {
	for _, o := range s.senders {
		for i := range dynamic {
			if d := &dynamic[i]; d.Direction == ipsecctx.Outbound && d.SPI == o.sa.SPI {
				o.load(d, now)
			}
		}
	}
}

// refuse makes a refusal of one SA.
func refuse(status cxtp.Status, format string, args ...any) error {
	return refuseFor(cxtp.FPTIPsecSA, status, format, args...)
}

func refuseFor(fpt cxtp.FPT, status cxtp.Status, format string, args ...any) error {
	return &features.Error{FPT: fpt, Status: status, Err: fmt.Errorf(format, args...)}
}

// clone copies a session with its keys.
func clone(s *ipsecctx.Session) *ipsecctx.Session {
	c := *s
	c.Inner = slices.Clone(s.Inner)
	c.LocalID.Data, c.RemoteID.Data = bytes.Clone(s.LocalID.Data), bytes.Clone(s.RemoteID.Data)
	c.EAPIdentity = bytes.Clone(s.EAPIdentity)
	c.SAs = slices.Clone(s.SAs)
	for i := range c.SAs {
		sa := &c.SAs[i]
		for _, k := range keys(sa) {
			*k = secret.Clone(k.Bytes())
		}
		sa.DSCP = bytes.Clone(sa.DSCP)
		sa.Selectors = slices.Clone(sa.Selectors)
		for j := range sa.Selectors {
			sel := &sa.Selectors[j]
			sel.Local, sel.Remote = slices.Clone(sel.Local), slices.Clone(sel.Remote)
			sel.Name.Data = bytes.Clone(sel.Name.Data)
			sel.Sensitivity = bytes.Clone(sel.Sensitivity)
		}
	}
	return &c
}

func wipe(s *ipsecctx.Session) {
	for i := range s.SAs {
		for _, k := range keys(&s.SAs[i]) {
			k.Wipe()
		}
	}
}

func keys(sa *ipsecctx.SA) []*secret.Key {
	return []*secret.Key{&sa.Encryption.Key, &sa.Encryption.Salt, &sa.Encryption.ChainIV, &sa.Integrity.Key}
}
