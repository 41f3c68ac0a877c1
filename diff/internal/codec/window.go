package codec

import (
	"errors"
	"io"
)

// reach is how far back a match of LZ4 or LZO may refer, in bytes.
const reach = 64 << 10

// windowSize is how much a window holds before it writes on, in bytes.
const windowSize = 3 * reach

// A window is the output of an LZ decoder: what matches may refer to is held back
// in memory, all else is written on.
type window struct {
	w     io.Writer
	buf   []byte
	done  int   // of buf, written
	floor int   // of buf, the first byte that matches may refer to
	room  int64 // bytes that may yet come
}

func newWindow(w io.Writer) *window { return &window{w: w} }

var (
	errWindowRoom  = errors.New("decodes to more bytes than the block may hold")
	errWindowReach = errors.New("a match refers to bytes before the start")
)

// begin starts a block of at most n bytes. Unless it is linked to the last one, it
// cannot refer to that.
func (w *window) begin(n int64, linked bool) {
	w.room = n
	if !linked {
		w.floor = len(w.buf)
	}
}

// write appends literals.
func (w *window) write(p []byte) error {
	if w.room -= int64(len(p)); w.room < 0 {
		return errWindowRoom
	}
	for len(p) > 0 {
		if err := w.slide(); err != nil {
			return err
		}
		n := min(len(p), windowSize-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
	}
	return nil
}

// match appends n bytes that repeat those dist back, which may be among them.
// Requires dist <= reach.
func (w *window) match(dist, n int) error {
	if dist < 1 || dist > len(w.buf)-w.floor {
		return errWindowReach
	}
	if w.room -= int64(n); w.room < 0 {
		return errWindowRoom
	}
	for n > 0 {
		if err := w.slide(); err != nil {
			return err
		}
		from := len(w.buf) - dist
		for n > 0 && len(w.buf) < windowSize {
			k := min(n, len(w.buf)-from, windowSize-len(w.buf))
			w.buf = append(w.buf, w.buf[from:from+k]...)
			n -= k
		}
	}
	return nil
}

// slide makes room when the buffer is full.
func (w *window) slide() error {
	if len(w.buf) < windowSize {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	gone := len(w.buf) - reach
	w.buf = w.buf[:copy(w.buf, w.buf[gone:])]
	w.done = len(w.buf)
	w.floor = max(0, w.floor-gone)
	return nil
}

// flush writes what is held back.
func (w *window) flush() error {
	p := w.buf[w.done:]
	w.done = len(w.buf)
	_, err := w.w.Write(p)
	return err
}
