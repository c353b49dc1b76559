// Package harden keeps the keys in a process's memory from reaching a disk: no
// core dump, and no swap where the system lets an unprivileged process say so.
package harden

// Process applies both to this process. An error means that core dumps could
// not be switched off, and that the process should not go on. locked is false
// where the memory could not be locked: the operator can raise RLIMIT_MEMLOCK
// ("LimitMEMLOCK=infinity" in a systemd unit) or encrypt the swap.
func Process() (locked bool, err error) {
	if err := noCoreDumps(); err != nil {
		return false, err
	}
	return lockMemory(), nil
}
