//go:build linux && (amd64 || arm64)

package sandbox

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/rand"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// contained is the value of marker in a container, where the order comes over standard input.
const contained = "stdio"

// ownMemory is what a container is allowed beyond the memory of the build, its files and its sources, in bytes.
const ownMemory = 512 << 20

// imageID is what an engine prints that has imported an image.
var imageID = regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`)

// An engine is the command of podman or docker. What a person has told it by its environment and its files of
// configuration holds; the first process looks at what came of it before anything of the build runs.
type engine struct {
	kind    Backend
	program string
}

func (e *engine) command(ctx context.Context, args ...string) (*exec.Cmd, *logWriter) {
	said := &logWriter{w: io.Discard, left: math.MaxInt64}
	cmd := exec.CommandContext(ctx, e.program, args...)
	cmd.Dir = "/"
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal of the terminal is for us to pass on
	cmd.WaitDelay = 10 * time.Second
	return cmd, said
}

// tidy runs a command that clears up, whatever has happened to the context; there is no one to tell of its failure.
func (e *engine) tidy(ctx context.Context, args ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	cmd, _ := e.command(ctx, args...)
	cmd.Run()
}

// refusal is a reply that says why the engine cannot be used.
func (e *engine) refusal(err error, said *logWriter) *reply {
	var why []string
	for _, line := range said.tail() {
		if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, "--help'.") && !strings.HasSuffix(line, "for more information") && len(why) < 3 {
			why = append(why, line)
		}
	}
	if len(why) == 0 {
		why = []string{err.Error()}
	}
	return &reply{
		Setup: strings.Join(why, "; "),
		hint:  fmt.Sprintf("start %[1]s so that this user can run a container (%[1]s info says what is missing) and pull a pinned image beforehand (%[1]s pull NAME@sha256:…), or leave out --sandbox %[1]s", e.kind),
	}
}

// contain is launch for the back ends Podman and Docker.
func contain(ctx context.Context, c *Config, o order, log *logWriter) (*reply, error) {
	const wanted = "give the recipe a toolchain of its own (rootfs: a tar file, or an image by its digest), or use --sandbox native"
	switch {
	case len(c.ToolDirs) > 0:
		return &reply{Setup: "a container shows no directories of the host", hint: wanted}, nil
	case c.Rootfs == nil && c.Image == "":
		return &reply{Setup: "a container cannot have the tools of the host", hint: wanted}, nil
	case c.Image != "" && c.moved != "" && path.Dir(c.moved) == "/":
		return &reply{Setup: fmt.Sprintf("the root directory of an image cannot be given the link %s", c.moved), hint: "put the first source deeper, such as at /src/NAME, or give the toolchain as rootfs"}, nil
	}
	program, err := exec.LookPath(string(o.Backend))
	if err != nil {
		return &reply{Setup: "it is not installed", hint: fmt.Sprintf("install %[1]s, or leave out --sandbox %[1]s", o.Backend)}, nil
	}
	e := &engine{o.Backend, program}
	box, err := newBox(c)
	if err != nil {
		return nil, err
	}
	defer box.remove()
	if library, err := box.interpreter(); err != nil {
		return nil, err
	} else if library != "" {
		return &reply{Setup: "this program needs " + library + ", which an image may not have", hint: "build it with CGO_ENABLED=0"}, nil
	}
	image := c.Image
	if c.Rootfs != nil {
		id, r, err := e.load(ctx, c)
		if id != "" {
			defer e.tidy(ctx, "rmi", "--force", id)
		}
		if id == "" || r != nil || err != nil {
			return r, err
		}
		image = id
	}
	if len(c.World.Shims) > 0 {
		// What the first process can write the build can write too, so the shims are made in a run before.
		only := o
		only.Config, only.OnlyShims, only.Moved = *c.shimsOnly(), true, ""
		r, err := e.run(ctx, only, image, box, log)
		if err != nil || r == nil || !r.Done {
			return r, err
		}
		if err := box.addShims(r.Shims); err != nil {
			return nil, err
		}
		o.ShimDirs, o.ShimsMade = r.ShimDirs, true
	}
	return e.run(ctx, o, image, box, log)
}

// load makes an image out of the root file system and returns its id. The reply says that there is none.
func (e *engine) load(parent context.Context, c *Config) (id string, r *reply, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	args := []string{"import"}
	if e.kind == Podman {
		args = append(args, "--quiet")
	}
	cmd, said := e.command(ctx, append(args, "-")...)
	out := &logWriter{w: io.Discard, left: math.MaxInt64}
	cmd.Stdout = out
	to, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", e.refusal(err, said), nil
	}
	w := tar.NewWriter(to)
	_, tarErr := c.Rootfs.read(func(r io.Reader) error { return retar(w, r, c) })
	if tarErr == nil {
		tarErr = w.Close()
	}
	broken := errors.Is(tarErr, unix.EPIPE) || errors.Is(tarErr, os.ErrClosed)
	if tarErr != nil && !broken {
		cancel() // before the end of its input, so that it makes no image of half an archive, or of another one
	}
	to.Close()
	err = cmd.Wait()
	lines := out.tail()
	if len(lines) > 0 && imageID.MatchString(lines[len(lines)-1]) {
		id = lines[len(lines)-1]
	}
	switch {
	case parent.Err() != nil:
		return id, nil, parent.Err()
	case tarErr != nil && !broken:
		return id, &reply{Failed: fmt.Sprintf("root file system %s: %v", c.Rootfs.Name, tarErr)}, nil
	case err != nil || tarErr != nil:
		return id, e.refusal(errors.Join(err, tarErr), said), nil
	case id == "":
		return "", e.refusal(fmt.Errorf("%s import printed no image id", e.kind), said), nil
	}
	return id, nil, nil
}

// retar copies a root file system as unpackTar unpacks one: the engine, which may be root, gets no owner, no set-id bit
// and no device of the archive. Where the first
// source has moved from a place in the root directory, the link to it takes that place.
func retar(w *tar.Writer, r io.Reader, c *Config) error {
	plain, err := decompress(bufio.NewReaderSize(r, 1<<16))
	if err != nil {
		return err
	}
	head, err := plain.Peek(512)
	if err != nil && err != io.EOF {
		return err
	}
	if !isTar(head) {
		return errors.New("it is not a tar archive")
	}
	link := ""
	if c.moved != "" && path.Dir(c.moved) == "/" {
		link = c.moved
		if err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeSymlink, Name: link[1:], Linkname: c.World.Dir, Mode: 0o777, ModTime: time.Unix(c.Epoch, 0), Uid: UID, Gid: GID,
		}); err != nil {
			return err
		}
	}
	// A directory that the archive has no entry for gets of each engine another mode.
	made := map[string]bool{".": true}
	var parents func(string) error
	parents = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := parents(path.Dir(dir)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: time.Unix(c.Epoch, 0), Uid: UID, Gid: GID})
	}
	left, entries := int64(maxRootfs), 0
	for t := tar.NewReader(plain); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			continue
		}
		name := path.Clean(h.Name)
		clean := &tar.Header{
			Typeflag: h.Typeflag, Name: name, ModTime: h.ModTime, Mode: h.Mode & 0o777 &^ 0o022, Uid: UID, Gid: GID, Format: tar.FormatPAX,
		}
		err = checkEntry(h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			clean.Mode |= 0o700
			clean.Name += "/"
		case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
			clean.Typeflag, clean.Size = tar.TypeReg, h.Size
		case tar.TypeSymlink:
			clean.Linkname, clean.Mode = h.Linkname, 0o777
		case tar.TypeLink:
			clean.Linkname = path.Clean(h.Linkname)
			if linkErr := checkEntry(h.Linkname); err == nil && linkErr != nil {
				err = fmt.Errorf("link to %q: %w", h.Linkname, linkErr)
			}
		default:
			err = fmt.Errorf("unknown entry type %q", h.Typeflag)
		}
		if strings.HasPrefix(path.Base(name), ".wh.") {
			err = errors.New("the name says to an engine that a file is to be removed")
		}
		left -= clean.Size
		if entries++; err == nil && (left < 0 || entries > maxInodes) {
			err = fmt.Errorf("more than %d bytes or %d files", int64(maxRootfs), maxInodes)
		}
		if err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
		if name == "." || link != "" && within("/"+name, link) {
			continue
		}
		if err := parents(path.Dir(name)); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
		made[name] = true
		if err := w.WriteHeader(clean); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
		if clean.Typeflag == tar.TypeReg {
			if _, err := io.Copy(w, t); err != nil {
				return fmt.Errorf("entry %q: %w", h.Name, err)
			}
		}
	}
	// To the end, where a compressed file has its checksum.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return err
	}
	return nil
}

// run runs the first process in a container and returns its reply, nil when it gave none.
func (e *engine) run(parent context.Context, o order, image string, box *box, log *logWriter) (*reply, error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	name := "assay-" + strings.ToLower(rand.Text())
	cmd, said := e.command(ctx, e.runArgs(&o.Config, name, image, box)...)
	to, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return e.refusal(err, said), nil
	}
	// The end of its input is what ends a container that its client has left.
	defer context.AfterFunc(ctx, func() { to.Close() })()
	written := make(chan error, 1)
	go func() { written <- speak(to, o) }()
	r, heard := listen(from, &o.Config, log)
	if r == nil || heard != nil {
		cancel()
	}
	to.Close()
	ended := cmd.Wait() // of a container that has replied it says nothing
	writeErr := <-written
	if r != nil && heard == nil {
		if r.Setup != "" {
			r.hint = fmt.Sprintf("look for the settings of %s that make this so, or leave out --sandbox %[1]s", e.kind)
		}
		return r, nil
	}
	e.tidy(parent, "rm", "--force", name)
	var limit *LimitError
	switch {
	case parent.Err() != nil:
		return nil, parent.Err()
	case errors.Is(heard, errSilent):
		if ended == nil {
			ended = heard
		}
		return e.refusal(ended, said), nil
	case errors.As(heard, &limit):
		return &reply{Limit: limit.Limit, Failed: limit.What}, nil
	case heard != nil:
		return nil, fmt.Errorf("what the container says is not the talk of a first process: %w", heard)
	case writeErr != nil && !errors.Is(writeErr, unix.EPIPE) && !errors.Is(writeErr, os.ErrClosed):
		return nil, writeErr
	}
	for _, line := range said.tail() {
		fmt.Fprintln(log, line)
	}
	return nil, nil
}

// runArgs is the command line of a container: no network, no capability, no way to gain one, no file of the host but
// those in the box, all of them read-only, and nothing that can be written but one tmpfs of limited size for each
// directory. The limit on memory, which counts a tmpfs too, bounds their sum.
func (e *engine) runArgs(c *Config, name, image string, box *box) []string {
	memory := c.Limits.Memory
	for _, more := range append(c.sizes(), c.Limits.Output, ownMemory) {
		memory += min(more, math.MaxInt64-memory)
	}
	bytes := strconv.FormatInt(memory, 10)
	args := []string{
		"run", "--rm", "--interactive", "--name", name, "--pull=never",
		"--network", "none", "--hostname", c.World.hostName(), "--ipc", "none",
		"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		"--user", fmt.Sprintf("%d:%d", UID, GID), "--workdir", "/",
		"--pids-limit", strconv.Itoa(c.Limits.Processes + ownProcesses), "--memory", bytes, "--memory-swap", bytes,
		"--ulimit", "nofile=4096:4096", "--ulimit", "core=0:0",
		"--log-driver", "none", // what comes out is for us alone; the engine would keep it on its disk
		"--no-healthcheck", "--init=false", "--sig-proxy=false",
		"--env", marker + "=" + contained,
	}
	owner := fmt.Sprintf("uid=%d,gid=%d,nr_inodes=%d", UID, GID, maxInodes)
	if e.kind == Podman {
		owner = "U,notmpcopyup"
		args = append(args, "--read-only-tmpfs=false", "--image-volume=ignore", "--systemd=false", "--http-proxy=false",
			"--sdnotify=ignore", "--passwd=false", "--no-hosts")
		// Podman's own default is more than it may set itself, where it lacks CAP_SYS_RESOURCE.
		most := mostProcesses()
		args = append(args, "--ulimit", fmt.Sprintf("nproc=%d:%d", most, most))
	}
	size := strconv.FormatInt(c.Limits.Output, 10)
	for _, dir := range append(c.writable(), "/dev/shm") {
		mode := "0755"
		if dir == "/tmp" || dir == "/dev/shm" {
			mode = "1777"
		}
		args = append(args, "--tmpfs", dir+":rw,nosuid,nodev,exec,size="+size+",mode="+mode+","+owner)
	}
	for _, m := range box.mounts {
		args = append(args, "--volume", filepath.Join(box.dir, m.file)+":"+m.at+":ro,Z")
	}
	return append(args, "--entrypoint", "/"+initName, image, "init")
}

// mostProcesses is the limit on processes that podman leaves itself: its hard limit, at most kernel.pid_max (proc(5)).
func mostProcesses() uint64 {
	most := uint64(1 << 15) // the least that the kernel sets pid_max to
	if text, err := os.ReadFile("/proc/sys/kernel/pid_max"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
			most = n
		}
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &l); err == nil {
		most = min(most, l.Max)
	}
	return most
}

// ownProcesses are the threads that a container is allowed for the first process.
const ownProcesses = 64

// sizes are the sizes of the sources, which the first process holds in memory until they are unpacked.
func (c *Config) sizes() []int64 {
	var all []int64
	for _, s := range c.Sources {
		if info, err := s.File.Stat(); err == nil {
			all = append(all, info.Size())
		}
	}
	return all
}

// A box is a directory of the host with the files that a container is shown. No one else may look into it, so its
// files may be open to all.
type box struct {
	dir    string
	mounts []boxMount
}

type boxMount struct{ file, at string }

// newBox makes a box with a copy of this program and what says in /etc who and where the build is.
func newBox(c *Config) (b *box, err error) {
	dir, err := os.MkdirTemp("", "assay-sandbox-")
	if err != nil {
		return nil, err
	}
	b = &box{dir: dir}
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	if strings.ContainsAny(dir, ":,") {
		return nil, fmt.Errorf("the directory for temporary files, %s, has a colon or a comma in its name: set TMPDIR to another", path.Dir(dir))
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer self.Close()
	if err := b.add("/"+initName, self, 0o555); err != nil {
		return nil, err
	}
	// Without a file of ours the engine would show that of the host.
	for _, f := range append(c.World.etcFiles(), smallFile{"/etc/resolv.conf", ""}) {
		if err := b.add(f.name, strings.NewReader(f.text), 0o444); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *box) add(at string, content io.Reader, mode os.FileMode) error {
	file := path.Base(at)
	b.mounts = append(b.mounts, boxMount{file, at})
	return writeNew(filepath.Join(b.dir, file), content, mode)
}

func writeNew(name string, content io.Reader, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// addShims adds the files of shims. Their names come out of a container.
func (b *box) addShims(files []shimFile) error {
	const dir = "shims"
	if err := os.Mkdir(filepath.Join(b.dir, dir), 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Join(b.dir, dir))
	if err != nil {
		return err
	}
	defer root.Close()
	parents := []string{"."}
	for _, f := range files {
		if err := CheckOutput(f.Name); err != nil || path.IsAbs(f.Name) {
			return fmt.Errorf("the container names a shim %q", f.Name)
		}
		if err := root.MkdirAll(path.Dir(f.Name), 0o755); err != nil {
			return err
		}
		if err := writeFile(root, f.Name, strings.NewReader(string(f.Text)), 0o555); err != nil {
			return err
		}
		for p := path.Dir(f.Name); p != "."; p = path.Dir(p) {
			parents = append(parents, p)
		}
	}
	slices.Sort(parents)
	for _, p := range slices.Compact(parents) {
		if err := root.Chmod(p, 0o755); err != nil { // whatever our mask is
			return err
		}
	}
	b.mounts = append(b.mounts, boxMount{dir, shimDir})
	return nil
}

// interpreter is the program that the program in the box needs to be loaded, "" for a static one.
func (b *box) interpreter() (string, error) {
	f, err := elf.Open(filepath.Join(b.dir, initName))
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(p.Open(), unix.PathMax))
			return strings.TrimRight(string(name), "\x00"), err
		}
	}
	return "", nil
}

func (b *box) remove() { os.RemoveAll(b.dir) }
