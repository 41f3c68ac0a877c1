package lzmaexact

const (
	probBits = 11                  // a probability is a share of 1 << probBits
	probInit = 1 << (probBits - 1) // both bits equally likely
	probMove = 5                   // how fast probabilities adapt
	rangeTop = 1 << 24             // below it the range is scaled by eight bits
)

// A prob is how likely a bit is zero, in shares of 1 << probBits.
type prob uint16

func resetProbs(p []prob) {
	for i := range p {
		p[i] = probInit
	}
}

// A rangeEncoder is the arithmetic coder of LZMA. Bytes that are settled are
// appended to out.
type rangeEncoder struct {
	low     uint64
	width   uint32
	cache   byte
	pending int // bytes that a carry may still change: cache, and 0xFF thereafter
	out     []byte
}

func (r *rangeEncoder) reset() {
	r.low, r.width, r.cache, r.pending = 0, 1<<32-1, 0, 1
}

// size is what the output comes to if it is flushed now, or a byte less.
func (r *rangeEncoder) size() int { return len(r.out) + r.pending + 4 }

func (r *rangeEncoder) shift() {
	if uint32(r.low) < 0xFF000000 || r.low>>32 != 0 {
		carry := byte(r.low >> 32)
		r.out = append(r.out, r.cache+carry)
		for ; r.pending > 1; r.pending-- {
			r.out = append(r.out, 0xFF+carry)
		}
		r.pending = 0
		r.cache = byte(r.low >> 24)
	}
	r.pending++
	r.low = uint64(uint32(r.low) << 8)
}

// widen scales the range before a bit is encoded, not after: it shows in size.
func (r *rangeEncoder) widen() {
	if r.width < rangeTop {
		r.width <<= 8
		r.shift()
	}
}

func (r *rangeEncoder) flush() {
	r.widen()
	for range 5 {
		r.shift()
	}
}

// bit encodes a bit, 0 or 1, and adapts its probability.
func (r *rangeEncoder) bit(p *prob, bit uint32) {
	r.widen()
	v := uint32(*p)
	bound := r.width >> probBits * v
	if bit == 0 {
		r.width = bound
		*p = prob(v + (1<<probBits-v)>>probMove)
	} else {
		r.low += uint64(bound)
		r.width -= bound
		*p = prob(v - v>>probMove)
	}
}

// tree encodes the lowest n bits of v, the highest of them first.
func (r *rangeEncoder) tree(p []prob, n int, v uint32) {
	node := uint32(1)
	for n--; n >= 0; n-- {
		bit := v >> n & 1
		r.bit(&p[node], bit)
		node = node<<1 | bit
	}
}

// reverse encodes the lowest n bits of v, the lowest of them first.
func (r *rangeEncoder) reverse(p []prob, n int, v uint32) {
	node := uint32(1)
	for range n {
		bit := v & 1
		v >>= 1
		r.bit(&p[node], bit)
		node = node<<1 | bit
	}
}

// direct encodes the lowest n bits of v, the highest first, as equally likely.
func (r *rangeEncoder) direct(n int, v uint32) {
	for n--; n >= 0; n-- {
		r.widen()
		r.width >>= 1
		if v>>n&1 == 1 {
			r.low += uint64(r.width)
		}
	}
}
