package codec

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
)

func walkLZ4Bytes(t testing.TB, b []byte) (Frames, error) {
	return WalkLZ4(t.Context(), bytes.NewReader(b), int64(len(b)), roomy)
}

func TestXXH32(t *testing.T) {
	// From the reference implementation's sanity test, and one for each length of
	// the last stripe by the definition above it.
	for in, want := range map[string]uint32{
		"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff,
		"Nobody inspects the spammish repetition": 0xe2293b2f,
	} {
		for cut := range len(in) + 1 {
			h := newXXH32()
			_, _ = io.WriteString(h, in[:cut])
			_, _ = io.WriteString(h, in[cut:])
			if h.Sum32() != want {
				t.Errorf("%q cut at %d: %08x, want %08x", in, cut, h.Sum32(), want)
			}
		}
	}
}

// An lz4Spec is a frame of one block, each part of which may lie.
type lz4Spec struct {
	flags, bd byte
	size      []byte // content size
	headSum   byte   // added to the header checksum
	block     []byte // with its size
	end       []byte
}

func (s lz4Spec) bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, lz4Magic)
	head := append([]byte{s.flags, s.bd}, s.size...)
	sum := newXXH32()
	sum.Write(head)
	b = append(append(b, head...), byte(sum.Sum32()>>8)+s.headSum)
	return slices.Concat(b, s.block, s.end)
}

// lz4Stored is a stored block with its size, and its checksum if any.
func lz4Stored(data string, sum ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(data))|1<<31)
	return append(append(b, data...), sum...)
}

func lz4Packed(data ...byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...)
}

func TestLZ4Hostile(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*lz4Spec)
		ok     bool
	}{
		{"sound", func(*lz4Spec) {}, true},
		{"content size", func(s *lz4Spec) { s.flags |= lz4ContentSize; s.size = []byte{3, 0, 0, 0, 0, 0, 0, 0} }, true},
		{"content size too large", func(s *lz4Spec) { s.flags |= lz4ContentSize; s.size = noZeros(8) }, false},
		{"block checksum", func(s *lz4Spec) {
			s.flags |= lz4BlockChecksum
			s.block = lz4Stored("abc", 0xff, 0x53, 0xd1, 0x32)
		}, true},
		{"wrong block checksum", func(s *lz4Spec) {
			s.flags |= lz4BlockChecksum
			s.block = lz4Stored("abc", 0xff, 0x53, 0xd1, 0x33)
		}, false},
		{"content checksum", func(s *lz4Spec) {
			s.flags |= lz4ContentChecksum
			s.end = append(s.end, 0xff, 0x53, 0xd1, 0x32)
		}, true},
		{"wrong content checksum", func(s *lz4Spec) {
			s.flags |= lz4ContentChecksum
			s.end = append(s.end, 0xff, 0x53, 0xd1, 0x33)
		}, false},
		{"no content checksum", func(s *lz4Spec) { s.flags |= lz4ContentChecksum }, false},
		{"header checksum", func(s *lz4Spec) { s.headSum = 1 }, false},
		{"dictionary", func(s *lz4Spec) { s.flags |= lz4DictID; s.size = []byte{1, 0, 0, 0} }, false},
		{"reserved flag", func(s *lz4Spec) { s.flags |= lz4Reserved }, false},
		{"reserved bits", func(s *lz4Spec) { s.bd |= 1 }, false},
		{"version 0", func(s *lz4Spec) { s.flags &= 0x3f }, false},
		{"block size 3", func(s *lz4Spec) { s.bd = 0x30 }, false},
		{"no end mark", func(s *lz4Spec) { s.end = nil }, false},
		{"stored block without a byte", func(s *lz4Spec) { s.block = lz4Stored("") }, false},
		{"stored block too large", func(s *lz4Spec) { s.block = lz4Stored(strings.Repeat("a", 64<<10+1)) }, false},
		{"block as large as it gets", func(s *lz4Spec) { s.block = lz4Stored(strings.Repeat("a", 64<<10)) }, true},
		{"block of 2 GiB", func(s *lz4Spec) { s.block = noZeros(4) }, false},
		{"packed", func(s *lz4Spec) { s.block = lz4Packed(0x1f, 'a', 1, 0, 0, 0) }, true},
		{"packed beyond 64 KiB", func(s *lz4Spec) {
			s.block = lz4Packed(slices.Concat([]byte{0x1f, 'a', 1, 0}, noZeros(300), []byte{0, 0})...)
		}, false},
		{"offset 0", func(s *lz4Spec) { s.block = lz4Packed(0x10, 'a', 0, 0, 0) }, false},
		{"offset before the start", func(s *lz4Spec) { s.block = lz4Packed(0x10, 'a', 2, 0, 0) }, false},
		{"offset into the last block, linked", func(s *lz4Spec) {
			s.flags &^= lz4Independent
			s.block = append(lz4Stored("ab"), lz4Packed(0x10, 'a', 3, 0, 0)...)
		}, true},
		{"offset into the last block, independent", func(s *lz4Spec) {
			s.block = append(lz4Stored("ab"), lz4Packed(0x10, 'a', 3, 0, 0)...)
		}, false},
		{"linked, before the start", func(s *lz4Spec) {
			s.flags &^= lz4Independent
			s.block = append(lz4Stored("ab"), lz4Packed(0x10, 'a', 4, 0, 0)...)
		}, false},
		{"literals beyond the end", func(s *lz4Spec) { s.block = lz4Packed(0x20, 'a') }, false},
		{"ends with a match", func(s *lz4Spec) { s.block = lz4Packed(0x10, 'a', 1, 0) }, false},
		{"length beyond the end", func(s *lz4Spec) { s.block = lz4Packed(0xf0, 255, 255) }, false},
	} {
		s := lz4Spec{flags: 0x40 | lz4Independent, bd: 0x40, block: lz4Stored("abc"), end: make([]byte, 4)}
		c.change(&s)
		b := s.bytes()
		f, err := walkLZ4Bytes(t, append(bytes.Clone(b), "tail"...))
		if (err == nil) != c.ok || err == nil && f.Extent != int64(len(b)) {
			t.Errorf("%s: extent %d of %d, %v", c.name, f.Extent, len(b), err)
		}
		err = Decode(t.Context(), "lz4@1", roomy, io.Discard, bytes.NewReader(b))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What ends a legacy frame is not in it.
func TestLZ4LegacyEnds(t *testing.T) {
	// 8 MiB of zeros: a literal, a match, and a literal to end with.
	match := lz4LegacyBlock - 2 - 4 - 15
	full := []byte{0x1f, 0, 1, 0}
	full = append(append(full, noZeros(match/255)...), byte(match%255), 0x10, 0)
	head := binary.LittleEndian.AppendUint32(nil, lz4LegacyMagic)
	whole := append(bytes.Clone(head), lz4Packed(full...)...)
	short := append(bytes.Clone(whole), lz4Packed(0x10, 'a')...)
	for _, c := range []struct {
		name    string
		b       []byte
		tail    string
		decoded int64
	}{
		{"short, nothing", short, "", lz4LegacyBlock + 1},
		{"short, Linux's size", short, "\x01\x00\x80\x00", lz4LegacyBlock + 1},
		{"short, something like a block", short, "\x02\x00\x00\x00\x10a", lz4LegacyBlock + 1},
		{"full, nothing", whole, "", lz4LegacyBlock},
		{"full, Linux's size", whole, "\x00\x00\x80\x00", lz4LegacyBlock},
		{"full, a large size", whole, "\x00\x00\xa0\x00" + strings.Repeat("a", 10<<20), lz4LegacyBlock},
		{"full, filler", whole, strings.Repeat("\x00", 100), lz4LegacyBlock},
		{"full, what looks like a block and is none", whole, "\x03\x00\x00\x00\x10a\x05", lz4LegacyBlock},
		{"full, two bytes", whole, "\x01\x00", lz4LegacyBlock},
		{"full, a frame", append(bytes.Clone(whole), short...), "", 2*lz4LegacyBlock + 1},
	} {
		f, err := walkLZ4Bytes(t, append(bytes.Clone(c.b), c.tail...))
		if err != nil || f.Extent != int64(len(c.b)) || f.Decoded != c.decoded {
			t.Errorf("%s: extent %d of %d, %d bytes: %v", c.name, f.Extent, len(c.b), f.Decoded, err)
			continue
		}
		tiles(t, f.Fields, f.Extent, int64(len(c.b)))
		if err := Decode(t.Context(), "lz4@1", roomy, io.Discard, bytes.NewReader(append(bytes.Clone(c.b), c.tail...))); (err == nil) != (c.tail == "") {
			t.Errorf("%s: decoding it with the tail: %v", c.name, err)
		}
	}
	if _, err := walkLZ4Bytes(t, append(head, 0, 0, 0, 0)); err == nil {
		t.Error("a frame without block is accepted before other bytes")
	}
	if f, err := walkLZ4Bytes(t, head); err != nil || f.Extent != 4 {
		t.Errorf("the frame of an empty file: %v", err)
	}
}

// A window must hold as much as any match may refer to, over whatever was flushed.
func TestWindow(t *testing.T) {
	data := noise(windowSize + 5)
	var out bytes.Buffer
	w := newWindow(&out)
	w.begin(1<<30, false)
	want := bytes.Clone(data)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.write(data))
	for _, m := range []struct{ dist, n int }{{1, 1000}, {reach, 1}, {65_535, 300_000}, {3, 400_000}, {7, 6}, {1000, 999}, {1000, 1001}} {
		must(w.match(m.dist, m.n))
		for range m.n {
			want = append(want, want[len(want)-m.dist])
		}
	}
	must(w.flush())
	if !bytes.Equal(out.Bytes(), want) {
		t.Error("what comes out is not what went in")
	}
	if w.match(0, 1) == nil || w.match(-1, 1) == nil || w.match(windowSize+1, 1) == nil {
		t.Error("distances that are none are matched")
	}
	w.begin(10, false)
	if w.match(1, 1) == nil {
		t.Error("a block refers to the one before it")
	}
	// Nor does it once the window has slid.
	w = newWindow(&out)
	w.begin(1<<30, false)
	must(w.write(data[:windowSize-10]))
	w.begin(1<<30, false)
	must(w.write(data[:20]))
	if w.match(20, 1) != nil || w.match(22, 1) == nil {
		t.Error("a block refers to the one before it")
	}
	w.begin(10, false)
	must(w.write(data[:10]))
	if w.write(data[:1]) == nil || w.match(1, 1) == nil {
		t.Error("a block grows beyond its size")
	}
}
