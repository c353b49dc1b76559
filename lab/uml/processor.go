//go:build linux

package uml

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The guest's kernel reads and restores the floating-point registers of its
// processes by ptrace, with buffers of a size fixed when it was built. This
// machine's kernel cuts a longer buffer down to what its processor has, but
// refuses to restore from a shorter one, and the guest would die at its first
// process. Processors with AMX have more registers than was foreseen.
const (
	builtSize   = 2696     // octets of the guest kernel's buffers
	largestSize = 64 << 10 // more than any processor has
	noteXState  = 0x202    // NT_X86_XSTATE
)

// fitKernel returns the path of a guest kernel that this machine's processor
// can run: the one given, or a copy of it in the folder that restores as many
// octets as the processor's registers take. The octets after its own buffer are
// memory of the guest's; they stand for registers that the buffer's header calls
// unused, so that nobody looks at them.
func fitKernel(kernel, folder string) (string, error) {
	size, err := registersSize()
	if err != nil {
		return "", fmt.Errorf("failed to learn the size of the processor's registers: %w", err)
	}
	if size <= builtSize {
		return kernel, nil
	}
	image, err := os.ReadFile(kernel)
	if err != nil {
		return "", err
	}
	if err := setRegistersSize(image, size); err != nil {
		return "", fmt.Errorf("%s cannot run on this processor, whose registers take %d octets: %w", kernel, size, err)
	}
	fitted := filepath.Join(folder, "linux.uml")
	return fitted, os.WriteFile(fitted, image, 0o700)
}

// setRegistersSize puts the size into the one place where the kernel gives a
// process its registers back:
//
//	movq $2696, n(%rbp)    the length of an iovec
//	mov  $0x4205, %edi     PTRACE_SETREGSET
func setRegistersSize(image []byte, size int) error {
	length := binary.LittleEndian.AppendUint32(nil, builtSize)
	request := binary.LittleEndian.AppendUint32([]byte{0xbf}, unix.PTRACE_SETREGSET)
	store := []byte{0x48, 0xc7, 0x45} // then n, then the length
	var found []int
	for at := 0; ; {
		next := bytes.Index(image[at:], request)
		if next < 0 {
			break
		}
		at += next
		before := at - len(length)
		if before > len(store) && bytes.Equal(image[before:at], length) && bytes.Equal(image[before-4:before-1], store) {
			found = append(found, before)
		}
		at += len(request)
	}
	if len(found) != 1 {
		return fmt.Errorf("it sets registers in %d places that look as expected, not in 1: use another build of user-mode-linux", len(found))
	}
	binary.LittleEndian.PutUint32(image[found[0]:], uint32(size))
	return nil
}

// registersSize asks this machine's kernel, with a process that never runs, how
// many octets the registers of a process take.
func registersSize() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	// Only the thread that started a traced process may ask for its registers.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(self)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var status unix.WaitStatus
	if _, err := unix.Wait4(cmd.Process.Pid, &status, unix.WALL, nil); err != nil {
		return 0, err
	}
	if !status.Stopped() {
		return 0, fmt.Errorf("the traced process did not stop: status %#x", status)
	}
	registers := make([]byte, largestSize)
	vector := unix.Iovec{Base: &registers[0]}
	vector.SetLen(len(registers))
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(cmd.Process.Pid), noteXState,
		uintptr(unsafe.Pointer(&vector)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(vector.Len), nil
}

// guests counts those that this process has started.
var guests atomic.Uint32

// onOneProcessor binds this thread to one processor, guests to different ones in turn,
// and returns how to undo that: what the thread starts meanwhile stays bound. The thread
// has to be locked.
//
// Each system call of a process in a guest, each fault and each reading of the clock is
// a change between processes of this machine, of which one runs at a time. Spread over
// processors, each waits for another one to wake up: in a virtual machine that is seven
// times slower.
func onOneProcessor() (undo func(), err error) {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, fmt.Errorf("failed to learn which processors may be used: %w", err)
	}
	// Other processes have guests, too.
	turn := (os.Getpid() + int(guests.Add(1))) % allowed.Count()
	for processor := range 8 * len(allowed) * int(unsafe.Sizeof(allowed[0])) {
		if !allowed.IsSet(processor) {
			continue
		}
		if turn--; turn < 0 {
			one.Set(processor)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, fmt.Errorf("failed to bind the guest to a processor: %w", err)
	}
	return func() { unix.SchedSetaffinity(0, &allowed) }, nil
}
