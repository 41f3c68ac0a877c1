package lzmaexact

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

const (
	maxMatch  = 273          // longest match that LZMA can spell
	maxParse  = 1 << 12      // bytes that the optimal parser looks at together
	lookahead = maxParse + 1 // bytes that one decision may read beyond the current one
	slack     = 8            // bytes after the buffer that comparisons may touch
	hash2Size = 1 << 10
	hash3Size = 1 << 16
)

// A match is a string of n bytes that also stands dist+1 bytes before.
type match struct{ n, dist uint32 }

// A window is the input that the encoder may look at, and the index of what
// stands in it.
//
// Positions in the index count from base on, so that the entry 0 is farther away
// than any dictionary reaches. The next byte to index is buf[read]; the parser
// has run ahead bytes in front of what is encoded.
type window struct {
	buf    []byte // written bytes are followed by slack at least
	size   int    // what buf may grow to, without slack
	before int    // bytes kept before read
	after  int    // bytes held back after read until the input ends

	read, limit, written int
	ahead                int
	total                int64 // all that was ever written

	base  uint32 // position of buf[0]
	cycle uint32 // dictionary size + 1
	slot  uint32 // position modulo cycle
	heads int    // entries of head
	head  []uint32
	sons  []uint32 // links of each slot: one in a chain, two in a tree
	mask  uint32
	width int // bytes hashed
	tree  bool
	nice  int
	depth int

	steps int // taken and not told yet
	work  interface{ Spend(int) error }
}

// stepBatch is how many steps are told together.
const stepBatch = 4096

// tell reports the steps taken, a batch at a time.
func (w *window) tell() error {
	if w.steps < stepBatch || w.work == nil {
		return nil
	}
	n := w.steps
	w.steps = 0
	return w.work.Spend(n)
}

func (w *window) init(t tuning, keep int) {
	w.before = keep
	w.after = lookahead + maxMatch
	w.size = windowSize(t.dict, keep)
	w.cycle = t.dict + 1
	w.width, w.tree = t.finder.shape()
	w.nice, w.depth = t.nice, t.depth
	if w.depth == 0 {
		if w.tree {
			w.depth = 16 + w.nice/2
		} else {
			w.depth = 4 + w.nice/4
		}
	}
	w.mask = hashMask(t.dict, w.width)
	w.heads = headLen(t.dict, w.width)
}

// reset forgets all input. What the slots hold is never read before it is written.
func (w *window) reset() {
	w.read, w.limit, w.written, w.ahead, w.total = 0, 0, 0, 0, 0
	w.base, w.slot = w.cycle, 0
	if w.head == nil {
		w.head = make([]uint32, w.heads)
	} else {
		clear(w.head)
	}
}

// windowSize has room to move the window rarely.
func windowSize(dict uint32, keep int) int {
	return keep + int(dict/2) + 1<<19 + lookahead + maxMatch
}

func hashMask(dict uint32, width int) uint32 {
	if width == 2 {
		return 0xFFFF
	}
	m := (uint32(1)<<bits.Len32(dict-1)-1)>>1 | 0xFFFF
	if m > 1<<24 {
		if width == 3 {
			return 1<<24 - 1
		}
		m >>= 1
	}
	return m
}

func headLen(dict uint32, width int) int {
	n := int(hashMask(dict, width)) + 1
	if width > 2 {
		n += hash2Size
	}
	if width > 3 {
		n += hash3Size
	}
	return n
}

// avail is how many bytes follow that are not indexed.
func (w *window) avail() int { return w.written - w.read }

// unencoded is how many bytes follow what is encoded.
func (w *window) unencoded() int { return w.written - w.read + w.ahead }

// fill takes over as much of p as there is room for and returns how much. The
// buffer and the slots grow with the input.
func (w *window) fill(p []byte) int {
	if w.written == w.size {
		drop := w.read - w.before
		copy(w.buf, w.buf[drop:w.written])
		w.base += uint32(drop)
		w.read -= drop
		w.limit -= drop
		w.written -= drop
	}
	n := min(len(p), w.size-w.written)
	if need := w.written + n + slack; need > len(w.buf) {
		w.buf = append(make([]byte, 0, min(max(need, 2*len(w.buf)), w.size+slack)), w.buf...)
		w.buf = w.buf[:cap(w.buf)]
	}
	copy(w.buf[w.written:], p[:n])
	w.written += n
	if w.written > w.after {
		w.limit = w.written - w.after
	}
	w.total += int64(n)
	slots := int(min(int64(w.cycle), w.total))
	if w.tree {
		slots *= 2
	}
	if slots > len(w.sons) {
		full := int(w.cycle)
		if w.tree {
			full *= 2
		}
		w.sons = append(make([]uint32, 0, min(max(slots, 2*len(w.sons)), full)), w.sons...)
		w.sons = w.sons[:cap(w.sons)]
	}
	return n
}

// finish lets the encoder go on to the last byte.
func (w *window) finish() { w.limit = w.written }

func (w *window) step() {
	if w.slot++; w.slot == w.cycle {
		w.slot = 0
	}
	if w.read++; uint32(w.read)+w.base == 1<<32-1 {
		w.rebase()
	}
}

// rebase lowers all positions in the index, and forgets what no match can reach.
func (w *window) rebase() {
	d := 1<<32 - 1 - w.cycle
	for _, t := range [][]uint32{w.head, w.sons} {
		for i, v := range t {
			t[i] = max(v, d) - d
		}
	}
	w.base -= d
}

// find appends to ms the matches at the next byte, longer and farther ones
// later, none longer than nice, and indexes it.
func (w *window) find(ms []match) []match {
	limit := min(w.avail(), w.nice)
	if limit < w.width {
		w.read++
		return ms
	}
	cur := w.read
	pos := uint32(cur) + w.base
	b := w.buf[cur : cur+4]
	var candidate uint32
	best := 1
	switch w.width {
	case 2:
		h := &w.head[uint32(b[0])|uint32(b[1])<<8]
		candidate, *h = *h, pos
	case 3:
		x := crc32.IEEETable[b[0]] ^ uint32(b[1])
		h2 := &w.head[x&(hash2Size-1)]
		h := &w.head[hash2Size+(x^uint32(b[2])<<8)&w.mask]
		d2 := pos - *h2
		candidate, *h = *h, pos
		*h2 = pos
		best = 2
		if d2 < w.cycle && w.buf[cur-int(d2)] == b[0] {
			best = w.extend(cur, cur-int(d2), 2, limit)
			ms = append(ms, match{uint32(best), d2 - 1})
			if best == limit {
				w.insert(limit, pos, candidate)
				return ms
			}
		}
	default:
		x := crc32.IEEETable[b[0]] ^ uint32(b[1])
		h2 := &w.head[x&(hash2Size-1)]
		x ^= uint32(b[2]) << 8
		h3 := &w.head[hash2Size+x&(hash3Size-1)]
		h := &w.head[hash2Size+hash3Size+(x^crc32.IEEETable[b[3]]<<5)&w.mask]
		d, d3 := pos-*h2, pos-*h3
		candidate, *h = *h, pos
		*h2, *h3 = pos, pos
		found := false
		if d < w.cycle && w.buf[cur-int(d)] == b[0] {
			best, found = 2, true
			ms = append(ms, match{2, d - 1})
		}
		if d != d3 && d3 < w.cycle && w.buf[cur-int(d3)] == b[0] {
			best, found, d = 3, true, d3
			ms = append(ms, match{3, d3 - 1})
		}
		if found {
			best = w.extend(cur, cur-int(d), best, limit)
			ms[len(ms)-1].n = uint32(best)
			if best == limit {
				w.insert(limit, pos, candidate)
				return ms
			}
		}
		best = max(best, 3)
	}
	if w.tree {
		ms = w.findTree(limit, pos, candidate, best, ms)
	} else {
		ms = w.findChain(limit, pos, candidate, best, ms)
	}
	w.step()
	return ms
}

// skip indexes the next n bytes.
func (w *window) skip(n int) {
	for ; n > 0; n-- {
		limit := min(w.avail(), w.nice)
		if limit < w.width {
			w.read++
			continue
		}
		pos := uint32(w.read) + w.base
		b := w.buf[w.read : w.read+4]
		var h *uint32
		switch w.width {
		case 2:
			h = &w.head[uint32(b[0])|uint32(b[1])<<8]
		case 3:
			x := crc32.IEEETable[b[0]] ^ uint32(b[1])
			w.head[x&(hash2Size-1)] = pos
			h = &w.head[hash2Size+(x^uint32(b[2])<<8)&w.mask]
		default:
			x := crc32.IEEETable[b[0]] ^ uint32(b[1])
			w.head[x&(hash2Size-1)] = pos
			x ^= uint32(b[2]) << 8
			w.head[hash2Size+x&(hash3Size-1)] = pos
			h = &w.head[hash2Size+hash3Size+(x^crc32.IEEETable[b[3]]<<5)&w.mask]
		}
		candidate := *h
		*h = pos
		w.insert(limit, pos, candidate)
	}
}

// insert links the next byte to its candidate and steps over it.
func (w *window) insert(limit int, pos, candidate uint32) {
	if w.tree {
		w.insertTree(limit, pos, candidate)
	} else {
		w.sons[w.slot] = candidate
	}
	w.step()
}

// back is the slot that was used delta positions ago.
func (w *window) back(delta uint32) uint32 {
	if delta > w.slot {
		return w.slot - delta + w.cycle
	}
	return w.slot - delta
}

func (w *window) findChain(limit int, pos, candidate uint32, best int, ms []match) []match {
	w.sons[w.slot] = candidate
	cur := w.read
	for depth := w.depth; depth > 0; depth-- {
		w.steps++
		delta := pos - candidate
		if delta >= w.cycle {
			break
		}
		at := cur - int(delta)
		candidate = w.sons[w.back(delta)]
		if w.buf[at+best] == w.buf[cur+best] && w.buf[at] == w.buf[cur] {
			if n := w.extend(cur, at, 1, limit); n > best {
				best = n
				ms = append(ms, match{uint32(n), delta - 1})
				if n == limit {
					break
				}
			}
		}
	}
	return ms
}

// findTree makes the next byte the root of its tree, which is ordered by what
// follows, newer positions above older ones.
func (w *window) findTree(limit int, pos, candidate uint32, best int, ms []match) []match {
	buf, sons, cur := w.buf, w.sons, w.read
	larger, smaller := &sons[w.slot*2+1], &sons[w.slot*2]
	var nLarger, nSmaller int
	for depth := w.depth; depth > 0; depth-- {
		w.steps++
		delta := pos - candidate
		if delta >= w.cycle {
			break
		}
		pair := sons[w.back(delta)*2:]
		pair = pair[:2:2]
		at := cur - int(delta)
		n := min(nLarger, nSmaller)
		if buf[at+n] == buf[cur+n] {
			n = w.extend(cur, at, n+1, limit)
			if n > best {
				best = n
				ms = append(ms, match{uint32(n), delta - 1})
				if n == limit {
					*smaller, *larger = pair[0], pair[1]
					return ms
				}
			}
		}
		if buf[at+n] < buf[cur+n] {
			*smaller = candidate
			smaller = &pair[1]
			candidate, nSmaller = *smaller, n
		} else {
			*larger = candidate
			larger = &pair[0]
			candidate, nLarger = *larger, n
		}
	}
	*larger, *smaller = 0, 0
	return ms
}

// insertTree is findTree without a look at what was found.
func (w *window) insertTree(limit int, pos, candidate uint32) {
	buf, sons, cur := w.buf, w.sons, w.read
	larger, smaller := &sons[w.slot*2+1], &sons[w.slot*2]
	var nLarger, nSmaller int
	for depth := w.depth; depth > 0; depth-- {
		w.steps++
		delta := pos - candidate
		if delta >= w.cycle {
			break
		}
		pair := sons[w.back(delta)*2:]
		pair = pair[:2:2]
		at := cur - int(delta)
		n := min(nLarger, nSmaller)
		if buf[at+n] == buf[cur+n] {
			n = w.extend(cur, at, n+1, limit)
			if n == limit {
				*smaller, *larger = pair[0], pair[1]
				return
			}
		}
		if buf[at+n] < buf[cur+n] {
			*smaller = candidate
			smaller = &pair[1]
			candidate, nSmaller = *smaller, n
		} else {
			*larger = candidate
			larger = &pair[0]
			candidate, nLarger = *larger, n
		}
	}
	*larger, *smaller = 0, 0
}

// extend returns how many bytes at i and j agree, limit at most, if the first n do.
func (w *window) extend(i, j, n, limit int) int {
	for n < limit {
		w.steps++
		x := binary.LittleEndian.Uint64(w.buf[i+n:]) ^ binary.LittleEndian.Uint64(w.buf[j+n:])
		if x != 0 {
			return min(n+bits.TrailingZeros64(x)>>3, limit)
		}
		n += slack
	}
	return min(n, limit)
}
