// Package sandbox runs the steps of a build where they can see their sources and their tools and nothing else.
//
// A build is not trusted: its source may come from whoever delivered the image that it is to be compared with. Left to
// itself it would copy that image and call it its output, ask the network for it, or read the keys of the person who
// runs it. What it is given instead:
//
//   - a file system of its own: the tool directories of the host (/usr, /bin, /sbin, /lib*), or a root file system
//     unpacked from a tar file, all read-only; an /etc of a few fixed files; a /dev of null, zero, full, random and
//     urandom; a fresh /proc; and one tmpfs of limited size, which holds /build, /tmp, the home directory and every
//     place that a source is put. The host's home, its other files and its sockets are not there;
//   - its own namespaces of users, mounts, processes, network, IPC, host name and control groups. The network has one
//     interface, the loopback, which is down or leads nowhere but to the build itself; a filter of system calls refuses
//     the socket families and the kernel interfaces that no namespace covers (vsock, io_uring, keyrings, bpf, perf), new
//     user namespaces, and the limits of other processes;
//   - a fixed user (1000:1000, "build"), host name ("assay"), file mode mask (022) and environment;
//   - or, where Config.World says so, another login, home, host name, mask, clock, number of processors, order of files
//     and place of the first source, and other versions for its tools to answer with. Tools are identified before any of
//     that, so that what [Report] says of them depends on none of it;
//   - no capability, no way to gain a privilege (no_new_privs, nosuid), a new empty session keyring;
//   - limits: wall time, address space per process and resident memory in sum, processes, bytes and files written, bytes
//     logged. What is held in sum is looked at twenty times a second, where the kernel has no limit for it.
//
// The first process of the sandbox is this program, started again (see [IsInit]). It sets the stage, unpacks sources,
// runs one step after another, kills whatever a step leaves behind, and copies the outputs out through descriptors
// that it was handed; an output must be a regular file reached without a symbolic link. The build can neither trace nor
// signal it, nor change its limits. When it dies every process in the sandbox dies, and it dies when its parent does.
//
// It works as root and as an ordinary user. Root's builds run as the host's user 65534, never as the host's root:
// the kernel binds root by no limit on processes. Needs Linux 5.12; where user namespaces are not allowed,
// bubblewrap (bwrap) makes the same stage.
//
// With a toolchain of its own, a tar file or a pinned image, a build can run in a container of podman or docker. The
// engine, which is trusted, sets the stage then, as its command line asks: no network, no capability, a read-only root,
// no file of the host but a copy of this program, the files of /etc and the shims, and a tmpfs of limited size for each
// directory that can be written; the container's limit on memory bounds their sum. The first process looks at what it
// got, and refuses a mount, a device, a network or a privilege that was not asked for. Its order, the sources, the log
// and the outputs go over standard input and output, in bounded frames, of which the host believes nothing; the end of
// the input ends the container. A tar file becomes an image for the time of one run; if this program is killed
// meanwhile, the image stays, without a name, until the engine is told to prune, and so do the files for the container,
// in the directory for temporary files.
package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What every build sees, whatever the host.
const (
	UID      = 1000
	GID      = 1000
	User     = "build"
	HostName = "assay"
	Home     = "/home/build"
	WorkDir  = "/build"
	Path     = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// A Backend makes the namespaces.
type Backend string

// The back ends. Auto takes Native, and Bwrap where Native cannot work. Podman and Docker need a toolchain of its own,
// Config.Rootfs or Config.Image.
const (
	Auto   Backend = "auto"
	Native Backend = "native"
	Bwrap  Backend = "bwrap"
	Podman Backend = "podman"
	Docker Backend = "docker"
)

// container reports whether a container engine makes the stage.
func (b Backend) container() bool { return b == Podman || b == Docker }

// Limits bound one run. Every field must be positive.
type Limits struct {
	Time      time.Duration // wall time of the whole run
	Memory    int64         // bytes: address space of each process, and resident memory of all together
	Output    int64         // bytes: everything written, sources and temporary files included; each output and the log too
	Processes int           // processes and threads
}

// An Input is a file handed to the sandbox. Its content must have the digest SHA256 (lower-case hexadecimal) when it
// is read there, whatever happened to it since it was last looked at.
type Input struct {
	Name   string   `json:"name"` // for messages
	SHA256 string   `json:"sha256"`
	File   *os.File `json:"-"`
}

// A Source is an input and its place in the sandbox: an archive (tar, plain or compressed by gzip, bzip2 or xz) is
// unpacked into the directory At, any other file becomes the file At.
type Source struct {
	Input
	At string `json:"at"`
}

// An Output is a file that the steps make, and where its bytes go. A relative Path starts at Config.Dir.
type Output struct {
	Path string   `json:"path"`
	To   *os.File `json:"-"`
}

// Config says what to run.
type Config struct {
	Backend  Backend   `json:"-"`
	Rootfs   *Input    `json:"rootfs,omitempty"` // nil: the tool directories of the host
	Image    string    `json:"image,omitempty"`  // in place of Rootfs, for Podman and Docker: NAME@sha256:DIGEST, which the engine has already
	ToolDirs []string  `json:"tool_dirs"`        // more directories of the host to show, read-only, at their own place
	Sources  []Source  `json:"sources"`
	Tools    []string  `json:"tools"`              // programs to identify before anything else
	Dir      string    `json:"dir"`                // where steps start; "" is the directory of the first source, or WorkDir without one
	Env      []string  `json:"env"`                // the whole environment, NAME=VALUE
	ToolEnv  []string  `json:"tool_env,omitempty"` // in which Tools are asked for their version; nil is Env
	Epoch    int64     `json:"epoch"`              // seconds since 1970: the time of files that have none of their own
	Steps    []Step    `json:"steps"`
	Outputs  []Output  `json:"outputs"`
	Limits   Limits    `json:"limits"`
	World    World     `json:"world"`
	Log      io.Writer `json:"-"` // what the steps print; nil discards

	moved     string // the directory that World.Dir stands for, "" without one
	onlyShims bool   // nothing is wanted but the files of the shims
}

// A Step is the argument list of one program; the program is looked up in the PATH of Config.Env.
type Step []string

// A Tool is a program found in the sandbox.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"` // the first line that NAME --version (or NAME version) prints; "" where it has none
	SHA256  string `json:"sha256"`  // of the file that the name leads to
}

// Report is what a finished run leaves.
type Report struct {
	Backend Backend
	Tools   []Tool // as Config.Tools
}

// UnavailableError says that no sandbox can be made on this machine.
type UnavailableError struct {
	Reasons []string
	hint    string
}

func (e *UnavailableError) Error() string {
	return "no sandbox works here: " + strings.Join(e.Reasons, "; ")
}

// Hint says what to do about it.
func (e *UnavailableError) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces), or install bubblewrap"
}

// FailedError says that the build itself failed: a missing tool, a source that cannot be unpacked, a step, an output.
type FailedError struct {
	What string   // one sentence
	Tail []string // the last lines of the log
}

func (e *FailedError) Error() string { return e.What }

// LimitError says that a limit stopped the build.
type LimitError struct {
	Limit string   // "time", "memory", "output", "processes" or "log"
	What  string   // one sentence
	Tail  []string // the last lines of the log
}

func (e *LimitError) Error() string { return e.What }

// CheckPlace says why a source cannot be put at a place in the sandbox, or nil.
func CheckPlace(at string) error {
	switch {
	case !path.IsAbs(at) || path.Clean(at) != at || at == "/" || strings.ContainsRune(at, 0):
		return fmt.Errorf("%q is not a clean absolute path below /", at)
	case slices.Contains(reserved, top(at)):
		return fmt.Errorf("%q lies in %s, which the sandbox makes itself: use a place such as /src", at, top(at))
	}
	return nil
}

// pinnedImage is an image reference that no one can point elsewhere: NAME@sha256:DIGEST.
var pinnedImage = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}$`)

// CheckDir says why World.Dir cannot be a place, or nil: beside those of CheckPlace it may lie below /home and /tmp, where
// people build.
func CheckDir(at string) error {
	if dir := path.Dir(at); path.Clean(at) == at && (within(dir, "/home") || within(dir, "/tmp")) && !strings.ContainsRune(at, 0) {
		return nil
	}
	return CheckPlace(at)
}

// reserved are the directories of the sandbox that no source may be put in.
var reserved = []string{
	"/bin", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", shimDir, "/sys", "/tmp", "/usr",
}

// CheckOutput says why a path cannot name an output, or nil: relative to the working directory, or absolute, and
// without "." and "..".
func CheckOutput(name string) error {
	if name == "" || name == "." || name == "/" || path.Clean(name) != name || strings.ContainsRune(name, 0) ||
		name == ".." || strings.HasPrefix(name, "../") {
		return fmt.Errorf("%q is not a clean path inside the build", name)
	}
	return nil
}

// top is the first directory of a clean absolute path: /src for /src/a/b.
func top(at string) string {
	first, _, _ := strings.Cut(at[1:], "/")
	return "/" + first
}

// writable lists the directories that the build may write, sorted and without repetition.
func (c *Config) writable() []string {
	dirs := []string{"/home", "/tmp"}
	if c.moved != WorkDir {
		dirs = append(dirs, WorkDir)
	}
	for _, s := range c.Sources {
		dirs = append(dirs, top(c.real(s.At)))
	}
	if c.moved != "" && path.Dir(c.moved) != "/" {
		dirs = append(dirs, top(c.moved)) // for the link
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func (c *Config) check() error {
	l := c.Limits
	if l.Time <= 0 || l.Memory <= 0 || l.Output <= 0 || l.Processes <= 0 {
		return fmt.Errorf("sandbox: every limit must be positive: %+v", l)
	}
	for _, s := range c.Sources {
		if err := CheckPlace(s.At); err != nil {
			return fmt.Errorf("sandbox: source %s: %w", s.Name, err)
		}
	}
	for _, o := range c.Outputs {
		if err := CheckOutput(o.Path); err != nil {
			return fmt.Errorf("sandbox: output %w", err)
		}
	}
	for _, d := range c.ToolDirs {
		if !path.IsAbs(d) || path.Clean(d) != d || d == "/" || top(d) == shimDir || c.moved != "" && top(d) == top(c.moved) || slices.Contains(c.writable(), top(d)) && top(d) != "/home" && top(d) != "/tmp" {
			return fmt.Errorf("sandbox: tool directory %q is not a clean absolute path apart from the sources", d)
		}
	}
	if c.Image != "" && (c.Rootfs != nil || !pinnedImage.MatchString(c.Image)) {
		return fmt.Errorf("sandbox: image %q: give it alone, as NAME@sha256:DIGEST", c.Image)
	}
	for i, s := range c.Steps {
		if len(s) == 0 || s[0] == "" {
			return fmt.Errorf("sandbox: step %d is empty", i+1)
		}
	}
	return nil
}

// A reply is what the first process of the sandbox has to say at its end.
type reply struct {
	Setup  string `json:"setup,omitempty"`  // the stage could not be set
	Failed string `json:"failed,omitempty"` // the build failed
	Step   bool   `json:"step,omitempty"`   // it was a step that failed
	Limit  string `json:"limit,omitempty"`  // the limit that stopped the build; Failed says how
	Tools  []Tool `json:"tools,omitempty"`
	Done   bool   `json:"done,omitempty"`

	hint string // what to do about Setup

	Shims    []shimFile `json:"shims,omitempty"` // of a run that was to make nothing else
	ShimDirs []string   `json:"shim_dirs,omitempty"`
}

// maxLog bounds what one run may print: beyond it no one reads, and the log lies on the host's disk.
const maxLog = 64 << 20

// Run runs the steps and copies the outputs to their files. An error is an *[UnavailableError], a *[FailedError], a
// *[LimitError], the cause of ctx, or trouble of this machine; the files of outputs then hold nothing of use.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if os.Getenv(marker) != "" {
		return nil, fmt.Errorf("sandbox: this program was started as the first process of a sandbox, but does not call sandbox.Init at its start")
	}
	backends := []Backend{c.Backend}
	switch c.Backend {
	case Auto, "":
		backends = []Backend{Native, Bwrap}
	case Native, Bwrap, Podman, Docker:
	default:
		return nil, fmt.Errorf("sandbox: unknown back end %q: use auto, native, bwrap, podman or docker", c.Backend)
	}
	if c.Image != "" && !c.Backend.container() {
		return nil, &UnavailableError{[]string{"an image needs a container engine"}, "use --sandbox podman or --sandbox docker"}
	}
	var none UnavailableError
	for _, b := range backends {
		r, err := runOnce(ctx, &c, b)
		if err != nil {
			return nil, err
		}
		if r.Setup == "" {
			return &Report{Backend: b, Tools: r.Tools}, nil
		}
		none.Reasons = append(none.Reasons, fmt.Sprintf("%s: %s", b, r.Setup))
		none.hint = r.hint
	}
	return nil, &none
}

// runOnce runs with one back end. A reply with Setup set says that nothing has been run.
func runOnce(parent context.Context, c *Config, b Backend) (*reply, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	timeUp := &LimitError{Limit: "time", What: fmt.Sprintf("the build took longer than its limit of %v", c.Limits.Time)}
	timer := time.AfterFunc(c.Limits.Time, func() { cancel(timeUp) })
	defer timer.Stop()

	out := c.Log
	if out == nil {
		out = io.Discard
	}
	log := &logWriter{w: out, left: min(maxLog, c.Limits.Output)}
	log.full = func() {
		cancel(&LimitError{Limit: "log", What: fmt.Sprintf("the build printed more than %d bytes", min(maxLog, c.Limits.Output))})
	}
	r, err := launch(ctx, c, b, log)
	if log.err != nil {
		return nil, fmt.Errorf("writing the log of the build: %w", log.err)
	}
	if r == nil || !r.Done && r.Failed == "" && r.Setup == "" {
		if cause := context.Cause(ctx); cause != nil {
			if limit, ok := cause.(*LimitError); ok {
				limit.Tail = log.tail()
			}
			return nil, cause
		}
		if err != nil {
			return nil, fmt.Errorf("sandbox (%s): %w", b, err)
		}
		return nil, &FailedError{What: "the first process of the sandbox was killed", Tail: log.tail()}
	}
	switch {
	case r.Limit != "":
		return nil, &LimitError{Limit: r.Limit, What: r.Failed, Tail: log.tail()}
	case r.Failed != "":
		if r.Step {
			r.Failed += networkHint(log.last)
		}
		return nil, &FailedError{What: r.Failed, Tail: log.tail()}
	}
	return r, nil
}

// logWriter passes on a bounded log and remembers its end.
type logWriter struct {
	w    io.Writer
	left int64
	full func()
	last []byte
	err  error
}

const tailBytes, tailLines = 4096, 20

func (l *logWriter) Write(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n := len(p)
	if int64(n) > l.left {
		p = p[:l.left]
		defer l.full()
	}
	l.left -= int64(len(p))
	l.last = append(l.last, p...)
	if len(l.last) > 2*tailBytes {
		l.last = append(l.last[:0], l.last[len(l.last)-tailBytes:]...)
	}
	if _, err := l.w.Write(p); err != nil {
		l.err = err
		return 0, err
	}
	return n, nil
}

// tail returns the last lines, made printable.
func (l *logWriter) tail() []string {
	text := l.last
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	for i, s := range lines {
		lines[i] = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				return '?'
			}
			return r
		}, s)
	}
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines
}

// marker is set in the environment of the first process of a sandbox, so that a program that forgot to call Init does
// not start itself without end. The build does not see it.
const marker = "ASSAY_SANDBOX"

// initName is the name that the first process is started under.
const initName = "assay-sandbox"

// IsInit reports whether the arguments of the process (os.Args) are those of the first process of a sandbox. A program
// that calls [Run] must, before anything else, do
//
//	if sandbox.IsInit(os.Args) {
//		os.Exit(sandbox.Init())
//	}
func IsInit(args []string) bool {
	return len(args) == 2 && path.Base(args[0]) == initName && args[1] == "init"
}
