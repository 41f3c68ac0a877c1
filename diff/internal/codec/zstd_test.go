package codec

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
)

// zstdFrameOf is a frame with the header and blocks given.
func zstdFrameOf(parts ...[]byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, zstdMagic), slices.Concat(parts...)...)
}

// zstdBlockOf is a block with its header.
func zstdBlockOf(kind, size int, last bool, data ...byte) []byte {
	v := size<<3 | kind<<1
	if last {
		v |= 1
	}
	return append([]byte{byte(v), byte(v >> 8), byte(v >> 16)}, data...)
}

func TestZstdHostile(t *testing.T) {
	abc := zstdBlockOf(0, 3, true, 'a', 'b', 'c')
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"window", zstdFrameOf([]byte{0, 0}, abc), true},
		{"single segment", zstdFrameOf([]byte{0x20, 3}, abc), true},
		{"dictionary 0", zstdFrameOf([]byte{0x21, 0, 3}, abc), true},
		{"dictionary 5", zstdFrameOf([]byte{0x21, 5, 3}, abc), false},
		{"reserved bit", zstdFrameOf([]byte{0x28, 3}, abc), false},
		{"size beyond the blocks", zstdFrameOf([]byte{0x20, 4}, abc), false},
		{"size of 8 bytes beyond the blocks", zstdFrameOf([]byte{0xc0, 0}, noZeros(8), abc), false},
		{"block type 3", zstdFrameOf([]byte{0x20, 3}, zstdBlockOf(3, 3, true, 'a', 'b', 'c')), false},
		{"block larger than the window", zstdFrameOf([]byte{0, 0}, zstdBlockOf(1, 1025, true, 'a')), false},
		{"block as large as the window", zstdFrameOf([]byte{0, 0}, zstdBlockOf(1, 1024, true, 'a')), true},
		{"block of more than 128 KiB", zstdFrameOf([]byte{0, 0x70}, zstdBlockOf(1, 128<<10+1, true, 'a')), false},
		{"no last block", zstdFrameOf([]byte{0, 0}, zstdBlockOf(0, 1, false, 'a')), false},
		{"block beyond the end", zstdFrameOf([]byte{0, 0}, zstdBlockOf(0, 3, true, 'a')), false},
		{"no checksum", zstdFrameOf([]byte{0x24, 3}, abc), false},
		{"many empty blocks", zstdFrameOf([]byte{0, 0}, bytes.Repeat(zstdBlockOf(0, 0, false), 1<<20), abc), true},
		{"nothing", nil, false},
		{"magic", zstdFrameOf(), false},
		{"an older magic", []byte{0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0}, false},
	} {
		f, err := WalkZstd(t.Context(), bytes.NewReader(c.b), int64(len(c.b)), roomy)
		if (err == nil) != c.ok || c.ok && f.Extent != int64(len(c.b)) {
			t.Errorf("%s: extent %d of %d, %v", c.name, f.Extent, len(c.b), err)
		}
		if err := Decode(t.Context(), "zstd@1", roomy, io.Discard, bytes.NewReader(c.b)); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A frame of a few bytes gets no window of many MiB, and one that needs it does.
func TestZstdWindow(t *testing.T) {
	for name, c := range map[string]struct {
		b     []byte
		limit string
		ok    bool
	}{
		"512 MiB":                {zstdFrameOf([]byte{0, 19 << 3}, zstdBlockOf(0, 0, true)), "dict", false},
		"single segment of GiBs": {zstdFrameOf([]byte{0xa0}, []byte{0, 0, 0, 0x80}, zstdBlockOf(0, 0, true)), "dict", false},
		"48 MiB, a lie":          {zstdFrameOf([]byte{0xa0}, []byte{0, 0, 0, 3}, zstdBlockOf(0, 0, true)), "", false},
		"64 MiB":                 {zstdFrameOf([]byte{0, 16 << 3}, zstdBlockOf(0, 1, true, 'a')), "", true},
	} {
		used := allocated(func() {
			err := Decode(t.Context(), "zstd@1", roomy, io.Discard, bytes.NewReader(c.b))
			if c.limit != "" {
				isLimit(t, err, c.limit)
			} else if (err == nil) != c.ok {
				t.Errorf("%s: %v", name, err)
			}
		})
		if used > 2<<20 {
			t.Errorf("%s: %d bytes allocated", name, used)
		}
		_, err := WalkZstd(t.Context(), bytes.NewReader(c.b), int64(len(c.b)), roomy)
		if c.limit != "" {
			isLimit(t, err, c.limit)
		}
	}
	// Matches as far as the frame goes, through a header that was made modest.
	far := append(noise(20_000), noise(20_000)...)
	enc := encoded(t, "zstd@1", "klauspost/best;klauspost/best", far)
	if len(enc) > 25_000 || !bytes.Equal(decoded(t, "zstd@1", enc), far) {
		t.Errorf("%d bytes do not decode to what they were", len(enc))
	}
}

func TestZstdBomb(t *testing.T) {
	bomb := zstdFrameOf([]byte{0, 0x38}, bytes.Repeat(zstdBlockOf(1, 128<<10, false, 0), 2000), zstdBlockOf(0, 0, true))
	for limit, lim := range map[string]Limits{
		"expanded": {MaxExpanded: 128 << 20, MaxRatio: 1 << 20},
		"ratio":    {MaxExpanded: 1 << 40, MaxRatio: 1000},
	} {
		isLimit(t, Decode(t.Context(), "zstd@1", lim, io.Discard, bytes.NewReader(bomb)), limit)
	}
}
