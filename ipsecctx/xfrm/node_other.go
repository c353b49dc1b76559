//go:build !linux

package xfrm

import (
	"context"
	"fmt"
	"runtime"

	"github.com/cxtp/cxtp/cxtp"
)

// Node is a mobile node's SAs in its own kernel, on Linux.
type Node struct{}

// NewNode says that this is not Linux.
func NewNode(uint32) (*Node, error) {
	return nil, fmt.Errorf("a node's SAs can be followed in the Linux kernel only, and this is %s: use on_update", runtime.GOOS)
}

// Close does nothing.
func (*Node) Close() error { return nil }

// Follow does nothing.
func (*Node) Follow(context.Context, cxtp.AgentFollow) (int, error) { return 0, nil }
