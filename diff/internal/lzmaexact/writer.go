package lzmaexact

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// A Writer compresses what is written to it. See [NewWriter].
type Writer struct {
	o     Options
	t     tuning
	w     io.Writer
	chain chain
	begun bool // the header is written
	err   error

	xz    container
	block *streamedBlock // XZ: the block that is open, nil if none is
	held  []byte         // XZThreaded and XZBuffer: the block so far
}

// NewWriter returns a writer that compresses to w as the options say. The first
// byte goes to w with the first Write or Close. An error of w ends the work: it is
// returned by this and every later call.
//
// Memory grows with what is written, see [Options.Memory]. XZThreaded holds a block
// and XZBuffer all that is written, until it can tell their sizes.
//
// Errors: options that no encoder takes.
func NewWriter(w io.Writer, o Options) (*Writer, error) {
	t, err := o.tuning()
	if err == nil {
		err = o.verify()
	}
	if err != nil {
		return nil, fmt.Errorf("lzma: %w", err)
	}
	if o.Format == XZThreaded && o.BlockSize == 0 {
		o.BlockSize = max(3*int64(t.dict), 1<<20)
	}
	e := newEncoder(t, o.keep(t))
	e.work = o.Work
	z := &Writer{o: o, t: t, chain: chain{e: e, c: &chunker{e: e}, bcj: o.BCJ}}
	if o.Format == Alone {
		z.chain.c = &alone{e: e, size: o.Size}
	}
	z.Reset(w)
	return z, nil
}

func (o Options) verify() error {
	switch {
	case o.Format > LZMA2:
		return fmt.Errorf("unknown format %d", o.Format)
	case o.BCJ != NoBCJ && newBranchFilter(o.BCJ) == nil:
		return fmt.Errorf("unknown filter %d", o.BCJ)
	case o.BCJ != NoBCJ && o.Format == Alone:
		return errors.New(".lzma has no filters")
	case o.BlockSize < 0 || o.BlockSize > math.MaxInt64/4:
		return fmt.Errorf("block size %d: want at most %d", o.BlockSize, int64(math.MaxInt64/4))
	case o.BlockSize != 0 && o.Format != XZ && o.Format != XZThreaded:
		return errors.New("a block size is for .xz streams only")
	case o.Size < 0 || o.Size != 0 && o.Format != Alone:
		return errors.New("a size in the header is for .lzma only")
	case o.Check != NoCheck && newHash(o.Check) == nil:
		return fmt.Errorf("unknown check %d", o.Check)
	}
	return nil
}

// keep is how many bytes the window keeps behind: the dictionary and what the
// parser has read, and for LZMA2 a chunk that may have to be stored.
func (o Options) keep(t tuning) int {
	n := int(t.dict) + maxParse
	if o.Format != Alone {
		n = max(n, chunkData)
	}
	return n
}

// Memory is about how many bytes a Writer comes to hold when it compresses size
// bytes, besides what XZThreaded and XZBuffer hold of their input and output. What
// a dictionary needs comes with the first byte, so callers that take its size from
// somebody else's header should ask first.
//
// Errors: as NewWriter.
func (o Options) Memory(size int64) (int64, error) {
	t, err := o.tuning()
	if err != nil {
		return 0, fmt.Errorf("lzma: %w", err)
	}
	width, tree := t.finder.shape()
	sons := min(2*size, int64(t.dict)+1)
	if tree {
		sons *= 2
	}
	window := min(2*size, int64(windowSize(t.dict, o.keep(t))))
	return window + 4*(sons+int64(headLen(t.dict, width))) + 1<<19, nil
}

// Reset makes the writer begin anew and write to w, with the same options. It is
// cheaper than a new one, and where nothing was written yet it costs nothing.
func (z *Writer) Reset(w io.Writer) {
	z.w, z.begun, z.err = w, false, nil
	z.xz = container{w: w, check: z.o.Check}
	z.block, z.held = nil, z.held[:0]
}

var errClosed = errors.New("lzma: the writer is closed")

// Write compresses p. How the input is cut into writes does not show in the output.
func (z *Writer) Write(p []byte) (int, error) {
	if z.err == nil {
		z.err = z.begin()
	}
	done := 0
	for z.err == nil && done < len(p) {
		var n int
		n, z.err = z.some(p[done:])
		done += n
	}
	return done, z.err
}

// Close writes what is left. It does not close the writer below.
func (z *Writer) Close() error {
	if errors.Is(z.err, errClosed) {
		return nil
	}
	if z.err == nil {
		z.err = z.begin()
	}
	if z.err == nil {
		z.err = z.finish()
	}
	if z.err == nil {
		z.err = errClosed
		return nil
	}
	return z.err
}

// begin writes the header of the file, once.
func (z *Writer) begin() error {
	if z.begun {
		return nil
	}
	z.begun = true
	switch z.o.Format {
	case Alone:
		// The header first: who compares it may need no tables.
		a := z.chain.c.(*alone)
		a.restart(z.w)
		err := a.head()
		if err == nil {
			z.chain.restart(z.w)
		}
		return err
	case LZMA2:
		z.chain.restart(z.w)
		return nil
	}
	return z.xz.head()
}

// some takes some of p, which is not empty, and returns how much.
func (z *Writer) some(p []byte) (int, error) {
	switch z.o.Format {
	case XZ:
		if z.block == nil {
			b, err := z.xz.begin(blockHead{bcj: z.o.BCJ, dict: z.t.dict})
			if err != nil {
				return 0, err
			}
			z.block = b
			z.chain.restart(&b.data)
		}
		if z.o.BlockSize > 0 {
			p = p[:min(int64(len(p)), z.o.BlockSize-z.block.size)]
		}
		z.block.note(p)
		if err := z.chain.write(p); err != nil {
			return 0, err
		}
		if z.block.size == z.o.BlockSize {
			return len(p), z.endBlock()
		}
	case XZThreaded:
		p = p[:min(int64(len(p)), z.o.BlockSize-int64(len(z.held)))]
		z.held = append(z.held, p...)
		if int64(len(z.held)) == z.o.BlockSize {
			return len(p), z.endBlock()
		}
	case XZBuffer:
		z.held = append(z.held, p...)
	default:
		return len(p), z.chain.write(p)
	}
	return len(p), nil
}

// endBlock writes what is left of a block of .xz, if there is one.
func (z *Writer) endBlock() error {
	if z.o.Format == XZ {
		if z.block == nil {
			return nil
		}
		err := z.chain.end()
		if err == nil {
			err = z.xz.end(z.block)
		}
		z.block = nil
		return err
	}
	if len(z.held) == 0 {
		return nil
	}
	err := z.xz.write(blockHead{bcj: z.o.BCJ, dict: z.t.dict}, z.held, z.o.BlockSize, func(w io.Writer) error {
		z.chain.restart(w)
		if err := z.chain.write(z.held); err != nil {
			return err
		}
		return z.chain.end()
	})
	z.held = z.held[:0]
	return err
}

func (z *Writer) finish() error {
	if f := z.o.Format; f == Alone || f == LZMA2 {
		return z.chain.end()
	}
	if err := z.endBlock(); err != nil {
		return err
	}
	return z.xz.finish()
}
