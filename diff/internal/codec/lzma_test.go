package codec

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"testing"

	"github.com/ulikunitz/xz/lzma"
)

func walkLZMABytes(t testing.TB, b []byte) (LZMA, error) {
	return WalkLZMA(t.Context(), bytes.NewReader(b), int64(len(b)), roomy)
}

// lzmaFile encodes data with the size in the header, the marker at the end, or
// both.
func lzmaFile(t testing.TB, c lzma.WriterConfig, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWalkLZMAExtent(t *testing.T) {
	files := map[string][]byte{
		"xz's":        fixture(t, "text.lzma"),
		"xz's empty":  fixture(t, "empty.lzma"),
		"sdk's empty": append([]byte{0x5d, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0),
	}
	want := map[string][]byte{"xz's": fixtureText("text"), "xz's empty": {}, "sdk's empty": {}}
	for name, data := range inputs() {
		size := int64(len(data))
		for how, c := range map[string]lzma.WriterConfig{
			" marker":          {},
			" size":            {Size: size},
			" size and marker": {Size: size, EOSMarker: true},
			" properties":      {Properties: &lzma.Properties{LC: 0, LP: 4, PB: 4}, DictCap: 4096},
		} {
			if size == 0 && c.Size == 0 && how != " marker" {
				continue // the encoder cannot
			}
			files[name+how] = lzmaFile(t, c, data)
			want[name+how] = data
		}
	}
	for name, b := range files {
		for _, tail := range []string{"", string(b) + string(noise(70_000))} {
			l, err := walkLZMABytes(t, append(bytes.Clone(b), tail...))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if l.Extent != int64(len(b)) || l.Decoded != int64(len(want[name])) {
				t.Errorf("%s: extent %d of %d, decodes to %d of %d", name, l.Extent, len(b), l.Decoded, len(want[name]))
			}
			tiles(t, l.Fields, l.Extent, int64(len(b)))
		}
		if got := decoded(t, "lzma@1", b); !bytes.Equal(got, want[name]) {
			t.Errorf("%s: decodes to %d other bytes", name, len(got))
		}
		for n := 0; n < len(b) && len(b) < 1000; n += 1 + n/10 {
			if _, err := walkLZMABytes(t, b[:n]); err == nil {
				t.Errorf("%s: %d bytes of %d are accepted", name, n, len(b))
			}
		}
	}
}

// Distances beyond the first dictionaries make the walk take a larger one.
func TestWalkLZMAGrowsItsDictionary(t *testing.T) {
	data := noise(1<<20 + 1<<18)
	data = append(data, data[:1<<18]...)
	b := lzmaFile(t, lzma.WriterConfig{DictCap: 2 << 20}, data)
	if len(b) > 1<<20+1<<18+1<<17 {
		t.Fatalf("%d bytes: no use is made of the distance", len(b))
	}
	l, err := walkLZMABytes(t, b)
	if err != nil || l.Decoded != int64(len(data)) || l.Extent != int64(len(b)) {
		t.Errorf("%+v %v", l, err)
	}
	b[len(b)-1]++
	if _, err := walkLZMABytes(t, b); err == nil {
		t.Error("damage after the dictionary has filled is accepted")
	}
}

func TestLZMAHeader(t *testing.T) {
	head := func(props byte, dict uint32, size int64) []byte {
		b := binary.LittleEndian.AppendUint32([]byte{props}, dict)
		b = binary.LittleEndian.AppendUint64(b, uint64(size))
		return append(b, 0, 0, 0, 0, 0)
	}
	for _, c := range []struct {
		b    []byte
		want bool
	}{
		{head(0x5d, 1<<23, -1), true},
		{head(0x5d, 1<<12, 0), true},
		{head(0x5d, 3<<22, 1<<30), true},
		{head(0x5d, math.MaxUint32, 256<<30-1), true},
		{head(224, 1<<23, -1), false},    // lc 8, lp 4
		{head(225, 1<<23, -1), false},    // none
		{head(4+9, 1<<23, -1), false},    // lc 4, lp 1
		{head(3+9, 1<<23, -1), true},     // lc 3, lp 1
		{head(0x5d, 0, -1), false},       // no dictionary
		{head(0x5d, 1<<11, -1), false},   // too small
		{head(0x5d, 1<<23+1, -1), false}, // odd
		{head(0x5d, 5<<20, -1), false},
		{head(0x5d, 1<<23, -2), false},
		{head(0x5d, 1<<23, 256<<30), false},
		{append(head(0x5d, 1<<23, -1)[:13], 1, 0, 0, 0, 0), false}, // no range coder starts so
		{head(0x5d, 1<<23, -1)[:17], false},
		{nil, false},
	} {
		if got := LooksLikeLZMA(c.b); got != c.want {
			t.Errorf("%x: %v", c.b, got)
		}
	}
}

func TestLZMADictionary(t *testing.T) {
	b := append([]byte{0x5d, 0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 64)...)
	if len(b) != 77 {
		t.Fatal(len(b))
	}
	got := allocated(func() {
		_, err := walkLZMABytes(t, b)
		isLimit(t, err, "dict")
		isLimit(t, Decode(t.Context(), "lzma@1", roomy, io.Discard, bytes.NewReader(b)), "dict")
	})
	if got > 1<<20 {
		t.Errorf("allocated %d bytes", got)
	}
	// As much as is allowed is still not taken for the asking.
	b[4] = 4
	got = allocated(func() { _, _ = walkLZMABytes(t, b) })
	if got > 4<<20 {
		t.Errorf("allocated %d bytes for a dictionary that nothing fills", got)
	}
}

func TestLZMABomb(t *testing.T) {
	bomb := fixture(t, "zeros-80MiB.lzma")
	for limit, lim := range map[string]Limits{
		"expanded": {MaxExpanded: 10 << 20, MaxRatio: 1 << 20},
		"ratio":    {MaxExpanded: 1 << 40, MaxRatio: 100},
	} {
		_, err := WalkLZMA(t.Context(), bytes.NewReader(bomb), int64(len(bomb)), lim)
		isLimit(t, err, limit)
		if limit == "expanded" {
			isLimit(t, Decode(t.Context(), "lzma@1", lim, io.Discard, bytes.NewReader(bomb)), limit)
		}
	}
	l, err := walkLZMABytes(t, bomb)
	if err != nil || l.Decoded != 80<<20 || !l.EndMarker {
		t.Errorf("%+v %v", l, err)
	}
}
