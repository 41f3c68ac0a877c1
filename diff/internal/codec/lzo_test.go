package codec

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/go-lzo"
)

func TestLZO(t *testing.T) {
	for _, c := range []struct {
		name string
		b    string
		want string
		ok   bool
	}{
		{"first literals", "\x15abcd\x11\x00\x00", "abcd", true},
		{"one first literal", "\x12a\x11\x00\x00", "a", true},
		{"literal run", "\x01abcd\x11\x00\x00", "abcd", true},
		{"long literal run", "\x00\x01" + strings.Repeat("a", 19) + "\x11\x00\x00", strings.Repeat("a", 19), true},
		{"match of 3", "\x15abcd\x4c\x00\x11\x00\x00", "abcdabc", true},
		{"match of 3 and a literal", "\x15abcd\x4d\x00x\x11\x00\x00", "abcdabcx", true},
		{"match of 2 after a literal", "\x15abcd\x4d\x00x\x00\x00\x11\x00\x00", "abcdabcxxx", true},
		{"match of M3", "\x15abcd\x22\x0c\x00\x11\x00\x00", "abcdabcd", true},
		{"long match of M3", "\x15abcd\x20\x01\x0c\x00\x11\x00\x00", "abcd" + strings.Repeat("abcd", 8) + "ab", true},
		{"empty", "\x11\x00\x00", "", true},
		{"nothing", "", "", false},
		{"match before the start", "\x15abcd\x50\x00\x11\x00\x00", "", false},
		{"match of 3 far back after literals", "\x15abcd\x00\x00\x11\x00\x00", "", false},
		{"byte after the end", "\x15abcd\x11\x00\x00\x00", "", false},
		{"no end", "\x15abcd", "", false},
		{"end that is none", "\x15abcd\x12\x00\x00", "", false},
		{"end with literals", "\x15abcd\x11\x01\x00x", "", false},
		{"literals beyond the end", "\xffabcd\x11\x00\x00", "", false},
		{"length beyond the end", "\x15abcd\x20\x00\x00\x00", "", false},
		{"version 1", "\x11\x01\x15abcd\x11\x00\x00", "", false},
	} {
		var got bytes.Buffer
		err := Decode(t.Context(), "lzo1x@1", roomy, &got, strings.NewReader(c.b))
		if (err == nil) != c.ok || err == nil && got.String() != c.want {
			t.Errorf("%s: %q, want %q: %v", c.name, got.String(), c.want, err)
		}
	}
}

// FuzzLZO holds the decoder against one that shares no code with it.
func FuzzLZO(f *testing.F) {
	block, _ := encoding(f, "lzo1x@1")
	f.Add(block)
	f.Add(block[:len(block)/2])
	f.Add([]byte("\x15abcd\x4d\x00x\x00\x00\x11\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkLzopBytes(t, b)
		var got bytes.Buffer
		err := Decode(t.Context(), "lzo1x@1", fuzzLimits, &got, bytes.NewReader(b))
		if err != nil {
			return
		}
		want := make([]byte, got.Len())
		if n, err := lzo.Decompress(b, want); err != nil || n != len(want) || !bytes.Equal(want, got.Bytes()) {
			t.Errorf("other bytes: %d, not %d, %v", got.Len(), n, err)
		}
	})
}

func checkLzopBytes(t *testing.T, b []byte) {
	if l, err := WalkLzop(t.Context(), bytes.NewReader(b), int64(len(b)), fuzzLimits); err == nil {
		tiles(t, l.Fields, l.Extent, int64(len(b)))
		var n counter
		err := Decode(t.Context(), l.Codec, fuzzLimits, &n, bytes.NewReader(b[l.Blocks.Off:l.Blocks.End()]))
		if err != nil || int64(n) != l.Decoded {
			t.Errorf("%d bytes, not %d: %v", n, l.Decoded, err)
		}
	}
}

// The decoder must know every instruction that encoders write.
func TestLZOAgainstOther(t *testing.T) {
	block, want := encoding(t, "lzo1x@1")
	other := make([]byte, len(want))
	if n, err := lzo.Decompress(block, other); err != nil || !bytes.Equal(other[:n], want) {
		t.Fatal("the fixture is damaged")
	}
	if got := decoded(t, "lzo1x@1", block); !bytes.Equal(got, want) {
		t.Error("decodes to other bytes")
	}
}

func TestWalkLzopFixtures(t *testing.T) {
	for name, codec := range map[string]string{"text.lzo": "lzop@1", "text-crc32.lzo": "lzop-crc32@1", "text-plain.lzo": "lzop-plain@1"} {
		b := fixture(t, name)
		checkLzop(t, b, fixtureText("text"), tails)
		l, err := WalkLzop(t.Context(), bytes.NewReader(b), int64(len(b)), roomy)
		if err != nil || l.Codec != codec || l.CRC != (codec == "lzop-crc32@1") {
			t.Errorf("%s: codec %s, %v", name, l.Codec, err)
		}
		for n := range b {
			if _, err := WalkLzop(t.Context(), bytes.NewReader(b[:n]), int64(n), roomy); err == nil {
				t.Errorf("%s: %d bytes of %d are accepted", name, n, len(b))
			}
		}
		for i := range l.Blocks.Off {
			d := bytes.Clone(b)
			d[i] ^= 1
			if _, err := WalkLzop(t.Context(), bytes.NewReader(d), int64(len(d)), roomy); err == nil {
				t.Errorf("%s: a flip at %d of the header is not seen", name, i)
			}
		}
	}
}

// An lzopSpec is a file of one stored block, each part of which may lie.
type lzopSpec struct {
	version, needed uint16
	method          byte
	flags           uint32
	name            string
	extra           []byte
	blocks          []byte
}

func (s lzopSpec) bytes() []byte {
	head := binary.BigEndian.AppendUint16(nil, s.version)
	head = binary.BigEndian.AppendUint16(head, 0x20a0)
	head = binary.BigEndian.AppendUint16(head, s.needed)
	head = append(head, s.method, 5)
	head = binary.BigEndian.AppendUint32(head, s.flags)
	head = append(head, make([]byte, 12)...)
	head = append(append(head, byte(len(s.name))), s.name...)
	head = binary.BigEndian.AppendUint32(head, adler32.Checksum(head))
	return slices.Concat([]byte(lzopMagic), head, s.extra, s.blocks)
}

func TestLzopHostile(t *testing.T) {
	sized := func(size, stored uint32, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		return append(binary.BigEndian.AppendUint32(b, stored), rest...)
	}
	end := []byte{0, 0, 0, 0}
	extra := []byte{0, 0, 0, 2, 'x', 'y'}
	for _, c := range []struct {
		name   string
		change func(*lzopSpec)
		ok     bool
	}{
		{"sound", func(*lzopSpec) {}, true},
		{"name", func(s *lzopSpec) { s.name = strings.Repeat("n", 255) }, true},
		{"extra", func(s *lzopSpec) {
			s.flags |= lzopExtra
			s.extra = binary.BigEndian.AppendUint32(extra, adler32.Checksum(extra))
		}, true},
		{"extra with another checksum", func(s *lzopSpec) {
			s.flags |= lzopExtra
			s.extra = append(slices.Clone(extra), 0, 0, 0, 1)
		}, false},
		{"extra of 4 GiB", func(s *lzopSpec) { s.flags |= lzopExtra; s.extra = noZeros(4) }, false},
		{"filter", func(s *lzopSpec) { s.flags |= 1 << 11 }, false},
		{"several parts", func(s *lzopSpec) { s.flags |= 1 << 10 }, false},
		{"both checksums", func(s *lzopSpec) { s.flags |= lzopAdler32 | lzopCRC32 }, false},
		{"old version", func(s *lzopSpec) { s.version = 0x0930 }, false},
		{"version to come", func(s *lzopSpec) { s.needed = 0x2000 }, false},
		{"method of zlib", func(s *lzopSpec) { s.method = 128 }, false},
		{"no end mark", func(s *lzopSpec) { s.blocks = s.blocks[:len(s.blocks)-4] }, false},
		{"block of 2 GiB", func(s *lzopSpec) { s.blocks = sized(2<<30, 1<<30, 'a') }, false},
		{"block of 64 MiB that is not there", func(s *lzopSpec) { s.blocks = sized(64<<20, 64<<20, 'a') }, false},
		{"packed larger than it was", func(s *lzopSpec) { s.blocks = append(sized(2, 3, 'a', 'b', 'c'), end...) }, false},
		{"packed to nothing", func(s *lzopSpec) { s.blocks = append(sized(2, 0), end...) }, false},
		{"packed", func(s *lzopSpec) {
			s.blocks = append(sized(34, 11, []byte("\x15abcd\x39\x0c\x00\x11\x00\x00")...), end...)
		}, false},
		{"packed, as long as said", func(s *lzopSpec) {
			s.blocks = append(sized(31, 11, []byte("\x15abcd\x39\x0c\x00\x11\x00\x00")...), end...)
		}, true},
		{"longer than said", func(s *lzopSpec) {
			s.blocks = append(sized(30, 11, []byte("\x15abcd\x39\x0c\x00\x11\x00\x00")...), end...)
		}, false},
	} {
		s := lzopSpec{version: 0x1040, needed: 0x940, method: 1, blocks: append(sized(3, 3, 'a', 'b', 'c'), end...)}
		c.change(&s)
		b := s.bytes()
		var l Lzop
		var err error
		used := allocated(func() { l, err = WalkLzop(t.Context(), bytes.NewReader(b), int64(len(b)), roomy) })
		if (err == nil) != c.ok || c.ok && l.Extent != int64(len(b)) {
			t.Errorf("%s: extent %d of %d, %v", c.name, l.Extent, len(b), err)
		}
		if used > 1<<20 {
			t.Errorf("%s: %d bytes allocated", c.name, used)
		}
	}
}

// A block may expand by 255 to 1, and no further than its limits.
func TestBlockBombs(t *testing.T) {
	lz4 := slices.Concat([]byte{0x1f, 0, 1, 0}, noZeros(1<<20), []byte{0, 0x10, 0})
	lzo := slices.Concat([]byte{0x12, 0, 0x20}, make([]byte, 1<<20), []byte{1, 0, 0, 0x11, 0, 0})
	for codec, b := range map[string][]byte{"lz4-block@1": lz4, "lzo1x@1": lzo} {
		isLimit(t, Decode(t.Context(), codec, Limits{MaxExpanded: 100 << 20, MaxRatio: 1000}, io.Discard, bytes.NewReader(b)), "expanded")
		isLimit(t, Decode(t.Context(), codec, Limits{MaxExpanded: 1 << 40, MaxRatio: 200}, io.Discard, bytes.NewReader(b)), "ratio")
		var n counter
		used := allocated(func() {
			if err := Decode(t.Context(), codec, roomy, &n, bytes.NewReader(b)); err != nil {
				t.Error(codec, err)
			}
		})
		if n < 255<<20 || used > 8<<20 {
			t.Errorf("%s: %d bytes from %d, %d allocated", codec, n, len(b), used)
		}
	}
}
