package cxtp

import (
	"errors"
	"fmt"
)

// Status is the status code of one context, in CTAA, CTDR and Outcome. RFC 4067
// defines 0 and 1 and leaves the rest to each context type; ours are common to
// our context types and listed in rfc/codepoints.md.
type Status uint8

const (
	StatusOK          Status = 0x00
	StatusBadChecksum Status = 0x01 // RFC 4067 section 4

	StatusMalformed       Status = 0x80 // the block does not follow its profile
	StatusUnknownFPT      Status = 0x81 // no feature for this context type
	StatusUnknownCritical Status = 0x82 // an extension that must be understood is not
	StatusAlgorithm       Status = 0x83 // transform not supported here
	StatusWindow          Status = 0x84 // anti-replay window too large for this gateway
	StatusSPIConflict     Status = 0x85 // SPI in use at the target
	StatusPolicyConflict  Status = 0x86 // selectors or inner addresses overlap another session's
	StatusUnsupported     Status = 0x87 // mode, protocol or encapsulation not supported here
	StatusNotAuthorised   Status = 0x88 // token wrong, or the policy for this peer does not allow it
	StatusUnknownSession  Status = 0x89 // no such node or session
	StatusAmbiguous       Status = 0x8A // the address names several sessions
	StatusBusy            Status = 0x8B // another move of this session is under way
	StatusStale           Status = 0x8C // epoch not above the highest seen
	StatusNoBase          Status = 0x8D // dynamic state without the staged contexts: send it all
	StatusNoControl       Status = 0x8E // context needs a control block, there was none
	StatusExpired         Status = 0x8F // a deadline passed
	StatusCancelled       Status = 0x90 // withdrawn by the source or the operator
	StatusNoResources     Status = 0x91 // limit of sessions or memory reached
	StatusUnknownKey      Status = 0x92 // the token names a key that is not here
	StatusUntold          Status = 0x93 // the node would have another gateway address, and cannot be told
	StatusRenegotiate     Status = 0x94 // SPI in use at the target: with another one the session is welcome
	StatusDaemon          Status = 0x95 // the IKE daemon here is not there, or not as a move needs it
	StatusConfiguration   Status = 0x96 // the IKE daemon here has no connection or CHILD SA of that name
	StatusImmobile        Status = 0x97 // the node would have another gateway address, and cannot follow
	StatusDrained         Status = 0x98 // the target is being emptied, and takes no session
	StatusInternal        Status = 0xFF // failed for a reason of its own; its log says which
)

var statusText = map[Status]string{
	StatusOK:              "success",
	StatusBadChecksum:     "bad checksum",
	StatusMalformed:       "malformed context",
	StatusUnknownFPT:      "unknown context type",
	StatusUnknownCritical: "unknown critical extension",
	StatusAlgorithm:       "algorithm not supported",
	StatusWindow:          "anti-replay window too large",
	StatusSPIConflict:     "SPI already in use",
	StatusPolicyConflict:  "overlaps another session",
	StatusUnsupported:     "not supported",
	StatusNotAuthorised:   "not authorised",
	StatusUnknownSession:  "unknown session",
	StatusAmbiguous:       "address names several sessions",
	StatusBusy:            "session busy",
	StatusStale:           "stale epoch",
	StatusNoBase:          "staged contexts missing",
	StatusNoControl:       "control block missing",
	StatusExpired:         "deadline passed",
	StatusCancelled:       "cancelled",
	StatusNoResources:     "no resources",
	StatusUnknownKey:      "unknown token key",
	StatusUntold:          "node cannot be told",
	StatusRenegotiate:     "SPI already in use, another one is wanted",
	StatusDaemon:          "IKE daemon not ready",
	StatusConfiguration:   "connection not configured",
	StatusImmobile:        "node cannot follow",
	StatusDrained:         "gateway is drained",
	StatusInternal:        "internal error",
}

func (s Status) String() string {
	if text, ok := statusText[s]; ok {
		return text
	}
	return fmt.Sprintf("status %#02x", uint8(s))
}

// statusAdvice is for what an operator can mend, at the router that gave it.
var statusAdvice = map[Status]string{
	StatusNotAuthorised: "its configuration says what it takes from whom",
	StatusDaemon:        "cxtp status there says what the IKE daemon lacks",
	StatusConfiguration: "give the IKE daemon there the source's connections and children, by the same names, and load them",
	StatusImmobile:      "it has no MOBIKE, or is behind a NAT that lets nothing in from there: only a gateway that shares the source's address can take it",
	StatusDrained:       "cxtp undrain there opens it again",
	StatusInternal:      "the log there says why",
}

// Advice is what an operator can do about a status that another router gave; ""
// where the status says all there is to say.
func (s Status) Advice() string { return statusAdvice[s] }

// ContextStatus is the status of one context type: four octets of CTAA, CTDR
// and Outcome.
type ContextStatus struct {
	FPT    FPT    `json:"fpt"`
	Status Status `json:"status"`
}

// refusalStatus is the status that an error of Config.Inspect stands for.
func refusalStatus(err error) Status {
	var refusal interface{ Refusal() Status }
	if errors.As(err, &refusal) {
		return refusal.Refusal()
	}
	return StatusMalformed
}
