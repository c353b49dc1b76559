package cxtp

import "time"

// steering is the traffic's way to a gateway that has just become active:
// downlink by a hook or a route, uplink by telling the node. It outlives the
// move, because neither the hook nor the node can hold up the gateways.
type steering struct {
	epoch            Epoch
	from             RouterID
	op               OpID            // the Steer under way; 0 = none
	downlink, uplink bool            // done
	failed           bool            // the last Steer failed; it is tried again
	told             bool            // the node has acknowledged all that it has to know
	floors           []SequenceFloor // of a gateway that does not know the last numbers that were used
	exchange         *exchange       // of the node's next keys, until it answers; nil = over, or none

	repeatAt time.Time
	repeat   time.Duration
	giveUpAt time.Time
}

func (t *steering) complete() bool { return t.downlink && t.uplink }

// startSteering begins both ways, or the one that there is to do.
func (s *Session) startSteering() {
	t := s.steer
	t.giveUpAt = s.now.Add(s.cfg.Timers.UpdateGiveUp)
	t.repeat = s.cfg.Timers.UpdateRepeat
	t.repeatAt = s.now.Add(t.repeat)
	t.told = t.uplink // there is nobody to tell
	if s.strands() {
		s.report(Report{Epoch: t.epoch, Event: EventSteering, Detail: "the node was not told of its gateway's new address: its update key is not known here"})
	}
	if !t.downlink {
		s.steerDownlink()
	}
	s.sendUpdate()
}

// tellFloors is for an owner that goes on above its ceilings where it always was:
// there is nothing to steer, but a node with extended sequence numbers would
// count their upper half wrong. It may have been told by the fenced router that
// this epoch has moved it there, and of SPIs there: so the Update has a number of
// its own, and says of every SPI that it is as before.
func (s *Session) tellFloors(m *outgoing) {
	if !s.node.canBeTold() {
		return
	}
	s.endSteering()
	s.epoch++
	s.node.SPIs = append(s.node.SPIs, asBefore(m.highest())...)
	s.node.SPIs = s.node.SPIs[max(0, len(s.node.SPIs)-MaxUpdateEntries):]
	s.steer = &steering{epoch: s.epoch, from: m.to, downlink: true, floors: floorsOf(m.highest())}
	s.startSteering()
}

// endSteering is for a router that has the session no more.
func (s *Session) endSteering() {
	if s.steer != nil {
		s.steer.exchange.wipe()
	}
	s.steer = nil
}

func (s *Session) steerDownlink() {
	t := s.steer
	t.op, t.failed = s.op(), false
	s.act(Steer{Op: t.op, Session: s.id, Epoch: t.epoch, Previous: s.addr, Inner: s.claims.Inner, From: t.from})
}

// sendUpdate tells the node's agent this gateway's address, numbered by the
// epoch of the move, the SPIs that are not those that it sends on, and the floors
// where this gateway goes on above some. Where the two agree on fresh keys, it has our share. Once they
// have, it is authenticated with the new key and has no share: that tells the
// node to forget the keys which gateways before this one knew.
func (s *Session) sendUpdate() {
	t := s.steer
	if t.told {
		return
	}
	u := &Update{Previous: s.addr, Session: s.id, Number: uint64(t.epoch), Gateway: s.cfg.Gateway4, SPIs: s.node.SPIs, Floors: t.floors}
	if s.node.Agent.Addr().Is6() {
		u.Gateway = s.cfg.Gateway6
	}
	err := s.startExchange()
	if t.exchange != nil {
		u.Share = t.exchange.share
	}
	if err == nil {
		err = u.Sign(s.node.UpdateKey)
	}
	if err != nil {
		s.report(Report{Epoch: t.epoch, Event: EventSteering, Detail: "the node cannot be told: " + err.Error()})
		return
	}
	s.act(SendNode{To: s.node.Agent, Message: u})
}

// steered takes the result of a Steer.
func (s *Session) steered(d Done) {
	t := s.steer
	t.op = 0
	if len(d.Failed) > 0 {
		t.failed = true
		s.report(Report{Epoch: t.epoch, Event: EventSteering, Detail: "downlink was not steered: " + d.Detail})
		return
	}
	t.downlink = true
	s.steerProgress()
}

// updateAcked takes the node's answer to our Update: the node has followed, and
// its share ends the exchange. Without a share it is the answer to an Update
// that had none.
func (s *Session) updateAcked(a *UpdateAck) {
	t := s.steer
	switch {
	case t == nil || t.told || a.Number != uint64(t.epoch):
		s.drop(DropOutOfTurn)
		return
	case !a.Verify(s.node.UpdateKey):
		s.drop(DropBadMAC)
		return
	case a.Share.IsZero() != (t.exchange == nil):
		s.drop(DropOutOfTurn)
		return
	}
	switch {
	case t.exchange == nil:
		t.told = true
	case !s.mayRenewKeys():
	case s.renewKeys(a.Share):
		s.sendUpdate()
	default:
		return
	}
	if !t.uplink {
		t.uplink, s.node.SPIs = true, nil
		s.steerProgress()
	}
	s.steerRest()
}

// steerProgress tells the source once both ways are done.
func (s *Session) steerProgress() {
	s.steerRest()
	if !s.steer.complete() {
		return
	}
	if s.tgt != nil {
		s.tell(s.tgt.from, s.tgt.epoch)
	}
	s.report(Report{Epoch: s.steer.epoch, Event: EventSteered, Peer: s.steer.from})
}

// steerRest ends the repetitions when there is nothing left to repeat.
func (s *Session) steerRest() {
	if t := s.steer; t.downlink && t.told {
		t.repeatAt = time.Time{}
	}
}

// steerTick repeats what is not done, or says that it never was.
func (s *Session) steerTick() {
	t := s.steer
	if !due(t.repeatAt, s.now) {
		return
	}
	if !s.now.Before(t.giveUpAt) {
		t.repeatAt = time.Time{}
		t.exchange.wipe()
		t.exchange = nil
		s.report(Report{Epoch: t.epoch, Event: EventSteering, Detail: t.missing()})
		return
	}
	t.repeat = min(2*t.repeat, s.cfg.Timers.RepeatMax)
	t.repeatAt = s.now.Add(t.repeat)
	s.sendUpdate()
	if t.failed {
		s.steerDownlink()
	}
}

// missing says what steering has not achieved.
func (t *steering) missing() string {
	switch {
	case !t.uplink:
		return "the node did not acknowledge its gateway's new address: it may still be sending to the old gateway"
	case !t.told:
		return "the node has its gateway's new address, and did not confirm its new keys: it also takes the ones before"
	}
	return "downlink was not steered: see the hook's own messages"
}
