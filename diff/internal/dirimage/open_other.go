//go:build !linux

package dirimage

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// An Image is a directory read as a stream.
type Image struct{}

// Open is not there on this system: extended attributes and owners are read
// in the way of Linux alone.
func Open(path string) (*Image, error) {
	return nil, fmt.Errorf("directory %s: a directory is read on Linux, not on %s; pack it as a tar archive there", path, runtime.GOOS)
}

func (*Image) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (*Image) Size() int64                       { return 0 }
func (*Image) Close() error                      { return nil }
func (*Image) Root() *os.Root                    { return nil }
