package lzoexact

import "encoding/binary"

const (
	window  = m4Offset // how far back a match may be
	longest = 2048     // of a match
	hashes  = 1 << 14
	ring    = 1 << 16      // positions in the window and ahead of it, and more
	byLen   = m3Length + 1 // lengths for which the nearest match is kept
)

// A tuning is what a level of LZO1X-999 stands for.
type tuning struct {
	tries int  // how many bytes to look ahead for a better match
	good  int  // at this length, look at a quarter of the positions
	lazy  int  // at this length, do not look ahead
	chain int  // positions to look at
	near  bool // take a match one or two shorter, if it takes fewer bytes
}

var tunings = [10]tuning{
	1: {0, 32, 32, 4, false},
	2: {0, 32, 32, 8, false},
	3: {0, 32, 32, 16, false},
	4: {1, 4, 4, 16, false},
	5: {1, 8, 16, 32, false},
	6: {1, 8, 16, 128, false},
	7: {2, 8, 32, 256, false},
	8: {2, 32, 128, 2048, true},
	9: {2, longest, longest, 4096, true},
}

// A finder looks for matches at one position after the other.
type finder struct {
	data  []byte
	at    int // the next position
	chain int // positions to look at
	near  bool

	head   [hashes]int32  // by hash of three bytes: the last position
	count  [hashes]uint16 // by hash: how many positions in the window have it
	before [ring]int32    // by position: the one before of the same hash
	best   [ring]uint16   // by position: the longest match found there
	pairs  [1 << 16]int32 // by two bytes: the last position in the window, or -1

	// What was found at the position before at.
	length, offset int
	offsets        [byLen]int // by length: the nearest match of it, or 0

	steps int // taken and not told yet
	work  interface{ Spend(int) error }
}

// stepBatch is how many steps are told together.
const stepBatch = 4096

// tell reports the steps taken, a batch at a time.
func (f *finder) tell() error {
	if f.steps < stepBatch || f.work == nil {
		return nil
	}
	n := f.steps
	f.steps = 0
	return f.work.Spend(n)
}

func newFinder(data []byte, t tuning) *finder {
	f := &finder{data: data, chain: t.chain, near: t.near}
	for i := range f.pairs {
		f.pairs[i] = -1
	}
	return f
}

// byteAt is a byte of the data, or 0 after it: hashes of the last two positions
// are never looked for.
func (f *finder) byteAt(i int) int {
	if i < len(f.data) {
		return int(f.data[i])
	}
	return 0
}

func (f *finder) hash(i int) int {
	return (0x9f5f * ((f.byteAt(i)<<5^f.byteAt(i+1))<<5 ^ f.byteAt(i+2))) >> 5 & (hashes - 1)
}

func (f *finder) pair(i int) int { return f.byteAt(i) | f.byteAt(i+1)<<8 }

// forget takes the position out that leaves the window.
func (f *finder) forget() {
	old := f.at - window
	if old < 0 {
		return
	}
	f.count[f.hash(old)]--
	if p := f.pair(old); int(f.pairs[p]) == old {
		f.pairs[p] = -1
	}
}

// accept passes n positions without looking.
func (f *finder) accept(n int) {
	for range n {
		f.forget()
		h := f.hash(f.at)
		f.before[f.at&(ring-1)] = f.head[h]
		f.head[h] = int32(f.at)
		f.best[f.at&(ring-1)] = longest + 1
		f.count[h]++
		f.pairs[f.pair(f.at)] = int32(f.at)
		f.at++
	}
}

// find looks for the longest match at the next position. It reports whether there
// is one.
func (f *finder) find() bool {
	f.length, f.offset = 1, 0
	if f.at == len(f.data) {
		f.length = 0
		return false
	}
	at := f.at
	h := f.hash(at)
	node := f.head[h]
	f.before[at&(ring-1)] = node
	n := min(int(f.count[h]), f.chain)
	f.count[h]++
	f.head[h] = int32(at)
	if look := min(len(f.data)-at, longest); look == 1 {
		f.best[at&(ring-1)] = longest + 1
	} else {
		f.search(int(node), n, look)
		f.best[at&(ring-1)] = uint16(f.length)
	}
	f.forget()
	f.pairs[f.pair(at)] = int32(at)
	f.at++
	return true
}

func (f *finder) search(node, n, look int) {
	if f.near {
		clear(f.offsets[:])
	}
	at := f.at
	p := int(f.pairs[f.pair(at)])
	if p < 0 {
		return
	}
	f.length, f.offset = 2, at-p
	if f.near {
		f.offsets[2] = at - p
	}
	if look < 3 {
		return
	}
	scan := f.data[at : at+look]
	if f.length == look {
		return
	}
	tail, want, mask := f.tail(scan)
	for ; n > 0; n, node = n-1, int(f.before[node&(ring-1)]) {
		f.steps++
		from := f.data[node : node+look]
		if mask != 0 && (binary.LittleEndian.Uint64(from[tail:])^want)&mask != 0 {
			continue
		}
		if from[f.length] != scan[f.length] || from[f.length-1] != scan[f.length-1] || from[0] != scan[0] || from[1] != scan[1] {
			continue
		}
		i := 3
		for i+8 <= look && binary.LittleEndian.Uint64(scan[i:]) == binary.LittleEndian.Uint64(from[i:]) {
			i += 8
		}
		for i < look && scan[i] == from[i] {
			i++
		}
		f.steps += 1 + i>>3
		if f.near && i < byLen && f.offsets[i] == 0 {
			f.offsets[i] = at - node
		}
		if i > f.length {
			f.length, f.offset = i, at-node
			if i == look || i >= longest || i > int(f.best[node&(ring-1)]) {
				return
			}
			tail, want, mask = f.tail(scan)
		}
	}
}

// tail returns up to eight bytes of scan, where they begin, and a mask of them, that a
// candidate has if it is longer than the longest so far, or shorter by two at most: what
// is shorter still is of no use to better. Where there are few kinds of bytes, only many
// of them tell candidates apart.
func (f *finder) tail(scan []byte) (at int, bytes, mask uint64) {
	n := f.length - 2
	if at = max(n-8, 0); n <= 0 || len(scan) < 8 {
		return 0, 0, 0
	}
	return at, binary.LittleEndian.Uint64(scan[at:]), ^uint64(0) >> (8 * max(8-n, 0))
}

// better takes a match one or two bytes shorter where that is nearer and takes
// fewer bytes.
func (f *finder) better(length, offset int) (int, int) {
	take := func(less, most, limit int) bool {
		return length-less <= most && f.offsets[length-less] > 0 && f.offsets[length-less] <= limit
	}
	switch {
	case !f.near || length <= 3 || offset <= m2Offset:
	case take(1, m2Length, m2Offset):
		return length - 1, f.offsets[length-1]
	case offset > m3Offset && length > m4Length && take(2, m2Length, m2Offset):
		return length - 2, f.offsets[length-2]
	case offset > m3Offset && length > m4Length && take(1, m3Length, m3Offset):
		return length - 1, f.offsets[length-1]
	}
	return length, offset
}

// cost is how many bytes a match takes after so many literals, or -1.
func cost(length, offset, literals int) int {
	limit := m3Length
	switch {
	case length < 2:
		return -1
	case length == 2:
		if offset <= m1Offset && literals > 0 && literals < 4 {
			return 2
		}
		return -1
	case length <= m2Length && offset <= m2Offset, length == 3 && offset <= mxOffset && literals >= 4:
		return 2
	case offset > m4Offset:
		return -1
	case offset > m3Offset:
		limit = m4Length
	}
	if length <= limit {
		return 3
	}
	return 4 + (length-limit-1)/255
}

// gain is how much longer a match must be that begins later, where the literals
// before it become more and the match now given up may be cut to those bytes.
func gain(ahead, literals, now, later, cut int) int {
	n := ahead
	switch {
	case literals <= 3:
		if literals+ahead > 3 {
			n += 2
		}
	case literals <= 18:
		if literals+ahead > 18 {
			n++
		}
	}
	n += 2 * (later - now)
	if cut > 0 {
		n -= 2 * (ahead - cut)
	}
	return max(n, 0)
}

// high compresses at a level of LZO1X-999.
func high(data []byte, t tuning, work interface{ Spend(int) error }) ([]byte, error) {
	c := &coder{out: make([]byte, 0, len(data)/2)}
	f := newFinder(data, t)
	f.work = work
	from := 0 // where the literals not yet written begin
	for more := f.find(); more; {
		if err := f.tell(); err != nil {
			return nil, err
		}
		at := f.at - 1
		literals := at - from
		length, offset := f.length, f.offset
		first := len(c.out) == 0
		switch {
		case length < 2,
			length == 2 && (offset > m1Offset || literals == 0 || literals >= 4 || first),
			first && literals == 0,
			length == 3 && offset > mxOffset && literals >= 4:
			f.chain = t.chain
			more = f.find()
			continue
		}
		length, offset = f.better(length, offset)
		now, tries := 0, 0
		if t.tries > 0 && length < t.lazy {
			now = cost(length, offset, literals)
			tries = min(t.tries, now-1)
		}
		ahead, found := 0, false
		for ahead < tries && min(len(data)-(at+ahead), longest+1) > length {
			f.chain = t.chain
			if length >= t.good {
				f.chain >>= 2
			}
			f.find()
			ahead++
			if f.length < length || f.length == length && f.offset >= offset {
				continue
			}
			f.length, f.offset = f.better(f.length, f.offset)
			later := cost(f.length, f.offset, literals+ahead)
			if later < 0 {
				continue
			}
			cut := -1
			if !first {
				cut = cost(ahead, offset, literals)
			}
			if f.length >= length+gain(ahead, literals, now, later, cut) {
				if cut > 0 {
					c.literal = literals
					c.begin(data[from:at])
					c.match(ahead, offset)
					from = at + ahead
				}
				found = true
				break
			}
		}
		if found {
			continue
		}
		c.literal = literals
		c.begin(data[from:at])
		c.match(length, offset)
		from = at + length
		f.chain = t.chain
		f.accept(length - 1 - ahead)
		more = f.find()
	}
	c.begin(data[from:])
	c.end()
	return c.out, nil
}
