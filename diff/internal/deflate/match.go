package deflate

import (
	"encoding/binary"
	"math/bits"
)

// insert puts position p at the head of its chain and returns what was there: the
// last position before p of the same hash, or 0.
func (e *encoder) insert(p int) int {
	w := e.window[p : p+3 : p+3]
	h := (int(w[0])<<(2*e.shift&31) ^ int(w[1])<<(e.shift&31) ^ int(w[2])) & (len(e.head) - 1)
	old := e.head[h]
	e.prev[p&(len(e.prev)-1)] = old
	e.head[h] = uint16(p)
	return int(old)
}

// searchable reports whether a search may begin at the position old for a match at
// the present one.
func (e *encoder) searchable(old int) bool {
	return old != 0 && e.at-old <= e.far && (!e.gzip || e.at <= 2*e.size-minLookahead)
}

// search follows the chain from the position old for a match at the present one
// that is longer than beat, and returns its length, at most what lies ahead. If
// none is, the length is beat and matchStart stays.
func (e *encoder) search(old, beat int) int {
	chain := e.chain
	if beat >= e.good {
		chain >>= 2
	}
	nice := e.nice
	if !e.gzip {
		nice = min(nice, e.ahead)
	}
	limit := max(e.at-e.far, 0)
	window, prev := e.window, e.prev
	mask := len(prev) - 1
	scan := window[e.at : e.at+maxMatch+8]
	start := binary.LittleEndian.Uint16(scan)
	best, looks := beat, chain
	// Most candidates fail at the bytes that would make them longer; where those are
	// few kinds of bytes, only many of them tell candidates apart.
	tail := max(best-7, 0)
	end, mask8 := tailOf(scan, best)
	for {
		if (binary.LittleEndian.Uint64(window[old+tail:])^end)&mask8 == 0 && binary.LittleEndian.Uint16(window[old:]) == start {
			n := common(window[old:old+maxMatch+8], scan)
			e.steps += 1 + n>>3
			if n > best {
				best, e.matchStart = n, old
				if n >= nice {
					break
				}
				tail = max(best-7, 0)
				end, mask8 = tailOf(scan, best)
			}
		}
		if old = int(prev[old&mask]); old <= limit {
			break
		}
		if chain--; chain == 0 {
			break
		}
	}
	e.steps += looks - chain + 1
	return min(best, e.ahead)
}

// tailOf returns the last eight bytes of the first n+1, or as many as there are, and
// a mask of them.
func tailOf(p []byte, n int) (tail, mask uint64) {
	return binary.LittleEndian.Uint64(p[max(n-7, 0):]), ^uint64(0) >> (8 * max(7-n, 0))
}

// tell reports the steps taken, a batch at a time.
func (e *encoder) tell() error {
	if e.steps < stepBatch || e.work == nil {
		return nil
	}
	n := e.steps
	e.steps = 0
	return e.work.Spend(n)
}

// common counts the bytes that a and b begin with alike, at most maxMatch.
func common(a, b []byte) int {
	for n := 0; n < maxMatch; n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return min(n+bits.TrailingZeros64(x)>>3, maxMatch)
		}
	}
	return maxMatch
}

// greedy takes each match as it is found.
func (e *encoder) greedy() error {
	for e.more() {
		length := 0
		// zlib never hashes beyond the end of the input.
		if e.gzip || e.ahead >= minMatch {
			if old := e.insert(e.at); e.searchable(old) {
				length = e.search(old, minMatch-1)
				if err := e.tell(); err != nil {
					return err
				}
			}
		}
		if length < minMatch {
			e.block.literal(e.window[e.at])
			length = 1
		} else {
			e.block.match(length, e.at-e.matchStart)
		}
		full := e.full()
		e.ahead -= length
		// A long match is left out of the chains.
		if length <= e.lazy && (e.gzip || e.ahead >= minMatch) {
			for p := e.at + 1; p < e.at+length; p++ {
				e.insert(p)
			}
		}
		e.at += length
		if full {
			if err := e.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// lazily takes a match only if there is none longer one byte on.
func (e *encoder) lazily() error {
	if e.length == 0 {
		e.length = minMatch - 1
	}
	for e.more() {
		old := 0
		if e.gzip || e.ahead >= minMatch {
			old = e.insert(e.at)
		}
		before, beforeStart := e.length, e.matchStart
		e.length = minMatch - 1
		if before < e.lazy && e.searchable(old) {
			e.length = e.search(old, before)
			if err := e.tell(); err != nil {
				return err
			}
			if e.length == minMatch && e.at-e.matchStart > tooFar || e.filtered && e.length <= 5 {
				e.length = minMatch - 1
			}
		}
		switch {
		case before >= minMatch && e.length <= before:
			last := e.at + e.ahead - minMatch // the last position with three bytes
			e.block.match(before, e.at-1-beforeStart)
			full := e.full()
			for p := e.at + 1; p < e.at+before-1; p++ {
				if e.gzip || p <= last {
					e.insert(p)
				}
			}
			e.at, e.ahead = e.at+before-1, e.ahead-before+1
			e.length, e.pending = minMatch-1, false
			if full {
				if err := e.flush(false); err != nil {
					return err
				}
			}
		case e.pending:
			e.block.literal(e.window[e.at-1])
			if e.full() {
				if err := e.flush(false); err != nil {
					return err
				}
			}
			e.at, e.ahead = e.at+1, e.ahead-1
		default:
			e.pending = true
			e.at, e.ahead = e.at+1, e.ahead-1
		}
	}
	if e.ending && e.pending {
		e.block.literal(e.window[e.at-1])
		e.pending = false
	}
	return nil
}

// huffman takes no matches.
func (e *encoder) huffman() error {
	for e.more() {
		e.block.literal(e.window[e.at])
		full := e.full()
		e.at, e.ahead = e.at+1, e.ahead-1
		if full {
			if err := e.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// runs takes matches with the byte before only.
func (e *encoder) runs() error {
	for e.more() {
		n := 0
		if e.ahead >= minMatch && e.at > 0 {
			n = common(e.window[e.at:e.at+maxMatch+8], e.window[e.at-1:e.at+maxMatch+8])
			n = min(n, e.ahead)
		}
		if n >= minMatch {
			e.block.match(n, 1)
		} else {
			n = 1
			e.block.literal(e.window[e.at])
		}
		full := e.full()
		e.at, e.ahead = e.at+n, e.ahead-n
		if full {
			if err := e.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}
