package cxtp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// FuzzStep reads octets as a program: messages, orders, results and time for one
// router, B, between a peer A that may do everything and a peer C that may do
// little. Whatever comes, the machine does not panic, gets past its timers, sends
// nothing that cannot be encoded, asks the features for nothing that their state
// forbids, and says nothing of an epoch before the record that makes it true.
func FuzzStep(f *testing.F) {
	const (
		adopt, handover = "\x00\x00p", "\x01\x00\x00\x00p00" // session 0; to A, until the stage is sent
		stage           = "\x04\x00\x00\x00\x000p"           // from A, until it is held
		copied          = "\x04\x00\x00\x00\x05\x01\x050p"   // the same, as a standby's copy
	)
	for _, program := range []string{
		adopt + handover + "\x05\x00\x00\x02\x00p0\x05\x00\x00\x04\x000\x0a\x64\x0200p\x05\x00\x00\x07\x00", // out of here
		adopt + handover + "\x05\x00\x00\x02\x00p0",                                                         // no answer
		adopt + handover + "\x05\x00\x00\x02\x00p0\x05\x00\x00\x03\x000p",                                   // refused and thawed
		adopt + handover + "\x0a\x64\x05p00\x0a\x64\x05p00\x0a\x64\x05",                                     // nothing heard
		adopt + "\x0c\x00\x00\x0a\xff\x10p00\x05\x00\x00\x02\x000\x0a\xff\x100\x05\x00\x00\x02\x04\x02" + // a standby, left for a move
			"\x01\x00\x01\x00\x05\x00\x00\x03\x00p00",
		stage + "\x04\x00\x00\x01\x000p0\x09\x00\x04\x00\x00\x02\x000p0" + handover, // to here, and on
		stage + "\x04\x00\x00\x03\x00p0", stage + "\x0a\xff\xff\x0a\xff\xffp0",      // withdrawn; too late
		"\x08\x00\x00\x00\x07\x00\x04\x00\x00\x00\x040p\x04\x00\x00\x01\x04\x81p0",  // a node asks; not activated
		"\x02\x00\x00\x01\x04\x00\x00\x00\x000p\x02\x00\x00\x00\x0b\x00\x00\x00p0",  // asked for; killed
		copied + "\x04\x00\x00\x04\x05\x02\x050p\x0a\xff\xffp0p0\x0b\x01\x00\x000p", // taken over; powered off
		copied + "\x0d\x00\x00p0p0", adopt + "\x06\x00\x00\x07\x00p00\x0b\x00\x00\x000", // fenced; asked away, killed
		adopt + "\x06\x00\x00\x07\x04pEK\x05\x00\x00\x02\x03\x05pB", // some contexts asked for, and some missing
	} {
		f.Add([]byte(program))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		b := &bench{T: t, program: program, now: epochZero, cfg: benchConfig()}
		b.boot(nil)
		for steps := 0; len(b.program) > 0 && steps < 2000; steps++ {
			b.next()
		}
		b.settle()
	})
}

// bench is a router under test, with its journal and its features.
type bench struct {
	*testing.T
	program []byte
	now     time.Time
	cfg     Config
	router  *Router

	journal []Record           // durable
	writing []Persist          // in order
	doing   map[SessionID][]Do // in order, a session's
	steers  []Steer
	sas     [benchSessions]saState
	proof   [benchSessions]map[Epoch]RecordKind // what a durable record says of an epoch
	heard   [benchSessions]map[OutcomeState]bool
	word    [benchSessions]bool // the operator has said something that allows a thaw
}

const benchSessions = 3

func benchConfig() Config {
	return Config{
		Self: "B", Incarnation: 7, Timers: DefaultTimers(), Mode: ModeLossless, Headroom: 100, Inspect: simInspect,
		Gateway4: netip.MustParseAddrPort("192.0.2.2:4500"), Gateway6: netip.MustParseAddrPort("[2001:db8::2]:4500"),
		Peers: []Peer{
			{ID: "A", Addrs: []netip.Addr{simAddr(0)}, Push: true, ActivateWithoutToken: true, Pull: PullMove},
			{ID: "C", Addrs: []netip.Addr{simAddr(2)}, MaxSessions: 1},
		},
	}
}

// boot starts the machine from its journal; what the SAD held is gone, or held.
func (b *bench) boot(held []Held) {
	router, added, err := NewRouter(b.cfg, b.journal, held)
	if err != nil {
		b.Fatal(err)
	}
	b.router, b.writing, b.doing, b.steers = router, nil, map[SessionID][]Do{}, nil
	for _, r := range added {
		if r.Kind == RecordRefused {
			b.Errorf("a restart refuses epoch %d: nobody knows whether it was active", r.Epoch)
		}
		b.durable(r)
	}
}

// byte is the next octet of the program; 0 when it has ended.
func (b *bench) byte() byte {
	if len(b.program) == 0 {
		return 0
	}
	x := b.program[0]
	b.program = b.program[1:]
	return x
}

// index is a small number of the program.
func (b *bench) index(n int) int { return int(b.byte()) % n }

func (b *bench) session() SessionID { return SessionID{byte(1 + b.index(benchSessions))} }

func (b *bench) peer() RouterID { return [...]RouterID{"A", "C", "Z"}[b.index(3)] }

// at is the previous address of a session; the last two share one.
func at(id SessionID) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, min(id[0], 2)}) }

func nodeOf(id SessionID) NodeState {
	key := func(n byte) secret.Key { return secret.New([]byte{id[0], n}) }
	return NodeState{Agent: netip.MustParseAddrPort("203.0.113.9:4500"), UpdateKey: key(0),
		Tokens: []NumberedKey{{1, key(1)}, {2, key(2)}}}
}

// simGateway is the outer address of whoever stages here.
var simGateway = netip.MustParseAddrPort("192.0.2.1:4500")

func claimsOf(id SessionID) Claims {
	return Claims{Identity: "node", Inner: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, id[0]}), 32)}}
}

// next carries out one instruction.
func (b *bench) next() {
	switch op := b.byte(); op {
	case 0:
		id := b.session()
		if s := b.router.sessions[id]; s == nil {
			b.sas[id[0]-1] = saActive
		}
		b.step(Adopt{Session: id, Previous: at(id), Node: nodeOf(id), Claims: claimsOf(id), Ticket: 1})
	case 1:
		b.step(Handover{Session: b.session(), To: b.peer(), StageOnly: b.index(2) == 1, Ticket: 2})
	case 2:
		id := b.session()
		b.step(Pull{Previous: at(id), Session: id, From: b.peer(), StageOnly: b.index(2) == 1, Sequence: uint32(b.byte()), Ticket: 3})
	case 3:
		b.step(Cancel{Session: b.session(), Ticket: 4})
	case 4:
		b.data()
	case 5:
		b.outcome()
	case 6:
		b.request()
	case 7:
		id := b.session()
		m := [...]Message{&CTC{Previous: at(id)}, &CTDR{Previous: at(id)}, &CTD{Ack: true, Previous: at(id)},
			&CTD{Previous: at(id), Blocks: []CDB{ErrorBlock(ContextStatus{FPTControl, Status(b.byte())})}}}[b.index(4)]
		b.step(FromRouter{From: b.peer(), Message: m})
	case 8:
		b.activate()
	case 9:
		b.acknowledge()
	case 10:
		b.now = b.now.Add(time.Duration(b.byte()) * time.Duration(b.byte()) * time.Millisecond)
		b.tick()
	case 11:
		b.restart()
	case 12:
		id := b.session()
		b.word[id[0]-1] = true
		b.step(Standby{Session: id, To: b.peer(), Ticket: 5})
	case 13:
		id := b.session()
		b.word[id[0]-1] = true
		b.step(Resolve{Session: id, Fenced: b.peer(), Ticket: 6})
	case 14:
		b.step(Near{Session: b.session()})
	case 15:
		n := min(b.index(200), len(b.program))
		if m, err := Decode(slices.Clone(b.program[:n])); err == nil {
			b.step(FromRouter{From: "A", Message: m})
			b.step(FromNode{From: netip.MustParseAddrPort("203.0.113.9:4500"), Message: m})
		}
		b.program = b.program[n:]
	case 'p':
		b.persisted()
	default:
		b.done(int(op)%benchSessions, op)
	}
}

// settle ends everything that is under way, and lets an hour pass.
func (b *bench) settle() {
	for range 200 {
		for i := range benchSessions {
			b.done(i, 0)
		}
		b.persisted()
		b.now = b.now.Add(20 * time.Second)
		b.tick()
	}
	for i, sa := range b.sas {
		if sa == saFrozen || sa == saDraining {
			b.Errorf("session %d is %s for ever", i+1, saNames[sa])
		}
	}
}

func (b *bench) step(in Input) { b.carry(b.router.Step(b.now, in)) }

func (b *bench) tick() {
	b.carry(b.router.Tick(b.now))
	if at := b.router.Deadline(); !at.IsZero() && !at.After(b.now) {
		b.Fatalf("the machine does not get past its timer of %s", at)
	}
}

// data is a CTD of a peer: right for the session as it is here, but for what the
// program changes.
func (b *bench) data() {
	id, from, phase := b.session(), b.peer(), Phase(1+b.index(len(phaseNames)-1))
	c := Control{Phase: phase, Mode: ModeLossless, Session: id, Target: "B", Incarnation: b.cfg.Incarnation,
		Manifest: []ManifestEntry{{FPTIPsecSA, 2, 50, simSPI, 1000}}}
	blocks := []CDB{{FPT: FPTIPsecSession, Data: simText(claimsOf(id), simGateway)}}
	if node, err := nodeOf(id).Block(); err == nil {
		blocks = append(blocks, node)
	}
	c.Digest, _ = DigestOf(blocks)
	if s := b.router.sessions[id]; s != nil {
		c.Epoch = s.epoch
	}
	if phase == PhaseStage {
		c.Epoch++
	} else {
		blocks = nil
	}
	switch b.byte() {
	case 1:
		c.Epoch += Epoch(b.byte())
	case 2:
		c.Digest[0]++
	case 3:
		c.Incarnation++
	case 4:
		c.TokenProved = true
	case 5:
		c.Standby, c.Serial, c.Lease = true, uint32(b.byte()), time.Duration(b.byte())*time.Second
	case 6:
		c.Mode = ModeStrict
	case 7:
		blocks = append(blocks, CDB{FPT: FPT(b.byte()), Data: []byte{b.byte()}})
	}
	control, err := c.Block()
	if err != nil {
		b.Fatal(err)
	}
	b.step(FromRouter{From: from, Message: &CTD{Ack: true, Previous: at(id), Blocks: append([]CDB{control}, blocks...)}})
}

// outcome is a peer's answer, or a question.
func (b *bench) outcome() {
	id, from := b.session(), b.peer()
	o := &Outcome{Previous: at(id), Session: id, Incarnation: 9, State: OutcomeState(b.index(len(outcomeNames)))}
	if s := b.router.sessions[id]; s != nil {
		o.Epoch = s.epoch
		if s.src != nil {
			o.Serial = s.src.sent.last().serial
		}
	}
	o.Question = o.State == 0
	switch b.byte() {
	case 1:
		o.Epoch -= Epoch(b.byte())
	case 2:
		o.Incarnation++
	case 3:
		o.Statuses = []ContextStatus{{FPTControl, Status(b.byte())}}
	case 4:
		o.Serial = uint32(b.byte())
	default:
		o.Go, o.Steered = true, true
	}
	if b.heard[id[0]-1] == nil {
		b.heard[id[0]-1] = map[OutcomeState]bool{}
	}
	b.heard[id[0]-1][o.State] = true
	b.step(FromRouter{From: from, Message: o})
}

// token is one that a key of the node makes, or nobody's, and what it is made
// over.
func (b *bench) token(id SessionID, sequence uint32) (t Token, requests []CDB) {
	requests = []CDB{SessionNameBlock(id)}
	n := b.index(6)
	if n >= 4 { // with a list of context types
		requests = append(requests, CDB{FPT: FPTIPsecSA}, CDB{FPT: FPTMulticastListener})
	}
	switch n % 4 {
	case 0, 1:
		t, _ = ComputeToken(nodeOf(id).Tokens[n%4].Key, at(id), sequence, requests)
	case 2:
		t = Token{1, 2, 3, 4}
	}
	return t, requests
}

func (b *bench) request() {
	id, from := b.session(), b.peer()
	q := &CTReq{Previous: at(id), Sequence: uint32(b.byte())}
	q.Token, q.Requests = b.token(id, q.Sequence)
	b.step(FromRouter{From: from, Message: q})
}

func (b *bench) activate() {
	id := b.session()
	m := &CTAR{Ack: b.index(2) == 0, Previous: at(id), Router: simAddr(b.index(4)), Sequence: uint32(b.byte())}
	m.Token, m.Requests = b.token(id, m.Sequence)
	b.step(FromNode{From: netip.MustParseAddrPort("203.0.113.9:4500"), Message: m})
}

func (b *bench) acknowledge() {
	id := b.session()
	ack := &UpdateAck{Previous: at(id), Session: id}
	if s := b.router.sessions[id]; s != nil {
		ack.Number = uint64(s.epoch)
	}
	if err := ack.Sign(nodeOf(id).UpdateKey); err != nil {
		b.Fatal(err)
	}
	b.step(FromNode{From: netip.MustParseAddrPort("203.0.113.9:4500"), Message: ack})
}

// restart loses what was not durable: the SAs too, or the daemon alone.
func (b *bench) restart() {
	var held []Held
	for i := range b.sas {
		sa := simSA{state: b.sas[i]}
		if b.index(2) == 0 {
			b.sas[i] = 0
		} else if sa.state != 0 {
			id := SessionID{byte(1 + i)}
			held = append(held, Held{id, sa.held(), claimsOf(id)})
		}
	}
	b.boot(held)
	b.tick()
}

// carry takes what the machine decided.
func (b *bench) carry(actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			b.encodes(a.Message)
			b.true(a.Message)
		case SendNode:
			b.encodes(a.Message)
		case Persist:
			b.writing = append(b.writing, a)
		case Do:
			a.Blocks = cloneBlocks(a.Blocks)
			b.doing[a.Session] = append(b.doing[a.Session], a)
		case Steer:
			b.steers = append(b.steers, a)
		}
	}
}

func (b *bench) encodes(m Message) {
	wire, err := m.Append(nil)
	if err != nil {
		b.Errorf("a %s cannot be encoded: %v", kind(m), err)
	} else if _, err := Decode(wire); err != nil {
		b.Errorf("a %s cannot be decoded: %v", kind(m), err)
	}
}

// true checks that a message says no more than the journal proves.
func (b *bench) true(m Message) {
	switch m := m.(type) {
	case *Outcome:
		if m.Question {
			return
		}
		proof := b.proof[m.Session[0]-1][m.Epoch]
		switch m.State {
		case OutcomeStaged:
			if proof != RecordMayActivate {
				b.Errorf("says that epoch %d is staged, on record is %s", m.Epoch, proof)
			}
		case OutcomeRefused:
			if proof != RecordRefused {
				b.Errorf("says that epoch %d is refused, on record is %s", m.Epoch, proof)
			}
		case OutcomeActive, OutcomeClosed, OutcomeMovedOn:
			if proof < RecordMayActivate || proof == RecordRefused {
				b.Errorf("says that epoch %d is %s, on record is %s", m.Epoch, m.State, proof)
			}
		}
	case *CTD:
		c, err := ParseControl(m.Blocks[0])
		if err == nil && c.Phase == PhaseFinal && b.proof[c.Session[0]-1][c.Epoch] != RecordGranted {
			b.Errorf("sends the final of epoch %d, on record is %s", c.Epoch, b.proof[c.Session[0]-1][c.Epoch])
		}
	}
}

func (b *bench) durable(r Record) {
	b.journal = append(b.journal, r)
	i := r.Session[0] - 1
	if b.proof[i] == nil {
		b.proof[i] = map[Epoch]RecordKind{}
	}
	if r.Kind != RecordEnded || b.proof[i][r.Epoch] < RecordMayActivate { // what was active here stays so when it ends
		b.proof[i][r.Epoch] = r.Kind
	}
}

// persisted makes the oldest record durable.
func (b *bench) persisted() {
	if len(b.writing) == 0 {
		return
	}
	p := b.writing[0]
	b.writing = b.writing[1:]
	b.durable(p.Record)
	b.step(Done{Session: p.Record.Session, Op: p.Op})
}

// done ends the oldest operation of a session, or a steering; some instructions
// make it fail, or fail in part.
func (b *bench) done(i int, op byte) {
	id := SessionID{byte(1 + i)}
	result := Done{Session: id, Detail: "told to fail"}
	switch {
	case op >= 128:
		result.Failed = []ContextStatus{{FPTIPsecSA, StatusNoResources}}
	case op >= 'A' && op <= 'Z':
		result.Partial = []ContextStatus{{FPTMulticastListener, StatusNoResources}}
	}
	switch waiting := b.doing[id]; {
	case len(waiting) > 0:
		b.doing[id] = waiting[1:]
		b.feature(i, waiting[0], &result)
	case len(b.steers) > 0:
		result.Session, result.Op = b.steers[0].Session, b.steers[0].Op
		b.steers = b.steers[1:]
	default:
		return
	}
	b.step(result)
}

// allowed is in which states of a session's SAs a feature may be asked for what.
var allowed = map[Verb][]saState{
	VerbExport: {saActive}, VerbStage: {0}, VerbFreeze: {saActive, saFrozen, saDraining, saClosed}, VerbActivate: {saStaged},
	VerbThaw: {saFrozen}, VerbRedirect: {saFrozen, saDraining, saClosed}, VerbClose: {saFrozen, saDraining, saClosed}, VerbMerge: {saActive},
	VerbSample: {saActive}, VerbLimit: {saActive, saFrozen}, VerbRenew: {saStaged}, VerbTakeOver: {saStaged},
	VerbRelease: {0, saStaged, saActive, saFrozen, saDraining, saClosed}, VerbDiscard: {0, saStaged},
}

var after = map[Verb]saState{VerbStage: saStaged, VerbFreeze: saFrozen, VerbActivate: saActive, VerbThaw: saActive,
	VerbRedirect: saDraining, VerbClose: saClosed, VerbTakeOver: saActive}

// feature does what a Do asks.
func (b *bench) feature(i int, d Do, result *Done) {
	result.Op = d.Op
	if !slices.Contains(allowed[d.Verb], b.sas[i]) {
		b.Errorf("%s of session %d while its SAs are %s", d.Verb, i+1, saNames[b.sas[i]])
	}
	heard := b.heard[i]
	switch {
	case d.Verb == VerbThaw && !heard[OutcomeRefused] && !b.word[i]:
		b.Errorf("session %d is thawed, and nobody has refused it", i+1)
	case d.Verb == VerbClose && !heard[OutcomeActive] && !heard[OutcomeClosed]:
		b.Errorf("session %d is closed, and nobody is active for it", i+1)
	}
	switch {
	case d.Verb == VerbRelease || d.Verb == VerbDiscard:
		b.sas[i] = 0
	case result.Failed != nil:
		return
	case d.Verb == VerbFreeze || d.Verb == VerbRedirect:
		b.sas[i] = max(b.sas[i], after[d.Verb])
	case after[d.Verb] != 0:
		b.sas[i] = after[d.Verb]
	}
	sa := simSA{seq: 5, contexts: []CDB{{FPT: FPTIPsecSession, Data: simText(claimsOf(d.Session), simGateway)}}}
	switch d.Verb {
	case VerbExport:
		result.Blocks, result.Manifest = sa.contexts, sa.manifest()
	case VerbSample:
		result.Blocks, result.Manifest = sa.dynamic(), sa.manifest()
	case VerbFreeze, VerbClose:
		result.Blocks = sa.dynamic()
	}
}
