package cxtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The features of the simulator: a SAD that holds one outbound SA and one
// inbound SA a session, and that knows the laws. Whatever it is asked to do
// against them, it does, and writes down which law was broken.

type saState uint8

const (
	saStaged saState = iota + 1
	saActive
	saFrozen   // outbound stopped and counted, inbound live
	saDraining // as frozen, and the queue goes to the target
	saClosed   // inbound ended too
)

var saNames = [...]string{"none", "staged", "active", "frozen", "draining", "closed"}

// simSA is what one router's SAD holds of one session.
type simSA struct {
	state    saState
	epoch    Epoch
	key      string
	seq      uint64 // outbound: the last one sent
	ceiling  uint64 // outbound: not passed before the merge; 0 = none
	window   simWindow
	contexts []CDB
	deaf     bool     // strict mode: inbound ended in the freeze
	sample   []CDB    // staged: of the last renewal
	spi      uint32   // inbound
	from     RouterID // whom it was staged by; "" = it began here
}

// held is what a daemon finds after a crash.
func (sa *simSA) held() HeldState {
	switch sa.state {
	case saStaged:
		return HeldStaged
	case saActive:
		return HeldActive
	}
	return HeldFrozen
}

// simWindow is an anti-replay window as wide as a schedule is long.
type simWindow [16]uint64

func (w *simWindow) has(n int) bool { return w[n/64]&(1<<(n%64)) != 0 }
func (w *simWindow) add(n int)      { w[n/64] |= 1 << (n % 64) }
func (w *simWindow) unite(o simWindow) {
	for i := range w {
		w[i] |= o[i]
	}
}

// fill counts all up to the highest as seen.
func (w *simWindow) fill() {
	highest := 64*len(w) - 1
	for highest > 0 && !w.has(highest) {
		highest--
	}
	for i := range highest {
		w.add(i)
	}
}

const simSPI = 0x1001

// simText is the shared context: text, so that padding is no concern.
func simText(claims Claims, gateway netip.AddrPort) []byte {
	return fmt.Appendf(nil, "%s %s %s", claims.Identity, claims.Inner[0], gateway)
}

// simInspect is the Inspect of every simulated router.
func simInspect(blocks []CDB) (Claims, error) {
	for _, b := range blocks {
		if b.FPT != FPTIPsecSession {
			continue
		}
		var identity, inner, gateway string
		if _, err := fmt.Sscan(string(bytes.TrimRight(b.Data, "\x00")), &identity, &inner, &gateway); err != nil {
			return Claims{}, fmt.Errorf("failed to read session context: %w", err)
		}
		p, err := netip.ParsePrefix(inner)
		g, bad := netip.ParseAddrPort(gateway)
		return Claims{Identity: identity, Inner: []netip.Prefix{p}, Gateways: []netip.AddrPort{g}}, errors.Join(err, bad)
	}
	if len(blocks) > 0 && !slices.ContainsFunc(blocks, func(b CDB) bool { return b.FPT != FPTMulticastListener }) {
		return Claims{}, nil
	}
	return Claims{}, fmt.Errorf("no session context")
}

func (sa *simSA) dynamic() []CDB {
	data := binary.BigEndian.AppendUint64(nil, sa.seq)
	for _, w := range sa.window {
		data = binary.BigEndian.AppendUint64(data, w)
	}
	return []CDB{{FPT: FPTIPsecDynamic, Data: data}}
}

func readDynamic(blocks []CDB) (seq uint64, w simWindow, ok bool) {
	for _, b := range blocks {
		if b.FPT == FPTIPsecDynamic && len(b.Data) >= 8+8*len(w) {
			for i := range w {
				w[i] = binary.BigEndian.Uint64(b.Data[8+8*i:])
			}
			return binary.BigEndian.Uint64(b.Data), w, true
		}
	}
	return 0, w, false
}

// carryOut does what a Do asks of a router's SAD.
func (w *world) carryOut(n *simRouter, d Do) Done {
	if w.listens(d.Session) {
		return w.carryOutListener(n, d)
	}
	result := Done{Session: d.Session, Op: d.Op}
	if left, ok := n.fail[d.Verb]; ok {
		delete(n.fail, d.Verb)
		w.sessions[d.Session].gap = w.sessions[d.Session].gap || d.Verb == VerbMerge
		result.Failed, result.Detail = []ContextStatus{{FPTIPsecSA, left}}, "told to fail"
		return result
	}
	sa := n.sad[d.Session]
	must := func(states ...saState) bool {
		for _, s := range states {
			if sa != nil && sa.state == s {
				return true
			}
		}
		have := saState(0)
		if sa != nil {
			have = sa.state
		}
		w.violation("progress: %s: %s of %s e%d while its SAs are %s", n.id, d.Verb, w.name(d.Session), d.Epoch, saNames[have])
		return false
	}
	switch d.Verb {
	case VerbExport:
		if must(saActive) {
			chosen, unknown := chosen(sa.contexts, d.Types)
			result.Blocks, result.Partial = cloneBlocks(chosen), unknown
			result.Manifest = sa.manifest()
		}
	case VerbSample:
		if must(saActive) {
			result.Blocks, result.Manifest = sa.dynamic(), sa.manifest()
			slices.Reverse(result.Manifest) // its order is nobody's business
		}
	case VerbLimit:
		if must(saActive, saFrozen) {
			sa.ceiling = simCeiling(d.Manifest)
		}
	case VerbRenew:
		if must(saStaged) {
			sa.sample, sa.ceiling = cloneBlocks(d.Blocks), simCeiling(d.Manifest)
		}
	case VerbTakeOver:
		if must(saStaged) {
			w.takeOver(n, sa, d)
		}
	case VerbStage:
		if sa != nil {
			w.violation("law 2: %s: stage of %s e%d over SAs that are %s", n.id, w.name(d.Session), d.Epoch, saNames[sa.state])
		}
		w.taken(n, d)
		staged := w.staged(n, d)
		if n.conflicts[d.Session] && !w.reassigned(d, staged, &result) {
			return result
		}
		n.sad[d.Session] = staged
	case VerbFreeze:
		if must(saActive, saFrozen, saDraining, saClosed) {
			if sa.state == saActive {
				w.mayFreeze(n, d)
				sa.state, sa.deaf = saFrozen, d.Mode == ModeStrict
				n.frozenAt[d.Session] = w.now
			}
			result.Blocks = sa.dynamic()
		}
	case VerbActivate:
		if must(saStaged) {
			w.activate(n, sa, d)
		}
	case VerbThaw:
		if must(saFrozen) {
			sa.state, sa.deaf = saActive, false
			sa.seq = max(sa.seq, simCeiling(d.Manifest))
			delete(n.frozenAt, d.Session)
		}
	case VerbRedirect:
		if must(saFrozen, saDraining, saClosed) {
			sa.state = max(sa.state, saDraining)
		}
	case VerbClose:
		if must(saFrozen, saDraining, saClosed) {
			sa.state = saClosed
			result.Blocks = sa.dynamic()
		}
	case VerbMerge:
		if len(d.Blocks) == 0 && must(saActive) {
			sa.window.fill() // what is above the highest stays exposed
			w.sessions[d.Session].gap = true
		} else if must(saActive) {
			_, last, ok := readDynamic(d.Blocks)
			sa.window.unite(last)
			w.replayAll(n, d.Session, sa, ok)
		}
	case VerbRelease:
		w.mayDrop(n, d)
		if sa != nil {
			delete(n.sad, d.Session)
			delete(n.frozenAt, d.Session)
		}
	case VerbDiscard:
		if sa != nil && must(saStaged) {
			delete(n.sad, d.Session)
		}
	}
	n.lack(d, &result)
	return result
}

func (w *world) staged(n *simRouter, d Do) *simSA {
	sa := &simSA{state: saStaged, epoch: d.Epoch, from: w.stagedFrom[simRef{d.Session, d.Epoch}], contexts: cloneBlocks(d.Blocks)}
	for i, b := range sa.contexts {
		if b.FPT == FPTIPsecSession { // with this router's outer address
			sa.contexts[i].Data = simText(w.sessions[d.Session].claims, n.cfg.Gateway4)
		}
		if b.FPT == FPTIPsecSA {
			sa.key = strings.TrimRight(string(b.Data), "\x00")
		}
	}
	for _, m := range d.Manifest {
		if m.Direction == 1 {
			sa.spi = m.SPI
		}
	}
	sa.ceiling = simCeiling(d.Manifest)
	if sa.key != w.sessions[d.Session].key {
		w.violation("progress: the key of %s arrived as %q", w.name(d.Session), sa.key)
	}
	return sa
}

func (w *world) activate(n *simRouter, sa *simSA, d Do) {
	seq, window, ok := readDynamic(d.Blocks)
	if !ok || sa.epoch != d.Epoch {
		w.violation("law 1: %s: activate of %s e%d, staged is e%d", n.id, w.name(d.Session), d.Epoch, sa.epoch)
	}
	ref := simRef{d.Session, d.Epoch}
	if at, again := w.activated[ref]; again {
		w.violation("law 1: %s: %s e%d activated twice, before at %s", n.id, w.name(d.Session), d.Epoch, at)
	}
	w.activated[ref] = n.id
	w.authorised(n, d)
	w.spent(n, d)
	sa.seq, sa.window, sa.state = seq, window, saActive
	if n.cfg.Mode == ModeStrict {
		w.replayAll(n, d.Session, sa, true)
	}
}

// reassigned gives an SA whose SPI is taken another one, if it may.
func (w *world) reassigned(d Do, sa *simSA, result *Done) bool {
	if !d.Reassign {
		result.Failed, result.Detail = []ContextStatus{{FPTIPsecSA, StatusSPIConflict}}, "the SPI is taken"
		return false
	}
	w.lastSPI += 0x1000
	result.SPIs = []SPIChange{{protocolESP, sa.spi, w.lastSPI}}
	sa.spi = w.lastSPI
	return true
}

// follows is what a node does with an Update: the gateway that has sent it must
// receive on the SPI that the node sends on then.
func (w *world) follows(ses *simSession, a AgentFollow) {
	for _, c := range a.SPIs {
		if c.Old == ses.spi {
			ses.spi = c.New
			break
		}
	}
	for _, n := range w.routers {
		sa := n.sad[ses.id]
		if n.cfg.Gateway4 == a.Gateway && sa != nil && sa.state == saActive && sa.spi != ses.spi {
			w.violation("progress: %s sends to %s on %#x, which receives on %#x", ses.name, n.id, ses.spi, sa.spi)
		}
	}
}

// manifest lists the SAs with their present sequence numbers.
func (sa *simSA) manifest() []ManifestEntry {
	return []ManifestEntry{{FPTIPsecSA, 1, 50, sa.spi, 0}, {FPTIPsecSA, 2, 50, simSPI + 1, sa.seq}}
}

// simCeiling is the ceiling that a manifest gives; 0 = none.
func simCeiling(manifest []ManifestEntry) uint64 {
	for _, m := range manifest {
		if m.Direction == directionOut {
			return m.Ceiling
		}
	}
	return 0
}

// takeOver starts a standby's copy above its ceiling. What the owner accepted
// since the last renewal is the exposure that a takeover has.
func (w *world) takeOver(n *simRouter, sa *simSA, d Do) {
	_, window, ok := readDynamic(sa.sample)
	if !ok {
		w.violation("law 2: %s: takes %s over without a renewal", n.id, w.name(d.Session))
	}
	if p, _ := n.cfg.peer(w.stagedFrom[simRef{d.Session, d.Epoch}]); p == nil || !p.ActivateWithoutToken {
		w.violation("law 5: %s: takes %s over without authority", n.id, w.name(d.Session))
	}
	w.activated[simRef{d.Session, d.Epoch}] = n.id
	w.sessions[d.Session].gap = true
	sa.seq, sa.window, sa.state, sa.ceiling = sa.ceiling, window, saActive, 0
}

// authorised is law 5 told again, without the machine: an order at the source
// and the target's policy, or a token of the node's for just these two.
func (w *world) authorised(n *simRouter, d Do) {
	from := w.stagedFrom[simRef{d.Session, d.Epoch}]
	way := simWay{w.own(d.Session), from, n.id}
	token := w.byToken(way)
	switch byToken := w.proved[simRef{d.Session, d.Epoch}] && w.tokens[token] > 0; {
	case !byToken && w.byOrder(way):
		w.orders[way]--
	case w.tokens[token] > 0:
		w.tokens[token]--
	case w.standing(way, d.Session):
	default:
		w.violation("law 5: %s: %s e%d activated without authority", n.id, w.name(d.Session), d.Epoch)
	}
}

// traffic sends a packet from every SA that may, and one from every node to
// every gateway that listens.
func (w *world) traffic() {
	for _, id := range w.order {
		ses := w.sessions[id]
		var sender, strict, receiver RouterID
		for _, n := range w.routers {
			sa := n.sad[id]
			if sa == nil {
				continue
			}
			if sa.state == saActive {
				if sender != "" {
					w.violation("law 2: %s and %s both send for %s", sender, n.id, ses.name)
				}
				sender = n.id
				w.transmit(n, ses, sa)
			}
			if sa.state >= saActive && sa.state <= saDraining && !sa.deaf && ses.inbound < 64*len(sa.window)-1 {
				ses.inbound++
				ses.accepted.add(ses.inbound)
				sa.window.add(ses.inbound)
				if n.cfg.Mode == ModeStrict {
					strict = n.id
				}
				if receiver != "" && strict != "" && !ses.gap {
					w.violation("law 4: %s and %s both accept for %s in the strict mode", receiver, n.id, ses.name)
				}
				receiver = n.id
			}
		}
	}
}

func (w *world) transmit(n *simRouter, ses *simSession, sa *simSA) {
	if sa.ceiling != 0 && sa.seq >= sa.ceiling {
		return
	}
	sa.seq++
	if sa.ceiling != 0 && sa.ceiling-sa.seq == n.cfg.Headroom/2 {
		w.schedule(&event{at: w.now, to: n.id, life: n.life, input: Near{Session: ses.id}})
	}
	if by, twice := ses.sent[sa.seq]; twice {
		w.violation("law 1: sequence number %d of %s sent by %s, before by %s", sa.seq, ses.name, n.id, by)
	}
	ses.sent[sa.seq] = n.id
}

// replayAll is the attacker: after a merge nothing that any gateway has accepted
// is accepted again, unless the old gateway died with its windows.
func (w *world) replayAll(n *simRouter, id SessionID, sa *simSA, merged bool) {
	ses := w.sessions[id]
	ses.gap = ses.gap || !merged
	for i := range ses.inbound + 1 {
		if ses.accepted.has(i) && !sa.window.has(i) && !ses.gap {
			w.violation("law 4: %s accepts packet %d of %s a second time", n.id, i, ses.name)
			return
		}
	}
}

func cloneBlocks(blocks []CDB) []CDB {
	out := make([]CDB, len(blocks))
	for i, b := range blocks {
		b.Data = bytes.Clone(b.Data)
		out[i] = b
	}
	return out
}
