package ikev2

import (
	"encoding/binary"
	"fmt"
)

// fragmentLen is what an Encrypted Fragment payload has before its IV, in octets
// (RFC 7383 section 2.5).
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|        Fragment Number        |        Total Fragments        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const fragmentLen = 4

func parseFragment(b []byte) (number, total int, err error) {
	at := headerLen + genericLen
	if len(b) < fragmentLen {
		return 0, 0, &ParseError{PayloadFragment, at, fmt.Sprintf("%d octets, it has at least %d", len(b), fragmentLen)}
	}
	number, total = int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
	if number == 0 || number > total {
		return 0, 0, &ParseError{PayloadFragment, at, fmt.Sprintf("fragment %d of %d", number, total)}
	}
	return number, total, nil
}

// assembly is a message of which some fragments are there. All of them have been
// authenticated.
type assembly struct {
	parts []opened // different fragments of one message
}

// add takes a fragment. What is there already is left out.
func (a *assembly) add(one opened) error {
	for _, p := range a.parts {
		if p.header != one.header || p.total != one.total {
			return &ParseError{PayloadFragment, headerLen + genericLen, "fragments are not of one message"}
		}
		if p.number == one.number {
			return nil
		}
	}
	a.parts = append(a.parts, one)
	return nil
}

// message puts the fragments together and reads the payloads in them.
func (a *assembly) message() (*Message, error) {
	if len(a.parts) == 0 || len(a.parts) < a.parts[0].total {
		return nil, ErrIncomplete
	}
	sorted := make([]opened, len(a.parts))
	for _, p := range a.parts {
		sorted[p.number-1] = p
	}
	body := sorted[0].body
	for _, p := range sorted[1:] {
		body = append(body, p.body...)
	}
	payloads, err := parseChain(body, sorted[0].first)
	if err != nil {
		return nil, err
	}
	h := sorted[0].header
	return &Message{Exchange: h.Exchange, Response: h.Response, ID: h.ID, Payloads: payloads}, nil
}
