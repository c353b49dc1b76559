package xfrm

import (
	"errors"
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// ErrCountersUnknown is wrapped by the error of a Freeze that stopped the
// session but cannot tell its last sequence numbers, and has no ceiling to go by.
// The session cannot go on anywhere: it has to be negotiated anew.
var ErrCountersUnknown = errors.New("the last sequence numbers are not known")

// refuse makes a refusal of one SA.
func refuse(status cxtp.Status, format string, args ...any) error {
	return refuseFor(cxtp.FPTIPsecSA, status, format, args...)
}

func refuseFor(fpt cxtp.FPT, status cxtp.Status, format string, args ...any) error {
	return &features.Error{FPT: fpt, Status: status, Err: fmt.Errorf(format, args...)}
}

func unknown(id cxtp.SessionID, operation string) error {
	return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnknownSession, "session %v is not here: %s is not possible", id, operation)
}

// explain turns the kernel's refusal of an SA or a policy that was to be added
// into one that the other gateway and its operator can act on.
func explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, uapi.ErrPermission):
		return fmt.Errorf("%s: the kernel lets only a process with CAP_NET_ADMIN do this, give it to the daemon: %w", what, err)
	case errors.Is(err, uapi.ErrUnsupportedProtocol):
		return refuse(cxtp.StatusUnsupported, "%s: the kernel has no module for it, load esp4, esp6, ah4 or ah6: %w", what, err)
	case errors.Is(err, uapi.ErrUnsupportedAlgorithm):
		return refuse(cxtp.StatusAlgorithm, "%s: the kernel lacks the algorithm, load or build its crypto module: %w", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}
