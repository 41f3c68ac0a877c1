package deflate

import "math/bits"

const (
	litCodes  = 286 // 256 bytes, the end of the block, 29 lengths
	distCodes = 30
	endBlock  = 256
)

// A symbol is a byte, or a match: the distance above the length.
type symbol uint32

// A block holds the symbols of one block and how often each code occurs.
type block struct {
	out       bitWriter
	symbols   []symbol
	matches   int
	onlyFixed bool
	lits      [litCodes]uint32
	dists     [distCodes]uint32
}

func (b *block) literal(c byte) {
	b.symbols = append(b.symbols, symbol(c))
	b.lits[c]++
}

func (b *block) match(length, dist int) {
	b.symbols = append(b.symbols, symbol(dist<<16|length))
	b.matches++
	b.lits[endBlock+1+int(lengthCode[length-minMatch])]++
	b.dists[distCode(dist)]++
}

// guess is gzip's upper bound of the size of the block, in bytes.
func (b *block) guess() int {
	n := 8 * len(b.symbols)
	for code, count := range b.dists {
		n += int(count) * (5 + int(distExtra[code]))
	}
	return n / 8
}

// flush writes the symbols as a block in the shortest of three ways and forgets
// them. They stand for size bytes; raw holds these, or is nil if they are gone.
func (b *block) flush(raw []byte, size int, last bool) error {
	final := uint64(0)
	if last {
		final = 1
	}
	b.lits[endBlock]++
	lits := buildCodes(b.lits[:], 15)
	dists := buildCodes(b.dists[:], 15)
	h := newHeader(lits, dists)

	own, fixed := h.size(), 0
	for i, n := range b.lits {
		x := 0
		if i > endBlock {
			x = int(lengthExtra[i-endBlock-1])
		}
		own += int(n) * (int(lits[i].len) + x)
		fixed += int(n) * (int(fixedLits[i].len) + x)
	}
	for i, n := range b.dists {
		own += int(n) * (int(dists[i].len) + int(distExtra[i]))
		fixed += int(n) * (5 + int(distExtra[i]))
	}
	ownBytes, fixedBytes := (own+3+7)/8, (fixed+3+7)/8
	useFixed := fixedBytes <= ownBytes || b.onlyFixed
	best := ownBytes
	if useFixed {
		best = fixedBytes
	}

	switch {
	case size+4 <= best && raw != nil:
		b.out.stored(raw, final)
	case useFixed:
		b.out.bits(final|1<<1, 3)
		b.write(fixedLits[:], fixedDists[:])
	default:
		b.out.bits(final|2<<1, 3)
		h.write(&b.out)
		b.write(lits, dists)
	}
	if last {
		b.out.align()
	}
	b.symbols, b.matches = b.symbols[:0], 0
	clear(b.lits[:])
	clear(b.dists[:])
	return b.out.flush()
}

func (b *block) write(lits, dists []code) {
	for _, s := range b.symbols {
		if s < 256 {
			c := lits[s]
			b.out.bits(uint64(c.bits), uint(c.len))
			continue
		}
		length, dist := int(s&0xffff)-minMatch, int(s>>16)
		i := lengthCode[length]
		c := lits[endBlock+1+int(i)]
		v, n := uint64(c.bits), uint(c.len)
		v |= uint64(length-int(lengthBase[i])) << n
		n += uint(lengthExtra[i])
		j := distCode(dist)
		c = dists[j]
		v |= uint64(c.bits) << n
		n += uint(c.len)
		v |= uint64(dist-int(distBase[j])) << n
		n += uint(distExtra[j])
		b.out.bits(v, n)
	}
	c := lits[endBlock]
	b.out.bits(uint64(c.bits), uint(c.len))
}

// The codes for lengths and distances, RFC 1951, 3.2.5.
var (
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distExtra   = [distCodes]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}

	lengthCode, lengthBase = lengths() // by length less 3; by code, less 3
	distBase               = distances()

	fixedLits, fixedDists = fixedCodes()
)

func lengths() (codes [256]uint8, bases [29]uint8) {
	n := 0
	for c, x := range lengthExtra[:28] {
		bases[c] = uint8(n)
		for range 1 << x {
			codes[n] = uint8(c)
			n++
		}
	}
	codes[255], bases[28] = 28, 255 // 258 has a code of its own
	return
}

func distances() (bases [distCodes]uint16) {
	n := 1
	for c, x := range distExtra {
		bases[c] = uint16(n)
		n += 1 << x
	}
	return
}

// distCode is the code of a distance: two for each power of two.
func distCode(dist int) int {
	d := uint(dist - 1)
	if d < 4 {
		return int(d)
	}
	n := bits.Len(d) - 2
	return 2*n + int(d>>uint(n))&1 + 2
}

func fixedCodes() (lits [288]code, dists [distCodes]code) {
	for i := range lits {
		switch {
		case i < 144, i >= 280:
			lits[i].len = 8
		case i < 256:
			lits[i].len = 9
		default:
			lits[i].len = 7
		}
	}
	for i := range dists {
		dists[i].len = 5
	}
	number(lits[:])
	number(dists[:])
	return
}
