package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// maxStray is how many places with stray bits are listed, not merely counted.
const maxStray = 64

// Deflate describes a DEFLATE stream.
type Deflate struct {
	Extent  int64   // bytes of the stream
	Decoded int64   // bytes it decodes to
	Blocks  int64   // blocks
	Stray   []Stray // padding with bits set, the first 64 places
	Strays  int64   // how many places there are
}

// Stray is padding, which encoders leave zero, with bits set: room for a
// message that decoding does not show.
type Stray struct {
	Off   int64 // of the byte
	Mask  byte  // its padding bits
	Value byte  // those that are set
	Final bool  // after the last block; else before the length of a stored one
}

// WalkDeflate finds the end of the DEFLATE stream (RFC 1951) at the start of r,
// which holds size bytes. It reads the symbols, and their lengths and distances
// must make sense, but does not decode what they say.
//
// Errors: a LimitError; an error saying where the stream is unsound.
func WalkDeflate(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Deflate, error) {
	i := &inflater{ctx: ctx, r: r, size: size, lim: lim}
	if err := i.stream(); err != nil {
		return Deflate{}, fmt.Errorf("deflate: %w", err)
	}
	return i.Deflate, nil
}

// An inflater follows the symbols of a DEFLATE stream.
type inflater struct {
	Deflate
	ctx  context.Context
	r    io.ReaderAt
	size int64
	lim  Limits

	buf    [bufferSize]byte
	lo     int64  // offset of buf
	pos, n int    // next byte and end of what buf holds
	acc    uint64 // bits after those passed, lowest first
	nacc   uint   // how many of acc count, taken from before pos
	check  int64  // Decoded at which to look at the limits again

	fixed      bool // the two codes are those of fixed blocks
	lits, dist huffman
	lengths    [maxLits + maxDist]byte
}

const (
	maxLits = 286 // literal and length symbols that a block may define
	maxDist = 30  // distance symbols
	endSym  = 256 // ends a block
)

var (
	errDeflateEnd  = fmt.Errorf("truncated: %w", io.ErrUnexpectedEOF)
	errDeflateCode = errors.New("bits that are no code")
)

// offset returns the offset of the byte with the next bit.
func (i *inflater) offset() int64 { return i.lo + int64(i.pos) - int64(i.nacc+7)/8 }

// fill reads the next bytes into an emptied buffer, none at the end.
func (i *inflater) fill() error {
	if err := alive(i.ctx); err != nil {
		return err
	}
	i.lo += int64(i.n)
	i.pos, i.n = 0, 0
	want := int(min(bufferSize, i.size-i.lo))
	n, err := i.r.ReadAt(i.buf[:want], i.lo)
	if n < want {
		return fmt.Errorf("reading 0x%x bytes at 0x%x: %w", want, i.lo, noEOF(err))
	}
	i.n = n
	return i.limits()
}

// limits looks at the limits and says when to look again.
func (i *inflater) limits() error {
	if err := i.lim.checkOutput(i.Decoded, i.lo+int64(i.pos)); err != nil {
		return err
	}
	if err := alive(i.ctx); err != nil {
		return err
	}
	i.check = min(i.Decoded+1<<20, i.lim.MaxExpanded)
	return nil
}

// count adds n decoded bytes.
func (i *inflater) count(n int) error {
	i.Decoded += int64(n)
	if i.Decoded > i.check {
		return i.limits()
	}
	return nil
}

// refill takes bits until there are 56 or no more are left.
func (i *inflater) refill() error {
	if i.n-i.pos >= 8 {
		i.acc |= binary.LittleEndian.Uint64(i.buf[i.pos:]) << i.nacc
		k := (63 - i.nacc) / 8
		i.pos += int(k)
		i.nacc += 8 * k
		return nil
	}
	for i.nacc <= 56 {
		if i.pos == i.n {
			if err := i.fill(); err != nil || i.n == 0 {
				return err
			}
		}
		i.acc |= uint64(i.buf[i.pos]) << i.nacc
		i.pos++
		i.nacc += 8
	}
	return nil
}

// bits passes n bits. Requires n <= 32.
func (i *inflater) bits(n uint) (int, error) {
	if i.nacc < n {
		if err := i.refill(); err != nil {
			return 0, err
		}
		if i.nacc < n {
			return 0, errDeflateEnd
		}
	}
	v := int(i.acc & (1<<n - 1))
	i.acc >>= n
	i.nacc -= n
	return v, nil
}

// align passes the padding up to the next byte, keeping what is set in it, and
// leaves no bits in acc.
func (i *inflater) align(final bool) {
	pad := i.nacc % 8
	if v := byte(i.acc & (1<<pad - 1)); v != 0 {
		if i.Strays++; i.Strays <= maxStray {
			i.Stray = append(i.Stray, Stray{i.offset(), 0xff << (8 - pad), v << (8 - pad), final})
		}
	}
	i.acc >>= pad
	i.nacc -= pad
}

// skip passes n bytes. Requires that align was called just before the bits read
// since, if any, which are whole bytes.
func (i *inflater) skip(n int) error {
	to := i.offset() + int64(n)
	if to > i.size {
		return errDeflateEnd
	}
	i.acc, i.nacc = 0, 0
	if to >= i.lo && to <= i.lo+int64(i.n) {
		i.pos = int(to - i.lo)
		return nil
	}
	i.lo, i.pos, i.n = to, 0, 0
	return nil
}

func (i *inflater) stream() error {
	for final := false; !final; i.Blocks++ {
		at := i.offset()
		head, err := i.bits(3)
		if err == nil {
			final = head&1 != 0
			switch head >> 1 {
			case 0:
				err = i.stored()
			case 1:
				err = i.fixedBlock()
			case 2:
				err = i.dynamic()
			default:
				err = errors.New("reserved block type 3")
			}
		}
		if err != nil {
			return fmt.Errorf("block %d at 0x%x: %w", i.Blocks, at, err)
		}
	}
	i.align(true)
	i.Extent = i.offset()
	return i.limits()
}

func (i *inflater) stored() error {
	i.align(false)
	v, err := i.bits(16)
	if err != nil {
		return err
	}
	c, err := i.bits(16)
	if err != nil {
		return err
	}
	if v^c != 0xffff {
		return errors.New("stored length and its complement differ")
	}
	if err := i.skip(v); err != nil {
		return err
	}
	return i.count(v)
}

func (i *inflater) fixedBlock() error {
	if !i.fixed {
		var l [288]byte
		for s := range l {
			switch {
			case s < 144:
				l[s] = 8
			case s < 256:
				l[s] = 9
			case s < 280:
				l[s] = 7
			default:
				l[s] = 8
			}
		}
		var d [32]byte
		for s := range d {
			d[s] = 5
		}
		i.lits.build(l[:])
		i.dist.build(d[:])
		i.fixed = true
	}
	return i.symbols()
}

// codeOrder is the order of the code length code, RFC 1951 section 3.2.7.
var codeOrder = [19]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func (i *inflater) dynamic() error {
	i.fixed = false
	v, err := i.bits(14)
	if err != nil {
		return err
	}
	nlits, ndist, ncode := v&31+257, v>>5&31+1, v>>10+4
	if nlits > maxLits || ndist > maxDist {
		return fmt.Errorf("%d literal and %d distance codes, %d and %d exist", nlits, ndist, maxLits, maxDist)
	}
	var code [19]byte
	for _, s := range codeOrder[:ncode] {
		l, err := i.bits(3)
		if err != nil {
			return err
		}
		code[s] = byte(l)
	}
	if !i.lits.build(code[:]) {
		return errors.New("code length code is over- or undersubscribed")
	}
	lengths := i.lengths[:nlits+ndist]
	for n := 0; n < len(lengths); {
		s, err := i.symbol(&i.lits)
		if err != nil {
			return err
		}
		if s < 16 {
			lengths[n] = byte(s)
			n++
			continue
		}
		var l byte
		extra, base := uint(2), 3
		switch s {
		case 16:
			if n == 0 {
				return errors.New("repeats the length before the first")
			}
			l = lengths[n-1]
		case 17:
			extra = 3
		case 18:
			extra, base = 7, 11
		}
		more, err := i.bits(extra)
		if err != nil {
			return err
		}
		more += base
		if more > len(lengths)-n {
			return errors.New("more code lengths than codes")
		}
		for range more {
			lengths[n] = l
			n++
		}
	}
	if !i.lits.build(lengths[:nlits]) {
		return errors.New("literal code is over- or undersubscribed")
	}
	if !i.dist.build(lengths[nlits:]) {
		return errors.New("distance code is over- or undersubscribed")
	}
	return i.symbols()
}

// lengthBase and lengthExtra are lengths and extra bits of symbols from 257,
// RFC 1951 section 3.2.5.
var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
)

// symbols passes the symbols of a block up to its end.
func (i *inflater) symbols() error {
	for {
		s, err := i.symbol(&i.lits)
		switch {
		case err != nil:
			return err
		case s < endSym:
			if err := i.count(1); err != nil {
				return err
			}
			continue
		case s == endSym:
			return nil
		case s >= maxLits:
			return errDeflateCode
		}
		extra, err := i.bits(uint(lengthExtra[s-257]))
		if err != nil {
			return err
		}
		n := int(lengthBase[s-257]) + extra
		d, err := i.symbol(&i.dist)
		if err != nil {
			return err
		}
		if d >= maxDist {
			return errDeflateCode
		}
		// Distance symbols beyond the fourth: two for each number of extra bits.
		if d >= 4 {
			extra := uint(d/2 - 1)
			v, err := i.bits(extra)
			if err != nil {
				return err
			}
			d = (2+d%2)<<extra + v
		}
		if int64(d) >= i.Decoded {
			return fmt.Errorf("distance %d after %d bytes", d+1, i.Decoded)
		}
		if err := i.count(n); err != nil {
			return err
		}
	}
}

// symbol passes a code of h and returns its symbol.
func (i *inflater) symbol(h *huffman) (int, error) {
	if i.nacc < maxCode {
		if err := i.refill(); err != nil {
			return 0, err
		}
	}
	s, l := h.decode(i.acc)
	switch {
	case l > i.nacc:
		return 0, errDeflateEnd
	case l == 0:
		return 0, errDeflateCode
	}
	i.acc >>= l
	i.nacc -= l
	return s, nil
}

const (
	maxCode  = 15 // bits of the longest code
	fastBits = 9  // bits of the longest code in the table
)

// A huffman is a canonical prefix code, RFC 1951 section 3.2.2.
type huffman struct {
	fast    [1 << fastBits]uint16 // by the next bits: symbol<<4 | length, 0 for none or longer
	count   [maxCode + 1]int      // codes by length
	symbols [288]uint16           // by length, then value
}

// build makes the code whose symbol s has a code of lengths[s] bits. It reports
// whether the code is complete; one code of one bit, or none, is let pass.
func (h *huffman) build(lengths []byte) bool {
	h.count = [maxCode + 1]int{}
	for _, l := range lengths {
		h.count[l]++
	}
	used := len(lengths) - h.count[0]
	h.count[0] = 0
	var next, place [maxCode + 2]int // first code, and place of its symbol, by length
	for l := 1; l <= maxCode; l++ {
		next[l+1] = (next[l] + h.count[l]) << 1
		place[l+1] = place[l] + h.count[l]
	}
	clear(h.fast[:])
	complete := next[maxCode+1] == 1<<(maxCode+1)
	if !complete && used != 0 && (used != 1 || h.count[1] != 1) {
		return false
	}
	for s, l := range lengths {
		if l == 0 {
			continue
		}
		h.symbols[place[l]] = uint16(s)
		place[l]++
		if l <= fastBits {
			code := int(bits.Reverse16(uint16(next[l]))) >> (16 - l)
			for ; code < len(h.fast); code += 1 << l {
				h.fast[code] = uint16(s)<<4 | uint16(l)
			}
		}
		next[l]++
	}
	return true
}

// decode returns the symbol of the code that acc starts with, and its length, 0
// if there is none.
func (h *huffman) decode(acc uint64) (symbol int, length uint) {
	if e := h.fast[acc%uint64(len(h.fast))]; e != 0 {
		return int(e >> 4), uint(e & 15)
	}
	code, first, place := 0, 0, 0 // of this length: the code, the first one, its place
	for l := uint(1); l <= maxCode; l++ {
		code |= int(acc & 1)
		acc >>= 1
		n := h.count[l]
		if code-first < n {
			return int(h.symbols[place+code-first]), l
		}
		place += n
		first = (first + n) << 1
		code <<= 1
	}
	return 0, 0
}
