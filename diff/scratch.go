package diff

import (
	"bytes"
	"context"
	"io"
	"os"

	"github.com/assaylab/assay/diff/ledger"
)

// Derived streams stay in memory up to spoolMemory bytes each and storeMemory
// together; what is more goes to one file that has no name.
const (
	spoolMemory = 4 << 20
	storeMemory = 48 << 20
	sparse      = 4 << 10 // so many zeros at once are not written
)

// A store is where the spools of one comparison keep what they hold. It is not safe
// for concurrent use.
type store struct {
	mem  int64 // bytes in memory
	open int   // spools
	file *os.File
	end  int64 // of what is written to file
}

// A spool holds one derived stream and takes its bytes from a budget.
type spool struct {
	budget *Budget
	store  *store
	mem    []byte
	filed  []pieceAt // what stands in the file: from is a range of it
	size   int64
	closed bool
}

// newSpool returns an empty spool in st or, where that is nil, a store of its own.
func newSpool(b *Budget, st *store) *spool {
	if st == nil {
		st = new(store)
	}
	st.open++
	return &spool{budget: b, store: st}
}

func (s *spool) Write(p []byte) (int, error) {
	if err := s.budget.Expand(int64(len(p))); err != nil {
		return 0, err
	}
	n := int64(len(p))
	if len(s.filed) == 0 && s.size+n <= spoolMemory && s.store.mem+n <= storeMemory {
		s.mem = append(s.mem, p...)
		s.size += n
		s.store.mem += n
		return len(p), nil
	}
	if len(s.mem) > 0 {
		if err := s.store.write(s, 0, s.mem); err != nil {
			return 0, err
		}
		s.store.mem -= int64(len(s.mem))
		s.mem = nil
	}
	if err := s.store.write(s, s.size, p); err != nil {
		return 0, err
	}
	s.size += n
	return len(p), nil
}

// write appends to the file what stands at offset at of s, but for zeros: holes may be
// larger than any disk.
func (st *store) write(s *spool, at int64, p []byte) error {
	if n := int64(len(p)); n >= sparse && bytes.Count(p, []byte{0}) == len(p) {
		if k := len(s.filed) - 1; k >= 0 && s.filed[k].r == nil {
			s.filed[k].from.Len += n
		} else {
			s.filed = append(s.filed, pieceAt{at: at, from: ledger.Range{Len: n}})
		}
		return nil
	}
	if st.file == nil {
		f, err := os.CreateTemp("", "assay-")
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return err
		}
		st.file, st.end = f, 0
	}
	if _, err := st.file.WriteAt(p, st.end); err != nil {
		return err
	}
	n := int64(len(p))
	if k := len(s.filed) - 1; k >= 0 && s.filed[k].r != nil && s.filed[k].from.End() == st.end {
		s.filed[k].from.Len += n
	} else {
		s.filed = append(s.filed, pieceAt{at: at, r: st.file, from: ledger.Range{Off: st.end, Len: n}})
	}
	st.end += n
	return nil
}

func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if len(s.filed) > 0 {
		return (&pieced{size: s.size, pieces: s.filed}).ReadAt(p, off)
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

// Close lets go of the stream; the last of a store's spools closes its file.
func (s *spool) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	st := s.store
	st.mem -= int64(len(s.mem))
	st.open--
	s.mem, s.filed = nil, nil
	if st.open > 0 || st.file == nil {
		return nil
	}
	err := st.file.Close()
	st.file = nil
	return err
}

// Tools returns what the kernel needs to replay a ledger made with opt: the
// codecs, the parsers of the reference, and scratch space under opt's limits.
func Tools(opt Options) ledger.Tools {
	budget, st := NewBudget(opt.Limits), new(store)
	return ledger.Tools{
		Codecs:  opt.codec,
		Formats: recognised(opt.Formats, opt.Limits),
		Places:  places(opt.Formats, opt.Limits),
		Scratch: func() (ledger.Scratch, error) { return newSpool(budget, st), nil },
		Streams: func(ctx context.Context, img ledger.Image, visit func(io.ReaderAt, int64, []ledger.Range) error, ids func(ledger.Enc, []byte)) error {
			return everywhere(ctx, img, &opt, visit, ids)
		},
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
