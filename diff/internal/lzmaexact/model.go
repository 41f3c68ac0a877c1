package lzmaexact

import "math/bits"

const (
	states     = 12
	posStates  = 1 << 4
	numReps    = 4 // last distances that have names of their own
	minMatch   = 2
	distStates = 4      // contexts of a distance, by the length of its match
	fullDist   = 1 << 7 // shorter distances are modelled bit by bit
	fullSlot   = 14     // slot of fullDist
	alignBits  = 4      // lowest bits of longer distances, modelled too
	literal    = 1<<32 - 1
	maxLC      = 4 // literal context and position bits together
)

// The states tell what the last symbols were. Those below 7 follow a literal.
func afterLiteral(s uint32) uint32 {
	switch {
	case s < 4:
		return 0
	case s < 10:
		return s - 3
	}
	return s - 6
}

func afterMatch(s uint32) uint32 { return after(s, 7, 10) }

func afterRep(s uint32) uint32 { return after(s, 8, 11) }

func afterShortRep(s uint32) uint32 { return after(s, 9, 11) }

func after(s, literal, other uint32) uint32 {
	if s < 7 {
		return literal
	}
	return other
}

// distSlot is the slot of a distance: its two highest bits, and how many follow.
func distSlot(dist uint32) uint32 {
	if dist < 4 {
		return dist
	}
	n := uint32(bits.Len32(dist)) - 1
	return n<<1 | dist>>(n-1)&1
}

func distState(n uint32) uint32 { return min(n-minMatch, distStates-1) }

// A lengthModel holds the probabilities of match lengths, and what the parser
// believes them to cost. It is told anew after so many lengths.
type lengthModel struct {
	choice, choice2 prob
	low, mid        [posStates][8]prob
	high            [256]prob

	prices [posStates][maxMatch - minMatch + 1]uint32
	count  [posStates]int
	table  int // lengths that have a price; 0 if nobody asks
}

func (l *lengthModel) reset(posStates int) {
	l.choice, l.choice2 = probInit, probInit
	for i := range posStates {
		resetProbs(l.low[i][:])
		resetProbs(l.mid[i][:])
	}
	resetProbs(l.high[:])
	if l.table > 0 {
		for i := range posStates {
			l.price(uint32(i))
		}
	}
}

func (l *lengthModel) price(posState uint32) {
	l.count[posState] = l.table
	low, choice := price0(l.choice), price1(l.choice)
	mid, high := choice+price0(l.choice2), choice+price1(l.choice2)
	prices := l.prices[posState][:l.table]
	for i := range prices {
		switch n := uint32(i); {
		case n < 8:
			prices[i] = low + priceTree(l.low[posState][:], 3, n)
		case n < 16:
			prices[i] = mid + priceTree(l.mid[posState][:], 3, n-8)
		default:
			prices[i] = high + priceTree(l.high[:], 8, n-16)
		}
	}
}

func (l *lengthModel) encode(rc *rangeEncoder, n, posState uint32) {
	// Prices are told before the probabilities adapt to this length.
	if l.table > 0 {
		if l.count[posState]--; l.count[posState] == 0 {
			l.price(posState)
		}
	}
	switch n -= minMatch; {
	case n < 8:
		rc.bit(&l.choice, 0)
		rc.tree(l.low[posState][:], 3, n)
	case n < 16:
		rc.bit(&l.choice, 1)
		rc.bit(&l.choice2, 0)
		rc.tree(l.mid[posState][:], 3, n-8)
	default:
		rc.bit(&l.choice, 1)
		rc.bit(&l.choice2, 1)
		rc.tree(l.high[:], 8, n-16)
	}
}

// A model is the state of LZMA: all that a decoder keeps besides the dictionary.
type model struct {
	lc, posMask, literalMask uint32

	state uint32
	reps  [numReps]uint32

	isMatch, isRep0Long           [states][posStates]prob
	isRep, isRep0, isRep1, isRep2 [states]prob
	distSlots                     [distStates][64]prob
	distLow                       [fullDist - fullSlot + 1]prob
	align                         [1 << alignBits]prob
	matchLen, repLen              lengthModel
	literals                      [0x300 << maxLC]prob
}

func (m *model) reset(p Props) {
	m.lc = uint32(p.LC)
	m.posMask = 1<<p.PB - 1
	m.literalMask = 1<<p.LP - 1
	m.state = 0
	m.reps = [numReps]uint32{}
	for i := range states {
		resetProbs(m.isMatch[i][:])
		resetProbs(m.isRep0Long[i][:])
	}
	for _, p := range []*[states]prob{&m.isRep, &m.isRep0, &m.isRep1, &m.isRep2} {
		resetProbs(p[:])
	}
	for i := range m.distSlots {
		resetProbs(m.distSlots[i][:])
	}
	resetProbs(m.distLow[:])
	resetProbs(m.align[:])
	m.matchLen.reset(1 << p.PB)
	m.repLen.reset(1 << p.PB)
	resetProbs(m.literals[:0x300<<(p.LC+p.LP)])
}

// literalProbs are the probabilities of a literal by its position and the byte before.
func (m *model) literalProbs(pos uint32, prev byte) []prob {
	i := 0x300 * ((pos&m.literalMask)<<m.lc + uint32(prev)>>(8-m.lc))
	return m.literals[i:][:0x300:0x300]
}

// encodeLiteral encodes a byte. After a match its bits go by those of the byte
// that the match would have gone on with, as long as they agree.
func (m *model) encodeLiteral(rc *rangeEncoder, pos uint32, prev, would, b byte) {
	rc.bit(&m.isMatch[m.state][pos&m.posMask], 0)
	p := m.literalProbs(pos, prev)
	if m.state < 7 {
		rc.tree(p, 8, uint32(b))
	} else {
		same, w, node := uint32(0x100), uint32(would), uint32(1)
		for i := 7; i >= 0; i-- {
			w <<= 1
			bit := uint32(b) >> i & 1
			rc.bit(&p[same+w&same+node], bit)
			node = node<<1 | bit
			if w>>8&1 != bit {
				same = 0
			}
		}
	}
	m.state = afterLiteral(m.state)
}

func (m *model) encodeMatch(rc *rangeEncoder, pos, dist, n uint32) {
	posState := pos & m.posMask
	rc.bit(&m.isMatch[m.state][posState], 1)
	rc.bit(&m.isRep[m.state], 0)
	m.state = afterMatch(m.state)
	m.matchLen.encode(rc, n, posState)
	slot := distSlot(dist)
	rc.tree(m.distSlots[distState(n)][:], 6, slot)
	if slot >= 4 {
		low := int(slot>>1 - 1)
		base := (2 | slot&1) << low
		if slot < fullSlot {
			rc.reverse(m.distLow[base-slot:], low, dist-base)
		} else {
			rc.direct(low-alignBits, (dist-base)>>alignBits)
			rc.reverse(m.align[:], alignBits, dist)
		}
	}
	m.reps = [numReps]uint32{dist, m.reps[0], m.reps[1], m.reps[2]}
}

func (m *model) encodeRep(rc *rangeEncoder, pos, rep, n uint32) {
	posState := pos & m.posMask
	rc.bit(&m.isMatch[m.state][posState], 1)
	rc.bit(&m.isRep[m.state], 1)
	if rep == 0 {
		rc.bit(&m.isRep0[m.state], 0)
		rc.bit(&m.isRep0Long[m.state][posState], min(n-1, 1))
	} else {
		rc.bit(&m.isRep0[m.state], 1)
		rc.bit(&m.isRep1[m.state], min(rep-1, 1))
		if rep > 1 {
			rc.bit(&m.isRep2[m.state], rep-2)
		}
		m.reps = pulled(m.reps, rep)
	}
	if n == 1 {
		m.state = afterShortRep(m.state)
		return
	}
	m.repLen.encode(rc, n, posState)
	m.state = afterRep(m.state)
}

// pulled returns the distances with number i in front of the others.
func pulled(d [numReps]uint32, i uint32) [numReps]uint32 {
	switch i {
	case 1:
		return [numReps]uint32{d[1], d[0], d[2], d[3]}
	case 2:
		return [numReps]uint32{d[2], d[0], d[1], d[3]}
	case 3:
		return [numReps]uint32{d[3], d[0], d[1], d[2]}
	}
	return d
}
