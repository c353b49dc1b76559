package soft

import (
	"sync/atomic"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// OutCounters count what became of packets from inside.
type OutCounters struct {
	Sent        uint64 // protected and handed to the outside wire
	Queued      uint64 // put into the queue, whatever became of them then
	QueueDrops  uint64 // found the queue full
	Redirected  uint64 // passed on to another gateway
	SendErrors  uint64 // refused by a wire; the sequence number is spent
	Expired     uint64 // the SA's hard lifetime or sequence numbers are used up
	PolicyDrops uint64 // no SA for them
}

// InCounters count what became of ESP packets from outside.
type InCounters struct {
	Received    uint64 // accepted and handed on
	Replayed    uint64 // seen before, or behind the window
	AuthFailed  uint64
	Malformed   uint64 // of a form that the transform or RFC 4303 does not allow
	Expired     uint64 // the SA's hard lifetime is used up
	PolicyDrops uint64 // inner packet outside the SA's selectors
	Dummies     uint64 // RFC 4303 section 2.6
	StagedDrops uint64 // for a session that is only staged
	ClosedDrops uint64 // for a session whose inbound part has ended
}

// Counters count the packets of a session, or of all.
type Counters struct {
	Out OutCounters
	In  InCounters
}

func (c *Counters) add(o *Counters) {
	c.Out.Sent += o.Out.Sent
	c.Out.Queued += o.Out.Queued
	c.Out.QueueDrops += o.Out.QueueDrops
	c.Out.Redirected += o.Out.Redirected
	c.Out.SendErrors += o.Out.SendErrors
	c.Out.Expired += o.Out.Expired
	c.Out.PolicyDrops += o.Out.PolicyDrops
	c.In.Received += o.In.Received
	c.In.Replayed += o.In.Replayed
	c.In.AuthFailed += o.In.AuthFailed
	c.In.Malformed += o.In.Malformed
	c.In.Expired += o.In.Expired
	c.In.PolicyDrops += o.In.PolicyDrops
	c.In.Dummies += o.In.Dummies
	c.In.StagedDrops += o.In.StagedDrops
	c.In.ClosedDrops += o.In.ClosedDrops
}

// Stray counts packets that belong to no session.
type Stray struct {
	PolicyDrops uint64 // from inside, discarded by the default policy
	Bypassed    uint64 // from inside, sent in clear by it
	UnknownSPI  uint64
	NonESP      uint64 // marked as IKE
	Keepalives  uint64
	Malformed   uint64 // neither an IP packet (inside) nor long enough for ESP (outside)
	HopLimit    uint64 // hop limit of the inner packet used up
	SendErrors  uint64
	ReadErrors  uint64
}

// strayCounters is Stray while it is counted: no session's lock guards it.
type strayCounters struct {
	policyDrops, bypassed, unknownSPI, nonESP, keepalives,
	malformed, hopLimit, sendErrors, readErrors atomic.Uint64
}

// SAStats is the state of one SA.
type SAStats struct {
	Direction ipsecctx.Direction
	SPI       uint32
	Sequence  uint64 // last sent, or the window's right edge
	Used      ipsecctx.Lifetime
	Soft      bool // the soft lifetime is used up: time to rekey
	Hard      bool // the hard lifetime, or the sequence numbers, are used up

	Replayed, AuthFailed uint64 // inbound
}

// SessionStats is the state of one session.
type SessionStats struct {
	Phase   Phase
	Closed  bool // inbound has ended
	Waiting int  // packets in the queue now
	SAs     []SAStats
	Counters
}

// Stats is the state of a gateway.
type Stats struct {
	Counters // of all sessions, those that are gone included
	Stray    Stray
	Sessions map[cxtp.SessionID]SessionStats
}

// Stats reads all counters. Those of one session agree with each other.
func (g *Gateway) Stats() Stats {
	g.tables.RLock()
	sessions := make([]*session, 0, len(g.spd.sessions))
	for _, s := range g.spd.sessions {
		sessions = append(sessions, s)
	}
	all := Stats{Counters: g.past, Sessions: make(map[cxtp.SessionID]SessionStats, len(sessions))}
	g.tables.RUnlock()

	for _, s := range sessions {
		st := s.stats(time.Now())
		all.Sessions[s.id] = st
		all.Counters.add(&st.Counters)
	}
	all.Stray = Stray{
		PolicyDrops: g.stray.policyDrops.Load(),
		Bypassed:    g.stray.bypassed.Load(),
		UnknownSPI:  g.stray.unknownSPI.Load(),
		NonESP:      g.stray.nonESP.Load(),
		Keepalives:  g.stray.keepalives.Load(),
		Malformed:   g.stray.malformed.Load(),
		HopLimit:    g.stray.hopLimit.Load(),
		SendErrors:  g.stray.sendErrors.Load(),
		ReadErrors:  g.stray.readErrors.Load(),
	}
	return all
}

func (s *session) stats(now time.Time) (st SessionStats) {
	s.lock()
	defer s.unlock()
	st = SessionStats{
		Phase: s.phase, Closed: s.closed, Waiting: len(s.queue),
		Counters: Counters{Out: s.sent, In: s.received},
	}
	for _, r := range s.receivers {
		sa := r.meter.stats(now)
		sa.Direction, sa.SPI, sa.Sequence = ipsecctx.Inbound, r.sa.SPI, r.window.top
		sa.Replayed, sa.AuthFailed = r.replayed, r.authFailed
		st.SAs = append(st.SAs, sa)
	}
	for _, o := range s.senders {
		sa := o.meter.stats(now)
		sa.Direction, sa.SPI, sa.Sequence = ipsecctx.Outbound, o.sa.SPI, o.last
		sa.Hard = sa.Hard || o.last == o.max
		st.SAs = append(st.SAs, sa)
	}
	return st
}

func (m *meter) stats(now time.Time) SAStats {
	return SAStats{
		Used: ipsecctx.Lifetime{Time: now.Sub(m.born), Octets: m.octets, Packets: m.packets},
		Soft: m.past(&m.soft, now, 1, 1),
		Hard: m.past(&m.hard, now, 1, 1),
	}
}
