//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors of the first process. Those of the root file system, the sources and the outputs follow, in this order.
const (
	controlFD = 3 // the configuration as JSON; then open for as long as the parent lives
	replyFD   = 4 // where the reply goes
	firstFD   = 5
)

// order is what the first process reads.
type order struct {
	Config
	Backend   Backend  `json:"backend"`
	Moved     string   `json:"moved,omitempty"`      // Config.moved
	OnlyShims bool     `json:"only_shims,omitempty"` // nothing but reply.Shims is wanted
	ShimsMade bool     `json:"shims_made,omitempty"` // they lie in shimDir already
	ShimDirs  []string `json:"shim_dirs,omitempty"`
}

// nobody is the host's user and group that root's builds run as.
const nobody = 65534

// launch starts the first process, waits for its end and returns its reply, nil when it gave none.
func launch(ctx context.Context, c *Config, b Backend, log *logWriter) (*reply, error) {
	o := order{Config: *c, Backend: b, Moved: c.moved, OnlyShims: c.onlyShims}
	if b.container() {
		return contain(ctx, c, o, log)
	}
	var shims []shimFile
	if b == Bwrap && len(c.World.Shims) > 0 && !c.onlyShims {
		// All that bwrap's first process can write the build can write too, so the shims are made in a run before.
		r, err := launch(ctx, c.shimsOnly(), b, log)
		if err != nil || r == nil || !r.Done {
			return r, err
		}
		shims, o.ShimDirs, o.ShimsMade = r.Shims, r.ShimDirs, true
	}
	files := []*os.File{nil, nil}
	if c.Rootfs != nil {
		files = append(files, c.Rootfs.File)
	}
	for _, s := range c.Sources {
		files = append(files, s.File)
	}
	for _, o := range c.Outputs {
		files = append(files, o.To)
	}
	self, err := ownProgram(firstFD + len(files) + 64)
	if err != nil {
		return nil, err
	}
	defer self.Close()
	var cmd *exec.Cmd
	switch b {
	case Native:
		cmd = nativeCommand(ctx, self)
	case Bwrap:
		program, err := exec.LookPath("bwrap")
		if err != nil {
			return &reply{Setup: "bwrap is not installed"}, nil
		}
		if c.Rootfs != nil {
			return &reply{Setup: "a root file system needs the native sandbox"}, nil
		}
		args, data, err := bwrapArgs(c, self, firstFD+len(files)-2, shims)
		defer closeAll(data)
		if err != nil {
			return nil, err
		}
		files = append(files, data...)
		cmd = exec.CommandContext(ctx, program, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		if os.Geteuid() == 0 && mapped("/proc/self/uid_map", nobody) && mapped("/proc/self/gid_map", nobody) {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		}
	}
	cmd.Env = []string{marker + "=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr.Setsid = true
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = 10 * time.Second // for a log that is held open: only a bug would

	childControl, control, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	answer, childAnswer, err := os.Pipe()
	if err != nil {
		childControl.Close()
		return nil, err
	}
	defer answer.Close()
	files[0], files[1] = childControl, childAnswer
	cmd.ExtraFiles = files

	err = cmd.Start()
	childControl.Close()
	childAnswer.Close()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return &reply{Setup: fmt.Sprintf("starting the first process: %v%s", err, explain(err))}, nil
	}
	written := make(chan error, 1)
	go func() { written <- json.NewEncoder(control).Encode(o) }()
	text, readErr := io.ReadAll(io.LimitReader(answer, 1<<20))
	cmd.Wait() // how it ended says nothing: the reply does, or its absence
	control.Close()
	writeErr := <-written
	if readErr != nil {
		return nil, readErr
	}

	r := new(reply)
	if len(text) == 0 || json.Unmarshal(text, r) != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if b == Bwrap && strings.HasPrefix(string(log.last), "bwrap:") {
			return &reply{Setup: strings.TrimSpace(strings.TrimPrefix(string(log.last), "bwrap:"))}, nil
		}
		if writeErr != nil && !errors.Is(writeErr, unix.EPIPE) {
			return nil, writeErr
		}
		return nil, nil
	}
	return r, nil
}

func explain(err error) string {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) {
		return " (user namespaces are not allowed here)"
	}
	return ""
}

// nativeCommand starts this program in new namespaces, with the capabilities that setting the stage takes.
func nativeCommand(ctx context.Context, self *os.File) *exec.Cmd {
	hostUID, hostGID := os.Geteuid(), os.Getegid()
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE, unix.CAP_SETPCAP, unix.CAP_KILL},
	}
	if hostUID == 0 && mapped("/proc/self/uid_map", nobody) && mapped("/proc/self/gid_map", nobody) {
		hostUID, hostGID = nobody, nobody
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{Uid: UID, Gid: GID} // drops root's supplementary groups too
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: UID, HostID: hostUID, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: GID, HostID: hostGID, Size: 1}}
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", self.Fd()))
	cmd.Args = []string{initName, "init"}
	cmd.SysProcAttr = attr
	return cmd
}

// ownProgram opens the file of this program, or a copy of it in memory where other users may not execute it. Its
// descriptor is at least minFD, out of the way of those that the child is given.
func ownProgram(minFD int) (*os.File, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode()&0o005 != 0o005 {
		fd, err := unix.MemfdCreate(initName, unix.MFD_CLOEXEC)
		if err != nil {
			return nil, err
		}
		copied := os.NewFile(uintptr(fd), initName)
		_, err = io.Copy(copied, f)
		if err == nil {
			// Opened again, because a file that is open for writing cannot be executed.
			var again *os.File
			if again, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
				defer again.Close()
				f = again
			}
		}
		copied.Close()
		if err != nil {
			return nil, err
		}
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, minFD)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), initName), nil
}

// mapped reports whether the user namespace that we are in knows an id; name is a file in the format of
// user_namespaces(7): first id inside, first id outside, count.
func mapped(name string, id int) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			return false
		}
		first, _ := strconv.Atoi(fields[0])
		count, _ := strconv.Atoi(fields[2])
		if first <= id && id-first < count {
			return true
		}
	}
	return false
}

// shimsOnly is a configuration that makes the shims of another and nothing else.
func (c *Config) shimsOnly() *Config {
	return &Config{
		Rootfs: c.Rootfs, ToolDirs: c.ToolDirs, Env: c.Env, Epoch: c.Epoch, Limits: c.Limits,
		World: World{HostName: c.World.HostName, User: c.World.User, Home: c.World.Home, Shims: c.World.Shims}, onlyShims: true,
	}
}

// bwrapArgs describes the same stage to bubblewrap. data are files that it reads, from descriptor next on.
func bwrapArgs(c *Config, self *os.File, next int, shims []shimFile) (args []string, data []*os.File, err error) {
	args = []string{
		"--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
		"--uid", strconv.Itoa(UID), "--gid", strconv.Itoa(GID), "--hostname", c.World.hostName(),
		"--die-with-parent", "--as-pid-1", "--cap-drop", "ALL",
		"--clearenv", "--setenv", marker, "1",
	}
	for _, dir := range toolRoots {
		info, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if info.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink(dir)
			if err != nil {
				return nil, nil, err
			}
			args = append(args, "--symlink", target, dir)
		} else {
			args = append(args, "--ro-bind", dir, dir)
		}
	}
	for _, dir := range etcFromHost {
		args = append(args, "--ro-bind-try", dir, dir)
	}
	give := func(perms, name string, f *os.File) {
		args = append(args, "--perms", perms, "--ro-bind-data", strconv.Itoa(next), name)
		data = append(data, f)
		next++
	}
	small := c.World.etcFiles()
	for _, f := range shims {
		small = append(small, smallFile{shimDir + "/" + f.Name, string(f.Text)})
	}
	for _, f := range small {
		file, err := memoryFile(f.text)
		if err != nil {
			return nil, data, err
		}
		perms := "0444"
		if within(f.name, shimDir) {
			perms = "0555"
		}
		give(perms, f.name, file)
	}
	if c.moved != "" && path.Dir(c.moved) == "/" {
		args = append(args, "--symlink", c.World.Dir, c.moved)
	}
	program, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", self.Fd()))
	if err != nil {
		return nil, data, err
	}
	give("0555", "/"+initName, program)
	args = append(args, "--proc", "/proc", "--dev", "/dev")
	for _, dir := range c.writable() {
		perms := "0755"
		if dir == "/tmp" {
			perms = "1777"
		}
		args = append(args, "--perms", perms, "--size", strconv.FormatInt(c.Limits.Output, 10), "--tmpfs", dir)
	}
	tools := slices.Clone(c.ToolDirs)
	slices.Sort(tools)
	for _, dir := range tools {
		args = append(args, "--ro-bind", dir, dir)
	}
	args = append(args, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", "/"+initName, "init")
	return args, data, nil
}

func memoryFile(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("data", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "data")
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
