//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// toolRoots are the directories of the host that hold its tools.
var toolRoots = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// etcFromHost is what the tools themselves read from the host's /etc: where libraries lie, and which of several
// alternatives is meant by a name.
var etcFromHost = []string{"/etc/alternatives", "/etc/dpkg/origins", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"}

// devices are the nodes of /dev; none of them leads to hardware or to a terminal.
var devices = []string{"full", "null", "random", "urandom", "zero"}

// maxInodes bounds the files of a tmpfs: each costs the kernel about a kilobyte that no size limit counts.
const maxInodes = 1 << 19

// files is how many files may be written: two for each page of the limit on bytes, so that empty ones cost no more.
func (l *Limits) files() int64 { return min(max(l.Output/2048, 4096), maxInodes) }

// maxRootfs bounds an unpacked root file system, in bytes.
const maxRootfs = 16 << 30

// A stage is a file system being put together below the directory base, which becomes the root.
type stage struct {
	base string
	err  error
}

// do runs one step of the set-up unless an earlier one failed.
func (s *stage) do(what string, f func() error) {
	if s.err == nil {
		if err := f(); err != nil {
			s.err = fmt.Errorf("%s: %w", what, err)
		}
	}
}

func (s *stage) mount(source, target, fstype string, flags uintptr, data string) {
	s.do("mounting "+fstype+" "+strings.TrimPrefix(target, s.base), func() error {
		return unix.Mount(source, target, fstype, flags, data)
	})
}

func (s *stage) mkdir(name string, mode os.FileMode) {
	s.do("making a directory", func() error {
		if err := os.MkdirAll(s.base+name, 0o755); err != nil {
			return err
		}
		return os.Chmod(s.base+name, mode)
	})
}

// show makes a file or a directory of the host visible, read-only, at the same name. A name that does not exist is
// left out; a symbolic link in the root directory is copied.
func (s *stage) show(name string) {
	info, err := os.Lstat(name)
	if s.err != nil || os.IsNotExist(err) {
		return
	}
	target := s.base + name
	s.do("showing "+name, func() error {
		switch {
		case err != nil:
			return err
		case info.Mode()&os.ModeSymlink != 0 && path.Dir(name) == "/":
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case info.IsDir():
			if err := os.MkdirAll(target, 0o755); err != nil {
				return err
			}
		default:
			if err := emptyFile(target); err != nil {
				return err
			}
		}
		if err := unix.Mount(name, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		return unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE,
			&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
	})
}

func emptyFile(name string) error {
	if err := os.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if err != nil {
		return err
	}
	return f.Close()
}

// setStage gives this process, the first of new namespaces, the root directory that package sandbox describes.
// unpackRootfs fills a directory from the tar file of Config.Rootfs.
func setStage(c *Config, unpackRootfs func(dir string) error) error {
	base := emptyPlace(c.ToolDirs)
	if base == "" {
		return fmt.Errorf("none of %s is a directory", strings.Join(mountPoints, ", "))
	}
	s := &stage{base: base}
	const safe = unix.MS_NOSUID | unix.MS_NODEV
	s.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if c.Rootfs != nil {
		s.mount("root", base, "tmpfs", safe, fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", int64(maxRootfs), maxInodes))
		if s.err == nil {
			if err := unpackRootfs(base); err != nil {
				return err
			}
		}
		s.do("writing /etc of the root file system", func() error { return c.World.settleIn(base) })
	} else {
		s.mount("root", base, "tmpfs", safe, "mode=0755,size=1m")
		for _, dir := range slices.Concat(toolRoots, etcFromHost) {
			s.show(dir)
		}
		for _, f := range c.World.etcFiles() {
			s.do("writing "+f.name, func() error {
				if err := os.MkdirAll(path.Dir(base+f.name), 0o755); err != nil {
					return err
				}
				return os.WriteFile(base+f.name, []byte(f.text), 0o444)
			})
		}
	}
	s.do("preparing the root directory", func() error { return replaceLinks(base, "/dev", "/proc", "/.work") })

	s.mkdir("/proc", 0o755)
	s.mount("proc", base+"/proc", "proc", safe|unix.MS_NOEXEC, "")

	s.mkdir("/dev", 0o755)
	s.mount("dev", base+"/dev", "tmpfs", safe|unix.MS_NOEXEC, "mode=0755,size=64k")
	for _, name := range devices {
		s.do("making /dev/"+name, func() error { return emptyFile(base + "/dev/" + name) })
		s.mount("/dev/"+name, base+"/dev/"+name, "", unix.MS_BIND, "")
		s.do("restricting /dev/"+name, func() error {
			return unix.MountSetattr(unix.AT_FDCWD, base+"/dev/"+name, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC})
		})
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		s.do("making /dev/"+name, func() error { return os.Symlink(target, base+"/dev/"+name) })
	}
	s.mkdir("/dev/shm", 0o755)

	// One tmpfs for everything that can be written, so that one limit covers it.
	s.mkdir("/.work", 0o755)
	s.mount("work", base+"/.work", "tmpfs", safe, fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", c.Limits.Output, c.Limits.files()))
	for _, dir := range append(c.writable(), "/dev/shm") {
		mode := os.FileMode(0o755)
		if dir == "/tmp" || dir == "/dev/shm" {
			mode = 0o777 | os.ModeSticky
		}
		inside := "/.work/" + strings.ReplaceAll(dir[1:], "/", "-")
		s.mkdir(inside, mode)
		s.do("preparing "+dir, func() error { return replaceLinks(base, dir) })
		s.mkdir(dir, 0o755)
		s.mount(base+inside, base+dir, "", unix.MS_BIND, "")
	}
	s.do("hiding the work directory", func() error {
		if err := unix.Unmount(base+"/.work", unix.MNT_DETACH); err != nil {
			return err
		}
		return os.Remove(base + "/.work")
	})
	if len(c.World.Shims) > 0 {
		s.do("preparing "+shimDir, func() error { return replaceLinks(base, shimDir) })
		s.mkdir(shimDir, 0o755)
	}
	if c.moved != "" && path.Dir(c.moved) == "/" {
		s.do("making "+c.moved+" a link", func() error {
			// What a root file system has there is out of the way, as it is below a source.
			if err := os.RemoveAll(base + c.moved); err != nil {
				return err
			}
			return os.Symlink(c.World.Dir, base+c.moved)
		})
	}
	for _, dir := range c.ToolDirs {
		s.show(dir)
	}
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	for _, dir := range []string{"/dev", ""} {
		s.do("making "+dir+"/ read-only", func() error { return unix.MountSetattr(unix.AT_FDCWD, base+dir, 0, readOnly) })
	}
	s.do("changing the root", func() error {
		if err := unix.Chdir(base); err != nil {
			return err
		}
		// The old root is put on top of the new one and taken away: pivot_root(2), "pivot_root(".", ".")".
		if err := unix.PivotRoot(".", "."); err != nil {
			return err
		}
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return err
		}
		return unix.Chdir("/")
	})
	return s.err
}

// settleIn replaces the files of an unpacked root file system that say who and where the build is, and follows no link
// out of it.
func (w *World) settleIn(base string) error {
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll("etc", 0o755); err != nil {
		return err
	}
	for _, f := range w.etcFiles() {
		if err := root.RemoveAll(f.name[1:]); err != nil {
			return err
		}
		if err := root.WriteFile(f.name[1:], []byte(f.text), 0o444); err != nil {
			return err
		}
	}
	return nil
}

// mountPoints are directories of the host that the new root may cover while it is put together.
var mountPoints = []string{"/mnt", "/media", "/srv", "/tmp"}

func emptyPlace(shown []string) string {
	for _, dir := range mountPoints {
		info, err := os.Lstat(dir)
		covers := slices.ContainsFunc(shown, func(d string) bool { return d == dir || strings.HasPrefix(d, dir+"/") })
		if err == nil && info.IsDir() && !covers {
			return dir
		}
	}
	return ""
}

// replaceLinks removes what an unpacked root file system has, other than a directory, where a mount is to go: a mount
// on a symbolic link would land where it leads.
func replaceLinks(base string, names ...string) error {
	for _, name := range names {
		if info, err := os.Lstat(base + name); err == nil && !info.IsDir() {
			if err := os.Remove(base + name); err != nil {
				return err
			}
		}
	}
	return nil
}
