package cxtp

import (
	"fmt"
	"net/netip"
)

// OutcomeState is what a router says of one epoch of a session.
type OutcomeState uint8

const (
	OutcomeUnseen  OutcomeState = 1 // never heard of it
	OutcomeStaged  OutcomeState = 2 // everything is ready, nothing acts
	OutcomeRefused OutcomeState = 3 // will never be activated here
	OutcomeActive  OutcomeState = 4 // is, or was, activated here
	OutcomeLost    OutcomeState = 5 // may have been activated here; the state is gone
	OutcomeMovedOn OutcomeState = 6 // was activated and closed here, and granted onward
	OutcomeClosed  OutcomeState = 7 // active, and the source's close has been merged
	OutcomePending OutcomeState = 8 // still working on it
)

var outcomeNames = [...]string{"none", "unseen", "staged", "refused", "active", "lost", "moved on", "closed", "pending"}

func (s OutcomeState) String() string {
	if int(s) < len(outcomeNames) {
		return outcomeNames[s]
	}
	return fmt.Sprintf("outcome state %d", uint8(s))
}

// check accepts the states that an answer may have, and none in a question.
func (s OutcomeState) check(question bool) error {
	if question && s != 0 {
		return fmt.Errorf("%d, a question has 0", uint8(s))
	}
	if !question && (s == 0 || int(s) >= len(outcomeNames)) {
		return fmt.Errorf("%d, an answer has 1 to %d", uint8(s), len(outcomeNames)-1)
	}
	return nil
}

// Outcome asks a target what became of an epoch, and answers. It is private,
// and decides: a source thaws or closes on an Outcome and on nothing else, and
// only on one from the target that the grant names.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-+-----------+-------------------------------+
//	|Vers.|   31    |V|Q| Reserved  |            Length             |
//	+-----+---------+-+-+-----------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+---------------------------------------------------------------+
//	~                    Session id (16 octets)                     ~
//	+---------------------------------------------------------------+
//	~                       Epoch (8 octets)                        ~
//	+---------------------------------------------------------------+
//	~                    Incarnation (8 octets)                     ~
//	+---------------+-+-+-+---------+-------------------------------+
//	|     State     |G|D|U| Reserved|            Reserved           |
//	+---------------+-+-+-+---------+-------------------------------+
//	|                            Serial                             |
//	+---------------+-+-+-+---------+-------------------------------+
//	|              FPT              |  Status code  |    Reserved   |
//	+-------------------------------+---------------+---------------+
//	~                            ........                           ~
type Outcome struct {
	Question    bool // the Q flag: State is absent (0), an answer is wanted
	Previous    netip.Addr
	Session     SessionID
	Epoch       Epoch
	Incarnation Incarnation // of the answering router's journal
	State       OutcomeState
	Go          bool   // the G flag: with Staged, the target would activate now
	Steered     bool   // the D flag: with Active, traffic reaches the target
	Untold      bool   // the U flag: with Staged, the node would have another gateway address, and cannot be told
	Serial      uint32 // with Staged, of the latest renewal taken
	Statuses    []ContextStatus
}

// Type implements [Message].
func (*Outcome) Type() Type { return TypeOutcome }

// Append implements [Message].
func (m *Outcome) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeOutcome, m.Question, m.Previous)
	w.address("MN's previous address", m.Previous)
	w.octets(m.Session[:])
	w.u64(uint64(m.Epoch))
	w.u64(uint64(m.Incarnation))
	if err := m.State.check(m.Question); err != nil {
		w.fail(fmt.Errorf("state %w", err))
	}
	w.u8(byte(m.State))
	w.flags(m.Go, m.Steered, m.Untold)
	w.u16(0)
	w.u32(m.Serial)
	w.statuses(m.Statuses)
	return w.finish()
}

// Decode reads an Outcome; see [Message].
func (m *Outcome) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *Outcome) read(r *wireReader) {
	_, m.Question = r.header("control profile section 3", "Q", TypeOutcome)
	m.Previous = r.address("MN's Previous IP Address")
	copy(m.Session[:], r.octets("Session id", len(m.Session)))
	m.Epoch = Epoch(r.u64("Epoch"))
	m.Incarnation = inHex(r, Incarnation(r.u64("Incarnation")))
	m.State = named(r, OutcomeState(r.u8("State")))
	if err := m.State.check(m.Question); err != nil {
		r.fail("State", r.at-1, nil, "%v", err)
	}
	flags := r.octet("G")
	m.Go = r.bits("G", flags, flagFirst) == 1
	m.Steered = r.bits("D", flags, flagSecond) == 1
	m.Untold = r.bits("U", flags, flagThird) == 1
	r.bits("Reserved", flags, 0x1f)
	r.u16("Reserved")
	m.Serial = r.u32("Serial")
	m.Statuses = r.statuses(m.Statuses[:0])
}
