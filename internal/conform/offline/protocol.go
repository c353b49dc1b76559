// Package offline holds an implementation's codec against the vectors of package
// testvectors: it makes conformance cases of them, each of which asks one question.
//
// A [Subject] answers. [Own] is this project's codec; a [Program] is any other one,
// behind the line protocol of doc/conformance.md: a JSON object a line, a [Request]
// on its standard input, an [Answer] on its standard output. [Serve] speaks the other
// end of it, with our codec.
//
//	program := offline.NewProgram(5*time.Second, "python3", "mine.py")
//	defer program.Close()
//	cases, err := offline.Cases(program)
package offline

import (
	"context"

	"github.com/cxtp/cxtp/testvectors"
)

// Op is a question's kind.
type Op string

const (
	// OpDecode: what does the message in Hex say? Answered with Message.
	OpDecode Op = "decode"
	// OpEncode: which octets are this Message? Answered with Hex.
	OpEncode Op = "encode"
	// OpRecode: decode Hex, and encode what it says again. Answered with Hex.
	OpRecode Op = "recode"
	// OpToken: the token under Key over Previous, Sequence and the request blocks
	// in Hex. Answered with Token.
	OpToken Op = "token"
	// OpVerify: is the token or MAC of the message in Hex right under Key? Answered
	// with Valid.
	OpVerify Op = "verify"
)

// kindMessage is the Kind of all messages, and kindPacket of the IP packets that a
// node's messages travel in. Blocks have one of their own each: these are the types
// of their vectors.
const (
	kindMessage = "message"
	kindPacket  = "ICMP packet"
)

// Request is a question.
type Request struct {
	ID       int                  `json:"id"`
	Op       Op                   `json:"op"`
	Kind     string               `json:"kind,omitempty"` // what Hex is: "message", "control block", ...
	Hex      string               `json:"hex,omitempty"`
	Message  *testvectors.Message `json:"message,omitempty"`
	Key      string               `json:"key,omitempty"` // in hexadecimal
	Previous string               `json:"previous,omitempty"`
	Sequence uint32               `json:"sequence,omitempty"`
}

// Answer is what comes back: one of the fields beside ID.
type Answer struct {
	ID      int                  `json:"id"`
	Message *testvectors.Message `json:"message,omitempty"`
	Hex     string               `json:"hex,omitempty"`
	Token   string               `json:"token,omitempty"` // four octets, in hexadecimal
	Valid   *bool                `json:"valid,omitempty"`
	// Refused is at which layer the octets are refused.
	Refused testvectors.Layer `json:"refused,omitempty"`
	// Error says what went wrong where no octets are refused. It is a failure.
	Error string `json:"error,omitempty"`
	// Unsupported says why the question cannot be answered: the op, or this kind of
	// octets, is not implemented. It is no failure.
	Unsupported string `json:"unsupported,omitempty"`
}

// Subject is an implementation that answers. An error means that there was no
// answer, and says why in a sentence.
type Subject interface {
	Ask(ctx context.Context, r Request) (Answer, error)
}
