package demo

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/soft"
)

// witness watches the wire between the node and the gateways. It has the keys,
// and no opinion of its own: it counts what must not be there.
type witness struct {
	mu       sync.Mutex
	up, down *watched
	clear    uint64 // datagrams of a gateway that are not ESP
	broken   uint64 // ESP packets that do not open

	kept []keptPacket // a ring of the node's last packets
	next int
}

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

func newWitness(up, down *ipsecctx.SA, start uint64) (*witness, error) {
	w := &witness{kept: make([]keptPacket, 0, keptPackets)}
	var err error
	if w.up, err = newWatched(up, start); err != nil {
		return nil, err
	}
	w.down, err = newWatched(down, start)
	return w, err
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
	switch {
	case len(packet) == 1 && packet[0] == 0xff: // RFC 3948 section 2.3
	case len(packet) < 8 || binary.BigEndian.Uint32(packet) != w.down.spi:
		w.clear++
	default:
		if _, err := w.down.see(packet); err != nil {
			w.broken++
		}
	}
}

// fromNode sees what the node sends towards a gateway, and keeps it.
func (w *witness) fromNode(side int, packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	inner, err := w.up.see(packet)
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
	return WitnessFigures{
		Packets:       w.up.packets + w.down.packets,
		SequenceTwice: w.up.twice + w.down.twice,
		IVTwice:       w.up.twiceIV + w.down.twiceIV,
		Clear:         w.clear,
		Unreadable:    w.broken,
		Carried:       w.up.high>>32 > firstSequence>>32 && w.down.high>>32 > firstSequence>>32,
	}
}
