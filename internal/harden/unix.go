//go:build unix

package harden

import (
	"fmt"
	"syscall"
)

func noCoreDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("failed to switch off core dumps: %w", err)
	}
	return nil
}
