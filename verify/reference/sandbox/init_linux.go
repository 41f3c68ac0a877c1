//go:build linux && (amd64 || arm64)

package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Init is the whole life of the first process of a sandbox; it returns the exit code of the process.
func Init() int {
	if os.Getenv(marker) == contained {
		return initContained()
	}
	answer := os.NewFile(replyFD, "reply")
	if err := json.NewEncoder(answer).Encode(perform(handedOver)); err != nil {
		return 2
	}
	return 0
}

// setupError marks an error before anything of the build was touched: another back end may do better.
type setupError struct{ error }

// perform does what an order says.
func perform(receive func() (*order, error)) *reply {
	r := new(reply)
	if err := play(r, receive); err != nil {
		var limit *LimitError
		var setup setupError
		switch {
		case errors.As(err, &setup):
			r.Setup = err.Error()
		case errors.As(err, &limit):
			r.Limit, r.Failed = limit.Limit, limit.What
		default:
			r.Failed = err.Error()
		}
	} else {
		r.Done = true
	}
	return r
}

// handedOver is the order of a parent that passed descriptors on.
func handedOver() (*order, error) {
	var o order
	control := os.NewFile(controlFD, "control")
	if err := json.NewDecoder(control).Decode(&o); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	// The parent holds the other end and never writes again: when it is gone so are we, and with us everything here.
	go func() {
		io.Copy(io.Discard, control)
		os.Exit(2)
	}()
	o.takeFiles()
	return &o, nil
}

func play(r *reply, receive func() (*order, error)) error {
	o, err := receive()
	if err != nil {
		return setupError{err}
	}
	// All signals that the build can send are caught, not ignored: an ignored one would stay ignored in the build.
	signal.Notify(make(chan os.Signal, 1))
	c := &o.Config
	c.moved = o.Moved
	// Those that the parent leaked to us by mistake too.
	if err := unix.CloseRange(controlFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return setupError{fmt.Errorf("keeping descriptors from the build: %w", err)}
	}

	unix.Umask(0o022)
	if o.Backend == Native {
		if err := c.nativeStage(); err != nil {
			var failed *FailedError
			if errors.As(err, &failed) {
				return failed
			}
			return setupError{err}
		}
	} else if o.Backend.container() {
		if err := c.checkStage(o.ShimsMade); err != nil {
			return setupError{err}
		}
	}
	// From here on no process of the same user can trace this one or read its memory and descriptors.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return setupError{err}
	}
	if err := os.MkdirAll(c.World.home(), 0o755); err != nil {
		return setupError{err}
	}
	run, err := newRunner(c)
	if err != nil {
		return setupError{err}
	}

	// What a tool says of itself must not depend on what this one build was set to.
	env := c.Env
	if c.ToolEnv != nil {
		c.Env = c.ToolEnv
	}
	for _, name := range c.Tools {
		tool, err := run.identify(name)
		if err != nil {
			return err
		}
		r.Tools = append(r.Tools, tool)
	}
	c.Env = env
	if !o.ShimsMade {
		if r.Shims, o.ShimDirs, err = run.makeShims(c.World.Shims); err != nil {
			return err
		}
		if o.OnlyShims {
			r.ShimDirs = o.ShimDirs
			return nil
		}
		if err := o.showShims(r.Shims); err != nil {
			return fmt.Errorf("placing the shims: %w", err)
		}
		r.Shims = nil
	}
	if err := c.placeAll(); err != nil {
		return c.blame(err)
	}
	if c.World.Reverse {
		if err := c.reverseAll(); err != nil {
			return c.blame(err)
		}
	}
	if c.Dir == "" {
		c.Dir = c.firstDir()
	}
	c.Dir = c.real(c.Dir)
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return c.blame(err)
	}
	if len(o.ShimDirs) > 0 {
		run.setenv("PATH", strings.Join(append(slices.Clone(o.ShimDirs), run.getenv("PATH")), ":"))
	}
	if err := run.enter(&c.World); err != nil {
		return err
	}
	for i, step := range c.Steps {
		fmt.Printf("+ %s\n", strings.Join(step, " "))
		ws, err := run.run(step, os.Stdout)
		if status := describe(ws); err == nil && status != "" {
			err = errors.New(status)
		}
		if err != nil {
			r.Step = true
			return c.blame(fmt.Errorf("step %d of %d (%s) failed: %w", i+1, len(c.Steps), step.short(), err))
		}
	}
	for _, out := range c.Outputs {
		if err := c.copyOut(out); err != nil {
			return err
		}
	}
	return nil
}

// takeFiles attaches the descriptors that the parent handed over, in their order.
func (c *Config) takeFiles() {
	fd := uintptr(firstFD)
	next := func(name string) *os.File {
		fd++
		return os.NewFile(fd-1, name)
	}
	if c.Rootfs != nil {
		c.Rootfs.File = next(c.Rootfs.Name)
	}
	for i := range c.Sources {
		c.Sources[i].File = next(c.Sources[i].Name)
	}
	for i := range c.Outputs {
		c.Outputs[i].To = next(c.Outputs[i].Path)
	}
}

func (c *Config) nativeStage() error {
	err := setStage(c, func(dir string) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		if _, err := c.Rootfs.read(func(r io.Reader) error { return unpackAny(root, ".", r, time.Unix(c.Epoch, 0), true) }); err != nil {
			return &FailedError{What: fmt.Sprintf("root file system %s: %v", c.Rootfs.Name, err)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(c.World.hostName())); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := unix.Setdomainname([]byte("(none)")); err != nil {
		return fmt.Errorf("setting the domain name: %w", err)
	}
	// Belongs to our user namespace: none can be made below it, and with them none of the capabilities they bring.
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return fmt.Errorf("forbidding user namespaces: %w", err)
	}
	return nil
}

// read passes the content of an input to use and checks the digest of all of it.
func (in *Input) read(use func(io.Reader) error) (int64, error) {
	info, err := in.File.Stat()
	if err != nil {
		return 0, err
	}
	digest := sha256.New()
	all := io.TeeReader(io.NewSectionReader(in.File, 0, info.Size()), digest)
	if err := use(all); err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return 0, err
	}
	if seen := hex.EncodeToString(digest.Sum(nil)); seen != in.SHA256 {
		return 0, fmt.Errorf("its sha256 changed while it was read: now %s, expected %s", seen, in.SHA256)
	}
	return info.Size(), nil
}

// placeAll puts every source where it belongs. Directories that no source brought, or that more than one wrote to, get
// the time Config.Epoch.
func (c *Config) placeAll() error {
	epoch := time.Unix(c.Epoch, 0)
	for _, dir := range c.writable() {
		if err := os.Chtimes(dir, epoch, epoch); err != nil {
			return err
		}
	}
	if err := c.linkMoved(); err != nil {
		return err
	}
	for _, s := range c.Sources {
		if err := c.place(s); err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
	}
	for _, s := range c.Sources {
		for dir := path.Dir(c.real(s.At)); dir != "/"; dir = path.Dir(dir) {
			if err := os.Chtimes(dir, epoch, epoch); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstDir is where the first source was unpacked, or where its file lies.
func (c *Config) firstDir() string {
	if len(c.Sources) == 0 {
		return WorkDir
	}
	at := c.real(c.Sources[0].At)
	if info, err := os.Lstat(at); err == nil && info.IsDir() {
		return at
	}
	return path.Dir(at)
}

// place puts a source where it belongs. It never follows a link out of the first directory of its place.
func (c *Config) place(s Source) error {
	at := c.real(s.At)
	dir := top(at)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	defer s.File.Close()
	rel := strings.TrimPrefix(strings.TrimPrefix(at, dir), "/")
	if rel == "" {
		rel = "."
	}
	_, err = s.read(func(r io.Reader) error { return unpackAny(root, rel, r, time.Unix(c.Epoch, 0), false) })
	return err
}

// blame turns an error into a LimitError when the cause can be seen to be a limit.
func (c *Config) blame(err error) error {
	full := errors.Is(err, unix.ENOSPC)
	for _, dir := range c.writable() {
		var s unix.Statfs_t
		if unix.Statfs(dir, &s) == nil && s.Blocks > 0 && (s.Bavail == 0 || s.Files > 0 && s.Ffree == 0) {
			full = true
		}
	}
	if full {
		return &LimitError{Limit: "output", What: fmt.Sprintf("the build wrote more than its limit of %d bytes: %v", c.Limits.Output, err)}
	}
	return err
}

// copyOut copies one output to the file it was promised to. Nothing of the build runs any more.
func (c *Config) copyOut(out Output) error {
	name := out.Path
	if !path.IsAbs(name) {
		name = path.Join(c.Dir, name)
	}
	name = c.real(name)
	dir := top(name)
	inside := false
	for _, w := range c.writable() {
		inside = inside || w == dir
	}
	if !inside || name == dir {
		return fmt.Errorf("output %s: it does not lie in a directory that the build may write", out.Path)
	}
	f, err := openPlain(dir, name[len(dir)+1:])
	if err != nil {
		return fmt.Errorf("output %s: %w", out.Path, err)
	}
	defer f.Close()
	n, err := io.Copy(out.To, io.LimitReader(f, c.Limits.Output+1))
	if err != nil {
		return fmt.Errorf("output %s: %w", out.Path, err)
	}
	if n > c.Limits.Output {
		return &LimitError{Limit: "output", What: fmt.Sprintf("output %s is larger than the limit of %d bytes", out.Path, c.Limits.Output)}
	}
	return out.To.Close()
}

// openPlain opens a regular file below dir, following no symbolic link and crossing no mount.
func openPlain(dir, rel string) (*os.File, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	fd, err := unix.Openat2(at, rel, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	switch err {
	case nil:
	case unix.ENOENT:
		return nil, errors.New("the build did not make it")
	case unix.ELOOP:
		return nil, errors.New("it is, or lies behind, a symbolic link")
	case unix.ENXIO:
		return nil, errors.New("it is not a regular file")
	default:
		return nil, err
	}
	f := os.NewFile(uintptr(fd), rel)
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.New("it is not a regular file")
	}
	return f, nil
}

// short is a step for a message: its program, and as much of its first argument as fits.
func (s Step) short() string {
	text := strings.Join(s, " ")
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i] + " …"
	}
	if len(text) > 80 {
		text = text[:80] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}
