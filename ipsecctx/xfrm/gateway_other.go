//go:build !linux

package xfrm

import (
	"context"
	"fmt"
	"runtime"
)

// New opens the kernel of this machine as a gateway, on Linux.
func New(context.Context, Config) (*Gateway, error) {
	return nil, fmt.Errorf("the kernel gateway is for Linux, and this is %s: use the userspace one", runtime.GOOS)
}
