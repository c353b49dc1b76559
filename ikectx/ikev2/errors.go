package ikev2

import (
	"errors"
	"fmt"
)

var (
	// ErrTransform is in the errors about transforms that this package does not
	// have, or that do not go together. Such a session cannot be spoken for.
	ErrTransform = errors.New("transform is not possible here")
	// ErrInput is in the errors about nonces, secrets and keys that do not have the
	// length or number that the transforms ask for.
	ErrInput = errors.New("key material does not fit")

	// ErrOtherSA says that a message is not of this SA, or not from its peer.
	ErrOtherSA = errors.New("message is of another IKE SA")
	// ErrAuth says that a message is forged, damaged, or under other keys.
	ErrAuth = errors.New("integrity check failed")
	// ErrIncomplete says that fragments of a message are missing.
	ErrIncomplete = errors.New("fragments of the message are missing")

	// ErrOtherExchange says that a response does not answer the request.
	ErrOtherExchange = errors.New("response is to another request")
	// ErrCookie says that the peer did not return COOKIE2. The IKE SA must be
	// closed (RFC 4555 section 3.7).
	ErrCookie = errors.New("response lacks the COOKIE2 of the request")
)

// ParseError says why octets are not the message that they should be, and where.
// It never quotes them.
type ParseError struct {
	Payload PayloadType // 0 for the header, and for what is between payloads
	Offset  int         // octets from the start of what was parsed
	Reason  string      // what is wrong, with the figures
}

func (e *ParseError) Error() string {
	where := "IKE message"
	if e.Payload != 0 {
		where = fmt.Sprintf("IKE payload %v", e.Payload)
	}
	return fmt.Sprintf("%s at octet %d: %s", where, e.Offset, e.Reason)
}

// CriticalError says that a message has a payload that is not known here, and
// that its sender does not allow to be skipped (RFC 7296 section 2.5). The answer
// to such a request is UNSUPPORTED_CRITICAL_PAYLOAD with the type as its data.
type CriticalError struct{ Payload PayloadType }

func (e *CriticalError) Error() string {
	return fmt.Sprintf("IKE payload of type %d is critical and not known", uint8(e.Payload))
}

// RefusedError is an error notify in a response.
type RefusedError struct{ Type NotifyType }

func (e *RefusedError) Error() string { return fmt.Sprintf("the peer answered %v", e.Type) }
