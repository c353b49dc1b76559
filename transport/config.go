package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Defaults and limits of Config. Sizes are in octets.
const (
	// DefaultMTU is the size of an SCTP packet. With DTLS (37), UDP (8) and
	// IPv6 (40) around it, it still fits a 1,500-octet path.
	DefaultMTU = 1400
	// MinMTU and MaxMTU bound Config.MTU. A DTLS record above 8,155 octets is
	// lost without an error, and SCTP needs room for its headers.
	MinMTU = 576
	MaxMTU = 8100
	// DefaultMinCwnd is the floor of SCTP's congestion window.
	DefaultMinCwnd = 128 << 10
	// DefaultQueueBytes bounds what waits for one peer.
	DefaultQueueBytes = 4 << 20
	// MaxMessage is the largest message that Send takes.
	MaxMessage = 65535
	// DefaultKeepaliveInterval is the pause between two keepalives.
	DefaultKeepaliveInterval = 500 * time.Millisecond
	// DefaultKeepaliveTimeout is the silence after which a peer is dead: ten
	// retransmissions at SCTP's longest timeout.
	DefaultKeepaliveTimeout = 2 * time.Second
	// DefaultHandshakeTimeout bounds DTLS and SCTP set-up together.
	DefaultHandshakeTimeout = 3 * time.Second
	// DefaultCloseTimeout bounds the delivery of queued messages in Close.
	DefaultCloseTimeout = time.Second
)

// Carrier is what is below the messages between routers.
type Carrier int

// The carriers.
const (
	// DTLS is SCTP over DTLS over UDP. Peers prove who they are by certificates.
	DTLS Carrier = iota
	// KernelSCTP is the kernel's SCTP (Linux), under IPsec that is configured
	// beside it. A peer is who has its address and port.
	KernelSCTP
)

// Peer is another router with which messages may be exchanged.
type Peer struct {
	// Name is what Send, Handler and Events call the peer.
	Name string
	// Addr is the peer's endpoint, host:port. With DTLS the host may be a name,
	// which is looked up at every dial; empty: never dialed, only accepted. With
	// KernelSCTP it is an address, from which the peer has to come, too.
	Addr string
	// Identity is the DNS name that must be among the subject alternative names
	// of the peer's leaf certificate. Wildcards never match. With DTLS only.
	Identity string
}

// Config says what an Endpoint listens on, who it is and whom it talks to.
// Addr and Handler are required, and with DTLS Certificate and Roots; a zero in any
// other field means its default.
type Config struct {
	// Carrier is what carries the messages.
	Carrier Carrier
	// InsecureSCTP takes peers by KernelSCTP whom no IPsec policy covers: every
	// key that is moved passes readably, and who can send from a peer's address
	// is that peer.
	InsecureSCTP bool

	// Addr is the address to listen on: "0.0.0.0:5091", "[::]:5091" (which also
	// takes IPv4), "127.0.0.1:0". With KernelSCTP it is no wildcard.
	Addr string
	// Certificate proves this router's identity, both when it dials and when it
	// accepts: its extended key usage must allow client and server, or be absent.
	Certificate tls.Certificate
	// Roots are the authorities that may have issued the peers' certificates.
	Roots *x509.CertPool
	// Peers are all the routers that may connect. Names and identities are unique.
	Peers []Peer

	// Handler takes each message received. It is called from the peer's reader
	// goroutine, in order of arrival, never twice at a time for one peer but at
	// the same time for different peers. The message is the handler's to keep.
	// A handler that blocks closes the peer's SCTP window and nothing else. It
	// may call Send and Stats, but not Close.
	Handler func(peer string, msg []byte)
	// Events is told what happens to peers; nil discards. For one peer, events
	// come in order and before any message of the association that they
	// announce. It must not block, nor call Close.
	Events func(Event)

	// MTU is the size of an SCTP packet in octets, MinMTU to MaxMTU. KernelSCTP
	// finds out by itself.
	MTU int
	// MinCwnd is the floor of SCTP's congestion window in octets. It is what
	// keeps the delay low on a path with loss; lower it for a thin path. It is
	// not for KernelSCTP.
	MinCwnd int
	// QueueBytes bounds, for each peer, what waits until SCTP takes it, in
	// octets. Each message is charged 128 octets on top of its own.
	QueueBytes int
	// KeepaliveInterval is the pause between two keepalives.
	KeepaliveInterval time.Duration
	// KeepaliveTimeout is the silence after which the peer is declared dead. It
	// must be at least twice KeepaliveInterval.
	KeepaliveTimeout time.Duration
	// HandshakeTimeout bounds the set-up of one association, DTLS and SCTP.
	HandshakeTimeout time.Duration
	// CloseTimeout bounds how long Close tries to deliver what is queued.
	CloseTimeout time.Duration

	// KeyLog receives the DTLS master secrets, for a packet analyser. It is
	// ignored unless InsecureKeyLog is true: whoever has it reads every key that
	// is moved.
	KeyLog         io.Writer
	InsecureKeyLog bool
}

// withDefaults returns a copy of c that is complete and valid, or says what to
// change.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.MTU, DefaultMTU)
	setDefault(&c.MinCwnd, DefaultMinCwnd)
	setDefault(&c.QueueBytes, DefaultQueueBytes)
	setDefault(&c.KeepaliveInterval, DefaultKeepaliveInterval)
	setDefault(&c.KeepaliveTimeout, max(DefaultKeepaliveTimeout, 4*c.KeepaliveInterval))
	setDefault(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	setDefault(&c.CloseTimeout, DefaultCloseTimeout)
	if c.Events == nil {
		c.Events = func(Event) {}
	}
	if !c.InsecureKeyLog {
		c.KeyLog = nil
	}
	return c, errors.Join(c.checkIdentity(), c.checkLimits(), c.checkPeers())
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func (c *Config) checkIdentity() error {
	var errs []error
	if c.Addr == "" {
		errs = append(errs, errors.New("no listening address: set Addr, for example 0.0.0.0:5091"))
	}
	if c.Handler == nil {
		errs = append(errs, errors.New("no handler: set Handler to what takes the messages received"))
	}
	switch {
	case c.Carrier != DTLS && c.Carrier != KernelSCTP:
		errs = append(errs, fmt.Errorf("carrier %d is unknown: set Carrier to DTLS or KernelSCTP", c.Carrier))
	case c.Carrier == KernelSCTP:
		return errors.Join(errs...)
	case c.InsecureSCTP:
		errs = append(errs, errors.New("InsecureSCTP is for KernelSCTP alone: unset it, or set Carrier"))
	}
	if len(c.Certificate.Certificate) == 0 || c.Certificate.PrivateKey == nil {
		errs = append(errs, errors.New("no certificate: set Certificate to this router's chain and private key"))
	}
	if c.Roots == nil {
		errs = append(errs, errors.New("no roots: set Roots to the authorities that issue the peers' certificates"))
	}
	return errors.Join(errs...)
}

func (c *Config) checkLimits() error {
	var errs []error
	if c.MTU < MinMTU || c.MTU > MaxMTU {
		errs = append(errs, fmt.Errorf("MTU is %d: set it to %d to %d octets", c.MTU, MinMTU, MaxMTU))
	}
	if c.MinCwnd < 0 || c.MinCwnd > receiveBuffer {
		errs = append(errs, fmt.Errorf("MinCwnd is %d: set it to at most %d octets", c.MinCwnd, receiveBuffer))
	}
	if least := MaxMessage + queueOverhead; c.QueueBytes < least {
		errs = append(errs, fmt.Errorf("QueueBytes is %d: set it to at least %d octets, one message", c.QueueBytes, least))
	}
	if c.KeepaliveInterval < 0 || c.KeepaliveTimeout < 2*c.KeepaliveInterval {
		errs = append(errs, fmt.Errorf("KeepaliveTimeout is %v: set it to at least twice KeepaliveInterval, %v",
			c.KeepaliveTimeout, c.KeepaliveInterval))
	}
	if c.HandshakeTimeout < 0 || c.CloseTimeout < 0 {
		errs = append(errs, errors.New("a timeout is negative: leave it zero for its default"))
	}
	return errors.Join(errs...)
}

func (c *Config) checkPeers() error {
	var errs []error
	names := map[string]bool{}
	proofs := map[string]bool{} // what tells one peer from another
	for i, p := range c.Peers {
		proof, err := c.proof(p)
		switch {
		case p.Name == "":
			errs = append(errs, fmt.Errorf("peer %d has no name", i+1))
		case names[p.Name]:
			errs = append(errs, fmt.Errorf("peer %q is listed twice", p.Name))
		case err != nil:
			errs = append(errs, fmt.Errorf("peer %q has %w", p.Name, err))
		case proofs[proof]:
			errs = append(errs, fmt.Errorf("peer %q has %q, as another peer has", p.Name, proof))
		}
		names[p.Name], proofs[proof] = true, true
	}
	return errors.Join(errs...)
}

// proof is what a peer is known by: the name in its certificate, or its address.
func (c *Config) proof(p Peer) (string, error) {
	if c.Carrier == KernelSCTP {
		addr, err := netip.ParseAddrPort(p.Addr)
		local, _ := netip.ParseAddrPort(c.Addr)
		switch {
		case err != nil || addr.Port() == 0 || addr != unmap(addr) || addr.Addr().IsUnspecified():
			return "", fmt.Errorf("a bad address: %q is no address and port, for example 192.0.2.1:5091", p.Addr)
		case local.IsValid() && local.Addr().Is4() != addr.Addr().Is4():
			return "", fmt.Errorf("a bad address: %s is of another family than Addr, %s", addr, local)
		}
		return addr.String(), nil
	}
	if p.Identity == "" {
		return "", errors.New("no identity: set it to a DNS name in its certificate")
	}
	if err := checkAddr(p.Addr); err != nil {
		return "", fmt.Errorf("a bad address: %w", err)
	}
	return strings.ToLower(p.Identity), nil
}

// checkAddr accepts host:port with a numeric port, and nothing at all.
func checkAddr(addr string) error {
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return fmt.Errorf("%q is not host:port, for example 192.0.2.1:5091", addr)
	}
	return nil
}
