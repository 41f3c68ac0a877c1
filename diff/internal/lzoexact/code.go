package lzoexact

// Limits of the kinds of matches in LZO1X. The shorter and the nearer a match, the
// fewer bytes.
const (
	m1Offset = 0x400  // two bytes, after one to three literals
	m2Offset = 0x800  // three to eight bytes
	mxOffset = 0xc00  // three bytes, after four literals and more
	m3Offset = 0x4000 // any length
	m4Offset = 0xbfff // any length

	m2Length = 8
	m3Length = 33 // above, the length takes more bytes
	m4Length = 9

	m2Marker, m3Marker, m4Marker = 64, 32, 16
)

// A coder appends literals and matches to its output.
type coder struct {
	out     []byte
	literal int // literals before the last match, or 0
}

// extend writes a length in bytes of zero, each 255, and what remains, which is
// never zero.
func (c *coder) extend(n int) {
	for ; n > 255; n -= 255 {
		c.out = append(c.out, 0)
	}
	c.out = append(c.out, byte(n))
}

// begin writes literals as run does, but at the beginning of a block in the way that
// only works there.
func (c *coder) begin(p []byte) {
	if n := len(p); len(c.out) == 0 && 0 < n && n <= 238 {
		c.out = append(append(c.out, byte(17+n)), p...)
		return
	}
	c.run(p)
}

// run writes literals. Up to three are counted in the match before.
func (c *coder) run(p []byte) {
	n := len(p)
	switch {
	case n == 0:
		return
	case n <= 3:
		c.out[len(c.out)-2] |= byte(n)
	case n <= 18:
		c.out = append(c.out, byte(n-3))
	default:
		c.out = append(c.out, 0)
		c.extend(n - 18)
	}
	c.out = append(c.out, p...)
}

// match writes a match in the shortest way.
func (c *coder) match(n, offset int) {
	switch {
	case n == 2:
		offset--
		c.out = append(c.out, byte(offset&3<<2), byte(offset>>2))
	case n <= m2Length && offset <= m2Offset:
		offset--
		c.out = append(c.out, byte((n-1)<<5|offset&7<<2), byte(offset>>3))
	case n == 3 && offset <= mxOffset && c.literal >= 4:
		offset -= 1 + m2Offset
		c.out = append(c.out, byte(offset&3<<2), byte(offset>>2))
	case offset <= m3Offset:
		offset--
		if n <= m3Length {
			c.out = append(c.out, byte(m3Marker|(n-2)))
		} else {
			c.out = append(c.out, m3Marker)
			c.extend(n - m3Length)
		}
		c.out = append(c.out, byte(offset<<2), byte(offset>>6))
	default:
		offset -= 0x4000
		high := offset >> 11 & 8
		if n <= m4Length {
			c.out = append(c.out, byte(m4Marker|high|(n-2)))
		} else {
			c.out = append(c.out, byte(m4Marker|high))
			c.extend(n - m4Length)
		}
		c.out = append(c.out, byte(offset<<2), byte(offset>>6))
	}
}

// end writes the end marker.
func (c *coder) end() { c.out = append(c.out, m4Marker|1, 0, 0) }
