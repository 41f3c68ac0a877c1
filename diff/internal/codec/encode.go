package codec

import (
	"bufio"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"

	fastflate "github.com/klauspost/compress/flate"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// An encoder is one encoder with all it can be told fixed.
type encoder struct {
	name string
	open func(io.Writer) (io.WriteCloser, error)
}

func names(encoders []encoder) []string {
	var s []string
	for _, e := range encoders {
		s = append(s, e.name)
	}
	return s
}

// deflateEncoders are the standard library's at its levels, 0 being stored and
// -2 Huffman only, and klauspost/compress's. The defaults, 6 and 5, come first,
// then what people choose.
func deflateEncoders() []encoder {
	var s []encoder
	for _, level := range []int{6, 9, 1, 5, 7, 8, 4, 3, 2, -2, 0} {
		s = append(s, encoder{fmt.Sprintf("go-flate/%d", level), func(w io.Writer) (io.WriteCloser, error) {
			return flate.NewWriter(w, level)
		}})
	}
	for _, level := range []int{5, 9, 6, 1, 7, 8, 4, 3, 2} {
		s = append(s, encoder{fmt.Sprintf("klauspost-flate/%d", level), func(w io.Writer) (io.WriteCloser, error) {
			return fastflate.NewWriter(w, level)
		}})
	}
	return s
}

// xzEncoders are those of ulikunitz/xz: one block, a dictionary of 8 MiB.
func xzEncoders() []encoder {
	var s []encoder
	for _, c := range []struct {
		name  string
		check byte
	}{{"crc64", xz.CRC64}, {"crc32", xz.CRC32}, {"sha256", xz.SHA256}} {
		s = append(s, encoder{"ulikunitz/" + c.name, func(w io.Writer) (io.WriteCloser, error) {
			return xz.WriterConfig{CheckSum: c.check}.NewWriter(w)
		}})
	}
	return s
}

// lzmaEncoders are those of ulikunitz/xz: a dictionary of 8 MiB, an end marker
// and no size in the header.
func lzmaEncoders() []encoder {
	return []encoder{{"ulikunitz/marker", func(w io.Writer) (io.WriteCloser, error) {
		// The writer takes single bytes from here on, hence the buffer.
		b := bufio.NewWriterSize(w, bufferSize)
		l, err := lzma.NewWriter(b)
		if err != nil {
			return nil, err
		}
		return flushed{l, b}, nil
	}}}
}

// flushed flushes a buffer behind a writer when that is closed.
type flushed struct {
	io.WriteCloser
	buf *bufio.Writer
}

func (f flushed) Close() error { return errors.Join(f.WriteCloser.Close(), f.buf.Flush()) }

func encode(ctx context.Context, e encoder, w io.Writer, r io.Reader) error {
	z, err := e.open(w)
	if err != nil {
		return err
	}
	// Full buffers throughout: how the reader cuts the data cannot matter.
	buf := make([]byte, bufferSize)
	for {
		if err := alive(ctx); err != nil {
			return err
		}
		n, end, err := readFull(r, buf)
		if err != nil {
			return err
		}
		if _, err := z.Write(buf[:n]); err != nil {
			return err
		}
		if end {
			return z.Close()
		}
	}
}

// readFull fills p or reports the end. Unlike io.ReadFull it tells the end from
// a reader that fails with io.ErrUnexpectedEOF.
func readFull(r io.Reader, p []byte) (n int, end bool, err error) {
	for n < len(p) {
		k, err := r.Read(p[n:])
		n += k
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}
