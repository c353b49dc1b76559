//go:build unix

package cli

import (
	"fmt"
	"syscall"
)

// forbidCoreDumps keeps the node's keys out of a core file.
func forbidCoreDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("failed to switch off core dumps: %w", err)
	}
	return nil
}
