//go:build linux

// Package uml runs a program in a User-Mode Linux guest: a Linux kernel of its
// own, started as an ordinary process. It is for what the kernel of the
// machine that tests cannot be asked to do, because it lacks ESP or because
// nobody wants the SAs of a test in it.
//
// The guest sees this machine's file system and can change none of it: what it
// writes lands in its memory. What it is to give back it writes to the folder
// that $LAB_RESULTS names there.
//
// A program that calls [Run] calls [Init] first thing in main, or in TestMain:
// the guest's first process is the same program once more.
package uml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// StatusDied is the status of a job whose guest ended without saying how the
// job did: it crashed, or ran into the job's timeout.
const StatusDied = 124

// Defaults of a [Job].
const (
	DefaultMemory  = 512 // MiB
	DefaultTimeout = 5 * time.Minute
)

// Job is a program to run in a guest of its own.
type Job struct {
	Binary string   // path of a program on this machine
	Args   []string // without the program's name
	Env    []string // beside PATH, HOME and LAB_RESULTS, each "NAME=value"
	Dir    string   // the program's working directory; default: the root

	// Files are put into the folder that $LAB_FILES names in the guest.
	Files map[string][]byte

	Memory  int           // of the guest, in MiB; default: DefaultMemory
	Timeout time.Duration // of the guest, boot included; default: DefaultTimeout

	// Output, when set, receives what the program prints, as it prints it.
	Output io.Writer
}

// Result is what came back.
type Result struct {
	Status int               // the program's exit status, or StatusDied
	Output []byte            // what it printed; of a dead guest, its console's last lines too
	Files  map[string][]byte // what it left in $LAB_RESULTS, by path in there
}

// ErrNotInstalled is returned by [Run] on a machine without User-Mode Linux.
var ErrNotInstalled = errors.New("no linux.uml or its modules here: install the Debian packages user-mode-linux, kmod, iproute2 and iptables")

// The names that guest and host share in the scratch folder.
const (
	jobFolder     = "job"     // read by the guest
	filesFolder   = "files"   // in the job's folder
	resultsFolder = "results" // written by the guest
	keepFolder    = "keep"    // of the results, what the program writes
	jobFile       = "job.json"
	binaryFile    = "program"
	outputFile    = "output"
	statusFile    = "status"
	errorFile     = "error"
)

// request is what the guest reads from its job file.
type request struct {
	Args, Env []string
	Dir       string
}

// Run boots a guest, runs the job and returns what came of it. It returns an
// error when the guest could not be asked; that it died is a result. Nothing
// of it is left when Run returns, also when the context ended it, and several
// guests may run at once.
func Run(ctx context.Context, job Job) (Result, error) {
	kernel, err := exec.LookPath("linux.uml")
	if err != nil {
		return Result{}, ErrNotInstalled
	}
	if _, err := os.Stat(modulesFolder); err != nil {
		return Result{}, ErrNotInstalled
	}
	if job.Memory == 0 {
		job.Memory = DefaultMemory
	}
	if job.Timeout == 0 {
		job.Timeout = DefaultTimeout
	}
	scratch, err := os.MkdirTemp("", "cxtp-lab-")
	if err != nil {
		return Result{}, fmt.Errorf("failed to make a folder for the guest: %w", err)
	}
	defer os.RemoveAll(scratch)
	if kernel, err = fitKernel(kernel, scratch); err != nil {
		return Result{}, err
	}
	if err := prepare(scratch, job); err != nil {
		return Result{}, fmt.Errorf("failed to prepare the guest's folder: %w", err)
	}
	deadline, cancel := context.WithTimeout(ctx, job.Timeout)
	defer cancel()
	console, err := boot(deadline, kernel, scratch, job)
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	if err != nil {
		return Result{}, err
	}
	result, err := collect(filepath.Join(scratch, resultsFolder))
	if err != nil {
		return Result{}, err
	}
	if result.Status == StatusDied {
		why := "the guest died"
		if deadline.Err() != nil {
			why = fmt.Sprintf("the guest was stopped after %v", job.Timeout)
		}
		last := fmt.Sprintf("\n%s; the end of its console:\n%s\n", why, console)
		result.Output = append(result.Output, last...)
		if job.Output != nil {
			io.WriteString(job.Output, last)
		}
	}
	return result, nil
}

// prepare lays out the folders that the guest mounts.
func prepare(scratch string, job Job) error {
	in := filepath.Join(scratch, jobFolder)
	for _, folder := range []string{filepath.Join(in, filesFolder), filepath.Join(scratch, resultsFolder, keepFolder)} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join(in, binaryFile), job.Binary, 0o700); err != nil {
		return err
	}
	for name, content := range job.Files {
		path := filepath.Join(in, filesFolder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	text, err := json.Marshal(request{Args: job.Args, Env: job.Env, Dir: job.Dir})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(in, jobFile), text, 0o600)
}

func copyFile(to, from string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// boot runs the guest's kernel until the guest powers off or the context ends,
// and returns the end of what it wrote on its console.
func boot(ctx context.Context, kernel, scratch string, job Job) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("failed to find this program to start it as the guest's first process: %w", err)
	}
	// The kernel looks for its memory's file in TMPDIR, or else in /dev/shm.
	cmd := exec.CommandContext(ctx, kernel,
		"mem="+strconv.Itoa(job.Memory)+"M",
		"rootfstype=hostfs", "root=/dev/root", "ro", "init="+self,
		"uml_dir="+scratch+"/", "umid=guest",
		"con=null", "con0=null,fd:1", "loglevel=1", "quiet",
		scratchVariable+"="+scratch)
	cmd.Env = []string{"PATH=" + guestPath}
	var console tail
	cmd.Stdout, cmd.Stderr = &console, &console
	// Each process of the guest is a process of this machine in the kernel's
	// process group, so that one signal ends them all.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second

	// Pdeathsig is about the thread that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	on, err := takeProcessor()
	if err != nil {
		return "", err
	}
	defer on.leave()
	if err := on.bind(cmd.Start); err != nil {
		return "", fmt.Errorf("failed to start %s: %w", kernel, err)
	}
	done := make(chan struct{})
	followed := make(chan error, 1)
	go func() { followed <- follow(job.Output, filepath.Join(scratch, resultsFolder, outputFile), done) }()
	// Its own status says nothing: a guest that powers off leaves 0 or 1.
	err = cmd.Wait()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	close(done)
	if failed := <-followed; failed != nil {
		return "", fmt.Errorf("failed to pass on what the guest prints: %w", failed)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return "", fmt.Errorf("failed to run %s: %w", kernel, err)
	}
	return console.String(), nil
}

// follow copies a file that grows until done, to its end.
func follow(to io.Writer, path string, done <-chan struct{}) error {
	if to == nil {
		return nil
	}
	var file *os.File
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for last := false; ; {
		if file == nil {
			opened, err := os.Open(path)
			if err == nil {
				file = opened
				defer file.Close()
			}
		}
		if file != nil {
			if _, err := io.Copy(to, file); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		select {
		case <-done:
			last = true
		case <-ticker.C:
		}
	}
}

// collect reads what the guest left.
func collect(results string) (Result, error) {
	if text, err := os.ReadFile(filepath.Join(results, errorFile)); err == nil {
		return Result{}, fmt.Errorf("failed to start the job in the guest: %s", text)
	}
	result := Result{Status: StatusDied, Files: make(map[string][]byte)}
	output, err := os.ReadFile(filepath.Join(results, outputFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Result{}, fmt.Errorf("failed to read the job's output: %w", err)
	}
	result.Output = output
	if text, err := os.ReadFile(filepath.Join(results, statusFile)); err == nil {
		if result.Status, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return Result{}, fmt.Errorf("failed to read the job's status: %w", err)
		}
	}
	keep := filepath.Join(results, keepFolder)
	err = filepath.WalkDir(keep, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(keep, path)
		if err != nil {
			return err
		}
		result.Files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("failed to read the job's results: %w", err)
	}
	return result, nil
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.ReplaceAll(string(t.kept), "\r\n", "\n") }
