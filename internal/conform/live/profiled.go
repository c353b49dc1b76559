package live

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// profiled is a transfer by our control profile (rfc/control-profile.md section 8),
// for contexts that must not be copied.
type profiled struct {
	router      cxtp.RouterID    // the router under test, in control blocks
	incarnation cxtp.Incarnation // of the journal that the prober does not have
}

func newProfiled(router cxtp.RouterID) profiled {
	var octets [8]byte
	rand.Read(octets[:])
	return profiled{router, cxtp.Incarnation(binary.BigEndian.Uint64(octets[:]) | 1)}
}

// profiledMove is what the profile says of a session beside its contexts.
type profiledMove struct {
	control cxtp.Control // of the last stage
	last    []cxtp.CDB   // dynamic contexts of the final
	windows []cxtp.CDB   // those of the close
	key     uint32       // number of the token key that the last stage gave
	theirs  cxtp.Incarnation
}

// phase wants a CTD of a phase about a session.
func phase(want cxtp.Phase, id cxtp.SessionID) func(*arrival) bool {
	return func(a *arrival) bool {
		m, ok := a.message.(*cxtp.CTD)
		if !ok {
			return false
		}
		got, session, _, ok := m.About()
		return ok && got == want && session == id
	}
}

// outcome wants an answer about an epoch.
func outcome(c cxtp.Control, states ...cxtp.OutcomeState) func(*arrival) bool {
	return func(a *arrival) bool {
		m, ok := a.message.(*cxtp.Outcome)
		return ok && !m.Question && m.Session == c.Session && m.Epoch == c.Epoch && slices.Contains(states, m.State)
	}
}

// tell answers about the router's epoch.
func (s profiled) tell(t *trial, n *node, c cxtp.Control, state cxtp.OutcomeState) {
	t.send(&cxtp.Outcome{Previous: n.previous, Session: c.Session, Epoch: c.Epoch, Incarnation: s.incarnation,
		State: state, Go: state == cxtp.OutcomeStaged, Steered: state == cxtp.OutcomeActive})
}

// accept is the target's half of section 8.1.
func (s profiled) accept(t *trial, n *node, first *cxtp.CTD, proof *cxtp.CTReq) *holding {
	if len(first.Blocks) == 0 {
		t.fail("the stage has no control block")
	}
	control, err := cxtp.ParseControl(first.Blocks[0])
	t.check(err == nil, "the stage's control block cannot be read: %v", err)
	h := &holding{node: n, moved: &profiledMove{control: control}}
	for _, b := range kept(first.Blocks[1:]) {
		if b.FPT != cxtp.FPTNode && b.FPT != cxtp.FPTError {
			h.data = append(h.data, b)
		}
	}
	s.tell(t, n, control, cxtp.OutcomeStaged)
	if first.Ack {
		t.send(&cxtp.CTDR{Success: true, Previous: n.previous})
	}
	if proof != nil {
		t.send(proof)
	}
	final := t.await("the final of "+n.previous.String(), phase(cxtp.PhaseFinal, control.Session))
	h.moved.last = kept(final.message.(*cxtp.CTD).Blocks[1:])
	s.tell(t, n, control, cxtp.OutcomeActive)
	closed := t.await("the close of "+n.previous.String(), phase(cxtp.PhaseClosed, control.Session))
	h.moved.windows = kept(closed.message.(*cxtp.CTD).Blocks[1:])
	s.tell(t, n, control, cxtp.OutcomeClosed)
	return h
}

// offer stages at the router what the prober was given, with the next epoch, and a
// node block in which the key is the node's next.
func (s profiled) offer(t *trial, h *holding, key secret.Key, ack bool) {
	m := h.moved
	m.key++
	block, err := cxtp.NodeState{Tokens: []cxtp.NumberedKey{{Number: m.key, Key: key}}}.Block()
	t.must(err)
	blocks := append(slices.Clone(h.data), block)
	digest, err := cxtp.DigestOf(blocks)
	t.must(err)
	m.control = cxtp.Control{Phase: cxtp.PhaseStage, Mode: m.control.Mode, Session: m.control.Session,
		Epoch: m.control.Epoch + 1, Digest: digest, Target: s.router, Manifest: m.control.Manifest}
	t.send(s.data(t, h, blocks, &cxtp.CTD{Predictive: true, Ack: ack, Algorithm: cxtp.AlgorithmHMACSHA1, Key: key}))
	said := t.await("\"staged\"", outcome(m.control, cxtp.OutcomeStaged, cxtp.OutcomeRefused, cxtp.OutcomeUnseen)).message.(*cxtp.Outcome)
	t.check(said.State == cxtp.OutcomeStaged, "the router did not stage what it had given itself: %v %v", said.State, said.Statuses)
	m.theirs = said.Incarnation
}

// data adds the control block to a CTD.
func (s profiled) data(t *trial, h *holding, blocks []cxtp.CDB, m *cxtp.CTD) *cxtp.CTD {
	control, err := h.moved.control.Block()
	t.must(err)
	m.Previous, m.Blocks = h.node.previous, append([]cxtp.CDB{control}, blocks...)
	return m
}

// finish grants, and closes.
func (s profiled) finish(t *trial, h *holding) {
	m := h.moved
	t.await("the CT-Req that shows the node's token", is[cxtp.CTReq](h.node.previous))
	m.control.Phase, m.control.TokenProved, m.control.Serial, m.control.Incarnation = cxtp.PhaseFinal, true, m.key, m.theirs
	t.send(s.data(t, h, m.last, &cxtp.CTD{}))
	said := t.await("\"active\"", outcome(m.control, cxtp.OutcomeActive, cxtp.OutcomeRefused)).message.(*cxtp.Outcome)
	t.check(said.State == cxtp.OutcomeActive, "the router refused the final: %v", said.Statuses)
	m.control.Phase, m.control.Serial = cxtp.PhaseClosed, 0
	t.send(s.data(t, h, m.windows, &cxtp.CTD{}))
	t.await("\"closed\"", outcome(m.control, cxtp.OutcomeClosed))
}
