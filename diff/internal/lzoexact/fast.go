package lzoexact

import (
	"encoding/binary"
	"math/bits"
)

const (
	piece = m4Offset + 1 // the input is taken in pieces of as much
	tail  = 20           // no match begins in as many bytes of a piece's end
)

// fast compresses with a table of the last position of each hash, of so many bits.
func fast(data []byte, hashBits int) []byte {
	c := coder{out: make([]byte, 0, len(data)/2)}
	table := make([]uint16, 1<<hashBits)
	written := 0 // bytes of the data in the output
	for at := 0; len(data)-at > tail; {
		end := min(len(data), at+piece)
		clear(table)
		written = c.piece(data[:end], at, written, table, 32-hashBits)
		at = end
	}
	c.begin(data[written:])
	c.end()
	return c.out
}

// piece compresses the data from start on; what is before and not yet written goes
// with the first literals. It returns how much is written then.
func (c *coder) piece(data []byte, start, written int, table []uint16, shift int) int {
	limit := len(data) - tail
	at := start + max(4-(start-written), 0)
	// The steps count from the last match in this piece.
	since := start
	for {
		at += 1 + (at-since)>>5
		for {
			if at >= limit {
				return written
			}
			v := binary.LittleEndian.Uint32(data[at:])
			h := v * 0x1824429d >> shift
			match := start + int(table[h])
			table[h] = uint16(at - start)
			if binary.LittleEndian.Uint32(data[match:]) != v {
				break
			}
			c.run(data[written:at])
			n := 4
			for {
				x := binary.LittleEndian.Uint64(data[at+n:]) ^ binary.LittleEndian.Uint64(data[match+n:])
				if x != 0 {
					n += bits.TrailingZeros64(x) >> 3
					break
				}
				if n += 8; at+n >= limit {
					break
				}
			}
			c.match(n, at-match)
			at += n
			written, since = at, at
		}
	}
}
