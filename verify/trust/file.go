package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/assaylab/assay/verify/internal/plain"
)

// replaceable refuses a name that is taken by anything but a regular file, and
// one in a folder that is not there.
func replaceable(path string) error {
	name := filepath.Base(path)
	if fi, err := os.Stat(filepath.Dir(path)); err != nil || !fi.IsDir() {
		return trouble("make the folder first", "%q cannot be written: its folder is not there", name)
	}
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return trouble("give another name with --out", "%q cannot be written: %w", name, plain.Cause(err))
	case fi.Mode()&fs.ModeSymlink != 0:
		return trouble("give the name that it leads to", "%q is a symbolic link", name)
	case !fi.Mode().IsRegular():
		return trouble("give another name with --out", "%q is not a regular file", name)
	}
	return nil
}

// replace puts a file with mode 0644 in the place of another one at once: the
// bytes are on the disk under a passing name before rename gives them theirs. A
// process that is killed in between leaves that passing name (.NAME.*) behind.
func replace(path string, b []byte, rename func(from, to string) error) (err error) {
	name := filepath.Base(path)
	failed := func(err error) error {
		return trouble("the file is as it was; choose a folder that can be written with --out", "cannot write %q: %w", name, plain.Cause(err))
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+name+".*")
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(0o644); err != nil {
		return failed(err)
	}
	if _, err := f.Write(b); err != nil {
		return failed(err)
	}
	if err := f.Sync(); err != nil {
		return failed(err)
	}
	if err := f.Close(); err != nil {
		return failed(err)
	}
	if err := rename(f.Name(), path); err != nil {
		return failed(err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return trouble("the file is the new one; write it again to be sure that it outlives a power cut", "cannot sync the folder of %q: %w", name, plain.Cause(err))
	}
	return nil
}

// syncFolder makes a rename last. Some file systems have no such thing.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
