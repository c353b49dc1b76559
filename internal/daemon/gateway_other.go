//go:build !linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/internal/config"
)

func (d *daemon) openIKE() (ikeDaemon, error) { return nil, errors.ErrUnsupported }

func openMulticast(m *config.Multicast) (mld.Backend, error) {
	if len(m.Interfaces) > 0 {
		return nil, fmt.Errorf("multicast.interfaces is for Linux, and this is %s: use multicast.prefixes", runtime.GOOS)
	}
	return mld.NewMemory(m.Prefixes), nil
}

func openKernel(context.Context, *config.Config, *slog.Logger, around) (gateway, error) {
	return nil, fmt.Errorf("gateway.kind is \"kernel\", which is for Linux, and this is %s: use \"userspace\"", runtime.GOOS)
}
