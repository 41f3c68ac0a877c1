package deflate

import "math/bits"

// A code is a Huffman code, its first bit lowest.
type code struct {
	bits uint16
	len  uint8
}

// number gives the codes of known lengths their bits, RFC 1951, 3.2.2.
func number(codes []code) {
	var count, next [16]int
	for _, c := range codes {
		count[c.len]++
	}
	count[0] = 0
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
	}
	for i, c := range codes {
		if c.len > 0 {
			codes[i].bits = bits.Reverse16(uint16(next[c.len])) >> (16 - c.len)
			next[c.len]++
		}
	}
}

// A heap orders the nodes of a tree by weight, then by depth. Which of two equal
// ones comes first follows from how it sinks them, and so do the code lengths.
type heap struct {
	nodes  [litCodes + 1]int // from 1
	size   int
	weight [2*litCodes + 1]uint32
	depth  [2*litCodes + 1]uint8
}

func (h *heap) less(a, b int) bool {
	return h.weight[a] < h.weight[b] || h.weight[a] == h.weight[b] && h.depth[a] <= h.depth[b]
}

// sink moves the node at place k down until both below it are not less.
func (h *heap) sink(k int) {
	v := h.nodes[k]
	for j := 2 * k; j <= h.size; j = 2 * k {
		if j < h.size && h.less(h.nodes[j+1], h.nodes[j]) {
			j++
		}
		if h.less(v, h.nodes[j]) {
			break
		}
		h.nodes[k] = h.nodes[j]
		k = j
	}
	h.nodes[k] = v
}

// buildCodes gives each symbol that occurs a code of at most limit bits. There are
// two codes at least, as some decoders want, if need be for symbols that do not
// occur. The result is as long as counts.
func buildCodes(counts []uint32, limit int) []code {
	n := len(counts)
	h := new(heap)
	last := -1
	for i, c := range counts {
		if c > 0 {
			h.size++
			h.nodes[h.size] = i
			h.weight[i] = c
			last = i
		}
	}
	for h.size < 2 {
		i := 0
		if last < 2 {
			last++
			i = last
		}
		h.size++
		h.nodes[h.size] = i
		h.weight[i] = 1
	}
	for k := h.size / 2; k >= 1; k-- {
		h.sink(k)
	}

	// Join the two least nodes until one is left. order holds all nodes as they
	// left the heap.
	var parent [2*litCodes + 1]int
	order := make([]int, 0, 2*n)
	node := n
	for {
		a := h.nodes[1]
		h.nodes[1] = h.nodes[h.size]
		h.size--
		h.sink(1)
		b := h.nodes[1]
		order = append(order, a, b)
		h.weight[node] = h.weight[a] + h.weight[b]
		h.depth[node] = max(h.depth[a], h.depth[b]) + 1
		parent[a], parent[b] = node, node
		h.nodes[1] = node
		node++
		h.sink(1)
		if h.size < 2 {
			break
		}
	}
	root := h.nodes[1]

	// Lengths, from the root down, cut at the limit.
	var length [2*litCodes + 1]int
	var count [16]int
	over := 0
	for i := len(order) - 1; i >= 0; i-- {
		v := order[i]
		length[v] = length[parent[v]] + 1
		if parent[v] == root {
			length[v] = 1
		}
		if length[v] > limit {
			length[v] = limit
			over++
		}
		if v < n {
			count[length[v]]++
		}
	}
	if over > 0 {
		// A leaf above the limit goes one down and takes one of those cut for a
		// brother, until the lengths are a code again.
		for ; over > 0; over -= 2 {
			k := limit - 1
			for count[k] == 0 {
				k--
			}
			count[k]--
			count[k+1] += 2
			count[limit]--
		}
		// The rarest symbols get the longest codes.
		i := 0
		for k := limit; k > 0; k-- {
			for c := count[k]; c > 0; i++ {
				if v := order[i]; v < n {
					length[v] = k
					c--
				}
			}
		}
	}
	codes := make([]code, n)
	for i := range codes {
		codes[i].len = uint8(length[i])
	}
	number(codes)
	return codes
}

// A header is what stands before the symbols of a block with codes of its own: the
// code lengths, run-length coded, RFC 1951, 3.2.7.
type header struct {
	lits, dists, meta int // how many lengths of each kind are given
	runs              []run
	codes             []code // of the runs
}

// A run is a code length, or a repetition with its extra bits.
type run struct {
	op    uint8
	extra uint8
}

const (
	opCopy  = 16 // the length before, 3 to 6 times
	opZeros = 17 // zeros, 3 to 10
	opMany  = 18 // zeros, 11 to 138
)

var (
	opExtra   = [19]uint8{opCopy: 2, opZeros: 3, opMany: 7}
	metaOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

func newHeader(lits, dists []code) *header {
	h := &header{lits: used(lits), dists: used(dists)}
	h.add(lits[:h.lits])
	h.add(dists[:h.dists])
	var counts [19]uint32
	for _, r := range h.runs {
		counts[r.op]++
	}
	h.codes = buildCodes(counts[:], 7)
	for h.meta = len(metaOrder); h.meta > 4 && h.codes[metaOrder[h.meta-1]].len == 0; h.meta-- {
	}
	return h
}

// used is how many codes there are without the unused ones at the end.
func used(codes []code) int {
	n := len(codes)
	for codes[n-1].len == 0 {
		n--
	}
	return n
}

// add appends the runs of one kind of lengths. Runs do not go from one kind into
// the other.
func (h *header) add(codes []code) {
	before := -1
	for i := 0; i < len(codes); {
		l := codes[i].len
		most, least := 7, 4 // the first of them is written out, the others are a copy
		switch {
		case l == 0:
			most, least = 138, 3
		case int(l) == before:
			most, least = 6, 3
		}
		n := 1
		for i+n < len(codes) && codes[i+n].len == l && n < most {
			n++
		}
		i += n
		switch {
		case n < least:
			for range n {
				h.runs = append(h.runs, run{op: l})
			}
		case l != 0:
			if int(l) != before {
				h.runs = append(h.runs, run{op: l})
				n--
			}
			h.runs = append(h.runs, run{opCopy, uint8(n - 3)})
		case n <= 10:
			h.runs = append(h.runs, run{opZeros, uint8(n - 3)})
		default:
			h.runs = append(h.runs, run{opMany, uint8(n - 11)})
		}
		before = int(l)
	}
}

// size is that of the header, in bits.
func (h *header) size() int {
	n := 5 + 5 + 4 + 3*h.meta
	for _, r := range h.runs {
		n += int(h.codes[r.op].len) + int(opExtra[r.op])
	}
	return n
}

func (h *header) write(w *bitWriter) {
	w.bits(uint64(h.lits-257), 5)
	w.bits(uint64(h.dists-1), 5)
	w.bits(uint64(h.meta-4), 4)
	for _, i := range metaOrder[:h.meta] {
		w.bits(uint64(h.codes[i].len), 3)
	}
	for _, r := range h.runs {
		c := h.codes[r.op]
		w.bits(uint64(c.bits)|uint64(r.extra)<<c.len, uint(c.len+opExtra[r.op]))
	}
}
