package lz4exact

import "encoding/binary"

const (
	minMatch     = 4
	lastLiterals = 5  // the block ends with as many
	noMatch      = 12 // no match begins in as many bytes of the end
	maxDistance  = 65535
	// smallBlock is the size below which positions fit 16 bits, for which the library
	// has another table.
	smallBlock = 65536 + noMatch - 1
)

// A fast compressor remembers the last position of each hash.
type fast struct {
	table [8192]uint32
	small bool // hash four bytes to 13 bits, not five to 12
	accel int
}

func (f *fast) hash(b []byte) uint32 {
	if f.small {
		return binary.LittleEndian.Uint32(b) * 2654435761 >> 19
	}
	return uint32(binary.LittleEndian.Uint64(b) << 24 * 889523592379 >> 52)
}

// rebase subtracts from all indices.
func (f *fast) rebase(by uint32) {
	for i, v := range f.table {
		f.table[i] = v - min(v, by)
	}
}

// block appends to the output the block buf[start:]. What is before is history;
// base is the index of buf[0].
func (f *fast) block(out *sequences, buf []byte, start int, base uint32) bool {
	end := len(buf)
	out.anchor = start
	if end-start <= noMatch {
		return out.last(buf)
	}
	limit := end - noMatch + 1 // of where a search goes on
	matchEnd := end - lastLiterals
	at := start
	f.table[f.hash(buf[at:])] = base + uint32(at)
	at++
	next := f.hash(buf[at:])
	for {
		// Steps grow while nothing matches.
		ahead, step, tries := at, 1, f.accel<<6
		match := 0
		for {
			h := next
			at = ahead
			ahead += step
			step = tries >> 6
			tries++
			if ahead > limit {
				return out.last(buf)
			}
			here, old := base+uint32(at), f.table[h]
			next = f.hash(buf[ahead:])
			f.table[h] = here
			if here-old > maxDistance {
				continue
			}
			match = int(old - base)
			if binary.LittleEndian.Uint32(buf[match:]) == binary.LittleEndian.Uint32(buf[at:]) {
				break
			}
		}
		low := 0
		if match >= start {
			low = start
		}
		for at > out.anchor && match > low && buf[at-1] == buf[match-1] {
			at--
			match--
		}
		if !out.literals(buf, at) {
			return false
		}
		for {
			n := minMatch + common(buf, at+minMatch, match+minMatch, matchEnd)
			if !out.fastMatch(at-match, n) {
				return false
			}
			at += n
			out.anchor = at
			if at >= limit {
				return out.last(buf)
			}
			f.table[f.hash(buf[at-2:])] = base + uint32(at-2)
			h := f.hash(buf[at:])
			here, old := base+uint32(at), f.table[h]
			f.table[h] = here
			if here-old > maxDistance {
				break
			}
			match = int(old - base)
			if binary.LittleEndian.Uint32(buf[match:]) != binary.LittleEndian.Uint32(buf[at:]) {
				break
			}
			// A match follows at once.
			out.empty()
		}
		at++
		next = f.hash(buf[at:])
	}
}

// common counts how many bytes are alike from a and b on, up to the one where a is
// at end.
func common(buf []byte, a, b, end int) int {
	n := 0
	for a+n+8 <= end && binary.LittleEndian.Uint64(buf[a+n:]) == binary.LittleEndian.Uint64(buf[b+n:]) {
		n += 8
	}
	for a+n < end && buf[a+n] == buf[b+n] {
		n++
	}
	return n
}
