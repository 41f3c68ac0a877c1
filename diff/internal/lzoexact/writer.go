package lzoexact

import (
	"errors"
	"fmt"
	"io"
)

// A Method is one of the library's compressors.
type Method int

// The methods, by the library's names.
const (
	LZO1X1   Method = iota // lzo1x_1_compress
	LZO1X111               // lzo1x_1_11_compress
	LZO1X112               // lzo1x_1_12_compress
	LZO1X115               // lzo1x_1_15_compress
	LZO1X999               // lzo1x_999_compress_level
)

// MaxBlock is the largest input, in bytes: the largest block of lzop.
const MaxBlock = 8 << 20

// Options say what the encoder was told.
type Options struct {
	Method   Method
	Level    int  // LZO1X999: 1 to 9
	Optimize bool // LZO1X999: lzo1x_optimize rearranges what comes out

	// Work, unless it is nil, is told what searches for matches come to with LZO1X999,
	// while they do: a step for each position looked at and for each eight bytes found
	// alike. An error of it ends the encoding and is what the writer returns.
	Work interface{ Spend(steps int) error }
}

var errClosed = errors.New("lzoexact: the writer is closed")

// NewWriter returns a writer that sends to w, when it is closed, what the encoder
// makes of the bytes written. It does not close w.
func NewWriter(w io.Writer, o Options) (io.WriteCloser, error) {
	switch {
	case o.Method < LZO1X1 || o.Method > LZO1X999:
		return nil, fmt.Errorf("lzoexact: no method %d", o.Method)
	case o.Method == LZO1X999 && (o.Level < 1 || o.Level > 9):
		return nil, fmt.Errorf("lzoexact: level %d: want 1 to 9", o.Level)
	case o.Method != LZO1X999 && (o.Level != 0 || o.Optimize):
		return nil, fmt.Errorf("lzoexact: only LZO1X999 has levels and is optimized")
	}
	return &encoder{w: w, o: o}, nil
}

// An encoder gathers the block.
type encoder struct {
	w   io.Writer
	o   Options
	buf []byte
	err error
}

func (e *encoder) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n := min(len(p), MaxBlock-len(e.buf))
	e.buf = append(e.buf, p[:n]...)
	if n < len(p) {
		e.err = fmt.Errorf("lzoexact: a block of more than %d bytes", MaxBlock)
	}
	return n, e.err
}

func (e *encoder) Close() error {
	if e.err != nil {
		return e.err
	}
	var out []byte
	switch e.o.Method {
	case LZO1X111:
		out = fast(e.buf, 11)
	case LZO1X112:
		out = fast(e.buf, 12)
	case LZO1X115:
		out = fast(e.buf, 13)
	case LZO1X999:
		if out, e.err = high(e.buf, tunings[e.o.Level], e.o.Work); e.err != nil {
			return e.err
		}
		if e.o.Optimize {
			optimize(out, len(e.buf))
		}
	default:
		out = fast(e.buf, 14)
	}
	if _, e.err = e.w.Write(out); e.err != nil {
		return e.err
	}
	e.err = errClosed
	return nil
}
