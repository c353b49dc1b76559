package live

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/transport"
)

// peerName is what the prober's own transport calls the router under test.
const peerName = "router under test"

// Prober plays the mobile nodes and the neighbour of one router.
type Prober struct {
	subject     *Subject
	style       style
	certificate tls.Certificate
	roots       *x509.CertPool
	routers     *transport.Endpoint
	nodes       *transport.NodeConn
	node        netip.AddrPort // where the router hears nodes
	inbox       *inbox

	sequences *cxtp.Sequences
	pace      pace
	strangers []netip.Addr // the last that was used of each prefix
	supply    []*node      // of the subject, in its order
	shown     int          // the node that a wrong token was shown about last

	mu    sync.Mutex
	up    bool
	since time.Time // up or down
	why   error     // it is down
}

// Open reads the certificates and begins to connect to the router. That it does not
// answer is no error: the cases find that out. The prober takes the subject's keys.
func Open(s *Subject) (*Prober, error) {
	p := &Prober{
		subject: s, inbox: newInbox(), sequences: cxtp.NewSequences(mathrand.Uint32),
		since: time.Now(), why: errors.New("it does not answer"),
		pace: pace{perSecond: max(1, s.Timers.RequestRate*3/4)},
	}
	for _, prefix := range s.Strangers {
		p.strangers = append(p.strangers, somewhere(prefix))
	}
	p.style = plain{}
	if s.Profile != "" {
		p.style = newProfiled(cxtp.RouterID(s.Profile))
	}
	for _, n := range s.Nodes {
		fresh := &node{previous: n.Previous, contexts: n.Contexts, groups: n.Groups}
		for _, k := range n.Keys {
			fresh.keys = append(fresh.keys, k.Key)
		}
		p.supply = append(p.supply, fresh)
	}
	if err := p.listen(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Prober) listen() (err error) {
	own := p.subject.Probe
	if p.certificate, err = tls.LoadX509KeyPair(own.Certificate, own.Key); err != nil {
		return fmt.Errorf("failed to load probe.certificate and probe.key: %w", err)
	}
	pem, err := os.ReadFile(own.CA)
	if err != nil {
		return fmt.Errorf("failed to read probe.ca: %w", err)
	}
	p.roots = x509.NewCertPool()
	if !p.roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("failed to read probe.ca %s: no PEM certificate in it", own.CA)
	}
	if p.subject.Node != "" {
		endpoint, err := net.ResolveUDPAddr("udp", p.subject.Node)
		if err != nil {
			return fmt.Errorf("failed to find the router's endpoint for nodes: %w", err)
		}
		p.node = netip.AddrPortFrom(endpoint.AddrPort().Addr().Unmap(), endpoint.AddrPort().Port())
		p.nodes, err = transport.ListenNode(own.ListenNode, func(from netip.AddrPort, msg []byte) {
			if from == p.node {
				p.inbox.put(fromNode, msg)
			}
		})
		if err != nil {
			return fmt.Errorf("probe.listen_node: %w", err)
		}
	}
	p.routers, err = transport.Listen(transport.Config{
		Addr: own.Listen, Certificate: p.certificate, Roots: p.roots,
		Peers:   []transport.Peer{{Name: peerName, Addr: p.subject.Router, Identity: p.subject.Identity}},
		Handler: func(_ string, msg []byte) { p.inbox.put(fromRouter, msg) },
		Events:  p.event,
	})
	if err != nil {
		return fmt.Errorf("probe.listen: %w", err)
	}
	return nil
}

// event keeps up with the association.
func (p *Prober) event(e transport.Event) {
	p.mu.Lock()
	switch e := e.(type) {
	case transport.PeerUp:
		p.up, p.since, p.why = true, time.Now(), nil
	case transport.PeerDown:
		p.up, p.since, p.why = false, time.Now(), e.Reason
	case transport.PeerRefused:
		if !p.up {
			p.why = fmt.Errorf("its certificate or ours is not accepted: %w", e.Reason)
		}
	}
	p.mu.Unlock()
	p.inbox.poke()
}

// somewhere is an address in the first half of a prefix: not the same for each run,
// because a router may still be busy with the requests of the one before.
func somewhere(prefix netip.Prefix) netip.Addr {
	a := prefix.Masked().Addr()
	octets, bits := a.AsSlice(), min(a.BitLen()-prefix.Bits()-1, 31)
	if bits <= 0 {
		return a
	}
	last := octets[len(octets)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)|mathrand.Uint32()>>(32-bits))
	a, _ = netip.AddrFromSlice(octets)
	return a
}

// link is the association's state: up, or down since when and why.
func (p *Prober) link() (up bool, since time.Time, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up, p.since, p.why
}

// Close ends the association and wipes the keys.
func (p *Prober) Close() error {
	var errs []error
	if p.routers != nil {
		errs = append(errs, p.routers.Close())
	}
	if p.nodes != nil {
		errs = append(errs, p.nodes.Close())
	}
	for _, n := range p.supply {
		for _, k := range n.keys {
			k.Wipe()
		}
	}
	return errors.Join(errs...)
}

// pace keeps the prober's requests below the rate that the router may limit them to
// (RFC 4067 section 6.3), so that what is not answered was refused for another
// reason.
type pace struct {
	perSecond int
	sent      []time.Time // in the last second
}

// next is how long the next request has to wait.
func (p *pace) next(now time.Time) time.Duration {
	for len(p.sent) > 0 && now.Sub(p.sent[0]) >= time.Second {
		p.sent = p.sent[1:]
	}
	if len(p.sent) < p.perSecond {
		p.sent = append(p.sent, now)
		return 0
	}
	return p.sent[0].Add(time.Second).Sub(now)
}
