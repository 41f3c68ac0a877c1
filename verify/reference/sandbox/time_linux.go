//go:build linux

package sandbox

import (
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// setTime sets the time of a file, not of what a symbolic link leads to.
func setTime(root *os.Root, name string, t time.Time) error {
	dir, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(int(dir.Fd()), path.Base(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}
