package lzoexact

// optimize rearranges a block in place, as lzo1x_optimize does, so that a decoder
// takes fewer steps: short matches between literals become literals, where that
// takes no more bytes. The size stays. The data is size bytes.
//
// The block is one that was just written, so it is whole.
func optimize(block []byte, size int) {
	o := optimizer{in: block, out: make([]byte, 0, size)}
	o.walk()
}

// An optimizer decodes a block as it goes, since what becomes literals must be
// known.
type optimizer struct {
	in  []byte
	at  int    // in the block
	out []byte // what is decoded

	run      int  // where the last count of literals is in the block
	literals int  // that count
	known    bool // there is one
}

// copy decodes a match.
func (o *optimizer) copy(n, offset int) {
	for range n {
		o.out = append(o.out, o.out[len(o.out)-offset])
	}
}

// take decodes literals.
func (o *optimizer) take(n int) {
	o.out = append(o.out, o.in[o.at:o.at+n]...)
	o.at += n
}

// count reads a length: of what the marker holds, or if that is none, of bytes.
func (o *optimizer) count(n, none int) int {
	if n > 0 {
		return n
	}
	n = none
	for ; o.in[o.at] == 0; o.at++ {
		n += 255
	}
	n += int(o.in[o.at])
	o.at++
	return n
}

// unfold puts the n bytes of the match that was just read into the block in its
// place, at from.
func (o *optimizer) unfold(from, n, offset int) {
	for i := range n {
		o.in[from+i] = o.out[len(o.out)-offset+i%offset]
	}
}

// next reports whether a run of literals follows that can take n more, so that its
// length still fits one byte.
func (o *optimizer) next(n int) bool {
	c := int(o.in[o.at])
	return c > 0 && c < 16 && n+c < 16
}

// shift makes one run of the few literals that the match before counts, the n bytes
// of the match just read, and the run that follows. It returns how many literals
// are still to be decoded after those n.
func (o *optimizer) shift(n, offset int) int {
	more := int(o.in[o.at]) + 3
	o.at++
	o.in[o.run] &^= 3
	o.unfold(o.at-n, n, offset)
	o.run += 2
	copy(o.in[o.run+1:], o.in[o.run:o.run+o.literals])
	o.literals += n + more
	o.in[o.run] = byte(o.literals - 3)
	o.copy(n, offset)
	return more
}

func (o *optimizer) walk() {
	literal := 0 // literals to decode before the next match
	if o.in[0] > 17 {
		n := int(o.in[0]) - 17
		o.at = 1
		o.take(n)
		if n < 4 {
			literal = -1
		}
	}
	long := o.at > 1 && literal == 0 // a run of four and more is just behind
	for {
		t := int(o.in[o.at])
		o.at++
		if t < 16 && !long && literal == 0 {
			// A run of literals.
			o.run, o.known = o.at-1, true
			n := o.count(t, 15) + 3
			o.literals = n
			o.take(n)
			long = true
			continue
		}
		merged := 0  // literals of a run that took the match in
		kept := true // the count of literals is read behind the match
		switch {
		case t < 16 && long:
			offset := 1 + 0x800 + t>>2 + int(o.in[o.at])<<2
			o.at++
			o.copy(3, offset)
		case t < 16:
			offset := 1 + t>>2 + int(o.in[o.at])<<2
			o.at++
			none := o.in[o.at-2]&3 == 0
			switch {
			case o.known && none && o.literals == 1 && o.in[o.at] >= 16:
				o.literals += 2
				o.in[o.run] = o.in[o.run]&^3 | byte(o.literals)
				o.unfold(o.at-2, 2, offset)
				kept = false
				o.copy(2, offset)
			case o.known && none && o.next(o.literals+2):
				merged = o.shift(2, offset)
			default:
				o.copy(2, offset)
			}
		case t >= 64:
			offset := 1 + t>>2&7 + int(o.in[o.at])<<3
			o.at++
			n := t>>5 + 1
			if o.known && n == 3 && o.literals > 3 && o.in[o.at-2]&3 == 0 && o.next(o.literals+3) {
				more := int(o.in[o.at]) + 3
				o.at++
				o.unfold(o.at-3, 3, offset)
				o.literals += 3 + more
				o.in[o.run] = byte(o.literals - 3)
				o.copy(3, offset)
				merged = more
				break
			}
			o.copy(n, offset)
		default:
			var n, offset int
			if t >= 32 {
				n = o.count(t&31, 31) + 2
				offset = 1 + int(o.in[o.at])>>2 + int(o.in[o.at+1])<<6
			} else {
				n = o.count(t&7, 7) + 2
				offset = t&8<<11 + int(o.in[o.at])>>2 + int(o.in[o.at+1])<<6
				if offset == 0 {
					return // the end marker
				}
				offset += 0x4000
			}
			o.at += 2
			none := o.in[o.at-2]&3 == 0
			switch {
			case o.known && n == 3 && o.literals == 0 && none && o.in[o.at] >= 16:
				o.literals += 3
				o.in[o.run] = o.in[o.run]&^3 | byte(o.literals)
				o.unfold(o.at-3, 3, offset)
				kept = false
				o.copy(3, offset)
			case o.known && n == 3 && o.literals <= 3 && none && o.next(o.literals+3):
				merged = o.shift(3, offset)
			default:
				o.copy(n, offset)
			}
		}
		long, literal = false, 0
		if merged > 0 {
			o.take(merged)
			long = true
			continue
		}
		if !kept {
			continue
		}
		o.literals = int(o.in[o.at-2] & 3)
		o.run, o.known = o.at-2, true
		if o.literals > 0 {
			o.take(o.literals)
			literal = o.literals
		}
	}
}
