package statement

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/assaylab/assay/verify/internal/plain"
)

// maxPassphrase bounds a passphrase file, in bytes.
const maxPassphrase = 4 << 10

// ReadFile reads a statement from a file or a pipe; see [Decode].
func ReadFile(path string) (*Statement, error) {
	b, _, err := readInput("statement", path, MaxStatement)
	if err != nil {
		return nil, err
	}
	return Decode(b)
}

// ReadPassphrase reads a passphrase from a file or a pipe: all of it but one end
// of line. An empty one is an [Error].
func ReadPassphrase(path string) ([]byte, error) {
	b, _, err := readInput("passphrase file", path, maxPassphrase)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return nil, trouble("write the passphrase to it", "the passphrase file %q is empty", filepath.Base(path))
	}
	return b, nil
}

// readInput reads a small file or a pipe whole. A FIFO that nobody writes to is
// empty; it does not block.
func readInput(kind, path string, most int64) ([]byte, os.FileMode, error) {
	const hint = "give a readable file"
	name := filepath.Base(path)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, trouble(hint, "cannot read the %s %q: %v", kind, name, plain.Cause(err))
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, trouble(hint, "cannot read the %s %q: %v", kind, name, plain.Cause(err))
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, 0, trouble(hint, "cannot read the %s %q: %v", kind, name, plain.Cause(err))
	}
	if int64(len(b)) > most {
		return nil, 0, trouble("is it another file?", "the %s %q is larger than %d bytes", kind, name, most)
	}
	return b, fi.Mode(), nil
}
