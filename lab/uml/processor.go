//go:build linux

package uml

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
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

// processors are those that guests of this process are bound to, and how many to each.
var processors struct {
	sync.Mutex
	guests map[int]int
}

// processor is the one that a guest is bound to, by its number.
//
// Each system call of a process in a guest, each fault and each reading of the clock is
// a change between processes of this machine, of which one runs at a time. Spread over
// processors, each waits for another one to wake up: in a virtual machine that is seven
// times slower.
type processor int

// takeProcessor chooses the one with the fewest guests. The caller calls leave.
func takeProcessor() (processor, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0, fmt.Errorf("failed to learn which processors may be used: %w", err)
	}
	var all []int
	for p := range 8 * int(unsafe.Sizeof(allowed)) {
		if allowed.IsSet(p) {
			all = append(all, p)
		}
	}
	// Other processes have guests, too: each begins with another processor.
	first := os.Getpid() % len(all)
	all = append(all[first:], all[:first]...)
	processors.Lock()
	defer processors.Unlock()
	if processors.guests == nil {
		processors.guests = map[int]int{}
	}
	least := slices.MinFunc(all, func(a, b int) int { return processors.guests[a] - processors.guests[b] })
	processors.guests[least]++
	return processor(least), nil
}

// leave is for when the guest has ended.
func (p processor) leave() {
	processors.Lock()
	defer processors.Unlock()
	processors.guests[int(p)]--
}

// bind calls start bound to the processor, as whatever is started there stays. The
// caller's thread is locked.
func (p processor) bind(start func() error) error {
	var before, one unix.CPUSet
	one.Set(int(p))
	if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, &one)); err != nil {
		return fmt.Errorf("failed to bind the guest to processor %d: %w", p, err)
	}
	defer unix.SchedSetaffinity(0, &before)
	return start()
}
