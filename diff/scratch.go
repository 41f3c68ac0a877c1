package diff

import (
	"io"
	"os"

	"github.com/assaylab/assay/diff/ledger"
)

// spoolMemory is how much of a derived stream stays in memory, in bytes; what
// is longer goes to a file that has no name.
const spoolMemory = 4 << 20

// A spool holds one derived stream and takes its bytes from a budget.
type spool struct {
	budget *Budget
	mem    []byte
	file   *os.File
	size   int64
}

func (s *spool) Write(p []byte) (int, error) {
	if err := s.budget.Expand(int64(len(p))); err != nil {
		return 0, err
	}
	if s.file == nil && len(s.mem)+len(p) > spoolMemory {
		f, err := os.CreateTemp("", "assay-")
		if err != nil {
			return 0, err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, err
		}
		if _, err := f.Write(s.mem); err != nil {
			return 0, err
		}
		s.mem = nil
	}
	if s.file != nil {
		n, err := s.file.Write(p)
		s.size += int64(n)
		return n, err
	}
	s.mem = append(s.mem, p...)
	s.size += int64(len(p))
	return len(p), nil
}

func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	if off < 0 || off > int64(len(s.mem)) {
		return 0, io.EOF
	}
	n := copy(p, s.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *spool) Close() error {
	s.mem = nil
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Tools returns what the kernel needs to replay a ledger made with opt: the
// codecs, the parsers of the reference, and scratch space under opt's limits.
func Tools(opt Options) ledger.Tools {
	budget := NewBudget(opt.Limits)
	return ledger.Tools{
		Codecs:  opt.codec,
		Places:  places(opt.Formats, opt.Limits),
		Scratch: func() (ledger.Scratch, error) { return &spool{budget: budget}, nil },
	}
}

func (opt *Options) codec(name string) ledger.Codec {
	for _, c := range opt.Codecs {
		if c.Name() == name {
			return c
		}
	}
	return nil
}
