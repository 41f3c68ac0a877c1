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
var etcFromHost = []string{"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"}

// etcFiles are the same on every host.
var etcFiles = []struct{ name, text string }{
	{"/etc/group", "root:x:0:\n" + User + ":x:1000:\nnogroup:x:65534:\n"},
	{"/etc/hostname", HostName + "\n"},
	{"/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 " + HostName + "\n"},
	{"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
	{"/etc/passwd", "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n" +
		User + ":x:1000:1000:build:" + Home + ":/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
}

// devices are the nodes of /dev; none of them leads to hardware or to a terminal.
var devices = []string{"full", "null", "random", "urandom", "zero"}

// maxInodes bounds the files of a tmpfs: each costs the kernel about a kilobyte that no size limit counts.
const maxInodes = 1 << 19

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
	} else {
		s.mount("root", base, "tmpfs", safe, "mode=0755,size=1m")
		for _, dir := range slices.Concat(toolRoots, etcFromHost) {
			s.show(dir)
		}
		for _, f := range etcFiles {
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
	s.mount("work", base+"/.work", "tmpfs", safe, fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", c.Limits.Output, maxInodes))
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
