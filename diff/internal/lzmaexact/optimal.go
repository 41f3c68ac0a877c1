package lzmaexact

import "math/bits"

// A node is a place that the parser may reach, relative to where it started, and
// the cheapest way found so far.
type node struct {
	price uint32
	prev  uint32 // where the last symbol starts
	back  uint32 // that symbol, as optimal returns it
	via   via    // what stands before that symbol

	prev2, back2 uint32 // if viaMatch: where the match starts that precedes the literal, and which

	state uint32
	reps  [numReps]uint32
}

// A via says that a way to a node is several symbols at once.
type via uint8

const (
	direct     via = iota
	viaLiteral     // a literal, then a match of the last distance
	viaMatch       // a match, a literal, then a match of the last distance
)

// offer takes a single symbol if it is cheaper.
func (n *node) offer(price, prev, back uint32) {
	if price < n.price {
		n.price, n.prev, n.back, n.via = price, prev, back, direct
	}
}

// A parser chooses symbols by what they cost. Its prices are those of the
// probabilities some time ago: when they are told anew is part of the encoding.
type parser struct {
	nodes     [maxParse]node
	at, last  uint32 // nodes of the chosen way that are still to be encoded
	distSlots int

	slotPrices  [distStates][64]uint32
	distPrices  [distStates][fullDist]uint32
	alignPrices [1 << alignBits]uint32
	matches     uint32 // encoded since the prices of distances were told
	aligned     uint32 // encoded since those of their lowest bits were
}

func newParser(t tuning) *parser {
	return &parser{distSlots: 2 * bits.Len32(t.dict-1)}
}

func (p *parser) reset() {
	p.at, p.last = 0, 0
	p.matches, p.aligned = 1<<30, 1<<30 // tell prices before first use
}

// note counts a match that was encoded.
func (p *parser) note(dist uint32) {
	p.matches++
	if dist >= fullDist {
		p.aligned++
	}
}

func (p *parser) priceDistances(m *model) {
	for s := range p.slotPrices {
		prices := &p.slotPrices[s]
		for slot := range p.distSlots {
			prices[slot] = priceTree(m.distSlots[s][:], 6, uint32(slot))
			if slot >= fullSlot {
				prices[slot] += uint32(slot>>1-1-alignBits) << priceShift
			}
		}
		copy(p.distPrices[s][:4], prices[:4])
	}
	for dist := uint32(4); dist < fullDist; dist++ {
		slot := distSlot(dist)
		low := slot>>1 - 1
		base := (2 | slot&1) << low
		price := priceReverse(m.distLow[base-slot:], int(low), dist-base)
		for s := range p.distPrices {
			p.distPrices[s][dist] = price + p.slotPrices[s][slot]
		}
	}
	p.matches = 0
}

func (p *parser) priceAlign(m *model) {
	for i := range p.alignPrices {
		p.alignPrices[i] = priceReverse(m.align[:], alignBits, uint32(i))
	}
	p.aligned = 0
}

func (e *encoder) priceMatch(dist, n, posState uint32) uint32 {
	p, s := e.parser, distState(n)
	price := e.matchLen.prices[posState][n-minMatch]
	if dist < fullDist {
		return price + p.distPrices[s][dist]
	}
	return price + p.slotPrices[s][distSlot(dist)] + p.alignPrices[dist%(1<<alignBits)]
}

func (m *model) priceRepLen(n, posState uint32) uint32 {
	return m.repLen.prices[posState][n-minMatch]
}

func (m *model) priceShortRep(state, posState uint32) uint32 {
	return price0(m.isRep0[state]) + price0(m.isRep0Long[state][posState])
}

func (m *model) priceRep(rep int, state, posState uint32) uint32 {
	switch rep {
	case 0:
		return price0(m.isRep0[state]) + price1(m.isRep0Long[state][posState])
	case 1:
		return price1(m.isRep0[state]) + price0(m.isRep1[state])
	}
	return price1(m.isRep0[state]) + price1(m.isRep1[state]) + priceBit(m.isRep2[state], uint32(rep-2))
}

// priceLiteral leaves out the bit that says literal.
func (m *model) priceLiteral(state, pos uint32, prev, would, b byte) uint32 {
	p := m.literalProbs(pos, prev)
	if state < 7 {
		return priceTree(p, 8, uint32(b))
	}
	price, same, w, node := uint32(0), uint32(0x100), uint32(would), uint32(1)
	for i := 7; i >= 0; i-- {
		w <<= 1
		bit := uint32(b) >> i & 1
		price += priceBit(p[same+w&same+node], bit)
		node = node<<1 | bit
		if w>>8&1 != bit {
			same = 0
		}
	}
	return price
}

// optimal decides what comes next by the cheapest way through the bytes ahead. It
// returns what greedy returns.
func (e *encoder) optimal() (back, n uint32) {
	p := e.parser
	if p.at != p.last {
		from := &p.nodes[p.at]
		n = from.prev - p.at
		p.at = from.prev
		return from.back, n
	}
	if e.ahead == 0 {
		if p.matches >= 1<<7 {
			p.priceDistances(&e.model)
		}
		if p.aligned >= 1<<alignBits {
			p.priceAlign(&e.model)
		}
	}
	back, n, end := e.start()
	if end == 0 {
		return back, n
	}
	cur := uint32(1)
	for ; cur < end; cur++ {
		e.look()
		if e.longest >= e.nice {
			break
		}
		end = e.extendWays(cur, end)
	}
	return p.choose(cur)
}

// choose turns the way to node end around, so that prev is where a symbol ends,
// and returns its first symbol.
func (p *parser) choose(end uint32) (back, n uint32) {
	nodes := &p.nodes
	p.last = end
	prev, back := nodes[end].prev, nodes[end].back
	for cur := end; cur != 0; {
		if from := &nodes[cur]; from.via != direct {
			before := &nodes[prev]
			before.back, before.via, before.prev = literal, direct, prev-1
			if from.via == viaMatch {
				first := &nodes[prev-1]
				first.via, first.prev, first.back = direct, from.prev2, from.back2
			}
		}
		at := prev
		prev, nodes[at].prev = nodes[at].prev, cur
		back, nodes[at].back = nodes[at].back, back
		cur = at
	}
	p.at = nodes[0].prev
	return nodes[0].back, p.at
}

// start finds the ways that begin with one symbol here. It returns the last node
// they reach, or 0 and the symbol if there is nothing to weigh.
func (e *encoder) start() (back, n, end uint32) {
	if e.ahead == 0 {
		e.look()
	}
	main, ms := e.longest, e.matches
	avail := min(e.avail()+1, maxMatch)
	if avail < 2 {
		return literal, 1, 0
	}
	cur := e.read - 1
	var repLens [numReps]int
	best := 0
	for i, d := range e.reps {
		repLens[i] = e.repeat(cur, d, avail)
		if repLens[i] > repLens[best] {
			best = i
		}
	}
	if l := repLens[best]; l >= e.nice {
		e.pass(l - 1)
		return uint32(best), uint32(l), 0
	}
	if main >= e.nice {
		e.pass(main - 1)
		return ms[len(ms)-1].dist + numReps, uint32(main), 0
	}
	b, would := e.buf[cur], e.buf[cur-int(e.reps[0])-1]
	if main < 2 && b != would && repLens[best] < 2 {
		return literal, 1, 0
	}

	nodes := &e.parser.nodes
	state, posState := e.state, e.pos&e.posMask
	nodes[0].state = state
	one := &nodes[1]
	one.price = price0(e.isMatch[state][posState]) + e.priceLiteral(state, e.pos, e.buf[cur-1], would, b)
	one.back, one.via, one.prev = literal, direct, 0
	match := price1(e.isMatch[state][posState])
	rep := match + price1(e.isRep[state])
	if b == would {
		one.offer(rep+e.priceShortRep(state, posState), 0, 0)
	}
	end = uint32(max(main, repLens[best]))
	if end < 2 {
		return one.back, 1, 0
	}
	nodes[0].reps = e.reps
	for i := uint32(2); i <= end; i++ {
		nodes[i].price = unreached
	}
	for i, l := range repLens {
		if l < 2 {
			continue
		}
		price := rep + e.priceRep(i, state, posState)
		e.steps += l
		for n := uint32(l); n >= 2; n-- {
			nodes[n].offer(price+e.priceRepLen(n, posState), 0, uint32(i))
		}
	}
	price := match + price0(e.isRep[state])
	i := 0
	e.steps += main
	for n := uint32(max(repLens[0]+1, 2)); n <= uint32(main); n++ {
		for n > ms[i].n {
			i++
		}
		nodes[n].offer(price+e.priceMatch(ms[i].dist, n, posState), 0, ms[i].dist+numReps)
	}
	return 0, 0, end
}

// arrive works out the state and the last distances at node cur by the way that
// leads to it.
func (p *parser) arrive(cur uint32) *node {
	nodes := &p.nodes
	n := &nodes[cur]
	prev, back := n.prev, n.back
	var state uint32
	switch n.via {
	case direct:
		state = nodes[prev].state
	case viaLiteral:
		prev--
		state = afterLiteral(nodes[prev].state)
	case viaMatch:
		prev, back = n.prev2, n.back2
		state = nodes[prev].state
		if back < numReps {
			state = afterRep(state)
		} else {
			state = afterMatch(state)
		}
		state = afterLiteral(state)
	}
	from := &nodes[prev]
	if n.via == direct && prev == cur-1 {
		n.reps = from.reps
		if back == 0 {
			state = afterShortRep(state)
		} else {
			state = afterLiteral(state)
		}
	} else {
		n.reps = used(from.reps, back)
		if n.via == viaMatch || back < numReps {
			state = afterRep(state)
		} else {
			state = afterMatch(state)
		}
	}
	n.state = state
	return n
}

// used returns the last distances after a match.
func used(d [numReps]uint32, back uint32) [numReps]uint32 {
	if back < numReps {
		return pulled(d, back)
	}
	return [numReps]uint32{back - numReps, d[0], d[1], d[2]}
}

// extendWays goes on from node cur with every symbol that may come there, and with
// what likely pays off after it. It returns the last node reached.
func (e *encoder) extendWays(cur, end uint32) uint32 {
	p := e.parser
	nodes := &p.nodes
	here := p.arrive(cur)
	state, last := here.state, here.reps
	at := e.read - 1
	pos := e.pos + cur
	posState := pos & e.posMask
	b, would := e.buf[at], e.buf[at-int(last[0])-1]

	lit := here.price + price0(e.isMatch[state][posState]) + e.priceLiteral(state, pos, e.buf[at-1], would, b)
	next := &nodes[cur+1]
	improved := false
	if lit < next.price {
		next.price, next.prev, next.back, next.via = lit, cur, literal, direct
		improved = true
	}
	match := here.price + price1(e.isMatch[state][posState])
	rep := match + price1(e.isRep[state])
	if b == would && !(next.prev < cur && next.back == 0) {
		if price := rep + e.priceShortRep(state, posState); price <= next.price {
			next.price, next.prev, next.back, next.via = price, cur, 0, direct
			improved = true
		}
	}
	full := min(e.avail()+1, maxParse-1-int(cur))
	if full < 2 {
		return end
	}
	avail := min(full, e.nice)

	// reach returns node i, and makes it and those before it offers to improve on.
	reach := func(i uint32) *node {
		for end < i {
			end++
			nodes[end].price = unreached
		}
		return &nodes[i]
	}

	// A literal, then the last distance.
	if !improved && b != would {
		from := at - int(last[0]) - 1
		n := e.run(at+1, from+1, min(full, e.nice+1)-1)
		if n >= 2 {
			s, ps := afterLiteral(state), (pos+1)&e.posMask
			price := lit + price1(e.isMatch[s][ps]) + price1(e.isRep[s]) +
				e.priceRep(0, s, ps) + e.priceRepLen(uint32(n), ps)
			if to := reach(cur + 1 + uint32(n)); price < to.price {
				to.price, to.prev, to.back, to.via = price, cur+1, 0, viaLiteral
			}
		}
	}

	// tail weighs a match of n bytes at distance from, price included, that is
	// followed by a literal and the match's own distance.
	tail := func(n uint32, from int, s, price, back uint32) {
		more := e.run(at+int(n)+1, from+int(n)+1, min(full, int(n)+1+e.nice)-int(n)-1)
		if more < 2 {
			return
		}
		ps := (pos + n) & e.posMask
		price += price0(e.isMatch[s][ps]) +
			e.priceLiteral(s, pos+n, e.buf[at+int(n)-1], e.buf[from+int(n)], e.buf[at+int(n)])
		s, ps = afterLiteral(s), (ps+1)&e.posMask
		price += price1(e.isMatch[s][ps]) + price1(e.isRep[s]) +
			e.priceRep(0, s, ps) + e.priceRepLen(uint32(more), ps)
		if to := reach(cur + n + 1 + uint32(more)); price < to.price {
			to.price, to.prev, to.back, to.via = price, cur+n+1, 0, viaMatch
			to.prev2, to.back2 = cur, back
		}
	}

	least := uint32(2)
	for i, d := range last {
		l := uint32(e.repeat(at, d, avail))
		if l < 2 {
			continue
		}
		reach(cur + l)
		price := rep + e.priceRep(i, state, posState)
		e.steps += int(l)
		for n := l; n >= 2; n-- {
			nodes[cur+n].offer(price+e.priceRepLen(n, posState), cur, uint32(i))
		}
		if i == 0 {
			least = l + 1
		}
		tail(l, at-int(d)-1, afterRep(state), price+e.priceRepLen(l, posState), uint32(i))
	}

	ms, main := e.matches, uint32(e.longest)
	if main > uint32(avail) {
		main = uint32(avail)
		i := 0
		for main > ms[i].n {
			i++
		}
		ms[i].n = main
		ms = ms[:i+1]
	}
	if main < least {
		return end
	}
	reach(cur + main)
	e.steps += int(main)
	price := match + price0(e.isRep[state])
	i := 0
	for least > ms[i].n {
		i++
	}
	for n := least; i < len(ms); n++ {
		m := ms[i]
		price := price + e.priceMatch(m.dist, n, posState)
		nodes[cur+n].offer(price, cur, m.dist+numReps)
		if n == m.n {
			tail(n, at-int(m.dist)-1, afterMatch(state), price, m.dist+numReps)
			i++
		}
	}
	return end
}

// run is how many bytes at i and j agree, limit at most.
func (e *encoder) run(i, j, limit int) int {
	if limit <= 0 {
		return 0
	}
	return e.extend(i, j, 0, limit)
}
