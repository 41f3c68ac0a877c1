package lzmaexact

// farther tells whether a distance is so much longer that it costs more than a
// byte of match length gains.
func farther(long, short uint32) bool { return long>>7 > short }

// greedy decides what comes next by the matches here and at the next byte. It
// returns a literal, the number of a last distance, or numReps plus a distance; and
// the length.
func (e *encoder) greedy() (back, n uint32) {
	if e.ahead == 0 {
		e.look()
	}
	cur := e.read - 1
	avail := min(e.avail()+1, maxMatch)
	if avail < 2 {
		return literal, 1
	}

	repLen, rep := 0, 0
	for i, d := range e.reps {
		l := e.repeat(cur, d, avail)
		if l >= e.nice {
			e.pass(l - 1)
			return uint32(i), uint32(l)
		}
		if l > repLen {
			repLen, rep = l, i
		}
	}

	main, dist := e.longest, uint32(0)
	ms := e.matches
	if main >= e.nice {
		e.pass(main - 1)
		return ms[len(ms)-1].dist + numReps, uint32(main)
	}
	if main >= 2 {
		dist = ms[len(ms)-1].dist
		for len(ms) > 1 && main == int(ms[len(ms)-2].n)+1 && farther(dist, ms[len(ms)-2].dist) {
			ms = ms[:len(ms)-1]
			main, dist = int(ms[len(ms)-1].n), ms[len(ms)-1].dist
		}
		if main == 2 && dist >= 0x80 {
			main = 1
		}
	}

	if repLen >= 2 && (repLen+1 >= main || repLen+2 >= main && dist > 1<<9 || repLen+3 >= main && dist > 1<<15) {
		e.pass(repLen - 1)
		return uint32(rep), uint32(repLen)
	}
	if main < 2 || avail <= 2 {
		return literal, 1
	}

	e.look()
	if e.longest >= 2 {
		next := e.matches[len(e.matches)-1].dist
		if e.longest >= main && next < dist ||
			e.longest == main+1 && !farther(next, dist) ||
			e.longest > main+1 ||
			e.longest+1 >= main && main >= 3 && farther(dist, next) {
			return literal, 1
		}
	}
	enough := max(main-1, 2)
	for _, d := range e.reps {
		if e.repeat(cur+1, d, enough) >= enough {
			return literal, 1
		}
	}
	e.pass(main - 2)
	return dist + numReps, uint32(main)
}

// repeat is how long a match of that distance is at cur, limit at most; 0 if
// shorter than 2.
func (e *encoder) repeat(cur int, dist uint32, limit int) int {
	at := cur - int(dist) - 1
	if e.buf[at] != e.buf[cur] || e.buf[at+1] != e.buf[cur+1] {
		return 0
	}
	return e.extend(cur, at, 2, limit)
}
