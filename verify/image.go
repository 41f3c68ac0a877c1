package verify

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/format"
)

// An Image is one side of a comparison, opened.
type Image struct {
	diff.Image
	Kind string   // "file" or "directory"
	Root *os.Root // of a directory; Close closes it
	io.Closer
}

// OpenImage opens a file, a block device or a directory.
func OpenImage(path string) (*Image, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case fi.IsDir():
		d, err := format.OpenDirectory(path)
		if err != nil {
			return nil, err
		}
		return &Image{diff.Image{Name: base(path), ReaderAt: d, Size: d.Size()}, "directory", d.Root(), d}, nil
	case !fi.Mode().IsRegular() && fi.Mode()&os.ModeDevice == 0 || fi.Mode()&os.ModeCharDevice != 0:
		return nil, fmt.Errorf("%s: neither a file nor a directory", path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Image{diff.Image{Name: base(path), ReaderAt: f, Size: size}, "file", nil, f}, nil
}

// openRegular opens a regular file. A FIFO in its place fails instead of
// blocking.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is not a regular file", base(path))
	}
	return f, nil
}

// base is the last element of a path, also of one that ends in a dot.
func base(path string) string {
	if b := filepath.Base(path); b != "." && b != ".." {
		return b
	}
	if abs, err := filepath.Abs(path); err == nil {
		return filepath.Base(abs)
	}
	return path
}
