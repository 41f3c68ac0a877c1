package codec

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"slices"
	"testing"
)

// bitString writes bits, highest first.
type bitString struct {
	b []byte
	n int
}

func (s *bitString) add(v uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		if s.n%8 == 0 {
			s.b = append(s.b, 0)
		}
		s.b[s.n/8] |= byte(v>>i&1) << (7 - s.n%8)
		s.n++
	}
}

// A bzip2Spec is a stream of one block that holds n times the byte 'a', of which each
// part may lie.
type bzip2Spec struct {
	level      byte
	magic      uint64
	randomised uint64
	start      uint64
	codes      uint64
	turns      uint64
	length     uint64
	symbols    []uint64
	sum        uint64
	endSum     uint64
}

func (s bzip2Spec) bytes() []byte {
	w := bitString{b: []byte(bzip2Magic + string(s.level)), n: 32}
	w.add(s.magic, 48)
	w.add(s.sum, 32)
	w.add(s.randomised, 1)
	w.add(s.start, 24)
	w.add(1<<(15-'a'/16), 16) // the range of 'a'
	w.add(1<<(15-'a'%16), 16)
	w.add(s.codes, 3)
	w.add(s.turns, 15)
	for range s.turns {
		w.add(0, 1) // the first code
	}
	for range s.codes { // symbols: two digits of a run, end
		w.add(s.length, 5)
		w.add(0b0, 1)    // the first as long as that
		w.add(0b10_0, 3) // the second longer by one
		w.add(0b0, 1)
	}
	for _, v := range s.symbols {
		w.add(v>>8, int(v&0xff))
	}
	w.add(bzip2End, 48)
	w.add(s.endSum, 32)
	return w.b
}

func TestBzip2Hostile(t *testing.T) {
	// Codes 0, 10 and 11.
	const zero, one, end = 0<<8 | 1, 2<<8 | 2, 3<<8 | 2
	for _, c := range []struct {
		name   string
		change func(*bzip2Spec)
		ok     bool
	}{
		{"sound", func(*bzip2Spec) {}, true},
		{"turns that are not used", func(s *bzip2Spec) { s.turns = 32767 }, true},
		{"level 0", func(s *bzip2Spec) { s.level = '0' }, false},
		{"magic", func(s *bzip2Spec) { s.magic++ }, false},
		{"randomised", func(s *bzip2Spec) { s.randomised = 1 }, false},
		{"start beyond the block", func(s *bzip2Spec) { s.start = 3 }, false},
		{"empty", func(s *bzip2Spec) { s.symbols = []uint64{end} }, false},
		{"one code", func(s *bzip2Spec) { s.codes = 1 }, false},
		{"seven codes", func(s *bzip2Spec) { s.codes = 7 }, false},
		{"no turn", func(s *bzip2Spec) { s.turns = 0 }, false},
		{"too few turns", func(s *bzip2Spec) { s.symbols = append(slices.Repeat([]uint64{zero, one}, 26), end) }, false},
		{"code that leaves bits over", func(s *bzip2Spec) {
			s.length = 2
			s.symbols = []uint64{0b00<<8 | 2, 0b011<<8 | 3}
		}, false},
		{"code of no bit", func(s *bzip2Spec) { s.length = 0 }, false},
		{"code of 21 bits", func(s *bzip2Spec) { s.length = 21 }, false},
		{"run without end", func(s *bzip2Spec) { s.symbols = append(slices.Repeat([]uint64{one}, 30), end) }, false},
		{"more than the level holds", func(s *bzip2Spec) { s.symbols = append(slices.Repeat([]uint64{one}, 17), end) }, false},
		{"the same at a higher level", func(s *bzip2Spec) { s.level = '9'; s.symbols = append(slices.Repeat([]uint64{one}, 17), end) }, true},
		{"no end", func(s *bzip2Spec) { s.symbols = []uint64{one} }, false},
		{"checksum at the end", func(s *bzip2Spec) { s.endSum++ }, false},
	} {
		s := bzip2Spec{level: '1', magic: bzip2Block, codes: 2, turns: 1, length: 1, symbols: []uint64{zero, end}, sum: 5, endSum: 5}
		c.change(&s)
		b := s.bytes()
		f, err := WalkBzip2(t.Context(), bytes.NewReader(append(bytes.Clone(b), 'B', 'Z')), int64(len(b)+2), roomy)
		if (err == nil) != c.ok || c.ok && f.Extent != int64(len(b)) {
			t.Errorf("%s: extent %d of %d, %v", c.name, f.Extent, len(b), err)
		}
	}
}

// Blocks without end are followed as long as there are bytes for them.
func TestBzip2Bomb(t *testing.T) {
	one := fixture(t, "zeros-20MB.bz2")
	checkExtent(t, "bzip2@1", one, make([]byte, 20_000_000), tails)
	bomb := bytes.Repeat(one, 10)
	isLimit(t, Decode(t.Context(), "bzip2@1", Limits{MaxExpanded: 100 << 20, MaxRatio: 1 << 30}, io.Discard, bytes.NewReader(bomb)), "expanded")
	isLimit(t, Decode(t.Context(), "bzip2@1", Limits{MaxExpanded: 1 << 40, MaxRatio: 1000}, io.Discard, bytes.NewReader(bomb)), "ratio")
	var f Frames
	used := allocated(func() {
		var err error
		if f, err = WalkBzip2(t.Context(), bytes.NewReader(bomb), int64(len(bomb)), roomy); err != nil {
			t.Error(err)
		}
	})
	if len(f.Frames) != 10 || used > 1<<20 {
		t.Errorf("%d streams, %d bytes allocated", len(f.Frames), used)
	}
}

// FuzzBzip2 takes the bytes as streams. What the standard library decodes, with
// which the walk shares no code, the walk must pass to the same end, unless a code is not
// complete.
func FuzzBzip2(f *testing.F) {
	f.Add(fixture(f, "text.bz2"))
	f.Add(append(fixture(f, "text.bz2"), fixture(f, "zeros-20MB.bz2")...))
	f.Add(bzip2Spec{level: '1', magic: bzip2Block, codes: 2, turns: 1, length: 1, symbols: []uint64{1, 3<<8 | 2}, sum: 5, endSum: 5}.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		w := checkFrames(t, "bzip2@1", b, true)
		if len(b) > 1<<20 {
			return
		}
		n, err := io.Copy(io.Discard, io.LimitReader(bzip2.NewReader(bytes.NewReader(b)), 64<<20))
		if err != nil || n == 0 || n == 64<<20 || w.Extent == int64(len(b)) {
			return
		}
		rest := b[w.Extent:]
		if _, err := WalkBzip2(t.Context(), bytes.NewReader(rest), int64(len(rest)), roomy); !errors.Is(err, errBzip2Code) {
			t.Errorf("extent %d of %d: %v", w.Extent, len(b), err)
		}
	})
}
