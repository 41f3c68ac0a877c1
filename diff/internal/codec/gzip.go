package codec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Gzip describes one gzip member, RFC 1952.
//
// Fields, in order: magic, method, flags, mtime, xfl, os; if flagged: extra
// length, extra, name, comment (both with their zero byte), header crc; then
// data, crc32, isize.
type Gzip struct {
	Fields  []Field
	Extent  int64  // bytes of the member
	Header  int64  // bytes before the DEFLATE stream
	Data    Range  // the DEFLATE stream
	Trailer Range  // CRC-32 and length
	Flags   byte   // FLG
	MTime   uint32 // seconds since 1970
	XFL, OS byte
	CRC32   uint32  // of what Data decodes to, verified
	Decoded int64   // bytes that Data decodes to; its low 32 bits are verified
	Deflate Deflate // of Data; offsets count from the start of Data
}

// Flags of a gzip member. The rest are reserved.
const (
	gzipHCRC    = 1 << 1
	gzipExtra   = 1 << 2
	gzipName    = 1 << 3
	gzipComment = 1 << 4
)

// gzipText is how long a name or comment may be, its zero byte included: a
// search for the end of one must not read a whole image.
const gzipText = 64 << 10

// WalkGzip finds the gzip member at the start of r, which holds size bytes, and
// verifies its checksums and length. Members that follow are the caller's.
//
// Errors: a LimitError; an error saying where the member is unsound.
func WalkGzip(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Gzip, error) {
	g, err := walkGzip(ctx, r, size, lim)
	if err != nil {
		return Gzip{}, fmt.Errorf("gzip: %w", err)
	}
	return g, nil
}

func walkGzip(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Gzip, error) {
	var g Gzip
	c := newCursor(ctx, r, size)
	if err := g.header(c); err != nil {
		return g, err
	}
	g.Header = c.off

	var err error
	g.Deflate, err = WalkDeflate(ctx, io.NewSectionReader(r, c.off, size-c.off), size-c.off, lim)
	if err != nil {
		return g, fmt.Errorf("data at 0x%x: %w", c.off, err)
	}
	g.Data = Range{g.Header, g.Deflate.Extent}
	g.field("data", g.Header, g.Data.End())

	// The walk has found the end, decoding must find it at the same place.
	sum := crc32.NewIEEE()
	n := new(counter)
	err = decodeDeflate(ctx, lim, io.MultiWriter(sum, n), io.NewSectionReader(r, g.Data.Off, g.Data.Len))
	if err != nil {
		return g, fmt.Errorf("data at 0x%x: %w", g.Data.Off, err)
	}
	g.Decoded = int64(*n)
	if g.Decoded != g.Deflate.Decoded {
		return g, fmt.Errorf("data at 0x%x decode to %d bytes, their symbols count %d", g.Data.Off, g.Decoded, g.Deflate.Decoded)
	}

	c.off = g.Data.End()
	b, err := c.next(8)
	if err != nil {
		return g, fmt.Errorf("trailer: %w", err)
	}
	g.Trailer = Range{g.Data.End(), 8}
	g.field("crc32", c.off-8, c.off-4)
	g.field("isize", c.off-4, c.off)
	g.Extent = c.off
	g.CRC32 = binary.LittleEndian.Uint32(b)
	if g.CRC32 != sum.Sum32() {
		return g, fmt.Errorf("crc32 at 0x%x is %08x, the data have %08x", c.off-8, g.CRC32, sum.Sum32())
	}
	if isize := binary.LittleEndian.Uint32(b[4:]); isize != uint32(g.Decoded) {
		return g, fmt.Errorf("length at 0x%x is %d, of the data's %d it should be %d", c.off-4, isize, g.Decoded, uint32(g.Decoded))
	}
	return g, nil
}

// header reads the fields up to the data.
func (g *Gzip) header(c *cursor) error {
	sum := crc32.NewIEEE()
	b, err := c.next(10)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	sum.Write(b)
	if b[0] != 0x1f || b[1] != 0x8b {
		return errors.New("no magic 1f 8b at 0x0")
	}
	if b[2] != 8 {
		return fmt.Errorf("method %d at 0x2 is not 8, deflate", b[2])
	}
	if b[3]&0xe0 != 0 {
		return fmt.Errorf("reserved flags set at 0x3: %02x", b[3])
	}
	g.Flags = b[3]
	g.MTime = binary.LittleEndian.Uint32(b[4:])
	g.XFL, g.OS = b[8], b[9]
	g.field("magic", 0, 2)
	g.field("method", 2, 3)
	g.field("flags", 3, 4)
	g.field("mtime", 4, 8)
	g.field("xfl", 8, 9)
	g.field("os", 9, 10)

	if g.Flags&gzipExtra != 0 {
		b, err := c.next(2)
		if err != nil {
			return fmt.Errorf("extra length: %w", err)
		}
		sum.Write(b)
		g.field("extra length", c.off-2, c.off)
		start, n := c.off, int(binary.LittleEndian.Uint16(b))
		for left := n; left > 0; {
			b, err := c.next(min(left, len(c.buf)))
			if err != nil {
				return fmt.Errorf("extra: %w", err)
			}
			sum.Write(b)
			left -= len(b)
		}
		if n > 0 {
			g.field("extra", start, c.off)
		}
	}
	for _, text := range []struct {
		flag byte
		name string
	}{{gzipName, "name"}, {gzipComment, "comment"}} {
		if g.Flags&text.flag == 0 {
			continue
		}
		start := c.off
		for ended := false; !ended; {
			if c.off-start >= gzipText {
				return fmt.Errorf("%s at 0x%x is longer than %d bytes", text.name, start, gzipText)
			}
			b, err := c.byte()
			if err != nil {
				return fmt.Errorf("%s: %w", text.name, err)
			}
			sum.Write([]byte{b})
			ended = b == 0
		}
		g.field(text.name, start, c.off)
	}
	if g.Flags&gzipHCRC != 0 {
		b, err := c.next(2)
		if err != nil {
			return fmt.Errorf("header crc: %w", err)
		}
		g.field("header crc", c.off-2, c.off)
		if !bytes.Equal(b, binary.LittleEndian.AppendUint32(nil, sum.Sum32())[:2]) {
			return fmt.Errorf("header crc at 0x%x is %x, the header has %04x", c.off-2, b, sum.Sum32()&0xffff)
		}
	}
	return nil
}

func (g *Gzip) field(name string, from, to int64) {
	g.Fields = append(g.Fields, Field{name, -1, -1, Range{from, to - from}})
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
