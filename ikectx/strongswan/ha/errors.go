package ha

import (
	"errors"
	"fmt"
)

// What a [ParseError] may be beyond "malformed", for errors.Is.
var (
	ErrVersion     = errors.New("protocol version is not 3, 4 or 5")
	ErrUnknownType = errors.New("unknown message type")
)

// ParseError says why a datagram is not the message that it should be, and
// where. It never quotes data, which may be keys.
type ParseError struct {
	Type      Type      // 0 if that was not known yet
	Attribute Attribute // 0 for what is outside of the attributes
	Offset    int       // octets from the start of the datagram
	Reason    string    // what is wrong, with the figures
	Err       error     // one of the errors above, or nil
}

func (e *ParseError) Error() string {
	where := "ha message"
	if e.Type != 0 {
		where = "ha " + e.Type.String()
	}
	if e.Attribute != 0 {
		where += ": " + e.Attribute.String()
	}
	return fmt.Sprintf("%s at octet %d: %s", where, e.Offset, e.Reason)
}

func (e *ParseError) Unwrap() error { return e.Err }

// UnsupportedError names what a body says and the wanted version cannot. The
// session that needs it does not move to a gateway of that version.
type UnsupportedError struct {
	Version Version
	Type    Type
	What    string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s cannot say in %s: %s; a gateway with a newer strongSwan can take this session", e.Version, e.Type, e.What)
}

// ValueError names a field that no version can say as it is: too long, of the
// wrong kind, or missing.
type ValueError struct {
	Type      Type
	Attribute Attribute // 0 for the message itself
	Reason    string
}

func (e *ValueError) Error() string {
	if e.Attribute == 0 {
		return fmt.Sprintf("ha %s cannot be written: %s", e.Type, e.Reason)
	}
	return fmt.Sprintf("ha %s cannot be written: %s %s", e.Type, e.Attribute, e.Reason)
}
