package strongswan

import (
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// refuse is the refusal of an IKE context.
func refuse(st cxtp.Status, format string, args ...any) error {
	return &features.Error{FPT: cxtp.FPTIKESession, Status: st, Err: fmt.Errorf(format, args...)}
}
