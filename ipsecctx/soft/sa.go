package soft

import (
	"errors"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Why an inbound packet goes no further; errAuth and errMalformed are others.
var (
	errReplay  = errors.New("replayed, or behind the anti-replay window")
	errExpired = errors.New("hard lifetime used up")
	errPolicy  = errors.New("not within the SA's selectors")
	errDummy   = errors.New("dummy packet")
)

// meter keeps account of an SA's lifetimes (RFC 4301 section 4.4.2.1). Octets
// are those that the encryption algorithm is applied to.
type meter struct {
	soft, hard      ipsecctx.Lifetime
	octets, packets uint64
	born, last      time.Time // when the SA was made and last used, here or at another gateway
}

func newMeter(sa *ipsecctx.SA, now time.Time) meter {
	return meter{soft: sa.Soft, hard: sa.Hard, born: now, last: now}
}

// past reports whether a limit is passed if octets more were carried.
func (m *meter) past(limit *ipsecctx.Lifetime, now time.Time, octets, packets uint64) bool {
	return limit.Packets != 0 && m.packets+packets > limit.Packets ||
		limit.Octets != 0 && m.octets+octets > limit.Octets ||
		limit.Time != 0 && now.Sub(m.born) >= limit.Time
}

// room reports whether the hard lifetime allows one packet more.
func (m *meter) room(now time.Time, octets int) bool {
	return !m.past(&m.hard, now, uint64(octets), 1)
}

func (m *meter) count(now time.Time, octets int) {
	m.octets += uint64(octets)
	m.packets++
	m.last = now
}

func (m *meter) save(d *ipsecctx.Dynamic, now time.Time) {
	d.Used = ipsecctx.Lifetime{Time: now.Sub(m.born), Octets: m.octets, Packets: m.packets}
	d.Idle = now.Sub(m.last)
}

func (m *meter) load(d *ipsecctx.Dynamic, now time.Time) {
	m.octets, m.packets = d.Used.Octets, d.Used.Packets
	m.born, m.last = now.Add(-d.Used.Time), now.Add(-d.Idle)
}

// sender is an outbound SA. The session's out lock guards it.
type sender struct {
	sa     *ipsecctx.SA
	suite  suite
	layout layout
	meter  meter
	dscp   uint64         // set of the DSCP values carried
	remote netip.AddrPort // where the packets go
	last   uint64         // the last sequence number used
	max    uint64         // the last one that may be used: a ceiling, or the SA's own
	near   uint64         // halfway from where the ceiling was set to it; 0 = no ceiling
}

func newSender(sa *ipsecctx.SA, now time.Time) (*sender, error) {
	s, err := newSuite(sa)
	if err != nil {
		return nil, err
	}
	o := &sender{
		sa: sa, suite: s, layout: s.layout(), meter: newMeter(sa, now),
		remote: netip.AddrPortFrom(sa.Remote, sa.Encap.RemotePort),
		max:    maxSequence(sa),
	}
	for _, v := range sa.DSCP {
		o.dscp |= 1 << (v & 63)
	}
	return o, nil
}

// limit puts the SA's ceiling where it is told, or takes it away.
func (o *sender) limit(ceilings ipsecctx.Ceilings) {
	o.max, o.near = maxSequence(o.sa), 0
	if c, ok := ceilings[o.sa.ID()]; ok && c < o.max {
		o.max = c
		o.near = o.last + (c-min(c, o.last)+1)/2
	}
}

// carries reports whether the SA is one for the flow, by its selectors and,
// where several SAs share these, by the DSCP (RFC 4301 section 4.1).
func (o *sender) carries(f *flow) bool {
	return carries(o.sa, f) && (o.dscp == 0 || o.dscp&(1<<f.dscp) != 0)
}

// ready reports whether the SA may send a payload of n octets: neither its
// lifetime nor its sequence numbers are used up.
func (o *sender) ready(now time.Time, n int) bool {
	return o.last < o.max && o.meter.room(now, o.layout.protected(n))
}

// seal takes the next sequence number and makes the ESP packet of
// buf[start:end] with it. The SA must be ready.
func (o *sender) seal(now time.Time, buf []byte, start, end int, next uint8) []byte {
	o.last++
	o.meter.count(now, o.layout.protected(end-start))
	return encapsulate(o.suite, buf, start, end, o.sa.SPI, o.last, next)
}

func (o *sender) save(now time.Time) ipsecctx.Dynamic {
	d := ipsecctx.Dynamic{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: o.sa.SPI, Sequence: o.last}
	o.meter.save(&d, now)
	return d
}

func (o *sender) load(d *ipsecctx.Dynamic, now time.Time) {
	o.last = d.Sequence
	o.meter.load(d, now)
}

// receiver is an inbound SA. The session's in lock guards it.
type receiver struct {
	session *session
	sa      *ipsecctx.SA
	suite   suite
	layout  layout
	meter   meter
	window  window

	replayed, authFailed uint64
}

func newReceiver(s *session, sa *ipsecctx.SA, now time.Time) (*receiver, error) {
	su, err := newSuite(sa)
	if err != nil {
		return nil, err
	}
	return &receiver{
		session: s, sa: sa, suite: su, layout: su.layout(),
		meter: newMeter(sa, now), window: newWindow(sa.Window),
	}, nil
}

// open does RFC 4303 section 3.4 and RFC 4301 section 5.2 step 4: it returns
// the inner packet, which lies in packet, or why there is none. The window is
// marked after authentication and not before.
func (r *receiver) open(now time.Time, packet []byte, low uint32) ([]byte, error) {
	if !wellFormed(r.layout, packet) {
		return nil, errMalformed
	}
	octets := len(packet) - headerLen - r.layout.iv - r.layout.icv
	if !r.meter.room(now, octets) {
		return nil, errExpired
	}
	seq := uint64(low)
	if r.sa.ESN {
		seq = extend(r.window.top, r.window.size, low)
	}
	if !r.window.fresh(seq) {
		r.replayed++
		return nil, errReplay
	}
	if err := r.suite.open(packet, seq); err != nil {
		r.authFailed++
		return nil, err
	}
	r.window.mark(seq)
	r.meter.count(now, octets)

	body, next, err := payload(r.layout, packet)
	if err != nil {
		return nil, err
	}
	if next == protoNone {
		return nil, errDummy
	}
	inner, f, err := tunnelled(body, next)
	if err != nil {
		return nil, err
	}
	if !carries(r.sa, &f) {
		return nil, errPolicy
	}
	return inner, nil
}

func (r *receiver) save(now time.Time) ipsecctx.Dynamic {
	d := ipsecctx.Dynamic{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: r.sa.SPI}
	r.window.save(&d)
	r.meter.save(&d, now)
	return d
}

// merge adds what another gateway saw of the SA.
func (r *receiver) merge(d *ipsecctx.Dynamic, now time.Time) {
	united := ipsecctx.MergeWindows(r.save(now), *d, r.sa.Window)
	r.load(&united, now)
}

func (r *receiver) load(d *ipsecctx.Dynamic, now time.Time) {
	r.window.load(d)
	r.meter.load(d, now)
}

// supports is what [Gateway.Supports] says; it depends on nothing but the SA.
func supports(sa *ipsecctx.SA) error {
	if err := sa.Validate(); err != nil {
		return err
	}
	switch {
	case sa.Protocol != ipsecctx.ESP:
		return refuse(cxtp.StatusUnsupported, "%s: a userspace gateway carries ESP only", sa.Protocol)
	case sa.Mode != ipsecctx.Tunnel:
		return refuse(cxtp.StatusUnsupported, "%s mode: a userspace gateway has tunnel mode only", sa.Mode)
	case !sa.Encap.Enabled():
		return refuse(cxtp.StatusUnsupported, "no UDP encapsulation: a userspace gateway cannot carry bare ESP")
	case sa.StatefulFragments:
		return refuse(cxtp.StatusUnsupported, "stateful fragment checking (RFC 4301 section 7.3)")
	}
	for i := range sa.Selectors {
		if len(sa.Selectors[i].Sensitivity) != 0 {
			return refuse(cxtp.StatusUnsupported, "sensitivity labels are not enforced here")
		}
	}
	return checkTransforms(sa)
}
