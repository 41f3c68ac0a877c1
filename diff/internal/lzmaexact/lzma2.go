package lzmaexact

import "io"

const (
	chunkData = 1 << 16 // bytes of data that a chunk holds at most
	chunkSize = 1 << 21 // bytes that it decodes to at most
	chunkHead = 6
)

// A chunker cuts what an encoder makes into the chunks of LZMA2.
type chunker struct {
	e *encoder
	w io.Writer

	dictReset, stateReset, props bool // that the next chunk has to tell

	open bool // a chunk has begun
	size int  // bytes that it decodes to
}

func (c *chunker) restart(w io.Writer) {
	*c = chunker{e: c.e, w: w, dictReset: true, props: true}
}

// code encodes what the window lets it.
func (c *chunker) code(final bool) error {
	e := c.e
	for {
		if !c.open {
			if e.unencoded() == 0 {
				return nil
			}
			if c.stateReset {
				e.resetState()
			}
			c.open, c.size = true, 0
			e.rc.out = append(e.rc.out[:0], make([]byte, chunkHead)...)
		}
		start := e.read - e.ahead
		stop := 0
		if left := chunkSize - c.size; left >= maxMatch {
			stop = start + left - maxMatch
		}
		done, err := e.code(final, stop, chunkHead+chunkData-lookahead)
		if err != nil {
			return err
		}
		c.size += e.read - e.ahead - start
		if !done {
			return nil
		}
		if err := c.close(); err != nil {
			return err
		}
	}
}

// close writes the chunk, as it is where it did not become smaller.
func (c *chunker) close() error {
	e := c.e
	c.open = false
	e.rc.flush()
	data := len(e.rc.out) - chunkHead
	if data >= c.size {
		// What the parser has looked at goes along.
		c.size += e.ahead
		e.pos += uint32(e.ahead)
		e.ahead = 0
		head := [3]byte{2, byte((c.size - 1) >> 8), byte(c.size - 1)}
		if c.dictReset {
			head[0] = 1
		}
		c.dictReset, c.stateReset = false, true
		if _, err := c.w.Write(head[:]); err != nil {
			return err
		}
		_, err := c.w.Write(e.buf[e.read-c.size : e.read])
		return err
	}
	e.rc.reset()
	out := e.rc.out
	control := byte(0x80)
	switch {
	case c.dictReset:
		control = 0xE0
	case c.props:
		control = 0xC0
	case c.stateReset:
		control = 0xA0
	}
	if c.props {
		out[5] = e.props.byte()
	} else {
		out = out[1:]
	}
	out[0] = control | byte((c.size-1)>>16)
	out[1], out[2] = byte((c.size-1)>>8), byte(c.size-1)
	out[3], out[4] = byte((data-1)>>8), byte(data-1)
	c.dictReset, c.stateReset, c.props = false, false, false
	_, err := c.w.Write(out)
	return err
}

// end writes the end marker.
func (c *chunker) end() error {
	_, err := c.w.Write([]byte{0})
	return err
}

func (p Props) byte() byte { return byte((p.PB*5+p.LP)*9 + p.LC) }

// storedLen is how long n bytes become in chunks that are not compressed, the end
// marker included.
func storedLen(n int64) int64 { return n + (n+chunkData-1)/chunkData*3 + 1 }

// stored writes p in chunks that are not compressed, and the end marker.
func stored(w io.Writer, p []byte) error {
	control := byte(1)
	for len(p) > 0 {
		n := min(len(p), chunkData)
		if _, err := w.Write([]byte{control, byte((n - 1) >> 8), byte(n - 1)}); err != nil {
			return err
		}
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		control, p = 2, p[n:]
	}
	_, err := w.Write([]byte{0})
	return err
}

// roundedDict is the least size of the form 1<<n or 3<<n that is not less than d.
func roundedDict(d uint32) uint32 {
	for n := 0; ; n++ {
		if 1<<n >= d {
			return 1 << n
		}
		if 3<<n>>1 >= d && n > 0 {
			return 3 << n >> 1
		}
	}
}

// dictByte is how LZMA2 spells the size of a dictionary.
func dictByte(d uint32) byte { return byte(distSlot(roundedDict(d)) - 24) }
