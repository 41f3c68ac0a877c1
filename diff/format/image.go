package format

import (
	"fmt"
	"io"
	"os"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/dirimage"
	"github.com/assaylab/assay/diff/internal/elffile"
	"github.com/assaylab/assay/diff/ledger"
)

// A Directory is a directory as a canonical stream of bytes.
type Directory interface {
	io.ReaderAt
	io.Closer
	Size() int64    // bytes
	Root() *os.Root // the directory, whatever its path leads to by now; Close closes it
}

// OpenDirectory reads a directory as the stream that the directory format lays
// out. Contents are read when they are asked for; a file that changed since is
// an error then.
func OpenDirectory(path string) (Directory, error) { return dirimage.Open(path) }

// symbols names offsets of a raw image by the ELF file it was made from.
type symbols struct {
	*elffile.Labels
	size int64
}

// Section implements diff.Labels; between two sections it returns the gap.
func (s symbols) Section(off int64) (string, ledger.Range) {
	if name, r := s.Labels.Section(off); name != "" {
		return name, r
	}
	gap := ledger.Range{Len: s.size}
	for _, x := range s.Sections() {
		if x.End() <= off {
			gap.Off = max(gap.Off, x.End())
		} else {
			gap.Len = x.Off - gap.Off
			return "", gap
		}
	}
	gap.Len = max(0, s.size-gap.Off)
	return "", gap
}

// LoadSymbols reads an ELF file that names the offsets of a raw image of size
// bytes, made from it as "objcopy -O binary" does.
func LoadSymbols(path string, size int64) (diff.Labels, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	budget := diff.NewBudget(diff.Limits{})
	e, err := elffile.Parse(f, fi.Size(), budget.Node)
	if err != nil {
		return nil, fmt.Errorf("symbols: %w", err)
	}
	l, err := e.RawLabels(size)
	if err != nil {
		return nil, fmt.Errorf("symbols: %w", err)
	}
	return symbols{l, size}, nil
}
