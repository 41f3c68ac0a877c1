package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
)

// Frames describes frames of one format that follow each other without anything
// between them. What a format calls member or stream is a frame here.
type Frames struct {
	Fields  []Field // Stream is the number of the frame
	Frames  []Frame
	Extent  int64 // bytes of the frames
	Decoded int64 // bytes they decode to, where the walk decodes
	Rest    error // why bytes after Extent that start like a frame are none; nil if none do
}

// A Frame is one frame.
type Frame struct {
	Range
	Skippable bool // of a kind that decoders pass over
}

// A tape is a source read frame by frame. It notes what the bytes passed are for,
// if it walks, and takes what they decode to within the limits.
type tape struct {
	*source
	ctx  context.Context
	lim  Limits
	w    io.Writer
	size int64 // of the source; math.MaxInt64 if that is unknown

	walks  bool
	frame  Frame
	fields []Field
	stream int // number of the frame
	block  int // number of the block in its frame, -1 outside of blocks
	blocks int // in all frames

	out int64     // bytes decoded
	sum hash.Hash // of what is decoded; nil if nobody asks
	buf []byte    // holds one block
}

func newTape(ctx context.Context, lim Limits, w io.Writer, r io.Reader, size int64) *tape {
	return &tape{source: newSource(ctx, r), ctx: ctx, lim: lim, w: w, size: size, block: -1}
}

// An earlyEnd is the error of a frame that ended before the bytes that it tells of,
// in a format whose frames do not say where they end.
type earlyEnd struct {
	at  int64 // offset where it did
	out int64 // bytes decoded up to there
	err error
}

func (e *earlyEnd) Error() string { return e.err.Error() }
func (e *earlyEnd) Unwrap() error { return e.err }

// walkFrames reads the frame at the start of r and those that follow it. one reads
// a frame; more tells from the next bytes, at most magic, whether there is another.
func walkFrames(ctx context.Context, r io.ReaderAt, size int64, lim Limits, one func(*tape) error, magic int, more func([]byte) bool) (Frames, error) {
	var f Frames
	t := newTape(ctx, lim, io.Discard, io.NewSectionReader(r, 0, size), size)
	t.walks = true
	for {
		start, kept := t.consumed(), len(t.fields)
		t.frame = Frame{}
		t.block = -1
		if err := one(t); err != nil {
			err = fmt.Errorf("frame %d at 0x%x: %w", t.stream, start, err)
			var limit *LimitError
			var early *earlyEnd
			switch {
			case errors.As(err, &limit) || ctx.Err() != nil || t.counted.failed != nil:
				return f, err
			case errors.As(err, &early):
				for len(t.fields) > 0 && t.fields[len(t.fields)-1].Off >= early.at {
					t.fields = t.fields[:len(t.fields)-1]
				}
				f.Extent, f.Decoded = early.at, early.out
				f.Frames = append(f.Frames, Frame{Range: Range{start, early.at - start}})
			case t.stream == 0:
				return f, err
			default:
				t.fields = t.fields[:kept]
			}
			f.Rest = err
			break
		}
		f.Extent, f.Decoded = t.consumed(), t.out
		t.frame.Range = Range{start, f.Extent - start}
		f.Frames = append(f.Frames, t.frame)

		next, err := t.Peek(magic)
		if err != nil && err != io.EOF {
			return f, err
		}
		if !more(next) {
			break
		}
		if t.stream++; t.stream >= MaxParts {
			return f, &LimitError{Limit: "parts", Detail: fmt.Sprintf("more than %d frames", MaxParts)}
		}
	}
	f.Fields = t.fields
	return f, nil
}

// decodeFrames makes a decoder of what reads a frame: the input is at least one,
// and nothing else.
func decodeFrames(one func(*tape) error) func(context.Context, Limits, io.Writer, io.Reader) error {
	return func(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
		t := newTape(ctx, lim, w, r, math.MaxInt64)
		for {
			start := t.consumed()
			if err := one(t); err != nil {
				return fmt.Errorf("frame %d at 0x%x: %w", t.stream, start, err)
			}
			switch _, err := t.Peek(1); err {
			case nil:
			case io.EOF:
				return nil
			default:
				return err
			}
			t.stream++
		}
	}
}

// left returns how many bytes may follow.
func (t *tape) left() int64 { return t.size - t.consumed() }

// note says that the n bytes just passed are for name. Blocks beyond MaxParts
// share one field.
func (t *tape) note(name string, n int64) {
	if !t.walks || n == 0 {
		return
	}
	f := Field{name, t.stream, t.block, Range{t.consumed() - n, n}}
	if t.block >= 0 && t.blocks > MaxParts {
		if last := &t.fields[len(t.fields)-1]; last.Name == restOfBlocks && last.Stream == t.stream {
			last.Len += n
			return
		}
		f.Name, f.Block = restOfBlocks, -1
	}
	t.fields = append(t.fields, f)
}

const restOfBlocks = "rest of blocks"

// nextBlock begins a block.
func (t *tape) nextBlock() {
	t.block++
	t.blocks++
}

// take passes n bytes, which are for name. They stay valid until the next read.
// Requires n <= bufferSize.
func (t *tape) take(name string, n int) ([]byte, error) {
	b, err := t.Peek(n)
	if err != nil {
		return nil, t.short(name, int64(n), err)
	}
	if _, err := t.Discard(n); err != nil {
		return nil, err
	}
	t.note(name, int64(n))
	return b, nil
}

func (t *tape) u32le(name string) (uint32, error) {
	b, err := t.take(name, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (t *tape) u32be(name string) (uint32, error) {
	b, err := t.take(name, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// pass passes n bytes without looking at them.
func (t *tape) pass(name string, n int64) error {
	for left := n; left > 0; {
		k, err := t.Discard(int(min(left, 1<<20)))
		if err != nil {
			return t.short(name, left, err)
		}
		left -= int64(k)
	}
	t.note(name, n)
	return nil
}

// load passes n bytes and returns them; they stay valid until the next load. It
// takes memory as the bytes come.
func (t *tape) load(name string, n int64) ([]byte, error) {
	if n > t.left() {
		return nil, t.short(name, n, io.EOF)
	}
	t.buf = t.buf[:0]
	for left := n; left > 0; {
		b, err := t.Peek(int(min(left, bufferSize)))
		if err != nil {
			return nil, t.short(name, left, err)
		}
		t.buf = append(t.buf, b...)
		if _, err := t.Discard(len(b)); err != nil {
			return nil, err
		}
		left -= int64(len(b))
	}
	t.note(name, n)
	return t.buf, nil
}

func (t *tape) short(name string, n int64, err error) error {
	if err == io.EOF {
		return fmt.Errorf("%s: truncated: 0x%x bytes are needed at 0x%x: %w", name, n, t.consumed(), io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Write takes decoded bytes.
func (t *tape) Write(p []byte) (int, error) {
	if err := alive(t.ctx); err != nil {
		return 0, err
	}
	t.out += int64(len(p))
	if err := t.lim.checkOutput(t.out, t.consumed()); err != nil {
		return 0, err
	}
	if t.sum != nil {
		t.sum.Write(p)
	}
	return t.w.Write(p)
}

// Skippable frames are those of LZ4 and Zstandard alike: a magic of which four bits
// are free, a length, and data for somebody else.
func skippable(magic uint32) bool { return magic&^0xf == 0x184d2a50 }

// skip reads a skippable frame after its magic: it decodes to nothing, so only a
// walk passes it.
func (t *tape) skip() error {
	if !t.walks {
		return errors.New("a skippable frame, which decodes to nothing")
	}
	n, err := t.u32le("length")
	if err != nil {
		return err
	}
	if int64(n) > t.left() {
		return t.short("data", int64(n), io.EOF)
	}
	t.frame.Skippable = true
	return t.pass("data", int64(n))
}
