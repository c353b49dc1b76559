package harden

import "golang.org/x/sys/unix"

// lockMemory locks pages as they are first touched. With a finite limit it must
// not be tried: the runtime's next allocation would fail, and with it the
// program.
func lockMemory() bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil {
		return false
	}
	if limit.Cur != unix.RLIM_INFINITY {
		unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited) != nil {
			return false
		}
	}
	return unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) == nil
}
