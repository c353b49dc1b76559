package capture

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/pion/dtls/v3/pkg/protocol"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
	"github.com/pion/dtls/v3/pkg/protocol/recordlayer"
)

// Bounds of what is kept of routes.
const (
	maxRoutes      = 512
	maxHellos      = 4 // for each of the two sides of a route
	maxConnections = 4 // of a route
)

// pair is two addresses with ports, the smaller first: side 0 and side 1.
type pair [2]netip.AddrPort

// pairOf returns the pair of a datagram, and the side that sent it.
func pairOf(g datagram) (p pair, side int) {
	if g.from.Compare(g.to) > 0 {
		return pair{g.to, g.from}, 1
	}
	return pair{g.from, g.to}, 0
}

// route is what is known of the connections between a pair of addresses.
type route struct {
	among        *routes
	pair         pair
	last         uint64            // the packet that was last seen
	hellos       [2][]random       // of the ClientHellos that each side sent, the newest last
	connections  []*connection     // that may be in use, the newest last
	associations []*association    // straight over IP, the newest last
	why          Reason            // records that none of them opens are not read
	sealed       map[Reason]uint64 // how many there were
}

// routes are those that are followed.
type routes struct {
	keyLog  *KeyLog
	summary *Summary
	waiting int // octets of fragments that may still wait
	byPair  map[pair]*route
}

func newRoutes(keyLog *KeyLog, summary *Summary) *routes {
	return &routes{keyLog, summary, maxWaiting, map[pair]*route{}}
}

// of returns the route of a pair. If there are too many, it takes the place of
// the one that has been silent for longest, preferably without a connection:
// datagrams from forged addresses must not drive out a connection that is read.
func (rs *routes) of(p pair, packet uint64) *route {
	r := rs.byPair[p]
	if r == nil {
		if len(rs.byPair) >= maxRoutes {
			rs.forget(rs.oldest())
		}
		r = &route{among: rs, pair: p, why: NoHandshake, sealed: map[Reason]uint64{}}
		if rs.keyLog == nil {
			r.why = NoKeyLog
		}
		rs.byPair[p] = r
	}
	r.last = packet
	return r
}

func (rs *routes) oldest() *route {
	var oldest *route
	for _, r := range rs.byPair {
		if oldest == nil || cmp.Or(
			cmp.Compare(min(len(r.connections), 1), min(len(oldest.connections), 1)),
			cmp.Compare(r.last, oldest.last)) < 0 {
			oldest = r
		}
	}
	return oldest
}

// forget drops a route; what it says of records that were not read stays,
// without the addresses.
func (rs *routes) forget(r *route) {
	for why, records := range r.sealed {
		rs.summary.addSealed(Sealed{Why: why, Records: records})
	}
	r.end()
	delete(rs.byPair, r.pair)
}

// finish reports on the routes that are left.
func (rs *routes) finish() {
	for _, r := range rs.byPair {
		for why, records := range r.sealed {
			rs.summary.Sealed = append(rs.summary.Sealed, Sealed{r.pair[0], r.pair[1], why, records})
		}
		r.end()
	}
	slices.SortFunc(rs.summary.Sealed, func(a, b Sealed) int {
		return cmp.Or(a.A.Compare(b.A), a.B.Compare(b.B), cmp.Compare(a.Why, b.Why))
	})
	clear(rs.byPair)
}

// leave gives up what one side has sent.
func (rs *routes) leave(arrived *assembler) {
	arrived.drop()
	rs.summary.Incomplete += arrived.lost
}

// end gives up what is followed on a route.
func (r *route) end() {
	for len(r.connections) > 0 {
		r.remove(0)
	}
	for _, a := range r.associations {
		r.among.leave(&a.arrived)
	}
	r.associations = nil
}

// router takes a datagram of the router link.
func (d *decoder) router(f frame, g datagram) error {
	records, err := recordlayer.UnpackDatagram(g.octets)
	if err != nil || len(records) == 0 {
		d.summary.NotDTLS++
		return nil
	}
	p, side := pairOf(g)
	var r *route
	for _, record := range records {
		var header recordlayer.Header
		if header.Unmarshal(record) != nil {
			d.summary.NotDTLS++
			return nil
		}
		if r == nil {
			r = d.routes.of(p, d.summary.Packets)
		}
		if header.Epoch == 0 {
			d.summary.Handshake++
			if header.ContentType == protocol.ContentTypeHandshake {
				r.handshake(side, record[header.Size():])
			}
			continue
		}
		if err := d.sealed(f, g, r, side, record); err != nil {
			return err
		}
	}
	return nil
}

// sealed takes an encrypted record.
func (d *decoder) sealed(f frame, g datagram, r *route, side int, record []byte) error {
	c, content, plain := r.open(side, record)
	switch {
	case c == nil:
		r.sealed[r.why]++
		return nil
	case content != protocol.ContentTypeApplicationData:
		d.summary.Handshake++
		return nil
	}
	defer clear(plain)
	return d.packet(f, g, &c.ends[side], plain)
}

// handshake looks for hellos in a handshake record in the clear. Of a message
// in fragments, the first has what matters.
func (r *route) handshake(side int, octets []byte) {
	for len(octets) > 0 {
		var header handshake.Header
		if header.Unmarshal(octets) != nil {
			return
		}
		end := handshake.HeaderLength + int(header.FragmentLength)
		if end > len(octets) {
			return
		}
		body := octets[handshake.HeaderLength:end]
		if header.FragmentOffset == 0 {
			switch header.Type {
			case handshake.TypeClientHello:
				r.clientHello(side, body)
			case handshake.TypeServerHello:
				r.serverHello(side, body)
			}
		}
		octets = octets[end:]
	}
}

func (r *route) clientHello(side int, body []byte) {
	h, ok := parseHello(body)
	if !ok {
		return
	}
	same := func(other random) bool { return other == h.random }
	r.hellos[side] = append(slices.DeleteFunc(r.hellos[side], same), h.random)
	r.hellos[side] = r.hellos[side][max(0, len(r.hellos[side])-maxHellos):]
}

// serverHello makes a connection of each ClientHello that this may answer. It
// does not say which one, but most likely the newest.
func (r *route) serverHello(side int, body []byte) {
	h, ok := parseHello(body)
	if !ok || r.among.keyLog == nil {
		return
	}
	suite, known := suites[h.suite]
	switch {
	case len(r.hellos[1-side]) == 0:
		r.why = NoHandshake
		return
	case !known:
		r.why = OtherSuite
		return
	}
	for _, client := range r.hellos[1-side] {
		master, there := r.among.keyLog.secrets[client]
		if !there {
			r.why = NoSecret
			continue
		}
		r.why = WrongSecret // if records are still not opened
		if c, err := newConnection(1-side, client, h.random, suite, master, &r.among.waiting); err == nil {
			r.add(c)
		}
	}
}

// add adds a connection, unless it is there already. One that has not opened
// anything makes room first: it may never have existed.
func (r *route) add(c *connection) {
	same := func(other *connection) bool { return other.client == c.client && other.server == c.server }
	if slices.ContainsFunc(r.connections, same) {
		return
	}
	if len(r.connections) >= maxConnections {
		unused := slices.IndexFunc(r.connections, func(other *connection) bool { return !other.used })
		r.remove(max(unused, 0))
	}
	r.connections = append(r.connections, c)
}

func (r *route) remove(i int) {
	for side := range r.connections[i].ends {
		r.among.leave(&r.connections[i].ends[side].arrived)
	}
	r.connections = slices.Delete(r.connections, i, i+1)
}

// open decrypts a record with the keys of whichever connection it belongs to;
// none if that is not known.
func (r *route) open(side int, record []byte) (*connection, protocol.ContentType, []byte) {
	for _, c := range slices.Backward(r.connections) {
		if content, plain, ok := c.open(side, record); ok {
			return c, content, plain
		}
	}
	return nil, 0, nil
}
