//go:build !linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/cxtp/cxtp/internal/config"
)

func (d *daemon) openIKE() (ikeDaemon, error) { return nil, errors.ErrUnsupported }

func openKernel(context.Context, *config.Config, *slog.Logger, around) (gateway, error) {
	return nil, fmt.Errorf("gateway.kind is \"kernel\", which is for Linux, and this is %s: use \"userspace\"", runtime.GOOS)
}
