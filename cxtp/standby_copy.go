package cxtp

import (
	"cmp"
	"slices"
	"time"
)

// The standby's half: see standby.go.

// renewal takes a later state of what is staged here.
func (s *Session) renewal(from RouterID, data *CTD, c Control) {
	t := s.tgt
	switch {
	case !s.holds(from, c) || s.state != stateHeld:
		s.drop(cmp.Or(t.misses(from, c.Epoch), DropOutOfTurn))
		s.tell(from, c.Epoch)
		return
	case c.Serial <= t.serial:
		s.drop(DropRepeated)
		s.extend(c)
		s.tell(from, c.Epoch)
		return
	}
	t.nextSerial, t.heard = c.Serial, s.now
	t.nextCeilings = c.Manifest
	s.do(stateRenewing, Do{Verb: VerbRenew, Epoch: t.epoch, Blocks: data.Blocks[1:], Manifest: c.Manifest})
}

// forestall refuses a copy that has not come yet: a standby needs nothing more to
// take over.
func (s *Session) forestall(from RouterID, e Epoch) {
	s.epoch, s.from, s.tgt = e, from, &incoming{epoch: e, from: from}
	s.refuse(StatusCancelled, "withdrawn before it came")
}

// holds reports whether a message is about what is staged here.
func (s *Session) holds(from RouterID, c Control) bool {
	t := s.tgt
	return t != nil && t.from == from && t.epoch == c.Epoch && t.digest == c.Digest && c.Incarnation == s.cfg.Incarnation
}

// extend lets a repeated renewal prolong the owner's lease.
func (s *Session) extend(c Control) {
	if s.tgt.serial == c.Serial {
		s.tgt.heard = s.now
		s.rest(stateHeld, s.holdFor())
	}
}

// renewedHere makes the ceilings durable, if they are others, before they are
// acknowledged.
func (s *Session) renewedHere(d Done) {
	t := s.tgt
	if len(d.Failed) > 0 {
		s.refuseWith(d.Failed, d.Detail)
		return
	}
	if slices.Equal(t.nextCeilings, t.ceilings) {
		s.heldAgain()
		return
	}
	t.ceilings = t.nextCeilings
	s.persist(stateRenewed, s.promise())
}

func (s *Session) heldAgain() {
	t := s.tgt
	t.serial = t.nextSerial
	s.rest(stateHeld, s.holdFor())
	if t.withdrawn {
		s.refuse(StatusCancelled, "withdrawn by the source")
		return
	}
	s.tell(t.from, t.epoch)
}

// holdFor is how long contexts may stay staged here from now.
func (s *Session) holdFor() time.Duration {
	t := s.tgt
	switch {
	case !t.mayTakeOver():
		return s.cfg.Timers.StageHold
	case t.lease == 0:
		return s.cfg.Timers.StandbyHold
	}
	// As long as the owner may send, and an eighth for clocks that do not run
	// alike.
	return max(t.heard.Add(t.lease+t.lease/8).Sub(s.now), 1)
}

// mayTakeOver reports whether this copy needs no grant. One that has never been
// renewed does: its owner may have given it up unheard.
func (t *incoming) mayTakeOver() bool { return t.standby && t.serial > 0 }

// takeOver makes a standby the owner. It is durable before the first packet, and
// nobody has to be asked: whoever had the session will not send any more.
func (s *Session) takeOver(ticket Ticket, why string) {
	t := s.tgt
	s.supersede(&t.ticket, ticket, t.epoch, t.from)
	t.why = why
	s.persist(stateTakingOver, Record{Kind: RecordActive, Epoch: t.epoch, Peer: t.from, Why: why})
}

// takeoverJump is more attempts than the old owner can have made elsewhere since
// this copy was staged: their epochs are not to be used again.
const takeoverJump = 1 << 16

// tookOver goes on as the owner, with no close to wait for.
func (s *Session) tookOver(d Done) {
	t := s.tgt
	if len(d.Failed) > 0 {
		s.refuseWith(d.Failed, d.Detail)
		return
	}
	s.steer = &steering{epoch: t.epoch, from: t.from, uplink: !s.node.canBeTold(), floors: floorsOf(t.ceilings)}
	s.startSteering()
	s.epoch += takeoverJump
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventActive, Peer: t.from, Detail: "taken over: " + t.why +
		". Rekey the SAs: what the old gateway accepted since the last renewal could be replayed here"})
	s.persist(stateOwnerPersist, Record{Kind: RecordClosed, Epoch: t.epoch, Peer: t.from, Why: t.why})
}
