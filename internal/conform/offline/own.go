package offline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/testvectors"
	"github.com/cxtp/cxtp/transport/icmp"
)

// Own answers with this project's codec.
type Own struct{}

// Ask implements [Subject].
func (Own) Ask(_ context.Context, r Request) (Answer, error) {
	answer, err := answer(r)
	var refused *refusal
	if errors.As(err, &refused) {
		answer, err = Answer{Refused: refused.layer}, nil
	}
	answer.ID = r.ID
	return answer, err
}

// refusal is an error that is the octets' fault.
type refusal struct {
	layer testvectors.Layer
	err   error
}

func (e *refusal) Error() string { return fmt.Sprintf("%s refused: %v", e.layer, e.err) }

func answer(r Request) (Answer, error) {
	octets, err := hex.DecodeString(r.Hex)
	if err != nil {
		return Answer{}, fmt.Errorf("failed to read the octets: %w", err)
	}
	key, err := hex.DecodeString(r.Key)
	if err != nil {
		return Answer{}, fmt.Errorf("failed to read the key: %w", err)
	}
	switch r.Op {
	case OpDecode:
		m, err := decodeMessage(octets)
		if err != nil {
			return Answer{}, err
		}
		said, err := say(m)
		return Answer{Message: said}, err
	case OpEncode:
		m, err := build(r.Message)
		if err != nil {
			return Answer{}, err
		}
		encoded, err := m.Append(nil)
		return Answer{Hex: hex.EncodeToString(encoded)}, err
	case OpRecode:
		encoded, err := recode(r.Kind, octets)
		return Answer{Hex: hex.EncodeToString(encoded)}, err
	case OpToken:
		token, err := computeToken(r, secret.New(key), octets)
		return Answer{Token: hex.EncodeToString(token[:])}, err
	case OpVerify:
		valid, err := verify(octets, secret.New(key))
		return Answer{Valid: &valid}, err
	}
	return Answer{Unsupported: fmt.Sprintf("there is no op %q", r.Op)}, nil
}

// decodeMessage decodes a message, and tells a wrong block from a wrong message.
func decodeMessage(octets []byte) (cxtp.Message, error) {
	m, err := cxtp.Decode(octets)
	if err == nil {
		return m, nil
	}
	layer := testvectors.LayerMessage
	var parse *cxtp.ParseError
	if errors.As(err, &parse) && strings.HasPrefix(parse.Field, "CDB ") {
		layer = testvectors.LayerBlock
	}
	return nil, &refusal{layer, err}
}

// recode decodes and encodes a message, the packet around one, or a block of the kind.
func recode(kind string, octets []byte) ([]byte, error) {
	switch kind {
	case kindMessage:
		m, err := decodeMessage(octets)
		if err != nil {
			return nil, err
		}
		return m.Append(nil)
	case kindPacket:
		return repack(octets)
	}
	recode := blockCodecs[kind]
	if recode == nil {
		return nil, fmt.Errorf("there is no kind %q", kind)
	}
	b, err := blockOf(octets)
	if err != nil {
		return nil, err
	}
	again, err := recode(b)
	if err != nil {
		return nil, &refusal{testvectors.LayerContext, err}
	}
	return again.Append(nil)
}

// repack takes the message out of an IP packet, and puts it into ICMP again.
func repack(octets []byte) ([]byte, error) {
	p, header, err := icmp.FromIP(octets)
	var message []byte
	if err == nil {
		message, err = p.Message()
	}
	if err != nil {
		return nil, &refusal{testvectors.LayerPacket, err}
	}
	return icmp.Append(octets[:header:header], p.From, p.To, message), nil
}

// blockCodecs decode a block and encode what it says.
var blockCodecs = map[string]func(cxtp.CDB) (cxtp.CDB, error){
	"control block": func(b cxtp.CDB) (cxtp.CDB, error) {
		control, err := cxtp.ParseControl(b)
		return encodeIf(err, control.Block)
	},
	"node block": func(b cxtp.CDB) (cxtp.CDB, error) {
		node, err := cxtp.ParseNodeState(b)
		return encodeIf(err, node.Block)
	},
	"strong token": func(b cxtp.CDB) (cxtp.CDB, error) {
		token, err := cxtp.ParseStrongToken(b)
		return encodeIf(err, token.Block)
	},
	"session name block": func(b cxtp.CDB) (cxtp.CDB, error) {
		id, err := cxtp.ParseSessionName(b)
		return cxtp.SessionNameBlock(id), err
	},
	"error indication block": func(b cxtp.CDB) (cxtp.CDB, error) {
		status, err := cxtp.ParseErrorBlock(b)
		return cxtp.ErrorBlock(status), err
	},
	"IPsec session block":         ipsecctx.Recode,
	"IPsec SA block":              ipsecctx.Recode,
	"IPsec dynamic block":         ipsecctx.Recode,
	"IPsec outer addresses block": ipsecctx.Recode,
	"multicast listener block": func(b cxtp.CDB) (cxtp.CDB, error) {
		contexts, err := mld.Decode([]cxtp.CDB{b})
		if err != nil {
			return cxtp.CDB{}, err
		}
		blocks, err := mld.Encode(contexts)
		if err != nil || len(blocks) != 1 {
			return cxtp.CDB{}, fmt.Errorf("%d blocks, it should be one: %w", len(blocks), err)
		}
		return blocks[0], nil
	},
	"IKE session block": ikectx.Recode,
	"IKE SA block":      ikectx.Recode,
	"IKE CHILD block":   ikectx.Recode,
	"IKE dynamic block": ikectx.Recode,
}

// encodeIf encodes unless decoding has failed.
func encodeIf(err error, encode func() (cxtp.CDB, error)) (cxtp.CDB, error) {
	if err != nil {
		return cxtp.CDB{}, err
	}
	return encode()
}

// blockOf reads the frame of one block, by putting it into a message.
func blockOf(octets []byte) (cxtp.CDB, error) {
	frame := cxtp.CTD{Previous: netip.IPv4Unspecified()}
	inside, err := frame.Append(nil)
	if err != nil {
		return cxtp.CDB{}, err
	}
	inside = append(inside, octets...)
	inside[2], inside[3] = byte(len(inside)>>8), byte(len(inside))
	if err := frame.Decode(inside); err != nil {
		return cxtp.CDB{}, &refusal{testvectors.LayerBlock, err}
	}
	if len(frame.Blocks) != 1 {
		return cxtp.CDB{}, &refusal{testvectors.LayerBlock, fmt.Errorf("%d blocks, it should be one", len(frame.Blocks))}
	}
	return frame.Blocks[0], nil
}

// computeToken computes the token over the request blocks in octets.
func computeToken(r Request, key secret.Key, octets []byte) (cxtp.Token, error) {
	previous, err := netip.ParseAddr(r.Previous)
	if err != nil {
		return cxtp.Token{}, fmt.Errorf("failed to read the address: %w", err)
	}
	// A CT-Req holds request blocks, and nothing of it but them is covered here.
	frame := cxtp.CTReq{Previous: previous}
	inside, err := frame.Append(nil)
	if err != nil {
		return cxtp.Token{}, err
	}
	inside = append(inside, octets...)
	inside[2], inside[3] = byte(len(inside)>>8), byte(len(inside))
	if err := frame.Decode(inside); err != nil {
		return cxtp.Token{}, &refusal{testvectors.LayerBlock, err}
	}
	return cxtp.ComputeToken(key, previous, r.Sequence, frame.Requests)
}

// verify checks what authenticates a message: its MAC, its strong token or RFC
// 4067's token.
func verify(octets []byte, key secret.Key) (bool, error) {
	m, err := decodeMessage(octets)
	if err != nil {
		return false, err
	}
	switch m := m.(type) {
	case *cxtp.CTAR:
		return verifyRequest(key, m.Previous, m.Sequence, m.Requests, m.Token), nil
	case *cxtp.CTReq:
		return verifyRequest(key, m.Previous, m.Sequence, m.Requests, m.Token), nil
	case interface{ Verify(secret.Key) bool }:
		return m.Verify(key), nil
	}
	return false, fmt.Errorf("a %s has no token and no MAC", m.Type())
}

func verifyRequest(key secret.Key, previous netip.Addr, sequence uint32, requests []cxtp.CDB, token cxtp.Token) bool {
	what := cxtp.Signed{Previous: previous, Sequence: sequence, Requests: requests}
	var strong *cxtp.StrongToken
	for _, b := range requests {
		switch b.FPT {
		case cxtp.FPTSessionName:
			what.Session, _ = cxtp.ParseSessionName(b) // without one, the tag is wrong
		case cxtp.FPTToken:
			parsed, err := cxtp.ParseStrongToken(b)
			if err != nil {
				return false
			}
			strong = &parsed
		}
	}
	if strong == nil {
		return cxtp.VerifyToken(key, previous, sequence, requests, token)
	}
	return strong.Token() == token && strong.Verify(key, what)
}
