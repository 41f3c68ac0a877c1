package lz4exact

import "encoding/binary"

// A match is bytes that were there before: length bytes at start equal those at
// from.
type match struct{ start, from, length int }

func (m match) end() int { return m.start + m.length }

// skip drops the first n bytes.
func (m *match) skip(n int) {
	m.start += n
	m.from += n
	m.length -= n
}

// A high compressor keeps chains of the positions of each hash.
type high struct {
	head  [1 << 15]uint32 // by hash of four bytes: the last index
	chain [1 << 16]uint16 // by index, cut to 16 bits: how far back the one before is
	next  uint32          // the first index not in the chains

	attempts int  // how many positions a search looks at
	patterns bool // take runs of one byte in one step

	buf   []byte
	base  uint32 // the index of buf[0]
	low   uint32 // the index of the first byte there is to match with
	start uint32 // the index where the block begins

	steps int // taken and not told yet
	work  interface{ Spend(int) error }
	err   error // of work: the block is given up
}

func newHigh() *high {
	h := &high{}
	// Index 0 is none, and too far from all there is.
	h.next, h.base, h.low, h.start = 1<<16, 1<<16, 1<<16, 1<<16
	return h
}

// begin makes buf[start:] the block, and what is before the history to match with:
// the end of the last block.
func (h *high) begin(buf []byte, start int) {
	if start > 0 {
		end := h.base + uint32(len(h.buf))
		h.buf, h.base = buf, end-uint32(start)
		// The library moved the history and takes up the chains there, but for its
		// last three bytes, whose hashes would need what was not there yet.
		h.low, h.start = h.base, end
		h.next = max(h.next, h.low)
		h.insert(start - 3)
		h.next = end
		if end > far {
			h.rebase(end - 2*history)
		}
	}
	h.buf = buf
}

// rebase subtracts from all indices.
func (h *high) rebase(by uint32) {
	for i, v := range h.head {
		h.head[i] = v - min(v, by)
	}
	h.next -= by
	h.base -= by
	h.low -= by
	h.start -= by
}

func (h *high) read32(i int) uint32 { return binary.LittleEndian.Uint32(h.buf[i:]) }

func hash15(v uint32) uint32 { return v * 2654435761 >> 17 }

// stepBatch is how many steps are told together.
const stepBatch = 4096

// tell reports the steps taken, a batch at a time, and whether to go on.
func (h *high) tell() bool {
	if h.steps >= stepBatch && h.work != nil && h.err == nil {
		h.err = h.work.Spend(h.steps)
		h.steps = 0
	}
	return h.err == nil
}

// common counts how many bytes are alike from a and b on, up to the one where a is
// at end.
func (h *high) common(a, b, end int) int {
	n := common(h.buf, a, b, end)
	h.steps += 1 + n>>3
	return n
}

// insert puts the positions before at into the chains.
func (h *high) insert(at int) {
	for end := h.base + uint32(at); h.next < end; h.next++ {
		k := hash15(h.read32(int(h.next - h.base)))
		h.chain[uint16(h.next)] = uint16(min(h.next-h.head[k], maxDistance))
		h.head[k] = h.next
	}
}

// widest looks for a match that covers at, begins at first or later, is longer than
// beat and ends by end. If there is none its length is beat. With swap it goes on
// with the chain of whatever byte of a match found has the longest steps.
func (h *high) widest(at, first, end, beat int, swap bool) match {
	best := match{length: beat}
	buf := h.buf
	pattern := h.read32(at)
	here := h.base + uint32(at)
	lowest := h.low
	if h.low+1<<16 <= here {
		lowest = here - maxDistance
	}
	back := at - first
	offset := uint32(0) // of the chain that is followed, from the match's first byte
	var tested, same bool
	run := 0 // how long the byte at the position is repeated

	h.insert(at)
	old := h.head[hash15(pattern)]
	for tries := h.attempts; old >= lowest && tries > 0; tries-- {
		h.steps++
		length := 0
		from := int(old - h.base)
		if old >= h.start {
			i := best.length - 1
			// Where a match cannot begin before, the last bytes of the best have to be alike
			// too: where there are few kinds of bytes, only many tell candidates apart.
			if (back > 0 || i < 7 || binary.LittleEndian.Uint64(buf[at+i-7:]) == binary.LittleEndian.Uint64(buf[from+i-7:])) &&
				binary.LittleEndian.Uint16(buf[first+i:]) == binary.LittleEndian.Uint16(buf[from-back+i:]) && h.read32(from) == pattern {
				n := h.before(at, from, first, int(h.start-h.base))
				length = minMatch + h.common(at+minMatch, from+minMatch, end) + n
				if length > best.length {
					best = match{at - n, from - n, length}
				}
			}
		} else if old+4 <= h.start && h.read32(from) == pattern {
			length = minMatch + h.common(at+minMatch, from+minMatch, end)
			n := h.before(at, from, first, int(h.low-h.base))
			length += n
			if length > best.length {
				best = match{at - n, from - n, length}
			}
		}

		if swap && length == best.length && old+uint32(best.length) <= here {
			far, step, slow := uint32(1), uint32(1), uint32(1<<4)
			for i := uint32(0); int(i) <= best.length-minMatch; i += step {
				h.steps++
				d := uint32(h.chain[uint16(old+i)])
				step = slow >> 4
				slow++
				if d > far {
					far, offset, slow = d, i, 1<<4
				}
			}
			if far > 1 {
				if far > old {
					break
				}
				old -= far
				continue
			}
		}

		if h.patterns && h.chain[uint16(old)] == 1 && offset == 0 {
			if !tested {
				tested = true
				if same = pattern&0xffff == pattern>>16 && pattern&0xff == pattern>>24; same {
					run = minMatch + h.repeated(at+minMatch, end, byte(pattern))
				}
			}
			if c := old - 1; same && c >= lowest && h.whole(c) && h.read32(int(c-h.base)) == pattern {
				to, stop := h.pattern(c, lowest, run, end, byte(pattern), back == 0, here, &best)
				if stop {
					break
				}
				old = to
				continue
			}
		}
		old -= uint32(h.chain[uint16(old+offset)])
	}
	if best.length == beat {
		best.start, best.from = at, at
	}
	return best
}

// pattern goes from a candidate inside a run to the place in that run where the
// search goes on. The byte is repeated for run bytes at the present position; where
// no byte before that may be taken, the run itself may be the best match.
func (h *high) pattern(c, lowest uint32, run, end int, b byte, here0 bool, here uint32, best *match) (to uint32, stop bool) {
	at := int(c - h.base)
	forward := minMatch + h.repeated(at+minMatch, end, b)
	backward := 0
	for at-backward > int(h.low-h.base) && h.buf[at-backward-1] == b {
		backward++
	}
	h.steps += backward >> 3
	backward = min(backward, int(c-lowest))
	segment := backward + forward
	if segment >= run && forward <= run {
		to = c + uint32(forward) - uint32(run)
		if !h.whole(to) {
			to = h.start
		}
		return to, false
	}
	to = c - uint32(backward)
	if !h.whole(to) {
		return h.start, false
	}
	if here0 {
		if n := min(segment, run); best.length < n {
			if here-to > maxDistance {
				return 0, true
			}
			at := int(here - h.base)
			*best = match{at, int(to - h.base), n}
		}
		d := uint32(h.chain[uint16(to)])
		if d > to {
			return 0, true
		}
		to -= d
	}
	return to, false
}

// whole reports whether the four bytes at an index are all before the block, or
// all in it.
func (h *high) whole(i uint32) bool { return h.start-1-i >= 3 }

// repeated counts the bytes b from at to end.
func (h *high) repeated(at, end int, b byte) int {
	n, eight := 0, uint64(b)*0x0101010101010101
	for at+n+8 <= end && binary.LittleEndian.Uint64(h.buf[at+n:]) == eight {
		n += 8
	}
	for at+n < end && h.buf[at+n] == b {
		n++
	}
	h.steps += 1 + n>>3
	return n
}

// before counts the bytes alike before a and b, down to first for a and low for b.
func (h *high) before(a, b, first, low int) int {
	n := 0
	for a-n > first && b-n > low && h.buf[a-n-1] == h.buf[b-n-1] {
		n++
	}
	h.steps += n >> 3
	return n
}

// trimmed is the length up to which a match may be shortened for the sake of the
// next: what fits a token without more bytes.
const trimmed = 18

// chains writes the block with up to three overlapping matches in view.
func (h *high) chains(out *sequences) bool {
	start := int(h.start - h.base)
	end := len(h.buf)
	out.anchor = start
	if end-start <= noMatch {
		return out.last(h.buf)
	}
	limit, matchEnd := end-noMatch, end-lastLiterals
	wider := func(m match, overlap int) (match, bool) {
		if m.end() > limit {
			return m, false
		}
		w := h.widest(m.end()-overlap, m.start, matchEnd, m.length, false)
		return w, w.length > m.length && h.tell()
	}
	at := start
next:
	for at <= limit {
		if !h.tell() {
			return false
		}
		one := h.widest(at, at, matchEnd, minMatch-1, false)
		if one.length < minMatch {
			at++
			continue
		}
		zero := one // in case too much is skipped
	second:
		for {
			two, found := wider(one, 2)
			if !found {
				if !out.sequence(h.buf, one) {
					return false
				}
				at = one.end()
				continue next
			}
			if zero.start < one.start && two.start < one.start+zero.length {
				one = zero
			}
			if two.start-one.start < 3 {
				one = two
				continue
			}
			for {
				if two.start-one.start < trimmed {
					n := min(one.length, trimmed, two.end()-minMatch-one.start)
					if n -= two.start - one.start; n > 0 {
						two.skip(n)
					}
				}
				three, found := wider(two, 3)
				if !found {
					one.length = min(one.length, two.start-one.start)
					if !out.sequence(h.buf, one) || !out.sequence(h.buf, two) {
						return false
					}
					at = two.end()
					continue next
				}
				if three.start < one.end()+3 {
					if three.start < one.end() {
						two = three
						continue
					}
					// No room for the second between the first and the third.
					if two.start < one.end() {
						if two.skip(one.end() - two.start); two.length < minMatch {
							two = three
						}
					}
					if !out.sequence(h.buf, one) {
						return false
					}
					one, zero = three, two
					continue second
				}
				if two.start < one.end() {
					if two.start-one.start < trimmed {
						one.length = min(one.length, trimmed, two.end()-minMatch-one.start)
						if n := one.end() - two.start; n > 0 {
							two.skip(n)
						}
					} else {
						one.length = two.start - one.start
					}
				}
				if !out.sequence(h.buf, one) {
					return false
				}
				one, two = two, three
			}
		}
	}
	return out.last(h.buf)
}
