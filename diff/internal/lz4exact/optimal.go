package lz4exact

const (
	horizon  = 4096 // how far ahead a parse looks
	trailing = 3    // literals priced after the last match
)

// A step is the cheapest way found to a position: a match, or a literal.
type step struct {
	price    int // in bytes
	offset   int
	length   int // 1: a literal
	literals int // how many are before the match, or end here
}

// An optimal parser looks for the cheapest sequences from each match on.
type optimal struct {
	*high
	enough int  // a match as long is taken at once
	all    bool // search wherever it might pay
	steps  [horizon + trailing]step
}

func literalsPrice(n int) int {
	if n >= 15 {
		return n + 1 + (n-15)/255
	}
	return n
}

func sequencePrice(literals, length int) int {
	p := 3 + literalsPrice(literals)
	if length >= 15+minMatch {
		p += 1 + (length-15-minMatch)/255
	}
	return p
}

// longer looks for a match at a position longer than beat; none has no length.
func (o *optimal) longer(at, beat int) (length, offset int) {
	m := o.widest(at, at, len(o.buf)-lastLiterals, beat, true)
	if m.length <= beat || !o.tell() {
		return 0, 0
	}
	return m.length, at - m.from
}

// tail prices the literals after the last match.
func (o *optimal) tail(last int) {
	for i := 1; i <= trailing; i++ {
		o.steps[last+i] = step{o.steps[last].price + literalsPrice(i), 0, 1, i}
	}
}

func (o *optimal) block(out *sequences) bool {
	at := int(o.start - o.base)
	out.anchor = at
	limit := len(o.buf) - noMatch
	enough := min(o.enough, horizon-1)
	for at <= limit {
		before := at - out.anchor
		length, offset := o.longer(at, minMatch-1)
		if o.err != nil {
			return false
		}
		if length == 0 {
			at++
			continue
		}
		if length > enough {
			if !out.sequence(o.buf, match{at, at - offset, length}) {
				return false
			}
			at = out.anchor
			continue
		}
		for i := range minMatch {
			o.steps[i] = step{literalsPrice(before + i), 0, 1, before + i}
		}
		for n := minMatch; n <= length; n++ {
			o.steps[n] = step{sequencePrice(before, n), offset, n, before}
		}
		o.tail(length)
		last := o.extend(at, limit, length, enough)
		if o.err != nil {
			return false
		}

		// The steps lead back from the last; turn them round.
		i := last.pos
		length, offset = last.length, last.offset
		for {
			s := &o.steps[i]
			s.length, length = length, s.length
			s.offset, offset = offset, s.offset
			if length > i {
				break
			}
			i -= length
		}
		for i := 0; i < last.end; {
			s := o.steps[i]
			if s.length == 1 {
				at++
				i++
				continue
			}
			i += s.length
			if !out.sequence(o.buf, match{at, at - s.offset, s.length}) {
				return false
			}
			at = out.anchor
		}
	}
	return out.last(o.buf)
}

// A final match ends a parse: it begins at pos. What is encoded ends at end, or
// with the match.
type final struct{ pos, end, length, offset int }

// extend prices the positions after the first match, which ends at last, with the
// matches that begin there.
func (o *optimal) extend(at, limit, last, enough int) final {
	for cur := 1; cur < last && at+cur <= limit; cur++ {
		here := o.steps[cur]
		// A search does not pay where the next position costs no more.
		if o.steps[cur+1].price <= here.price && (!o.all || o.steps[cur+minMatch].price < here.price+3) {
			continue
		}
		beat := last - cur
		if o.all {
			beat = minMatch - 1
		}
		length, offset := o.longer(at+cur, beat)
		if o.err != nil {
			return final{}
		}
		if length == 0 {
			continue
		}
		if length > enough || length+cur >= horizon {
			return final{cur, cur + 1, length, offset}
		}
		for i := 1; i < minMatch; i++ {
			price := here.price - literalsPrice(here.literals) + literalsPrice(here.literals+i)
			if price < o.steps[cur+i].price {
				o.steps[cur+i] = step{price, 0, 1, here.literals + i}
			}
		}
		for n := minMatch; n <= length; n++ {
			pos, literals := cur+n, 0
			price := o.steps[cur].price
			if o.steps[cur].length == 1 {
				literals = o.steps[cur].literals
				price = 0
				if cur > literals {
					price = o.steps[cur-literals].price
				}
			}
			price += sequencePrice(literals, n)
			if pos > last+trailing || price <= o.steps[pos].price {
				if n == length && last < pos {
					last = pos
				}
				o.steps[pos] = step{price, offset, n, literals}
			}
		}
		o.tail(last)
	}
	s := o.steps[last]
	return final{last - s.length, last, s.length, s.offset}
}
