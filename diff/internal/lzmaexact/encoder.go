package lzmaexact

// An encoder turns the bytes of its window into symbols of LZMA.
type encoder struct {
	props Props
	window
	model
	rc  rangeEncoder
	pos uint32 // bytes encoded, modulo 1 << 32

	matches []match // at the last byte that the window indexed
	longest int     // length of the longest, beyond nice if it goes on

	parser *parser // nil: greedy
	begun  bool    // the first byte is encoded
}

func newEncoder(t tuning, keep int) *encoder {
	e := &encoder{props: t.props, matches: make([]match, 0, maxMatch+1)}
	e.window.init(t, keep)
	if t.mode == Normal {
		e.parser = newParser(t)
		e.matchLen.table = t.nice + 1 - minMatch
		e.repLen.table = e.matchLen.table
	}
	return e
}

// restart makes the encoder ready for a new stream.
func (e *encoder) restart() {
	e.window.reset()
	e.pos, e.begun = 0, false
	e.rc.out = e.rc.out[:0]
	e.resetState()
}

// resetState forgets all but the window.
func (e *encoder) resetState() {
	e.rc.reset()
	e.model.reset(e.props)
	if e.parser != nil {
		e.parser.reset()
	}
}

// look indexes the next byte and notes the matches there.
func (e *encoder) look() {
	e.matches = e.find(e.matches[:0])
	e.longest = 0
	if n := len(e.matches); n > 0 {
		m := e.matches[n-1]
		e.longest = int(m.n)
		if e.longest == e.nice {
			cur := e.read - 1
			e.longest = e.extend(cur, cur-int(m.dist)-1, e.longest, min(e.avail()+1, maxMatch))
		}
	}
	e.ahead++
}

// pass indexes n bytes that nobody looks for matches at.
func (e *encoder) pass(n int) {
	e.skip(n)
	e.ahead += n
}

// code encodes what the window lets it; if final, up to the end of the input. It
// stops early, and returns true, where the window's position stop is reached or the
// output might come to room bytes; true too at the end of the input. Errors: that of
// the work told.
func (e *encoder) code(final bool, stop, room int) (bool, error) {
	if !e.begun {
		if e.read == e.limit {
			if !final {
				return false, nil
			}
		} else {
			// The first symbol is always a literal.
			e.skip(1)
			e.encodeLiteral(&e.rc, 0, 0, 0, e.buf[0])
			e.pos++
		}
		e.begun = true
	}
	for e.read-e.ahead < stop && e.rc.size() < room {
		if e.read >= e.limit {
			if !final {
				return false, nil
			}
			if e.ahead == 0 {
				break
			}
		}
		if err := e.tell(); err != nil {
			return false, err
		}
		var back, n uint32
		if e.parser == nil {
			back, n = e.greedy()
		} else {
			back, n = e.optimal()
		}
		cur := e.read - e.ahead
		switch {
		case back == literal:
			e.encodeLiteral(&e.rc, e.pos, e.buf[cur-1], e.buf[cur-int(e.reps[0])-1], e.buf[cur])
		case back < numReps:
			e.encodeRep(&e.rc, e.pos, back, n)
		default:
			e.encodeMatch(&e.rc, e.pos, back-numReps, n)
			if e.parser != nil {
				e.parser.note(back - numReps)
			}
		}
		e.ahead -= int(n)
		e.pos += n
	}
	return true, nil
}
