package demo

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/soft"
)

// witness watches the wire between the node and the gateways. It has the keys of
// every session that ever was, forgets no number, and has no opinion of its own:
// it counts what must not be there.
type witness struct {
	mu     sync.Mutex
	pairs  []pair // the oldest session's first
	clear  uint64 // datagrams of a gateway that are not ESP
	broken uint64 // ESP packets that do not open

	kept []keptPacket // a ring of the node's last packets in the present session
	next int
}

// pair is the SAs of a session, from the node and to it.
type pair struct{ up, down *watched }

// watched is one SA on the wire.
type watched struct {
	spi       uint32
	inspector *soft.Inspector
	sequences map[uint64]struct{}
	ivs       map[string]struct{}
	packets   uint64
	twice     uint64 // (SPI, key, 64-bit sequence number)
	twiceIV   uint64 // (key, IV)
	high      uint64 // the highest sequence number
}

// keptPacket is an ESP packet of the node, kept to be replayed.
type keptPacket struct {
	number uint64 // of the inner packet
	side   int    // the gateway that it went to
	esp    []byte
}

// keptPackets is how many of the node's packets are kept: more than an
// anti-replay window has room for.
const keptPackets = 4 * window

// watch begins with a new session, whose SAs start from a sequence number. Those
// before it are watched on.
func (w *witness) watch(up, down *ipsecctx.SA, start uint64) error {
	upWatched, err := newWatched(up, start)
	if err != nil {
		return err
	}
	downWatched, err := newWatched(down, start)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pairs = append(w.pairs, pair{upWatched, downWatched})
	w.kept, w.next = nil, 0
	return nil
}

func newWatched(sa *ipsecctx.SA, start uint64) (*watched, error) {
	inspector, err := soft.NewInspector(sa)
	if err != nil {
		return nil, fmt.Errorf("failed to set up the witness: %w", err)
	}
	inspector.Start(start)
	return &watched{
		spi: sa.SPI, inspector: inspector,
		sequences: map[uint64]struct{}{}, ivs: map[string]struct{}{},
	}, nil
}

// see opens one packet and remembers what may not come again.
func (a *watched) see(packet []byte) (inner []byte, err error) {
	sequence, iv, inner, err := a.inspector.Open(packet)
	if err != nil {
		return nil, err
	}
	a.packets++
	a.high = max(a.high, sequence)
	if _, seen := a.sequences[sequence]; seen {
		a.twice++
	}
	a.sequences[sequence] = struct{}{}
	if _, seen := a.ivs[string(iv)]; seen {
		a.twiceIV++
	}
	a.ivs[string(iv)] = struct{}{}
	return inner, nil
}

// fromGateway sees what a gateway sends towards the node.
func (w *witness) fromGateway(packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(packet) == 1 && packet[0] == 0xff { // RFC 3948 section 2.3
		return
	}
	sa := w.find(packet, func(p pair) *watched { return p.down })
	if sa == nil {
		w.clear++
	} else if _, err := sa.see(packet); err != nil {
		w.broken++
	}
}

// find is the SA of one direction that an ESP packet belongs to, or nil.
func (w *witness) find(packet []byte, direction func(pair) *watched) *watched {
	if len(packet) < 8 {
		return nil
	}
	spi := binary.BigEndian.Uint32(packet)
	for _, p := range slices.Backward(w.pairs) {
		if sa := direction(p); sa.spi == spi {
			return sa
		}
	}
	return nil
}

// fromNode sees what the node sends towards a gateway, and keeps it.
func (w *witness) fromNode(side int, packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sa := w.find(packet, func(p pair) *watched { return p.up })
	if sa == nil {
		w.broken++
		return
	}
	inner, err := sa.see(packet)
	if err != nil {
		w.broken++
		return
	}
	number, ok := packetNumber(inner)
	if !ok {
		return
	}
	k := keptPacket{number: number, side: side, esp: append([]byte(nil), packet...)}
	if len(w.kept) < keptPackets {
		w.kept = append(w.kept, k)
		return
	}
	w.kept[w.next] = k
	w.next = (w.next + 1) % keptPackets
}

// sample picks up to n of the kept packets that match, spread over all of them,
// the newest included.
func (w *witness) sample(n int, match func(keptPacket) bool) []keptPacket {
	w.mu.Lock()
	defer w.mu.Unlock()
	var matching []keptPacket
	for i := range w.kept {
		if k := w.kept[(w.next+i)%len(w.kept)]; match(k) {
			matching = append(matching, k)
		}
	}
	if len(matching) <= n {
		return matching
	}
	picked := make([]keptPacket, n)
	for i := range picked {
		picked[i] = matching[len(matching)-1-i*len(matching)/n]
	}
	return picked
}

// figures is what the witness has counted.
func (w *witness) figures() WitnessFigures {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := WitnessFigures{Clear: w.clear, Unreadable: w.broken}
	for _, p := range w.pairs {
		f.Packets += p.up.packets + p.down.packets
		f.SequenceTwice += p.up.twice + p.down.twice
		f.IVTwice += p.up.twiceIV + p.down.twiceIV
		f.Carried = f.Carried || p.up.high>>32 > firstSequence>>32 && p.down.high>>32 > firstSequence>>32
	}
	return f
}
