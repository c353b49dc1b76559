package daemon

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/ipsecctx"
)

// idFQDN is the IKEv2 ID type of a domain name (RFC 7296 section 3.5).
const idFQDN = 2

// manualSession turns a request with manual keys into the IPsec state of a
// session and what the engine has to know of its node. A mistake is named by its
// place in the request.
func manualSession(n *control.NewSession) (*ipsecctx.Session, []ipsecctx.Dynamic, cxtp.NodeState, error) {
	fail := func(err error) (*ipsecctx.Session, []ipsecctx.Dynamic, cxtp.NodeState, error) {
		return nil, nil, cxtp.NodeState{}, err
	}
	node := cxtp.NodeState{Agent: n.Agent, Algorithm: n.TokenAlgorithm}
	if node.Algorithm == 0 && n.Agent.IsValid() {
		node.Algorithm = cxtp.AlgorithmHMACSHA256
	}
	var err error
	if node.UpdateKey, err = hexKey("update_key", n.UpdateKey); err != nil {
		return fail(err)
	}
	if err := node.Algorithm.CheckKey(node.UpdateKey); err != nil && n.Agent.IsValid() {
		return fail(fmt.Errorf("update_key: %w", err))
	}
	for i, t := range n.Tokens {
		key, err := hexKey(fmt.Sprintf("tokens[%d].key", i), t.Key)
		if err != nil {
			return fail(err)
		}
		if err := node.Algorithm.CheckKey(key); err != nil {
			return fail(fmt.Errorf("tokens[%d].key: %w", i, err))
		}
		node.Tokens = append(node.Tokens, cxtp.NumberedKey{Number: t.Number, Key: key})
	}
	s := &ipsecctx.Session{Inner: n.Inner, RemoteID: ipsecctx.Name{Type: idFQDN, Data: []byte(n.Identity)}}
	var dynamic []ipsecctx.Dynamic
	for i := range n.SAs {
		sa, err := manualSA(&n.SAs[i], n.Inner)
		if err != nil {
			return fail(fmt.Errorf("sas[%d].%w", i, err))
		}
		s.SAs = append(s.SAs, sa)
		d := ipsecctx.Dynamic{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI, Sequence: n.SAs[i].Sequence}
		if sa.Direction == ipsecctx.Inbound {
			d.Window = make([]uint64, (sa.Window+63)/64)
		}
		dynamic = append(dynamic, d)
	}
	if err := tokenKeysApart(node, s); err != nil {
		return fail(err)
	}
	return s, dynamic, node, nil
}

// tokenKeysApart refuses a token key that is there twice or serves another purpose:
// whoever has it for that could have the session transferred (RFC 4067 section 6.3).
func tokenKeysApart(node cxtp.NodeState, s *ipsecctx.Session) error {
	type use struct {
		field string
		key   secret.Key
	}
	uses := []use{{"update_key", node.UpdateKey}}
	for i := range s.SAs {
		uses = append(uses, use{fmt.Sprintf("sas[%d].key", i), s.SAs[i].Encryption.Key},
			use{fmt.Sprintf("sas[%d].integrity_key", i), s.SAs[i].Integrity.Key})
	}
	for i, t := range node.Tokens {
		field := fmt.Sprintf("tokens[%d].key", i)
		for _, u := range uses {
			if !t.Key.IsZero() && t.Key.Equal(u.key) {
				return fmt.Errorf("%s: it is %s as well; make a key for each purpose", field, u.field)
			}
		}
		uses = append(uses, use{field, t.Key})
	}
	return nil
}

func manualSA(n *control.NewSA, inner []netip.Prefix) (ipsecctx.SA, error) {
	sa := ipsecctx.SA{
		Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: n.SPI, Mode: ipsecctx.Tunnel, Pair: 1,
		Local: n.Gateway.Addr(), Remote: n.Node.Addr(),
		Encap: ipsecctx.Encap{LocalPort: n.Gateway.Port(), RemotePort: n.Node.Port()},
		ESN:   n.ESN, Window: n.Window,
		Selectors: []ipsecctx.Selector{{
			Local: ranges(n.Local), Remote: ranges(inner),
			LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort,
		}},
	}
	if n.Outbound {
		sa.Direction, sa.Window = ipsecctx.Outbound, 0
	}
	if n.Protocol != 0 {
		sa.Protocol = ipsecctx.Protocol(n.Protocol)
	}
	if n.Transport {
		sa.Mode = ipsecctx.Transport
	}
	var err error
	if sa.Encryption.Key, err = hexKey("key", n.Key); err != nil {
		return sa, err
	}
	if sa.Encryption.Salt, err = hexKey("salt", n.Salt); err != nil {
		return sa, err
	}
	if sa.Integrity.Key, err = hexKey("integrity_key", n.IntegrityKey); err != nil {
		return sa, err
	}
	sa.Encryption.ID, sa.Encryption.Bits, sa.Integrity.ID = n.Encryption, n.KeyBits, n.Integrity
	return sa, nil
}

// hexKey reads a key; the error does not show it.
func hexKey(field, digits string) (secret.Key, error) {
	octets, err := hex.DecodeString(digits)
	if err != nil {
		return secret.Key{}, fmt.Errorf("%s: not hexadecimal", field)
	}
	return secret.New(octets), nil
}

// ranges turns prefixes into the address ranges of a selector.
func ranges(prefixes []netip.Prefix) []ipsecctx.Range {
	var list []ipsecctx.Range
	for _, p := range prefixes {
		p = p.Masked()
		last := p.Addr().AsSlice()
		for bit := p.Bits(); bit < len(last)*8; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		to, _ := netip.AddrFromSlice(last)
		list = append(list, ipsecctx.Range{From: p.Addr(), To: to})
	}
	return list
}
