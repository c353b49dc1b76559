package offline

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/testvectors"
)

// say puts a message of RFC 4067 into the protocol's form.
func say(m cxtp.Message) (*testvectors.Message, error) {
	said := testvectors.Message{Type: m.Type().String()}
	switch m := m.(type) {
	case *cxtp.CTAR:
		said.Ack, said.Previous, said.Router = m.Ack, m.Previous.String(), m.Router.String()
		said.Sequence, said.Token, said.Blocks = m.Sequence, sayToken(m.Token), sayBlocks(m.Requests)
	case *cxtp.CTAA:
		said.Previous, said.Statuses = m.Previous.String(), sayStatuses(m.Failed)
	case *cxtp.CTD:
		said.Ack, said.Elapsed, said.Previous = m.Ack, m.Elapsed, m.Previous.String()
		said.Algorithm, said.Key = uint16(m.Algorithm), hex.EncodeToString(m.Key.Bytes())
		said.Blocks = sayBlocks(m.Blocks)
	case *cxtp.CTDR:
		said.Success, said.Previous, said.Statuses = m.Success, m.Previous.String(), sayStatuses(m.Statuses)
	case *cxtp.CTC:
		said.Previous = m.Previous.String()
	case *cxtp.CTReq:
		said.Previous, said.Sequence = m.Previous.String(), m.Sequence
		said.Token, said.Blocks = sayToken(m.Token), sayBlocks(m.Requests)
	default:
		return nil, fmt.Errorf("the protocol has no form for a %s", m.Type())
	}
	return &said, nil
}

// sayToken leaves out the null token, as everything that is zero.
func sayToken(t cxtp.Token) string {
	if t.IsZero() {
		return ""
	}
	return hex.EncodeToString(t[:])
}

func sayBlocks(blocks []cxtp.CDB) []testvectors.Block {
	var said []testvectors.Block
	for _, b := range blocks {
		s := testvectors.Block{FPT: uint16(b.FPT), Data: hex.EncodeToString(b.Data)}
		if b.HasPresence {
			s.Presence = fmt.Sprintf("%08x", b.Presence)
		}
		said = append(said, s)
	}
	return said
}

func sayStatuses(statuses []cxtp.ContextStatus) []testvectors.Status {
	var said []testvectors.Status
	for _, s := range statuses {
		said = append(said, testvectors.Status{FPT: uint16(s.FPT), Status: uint8(s.Status)})
	}
	return said
}

// build makes a message of what the protocol's form says.
func build(said *testvectors.Message) (cxtp.Message, error) {
	if said == nil {
		return nil, errors.New("no message to encode")
	}
	b := builder{said: said}
	previous := b.address(said.Previous)
	var m cxtp.Message
	switch said.Type {
	case "CTAR":
		m = &cxtp.CTAR{
			Ack: said.Ack, Previous: previous, Router: b.address(said.Router),
			Sequence: said.Sequence, Token: b.token(), Requests: b.blocks(),
		}
	case "CTAA":
		m = &cxtp.CTAA{Previous: previous, Failed: b.statuses()}
	case "CTD", "PCTD":
		m = &cxtp.CTD{
			Predictive: said.Type == "PCTD", Ack: said.Ack, Elapsed: said.Elapsed, Previous: previous,
			Algorithm: cxtp.Algorithm(said.Algorithm), Key: secret.New(b.octets(said.Key)), Blocks: b.blocks(),
		}
	case "CTDR":
		m = &cxtp.CTDR{Success: said.Success, Previous: previous, Statuses: b.statuses()}
	case "CTC":
		m = &cxtp.CTC{Previous: previous}
	case "CT-Req":
		m = &cxtp.CTReq{Previous: previous, Sequence: said.Sequence, Token: b.token(), Requests: b.blocks()}
	default:
		b.err = fmt.Errorf("there is no message %q", said.Type)
	}
	return m, b.err
}

// builder reads parts of a message and keeps the first error.
type builder struct {
	said *testvectors.Message
	err  error
}

func (b *builder) address(text string) netip.Addr {
	address, err := netip.ParseAddr(text)
	b.keep(err)
	return address
}

func (b *builder) octets(digits string) []byte {
	octets, err := hex.DecodeString(digits)
	b.keep(err)
	return octets
}

func (b *builder) token() (token cxtp.Token) {
	if octets := b.octets(b.said.Token); len(octets) == len(token) {
		copy(token[:], octets)
	} else if len(octets) > 0 {
		b.keep(fmt.Errorf("a token of %d octets", len(octets)))
	}
	return token
}

func (b *builder) blocks() (blocks []cxtp.CDB) {
	for _, said := range b.said.Blocks {
		block := cxtp.CDB{FPT: cxtp.FPT(said.FPT), Data: b.octets(said.Data)}
		if said.Presence != "" {
			block.HasPresence = true
			presence := b.octets(said.Presence)
			if len(presence) != 4 {
				b.keep(fmt.Errorf("a presence vector of %d octets", len(presence)))
				return nil
			}
			block.Presence = binary.BigEndian.Uint32(presence)
		}
		blocks = append(blocks, block)
	}
	return blocks
}

func (b *builder) statuses() (statuses []cxtp.ContextStatus) {
	for _, said := range b.said.Statuses {
		statuses = append(statuses, cxtp.ContextStatus{FPT: cxtp.FPT(said.FPT), Status: cxtp.Status(said.Status)})
	}
	return statuses
}

func (b *builder) keep(err error) {
	if b.err == nil && err != nil {
		b.err = fmt.Errorf("failed to read the message: %w", err)
	}
}
