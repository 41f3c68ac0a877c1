package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fixture reads a file that testdata/make.sh made.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixtureText returns what the fixture of that name decodes to.
func fixtureText(name string) []byte {
	var b []byte
	for i := 1; i <= 1000 && !strings.HasPrefix(name, "empty"); i++ {
		b = fmt.Appendln(b, i)
	}
	if strings.HasPrefix(name, "code") {
		for i, c := range b {
			if c != '\n' {
				b[i] = "\350\353\110\001\100\360\370\000\377\177"[c-'0']
			}
		}
	}
	return b
}

func walkXZBytes(t testing.TB, b []byte) (XZ, error) {
	return WalkXZ(t.Context(), bytes.NewReader(b), int64(len(b)), roomy)
}

func TestWalkXZFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xz")
	if err != nil || len(files) < 17 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == "dict-1536MiB.xz" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b, want := fixture(t, name), fixtureText(name)
			// Whatever follows, zeros included, is not part of it.
			for _, tail := range []string{"", "\x00", "\x00\x00\x00\x00", "YZ", "\xfd7zXZ", strings.Repeat("\x00", 10_000) + "x", string(noise(70_000))} {
				x, err := walkXZBytes(t, append(bytes.Clone(b), tail...))
				if err != nil {
					t.Fatal(err)
				}
				if x.Extent != int64(len(b)) || x.Decoded != int64(len(want)) || len(x.Streams) != 1 || x.Rest != nil {
					t.Errorf("with tail %.10q: extent %d of %d, decodes to %d of %d: %v", tail, x.Extent, len(b), x.Decoded, len(want), x.Rest)
				}
				tiles(t, x.Fields, x.Extent, int64(len(b)))
			}
			if name == "code-arm64.xz" {
				if err := Decode(t.Context(), "xz@1", roomy, io.Discard, bytes.NewReader(b)); err == nil {
					t.Error("the ARM64 filter is supported now: say so")
				}
				return
			}
			if got := decoded(t, "xz@1", b); !bytes.Equal(got, want) {
				t.Errorf("decodes to %.40q", got)
			}
		})
	}
}

func TestWalkXZFields(t *testing.T) {
	x, err := walkXZBytes(t, fixture(t, "text-blocks.xz"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range x.Fields {
		if f.Block <= 0 {
			got = append(got, fmt.Sprintf("%s %d %d", f.Path(), f.Off, f.Len))
		}
	}
	want := []string{
		"stream[0].header magic 0 6",
		"stream[0].header flags 6 2",
		"stream[0].header crc32 8 4",
		"stream[0].block[0].header size 12 1",
		"stream[0].block[0].header flags 13 1",
		"stream[0].block[0].compressed size 14 2",
		"stream[0].block[0].uncompressed size 16 2",
		"stream[0].block[0].filters 18 3",
		"stream[0].block[0].header padding 21 3",
		"stream[0].block[0].header crc32 24 4",
		"stream[0].block[0].data 28 258",
		"stream[0].block[0].padding 286 2",
		"stream[0].block[0].check 288 8",
		"stream[0].index indicator 924 1",
		"stream[0].index count 925 1",
		"stream[0].index records 926 16",
		"stream[0].index padding 942 2",
		"stream[0].index crc32 944 4",
		"stream[0].footer crc32 948 4",
		"stream[0].footer backward size 952 4",
		"stream[0].footer flags 956 2",
		"stream[0].footer magic 958 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields:\n%s", strings.Join(got, "\n"))
	}
	s := x.Streams[0]
	if len(s.Blocks) != 4 || s.Check != 4 || s.Blocks[1].Decoded != 1024 || !slices.Equal(s.Blocks[0].Filters, []uint64{filterLZMA2}) {
		t.Errorf("stream: %+v", s)
	}
}

func TestWalkXZStreams(t *testing.T) {
	a, b := fixture(t, "text-crc32.xz"), fixture(t, "code-x86.xz")
	text := append(fixtureText("text"), fixtureText("code")...)
	for _, c := range []struct {
		name    string
		data    []byte
		streams int
		extent  int
		rest    bool
	}{
		{"side by side", slices.Concat(a, b), 2, len(a) + len(b), false},
		{"padded", slices.Concat(a, make([]byte, 8), b), 2, len(a) + 8 + len(b), false},
		{"padded widely", slices.Concat(a, make([]byte, 8192), b), 2, len(a) + 8192 + len(b), false},
		{"badly padded", slices.Concat(a, make([]byte, 5), b), 1, len(a), false},
		{"second damaged", slices.Concat(a, b[:8], []byte{b[8] ^ 1}, b[9:]), 1, len(a), true},
		{"second truncated", slices.Concat(a, b[:len(b)-1]), 1, len(a), true},
	} {
		x, err := walkXZBytes(t, c.data)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		tiles(t, x.Fields, x.Extent, int64(len(c.data)))
		if len(x.Streams) != c.streams || x.Extent != int64(c.extent) || (x.Rest != nil) != c.rest {
			t.Errorf("%s: %d streams, extent %d, rest: %v", c.name, len(x.Streams), x.Extent, x.Rest)
		}
		if c.streams == 2 {
			if x.Decoded != int64(len(text)) {
				t.Errorf("%s: decodes to %d", c.name, x.Decoded)
			}
			if got := decoded(t, "xz@1", c.data[:x.Extent]); !bytes.Equal(got, text) {
				t.Errorf("%s: decodes to other bytes", c.name)
			}
		}
	}
}

// Every byte outside of the compressed data and the check is verified by the
// walk. In the data there is freedom: other properties, say, may decode to the
// same bytes, but decoding never gives other bytes.
func TestXZFlips(t *testing.T) {
	for _, name := range []string{"text-blocks.xz", "text-delta.xz", "code-arm.xz", "empty.xz"} {
		b, want := fixture(t, name), fixtureText(name)
		whole, err := walkXZBytes(t, b)
		if err != nil {
			t.Fatal(err)
		}
		payload := map[int]bool{}
		for _, f := range whole.Fields {
			if f.Name == "data" || f.Name == "check" {
				for i := range f.Len {
					payload[int(f.Off+i)] = true
				}
			}
		}
		for i := range b {
			d := bytes.Clone(b)
			d[i] ^= 1
			x, err := walkXZBytes(t, d)
			if err == nil && !payload[i] {
				t.Errorf("%s: flip at %d is not seen", name, i)
			}
			if err == nil {
				tiles(t, x.Fields, x.Extent, int64(len(b)))
			}
			if name != "text-delta.xz" && i%16 != 0 {
				continue // the dictionaries of the others take long to make
			}
			var got bytes.Buffer
			if err := Decode(t.Context(), "xz@1", roomy, &got, bytes.NewReader(d)); err == nil && !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: decodes to other bytes with a flip at %d", name, i)
			}
		}
		for n := range b {
			if _, err := walkXZBytes(t, b[:n]); err == nil {
				t.Errorf("%s: %d bytes of %d are accepted", name, n, len(b))
			}
		}
	}
}

// An xzSpec is a stream without check around one block, each part of which may
// lie. All checksums are right.
type xzSpec struct {
	dict     byte   // dictionary property
	sizes    []byte // flags and sizes of the block header; 0 without any
	headPad  byte   // last byte of the header's padding
	data     []byte // LZMA2 chunks
	dataPad  byte   // value of the block's padding
	count    byte   // of the index
	unpadded int64  // added to that of the index
	decoded  []byte // of the index
	indexPad byte   // last byte of the index's padding
	backward uint32 // added to the backward size
	foot     []byte // footer flags
}

// xzWith returns the spec of a sound stream: data decode to n bytes.
func xzWith(dict byte, data []byte, n int64) xzSpec {
	return xzSpec{
		dict: dict, sizes: []byte{0}, data: data, count: 1,
		decoded: binary.AppendUvarint(nil, uint64(n)), foot: []byte{0, 0},
	}
}

func (s xzSpec) bytes() []byte {
	crc := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	padded := func(b []byte, value byte) []byte {
		n := -len(b) & 3
		b = append(b, make([]byte, n)...)
		if n > 0 {
			b[len(b)-1] = value
		}
		return b
	}
	b := append([]byte(xzMagic), crc([]byte{0, 0})...)
	head := append([]byte{0}, s.sizes...)
	head = padded(append(head, 0x21, 1, s.dict), s.headPad)
	head[0] = byte(len(head) / 4)
	b = append(b, crc(head)...)
	b = padded(append(b, s.data...), s.dataPad)
	index := binary.AppendUvarint([]byte{0, s.count}, uint64(int64(len(head)+4+len(s.data))+s.unpadded))
	index = crc(padded(append(index, s.decoded...), s.indexPad))
	b = append(b, index...)
	foot := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)+s.backward), s.foot...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(foot))
	return append(append(b, foot...), xzEnd...)
}

func TestXZHostile(t *testing.T) {
	// Of such a length that every padding has at least a byte.
	stored := append(append([]byte{1, 0, 200}, text(201)...), 0)
	for _, c := range []struct {
		name   string
		change func(*xzSpec)
		ok     bool
	}{
		{"sound", func(*xzSpec) {}, true},
		{"sound with sizes", func(s *xzSpec) { s.sizes = []byte{0xc0, 0xcd, 1, 0xc9, 1} }, true},
		{"compressed size too large", func(s *xzSpec) { s.sizes = []byte{0xc0, 0xce, 1, 0xc9, 1} }, false},
		{"compressed size too small", func(s *xzSpec) { s.sizes = []byte{0xc0, 0xcc, 1, 0xc9, 1} }, false},
		{"wrong uncompressed size", func(s *xzSpec) { s.sizes = []byte{0xc0, 0xcd, 1, 0xca, 1} }, false},
		{"compressed size in a long form", func(s *xzSpec) { s.sizes = []byte{0x40, 0xcd, 0x81, 0} }, false},
		{"compressed size without end", func(s *xzSpec) { s.sizes = append([]byte{0x40}, noZeros(10)...) }, false},
		{"reserved block flag", func(s *xzSpec) { s.sizes = []byte{4} }, false},
		{"two filters, one there", func(s *xzSpec) { s.sizes = []byte{1} }, false},
		{"LZMA2 twice", func(s *xzSpec) { s.sizes = []byte{1, 0x21, 1, 0} }, false},
		{"delta before it", func(s *xzSpec) { s.sizes = []byte{1, 3, 1, 0} }, true},
		{"filter with properties of 2^62 bytes", func(s *xzSpec) {
			s.sizes = []byte{1, 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40}
		}, false},
		{"dictionary property 41", func(s *xzSpec) { s.dict = 41 }, false},
		{"header padding", func(s *xzSpec) { s.headPad = 1 }, false},
		{"block padding", func(s *xzSpec) { s.dataPad = 1 }, false},
		{"unpadded size", func(s *xzSpec) { s.unpadded++ }, false},
		{"unpadded size as large as it gets", func(s *xzSpec) { s.unpadded = 1 << 62 }, false},
		{"uncompressed size of the index", func(s *xzSpec) { s.decoded = []byte{0xca, 1} }, false},
		{"uncompressed size in a long form", func(s *xzSpec) { s.decoded = []byte{0xc9, 0x81, 0} }, false},
		{"two blocks in the index", func(s *xzSpec) { s.count = 2 }, false},
		{"no block in the index", func(s *xzSpec) { s.count = 0 }, false},
		{"many blocks in the index", func(s *xzSpec) { s.count = 127 }, false},
		{"index padding", func(s *xzSpec) { s.indexPad = 1 }, false},
		{"backward size", func(s *xzSpec) { s.backward = 1 }, false},
		{"another check in the footer", func(s *xzSpec) { s.foot = []byte{0, 1} }, false},
		{"reserved footer flags", func(s *xzSpec) { s.foot = []byte{1, 0} }, false},
	} {
		s := xzWith(0, stored, 201)
		c.change(&s)
		if _, err := walkXZBytes(t, s.bytes()); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// noZeros returns n bytes with the top bit set.
func noZeros(n int) []byte { return bytes.Repeat([]byte{0xff}, n) }

func TestXZHostileChunks(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		n    int64
		ok   bool
	}{
		{"stored", []byte{1, 0, 2, 'a', 'b', 'c', 0}, 3, true},
		{"two stored", []byte{1, 0, 0, 'a', 2, 0, 0, 'b', 0}, 2, true},
		{"LZMA", []byte{0xe0, 0, 0, 0, 4, 0x5d, 0, 0, 0, 0, 0, 0}, 1, true},
		{"nothing", []byte{0}, 0, true},
		{"no dictionary reset", []byte{2, 0, 2, 'a', 'b', 'c', 0}, 3, false},
		{"no dictionary reset before LZMA", []byte{0xc0, 0, 0, 0, 4, 0x5d, 0, 0, 0, 0, 0, 0}, 1, false},
		{"control byte 3", []byte{1, 0, 0, 'a', 3, 0, 0, 'b', 0}, 2, false},
		{"control byte 0x7f", []byte{1, 0, 0, 'a', 0x7f, 0, 0, 'b', 0}, 2, false},
		{"LZMA without properties", []byte{1, 0, 0, 'a', 0x80, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0}, 2, false},
		{"reset without properties", []byte{1, 0, 0, 'a', 0xa0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0}, 2, false},
		{"properties 225", []byte{0xe0, 0, 0, 0, 4, 225, 0, 0, 0, 0, 0, 0}, 1, false},
		{"properties of lc 4, lp 1", []byte{0xe0, 0, 0, 0, 4, 4 + 9, 0, 0, 0, 0, 0, 0}, 1, false},
		{"message in the first byte of an LZMA chunk", []byte{0xe0, 0, 0, 0, 4, 0x5d, 'M', 0, 0, 0, 0, 0}, 1, false},
		{"chunk of four bytes", []byte{0xe0, 0, 0, 0, 3, 0x5d, 0, 0, 0, 0, 0}, 1, false},
		{"chunk beyond the end", []byte{1, 0xff, 0xff, 'a', 0}, 1, false},
		{"no end marker", []byte{1, 0, 0, 'a'}, 1, false},
	} {
		if _, err := walkXZBytes(t, xzWith(0, c.data, c.n).bytes()); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestXZDictionary(t *testing.T) {
	b := fixture(t, "dict-1536MiB.xz")
	got := allocated(func() {
		_, err := walkXZBytes(t, b)
		isLimit(t, err, "dict")
		isLimit(t, Decode(t.Context(), "xz@1", roomy, io.Discard, bytes.NewReader(b)), "dict")
	})
	if got > 1<<20 {
		t.Errorf("allocated %d bytes", got)
	}
	lim := roomy
	lim.MaxDict = 2 << 30
	x, err := WalkXZ(t.Context(), bytes.NewReader(b), int64(len(b)), lim)
	if err != nil || x.Streams[0].Blocks[0].Dict != 1536<<20 {
		t.Errorf("%v %+v", err, x)
	}
}

// A few KiB of chunks can decode to GiB; the walk counts without decoding.
func TestXZBomb(t *testing.T) {
	chunk := encoded(t, "xz@1", "ulikunitz/crc32;ulikunitz/crc32", make([]byte, 2<<20))
	x, err := walkXZBytes(t, chunk)
	if err != nil {
		t.Fatal(err)
	}
	data := chunk[x.Streams[0].Blocks[0].Data.Off:][:x.Streams[0].Blocks[0].Data.Len-1]
	bomb := xzWith(24, append(bytes.Repeat(data, 2000), 0), 2000*2<<20).bytes()
	for limit, lim := range map[string]Limits{
		"expanded": {MaxExpanded: 128 << 20, MaxRatio: 1 << 20},
		"ratio":    {MaxExpanded: 1 << 40, MaxRatio: 1000},
	} {
		_, err := WalkXZ(t.Context(), bytes.NewReader(bomb), int64(len(bomb)), lim)
		isLimit(t, err, limit)
		isLimit(t, Decode(t.Context(), "xz@1", lim, io.Discard, bytes.NewReader(bomb)), limit)
	}
	x, err = WalkXZ(t.Context(), bytes.NewReader(bomb), int64(len(bomb)), Limits{MaxExpanded: 1 << 40, MaxRatio: 1 << 20})
	if err != nil || x.Decoded != 2000*2<<20 {
		t.Errorf("%d %v", x.Decoded, err)
	}
}

func TestXZParts(t *testing.T) {
	one := fixture(t, "empty.xz")
	b := bytes.Repeat(one, MaxParts)
	x, err := walkXZBytes(t, b)
	if err != nil || x.Extent != int64(len(b)) {
		t.Fatal(x.Extent, err)
	}
	_, err = walkXZBytes(t, append(b, one...))
	isLimit(t, err, "parts")
}
