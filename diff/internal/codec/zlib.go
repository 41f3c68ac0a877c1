package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
)

// Zlib describes one zlib stream, RFC 1950.
//
// Fields, in order: method, flags, data, adler32.
type Zlib struct {
	Fields  []Field
	Extent  int64
	Data    Range   // the DEFLATE stream
	Decoded int64   // bytes it decodes to
	Deflate Deflate // of Data; offsets count from the start of Data
}

const (
	zlibHeader  = 2 // bytes
	zlibTrailer = 4
)

// checkZlib says whether b starts with a header. Requires len(b) >= zlibHeader.
func checkZlib(b []byte) error {
	switch {
	case b[0]&0xf != 8 || b[0]>>4 > 7:
		return fmt.Errorf("method %02x at 0x0 is not deflate with a window of at most 32 KiB", b[0])
	case binary.BigEndian.Uint16(b)%31 != 0:
		return fmt.Errorf("header check: %02x%02x is no multiple of 31", b[0], b[1])
	case b[1]&0x20 != 0:
		return errors.New("a dictionary is needed")
	}
	return nil
}

// LooksLikeZlib reports whether b could start a zlib stream: its header holds, and
// so does that of the first DEFLATE block. One in a few thousand others does too.
func LooksLikeZlib(b []byte) bool {
	if len(b) < zlibHeader+5 || checkZlib(b) != nil {
		return false
	}
	b = b[zlibHeader:]
	switch b[0] >> 1 & 3 {
	case 0:
		return b[1]^b[3] == 0xff && b[2]^b[4] == 0xff
	case 1:
		return true
	case 2: // literal and distance codes
		return b[0]>>3 <= maxLits-257 && b[1]&0x1f < maxDist
	}
	return false
}

// WalkZlib finds the zlib stream at the start of r, which holds size bytes, and
// verifies its checksum. Streams that need a dictionary are refused.
//
// Errors: a LimitError; an error saying where the stream is unsound.
func WalkZlib(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Zlib, error) {
	z, err := walkZlib(ctx, r, size, lim)
	if err != nil {
		return Zlib{}, fmt.Errorf("zlib: %w", err)
	}
	return z, nil
}

func walkZlib(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Zlib, error) {
	var z Zlib
	c := newCursor(ctx, r, size)
	b, err := c.next(zlibHeader)
	if err != nil {
		return z, fmt.Errorf("header: %w", err)
	}
	if err := checkZlib(b); err != nil {
		return z, err
	}
	z.Deflate, err = WalkDeflate(ctx, io.NewSectionReader(r, c.off, size-c.off), size-c.off, lim)
	if err != nil {
		return z, fmt.Errorf("data at 0x%x: %w", c.off, err)
	}
	z.Data = Range{zlibHeader, z.Deflate.Extent}
	z.Extent = z.Data.End() + zlibTrailer
	if z.Extent > size {
		return z, fmt.Errorf("adler32 at 0x%x: truncated: %w", z.Data.End(), io.ErrUnexpectedEOF)
	}
	n := new(counter)
	if err := decodeZlib(ctx, lim, n, io.NewSectionReader(r, 0, z.Extent)); err != nil {
		return z, err
	}
	if z.Decoded = int64(*n); z.Decoded != z.Deflate.Decoded {
		return z, fmt.Errorf("data at 0x%x decode to %d bytes, their symbols count %d", z.Data.Off, z.Decoded, z.Deflate.Decoded)
	}
	z.Fields = []Field{
		{"method", -1, -1, Range{0, 1}},
		{"flags", -1, -1, Range{1, 1}},
		{"data", -1, -1, z.Data},
		{"adler32", -1, -1, Range{z.Data.End(), zlibTrailer}},
	}
	return z, nil
}

func decodeZlib(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	src := newSource(ctx, r)
	var head [zlibHeader]byte
	if _, err := io.ReadFull(src, head[:]); err != nil {
		return fmt.Errorf("header: %w", noEOF(err))
	}
	if err := checkZlib(head[:]); err != nil {
		return err
	}
	sum := adler32.New()
	if err := inflate(ctx, lim, io.MultiWriter(sum, w), src); err != nil {
		return err
	}
	var tail [zlibTrailer]byte
	if _, err := io.ReadFull(src, tail[:]); err != nil {
		return fmt.Errorf("adler32: %w", noEOF(err))
	}
	if got := binary.BigEndian.Uint32(tail[:]); got != sum.Sum32() {
		return fmt.Errorf("adler32 is %08x, the data have %08x", got, sum.Sum32())
	}
	return src.finished()
}
