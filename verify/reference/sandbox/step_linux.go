//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A runner runs programs of the build, one after another, all from one thread that has given up every privilege: what
// it starts inherits the state of that thread. The first process keeps its own, which puts it out of the build's reach.
type runner struct {
	c    *Config
	env  []string // of what it starts
	null *os.File
	jobs chan func()
}

func newRunner(c *Config) (*runner, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	r := &runner{c: c, env: c.Env, null: null, jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no use for anything else
		ready <- renounce()
		for job := range r.jobs {
			job()
		}
	}()
	return r, <-ready
}

// renounce takes every privilege from the calling thread, for good.
func renounce() error {
	// A null name makes a new, anonymous keyring. EPERM: a filter around us keeps keyrings from everybody.
	_, _, e := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if e != 0 && e != unix.ENOSYS && e != unix.EPERM {
		return fmt.Errorf("leaving the session keyring: %w", e)
	}
	for c := uintptr(0); c <= 63; c++ {
		if set, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			break // past the last capability
		} else if set == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	program := filter()
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&unix.SockFprog{
		Len: uint16(len(program)), Filter: &program[0],
	})), 0, 0); err != nil {
		return fmt.Errorf("filtering system calls: %w", err)
	}
	return nil
}

// do runs a function on the runner's thread.
func (r *runner) do(job func() error) error {
	done := make(chan error)
	r.jobs <- func() { done <- job() }
	return <-done
}

// run runs one program until it ends, then kills everything it left behind. What it prints goes to out. An error says
// that it could not be started, or which limit stopped it.
func (r *runner) run(argv Step, out *os.File) (ws unix.WaitStatus, err error) {
	err = r.do(func() (err error) {
		ws, err = r.runHere(argv, out)
		return err
	})
	return ws, err
}

func (r *runner) runHere(argv Step, out *os.File) (unix.WaitStatus, error) {
	program, err := r.look(argv[0])
	if err != nil {
		return 0, err
	}
	// Started stopped, so that its limits are set before its first instruction.
	pid, err := syscall.ForkExec(program, argv, &syscall.ProcAttr{
		Dir:   r.c.Dir,
		Env:   r.env,
		Files: []uintptr{r.null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Ptrace: true},
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", program, err)
	}
	defer r.reap()
	var ws unix.WaitStatus
	if _, err := wait(pid, &ws); err != nil {
		return 0, err
	}
	if !ws.Stopped() {
		return 0, fmt.Errorf("%s ended at its start: %s", program, describe(ws))
	}
	limited := make(chan error)
	go func() { limited <- r.limit(pid) }() // on another thread: the filter of this one refuses it
	if err := <-limited; err != nil {
		return 0, fmt.Errorf("limiting %s: %w", program, err)
	}
	if err := unix.PtraceDetach(pid); err != nil {
		return 0, fmt.Errorf("releasing %s: %w", program, err)
	}
	stop := make(chan struct{})
	over := make(chan string, 1)
	go func() { over <- r.watch(stop) }()
	for {
		ended, err := wait(-1, &ws)
		if err != nil {
			return 0, err
		}
		if ended == pid && (ws.Exited() || ws.Signaled()) {
			break
		}
	}
	close(stop)
	switch <-over {
	case "memory":
		return 0, &LimitError{Limit: "memory", What: fmt.Sprintf("the processes of %s held more memory than the limit of %d bytes", argv.short(), r.c.Limits.Memory)}
	case "output":
		return 0, &LimitError{Limit: "output", What: fmt.Sprintf("%s wrote more than the limit of %d bytes or %d files", argv.short(), r.c.Limits.Output, r.c.Limits.files())}
	}
	return ws, nil
}

type rlimit struct {
	resource int
	value    uint64
}

func (r *runner) rlimits() []rlimit {
	return []rlimit{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_AS, uint64(r.c.Limits.Memory)},
		{unix.RLIMIT_FSIZE, uint64(r.c.Limits.Output)},
		{unix.RLIMIT_NPROC, r.c.processLimit()},
		{unix.RLIMIT_NOFILE, 4096},
		{unix.RLIMIT_MEMLOCK, 64 << 10},
		{unix.RLIMIT_MSGQUEUE, 0},
		{unix.RLIMIT_SIGPENDING, 4096},
	}
}

// limit sets the limits of a process.
func (r *runner) limit(pid int) error {
	for _, l := range r.rlimits() {
		if err := lower(pid, l.resource, l.value); err != nil {
			return err
		}
	}
	return nil
}

// ownThreads counts the threads of the first process, which the kernel counts among those of the user.
func ownThreads() int {
	tasks, err := os.ReadDir("/proc/1/task")
	if err != nil {
		return 0
	}
	return len(tasks)
}

// lower sets a limit of a process to a value, or leaves it where it is lower already.
func lower(pid, resource int, value uint64) error {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &old); err != nil {
		return err
	}
	value = min(value, old.Max)
	return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil)
}

// reap kills every process but this one and collects them.
func (r *runner) reap() {
	for {
		unix.Kill(-1, unix.SIGKILL)
		if _, err := wait(-1, nil); err != nil {
			return // no child is left
		}
	}
}

func wait(pid int, ws *unix.WaitStatus) (int, error) {
	for {
		ended, err := unix.Wait4(pid, ws, unix.WALL, nil)
		if err != unix.EINTR {
			return ended, err
		}
	}
}

// describe says how a program ended, "" for success.
func describe(ws unix.WaitStatus) string {
	if ws.Exited() && ws.ExitStatus() == 0 {
		return ""
	}
	if ws.Signaled() {
		return fmt.Sprintf("killed by signal %d (%s)", int(ws.Signal()), unix.SignalName(ws.Signal()))
	}
	return fmt.Sprintf("exit code %d", ws.ExitStatus())
}

// watch looks at the resident memory of all processes but the first, and at what they have written, until stop is
// closed, and kills them when together they go beyond a limit. It returns the name of that limit, or "".
func (r *runner) watch(stop <-chan struct{}) (over string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return over
		case <-tick.C:
			switch bytes, files := r.c.written(); {
			case resident() > r.c.Limits.Memory:
				over = "memory"
			case bytes > r.c.Limits.Output || files > r.c.Limits.files():
				over = "output"
			default:
				continue
			}
			unix.Kill(-1, unix.SIGKILL)
		}
	}
}

// written sums the bytes and files of everything that the build can write. One file system bounds them in the native
// stage; elsewhere each directory is one of its own.
func (c *Config) written() (bytes, files int64) {
	var seen []uint64
	for _, dir := range append(c.writable(), "/dev/shm") {
		var info unix.Stat_t
		var fs unix.Statfs_t
		if unix.Stat(dir, &info) != nil || slices.Contains(seen, uint64(info.Dev)) || unix.Statfs(dir, &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
			continue
		}
		seen = append(seen, uint64(info.Dev))
		bytes += int64(fs.Blocks-fs.Bfree) * int64(fs.Bsize)
		files += int64(fs.Files - fs.Ffree)
	}
	return bytes, files
}

// resident sums the pages of all processes but the first, in bytes: proc(5), /proc/PID/statm, field 2. Shared pages
// count once for each process that maps them.
func resident() int64 {
	proc, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var pages int64
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err != nil || pid == 1 {
			continue
		}
		text, err := os.ReadFile("/proc/" + name + "/statm")
		if err != nil {
			continue
		}
		if fields := bytes.Fields(text); len(fields) > 1 {
			n, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			pages += n
		}
	}
	return pages * int64(os.Getpagesize())
}

// look finds a program as execvp does, in the PATH of the build.
func (r *runner) look(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range strings.Split(r.getenv("PATH"), ":") {
		if !path.IsAbs(dir) {
			continue
		}
		file := path.Join(dir, name)
		if info, err := os.Stat(file); err == nil && executable(info) {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s is not in the PATH of the sandbox (%s)", name, r.getenv("PATH"))
}

// setenv gives what is started from now on a variable.
func (r *runner) setenv(name, value string) {
	r.env = slices.DeleteFunc(slices.Clone(r.env), func(v string) bool { return strings.HasPrefix(v, name+"=") })
	r.env = append(r.env, name+"="+value)
}

func executable(info os.FileInfo) bool { return info.Mode().IsRegular() && info.Mode()&0o111 != 0 }

// getenv returns the last value of a name: the one that counts.
func (r *runner) getenv(name string) (value string) {
	for _, v := range r.env {
		if n, rest, _ := strings.Cut(v, "="); n == name {
			value = rest
		}
	}
	return value
}

const maxVersion = 256 // bytes of a version line that are kept

// identify finds a tool, digests it and asks it for its version.
func (r *runner) identify(name string) (Tool, error) {
	file, err := r.look(name)
	if err != nil {
		return Tool{}, fmt.Errorf("tool %w: install it, or name another", err)
	}
	f, err := os.Open(file)
	if err != nil {
		return Tool{}, fmt.Errorf("tool %s: %w", name, err)
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return Tool{}, fmt.Errorf("tool %s: %w", name, err)
	}
	t := Tool{Name: name, SHA256: hex.EncodeToString(digest.Sum(nil))}
	for _, arg := range []string{"--version", "version"} {
		line, ok, err := r.firstLine(Step{file, arg})
		if err != nil {
			return Tool{}, fmt.Errorf("tool %s: %w", name, err)
		}
		if ok {
			t.Version = line
			break
		}
	}
	return t, nil
}

// capture runs a program and returns the first bytes that it prints, at most limit.
func (r *runner) capture(argv Step, limit int64) ([]byte, unix.WaitStatus, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	defer read.Close()
	text := make(chan []byte, 1)
	go func() {
		first, _ := io.ReadAll(io.LimitReader(read, limit))
		io.Copy(io.Discard, read)
		text <- first
	}()
	ws, err := r.run(argv, write)
	write.Close()
	return <-text, ws, err
}

// firstLine runs a program and returns the first line that it prints; ok says that it ended well.
func (r *runner) firstLine(argv Step) (line string, ok bool, err error) {
	text, ws, err := r.capture(argv, maxVersion)
	first, _, _ := bytes.Cut(text, []byte("\n"))
	var limit *LimitError
	if errors.As(err, &limit) {
		return "", false, err
	}
	line = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, strings.ToValidUTF8(string(first), "?"))
	return line, err == nil && describe(ws) == "", nil
}
