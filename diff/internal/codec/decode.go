package codec

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/mikelolasagasti/xz"
	"github.com/ulikunitz/xz/lzma"
)

// bufferSize is how much is read or decoded between two looks at the limits and
// the context, in bytes.
const bufferSize = 32 << 10

// A source counts what a decoder takes and ends when its context does: some
// streams are all input and no output.
type source struct {
	*bufio.Reader
	counted *countedReader
}

type countedReader struct {
	ctx    context.Context
	r      io.Reader
	n      int64
	failed error // of r, but for its end
}

func (c *countedReader) Read(p []byte) (int, error) {
	if err := alive(c.ctx); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != io.EOF {
		c.failed = err
	}
	return n, err
}

func newSource(ctx context.Context, r io.Reader) *source {
	c := &countedReader{ctx: ctx, r: r}
	return &source{bufio.NewReaderSize(c, bufferSize), c}
}

// consumed returns how many bytes were taken. Decoders that read byte by byte
// take no more than they need.
func (s *source) consumed() int64 { return s.counted.n - int64(s.Buffered()) }

// finished returns an error unless all of the input was taken.
func (s *source) finished() error {
	switch _, err := s.Peek(1); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("data after the end of the stream at 0x%x", s.consumed())
	default:
		return err
	}
}

// A decoder is a decompressor from elsewhere. Panics of it are errors: it was
// not written with this adversary in mind.
type decoder struct{ io.Reader }

func (d decoder) Read(p []byte) (n int, err error) {
	defer rescue(&err)
	return d.Reader.Read(p)
}

func rescue(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged data broke the decoder: %v", p)
	}
}

// expand copies r, which decodes src, to w within the limits and returns the
// number of bytes.
func expand(ctx context.Context, lim Limits, w io.Writer, r io.Reader, src *source) (int64, error) {
	d := decoder{r}
	buf := make([]byte, bufferSize)
	var out int64
	for {
		if err := alive(ctx); err != nil {
			return out, err
		}
		n, err := d.Read(buf)
		if n > 0 {
			out += int64(n)
			if err := lim.checkOutput(out, src.consumed()); err != nil {
				return out, err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return out, err
			}
		}
		switch {
		case err == io.EOF:
			return out, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return out, fmt.Errorf("truncated after 0x%x bytes: %w", src.consumed(), err)
		case err != nil:
			return out, err
		}
	}
}

func decodeDeflate(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	src := newSource(ctx, r)
	if err := inflate(ctx, lim, w, src); err != nil {
		return err
	}
	return src.finished()
}

// inflate decodes the DEFLATE stream that src goes on with and consumes it exactly:
// the inflater reads byte by byte.
func inflate(ctx context.Context, lim Limits, w io.Writer, src *source) error {
	_, err := expand(ctx, lim, w, flate.NewReader(src.Reader), src)
	return err
}

// decodeXZ relies on the decoder to fail at anything but streams and padding:
// it reads ahead, so what it leaves cannot be asked for.
func decodeXZ(ctx context.Context, lim Limits, w io.Writer, r io.Reader) (err error) {
	src := newSource(ctx, r)
	x, err := newXZ(src, lim)
	if err != nil {
		return xzLimit(err, lim)
	}
	if _, err := expand(ctx, lim, w, x, src); err != nil {
		return xzLimit(err, lim)
	}
	return src.finished()
}

// newXZ opens an xz decoder, which reads the first header at once.
func newXZ(src *source, lim Limits) (x *xz.Reader, err error) {
	defer rescue(&err)
	return xz.NewReader(src, uint32(min(lim.dict(), 1<<32-1)))
}

func xzLimit(err error, lim Limits) error {
	if errors.Is(err, xz.ErrMemlimit) {
		return &LimitError{Limit: "dict", Detail: fmt.Sprintf("a block asks for a dictionary of more than %d bytes", lim.dict())}
	}
	return err
}

func decodeLZMA(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	src := newSource(ctx, r)
	head, err := src.Peek(lzmaHeader)
	if err != nil {
		return fmt.Errorf("header: %w", noEOF(err))
	}
	h, err := parseLZMA(head)
	if err != nil {
		return err
	}
	if err := lim.checkDict(h.Dict); err != nil {
		return err
	}
	if _, _, err := expandLZMA(ctx, lim, h, h.Dict, w, src); err != nil {
		return err
	}
	return src.finished()
}

// expandLZMA decodes the .lzma file with header h at the start of src with a
// dictionary of at most dict bytes. It consumes src up to the end of the file
// exactly. It returns the decoded length and whether an end marker was read.
func expandLZMA(ctx context.Context, lim Limits, h LZMA, dict int64, w io.Writer, src *source) (n int64, marker bool, err error) {
	if h.Size == 0 {
		// The decoder insists on an end marker here, encoders leave it out.
		b, err := src.Peek(lzmaHeader + rangeCoderInit)
		if err == nil && [rangeCoderInit]byte(b[lzmaHeader:]) == [rangeCoderInit]byte{} {
			_, err := src.Discard(len(b))
			return 0, false, err
		}
	}
	head, err := src.Peek(lzmaHeader)
	if err != nil {
		return 0, false, noEOF(err)
	}
	head = bytes.Clone(head)
	if _, err := src.Discard(lzmaHeader); err != nil {
		return 0, false, err
	}
	return expandRaw(ctx, lim, head, min(dict, h.Dict), w, src)
}

// expandRaw decodes the LZMA data at the start of src as the header of a .lzma file,
// not in src, says, with a dictionary of dict bytes.
func expandRaw(ctx context.Context, lim Limits, head []byte, dict int64, w io.Writer, src *source) (n int64, marker bool, err error) {
	binary.LittleEndian.PutUint32(head[1:], uint32(dict))
	l, err := newLZMA(head, src)
	if err != nil {
		return 0, false, noEOF(err)
	}
	n, err = expand(ctx, lim, w, l, src)
	return n, l.EOSMarker(), err
}

// newLZMA opens an LZMA decoder, which reads five bytes at once.
func newLZMA(head []byte, src *source) (l *lzma.Reader, err error) {
	defer rescue(&err)
	return lzma.ReaderConfig{DictCap: math.MaxInt32}.NewReader(&headed{bytes.NewReader(head), src.Reader})
}

// headed gives a decoder a header; it reads all but that byte by byte.
type headed struct {
	head *bytes.Reader
	*bufio.Reader
}

func (h *headed) Read(p []byte) (int, error) {
	if h.head.Len() > 0 {
		return h.head.Read(p)
	}
	return h.Reader.Read(p)
}

// noEOF makes an end where more was needed the error it is.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
