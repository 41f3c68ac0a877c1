package deflate

import (
	"encoding/binary"
	"io"
)

// A bitWriter packs bits, the lowest first, RFC 1951, 3.1.1.
type bitWriter struct {
	w   io.Writer
	buf []byte
	acc uint64
	n   uint // bits in acc, below 8 after a flush
}

// bits adds the low n bits of v, n at most 48; the others are zero.
func (b *bitWriter) bits(v uint64, n uint) {
	if b.n+n > 64 {
		b.buf = binary.LittleEndian.AppendUint64(b.buf, b.acc|v<<b.n)
		b.acc = v >> (64 - b.n)
		b.n += n - 64
		return
	}
	b.acc |= v << b.n
	b.n += n
}

// align fills the byte with zeros.
func (b *bitWriter) align() { b.n = (b.n + 7) &^ 7 }

// stored writes a stored block.
func (b *bitWriter) stored(data []byte, final uint64) {
	b.bits(final, 3)
	b.align()
	b.drain()
	b.buf = binary.LittleEndian.AppendUint16(b.buf, uint16(len(data)))
	b.buf = binary.LittleEndian.AppendUint16(b.buf, ^uint16(len(data)))
	b.buf = append(b.buf, data...)
}

// drain moves whole bytes to the buffer.
func (b *bitWriter) drain() {
	for ; b.n >= 8; b.n -= 8 {
		b.buf = append(b.buf, byte(b.acc))
		b.acc >>= 8
	}
}

// flush sends what whole bytes there are.
func (b *bitWriter) flush() error {
	b.drain()
	if len(b.buf) == 0 {
		return nil
	}
	_, err := b.w.Write(b.buf)
	b.buf = b.buf[:0]
	return err
}
