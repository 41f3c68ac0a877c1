package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	lz4Magic       = 0x184d2204
	lz4LegacyMagic = 0x184c2102
	lz4LegacyBlock = 8 << 20 // bytes that all blocks but the last of a legacy frame decode to
)

// lz4MostStored is the most that n bytes compress to.
func lz4MostStored(n int64) int64 { return n + n/255 + 16 }

// Flags of an LZ4 frame.
const (
	lz4DictID          = 1 << 0
	lz4Reserved        = 1 << 1
	lz4ContentChecksum = 1 << 2
	lz4ContentSize     = 1 << 3
	lz4BlockChecksum   = 1 << 4
	lz4Independent     = 1 << 5
)

// WalkLZ4 finds the LZ4 frames at the start of r, which holds size bytes: those of
// the LZ4 Frame Format 1.6.3, legacy and skippable frames. It decodes them and
// verifies every size and checksum. A legacy frame does not say where it ends: it
// does after a block that decodes to less than 8 MiB, and before what is no block.
// The four bytes of a size that Linux puts behind its images are not part of it.
//
// Fields of a frame, in order: magic, flags, block size, if flagged content size,
// header checksum; for each block: size, data, if flagged checksum; then end mark,
// if flagged content checksum. Of a legacy frame: magic; for each block: size, data.
// Of a skippable frame: magic, length, data if any.
//
// Frames that need a dictionary are refused. Errors: a LimitError; an error saying
// where the first frame is unsound.
func WalkLZ4(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
	f, err := walkFrames(ctx, r, size, lim, lz4Frame, 4, func(b []byte) bool {
		return len(b) == 4 && isLZ4(binary.LittleEndian.Uint32(b))
	})
	if err != nil {
		return Frames{}, fmt.Errorf("lz4: %w", err)
	}
	return f, nil
}

func isLZ4(magic uint32) bool {
	return magic == lz4Magic || magic == lz4LegacyMagic || skippable(magic)
}

func lz4Frame(t *tape) error {
	magic, err := t.u32le("magic")
	switch {
	case err != nil:
		return err
	case magic == lz4Magic:
		return lz4Modern(t)
	case magic == lz4LegacyMagic:
		return lz4Legacy(t)
	case skippable(magic):
		return t.skip()
	}
	return fmt.Errorf("magic %08x is that of no LZ4 frame", magic)
}

// An lz4Header is the header of a frame, without its magic.
type lz4Header struct {
	flags byte
	block int64  // bytes that a block may decode to
	size  uint64 // content size, if flagged
}

func lz4ReadHeader(t *tape) (h lz4Header, err error) {
	sum := newXXH32()
	b, err := t.take("flags", 1)
	if err != nil {
		return h, err
	}
	h.flags = b[0]
	sum.Write(b)
	if b, err = t.take("block size", 1); err != nil {
		return h, err
	}
	sum.Write(b)
	switch {
	case h.flags>>6 != 1:
		return h, fmt.Errorf("version %d is not 1", h.flags>>6)
	case h.flags&lz4Reserved != 0 || b[0]&0x8f != 0:
		return h, fmt.Errorf("reserved bits set in %02x or %02x", h.flags, b[0])
	case h.flags&lz4DictID != 0:
		return h, errors.New("a dictionary is needed")
	case b[0]>>4 < 4:
		return h, fmt.Errorf("block size %d is none of 4 to 7", b[0]>>4)
	}
	h.block = 1 << (8 + 2*(b[0]>>4))
	if h.flags&lz4ContentSize != 0 {
		if b, err = t.take("content size", 8); err != nil {
			return h, err
		}
		sum.Write(b)
		h.size = binary.LittleEndian.Uint64(b)
	}
	if b, err = t.take("header checksum", 1); err != nil {
		return h, err
	}
	if want := byte(sum.Sum32() >> 8); b[0] != want {
		return h, fmt.Errorf("header checksum is %02x, the header has %02x", b[0], want)
	}
	return h, nil
}

func lz4Modern(t *tape) error {
	h, err := lz4ReadHeader(t)
	if err != nil {
		return err
	}
	t.sum = nil
	if h.flags&lz4ContentChecksum != 0 {
		t.sum = newXXH32()
	}
	start, w := t.out, newWindow(t)
	for {
		b, err := t.Peek(4)
		if err != nil {
			return t.short("size", 4, err)
		}
		if binary.LittleEndian.Uint32(b) == 0 {
			break
		}
		t.nextBlock()
		if err := lz4FrameBlock(t, w, h); err != nil {
			return fmt.Errorf("block %d: %w", t.block, err)
		}
	}
	t.block = -1
	if _, err := t.take("end mark", 4); err != nil {
		return err
	}
	if n := uint64(t.out - start); h.flags&lz4ContentSize != 0 && n != h.size {
		return fmt.Errorf("content size is %d, the blocks decode to %d", h.size, n)
	}
	if h.flags&lz4ContentChecksum == 0 {
		return nil
	}
	sum, err := t.u32le("content checksum")
	if err == nil && sum != binary.BigEndian.Uint32(t.sum.Sum(nil)) {
		err = fmt.Errorf("content checksum is %08x, the content has %x", sum, t.sum.Sum(nil))
	}
	return err
}

// lz4FrameBlock reads a block.
func lz4FrameBlock(t *tape, w *window, h lz4Header) error {
	const stored = 1 << 31
	size, err := t.u32le("size")
	if err != nil {
		return err
	}
	n := int64(size &^ stored)
	if n > h.block || n == 0 {
		return fmt.Errorf("size %d is not in 1 to %d", n, h.block)
	}
	b, err := t.load("data", n)
	if err != nil {
		return err
	}
	w.begin(h.block, h.flags&lz4Independent == 0)
	if size&stored != 0 {
		err = w.write(b)
	} else {
		err = lz4Decode(b, w)
	}
	if err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if h.flags&lz4BlockChecksum == 0 {
		return nil
	}
	has := newXXH32()
	has.Write(b)
	sum, err := t.u32le("checksum")
	if err == nil && sum != has.Sum32() {
		err = fmt.Errorf("checksum is %08x, the data have %08x", sum, has.Sum32())
	}
	return err
}

// lz4Legacy reads a legacy frame after its magic.
func lz4Legacy(t *tape) error {
	t.sum = nil
	w := newWindow(t)
	for full := true; full; {
		b, err := t.Peek(4)
		if err != nil && err != io.EOF {
			return err
		}
		if len(b) < 4 {
			break
		}
		// Too large for a block: what follows the frame.
		n := int64(binary.LittleEndian.Uint32(b))
		if n == 0 || n > lz4MostStored(lz4LegacyBlock) || n > t.left()-4 {
			break
		}
		at, before := t.consumed(), t.out
		t.nextBlock()
		if _, err = t.take("size", 4); err == nil {
			b, err = t.load("data", n)
		}
		if err == nil {
			w.begin(lz4LegacyBlock, false)
			err = lz4Decode(b, w)
		}
		if err == nil {
			err = w.flush()
		}
		if err != nil {
			err = fmt.Errorf("block %d: %w", t.block, err)
			if t.block > 0 {
				err = &earlyEnd{at, before, err}
			}
			return err
		}
		full = t.out-before == lz4LegacyBlock
	}
	if t.block >= 0 {
		return nil
	}
	switch _, err := t.Peek(1); err { // nothing at all is the content of an empty file
	case nil:
		return errors.New("no block follows")
	case io.EOF:
		return nil
	default:
		return err
	}
}

// decodeLZ4Block decodes one block, which ends where the input does.
func decodeLZ4Block(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	return decodeBlock(ctx, lim, w, r, lz4Decode)
}

// maxBlock is how large a block may be that says nothing about its size, in bytes.
const maxBlock = 64 << 20

// decodeBlock decodes all of r at once.
func decodeBlock(ctx context.Context, lim Limits, w io.Writer, r io.Reader, decode func([]byte, *window) error) error {
	t := newTape(ctx, lim, w, r, 0)
	b, err := io.ReadAll(io.LimitReader(t.source, maxBlock+1))
	if err != nil {
		return err
	}
	if len(b) > maxBlock {
		return &LimitError{Limit: "expanded", Detail: fmt.Sprintf("a block of more than %d bytes", maxBlock)}
	}
	win := newWindow(t)
	win.begin(1<<62, false)
	if err := decode(b, win); err != nil {
		return err
	}
	return win.flush()
}

var errLZ4End = fmt.Errorf("truncated: %w", io.ErrUnexpectedEOF)

// lz4Decode decodes a block (LZ4 Block Format): runs of literals and matches,
// which ends with literals, if only none.
func lz4Decode(b []byte, w *window) error {
	for {
		if len(b) == 0 {
			return errLZ4End
		}
		token := int(b[0])
		n, rest, ok := lz4Length(b[1:], token>>4)
		if !ok || n > len(rest) {
			return errLZ4End
		}
		if err := w.write(rest[:n]); err != nil {
			return err
		}
		if b = rest[n:]; len(b) == 0 {
			return nil
		}
		if len(b) < 2 {
			return errLZ4End
		}
		dist := int(binary.LittleEndian.Uint16(b))
		if n, b, ok = lz4Length(b[2:], token&15); !ok {
			return errLZ4End
		}
		if err := w.match(dist, n+4); err != nil {
			return err
		}
	}
}

// lz4Length continues a length of 15.
func lz4Length(b []byte, n int) (int, []byte, bool) {
	if n < 15 {
		return n, b, true
	}
	for i, c := range b {
		n += int(c)
		if n > 1<<30 { // more than any block decodes to
			break
		}
		if c != 255 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}
