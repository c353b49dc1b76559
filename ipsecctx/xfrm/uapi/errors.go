package uapi

import (
	"errors"
	"fmt"
	"syscall"
)

// What an [Error] can be, by name; ask with [errors.Is]. The kernel's error
// numbers mean different things for different requests, so these are safer than
// the numbers.
var (
	// ErrExists: there is such a state (a reservation counts) or policy.
	ErrExists = errors.New("exists already")
	// ErrInUse: no SPI of the range asked for is free.
	ErrInUse = errors.New("SPI in use")
	// ErrNotFound: there is no such state or policy.
	ErrNotFound = errors.New("not found")
	// ErrPermission: the process lacks CAP_NET_ADMIN.
	ErrPermission = errors.New("not permitted")
	// ErrUnsupportedAlgorithm: this kernel lacks an algorithm of the state.
	ErrUnsupportedAlgorithm = errors.New("algorithm not supported")
	// ErrUnsupportedProtocol: this kernel lacks ESP, AH or IPComp for the
	// address family, or, from Dial, the XFRM interface altogether.
	ErrUnsupportedProtocol = errors.New("protocol not supported")
	// ErrFinalUnknown: DeleteState deleted the state, and the event with its
	// last sequence numbers was lost.
	ErrFinalUnknown = errors.New("state deleted, its final sequence numbers lost")
	// ErrOutcomeUnknown: the answer to a request was lost; whether it was
	// carried out has to be read.
	ErrOutcomeUnknown = errors.New("answer lost, outcome unknown")
)

// Error is the kernel's refusal of one request.
type Error struct {
	Op    Op
	ID    string        // what it was about, readable
	Errno syscall.Errno // what the kernel said; errors.Is finds it
	Text  string        // the kernel's own explanation; may be empty
}

// Error says what was tried, what the kernel said, and where it helps, what to
// do.
func (e *Error) Error() string {
	s := fmt.Sprintf("failed to %v", e.Op)
	if e.ID != "" {
		s += " " + e.ID
	}
	s += ": " + e.Errno.Error()
	if e.Text != "" {
		s += " (" + e.Text + ")"
	}
	switch {
	case e.Is(ErrPermission):
		s += "; the process needs CAP_NET_ADMIN"
	case e.Is(ErrInUse):
		s += "; no SPI of the range is free"
	case e.Is(ErrUnsupportedProtocol):
		s += "; load the kernel modules xfrm_user, esp4, esp6, ah4 and ah6"
	}
	return s
}

// Unwrap gives the kernel's error number.
func (e *Error) Unwrap() error { return e.Errno }

// Is implements [errors.Is] for the names above.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrExists:
		return e.Errno == syscall.EEXIST
	case ErrInUse:
		return e.Op == OpAllocSPI && e.Errno == syscall.ENOENT
	case ErrNotFound:
		return e.Errno == syscall.ESRCH || e.Errno == syscall.ENOENT && e.Op.onPolicy()
	case ErrPermission:
		return e.Errno == syscall.EPERM || e.Errno == syscall.EACCES
	case ErrUnsupportedAlgorithm:
		return e.Op.writesState() && (e.Errno == syscall.ENOSYS || e.Errno == syscall.ENOENT)
	case ErrUnsupportedProtocol:
		return e.Errno == syscall.EPROTONOSUPPORT
	}
	return false
}

func (op Op) writesState() bool { return op == OpAddState || op == OpUpdateState }

func (op Op) onPolicy() bool {
	return op == OpAddPolicy || op == OpUpdatePolicy || op == OpDeletePolicy || op == OpGetPolicy
}

// String is the op in words, as an error says it.
func (op Op) String() string {
	switch op {
	case opDial:
		return "connect to XFRM"
	case OpAddState, OpAddPolicy:
		return "add"
	case OpUpdateState, OpUpdatePolicy:
		return "update"
	case OpDeleteState, OpDeletePolicy:
		return "delete"
	case OpGetState, OpGetPolicy:
		return "get"
	case OpAllocSPI:
		return "reserve"
	case OpSetReplay:
		return "set the sequence numbers of"
	case OpGetReplay:
		return "get the sequence numbers of"
	case opHashPolicies:
		return "hash"
	case opSADInfo:
		return "get the size of"
	}
	return fmt.Sprintf("do request %#x on", uint16(op))
}

// FormatError says that a message, or a value to be made one, is not well
// formed.
type FormatError struct {
	What string // the structure, attribute or field
	Why  string
}

// Error says where and why.
func (e *FormatError) Error() string { return "XFRM " + e.What + ": " + e.Why }
