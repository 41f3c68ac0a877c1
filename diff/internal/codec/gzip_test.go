package codec

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func walkGzipBytes(t testing.TB, b []byte) (Gzip, error) {
	return WalkGzip(t.Context(), bytes.NewReader(b), int64(len(b)), roomy)
}

// member builds a gzip member of header flags, what they say follows, and a
// DEFLATE stream that decodes to data.
func member(flags byte, fields string, deflated, data []byte) []byte {
	b := append([]byte{0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 5, 6}, fields...)
	if flags&gzipHCRC != 0 {
		b = append(b, binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))[:2]...)
	}
	b = append(b, deflated...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(data))
	return binary.LittleEndian.AppendUint32(b, uint32(len(data)))
}

func TestWalkGzipFields(t *testing.T) {
	data := text(1000)
	enc := encoded(t, "deflate@1", "go-flate/6", data)
	b := member(gzipHCRC|gzipExtra|gzipName|gzipComment, "\x04\x00abcdname\x00\x00", enc, data)
	g, err := walkGzipBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range g.Fields {
		got = append(got, fmt.Sprintf("%s %d %d", f.Path(), f.Off, f.Len))
	}
	n := len(enc)
	want := []string{
		"magic 0 2", "method 2 1", "flags 3 1", "mtime 4 4", "xfl 8 1", "os 9 1",
		"extra length 10 2", "extra 12 4", "name 16 5", "comment 21 1", "header crc 22 2",
		fmt.Sprintf("data 24 %d", n), fmt.Sprintf("crc32 %d 4", 24+n), fmt.Sprintf("isize %d 4", 28+n),
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields:\n%s", strings.Join(got, "\n"))
	}
	tiles(t, g.Fields, g.Extent, int64(len(b)))
	if g.Header != 24 || g.Data != (Range{24, int64(n)}) || g.Trailer != (Range{int64(24 + n), 8}) || g.Decoded != 1000 ||
		g.MTime != 0x04030201 || g.XFL != 5 || g.OS != 6 || g.CRC32 != crc32.ChecksumIEEE(data) {
		t.Errorf("%+v", g)
	}
}

func TestWalkGzipExtent(t *testing.T) {
	for name, data := range inputs() {
		for _, level := range []int{-2, -1, 0, 1, 9} {
			b := gzipped(t, level, gzip.Header{Name: "x", ModTime: time.Unix(1, 0)}, data)
			for _, tail := range []string{"", "\x00", "\x1f\x8b\x08", string(b), string(noise(70_000))} {
				whole := append(bytes.Clone(b), tail...)
				g, err := walkGzipBytes(t, whole)
				if err != nil {
					t.Fatalf("%s, level %d: %v", name, level, err)
				}
				if g.Extent != int64(len(b)) || g.Decoded != int64(len(data)) || g.Deflate.Strays != 0 {
					t.Errorf("%s, level %d: extent %d of %d, %+v", name, level, g.Extent, len(b), g.Deflate)
				}
				tiles(t, g.Fields, g.Extent, int64(len(whole)))
			}
		}
	}
}

func TestGzipFlipsAndTruncation(t *testing.T) {
	data := text(3000)
	enc := encoded(t, "deflate@1", "klauspost-flate/5", data)
	b := member(gzipHCRC|gzipExtra|gzipName|gzipComment, "\x04\x00abcdname\x00no\x00", enc, data)
	for i := range b {
		for bit := range 8 {
			d := bytes.Clone(b)
			d[i] ^= 1 << bit
			g, err := walkGzipBytes(t, d)
			if err != nil {
				continue
			}
			// What is left is an encoding of the same bytes in another way.
			inside := int64(i) >= g.Data.Off && int64(i) < g.Data.End()
			if !inside || !bytes.Equal(decoded(t, "deflate@1", d[g.Data.Off:g.Data.End()]), data) {
				t.Errorf("flip of bit %d at %d is not seen", bit, i)
			}
		}
	}
	for n := range b {
		if _, err := walkGzipBytes(t, b[:n]); err == nil {
			t.Errorf("%d bytes of %d are accepted", n, len(b))
		}
	}
}

func TestGzipHostile(t *testing.T) {
	data := []byte("abc")
	enc := []byte{1, 3, 0, 0xfc, 0xff, 'a', 'b', 'c'}
	good := member(0, "", enc, data)
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"good", good, true},
		{"extra without data", member(gzipExtra, "\x00\x00", enc, data), true},
		{"reserved flag", member(0x20, "", enc, data), false},
		{"extra beyond the end", member(gzipExtra, "\xff\xff", enc, data), false},
		{"name without end", member(gzipName, strings.Repeat("n", 100), []byte("n"), nil), false},
		{"name too long", member(gzipName, strings.Repeat("n", gzipText)+"\x00", enc, data), false},
		{"longest name", member(gzipName, strings.Repeat("n", gzipText-1)+"\x00", enc, data), true},
		{"wrong length", append(good[:len(good)-4:len(good)-4], 4, 0, 0, 0), false},
		{"no trailer", good[:len(good)-8], false},
		{"data after the deflate stream", member(0, "", append(bytes.Clone(enc), 'x'), data), false},
	} {
		if _, err := walkGzipBytes(t, c.b); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDeflateStray(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want []Stray
	}{
		{"none", []byte{0, 1, 0, 0xfe, 0xff, 'a', 1, 0, 0, 0xff, 0xff}, nil},
		{"before stored lengths", []byte{0xa8, 1, 0, 0xfe, 0xff, 'a', 0x81, 0, 0, 0xff, 0xff}, []Stray{{0, 0xf8, 0xa8, false}, {6, 0xf8, 0x80, false}}},
		{"after the last block", []byte{3, 0xfc}, []Stray{{1, 0xfc, 0xfc, true}}},
		{"in the middle", []byte{2, 0x40, 0, 0, 0xff, 0xff, 3, 0x80}, []Stray{{1, 0xe0, 0x40, false}, {7, 0xfc, 0x80, true}}},
	} {
		d, err := WalkDeflate(t.Context(), bytes.NewReader(c.b), int64(len(c.b)), roomy)
		if err != nil || d.Extent != int64(len(c.b)) || !slices.Equal(d.Stray, c.want) || d.Strays != int64(len(c.want)) {
			t.Errorf("%s: %+v, %v", c.name, d, err)
		}
	}
	many := append(bytes.Repeat([]byte{0x80, 0, 0, 0xff, 0xff}, 1000), 3, 0)
	d, err := WalkDeflate(t.Context(), bytes.NewReader(many), int64(len(many)), roomy)
	if err != nil || d.Strays != 1000 || len(d.Stray) != maxStray || d.Blocks != 1001 {
		t.Errorf("%d places, %d listed, %d blocks, %v", d.Strays, len(d.Stray), d.Blocks, err)
	}
}

// repeated reads as head, n times body, then tail, without holding it.
type repeated struct {
	head, body, tail []byte
	n                int64
}

func (r repeated) size() int64 {
	return int64(len(r.head)) + r.n*int64(len(r.body)) + int64(len(r.tail))
}

func (r repeated) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		body := int64(len(r.head))
		tail := body + r.n*int64(len(r.body))
		switch {
		case at < body:
			n += copy(p[n:], r.head[at:])
		case at < tail:
			n += copy(p[n:], r.body[(at-body)%int64(len(r.body)):])
		case at < r.size():
			n += copy(p[n:], r.tail[at-tail:])
		default:
			return n, io.EOF
		}
	}
	return n, nil
}

// gzipBomb is 10 GiB of zeros: a run of them, flushed, over and over.
func gzipBomb(t testing.TB) repeated {
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(make([]byte, 16<<20))
	z.Flush()
	return repeated{[]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}, b.Bytes(), []byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 640}
}

func TestGzipBomb(t *testing.T) {
	bomb := gzipBomb(t)
	deflated := io.NewSectionReader(bomb, 10, bomb.size()-18)
	for limit, lim := range map[string]Limits{
		"expanded": {MaxExpanded: 100 << 20, MaxRatio: 1 << 20},
		"ratio":    {MaxExpanded: 1 << 40, MaxRatio: 1000},
	} {
		got := allocated(func() {
			_, err := WalkGzip(t.Context(), bomb, bomb.size(), lim)
			isLimit(t, err, limit)
			deflated.Seek(0, io.SeekStart)
			isLimit(t, Decode(t.Context(), "deflate@1", lim, io.Discard, deflated), limit)
		})
		if got > 1<<20 {
			t.Errorf("%s: allocated %d bytes", limit, got)
		}
	}
	// The walk alone gets to the end of it: symbols are counted, not decoded.
	d, err := WalkDeflate(t.Context(), deflated, deflated.Size(), Limits{MaxExpanded: 10 << 30, MaxRatio: 2000})
	if err != nil || d.Decoded != 10<<30 || d.Extent != deflated.Size() {
		t.Errorf("%+v %v", d, err)
	}
	_, err = WalkDeflate(t.Context(), deflated, deflated.Size(), Limits{MaxExpanded: 10<<30 - 1, MaxRatio: 2000})
	isLimit(t, err, "expanded")
}
