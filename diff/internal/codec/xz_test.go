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

// xzWith builds a stream without check around one block: data are LZMA2 chunks,
// which the index says decode to n bytes; dict is the dictionary property.
func xzWith(dict byte, data []byte, n int64) []byte {
	crc := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	flags := []byte{0, 0}
	b := append([]byte(xzMagic), crc(flags)...)
	head := crc([]byte{2, 0, 0x21, 1, dict, 0, 0, 0})
	b = append(append(b, head...), data...)
	b = append(b, make([]byte, -len(data)&3)...)
	index := binary.AppendUvarint([]byte{0, 1}, uint64(len(head)+len(data)))
	index = binary.AppendUvarint(index, uint64(n))
	index = crc(append(index, make([]byte, -len(index)&3)...))
	foot := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)), flags...)
	foot = append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(foot)), foot...)
	return append(append(b, index...), append(foot, xzEnd...)...)
}

func TestXZHostile(t *testing.T) {
	stored := []byte{1, 0, 2, 'a', 'b', 'c', 0}
	for _, c := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"stored", xzWith(0, stored, 3), true},
		{"wrong length in the index", xzWith(0, stored, 4), false},
		{"dictionary property 41", xzWith(41, stored, 3), false},
		{"no dictionary reset", xzWith(0, []byte{2, 0, 2, 'a', 'b', 'c', 0}, 3), false},
		{"control byte 3", xzWith(0, []byte{1, 0, 0, 'a', 3, 0, 0, 'b', 0}, 2), false},
		{"LZMA without properties", xzWith(0, []byte{1, 0, 0, 'a', 0x80, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0}, 2), false},
		{"message in the first byte of an LZMA chunk", xzWith(0, []byte{0xe0, 0, 0, 0, 4, 0x5d, 'M', 0, 0, 0, 0, 0}, 1), false},
		{"chunk of four bytes", xzWith(0, []byte{0xe0, 0, 0, 0, 3, 0x5d, 0, 0, 0, 0, 0}, 1), false},
		{"chunk beyond the end", xzWith(0, []byte{1, 0xff, 0xff, 'a', 0}, 1), false},
		{"no end marker", xzWith(0, []byte{1, 0, 0, 'a'}, 1), false},
	} {
		if _, err := walkXZBytes(t, c.data); (err == nil) != c.ok {
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
	chunk := encoded(t, "xz@1", "ulikunitz/crc32", make([]byte, 2<<20))
	x, err := walkXZBytes(t, chunk)
	if err != nil {
		t.Fatal(err)
	}
	data := chunk[x.Streams[0].Blocks[0].Data.Off:][:x.Streams[0].Blocks[0].Data.Len-1]
	bomb := xzWith(24, append(bytes.Repeat(data, 2000), 0), 2000*2<<20)
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
