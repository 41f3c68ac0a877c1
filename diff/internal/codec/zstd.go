package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

const (
	zstdMagic     = 0xfd2fb528
	zstdMaxHeader = 18 // bytes, with the magic
	zstdMaxBlock  = 128 << 10
	zstdMinWindow = 1 << 10
)

// WalkZstd finds the Zstandard frames (RFC 8878) at the start of r, which holds
// size bytes, skippable ones among them. It follows the blocks without decoding
// them: Decode proves what they hold.
//
// Fields of a frame, in order: magic, descriptor, if there window, dictionary id
// (zeros), content size; for each block: header, data if any; then, if flagged,
// content checksum. Of a skippable frame: magic, length, data if any.
//
// Frames that need a dictionary are refused. Errors: a LimitError; an error saying
// where the first frame is unsound.
func WalkZstd(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
	f, err := walkFrames(ctx, r, size, lim, zstdFrame, 4, func(b []byte) bool {
		if len(b) < 4 {
			return false
		}
		magic := binary.LittleEndian.Uint32(b)
		return magic == zstdMagic || skippable(magic)
	})
	if err != nil {
		return Frames{}, fmt.Errorf("zstd: %w", err)
	}
	return f, nil
}

// A zstdHeader is the header of a frame.
type zstdHeader struct {
	single, checked, sized bool
	window                 uint64 // bytes that a decoder must hold
	size                   uint64 // of the content, if sized
	// Bytes of the header's parts.
	windowLen, dictLen, sizeLen int
}

func (h *zstdHeader) len() int { return 5 + h.windowLen + h.dictLen + h.sizeLen }

// parseZstd reads the header that b starts with, magic included.
func parseZstd(b []byte) (zstdHeader, error) {
	var h zstdHeader
	if len(b) < 5 {
		return h, fmt.Errorf("header: truncated: %w", io.ErrUnexpectedEOF)
	}
	if magic := binary.LittleEndian.Uint32(b); magic != zstdMagic {
		return h, fmt.Errorf("magic %08x is not that of a frame to decode", magic)
	}
	d := b[4]
	if d&8 != 0 {
		return h, fmt.Errorf("reserved bit set in descriptor %02x", d)
	}
	h.single, h.checked = d&0x20 != 0, d&4 != 0
	h.dictLen = [4]int{0, 1, 2, 4}[d&3]
	h.sizeLen = [4]int{0, 2, 4, 8}[d>>6]
	if h.single {
		h.sizeLen = max(h.sizeLen, 1)
	} else {
		h.windowLen = 1
	}
	if len(b) < h.len() {
		return h, fmt.Errorf("header: truncated: %w", io.ErrUnexpectedEOF)
	}
	b = b[5:]
	if !h.single {
		h.window = zstdWindow(b[0])
		b = b[1:]
	}
	for _, id := range b[:h.dictLen] {
		if id != 0 {
			return h, errors.New("a dictionary is needed")
		}
	}
	b = b[h.dictLen:]
	h.sized = h.sizeLen > 0
	switch h.sizeLen {
	case 1:
		h.size = uint64(b[0])
	case 2:
		h.size = uint64(binary.LittleEndian.Uint16(b)) + 256
	case 4:
		h.size = uint64(binary.LittleEndian.Uint32(b))
	case 8:
		h.size = binary.LittleEndian.Uint64(b)
	}
	if h.single {
		h.window = h.size
	}
	return h, nil
}

// zstdWindow is what a window descriptor says, in bytes.
func zstdWindow(d byte) uint64 {
	base := uint64(1) << (10 + d>>3)
	return base + base/8*uint64(d&7)
}

// allowed says whether a decoder may have the window.
func (h *zstdHeader) allowed(lim Limits) error {
	return lim.checkDict(int64(min(h.window, math.MaxInt64)))
}

// A zstdBlock is the header of a block, three bytes.
type zstdBlock struct {
	last   bool
	stored int    // bytes after the header
	most   uint64 // bytes that it may decode to
}

// block reads the block header that b starts with. Requires len(b) >= 3.
func (h *zstdHeader) block(b []byte) (zstdBlock, error) {
	v := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	z := zstdBlock{last: v&1 != 0, stored: v >> 3, most: uint64(v >> 3)}
	kind := v >> 1 & 3
	limit := min(max(h.window, zstdMinWindow), zstdMaxBlock)
	switch {
	case kind == 3:
		return z, errors.New("reserved block type 3")
	case z.most > limit:
		return z, fmt.Errorf("block of %d bytes, %d are the most with this window", z.stored, limit)
	case kind == 1: // one byte, repeated
		z.stored = 1
	case kind == 2:
		z.most = limit
	}
	return z, nil
}

func zstdFrame(t *tape) error {
	b, err := t.Peek(4)
	if err != nil {
		return t.short("magic", 4, err)
	}
	if skippable(binary.LittleEndian.Uint32(b)) {
		if _, err := t.take("magic", 4); err != nil {
			return err
		}
		return t.skip()
	}
	if b, err = t.Peek(zstdMaxHeader); err != nil && err != io.EOF {
		return err
	}
	h, err := parseZstd(b)
	if err != nil {
		return err
	}
	if err := h.allowed(t.lim); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		len  int
	}{{"magic", 4}, {"descriptor", 1}, {"window", h.windowLen}, {"dictionary id", h.dictLen}, {"content size", h.sizeLen}} {
		if err := t.pass(f.name, int64(f.len)); err != nil {
			return err
		}
	}
	var most uint64
	for last := false; !last; {
		t.nextBlock()
		if b, err = t.take("header", 3); err != nil {
			return fmt.Errorf("block %d: %w", t.block, err)
		}
		z, err := h.block(b)
		if err == nil {
			err = t.pass("data", int64(z.stored))
		}
		if err != nil {
			return fmt.Errorf("block %d: %w", t.block, err)
		}
		most += z.most
		last = z.last
	}
	t.block = -1
	if h.sized && h.size > most {
		return fmt.Errorf("content size is %d, the blocks hold at most %d", h.size, most)
	}
	if h.checked {
		return t.pass("content checksum", 4)
	}
	return nil
}

// decodeZstd decodes frames, of which none may be skippable.
func decodeZstd(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	src := newSource(ctx, r)
	if _, err := src.Peek(1); err != nil {
		return noEOF(err)
	}
	most := uint64(max(lim.dict(), zstdMinWindow))
	z, err := zstd.NewReader(&zstdFrames{src: src, lim: lim},
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(most), zstd.WithDecoderMaxMemory(most))
	if err != nil {
		return err
	}
	defer z.Close()
	if _, err := expand(ctx, lim, w, z, src); err != nil {
		return err
	}
	return src.finished()
}

// zstdFrames hands frames to a decoder and sees to it that they are no other than
// a walk would pass. The decoder takes the memory that a header asks for, so where
// the end of a frame is in sight its header asks for no more than its blocks need.
type zstdFrames struct {
	src  *source
	lim  Limits
	head []byte // to hand out before what src has
	left int    // of src to hand out before anything is looked at
	h    zstdHeader
	in   bool // a frame
	last bool // its last block was handed out
}

func (z *zstdFrames) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if len(z.head) > 0 {
			n := copy(p, z.head)
			z.head = z.head[n:]
			return n, nil
		}
		if z.left > 0 {
			n, err := z.src.Read(p[:min(len(p), z.left)])
			z.left -= n
			return n, noEOF(err)
		}
		if err := z.next(); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// next looks at what comes: a header, a block or a checksum.
func (z *zstdFrames) next() error {
	switch {
	case !z.in:
		b, err := z.src.Peek(bufferSize)
		if len(b) == 0 || err != nil && err != io.EOF {
			return err
		}
		if z.h, err = parseZstd(b); err != nil {
			return err
		}
		if err := z.h.allowed(z.lim); err != nil {
			return err
		}
		n := z.h.len()
		if z.head, err = z.h.modest(b[:n], b[n:]); err != nil {
			return err
		}
		z.in, z.last = true, false
		_, err = z.src.Discard(n)
		return err
	case z.last:
		z.in = false
		if z.h.checked {
			z.left = 4
		}
		return nil
	}
	b, err := z.src.Peek(3)
	if err != nil {
		return noEOF(err)
	}
	block, err := z.h.block(b)
	if err != nil {
		return err
	}
	z.left, z.last = 3+block.stored, block.last
	return nil
}

// modest returns a copy of the header head that asks for no larger window than the
// blocks at the start of b can fill, if the last one is among them.
func (h *zstdHeader) modest(head, b []byte) ([]byte, error) {
	head = append([]byte(nil), head...)
	var most uint64
	for last := false; !last; {
		if len(b) < 3 {
			return head, nil
		}
		z, err := h.block(b)
		if err != nil {
			return nil, err
		}
		if 3+z.stored > len(b) {
			return head, nil
		}
		b = b[3+z.stored:]
		most += z.most
		last = z.last
	}
	if h.sized && h.size > most {
		return nil, fmt.Errorf("content size is %d, the blocks hold at most %d", h.size, most)
	}
	if !h.single {
		for d := byte(0); d < head[5]; d++ {
			// Not so small that a block becomes too large for it.
			if n := zstdWindow(d); n >= most && n >= min(h.window, zstdMaxBlock) {
				head[5] = d
				break
			}
		}
	}
	return head, nil
}
