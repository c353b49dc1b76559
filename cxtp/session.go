package cxtp

import (
	"net/netip"
	"slices"
	"time"
)

// stage of a session's life at this router. The first group is a source's, the
// second a target's.
type state uint8

const (
	stateNone     state = iota // never here, or nothing but a record is left
	stateAdopt                 // first owner: its record is on its way to the journal
	stateResuming              // the daemon restarted, the SAs are there: see restore
	stateOwner                 // active here, no move under way

	stateAllocating   // the epoch is on its way to the journal
	stateExporting    // the features are read
	stateLimiting     // the outbound SAs get their ceilings
	stateStaging      // the stage is sent
	stateStaged       // the target has confirmed
	stateRetracting   // a standby is to give its copy up, and is asked until it has
	stateGranting     // the grant is on its way to the journal
	stateFreezing     // the features stop and count
	stateFrozen       // the final is sent, and repeated
	stateYielding     // the lease has run out: the features stop
	stateYielded      // and the standby is asked whether it has taken over
	stateFencing      // the operator's word that the target is gone is on its way to the journal
	stateThawing      // the target refused, or is gone: the features go on
	stateDraining     // the target is active: inbound stays until traffic has moved
	stateClosing      // the features end inbound
	stateReleasing    // the features forget
	stateMovedPersist // "moved" is on its way to the journal
	stateMoved        // "closed" is sent, and repeated
	stateEnding       // the end is on its way to the journal, the keys are going

	stateChecking     // the features take the contexts
	statePromising    // "may activate" is on its way to the journal
	stateHeld         // staged here
	stateRenewing     // staged here; the features take a later state
	stateRenewed      // staged here; later ceilings are on their way to the journal
	stateTakingOver   // staged here; "active" is on its way to the journal
	stateStarting     // the features start without a final
	stateActivating   // the features start
	stateUnclosed     // active here; the source may still accept
	stateMerging      // the features unite the windows
	stateOwnerPersist // "closed" is on its way to the journal
	stateRefusing     // "refused" is on its way to the journal
	stateDiscarding   // the features forget what was staged
)

var stateNames = [...]string{
	"gone", "adopting", "resuming", "active", "staging", "staging", "staging", "staging", "staged", "retracting", "granting",
	"freezing", "frozen", "yielded", "yielded", "thawing", "thawing", "draining", "closing", "closing", "closing", "moved", "ending",
	"checking", "checking", "held", "held", "held", "taking-over", "taking-over", "activating",
	"active-unclosed", "active-unclosed", "active-unclosed", "refusing", "refusing",
}

func (s state) String() string { return stateNames[s] }

// Session is the machine of one session at one router. It has no lock: one
// goroutine at a time.
type Session struct {
	cfg         *Config
	id          SessionID
	addr        netip.Addr // MN's previous address
	state       state
	epoch       Epoch // the highest allocated or promised; never used again
	node        NodeState
	claims      Claims
	pulled      *pulls        // requests with a null token that were taken; nil = none
	pledge      *pledge       // a token key that waits for its request to come again
	adopter     Ticket        // waits for stateAdopt to end
	from        RouterID      // the peer that it came from; "" = it began here
	plain       bool          // it came from there without a control block: its id was drawn here
	answer      []answered    // what became of the epochs that were staged here
	used        usedToken     // the last CTAR that proved itself, to answer its repeats
	asker       asker         // the node that waits for a CTAA
	wrong       *wrongTokens  // shown for this session; nil = none yet
	standby     RouterID      // where a copy is to be kept fresh; "" = nowhere
	standbyWait time.Duration // before the next attempt, after one that failed
	pace        *pacer        // of all sessions' renewals
	held        HeldState     // what a restart found, until stateResuming ends
	why         string        // it has ended here

	src   *outgoing // the move away from here, from stateAllocating to stateMoved
	tgt   *incoming // the move to here, from stateChecking to stateOwnerPersist
	later *offer    // came while an older attempt was being discarded
	steer *steering // the traffic's way to here; outlives tgt

	lastOp OpID
	waitOp OpID // the operation that the state waits for

	deadline time.Time     // of the state as a whole; zero = none
	repeatAt time.Time     // next repetition of the state's message; zero = none
	repeat   time.Duration // the wait after it

	now     time.Time
	out     []Action
	dropped Drop // why the message of this step was not acted on
	over    bool // nobody may hold anything of it any more: not even the record is needed
}

// answered is the record of an epoch that was staged here.
type answered struct {
	epoch Epoch
	from  RouterID
	state OutcomeState
	why   []ContextStatus // it was refused, for those who ask again
}

// usedToken remembers an authenticated CTAR, so that its repetition is answered
// and not processed again.
type usedToken struct {
	sequence uint32
	token    Token
	valid    bool
	away     bool            // it was shown here to leave, and not to come
	missing  []ContextStatus // what its transfer left behind
}

func (u usedToken) is(sequence uint32, t Token) bool {
	return u.valid && u.sequence == sequence && u.token == t
}

// asker is where a CTAR came from, while its CTAA is owed.
type asker struct {
	at    netip.AddrPort
	here  netip.Addr // the address of ours that it was sent to
	wants bool       // the A flag
}

// answer is the CTAA that a CTAR gets.
func (a asker) answer(previous netip.Addr, failed []ContextStatus) SendNode {
	return SendNode{To: a.at, From: a.here, Message: &CTAA{Previous: previous, Failed: failed}}
}

// owe remembers who waits for a CTAA: the first, because a repetition of its
// CTAR from elsewhere may be anybody's.
func (s *Session) owe(at asker) {
	if !s.asker.wants {
		s.asker = at
	}
}

// acknowledge sends the CTAA that is owed; no statuses means success.
func (s *Session) acknowledge(failed []ContextStatus) {
	s.reply(s.asker, failed)
	s.asker = asker{}
}

// reply sends a CTAA to whoever wanted one.
func (s *Session) reply(to asker, failed []ContextStatus) {
	if to.wants {
		s.act(to.answer(s.addr, failed))
	}
}

// maxAnswered bounds the epochs whose outcome is remembered.
const maxAnswered = 64

func newSession(cfg *Config, pace *pacer, id SessionID, addr netip.Addr) *Session {
	return &Session{cfg: cfg, pace: pace, id: id, addr: addr, standby: cfg.Standby}
}

// begin and end bracket one step: they collect the actions that it decides.
func (s *Session) begin(now time.Time) { s.now, s.out = now, nil }

func (s *Session) end() []Action {
	out := s.out
	s.out = nil
	return out
}

func (s *Session) act(a Action) { s.out = append(s.out, a) }

// op names the next operation.
func (s *Session) op() OpID { s.lastOp++; return s.lastOp }

// await enters a state that an operation's result will end.
func (s *Session) await(next state, op OpID) {
	s.state, s.waitOp = next, op
	s.deadline, s.repeatAt = time.Time{}, time.Time{}
}

// rest enters a state that a message or a time will end; d of 0 means that no
// time will.
func (s *Session) rest(next state, d time.Duration) {
	s.await(next, 0)
	if d > 0 {
		s.deadline = s.now.Add(d)
	}
}

// repeatEvery starts the repetitions of the state's message.
func (s *Session) repeatEvery(first time.Duration) {
	s.repeat = first
	s.repeatAt = s.now.Add(first)
}

// persist writes a record and waits for it in the state given.
func (s *Session) persist(next state, r Record) {
	op := s.op()
	s.await(next, op)
	s.act(Persist{Op: op, Record: s.record(r)})
}

// note writes a record that nothing waits for: if it is lost, what the journal
// says without it is still true, only less.
func (s *Session) note(r Record) { s.act(Persist{Op: s.op(), Record: s.record(r)}) }

func (s *Session) record(r Record) Record {
	r.Session, r.Previous, r.Agent, r.Plain = s.id, s.addr, s.node.Agent, s.plain
	return r
}

// do asks the features for an operation and waits for it in the state given.
func (s *Session) do(next state, d Do) {
	d.Op, d.Session, d.Previous, d.Mode = s.op(), s.id, s.addr, s.cfg.Mode
	s.await(next, d.Op)
	s.act(d)
}

// report tells the operator. A final report uses its ticket up: what becomes of
// the move later is nobody's answer any more.
func (s *Session) report(r Report) {
	r.Session = s.id
	s.act(r)
	if r.Final && s.src != nil && s.src.ticket == r.Ticket {
		s.src.ticket = 0
	}
	if r.Final && s.tgt != nil && s.tgt.ticket == r.Ticket {
		s.tgt.ticket = 0
	}
}

// supersede gives a move the ticket of a later order, and answers the older.
func (s *Session) supersede(ticket *Ticket, by Ticket, epoch Epoch, peer RouterID) {
	if *ticket != 0 {
		s.report(Report{Epoch: epoch, Ticket: *ticket, Event: EventFailed, Peer: peer, Final: true,
			Statuses: []ContextStatus{{FPTControl, StatusCancelled}}, Detail: "a later order has taken this one's place"})
	}
	*ticket = by
}

// done takes the result of an operation.
func (s *Session) done(d Done) {
	switch {
	case d.Op == 0:
		return // nobody's
	case s.steer != nil && d.Op == s.steer.op:
		s.steered(d)
		return
	case d.Op != s.waitOp:
		return // of a note, or of a state that has ended since
	}
	s.waitOp = 0
	if s.state >= stateChecking {
		s.targetDone(d)
	} else {
		s.sourceDone(d)
	}
}

// tick does what has become due.
func (s *Session) tick() {
	if due(s.deadline, s.now) {
		s.deadline = time.Time{}
		s.expired()
	}
	if due(s.repeatAt, s.now) {
		s.repeat = min(2*s.repeat, s.cfg.Timers.RepeatMax)
		s.repeatAt = s.now.Add(s.repeat)
		s.again()
	}
	if s.src != nil && due(s.src.leaseEnds, s.now) {
		s.leaseOver()
	}
	if s.steer != nil {
		s.steerTick()
	}
}

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// next is the earliest time at which tick has something to do; zero = none.
func (s *Session) next() time.Time {
	at := earlier(s.deadline, s.repeatAt)
	if s.src != nil {
		at = earlier(at, s.src.leaseEnds)
	}
	if s.steer != nil {
		at = earlier(at, s.steer.repeatAt)
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// expired acts on the state's deadline.
func (s *Session) expired() {
	switch s.state {
	case stateNone:
		s.over = true
	case stateOwner:
		s.dropPledge()
	case stateStaging:
		s.unconfirmed()
	case stateStaged:
		s.giveUp(EventFailed, StatusExpired, "staged for too long without being moved; the session goes on here")
	case stateResuming:
		s.resume()
	case stateRetracting:
		s.retractLate()
	case stateYielded:
		s.finish("the lease ran out, and no answer from the standby before the freeze deadline")
	case stateFrozen:
		s.finish("no answer from the target before the freeze deadline")
	case stateDraining:
		s.close()
	case stateUnclosed:
		s.doWithout("no last windows have come from the old gateway")
	case stateMoved:
		s.complete("closed here; the target has not confirmed that it heard")
	case stateHeld:
		if s.tgt.mayTakeOver() && s.tgt.lease > 0 {
			s.takeOver(0, "the lease of "+string(s.tgt.from)+" has run out")
			return
		}
		s.cancelHeld(StatusExpired, "staged for too long without being activated")
	}
}

// again repeats the state's message.
func (s *Session) again() {
	switch s.state {
	case stateOwner:
		s.startStandby(0)
	case stateStaged:
		s.renew()
	case stateRetracting:
		s.sendPhase(PhaseWithdraw, nil, time.Time{})
	case stateYielded:
		s.askStandby()
	case stateStaging:
		s.sendStage()
	case stateFrozen:
		s.sendFinal()
	case stateDraining:
		s.ask()
	case stateMoved:
		s.sendClosed()
	case stateUnclosed:
		s.tell(s.tgt.from, s.tgt.epoch)
	}
}

// remember keeps what became of an epoch that was staged here.
func (s *Session) remember(e Epoch, o OutcomeState, why ...ContextStatus) {
	i := slices.IndexFunc(s.answer, func(a answered) bool { return a.epoch == e })
	if i >= 0 {
		s.answer[i].state, s.answer[i].why = o, why
		return
	}
	if len(s.answer) == maxAnswered {
		s.answer = slices.Delete(s.answer, 0, 1)
	}
	s.answer = append(s.answer, answered{e, s.from, o, why})
}

// outcome is what this router has to say of an epoch.
func (s *Session) outcome(e Epoch) OutcomeState {
	if s.tgt != nil && s.tgt.epoch == e {
		switch s.state {
		case stateHeld, stateRenewing, stateRenewed:
			return OutcomeStaged
		case stateUnclosed, stateMerging, stateOwnerPersist:
			return OutcomeActive
		default:
			return OutcomePending
		}
	}
	return s.recorded(e).state
}

// recorded is what is remembered of an epoch. Why it was refused does not
// outlive a restart.
func (s *Session) recorded(e Epoch) answered {
	for _, a := range s.answer {
		if a.epoch == e {
			return a
		}
	}
	return answered{epoch: e, state: OutcomeUnseen}
}

// tell sends what this router has to say of an epoch.
func (s *Session) tell(to RouterID, e Epoch) {
	if s.plain && to == s.from {
		return // which would not know what an Outcome is
	}
	o := &Outcome{
		Previous: s.addr, Session: s.id, Epoch: e, Incarnation: s.cfg.Incarnation,
		State: s.outcome(e),
	}
	switch o.State {
	case OutcomeRefused:
		o.Statuses = s.recorded(e).why
	case OutcomeStaged:
		o.Go, o.Serial, o.Statuses = s.tgt.mayActivate(), s.tgt.serial, s.tgt.missing
		o.Untold = !s.tgt.force && s.strands()
	case OutcomeActive, OutcomeClosed:
		o.Steered = s.steer == nil || s.steer.complete()
		if s.tgt != nil && s.tgt.epoch == e {
			o.Statuses = s.tgt.missing
		}
	}
	s.act(Send{To: to, Message: o})
}

// wipe clears blocks that this machine owns and that may hold keys.
func wipe(blocks []CDB) {
	for _, b := range blocks {
		clear(b.Data)
	}
}

// wipeNode forgets a node's keys.
func (s *Session) wipeNode() {
	s.node.wipeKeys()
	s.node = NodeState{}
}

// View is what an operator may see of a session: no keys.
type View struct {
	Session  SessionID      `json:"session"`
	Previous netip.Addr     `json:"previous"`
	State    string         `json:"state"`
	Epoch    Epoch          `json:"epoch"`
	Peer     RouterID       `json:"peer,omitempty"`
	Identity string         `json:"identity,omitempty"`
	Inner    []netip.Prefix `json:"inner,omitempty"`
	Agent    string         `json:"agent,omitempty"`
	Untold   bool           `json:"untold,omitempty"` // the agent's key is lost: it cannot be told of another gateway address
	Tokens   int            `json:"tokens"`
	// Of a node with token keys or an agent: how its tokens are made, and how many
	// wrong ones were shown here.
	TokenAlgorithm Algorithm `json:"token_algorithm,omitzero"`
	WrongTokens    uint64    `json:"wrong_tokens,omitempty"`
	Why            string    `json:"why,omitempty"`     // it is gone: moved away, ended, or never taken
	Standby        bool      `json:"standby,omitempty"` // the copy that is staged, here or at Peer, is kept fresh
}

// View describes the session as it is.
func (s *Session) View() View {
	v := View{
		Session: s.id, Previous: s.addr, State: s.state.String(), Epoch: s.epoch,
		Identity: s.claims.Identity, Inner: s.claims.Inner, Tokens: len(s.node.Tokens),
	}
	if s.node.Agent.IsValid() {
		v.Agent, v.Untold = s.node.Agent.String(), s.node.forgotten()
	}
	if s.node.canBeTold() || len(s.node.Tokens) > 0 {
		v.TokenAlgorithm = s.node.algorithm()
	}
	if s.state == stateNone {
		v.Why = s.why
	}
	if s.wrong != nil {
		v.WrongTokens = s.wrong.count
	}
	switch {
	case s.src != nil:
		v.Peer, v.Standby = s.src.to, s.src.standby
	case s.tgt != nil:
		v.Peer, v.Standby = s.tgt.from, s.tgt.standby
	}
	return v
}

// live reports whether the session holds or claims anything here, or nothing
// but a record of it is left.
func (s *Session) live() bool {
	return s.state != stateNone && s.state != stateMoved
}
