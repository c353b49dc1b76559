package live

import (
	"crypto/tls"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/transport"
	"github.com/cxtp/cxtp/transport/testcert"
)

// wires are a router under test's, in this process.
type wires struct {
	routers *transport.Endpoint
	nodes   *transport.NodeConn
}

func (w *wires) toProber(m cxtp.Message) { w.routers.Send("prober", encode(m), time.Time{}) }

func (w *wires) toNode(to netip.AddrPort, m cxtp.Message) { w.nodes.Send(to, encode(m)) }

func encode(m cxtp.Message) []byte {
	octets, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return octets
}

// behaviour is what a router under test does with what it hears.
type behaviour interface {
	fromRouter(w *wires, octets []byte)
	fromNode(w *wires, from netip.AddrPort, octets []byte)
}

// start runs a router under test and opens a prober for it, with nodes that have
// contexts of type 1.
func start(t *testing.T, b behaviour, supply []Node) *Prober {
	t.Helper()
	authority, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	w, open := &wires{}, make(chan struct{})
	w.nodes, err = transport.ListenNode("127.0.0.1:0", func(from netip.AddrPort, msg []byte) { <-open; b.fromNode(w, from, msg) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.nodes.Close() })
	w.routers, err = transport.Listen(transport.Config{Addr: "127.0.0.1:0", Certificate: issue(t, authority, "router"), Roots: authority.Pool(),
		Peers:   []transport.Peer{{Name: "prober", Identity: "prober"}},
		Handler: func(_ string, msg []byte) { <-open; b.fromRouter(w, msg) }, CloseTimeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	close(open)
	t.Cleanup(func() { w.routers.Close() })
	s := subjectFor(t, authority, w.routers.LocalAddr().String(), w.nodes.LocalAddr().String())
	s.Nodes = supply
	return opened(t, s)
}

// opened opens a prober and closes it at the end.
func opened(t *testing.T, s *Subject) *Prober {
	t.Helper()
	p, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func issue(t *testing.T, authority *testcert.Authority, name string) tls.Certificate {
	t.Helper()
	cert, err := authority.Issue(name)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// subjectFor describes a router on loopback.
func subjectFor(t *testing.T, authority *testcert.Authority, router, node string) *Subject {
	t.Helper()
	cert := issue(t, authority, "prober")
	key, err := testcert.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, text := range map[string][]byte{"ca.pem": authority.CertPEM(), "prober.pem": testcert.ChainPEM(cert), "prober.key": key} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Parse(filepath.Join(folder, "subject.toml"), []byte(`
router = "`+router+`"
identity = "router"
node = "`+node+`"
[probe]
address = ["192.0.2.9", "2001:db8::9"]
listen = "127.0.0.1:0"
listen_node = "127.0.0.1:0"
certificate = "prober.pem"
key = "prober.key"
ca = "ca.pem"
[timers]
max_transfer = "200ms"
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// supplyOf makes nodes with two keys each.
func supplyOf(n int) []Node {
	var supply []Node
	for i := range n {
		previous := netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})
		if i%8 == 7 {
			previous = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: byte(i)})
		}
		n := Node{Previous: previous, Contexts: []cxtp.FPT{1}, Keys: []config.HexKey{{Key: freshKey()}, {Key: freshKey()}}}
		if i == 0 {
			n.Groups = []netip.Addr{netip.MustParseAddr("ff1e::1"), netip.MustParseAddr("ff1e::2")}
		}
		supply = append(supply, n)
	}
	return supply
}

// simple is a router that speaks RFC 4067, all of it and no more, with contexts that
// are nothing but data. The prober has to find no fault with it.
type simple struct {
	mu      sync.Mutex
	here    map[netip.Addr]*simpleNode // whose contexts are here
	staged  map[netip.Addr]*cxtp.CTD   // came with a PCTD and wait for a token
	asked   map[netip.Addr]*simpleAsk  // CT-Reqs without an answer
	seen    map[simpleID]bool          // CTARs
	second  time.Time
	counted int
}

type simpleNode struct {
	blocks  []cxtp.CDB
	keys    []secret.Key
	leaving *simpleLeaving
}

// simpleLeaving is a transfer that nobody has confirmed yet.
type simpleLeaving struct {
	data     *cxtp.CTD
	sequence uint32
	token    cxtp.Token
	asker    netip.AddrPort
	ack      bool
	began    time.Time
}

type simpleAsk struct {
	asker netip.AddrPort
	ack   bool
}

type simpleID struct {
	previous netip.Addr
	sequence uint32
}

func newSimple(supply []Node) *simple {
	s := &simple{here: map[netip.Addr]*simpleNode{}, staged: map[netip.Addr]*cxtp.CTD{}, asked: map[netip.Addr]*simpleAsk{}, seen: map[simpleID]bool{}}
	for _, n := range supply {
		known := &simpleNode{}
		for _, group := range append(n.Groups, netip.MustParseAddr("ff1e::3")) {
			known.blocks = append(known.blocks, cxtp.CDB{FPT: 1, Data: append(make([]byte, 8), group.AsSlice()...)})
		}
		for _, k := range n.Keys {
			known.keys = append(known.keys, secret.Clone(k.Bytes()))
		}
		s.here[n.Previous] = known
	}
	return s
}

func (s *simple) fromNode(w *wires, from netip.AddrPort, octets []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &cxtp.CTAR{}
	if m.Decode(octets) != nil || !s.passes() || s.seen[simpleID{m.Previous, m.Sequence}] || m.Router != netip.MustParseAddr("192.0.2.9") && m.Router.Is4() {
		return
	}
	failed := &cxtp.CTAA{Previous: m.Previous, Failed: []cxtp.ContextStatus{{FPT: 1, Status: 2}}}
	switch known := s.here[m.Previous]; {
	case known != nil:
		key, ok := known.use(m.Previous, m.Sequence, m.Requests, m.Token)
		switch {
		case known.leaving != nil:
		case ok:
			s.seen[simpleID{m.Previous, m.Sequence}] = true
			data := &cxtp.CTD{Predictive: true, Ack: true, Previous: m.Previous, Algorithm: 1, Key: key, Blocks: known.wanted(m.Requests)}
			s.leave(w, known, &simpleLeaving{data: data, sequence: m.Sequence, token: m.Token, asker: from, ack: m.Ack})
		case m.Ack:
			w.toNode(from, failed)
		}
	case s.staged[m.Previous] != nil:
		data := s.staged[m.Previous]
		if cxtp.VerifyToken(data.Key, m.Previous, m.Sequence, m.Requests, m.Token) {
			s.seen[simpleID{m.Previous, m.Sequence}] = true
			delete(s.staged, m.Previous)
			s.here[m.Previous] = &simpleNode{blocks: data.Blocks}
			failed.Failed = nil
		}
		if m.Ack {
			w.toNode(from, failed)
		}
	case s.asked[m.Previous] == nil:
		s.seen[simpleID{m.Previous, m.Sequence}] = true
		s.asked[m.Previous] = &simpleAsk{from, m.Ack}
		w.toProber(&cxtp.CTReq{Previous: m.Previous, Sequence: m.Sequence, Token: m.Token, Requests: m.Requests})
		time.AfterFunc(300*time.Millisecond, func() { s.late(w, m.Previous) })
	}
}

// late gives up a request.
func (s *simple) late(w *wires, previous netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.asked[previous]; q != nil {
		delete(s.asked, previous)
		w.toProber(&cxtp.CTC{Previous: previous})
		if q.ack {
			w.toNode(q.asker, &cxtp.CTAA{Previous: previous, Failed: []cxtp.ContextStatus{{FPT: 1, Status: 3}}})
		}
	}
}

// leave sends contexts, and keeps them for CT_MAX_TRANSFER_TIME.
func (s *simple) leave(w *wires, n *simpleNode, l *simpleLeaving) {
	n.leaving, l.began = l, time.Now()
	w.toProber(l.data)
	time.AfterFunc(200*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n.leaving == l {
			n.leaving = nil
		}
	})
}

func (s *simple) fromRouter(w *wires, octets []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := cxtp.Decode(octets)
	if err != nil {
		return
	}
	known := s.here[about(m)]
	switch m := m.(type) {
	case *cxtp.CTReq:
		if known != nil {
			s.requested(w, known, m)
		}
	case *cxtp.CTC:
		if known != nil {
			known.leaving = nil
		}
	case *cxtp.CTDR:
		if l := known; l != nil && l.leaving != nil && m.Success {
			delete(s.here, m.Previous)
			if l.leaving.ack {
				w.toNode(l.leaving.asker, &cxtp.CTAA{Previous: m.Previous})
			}
		}
	case *cxtp.CTD:
		s.given(w, m)
	}
}

func (s *simple) requested(w *wires, known *simpleNode, q *cxtp.CTReq) {
	switch l := known.leaving; {
	case l != nil && l.sequence == q.Sequence && l.token == q.Token:
		l.data.Elapsed = uint32(time.Since(l.began).Milliseconds())
		w.toProber(l.data)
	case l != nil || len(known.wanted(q.Requests)) == 0:
	case q.Token.IsZero():
		data := &cxtp.CTD{Ack: true, Previous: q.Previous, Blocks: known.blocks}
		if len(known.keys) > 0 {
			data.Predictive, data.Algorithm, data.Key = true, 1, known.keys[0]
		}
		s.leave(w, known, &simpleLeaving{data: data})
	default:
		if _, ok := known.use(q.Previous, q.Sequence, q.Requests, q.Token); ok {
			s.leave(w, known, &simpleLeaving{data: &cxtp.CTD{Ack: true, Previous: q.Previous, Blocks: known.wanted(q.Requests)}, sequence: q.Sequence, token: q.Token})
		}
	}
}

// given takes contexts of type 1 and no others.
func (s *simple) given(w *wires, m *cxtp.CTD) {
	reply := &cxtp.CTDR{Success: true, Previous: m.Previous}
	for _, b := range m.Blocks {
		if b.FPT != 1 {
			reply.Success = false
			reply.Statuses = append(reply.Statuses, cxtp.ContextStatus{FPT: b.FPT, Status: 4})
		}
	}
	if reply.Success && m.Predictive {
		m.Key, m.Blocks = secret.Clone(m.Key.Bytes()), kept(m.Blocks)
		s.staged[m.Previous] = m
	}
	if m.Ack {
		w.toProber(reply)
	}
}

// wanted are the contexts that a request asks for.
func (n *simpleNode) wanted(requests []cxtp.CDB) []cxtp.CDB {
	if len(requests) == 0 {
		return n.blocks
	}
	for _, b := range requests {
		if b.FPT == 1 {
			return n.blocks
		}
	}
	return nil
}

// use verifies a token with the node's next key, and drops the key.
func (n *simpleNode) use(previous netip.Addr, sequence uint32, requests []cxtp.CDB, token cxtp.Token) (secret.Key, bool) {
	if len(n.keys) == 0 || !cxtp.VerifyToken(n.keys[0], previous, sequence, requests, token) {
		return secret.Key{}, false
	}
	key := n.keys[0]
	n.keys = n.keys[1:]
	return key, true
}

// passes limits CTARs to 10 a second.
func (s *simple) passes() bool {
	if time.Since(s.second) > time.Second {
		s.second, s.counted = time.Now(), 0
	}
	s.counted++
	return s.counted <= 10 || rand.IntN(s.counted) < 5
}
