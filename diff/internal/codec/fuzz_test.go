package codec

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// fuzzLimits keep one input short.
var fuzzLimits = Limits{MaxExpanded: 8 << 20, MaxRatio: 1 << 20, MaxDict: 1 << 20}

// FuzzGzip takes the bytes as a member and as a DEFLATE stream. The walk must
// find what the standard library's inflater finds, which shares no code with it.
func FuzzGzip(f *testing.F) {
	for _, data := range [][]byte{nil, []byte("a"), text(500), noise(100)} {
		for _, level := range []int{-2, 0, 1, 9} {
			f.Add(gzipped(f, level, gzip.Header{Name: "n", Extra: []byte("xy"), Comment: "c"}, data))
		}
		f.Add(encoded(f, "deflate@1", "go-flate/9", data))
	}
	f.Add(member(gzipName|gzipHCRC, strings.Repeat("n", 600)+"\x00", []byte{3, 0}, nil))
	f.Add([]byte{0xa8, 1, 0, 0xfe, 0xff, 'a', 3, 0xfc, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		used := allocated(func() { checkGzip(t, b) })
		if limit := uint64(len(b))*16 + 2<<20; used > limit {
			t.Errorf("%d bytes allocated for %d, %d are allowed", used, len(b), limit)
		}
		checkDeflate(t, b)
		// Past the magic and checksums that no fuzzer guesses.
		d, err := WalkDeflate(t.Context(), bytes.NewReader(b), int64(len(b)), fuzzLimits)
		if err != nil {
			return
		}
		sum := crc32.NewIEEE()
		if err := Decode(t.Context(), "deflate@1", fuzzLimits, sum, bytes.NewReader(b[:d.Extent])); err != nil {
			t.Fatal(err)
		}
		m := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0}, b[:d.Extent]...)
		m = binary.LittleEndian.AppendUint32(m, sum.Sum32())
		m = binary.LittleEndian.AppendUint32(m, uint32(d.Decoded))
		if g := checkGzip(t, append(m, b[d.Extent:]...)); g.Extent != int64(len(m)) {
			t.Errorf("extent %d of %d", g.Extent, len(m))
		}
	})
}

func checkGzip(t *testing.T, b []byte) Gzip {
	g, err := WalkGzip(t.Context(), bytes.NewReader(b), int64(len(b)), fuzzLimits)
	if err != nil {
		return g
	}
	tiles(t, g.Fields, g.Extent, int64(len(b)))
	z, err := gzip.NewReader(bytes.NewReader(b[:g.Extent]))
	if err == gzip.ErrHeader && g.Header > 512 {
		return g // it has a limit of its own on names
	}
	if err != nil {
		t.Fatalf("the standard library: %v", err)
	}
	if n, err := io.Copy(io.Discard, z); err != nil || n != g.Decoded {
		t.Fatalf("the standard library: %d bytes of %d, %v", n, g.Decoded, err)
	}
	return g
}

func checkDeflate(t *testing.T, b []byte) {
	d, err := WalkDeflate(t.Context(), bytes.NewReader(b), int64(len(b)), fuzzLimits)
	var limit *LimitError
	if errors.As(err, &limit) {
		return
	}
	r := bytes.NewReader(b)
	n, want := io.Copy(io.Discard, flate.NewReader(r))
	if (err == nil) != (want == nil) {
		t.Fatalf("walk: %v, standard library: %v", err, want)
	}
	if end := r.Size() - int64(r.Len()); err == nil && (d.Decoded != n || d.Extent != end) {
		t.Fatalf("walk: %d bytes from %d, standard library: %d from %d", d.Decoded, d.Extent, n, end)
	}
}

// FuzzXZ takes the bytes as .xz streams, and as LZMA2 chunks of a stream built
// around them.
func FuzzXZ(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.xz")
	for _, file := range files {
		b := fixture(f, filepath.Base(file))
		f.Add(b, int64(0))
		f.Add(append(append(b, make([]byte, 8)...), b...), int64(0))
		if x, err := walkXZBytes(f, b); err == nil {
			for _, block := range x.Streams[0].Blocks {
				f.Add(b[block.Data.Off:block.Data.End()], block.Decoded)
			}
		}
	}
	f.Add([]byte{1, 0, 2, 'a', 'b', 'c', 0}, int64(3))
	f.Fuzz(func(t *testing.T, b []byte, n int64) {
		checkXZ(t, b)
		if n < 0 {
			return
		}
		b = xzWith(8, b, n).bytes()
		if x := checkXZ(t, b); x.Extent != 0 && x.Extent != int64(len(b)) {
			t.Errorf("extent %d of %d", x.Extent, len(b))
		}
	})
}

func checkXZ(t *testing.T, b []byte) XZ {
	var x XZ
	var err error
	used := allocated(func() {
		x, err = WalkXZ(t.Context(), bytes.NewReader(b), int64(len(b)), fuzzLimits)
	})
	if limit := uint64(len(b))*128 + 64<<10; used > limit {
		t.Errorf("%d bytes allocated for %d, %d are allowed", used, len(b), limit)
	}
	var n counter
	if err != nil {
		return x
	}
	tiles(t, x.Fields, x.Extent, int64(len(b)))
	// Data may be damaged and filters unknown, but what decodes is as long as said.
	err = Decode(t.Context(), "xz@1", fuzzLimits, &n, bytes.NewReader(b[:x.Extent]))
	if err == nil && int64(n) != x.Decoded {
		t.Errorf("decodes to %d bytes, not %d", n, x.Decoded)
	}
	return x
}

// FuzzLZMA takes the bytes as a .lzma file.
func FuzzLZMA(f *testing.F) {
	f.Add(fixture(f, "text.lzma"))
	f.Add(fixture(f, "empty.lzma"))
	f.Add(append(lzmaFile(f, lzma.WriterConfig{Size: 500, DictCap: 4096}, text(500)), 'x'))
	f.Add(lzmaFile(f, lzma.WriterConfig{Size: 500, EOSMarker: true, DictCap: 1 << 20}, text(500)))
	f.Add([]byte{0x5d, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l LZMA
		var err error
		used := allocated(func() {
			l, err = WalkLZMA(t.Context(), bytes.NewReader(b), int64(len(b)), fuzzLimits)
		})
		// Matches cost the decoder an allocation each.
		if limit := uint64(len(b)+int(l.Decoded))*16 + 2<<20; err == nil && used > limit {
			t.Errorf("%d bytes allocated for %d, %d are allowed", used, len(b), limit)
		}
		if err != nil {
			return
		}
		tiles(t, l.Fields, l.Extent, int64(len(b)))
		var n counter
		if err := Decode(t.Context(), "lzma@1", fuzzLimits, &n, bytes.NewReader(b[:l.Extent])); err != nil || int64(n) != l.Decoded {
			t.Errorf("decodes to %d bytes, not %d: %v", n, l.Decoded, err)
		}
		if l.Size >= 0 && l.Size != l.Decoded {
			t.Errorf("decodes to %d bytes, the header says %d", l.Decoded, l.Size)
		}
		if err := Decode(t.Context(), "lzma@1", fuzzLimits, io.Discard, bytes.NewReader(b[:l.Extent-1])); err == nil {
			t.Error("decodes without its last byte")
		}
	})
}

// checkFrames walks b and holds the walk to its word; the memory it takes too. It
// decodes what was walked; with damage, that may fail: the walk does not decode.
func checkFrames(t *testing.T, codec string, b []byte, damage bool) Frames {
	t.Helper()
	var f Frames
	var err error
	used := allocated(func() {
		f, err = walks[codec](t.Context(), bytes.NewReader(b), int64(len(b)), fuzzLimits)
	})
	if limit := uint64(len(b))*256 + 3<<20; used > limit {
		t.Errorf("%s: %d bytes allocated for %d, %d are allowed", codec, used, len(b), limit)
	}
	if err != nil {
		return Frames{}
	}
	tiles(t, f.Fields, f.Extent, int64(len(b)))
	for _, frame := range f.Frames {
		if frame.Skippable {
			return f
		}
	}
	err = Decode(t.Context(), codec, fuzzLimits, io.Discard, bytes.NewReader(b[:f.Extent]))
	var limit *LimitError
	if err != nil && !damage && !errors.As(err, &limit) {
		t.Errorf("%s: %v", codec, err)
	}
	return f
}

// FuzzFrames takes the bytes as frames of each kind, after their magic too: no fuzzer
// should have to guess it.
func FuzzFrames(f *testing.F) {
	for _, name := range []string{"text.zst", "text-single.zst", "text-19.zst", "text.lz4", "text-checked.lz4", "text-legacy.lz4", "text.lz", "text.zz"} {
		f.Add(fixture(f, name))
	}
	f.Add(zstdFrameOf([]byte{0, 0x38}, zstdBlockOf(1, 128<<10, false, 0), zstdBlockOf(0, 0, true)))
	f.Add(lz4Spec{flags: 0x40, bd: 0x40, block: lz4Packed(0x1f, 'a', 1, 0, 0, 0), end: make([]byte, 4)}.bytes())
	f.Add([]byte{0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		checkFrames(t, "zstd@1", b, true)
		checkFrames(t, "zstd@1", append(zstdFrameOf(), b...), true)
		checkFrames(t, "lz4@1", b, false)
		checkFrames(t, "lz4@1", append(binary.LittleEndian.AppendUint32(nil, lz4LegacyMagic), b...), false)
		checkFrames(t, "lzip@1", b, false)
		checkFrames(t, "zlib@1", b, false)
		// Past the checksum of the header.
		s := lz4Spec{flags: 0x40, bd: 0x40, block: b, end: make([]byte, 4)}
		checkFrames(t, "lz4@1", s.bytes(), false)
		for _, codec := range []string{"lz4-block@1", "lzo1x@1", "lzop@1", "lzop-crc32@1", "lzop-plain@1"} {
			var n counter
			used := allocated(func() { _ = Decode(t.Context(), codec, fuzzLimits, &n, bytes.NewReader(b)) })
			if limit := uint64(len(b))*16 + 2<<20; used > limit {
				t.Errorf("%s: %d bytes allocated for %d, %d are allowed", codec, used, len(b), limit)
			}
		}
	})
}

// FuzzLZ4Block holds the decoder against one that shares no code with it.
func FuzzLZ4Block(f *testing.F) {
	block, _ := encoding(f, "lz4-block@1")
	f.Add(block)
	f.Add([]byte{0x1f, 'a', 1, 0, 0, 0x50, 'a', 'b', 'c', 'd', 'e'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got bytes.Buffer
		if Decode(t.Context(), "lz4-block@1", fuzzLimits, &got, bytes.NewReader(b)) != nil {
			return
		}
		want := make([]byte, got.Len())
		n, err := lz4.UncompressBlock(b, want)
		if err == nil && (n != len(want) || !bytes.Equal(want, got.Bytes())) {
			t.Errorf("other bytes: %d, not %d", got.Len(), n)
		}
	})
}
