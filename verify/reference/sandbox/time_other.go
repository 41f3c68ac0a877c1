//go:build !linux

package sandbox

import (
	"os"
	"time"
)

// setTime sets the time of a file; that of a symbolic link stays as it is.
func setTime(root *os.Root, name string, t time.Time) error {
	if info, err := root.Lstat(name); err != nil || info.Mode()&os.ModeSymlink != 0 {
		return err
	}
	return root.Chtimes(name, t, t)
}
