package witness

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// Selector is traffic that must be protected, in both directions.
type Selector struct {
	A, B     netip.Prefix
	Protocol uint8 // 0 = any
}

func (s Selector) matches(p *Packet) bool {
	return (s.Protocol == 0 || s.Protocol == p.Protocol) &&
		(s.A.Contains(p.Src) && s.B.Contains(p.Dst) || s.B.Contains(p.Src) && s.A.Contains(p.Dst))
}

// Rules say what to look for.
type Rules struct {
	Protected []Selector

	// Gateways are the nodes that may send with the same SA, one after the
	// other. Every other node has its SAs for itself.
	Gateways []string

	// IV is how many octets of IV each packet of an SA has, of a cipher for
	// which they must not repeat; 0 = do not look.
	IV int
}

// Report is what was seen.
type Report struct {
	Packets   int        // protected ones that a node sent
	Reused    []Reuse    // sequence numbers
	RepeatIVs []Reuse    // IVs, where the rules ask for it
	Cleartext []Sighting // of a protected selector
	Forwarded int        // protected packets that a second node sent on as they were
	SAs       []Usage    // in the order they were first seen
}

// SA names an SA as one sees it on the wire: by who may send with it.
type SA struct {
	Sender   string // "gateways", or a node's name
	Protocol uint8
	SPI      uint32
}

// Usage is what an SA was used for.
type Usage struct {
	SA
	Packets     int
	First, Last uint64   // the lowest and the highest sequence number, 64 bits
	Senders     []string // the nodes, in the order they began to send
	InTurn      bool     // after another node began to send, none before it did
}

// Reuse is a number that was used twice.
type Reuse struct {
	SA
	Number uint64
	By     [2]string // nodes
}

// Sighting is a packet that should not have been where it was.
type Sighting struct {
	Index    int    // of the frame
	Node     string // on whose link
	Out      bool
	Src, Dst netip.Addr
	Protocol uint8
}

// Kept reports whether the laws of one sender and of no cleartext were kept.
func (r *Report) Kept() bool {
	return len(r.Reused) == 0 && len(r.RepeatIVs) == 0 && len(r.Cleartext) == 0
}

// Broken begins what a test says of a law that is broken: nobody tries that again to see
// whether it is so.
const Broken = "a law is broken: "

// String names what was broken first.
func (r *Report) String() string {
	var b strings.Builder
	if !r.Kept() {
		b.WriteString(Broken)
	}
	fmt.Fprintf(&b, "%d protected packets, %d numbers reused, %d IVs, %d in clear", r.Packets, len(r.Reused), len(r.RepeatIVs), len(r.Cleartext))
	for _, reuse := range append(r.Reused[:min(1, len(r.Reused))], r.RepeatIVs[:min(1, len(r.RepeatIVs))]...) {
		fmt.Fprintf(&b, "; SPI %08x number %d by %s and %s", reuse.SPI, reuse.Number, reuse.By[0], reuse.By[1])
	}
	if len(r.Cleartext) > 0 {
		s := r.Cleartext[0]
		fmt.Fprintf(&b, "; protocol %d from %v to %v on the link of %s", s.Protocol, s.Src, s.Dst, s.Node)
	}
	return b.String()
}

// track is what is known of an SA so far.
type track struct {
	usage   *Usage
	highest uint64
	sent    map[uint64]*sending
	ivs     map[string]*sending
}

// sending is one use of a sequence number.
type sending struct {
	node   string
	number uint64
	body   []byte
}

// Examine looks at frames in the order in which they were captured. Only what
// a node sent counts as a use of a sequence number; cleartext counts wherever
// it is.
func Examine(frames []Frame, rules Rules) *Report {
	report := &Report{}
	gateway := make(map[string]bool)
	for _, name := range rules.Gateways {
		gateway[name] = true
	}
	tracks := make(map[SA]*track)
	var order []*track
	for i, frame := range frames {
		p, ok := Decode(frame.Data)
		if !ok {
			continue
		}
		if !p.Protected {
			if !p.IKE && rules.protects(&p) {
				report.Cleartext = append(report.Cleartext, Sighting{i, frame.From, frame.Out, p.Src, p.Dst, p.Protocol})
			}
			continue
		}
		if !frame.Out {
			continue
		}
		sa := SA{Sender: frame.From, Protocol: p.Protocol, SPI: p.SPI}
		if gateway[frame.From] {
			sa.Sender = "gateways"
		}
		if p.InUDP {
			sa.Protocol = protocolESP
		}
		if gateway[frame.From] && passedOn(tracks, sa, &p) {
			report.Forwarded++
			continue
		}
		known := tracks[sa]
		if known == nil {
			known = &track{usage: &Usage{SA: sa, InTurn: true}, sent: make(map[uint64]*sending), ivs: make(map[string]*sending)}
			tracks[sa] = known
			order = append(order, known)
		}
		known.add(report, frame.From, &p, rules.IV)
	}
	for _, t := range order {
		report.SAs = append(report.SAs, *t.usage)
	}
	return report
}

// passedOn reports whether a packet that a gateway sent is a node's, as it was: what
// comes for a session that is at another gateway.
func passedOn(tracks map[SA]*track, by SA, p *Packet) bool {
	for sa, t := range tracks {
		if sa.Sender == by.Sender || sa.Protocol != by.Protocol || sa.SPI != by.SPI {
			continue
		}
		if before := t.sent[extend(t.highest, p.Sequence)]; before != nil && bytes.Equal(before.body, p.Body) {
			return true
		}
	}
	return false
}

func (r *Rules) protects(p *Packet) bool {
	for _, s := range r.Protected {
		if s.matches(p) {
			return true
		}
	}
	return false
}

// add takes a protected packet that a node sent.
func (t *track) add(report *Report, node string, p *Packet, ivSize int) {
	use := &sending{node: node, number: extend(t.highest, p.Sequence), body: p.Body}
	if before := t.sent[use.number]; before != nil {
		if before.node != node && bytes.Equal(before.body, use.body) {
			report.Forwarded++
			return
		}
		report.Reused = append(report.Reused, Reuse{t.usage.SA, use.number, [2]string{before.node, node}})
	}
	t.sent[use.number] = use
	t.highest = max(t.highest, use.number)
	if p.Protocol != protocolAH && ivSize > 0 && len(p.Body) >= ivSize {
		iv := string(p.Body[:ivSize])
		if before := t.ivs[iv]; before != nil {
			report.RepeatIVs = append(report.RepeatIVs, Reuse{t.usage.SA, use.number, [2]string{before.node, node}})
		}
		t.ivs[iv] = use
	}
	report.Packets++
	t.usage.count(use)
}

func (u *Usage) count(use *sending) {
	if u.Packets == 0 {
		u.First = use.number
	}
	u.Packets++
	u.First, u.Last = min(u.First, use.number), max(u.Last, use.number)
	for i, name := range u.Senders {
		if name == use.node {
			u.InTurn = u.InTurn && i == len(u.Senders)-1
			return
		}
	}
	u.Senders = append(u.Senders, use.node)
}

// extend makes a 64-bit sequence number of its low half: of those with that
// half, the one nearest to the highest so far.
func extend(highest uint64, low uint32) uint64 {
	const half, whole = 1 << 31, 1 << 32
	number := highest&^(whole-1) | uint64(low)
	switch {
	case number+half < highest:
		return number + whole
	case number > highest+half && number >= whole:
		return number - whole
	}
	return number
}
