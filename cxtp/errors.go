package cxtp

import (
	"errors"
	"fmt"
)

// What a [ParseError] may be beyond "malformed", for errors.Is: each of them
// asks the receiver for another answer.
var (
	ErrVersion         = errors.New("protocol version is not 1")
	ErrUnknownType     = errors.New("unknown message type")
	ErrUnknownCritical = errors.New("unknown critical extension") // StatusUnknownCritical
)

// ParseError says why octets are not the message, block or field that they
// should be, and where. It never quotes data, which may be keys.
type ParseError struct {
	Message string // what was being read: "CTD", "control block", "Outcome"
	Field   string // which field of it, in the document's words
	Offset  int    // octets from the start of what was given to the decoder
	Reason  string // what is wrong, with the figures
	Err     error  // one of the errors above, or nil
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%s: %s at octet %d: %s", e.Message, e.Field, e.Offset, e.Reason)
}

func (e *ParseError) Unwrap() error { return e.Err }
