package codec

import (
	"context"
	"fmt"
	"io"
)

// A cursor reads short runs of bytes in order and leaps over long ones.
type cursor struct {
	ctx    context.Context
	r      io.ReaderAt
	size   int64
	off    int64 // of the next byte
	buf    [4096]byte
	lo, hi int64 // extent of what buf holds
}

func newCursor(ctx context.Context, r io.ReaderAt, size int64) *cursor {
	return &cursor{ctx: ctx, r: r, size: size}
}

// next returns the next n bytes, valid until the next call, and passes them.
// Requires 0 <= n <= len(buf).
func (c *cursor) next(n int) ([]byte, error) {
	if int64(n) > c.size-c.off {
		return nil, fmt.Errorf("truncated: 0x%x bytes are needed at 0x%x, 0x%x are left: %w", n, c.off, c.size-c.off, io.ErrUnexpectedEOF)
	}
	if c.off < c.lo || c.off+int64(n) > c.hi {
		if err := alive(c.ctx); err != nil {
			return nil, err
		}
		want := min(int64(len(c.buf)), c.size-c.off)
		got, err := c.r.ReadAt(c.buf[:want], c.off)
		if int64(got) < want {
			return nil, fmt.Errorf("reading 0x%x bytes at 0x%x: %w", want, c.off, noEOF(err))
		}
		c.lo, c.hi = c.off, c.off+want
	}
	b := c.buf[c.off-c.lo:][:n]
	c.off += int64(n)
	return b, nil
}

// byte returns the next byte and passes it.
func (c *cursor) byte() (byte, error) {
	b, err := c.next(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// skip passes n bytes, which must be there.
func (c *cursor) skip(n int64) error {
	if n > c.size-c.off {
		return fmt.Errorf("truncated: 0x%x bytes are needed at 0x%x, 0x%x are left: %w", n, c.off, c.size-c.off, io.ErrUnexpectedEOF)
	}
	c.off += n
	return nil
}
