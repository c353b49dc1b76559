package demo

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/ipsecctx"
)

const (
	// firstSequence is the last sequence number "used" when the session begins:
	// soon the high half of the 64 bits changes, which is not on the wire.
	firstSequence = 1<<32 - 150

	window   = 1024 // packets
	nodeName = "mn.example.net"
	keyBits  = 256
	saltSize = 4
	// tokenKeySize is that of a strong token's tag.
	tokenKeySize = cxtp.TagSize
)

// association is a session before it begins: the keys that the demo made, and
// the node's addresses in it.
type association struct {
	id        cxtp.SessionID
	previous  netip.Addr     // what CXTP messages call the node
	inner     netip.AddrPort // its inner endpoint
	up, down  saKeys         // as the node sees it: to the gateway, from the gateway
	updateKey secret.Key
	tokens    []cxtp.NumberedKey
}

type saKeys struct {
	spi       uint32
	key, salt secret.Key
}

// newAssociation draws the keys of the n-th session at a place, which begins at 0,
// and as many token keys as there are moves that may need one.
func newAssociation(p *place, n, moves int) *association {
	a := &association{
		up: newSAKeys(), down: newSAKeys(), updateKey: random(32),
		previous: nth(p.previous, n), inner: netip.AddrPortFrom(nth(p.node.Addr(), n), p.node.Port()),
	}
	copy(a.id[:], random(len(a.id)).Bytes())
	for i := range moves/2 + 4 {
		a.tokens = append(a.tokens, cxtp.NumberedKey{Number: uint32(i + 1), Key: random(tokenKeySize)})
	}
	return a
}

func newSAKeys() saKeys {
	spi := binary.BigEndian.Uint32(random(4).Bytes())
	return saKeys{spi: spi | 1<<31, key: random(keyBits / 8), salt: random(saltSize)} // none of the reserved SPIs
}

func random(octets int) secret.Key {
	b := make([]byte, octets)
	rand.Read(b) // never fails
	return secret.New(b)
}

// installation is the session as the first gateway gets it.
func (a *association) installation(p *place, gateway, node, agent netip.AddrPort) control.NewSession {
	n := control.NewSession{
		Session: a.id, Previous: a.previous, Agent: agent, UpdateKey: text(a.updateKey),
		Identity: nodeName, Inner: []netip.Prefix{a.innerPrefix()},
	}
	for _, t := range a.tokens {
		n.Tokens = append(n.Tokens, control.NewToken{Number: t.Number, Key: text(t.Key)})
	}
	for _, sa := range []struct {
		saKeys
		outbound bool
	}{{a.up, false}, {a.down, true}} {
		n.SAs = append(n.SAs, control.NewSA{
			Outbound: sa.outbound, SPI: sa.spi, Gateway: gateway, Node: node,
			Encryption: ipsecctx.EncrAESGCM16, KeyBits: keyBits, Key: text(sa.key), Salt: text(sa.salt),
			ESN: true, Window: window, Sequence: firstSequence, Local: []netip.Prefix{p.behind},
		})
	}
	return n
}

func text(k secret.Key) string { return hex.EncodeToString(k.Bytes()) }

// atNode is the session as the node has it, and where its SAs start. The node's
// gateway is at remote.
func (a *association) atNode(local, remote netip.AddrPort) (*ipsecctx.Session, []ipsecctx.Dynamic) {
	s := &ipsecctx.Session{
		Inner: []netip.Prefix{a.innerPrefix()},
		SAs:   []ipsecctx.SA{a.sa(a.up, ipsecctx.Outbound, local, remote), a.sa(a.down, ipsecctx.Inbound, local, remote)},
	}
	return s, []ipsecctx.Dynamic{
		{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: a.up.spi, Sequence: firstSequence},
		{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: a.down.spi, Sequence: firstSequence, Window: make([]uint64, window/64)},
	}
}

func (a *association) sa(k saKeys, d ipsecctx.Direction, local, remote netip.AddrPort) ipsecctx.SA {
	inner := a.inner.Addr()
	return ipsecctx.SA{
		Direction: d, Protocol: ipsecctx.ESP, SPI: k.spi, Mode: ipsecctx.Tunnel, Pair: 1,
		Local: local.Addr(), Remote: remote.Addr(),
		Encap: ipsecctx.Encap{LocalPort: local.Port(), RemotePort: remote.Port()},
		Encryption: ipsecctx.Cipher{
			ID: ipsecctx.EncrAESGCM16, Bits: keyBits,
			Key: secret.Clone(k.key.Bytes()), Salt: secret.Clone(k.salt.Bytes()),
		},
		ESN: true, Window: window,
		Selectors: []ipsecctx.Selector{{
			Local:     []ipsecctx.Range{{From: inner, To: inner}},
			LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort,
		}},
	}
}

// innerPrefix is the node's inner address.
func (a *association) innerPrefix() netip.Prefix {
	return netip.PrefixFrom(a.inner.Addr(), a.inner.Addr().BitLen())
}

// watched is the session's SAs as the witness opens their packets: both are
// inbound for it.
func (a *association) watched(gateway, node netip.AddrPort) (up, down ipsecctx.SA) {
	return a.sa(a.up, ipsecctx.Inbound, gateway, node), a.sa(a.down, ipsecctx.Inbound, gateway, node)
}
