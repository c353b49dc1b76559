//go:build !unix

package daemon

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
