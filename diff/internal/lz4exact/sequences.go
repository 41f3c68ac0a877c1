package lz4exact

import "encoding/binary"

// sequences are the output of one block: literals and matches in turn, as LZ4's
// block format has them. The library gives up early where a block might not fit
// the room it has; limit is that room, in bytes.
type sequences struct {
	out    []byte
	from   int // where the block begins in out
	limit  int // negative: there is room for everything
	token  int // where the present token is in out
	anchor int // the first byte of the input not written yet
}

func (s *sequences) fits(more int) bool {
	return s.limit < 0 || len(s.out)-s.from+more <= s.limit
}

// literals begins a sequence with the bytes from the anchor to at.
func (s *sequences) literals(buf []byte, at int) bool {
	n := at - s.anchor
	s.empty()
	if !s.fits(n + 2 + 1 + lastLiterals + n/255) {
		return false
	}
	s.run(n, 4)
	s.out = append(s.out, buf[s.anchor:at]...)
	return true
}

// empty begins a sequence without literals.
func (s *sequences) empty() {
	s.token = len(s.out)
	s.out = append(s.out, 0)
}

// run writes a length to four bits of the token, and bytes where it needs more.
func (s *sequences) run(n, shift int) {
	if n < 15 {
		s.out[s.token] |= byte(n << shift)
		return
	}
	s.out[s.token] |= byte(15 << shift)
	for n -= 15; n >= 255; n -= 255 {
		s.out = append(s.out, 255)
	}
	s.out = append(s.out, byte(n))
}

// fastMatch ends the sequence with a match, under the bound of the fast compressor.
func (s *sequences) fastMatch(offset, n int) bool {
	s.out = binary.LittleEndian.AppendUint16(s.out, uint16(offset))
	n -= minMatch
	if !s.fits(1 + lastLiterals + (n+240)/255) {
		return false
	}
	s.run(n, 0)
	return true
}

// sequence writes the literals up to the match and the match, under the bound of
// the high compressor.
func (s *sequences) sequence(buf []byte, m match) bool {
	if !s.literals(buf, m.start) {
		return false
	}
	s.out = binary.LittleEndian.AppendUint16(s.out, uint16(m.start-m.from))
	n := m.length - minMatch
	if !s.fits(n/255 + 1 + lastLiterals) {
		return false
	}
	s.run(n, 0)
	s.anchor = m.end()
	return true
}

// last ends the block with literals.
func (s *sequences) last(buf []byte) bool {
	n := len(buf) - s.anchor
	if !s.fits(n + 1 + (n+255-15)/255) {
		return false
	}
	s.empty()
	s.run(n, 4)
	s.out = append(s.out, buf[s.anchor:]...)
	return true
}
