package codec

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

const (
	bzip2Magic = "BZh"
	bzip2Block = 0x314159265359 // begins a block
	bzip2End   = 0x177245385090 // ends a stream
)

// WalkBzip2 finds the bzip2 streams at the start of r, which holds size bytes. It
// follows the Huffman codes of the blocks, so that it finds the end to the bit, and
// verifies that the blocks' checksums make the stream's. It does not decode them:
// Decode proves what they hold.
//
// Fields of a stream, in order: magic, level, data. Blocks and the checksum at the
// end do not begin at bytes, and so are all data.
//
// Randomised blocks, which no bzip2 since 0.9.5 writes, are refused, and so are codes
// that are not complete: no encoder writes them, and decoders read different bytes out of
// them (libbz2 assigns the codes from the shortest on, Go's from the longest). Errors: a
// LimitError; an error saying where the first stream is unsound.
func WalkBzip2(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
	f, err := walkFrames(ctx, r, size, lim, bzip2Stream, 10, LooksLikeBzip2)
	if err != nil {
		return Frames{}, fmt.Errorf("bzip2: %w", err)
	}
	return f, nil
}

// LooksLikeBzip2 reports whether b could start a bzip2 stream: its header, and the
// magic of a block or of the end.
func LooksLikeBzip2(b []byte) bool {
	if len(b) < 10 || string(b[:3]) != bzip2Magic || b[3] < '1' || b[3] > '9' {
		return false
	}
	var v uint64
	for _, c := range b[4:10] {
		v = v<<8 | uint64(c)
	}
	return v == bzip2Block || v == bzip2End
}

func bzip2Stream(t *tape) error {
	b, err := t.take("magic", 3)
	if err != nil {
		return err
	}
	if string(b) != bzip2Magic {
		return errors.New("no magic")
	}
	if b, err = t.take("level", 1); err != nil {
		return err
	}
	if b[0] < '1' || b[0] > '9' {
		return fmt.Errorf("level %q is none of 1 to 9", b[0])
	}
	at := t.consumed()
	z := bzip2Walk{r: t.Reader, most: int(b[0]-'0') * 100_000}
	var sum uint32
	for n := 0; ; n++ {
		switch magic := z.bits(24)<<24 | z.bits(24); {
		case z.err != nil:
			return noEOF(z.err)
		case magic == bzip2End:
			if got := uint32(z.bits(32)); z.err == nil && got != sum {
				return fmt.Errorf("checksum %08x at the end, that of the blocks is %08x", got, sum)
			}
			t.note("data", t.consumed()-at)
			return noEOF(z.err)
		case magic != bzip2Block:
			return fmt.Errorf("block %d before 0x%x: no magic", n, t.consumed())
		}
		sum = bits.RotateLeft32(sum, 1) ^ uint32(z.bits(32))
		if err := z.block(); err != nil {
			return fmt.Errorf("block %d before 0x%x: %w", n, t.consumed(), noEOF(err))
		}
	}
}

var errBzip2Code = errors.New("a code that is not complete")

// A bzip2Walk follows the codes of a stream.
type bzip2Walk struct {
	r    *bufio.Reader
	most int    // bytes that a block may hold, before its last step of decoding
	acc  uint64 // bits read ahead, the lowest nacc
	nacc uint
	err  error

	codes [6]bzip2Code
	turns [1 << 15]byte // the codes in the order of their use
}

// A bzip2Code is a canonical Huffman code: symbols in the order of their codes.
type bzip2Code struct {
	count   [21]int // of the codes of each length
	symbols [258]uint16
}

// bits passes n bits and returns 0 after an error. Requires n <= 32. It reads no byte
// of which it needs no bit.
func (z *bzip2Walk) bits(n uint) uint64 {
	for z.nacc < n && z.err == nil {
		var c byte
		if c, z.err = z.r.ReadByte(); z.err == nil {
			z.acc = z.acc<<8 | uint64(c)
			z.nacc += 8
		}
	}
	if z.err != nil {
		return 0
	}
	z.nacc -= n
	return z.acc >> z.nacc & (1<<n - 1)
}

// block passes a block after its checksum.
func (z *bzip2Walk) block() error {
	if z.bits(1) != 0 {
		return errors.New("a randomised block")
	}
	start := int(z.bits(24))
	// Which bytes occur: those of sixteen ranges, of sixteen each.
	used := 0
	for ranges := z.bits(16); ranges != 0; ranges &= ranges - 1 {
		used += bits.OnesCount16(uint16(z.bits(16)))
	}
	codes, turns := int(z.bits(3)), int(z.bits(15))
	switch {
	case z.err != nil:
		return z.err
	case used == 0:
		return errors.New("it holds no byte")
	case codes < 2 || codes > len(z.codes) || turns == 0:
		return fmt.Errorf("%d codes used %d times", codes, turns)
	}
	if err := z.order(codes, turns); err != nil {
		return err
	}
	for i := range codes {
		if err := z.lengths(&z.codes[i], used+2); err != nil {
			return err
		}
	}
	n, err := z.symbols(used+1, turns)
	if err == nil && start >= n {
		err = fmt.Errorf("it starts at %d of %d", start, n)
	}
	return err
}

// order reads which codes are used in turn, each named by how long ago it was used.
func (z *bzip2Walk) order(codes, turns int) error {
	recent := [6]byte{0, 1, 2, 3, 4, 5}
	for i := range turns {
		k := 0
		for z.bits(1) != 0 {
			if k++; k >= codes {
				return errors.New("a code that is not there")
			}
		}
		c := recent[k]
		copy(recent[1:k+1], recent[:k])
		recent[0] = c
		z.turns[i] = c
	}
	return z.err
}

// lengths reads the lengths of a code of n symbols, each as a change of the last.
func (z *bzip2Walk) lengths(c *bzip2Code, n int) error {
	var lengths [258]int
	l, space := int(z.bits(5)), 0
	c.count = [21]int{}
	for i := range n {
		for {
			if l < 1 || l > 20 {
				return fmt.Errorf("a code of %d bits", l)
			}
			if z.bits(1) == 0 {
				break
			}
			l += 1 - 2*int(z.bits(1))
		}
		lengths[i] = l
		c.count[l]++
		space += 1 << (20 - l)
	}
	if z.err == nil && space != 1<<20 {
		return errBzip2Code
	}
	at := 0
	for l := range c.count {
		for i := 0; i < n && c.count[l] > 0; i++ {
			if lengths[i] == l {
				c.symbols[at] = uint16(i)
				at++
			}
		}
	}
	return z.err
}

// symbols passes the symbols up to end and returns how many bytes they make.
func (z *bzip2Walk) symbols(end, turns int) (int, error) {
	n, run := 0, 1
	for i := 0; ; i++ {
		if i/50 >= turns {
			return n, errors.New("more symbols than codes to read them")
		}
		s, err := z.symbol(&z.codes[z.turns[i/50]])
		switch {
		case err != nil:
			return n, err
		case s == end:
			return n, nil
		case s <= 1: // a digit of a run's length
			if run > z.most {
				return n, errors.New("a run that is too long")
			}
			n += run << s
			run *= 2
		default:
			n++
			run = 1
		}
		if n > z.most {
			return n, fmt.Errorf("more than %d bytes", z.most)
		}
	}
}

// symbol passes one symbol.
func (z *bzip2Walk) symbol(c *bzip2Code) (int, error) {
	code, first, at := 0, 0, 0
	for l := 1; l < len(c.count); l++ {
		code |= int(z.bits(1))
		n := c.count[l]
		if z.err != nil {
			return 0, z.err
		}
		if code-first < n {
			return int(c.symbols[at+code-first]), nil
		}
		at += n
		first = (first + n) << 1
		code <<= 1
	}
	return 0, errors.New("bits that are no code")
}

// decodeBzip2 relies on the decoder to fail at anything but streams.
func decodeBzip2(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	src := newSource(ctx, r)
	if _, err := src.Peek(1); err != nil {
		return noEOF(err)
	}
	if _, err := expand(ctx, lim, w, bzip2.NewReader(src.Reader), src); err != nil {
		return err
	}
	return src.finished()
}
