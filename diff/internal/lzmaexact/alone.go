package lzmaexact

import (
	"encoding/binary"
	"io"
	"math"
)

// outputStep is how much of a stream is held before it is written.
const outputStep = 1 << 16

// An alone is a stream of .lzma: a header and LZMA with an end marker.
type alone struct {
	e    *encoder
	w    io.Writer
	size int64 // for the header; 0 if unknown
}

func (a *alone) restart(w io.Writer) { a.w = w }

func (a *alone) head() error {
	h := make([]byte, 13)
	h[0] = a.e.props.byte()
	binary.LittleEndian.PutUint32(h[1:], roundedDict(a.e.cycle-1))
	size := a.size
	if size == 0 {
		size = -1
	}
	binary.LittleEndian.PutUint64(h[5:], uint64(size))
	_, err := a.w.Write(h)
	return err
}

func (a *alone) code(final bool) error {
	for {
		done, err := a.e.code(final, math.MaxInt, outputStep)
		if err != nil {
			return err
		}
		if err := a.flush(); err != nil || !done || final && a.e.unencoded() == 0 {
			return err
		}
	}
}

func (a *alone) flush() error {
	_, err := a.w.Write(a.e.rc.out)
	a.e.rc.out = a.e.rc.out[:0]
	return err
}

// end writes the end marker: a match at the farthest distance there is.
func (a *alone) end() error {
	a.e.encodeMatch(&a.e.rc, a.e.pos, math.MaxUint32, minMatch)
	a.e.rc.flush()
	return a.flush()
}
