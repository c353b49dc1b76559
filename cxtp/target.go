package cxtp

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// incoming is a move to here: the target's half.
type incoming struct {
	epoch    Epoch
	from     RouterID
	ticket   Ticket
	digest   Digest
	ceilings []ManifestEntry

	// Why it may become active (law 5). allowed: our policy for this peer, and
	// our own operator did not ask for staging alone. proved: the node, by a
	// token that verified here, or at the source at our request.
	allowed, proved bool
	force           bool // our own operator leaves the node behind: see Handover

	// key is the number of the token key that the PCTD gave; 0 = none.
	key uint32

	// A copy that its owner keeps fresh: see standby.go. heard is when the last
	// renewal came, lease how long the owner may send after it was sent.
	standby            bool
	lease              time.Duration
	heard              time.Time
	serial, nextSerial uint32
	nextCeilings       []ManifestEntry

	copies    []CDB           // of a plain transfer; their types alone
	ack       bool            // the A of the CTD that is being worked on
	missing   []ContextStatus // contexts that did not come or could not be taken, and may be missing
	failed    []ContextStatus // those among them that failed here
	withdrawn bool            // the source gave up while we were still at it
	statuses  []ContextStatus // why it was refused
	why       string
}

// misses says why a message of this router about this epoch is not about the
// move to here; 0 means that it is.
func (t *incoming) misses(from RouterID, e Epoch) Drop {
	if t == nil {
		return DropOutOfTurn
	}
	return misses(from, t.from, e, t.epoch)
}

// lacks notes contexts that could not be taken here and may be missing.
func (t *incoming) lacks(partial []ContextStatus) {
	t.failed, t.missing = unite(t.failed, partial), unite(t.missing, partial)
}

// dataReply sends the CTDR that the CTD being worked on asked for, once (RFC 4067
// section 2.5.4). It decides nothing; an Outcome has gone before it.
func (s *Session) dataReply(t *incoming, failed []ContextStatus) {
	if t.copies != nil {
		failed = typed(t.copies, failed)
	}
	if t.ack {
		s.act(Send{To: t.from, Message: &CTDR{Success: len(failed) == 0, Previous: s.addr, Statuses: failed}})
	}
	t.ack = false
}

func (t *incoming) mayActivate() bool { return t.proved || t.allowed }

// offered takes a stage.
func (s *Session) offered(o *offer) {
	if o.control.Epoch <= s.epoch {
		s.drop(cmp.Or(s.tgt.misses(o.peer.ID, o.control.Epoch), DropRepeated))
		if s.outcome(o.control.Epoch) == OutcomeUnseen || s.tgt != nil && s.tgt.from != o.peer.ID {
			// Used up by a later attempt, whoever made that: the owner has to know.
			s.act(notTaken(s.cfg, o.peer.ID, s.addr, o.control, []ContextStatus{{FPTControl, StatusStale}}))
			return
		}
		s.tell(o.peer.ID, o.control.Epoch)
		return
	}
	switch s.state {
	case stateNone:
	case stateMoved:
		s.complete("the session is on its way back")
	case stateHeld:
		s.postpone(o)
		s.refuse(StatusCancelled, "the source started another attempt")
		return
	case stateRefusing, stateDiscarding:
		s.postpone(o)
		return
	default:
		s.drop(DropBusy) // a plain one does not get here
		s.act(notTaken(s.cfg, o.peer.ID, s.addr, o.control, []ContextStatus{{FPTControl, StatusBusy}}))
		return
	}
	s.take(o)
}

// take examines a stage and hands it to the features.
func (s *Session) take(o *offer) {
	s.addr, s.epoch, s.from = o.data.Previous, o.control.Epoch, o.peer.ID
	t := &incoming{
		epoch: o.control.Epoch, from: o.peer.ID, digest: o.control.Digest, ceilings: o.control.Manifest,
		allowed: o.peer.ActivateWithoutToken, standby: o.control.Standby, lease: o.control.Lease, heard: s.now,
	}
	t.ack = o.data.Ack
	if s.plain = o.plain; s.plain {
		t.copies = typesOf(o.data.Blocks[1:])
		t.lacks(o.absent)
	}
	s.tgt = t
	if q := o.request; q != nil {
		t.ticket, s.asker = q.ticket, q.asker
		t.allowed = t.allowed && !q.stageOnly
		t.force = q.force
	}
	blocks, st, why := s.examine(o)
	if st != StatusOK {
		s.refuse(st, why)
		return
	}
	s.findKeys(o)
	if t.ticket != 0 && t.allowed && !t.force && s.strands() {
		s.refuse(StatusUntold, leftBehind)
		return
	}
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventStaging, Peer: t.from})
	s.do(stateChecking, Do{Verb: VerbStage, Epoch: t.epoch, Blocks: blocks, Manifest: t.ceilings,
		Deadline: s.now.Add(s.cfg.Timers.StageHold), Reassign: s.cfg.ReassignSPIs && s.node.canBeTold()})
}

// findKeys settles what the stage says of the node's token keys: which one the
// PCTD gave, and whether the token of our own request is proved, by the source
// or, where the stage was under way before the request arrived, here and now.
func (s *Session) findKeys(o *offer) {
	t, q := s.tgt, o.request
	if o.data.Predictive {
		for _, k := range s.node.Tokens {
			if k.Key.Equal(o.data.Key) {
				t.key = k.Number
			}
		}
	}
	switch {
	case q == nil || q.token == (Token{}):
	case o.control.TokenProved:
		t.proved = s.plain || s.ofItsKind(q.requests) // of which kind a plain transfer does not say
		s.used = usedToken{sequence: q.sequence, token: q.token, valid: true}
	default:
		s.prove(&CTAR{Sequence: q.sequence, Token: q.token, Requests: q.requests})
	}
	o.data.Key.Wipe()
}

// examine authorises a stage and returns the features' blocks of it.
func (s *Session) examine(o *offer) ([]CDB, Status, string) {
	c := o.control
	blocks := o.data.Blocks[1:]
	if digest, err := DigestOf(blocks); err != nil || digest != c.Digest {
		return nil, StatusMalformed, "the contexts do not have the digest that the control block gives"
	}
	var feature []CDB
	for _, b := range blocks {
		switch b.FPT {
		case FPTNode:
		case FPTError:
			absent, err := ParseErrorBlock(b)
			if err != nil {
				return nil, StatusMalformed, err.Error()
			}
			s.tgt.missing = unite(s.tgt.missing, []ContextStatus{absent})
			continue
		default:
			feature = append(feature, b)
			continue
		}
		node, err := ParseNodeState(b)
		if errors.Is(err, ErrUnknownCritical) {
			return nil, StatusUnknownCritical, err.Error()
		}
		if err != nil {
			return nil, StatusMalformed, err.Error()
		}
		if !node.algorithm().Known() {
			return nil, StatusAlgorithm, "the node makes tokens with " + node.Algorithm.String() + ", which is not known here"
		}
		s.node = cloneNode(node)
		clear(b.Data) // the message is ours: its keys go as soon as they are read
	}
	if len(s.node.Tokens) == 0 && o.data.Predictive && o.data.Algorithm == AlgorithmHMACSHA1 && !s.node.strong() {
		s.node = cloneNode(NodeState{Agent: s.node.Agent, UpdateKey: s.node.UpdateKey, Tokens: []NumberedKey{{Key: o.data.Key}}})
	}
	claims, err := s.cfg.Inspect(feature)
	switch {
	case err != nil:
		return nil, refusalStatus(err), err.Error()
	case !o.peer.allows(claims):
		return nil, StatusNotAuthorised, "the policy for this peer does not cover the node's identity or inner addresses"
	case o.clash(claims):
		return nil, StatusPolicyConflict, "the inner addresses overlap another session's"
	}
	s.claims = claims
	return feature, StatusOK, ""
}

// targetDone goes on after an operation of the target's half.
func (s *Session) targetDone(d Done) {
	t := s.tgt
	switch s.state {
	case stateChecking:
		if len(d.Failed) > 0 {
			s.refuseWith(d.Failed, d.Detail)
			return
		}
		if s.plain && t.nothingTaken(d.Partial) {
			s.refuseWith(d.Partial, d.Detail)
			return
		}
		t.lacks(d.Partial)
		s.node.SPIs = followed(s.node.SPIs, d.SPIs)
		s.persist(statePromising, s.promise())
	case statePromising:
		s.confirm()
	case stateRenewing:
		s.renewedHere(d)
	case stateRenewed:
		s.heldAgain()
	case stateTakingOver:
		s.do(stateStarting, Do{Verb: VerbTakeOver, Epoch: t.epoch, Peer: t.from})
	case stateStarting:
		s.tookOver(d)
	case stateActivating:
		if len(d.Failed) > 0 {
			s.refuseWith(d.Failed, d.Detail)
			return
		}
		t.lacks(d.Partial)
		s.activated()
	case stateMerging:
		if len(d.Failed)+len(d.Partial) > 0 {
			s.report(Report{Epoch: t.epoch, Event: EventSteering, Peer: t.from, Statuses: slices.Concat(d.Failed, d.Partial),
				Detail: "the old gateway's last windows could not be merged: " + d.Detail})
		}
		s.persist(stateOwnerPersist, Record{Kind: RecordClosed, Epoch: t.epoch, Peer: t.from})
	case stateOwnerPersist:
		s.owner()
	case stateRefusing:
		s.refused()
	case stateDiscarding:
		s.discarded()
	}
}

// promise is what has to be durable before "staged" is said.
func (s *Session) promise() Record {
	return Record{Kind: RecordMayActivate, Epoch: s.tgt.epoch, Peer: s.tgt.from, Ceilings: s.tgt.ceilings}
}

// confirm says "staged", now that the promise is durable.
func (s *Session) confirm() {
	t := s.tgt
	s.rest(stateHeld, s.holdFor())
	if t.withdrawn {
		s.refuse(StatusCancelled, "withdrawn by the source")
		return
	}
	s.tell(t.from, t.epoch)
	s.dataReply(t, t.failed)
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventStaged, Peer: t.from, Statuses: t.missing, Final: t.standby || !t.mayActivate()})
	if s.plain {
		s.takenPlain()
	}
}

// goOn is the target's own operator asking for what is staged already.
func (s *Session) goOn(p Pull, peer *Peer) {
	t := s.tgt
	if s.state != stateHeld || p.StageOnly || p.From != t.from {
		s.report(Report{Ticket: p.Ticket, Event: EventFailed, Peer: p.From, Final: true,
			Statuses: []ContextStatus{{FPTControl, StatusBusy}}, Detail: "the session is " + s.state.String() + " here"})
		return
	}
	s.supersede(&t.ticket, p.Ticket, t.epoch, t.from)
	if !p.Force && s.strands() {
		s.report(Report{Epoch: t.epoch, Ticket: p.Ticket, Event: EventFailed, Peer: t.from, Final: true,
			Statuses: control(StatusUntold), Detail: leftBehind})
		return
	}
	t.allowed, t.force = peer.ActivateWithoutToken, p.Force
	if !t.mayActivate() {
		s.report(Report{Epoch: t.epoch, Ticket: p.Ticket, Event: EventWaiting, Peer: t.from, Final: true,
			Detail: "the policy for this peer wants the node's token before a session becomes active"})
		return
	}
	if t.standby {
		s.report(Report{Epoch: t.epoch, Ticket: p.Ticket, Event: EventStandby, Peer: t.from, Final: true,
			Detail: "this gateway has a standby's copy of it: hand it over at its owner"})
	}
	if s.plain {
		s.takenPlain()
		return
	}
	s.tell(t.from, t.epoch)
}

// final activates: it must come from the source of the stage, for its epoch,
// on its base, to this incarnation of our journal.
func (s *Session) final(from RouterID, data *CTD, c Control) {
	t := s.tgt
	if why := s.tgt.misses(from, c.Epoch); why != 0 || s.state != stateHeld {
		s.drop(cmp.Or(why, DropOutOfTurn))
		s.tell(from, c.Epoch)
		return
	}
	t.ack = data.Ack
	switch {
	case c.Digest != t.digest || c.Incarnation != s.cfg.Incarnation:
		s.refuse(StatusNoBase, "the final does not apply to what is staged here")
	case !t.mayActivate():
		s.refuse(StatusNotAuthorised, "neither the node's token nor the policy for this peer allows it")
	default:
		if c.TokenProved {
			// The source has verified a token made with the key that it gave: that
			// key is used, even where the node's own CTAR has not come here.
			s.dropKeys(max(t.key, c.Serial))
		}
		s.do(stateActivating, Do{Verb: VerbActivate, Epoch: t.epoch, Blocks: data.Blocks[1:]})
	}
}

// activated says "active" at once: the promise is durable, and a lost "active"
// record only turns into "lost".
func (s *Session) activated() {
	t := s.tgt
	s.rest(stateUnclosed, s.cfg.Timers.CloseWait)
	s.repeatEvery(s.cfg.Timers.RepeatMax) // the source's own repetitions may have ended
	s.steer = &steering{epoch: t.epoch, from: t.from}
	s.steer.uplink = !s.node.canBeTold()
	s.tell(t.from, t.epoch)
	s.note(Record{Kind: RecordActive, Epoch: t.epoch, Peer: t.from})
	s.dataReply(t, t.failed)
	s.startSteering()
	s.used.missing = t.missing
	s.acknowledge(t.missing)
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventActive, Peer: t.from, Statuses: t.missing})
	if s.plain { // nobody closes
		s.persist(stateOwnerPersist, Record{Kind: RecordClosed, Epoch: t.epoch, Peer: t.from})
	}
}

// closed merges the windows that the source last had.
func (s *Session) closed(from RouterID, data *CTD, c Control) {
	t := s.tgt
	if before := s.recorded(c.Epoch); (t == nil || t.epoch != c.Epoch) && before.state == OutcomeActive && before.from == from {
		// It ended here in a restart, before this came. Without the record, "active"
		// and "closed" of it would answer each other for ever.
		s.remember(c.Epoch, OutcomeClosed)
	}
	if why := t.misses(from, c.Epoch); why != 0 || s.state != stateUnclosed {
		s.drop(cmp.Or(why, DropOutOfTurn))
		s.tell(from, c.Epoch)
		return
	}
	t.ack = data.Ack
	s.do(stateMerging, Do{Verb: VerbMerge, Epoch: t.epoch, Blocks: data.Blocks[1:]})
}

// doWithout goes on without the windows that the source last had, for as long as
// they do not come: what is below the highest number received here counts as
// seen. In the strict mode the final had everything.
func (s *Session) doWithout(why string) {
	t := s.tgt
	if s.cfg.Mode == ModeStrict {
		return
	}
	s.act(Do{Op: s.op(), Verb: VerbMerge, Session: s.id, Epoch: t.epoch, Mode: s.cfg.Mode})
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventSteering, Peer: t.from,
		Detail: why + ": what it accepted after the final and is above the highest number received here could be replayed here once"})
}

// owner is the end of the target's half: nobody else can act for the session.
func (s *Session) owner() {
	t := s.tgt
	s.tgt = nil
	s.remember(t.epoch, OutcomeClosed)
	s.limit(nil)
	s.standby = s.cfg.Standby
	s.own()
	s.tell(t.from, t.epoch)
	s.dataReply(t, nil)
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventClosed, Peer: t.from, Final: true})
}

// withdrawn takes the source's word that it gave the epoch up.
func (s *Session) withdrawn(from RouterID, c Control) {
	t := s.tgt
	if why := t.misses(from, c.Epoch); why != 0 {
		s.drop(why)
		s.tell(from, c.Epoch)
		return
	}
	switch s.state {
	case stateHeld:
		s.refuse(StatusCancelled, "withdrawn by the source")
	case stateChecking, statePromising, stateRenewing, stateRenewed:
		t.withdrawn = true
	default:
		s.drop(DropOutOfTurn)
		s.tell(from, c.Epoch)
	}
}

// cancelHeld gives up what is staged here, and says so at once as RFC 4067
// section 2.5.5 has it. The CTC only saves time: what decides is the "refused"
// that follows its record.
func (s *Session) cancelHeld(st Status, why string) {
	s.act(cancelAt(s.tgt.from, s.addr, s.now.Add(s.cfg.Timers.RequestWait)))
	s.refuse(st, why)
}

// cancelAt tells a pAR that this router gives up.
func cancelAt(to RouterID, previous netip.Addr, expires time.Time) Action {
	return Send{To: to, Message: &CTC{Previous: previous}, Expires: expires}
}

// refuse ends an attempt here. What is refused is durable before anyone hears
// it: the source may thaw on it.
func (s *Session) refuse(st Status, why string) {
	s.refuseWith([]ContextStatus{{FPTControl, st}}, why)
}

func (s *Session) refuseWith(statuses []ContextStatus, why string) {
	s.tgt.statuses, s.tgt.why = statuses, why
	s.persist(stateRefusing, Record{Kind: RecordRefused, Epoch: s.tgt.epoch, Peer: s.tgt.from, Why: why})
}

// refused tells, and lets the features forget.
func (s *Session) refused() {
	t := s.tgt
	s.tgt = nil
	s.remember(t.epoch, OutcomeRefused, t.statuses...)
	s.why = cmp.Or(s.why, t.why)
	s.tell(t.from, t.epoch)
	s.dataReply(t, failures(t.statuses))
	s.acknowledge(failures(t.statuses))
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventRefused, Peer: t.from, Statuses: t.statuses, Detail: t.why, Final: true})
	s.remove()
	s.do(stateDiscarding, Do{Verb: VerbDiscard, Epoch: t.epoch})
}

// discarded makes room for an attempt that came meanwhile.
func (s *Session) discarded() {
	s.rest(stateNone, s.cfg.Timers.Remember)
	s.claims = Claims{}
	if o := s.later; o != nil {
		s.later = nil
		s.offered(o)
		return
	}
	s.over = s.plain // nobody else knows its id, so nobody can ask
}
