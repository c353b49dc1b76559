package cxtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Transfers as RFC 4067 has them, without our control block: with routers that know
// nothing of it, and of contexts that may be copied alone. Nothing decides there who
// the owner is, because it does not matter: two routers that hold such a context do no
// harm. So the CTDR, which otherwise decides nothing, is all that the source waits
// for, and the target goes on at once, or when the node's token has come.
//
// A target tells such a transfer by the CTD, a source has to be told: [Peer.Plain].

// mayCopy reports whether contexts of a type may go without a control block.
func (cfg *Config) mayCopy(b CDB) bool { return slices.Contains(cfg.Copyable, b.FPT) }

// without is the status of each context that needs a control block.
func without(blocks []CDB) []ContextStatus {
	var statuses []ContextStatus
	for _, b := range blocks {
		statuses = unite(statuses, []ContextStatus{{b.FPT, StatusNoControl}})
	}
	return statuses
}

// split tells the contexts that may be copied from the others.
func (cfg *Config) split(blocks []CDB) (copies, others []CDB) {
	for _, b := range blocks {
		if cfg.mayCopy(b) {
			copies = append(copies, b)
		} else {
			others = append(others, b)
		}
	}
	return copies, others
}

// plainData takes a CTD without a control block: a session of its own, which begins
// here.
func (r *Router) plainData(peer *Peer, m *CTD) {
	copies, others := r.cfg.split(m.Blocks)
	if len(copies) == 0 {
		r.drop(DropNoControl)
		r.dataReply(peer, m, without(others))
		return
	}
	digest, err := DigestOf(copies)
	if err != nil {
		return // they have been decoded, so they can be encoded
	}
	id, epoch := r.newID(), Epoch(1)
	switch s, st := r.find(m.Previous, SessionID{}, (*Session).live); {
	case st == StatusOK && s.plain && s.from == peer.ID && s.state == stateHeld:
		id, epoch = s.id, s.epoch+1 // in place of what has come before
	case st == StatusOK && s.plain && s.from == peer.ID && s.takes(digest):
		r.drop(DropRepeated) // the CTDR of the first is its answer too
		return
	case st != StatusUnknownSession:
		r.drop(DropBusy)
		r.dataReply(peer, m, typed(copies, control(StatusBusy)))
		return
	}
	data := *m
	data.Blocks = append([]CDB{{FPT: FPTControl}}, copies...)
	r.offer(&offer{peer: peer, data: &data, plain: true, absent: without(others), clash: r.clashes, control: Control{
		Phase: PhaseStage, Mode: r.cfg.Mode, Session: id, Epoch: epoch, Target: r.cfg.Self, Digest: digest,
		// A CTD says that the source has verified the token that we asked with, if we
		// did; a PCTD leaves that to us.
		TokenProved: !m.Predictive,
	}})
}

// takes reports whether these contexts are being staged, and not answered yet.
func (s *Session) takes(d Digest) bool {
	return (s.state == stateChecking || s.state == statePromising) && s.tgt.digest == d
}

// newID draws the id of a session that begins here.
func (r *Router) newID() (id SessionID) {
	binary.BigEndian.PutUint64(id[:], r.limiter.random.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.limiter.random.Uint64())
	return id
}

// typed says of each type among the contexts what was said of the transfer as a whole:
// a plain peer knows no status of that.
func typed(copies []CDB, statuses []ContextStatus) (each []ContextStatus) {
	i := slices.IndexFunc(statuses, ofAll)
	if i < 0 {
		return statuses
	}
	for _, b := range copies {
		each = unite(each, []ContextStatus{{b.FPT, statuses[i].Status}})
	}
	return each
}

// typesOf keeps of blocks what outlives the message that they came in.
func typesOf(blocks []CDB) []CDB {
	types := make([]CDB, len(blocks))
	for i, b := range blocks {
		types[i].FPT = b.FPT
	}
	return types
}

// takenPlain goes on when what came without a control block is staged here.
func (s *Session) takenPlain() {
	if t := s.tgt; t.mayActivate() {
		s.do(stateActivating, Do{Verb: VerbActivate, Epoch: t.epoch})
	}
}

// expects reports whether the contexts of a node that comes from this router are at
// work here by our policy, and the node has not shown its token yet.
func (s *Session) expects(peer *Peer) bool {
	return s.plain && s.state == stateOwner && s.from == peer.ID && len(s.node.Tokens) > 0
}

// arrived takes that token. There is nothing left to do, but the key is used up: that
// of a PCTD is for the node's arrival, and for no move away from here. The source may
// have seen the same token, and so may others.
func (s *Session) arrived(at asker, m *CTAR, peer *Peer) {
	key, st := s.authenticate(presented{role: RoleArriving, atNAR: true, peer: peer, sequence: m.Sequence, token: m.Token, requests: m.Requests})
	if st != StatusOK {
		s.denyNode(at, st)
		return
	}
	s.dropKeys(key.Number)
	s.used = usedToken{sequence: m.Sequence, token: m.Token, valid: true}
	s.reply(at, nil)
}

// nothingTaken reports whether none of the contexts could be taken: there is nothing
// to go on with then.
func (t *incoming) nothingTaken(failed []ContextStatus) bool {
	return len(failed) > 0 && !slices.ContainsFunc(t.copies, func(b CDB) bool {
		return !slices.ContainsFunc(failed, func(st ContextStatus) bool { return st.FPT == b.FPT })
	})
}

// exportedPlain gives a plain target what may be copied. An operator's order is for
// the whole session: it is refused where that cannot go.
func (s *Session) exportedPlain(d Done) {
	m := s.src
	copies, others := s.cfg.split(d.Blocks)
	missing := without(others)
	m.whole = len(others) == 0 && len(d.Manifest) == 0
	wipe(others)
	m.static, m.missing = copies, unite(d.Partial, missing)
	switch {
	case m.cancelled:
		s.failCancelled()
	case m.standby:
		s.fail(EventFailed, control(StatusNoControl), "the target has no control block: it cannot be a standby")
	case len(copies) == 0 || m.ordered && !m.whole:
		s.fail(EventFailed, m.missing, "the target has no control block, and the session has contexts that must not be copied; it goes on here")
	default:
		if err := s.plainKey(); err != nil {
			s.fail(EventFailed, control(StatusInternal), err.Error())
			return
		}
		m.started, m.vouched = s.now, m.proved
		s.rest(stateStaging, s.cfg.Timers.MaxTransfer)
		s.sendStage()
	}
}

// plainKeySize is the length of a key that nobody has, in octets.
const plainKeySize = 20

// plainKey gives a transfer the key of its PCTD: that of the node's next token, where
// the node makes RFC 4067's, and else one that nobody has. Without a key it would be a
// CTD, which says that a token was verified, and a nAR that has just asked with a
// forged one would believe it.
func (s *Session) plainKey() error {
	m := s.src
	if m.proved || !m.key.Key.IsZero() && !s.node.strong() {
		return nil
	}
	octets := make([]byte, plainKeySize)
	if s.cfg.Rand == nil {
		return errors.New("failed to draw the key of a PCTD: no source of randomness was given")
	}
	if _, err := io.ReadFull(s.cfg.Rand, octets); err != nil {
		return fmt.Errorf("failed to draw the key of a PCTD: %w", err)
	}
	m.key.Key = secret.New(octets)
	return nil
}

// replied takes a plain target's CTDR (RFC 4067 section 2.5.4): the transfer is over.
func (s *Session) replied(m *CTDR) {
	src := s.src
	var failed []ContextStatus
	for _, st := range m.Statuses {
		if st.Status != StatusOK {
			failed = append(failed, st)
		}
	}
	all := incoming{copies: src.static}
	switch {
	case all.nothingTaken(failed), !m.Success && len(failed) == 0:
		s.fail(EventRefused, unite(failed, src.missing), "the target could not use the contexts; the session goes on here")
	case src.whole && (src.ordered || src.proved || src.spent):
		src.missing = unite(src.missing, failed)
		s.acknowledge(src.missing)
		s.do(stateReleasing, Do{Verb: VerbRelease, Epoch: src.epoch})
	default:
		s.copied(unite(src.missing, failed))
	}
}

// copied ends a transfer after which the session goes on here: because of what it has
// besides, or because nobody wanted more than a copy.
func (s *Session) copied(missing []ContextStatus) {
	m := s.src
	s.acknowledge(missing)
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventStaged, Peer: m.to, Statuses: missing, Final: true,
		Detail: "copied; the session goes on here"})
	if m.spent {
		s.dropKeys(m.key.Number)
	}
	s.src = nil
	wipe(m.static)
	s.own()
}
