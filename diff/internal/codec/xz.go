package codec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// MaxParts is how many streams and blocks a walk over .xz data lists. One that
// finds more ends in a LimitError, "parts".
const MaxParts = 1 << 14

// XZ describes .xz streams that follow each other, as "The .xz File Format"
// 1.2.1 has them.
//
// Fields of a stream, in order: header magic, header flags, header crc32; for
// each block: header size, header flags, if flagged compressed size and
// uncompressed size, filters, header padding if any, header crc32, data, padding
// if any, check if any; then index indicator, index count, index records if any,
// index padding if any, index crc32, footer crc32, footer backward size, footer
// flags, footer magic; and, if another stream follows, stream padding if any.
type XZ struct {
	Fields  []Field
	Extent  int64 // bytes of the streams, and of the padding between them
	Decoded int64 // bytes they decode to, as every length in them agrees; Decode proves it
	Streams []XZStream
	Rest    error // why bytes after Extent that start like a stream are none; nil if none do
}

// XZStream is one .xz stream.
type XZStream struct {
	Range
	Check  byte // kind of check: 0 none, 1 CRC32, 4 CRC64, 10 SHA-256
	Blocks []XZBlock
}

// XZBlock is one block of a .xz stream.
type XZBlock struct {
	Range             // header, data, padding and check
	Data     Range    // LZMA2 chunks with their end marker
	Filters  []uint64 // filter IDs, the last one LZMA2
	Dict     int64    // dictionary size, in bytes
	Unpadded int64    // what the index records: all but the padding
	Decoded  int64    // bytes that the block decodes to
}

const (
	xzMagic     = "\xfd7zXZ\x00"
	xzEnd       = "YZ"
	xzHeadLen   = 12
	filterLZMA2 = 0x21
)

// xzCheckLen is the length of the check by its kind, section 2.1.1.2.
var xzCheckLen = [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

// WalkXZ finds the .xz streams at the start of r, which holds size bytes. It
// follows the LZMA2 chunks without decoding them, verifies every CRC32, and that
// the index, the blocks and the footer agree. Zeros after the last stream are
// not part of the extent; more data that start with a stream's magic but are
// not one end it too, which Rest reports.
//
// Errors: a LimitError; an error saying where the first stream is unsound.
func WalkXZ(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (XZ, error) {
	x, err := walkXZ(newCursor(ctx, r, size), lim)
	if err != nil {
		return XZ{}, fmt.Errorf("xz: %w", err)
	}
	return x, nil
}

func walkXZ(c *cursor, lim Limits) (XZ, error) {
	var x XZ
	for {
		w := xzWalk{c: c, lim: lim, stream: len(x.Streams), parts: x.parts(), decoded: x.Decoded, start: c.off}
		err := w.walk()
		if err != nil {
			err = fmt.Errorf("stream %d at 0x%x: %w", w.stream, w.start, err)
			var limit *LimitError
			if w.stream == 0 || errors.As(err, &limit) || c.ctx.Err() != nil {
				return x, err
			}
			x.Rest = err
			return x, nil
		}
		if pad := (Range{x.Extent, w.start - x.Extent}); pad.Len > 0 {
			x.Fields = append(x.Fields, Field{"stream padding", w.stream - 1, -1, pad})
		}
		x.Fields = append(x.Fields, w.fields...)
		x.Streams = append(x.Streams, XZStream{Range{w.start, c.off - w.start}, w.check, w.blocks})
		x.Extent = c.off
		x.Decoded = w.decoded

		more, err := nextXZ(c)
		if err != nil {
			return x, err
		}
		if !more {
			return x, nil
		}
	}
}

func (x *XZ) parts() int {
	n := len(x.Streams)
	for _, s := range x.Streams {
		n += len(s.Blocks)
	}
	return n
}

// nextXZ passes padding and reports whether the magic of a stream follows.
func nextXZ(c *cursor) (bool, error) {
	for zeros := true; zeros && c.off < c.size; {
		b, err := c.next(int(min(int64(len(c.buf)), c.size-c.off)))
		if err != nil {
			return false, err
		}
		if n := len(b) - len(bytes.TrimLeft(b, "\x00")); n < len(b) {
			c.off -= int64(len(b) - n&^3)
			zeros = false
		}
	}
	if c.size-c.off < int64(len(xzMagic)) {
		return false, nil
	}
	b, err := c.next(len(xzMagic))
	if err != nil {
		return false, err
	}
	c.off -= int64(len(b))
	return string(b) == xzMagic, nil
}

// readVLI reads a variable-length integer, section 1.2.
func readVLI(next func() (byte, error)) (uint64, error) {
	var v uint64
	for shift := 0; shift < 63; shift += 7 {
		b, err := next()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if b == 0 && shift > 0 {
				break
			}
			return v, nil
		}
	}
	return 0, errors.New("an integer is not in its shortest form of at most 9 bytes")
}

// An xzWalk walks one stream.
type xzWalk struct {
	c       *cursor
	lim     Limits
	stream  int   // number of the stream
	parts   int   // streams and blocks before this stream
	decoded int64 // bytes that everything so far decodes to
	start   int64
	fields  []Field
	block   int // number of the block, -1 outside of one
	check   byte
	blocks  []XZBlock
}

// field records what lies between from and the cursor, unless that is nothing.
func (w *xzWalk) field(name string, from int64) {
	if w.c.off > from {
		w.fields = append(w.fields, Field{name, w.stream, w.block, Range{from, w.c.off - from}})
	}
}

// take passes n bytes as a field and returns them.
func (w *xzWalk) take(name string, n int) ([]byte, error) {
	from := w.c.off
	b, err := w.c.next(n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	w.field(name, from)
	return b, nil
}

// part counts a stream or block.
func (w *xzWalk) part() error {
	if w.parts++; w.parts > MaxParts {
		return &LimitError{Limit: "parts", Detail: fmt.Sprintf("more than %d streams and blocks", MaxParts)}
	}
	return nil
}

func (w *xzWalk) walk() error {
	w.block = -1
	if err := w.part(); err != nil {
		return err
	}
	b, err := w.take("header magic", len(xzMagic))
	if err != nil {
		return err
	}
	if string(b) != xzMagic {
		return fmt.Errorf("no magic at 0x%x", w.start)
	}
	flags := w.c.off
	if b, err = w.take("header flags", 2); err != nil {
		return err
	}
	sum := crc32.ChecksumIEEE(b)
	if b[0] != 0 || b[1] > 15 {
		return fmt.Errorf("flags %x at 0x%x are reserved", b, flags)
	}
	w.check = b[1]
	if err := w.crc("header crc32", sum); err != nil {
		return err
	}

	for {
		b, err := w.c.byte()
		if err != nil {
			return err
		}
		w.c.off--
		if b == 0 {
			break
		}
		if err := w.part(); err != nil {
			return err
		}
		w.block = len(w.blocks)
		at := w.c.off
		block, err := w.walkBlock()
		if err != nil {
			return fmt.Errorf("block %d at 0x%x: %w", w.block, at, err)
		}
		w.blocks = append(w.blocks, block)
		w.block = -1
	}
	at := w.c.off
	if err := w.index(); err != nil {
		return fmt.Errorf("index at 0x%x: %w", at, err)
	}
	return w.footer(w.c.off - at)
}

// crc passes a CRC32, which must be sum.
func (w *xzWalk) crc(name string, sum uint32) error {
	b, err := w.take(name, 4)
	if err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint32(b); got != sum {
		return fmt.Errorf("%s at 0x%x is %08x, the bytes have %08x", name, w.c.off-4, got, sum)
	}
	return nil
}

// zeros passes padding up to a multiple of 4 from start.
func (w *xzWalk) zeros(name string, start int64) error {
	from := w.c.off
	b, err := w.take(name, int(-(from-start)&3))
	if err != nil {
		return err
	}
	if err := allZero(bytes.NewReader(b)); err != nil {
		return fmt.Errorf("%s at 0x%x: %w", name, from, err)
	}
	return nil
}

// allZero reads r to its end, all of which must be zero.
func allZero(r *bytes.Reader) error {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil
		}
		if b != 0 {
			return fmt.Errorf("padding holds 0x%02x, not 0", b)
		}
	}
}

func (w *xzWalk) walkBlock() (XZBlock, error) {
	start := w.c.off
	var b XZBlock
	compressed, uncompressed, err := w.blockHeader(&b)
	if err != nil {
		return b, err
	}
	b.Data.Off = w.c.off
	if b.Decoded, err = w.chunks(); err != nil {
		return b, err
	}
	w.field("data", b.Data.Off)
	b.Data.Len = w.c.off - b.Data.Off
	if compressed >= 0 && compressed != b.Data.Len {
		return b, fmt.Errorf("compressed size of the header is %d, the data have %d bytes", compressed, b.Data.Len)
	}
	if uncompressed >= 0 && uncompressed != b.Decoded {
		return b, fmt.Errorf("uncompressed size of the header is %d, the data decode to %d", uncompressed, b.Decoded)
	}
	b.Unpadded = w.c.off - start + xzCheckLen[w.check]
	if err := w.zeros("padding", start); err != nil {
		return b, err
	}
	if _, err := w.take("check", int(xzCheckLen[w.check])); err != nil {
		return b, err
	}
	b.Range = Range{start, w.c.off - start}
	return b, nil
}

// blockHeader reads the header of a block, section 3.1, into b and returns the
// sizes it states, -1 where it does not.
func (w *xzWalk) blockHeader(b *XZBlock) (compressed, uncompressed int64, err error) {
	start := w.c.off
	first, err := w.c.byte()
	if err != nil {
		return 0, 0, err
	}
	w.c.off = start
	whole, err := w.c.next(4 * (int(first) + 1))
	if err != nil {
		return 0, 0, fmt.Errorf("header: %w", err)
	}
	head := bytes.Clone(whole[:len(whole)-4])
	flags := head[1]
	if flags&0x3c != 0 {
		return 0, 0, fmt.Errorf("reserved flags set at 0x%x: %02x", start+1, flags)
	}
	h := bytes.NewReader(head)
	skip := func() error {
		_, err := h.ReadByte()
		return err
	}
	size := func(n *int64, flag byte) func() error {
		return func() error {
			*n = -1
			if flags&flag == 0 {
				return nil
			}
			v, err := readVLI(h.ReadByte)
			*n = int64(v)
			return err
		}
	}
	for _, f := range []struct {
		name string
		pass func() error
	}{
		{"header size", skip},
		{"header flags", skip},
		{"compressed size", size(&compressed, 0x40)},
		{"uncompressed size", size(&uncompressed, 0x80)},
		{"filters", func() error { return b.filters(h, int(flags&3)+1) }},
		{"header padding", func() error { return allZero(h) }},
	} {
		from := start + h.Size() - int64(h.Len())
		if err := f.pass(); err != nil {
			return 0, 0, fmt.Errorf("%s at 0x%x: %w", f.name, from, noEOF(err))
		}
		w.c.off = start + h.Size() - int64(h.Len())
		w.field(f.name, from)
	}
	if err := w.crc("header crc32", crc32.ChecksumIEEE(head)); err != nil {
		return 0, 0, err
	}
	return compressed, uncompressed, w.lim.checkDict(b.Dict)
}

// filters reads n filter flags, section 3.1.5. The last filter must be LZMA2.
func (b *XZBlock) filters(h *bytes.Reader, n int) error {
	for i := range n {
		id, err := readVLI(h.ReadByte)
		if err != nil {
			return err
		}
		length, err := readVLI(h.ReadByte)
		if err != nil {
			return err
		}
		if length > uint64(h.Len()) {
			return io.ErrUnexpectedEOF
		}
		props := make([]byte, length)
		if _, err := io.ReadFull(h, props); err != nil {
			return err
		}
		b.Filters = append(b.Filters, id)
		last := i == n-1
		switch {
		case last != (id == filterLZMA2):
			return errors.New("LZMA2 is not the last, and only the last")
		case !last:
		case len(props) != 1 || props[0] > 40:
			return fmt.Errorf("LZMA2 properties %x", props)
		case props[0] == 40:
			b.Dict = 1<<32 - 1
		default:
			b.Dict = int64(2+props[0]&1) << (props[0]/2 + 11)
		}
	}
	return nil
}

// chunks passes LZMA2 chunks up to their end marker and returns how many bytes
// they decode to. See "LZMA2" in xz's lzma2_decoder.c and the kernel's
// Documentation/staging/xz.rst: the control byte and sizes of each chunk.
func (w *xzWalk) chunks() (decoded int64, err error) {
	needDict, needProps := true, true
	for {
		at := w.c.off
		control, err := w.c.byte()
		if err != nil {
			return 0, err
		}
		if control == 0 {
			return decoded, nil
		}
		if control >= 0xe0 || control == 1 {
			needDict, needProps = false, true
		} else if needDict {
			return 0, fmt.Errorf("chunk at 0x%x: the first chunk does not reset the dictionary", at)
		}
		var out, in int64
		switch {
		case control >= 0x80:
			b, err := w.c.next(4)
			if err != nil {
				return 0, err
			}
			out = int64(control&0x1f)<<16 + int64(binary.BigEndian.Uint16(b)) + 1
			in = int64(binary.BigEndian.Uint16(b[2:])) + 1
			if control >= 0xc0 {
				p, err := w.c.byte()
				if err != nil {
					return 0, err
				}
				if p >= 9*5*5 || p%9+p/9%5 > 4 {
					return 0, fmt.Errorf("chunk at 0x%x: properties 0x%02x", at, p)
				}
				needProps = false
			} else if needProps {
				return 0, fmt.Errorf("chunk at 0x%x: has no properties", at)
			}
			if in < rangeCoderInit {
				return 0, fmt.Errorf("chunk at 0x%x: %d bytes are too few", at, in)
			}
			// Encoders start with a zero that decoders do not look at.
			zero, err := w.c.byte()
			if err != nil {
				return 0, err
			}
			if zero != 0 {
				return 0, fmt.Errorf("chunk at 0x%x: its data start with 0x%02x, not 0", at, zero)
			}
			w.c.off--
		case control <= 2:
			b, err := w.c.next(2)
			if err != nil {
				return 0, err
			}
			in = int64(binary.BigEndian.Uint16(b)) + 1
			out = in
		default:
			return 0, fmt.Errorf("chunk at 0x%x: control byte 0x%02x", at, control)
		}
		if err := w.c.skip(in); err != nil {
			return 0, fmt.Errorf("chunk at 0x%x: %w", at, err)
		}
		decoded += out
		w.decoded += out
		if err := w.lim.checkOutput(w.decoded, w.c.off); err != nil {
			return 0, err
		}
	}
}

// index passes the index, section 4, which must list the blocks walked.
func (w *xzWalk) index() error {
	start := w.c.off
	h := crc32.NewIEEE()
	b, err := w.take("index indicator", 1)
	if err != nil {
		return err
	}
	h.Write(b)
	count, err := w.vli(h)
	if err != nil {
		return err
	}
	w.field("index count", start+1)
	if count != uint64(len(w.blocks)) {
		return fmt.Errorf("lists %d blocks, the stream has %d", count, len(w.blocks))
	}
	records := w.c.off
	for i, b := range w.blocks {
		unpadded, err := w.vli(h)
		if err != nil {
			return err
		}
		uncompressed, err := w.vli(h)
		if err != nil {
			return err
		}
		if unpadded != uint64(b.Unpadded) || uncompressed != uint64(b.Decoded) {
			return fmt.Errorf("record %d: sizes %d and %d, the block has %d and %d", i, unpadded, uncompressed, b.Unpadded, b.Decoded)
		}
	}
	w.field("index records", records)
	padding := w.c.off
	if err := w.zeros("index padding", start); err != nil {
		return err
	}
	h.Write(make([]byte, w.c.off-padding))
	return w.crc("index crc32", h.Sum32())
}

// vli passes a variable-length integer and adds it to the hash.
func (w *xzWalk) vli(h hash.Hash) (uint64, error) {
	return readVLI(func() (byte, error) {
		b, err := w.c.byte()
		h.Write([]byte{b})
		return b, err
	})
}

// footer passes the stream footer, section 2.1.2.
func (w *xzWalk) footer(index int64) error {
	start := w.c.off
	b, err := w.c.next(xzHeadLen)
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	for _, f := range []struct {
		name string
		len  int64
	}{{"footer crc32", 4}, {"footer backward size", 4}, {"footer flags", 2}, {"footer magic", 2}} {
		w.fields = append(w.fields, Field{f.name, w.stream, -1, Range{start, f.len}})
		start += f.len
	}
	switch sum := crc32.ChecksumIEEE(b[4:10]); {
	case string(b[10:]) != xzEnd:
		return fmt.Errorf("footer at 0x%x: no magic", start-xzHeadLen)
	case binary.LittleEndian.Uint32(b) != sum:
		return fmt.Errorf("footer at 0x%x: crc32 is %08x, the bytes have %08x", start-xzHeadLen, b[:4], sum)
	case 4*(int64(binary.LittleEndian.Uint32(b[4:]))+1) != index:
		return fmt.Errorf("footer at 0x%x: backward size does not fit the index of %d bytes", start-xzHeadLen, index)
	case b[8] != 0 || b[9] != w.check:
		return fmt.Errorf("footer at 0x%x: flags differ from those of the header", start-xzHeadLen)
	}
	return nil
}
