package codec

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"runtime"
	"testing"
	"time"
)

// roomy lets everything in these tests through that is not about limits.
var roomy = Limits{MaxExpanded: 1 << 30, MaxRatio: 1 << 20}

// text returns n bytes that compress like program text: the same on each call.
func text(n int) []byte {
	words := []string{"load", "store", " ", "\n", "the ", "firmware", "\x00\x00\x00\x00", "reference ", "0x", "deployed", ", ", "r0"}
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		if r.IntN(8) == 0 {
			b = append(b, byte(r.IntN(256)))
		}
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b[:n]
}

// noise returns n bytes that do not compress: the same on each call.
func noise(n int) []byte {
	var seed [32]byte
	b := make([]byte, n)
	rand.NewChaCha8(seed).Read(b)
	return b
}

func encoded(t testing.TB, codec, setting string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(t.Context(), codec, setting, &b, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decoded(t testing.TB, codec string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Decode(t.Context(), codec, roomy, &b, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, level int, h gzip.Header, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	z.Header = h
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tiles fails unless the fields cover [0,extent) in order, once.
func tiles(t testing.TB, fields []Field, extent, size int64) {
	t.Helper()
	var at int64
	for _, f := range fields {
		if f.Off != at || f.Len <= 0 {
			t.Fatalf("field %s is [%d,%d), the last one ended at %d", f.Path(), f.Off, f.End(), at)
		}
		at = f.End()
	}
	if at != extent || extent > size {
		t.Fatalf("fields end at %d, the extent at %d, the data at %d", at, extent, size)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("index out of range") }

func TestRescue(t *testing.T) {
	src := newSource(t.Context(), bytes.NewReader(nil))
	if _, err := expand(t.Context(), roomy, io.Discard, panicking{}, src); err == nil {
		t.Error("a decoder that panics succeeds")
	}
}

// isLimit fails unless err is the LimitError.
func isLimit(t testing.TB, err error, limit string) {
	t.Helper()
	var e *LimitError
	if !errors.As(err, &e) || e.Limit != limit {
		t.Errorf("error %v, want limit %q", err, limit)
	}
}

// allocated returns how many bytes f allocates, freed or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// slow reads one byte at a time.
type slow struct{ io.Reader }

func (s slow) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), 1)]) }

// encoding returns what the codec decodes, and to what.
func encoding(t testing.TB, codec string) (enc, dec []byte) {
	t.Helper()
	part := func(r Range, file string) []byte { return fixture(t, file)[r.Off:r.End()] }
	dec = fixtureText("text")
	lzop := func(file string) Range {
		l, err := WalkLzop(t.Context(), bytes.NewReader(fixture(t, file)), int64(len(fixture(t, file))), roomy)
		if err != nil {
			t.Fatal(err)
		}
		return l.Blocks
	}
	switch codec {
	case "lz4-block@1":
		f, err := walkLZ4Bytes(t, fixture(t, "text-legacy.lz4"))
		if err != nil {
			t.Fatal(err)
		}
		return part(f.Fields[2].Range, "text-legacy.lz4"), dec
	case "lzo1x@1":
		r := lzop("text-crc32.lzo") // around the block: sizes and checksum, end mark
		return part(Range{r.Off + 12, r.Len - 16}, "text-crc32.lzo"), dec
	case "lzop@1":
		return part(lzop("text.lzo"), "text.lzo"), dec
	case "lzop-crc32@1":
		return part(lzop("text-crc32.lzo"), "text-crc32.lzo"), dec
	case "lzop-plain@1":
		return part(lzop("text-plain.lzo"), "text-plain.lzo"), dec
	case "bzip2@1":
		return fixture(t, "text.bz2"), dec
	case "lzip@1":
		return fixture(t, "text.lz"), dec
	}
	dec = text(100_000)
	return encoded(t, codec, Settings(codec)[0], dec), dec
}

// inputs are what codecs are tried on.
func inputs() map[string][]byte {
	return map[string][]byte{
		"empty": {}, "byte": {7}, "text": text(100_000), "noise": noise(100_000),
		"zeros": make([]byte, 100_000), "mixed": append(append(text(40_000), noise(40_000)...), make([]byte, 40_000)...),
	}
}

// variation matches settings that are others with another number or filter. The tests of
// the encoders themselves go through those, and the digests below through all.
var variation = regexp.MustCompile(`^mksquashfs/(64|256|512|1024)K|/(arm|armthumb|powerpc);|^xz/crc32/[^6]`)

func TestRoundTripEverySetting(t *testing.T) {
	for _, c := range All(roomy) {
		for _, setting := range c.Settings() {
			if variation.MatchString(setting) {
				continue
			}
			t.Run(c.Name()+"/"+setting, func(t *testing.T) {
				for name, data := range inputs() {
					enc := encoded(t, c.Name(), setting, data)
					if got := decoded(t, c.Name(), enc); !bytes.Equal(got, data) {
						t.Errorf("%s: decodes to %d other bytes", name, len(got))
					}
				}
			})
		}
	}
}

// How the reader cuts its data must not show in what is written.
func TestEncodingIgnoresReads(t *testing.T) {
	data := text(70_000)
	for _, c := range All(roomy) {
		for _, setting := range c.Settings() {
			if variation.MatchString(setting) {
				continue
			}
			var b bytes.Buffer
			if err := c.Encode(t.Context(), setting, &b, slow{bytes.NewReader(data)}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), encoded(t, c.Name(), setting, data)) {
				t.Errorf("%s: %s: one byte at a time makes a difference", c.Name(), setting)
			}
		}
	}
}

// A failing reader is not the end of the data.
func TestEncodeReportsReadErrors(t *testing.T) {
	for _, want := range []error{io.ErrUnexpectedEOF, errors.New("disk")} {
		r := io.MultiReader(bytes.NewReader(text(1000)), failing{want})
		if err := Encode(t.Context(), "deflate@1", "go-flate/6", io.Discard, r); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestDecodeConsumesAllOrFails(t *testing.T) {
	for _, c := range All(roomy) {
		if c.Name() == "lz4-block@1" {
			continue // where one ends, only its input says
		}
		enc, _ := encoding(t, c.Name())
		for _, tail := range []string{"\x00", "\x00\x00\x00\x00\x01", "x", string(enc[:20]), string(noise(100_000))} {
			if err := c.Decode(t.Context(), io.Discard, bytes.NewReader(append(bytes.Clone(enc), tail...))); err == nil {
				t.Errorf("%s: accepts %d bytes after its end", c.Name(), len(tail))
			}
		}
		for n := 0; n < len(enc); n += 1 + n/7 {
			if err := c.Decode(t.Context(), io.Discard, bytes.NewReader(enc[:n])); err == nil {
				t.Errorf("%s: accepts %d bytes of %d", c.Name(), n, len(enc))
			}
		}
		if err := c.Decode(t.Context(), io.Discard, bytes.NewReader(enc[:len(enc)-1])); err == nil {
			t.Errorf("%s: accepts all but the last byte", c.Name())
		}
		if err := c.Decode(t.Context(), io.Discard, slow{bytes.NewReader(enc)}); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	if _, err := Lookup("deflate", roomy); err == nil {
		t.Error("a name without version is found")
	}
	if err := Encode(t.Context(), "deflate@1", "go-flate/12", io.Discard, bytes.NewReader(nil)); err == nil {
		t.Error("an unknown setting encodes")
	}
	if s := Settings("rot13@1"); s != nil {
		t.Errorf("settings of an unknown codec: %v", s)
	}
}

// The version in a codec's name covers the bytes that its settings write. When
// this fails, an encoder has changed: raise the version in All, then the digests.
func TestSettingsWriteWhatTheirVersionSays(t *testing.T) {
	want := map[string]uint32{
		"deflate@1 gzip/6":                                         0x98cdf8db,
		"deflate@1 gzip/9":                                         0x0a82448a,
		"deflate@1 gzip/1":                                         0x6711afa0,
		"deflate@1 gzip/8":                                         0xa7b87829,
		"deflate@1 gzip/7":                                         0x8d8672b8,
		"deflate@1 gzip/5":                                         0x60a0f9bf,
		"deflate@1 gzip/4":                                         0xc12cca84,
		"deflate@1 gzip/3":                                         0x6f6460e1,
		"deflate@1 gzip/2":                                         0x2ae2ee4e,
		"deflate@1 zlib/9":                                         0xe106000f,
		"deflate@1 zlib/6":                                         0x916a69a4,
		"deflate@1 zlib/1":                                         0x48aa9ba9,
		"deflate@1 zlib/8":                                         0x591d7f00,
		"deflate@1 zlib/7":                                         0x19d031d4,
		"deflate@1 zlib/5":                                         0x42621839,
		"deflate@1 zlib/4":                                         0x2085d5ae,
		"deflate@1 zlib/3":                                         0x36700f03,
		"deflate@1 zlib/2":                                         0x43d35301,
		"deflate@1 zlib/9/mem9":                                    0x0a82448a,
		"deflate@1 zlib/6/mem9":                                    0x7a3a744a,
		"xz@1 xz/6;xz/6":                                           0x97d79775,
		"xz@1 xz/6/threads;xz/6/threads":                           0x91b6baba,
		"xz@1 mksquashfs/128K;mksquashfs/128K":                     0xeafc7424,
		"xz@1 mksquashfs/8K;mksquashfs/8K":                         0xcec57ed2,
		"lzma@1 xz/6;xz/6":                                         0xa25bda8a,
		"zlib@1 zlib/9":                                            0xe87d0a06,
		"zlib@1 zlib/6":                                            0x6fe42e8e,
		"zlib@1 zlib/1":                                            0xed6e0721,
		"zlib@1 zlib/8":                                            0xf623891f,
		"zlib@1 zlib/7":                                            0x4ac72de8,
		"zlib@1 zlib/5":                                            0xa0ed3b67,
		"zlib@1 zlib/4":                                            0xaf7bc452,
		"zlib@1 zlib/3":                                            0xcefccf87,
		"zlib@1 zlib/2":                                            0x1a020a67,
		"lz4@1 lz4/1;frame":                                        0x2d712099,
		"lz4@1 lz4/9;frame":                                        0x1c158b7c,
		"lz4@1 lz4/12;frame":                                       0x013cf876,
		"lz4@1 lz4/9;legacy":                                       0x91bba8de,
		"lz4@1 lz4/1;legacy":                                       0xb881e1c7,
		"lz4@1 lz4/12;legacy":                                      0x63399fcb,
		"lz4-block@1 lz4/1":                                        0xfbc4b3ec,
		"lz4-block@1 lz4/12":                                       0x936553c4,
		"lz4-block@1 lz4/9":                                        0xc3c76db5,
		"lzo1x@1 lzo1x_999/8":                                      0x3170151f,
		"lzo1x@1 lzo1x_1":                                          0x769638b6,
		"lzo1x@1 lzo1x_1_15":                                       0x56aee4e2,
		"lzo1x@1 lzo1x_999/9":                                      0x64c080c8,
		"lzo1x@1 lzo1x_999/8+optimize":                             0x3e717a6b,
		"lzo1x@1 lzo1x_999/9+optimize":                             0xc01c9dda,
		"lzop@1 lzop/9":                                            0xe149e811,
		"lzop@1 lzop/3":                                            0x5ceeddb7,
		"lzop@1 lzop/1":                                            0x86486c69,
		"lzop@1 lzop/8":                                            0xa490df21,
		"lzop@1 lzop/7":                                            0x2dcf02af,
		"lzop-crc32@1 lzop/9":                                      0xeb71f847,
		"lzop-crc32@1 lzop/3":                                      0xe48b4316,
		"lzop-crc32@1 lzop/1":                                      0x65036ce9,
		"lzop-crc32@1 lzop/8":                                      0x7f510bdc,
		"lzop-crc32@1 lzop/7":                                      0xa428466c,
		"lzop-plain@1 lzop/9":                                      0x5b6120c1,
		"lzop-plain@1 lzop/3":                                      0x9344d78e,
		"lzop-plain@1 lzop/1":                                      0x43964d78,
		"lzop-plain@1 lzop/8":                                      0xbc17ff85,
		"lzop-plain@1 lzop/7":                                      0xca44e865,
		"deflate@1 go-flate/6":                                     0x9c8e8fe9,
		"deflate@1 go-flate/9":                                     0x5dcdbd62,
		"deflate@1 go-flate/1":                                     0x9b46335b,
		"deflate@1 go-flate/-2":                                    0x3cbb67ab,
		"deflate@1 go-flate/0":                                     0x3bef24d8,
		"deflate@1 klauspost-flate/5":                              0x8b78809c,
		"deflate@1 klauspost-flate/9":                              0x85ebcc4e,
		"deflate@1 klauspost-flate/6":                              0x9e64c9cf,
		"deflate@1 klauspost-flate/1":                              0xb1d90662,
		"xz@1 ulikunitz/crc64;ulikunitz/crc64":                     0xffbe80f0,
		"xz@1 ulikunitz/crc32;ulikunitz/crc32":                     0x2e7fe944,
		"xz@1 ulikunitz/sha256;ulikunitz/sha256":                   0x9d209c55,
		"xz@1 xz/9;xz/9":                                           0x97d79775,
		"xz@1 xz/9e;xz/9e":                                         0x482baa1f,
		"xz@1 xz/6e;xz/6e":                                         0x482baa1f,
		"xz@1 xz/8;xz/8":                                           0x97d79775,
		"xz@1 xz/7;xz/7":                                           0x97d79775,
		"xz@1 xz/3;xz/3":                                           0x54f88996,
		"xz@1 xz/2;xz/2":                                           0x7589513e,
		"xz@1 xz/1;xz/1":                                           0xa9d385ae,
		"xz@1 xz/0;xz/0":                                           0x0339af91,
		"xz@1 xz/crc32/6;xz/crc32/6":                               0x9c553936,
		"xz@1 xz/crc32/9;xz/crc32/9":                               0x9c553936,
		"xz@1 xz/crc32/9e;xz/crc32/9e":                             0x14136316,
		"xz@1 xz/crc32/6e;xz/crc32/6e":                             0x14136316,
		"xz@1 xz/crc32/8;xz/crc32/8":                               0x9c553936,
		"xz@1 xz/crc32/7;xz/crc32/7":                               0x9c553936,
		"xz@1 xz/crc32/3;xz/crc32/3":                               0xa8d55f17,
		"xz@1 xz/crc32/2;xz/crc32/2":                               0x9655eeed,
		"xz@1 xz/crc32/1;xz/crc32/1":                               0x4c508da1,
		"xz@1 xz/crc32/0;xz/crc32/0":                               0x05c4b4ac,
		"xz@1 linux/32M;linux/32M":                                 0x9c553936,
		"xz@1 linux/32M/x86;linux/32M/x86":                         0xdeca8fa7,
		"xz@1 linux/32M/arm;linux/32M/arm":                         0x003f703b,
		"xz@1 linux/32M/armthumb;linux/32M/armthumb":               0x460971c2,
		"xz@1 linux/32M/powerpc;linux/32M/powerpc":                 0xa6045998,
		"xz@1 linux/1M;linux/1M":                                   0x9c553936,
		"xz@1 mksquashfs/256K;mksquashfs/256K":                     0xeafc7424,
		"xz@1 mksquashfs/1024K;mksquashfs/1024K":                   0xeafc7424,
		"xz@1 mksquashfs/512K;mksquashfs/512K":                     0xeafc7424,
		"xz@1 mksquashfs/64K;mksquashfs/64K":                       0x5092d663,
		"xz@1 mksquashfs/128K/x86;mksquashfs/128K/x86":             0x9150f53c,
		"xz@1 mksquashfs/256K/x86;mksquashfs/256K/x86":             0x9150f53c,
		"xz@1 mksquashfs/1024K/x86;mksquashfs/1024K/x86":           0x9150f53c,
		"xz@1 mksquashfs/512K/x86;mksquashfs/512K/x86":             0x9150f53c,
		"xz@1 mksquashfs/64K/x86;mksquashfs/64K/x86":               0x1bf493ea,
		"xz@1 mksquashfs/128K/arm;mksquashfs/128K/arm":             0xd40a31cc,
		"xz@1 mksquashfs/256K/arm;mksquashfs/256K/arm":             0xd40a31cc,
		"xz@1 mksquashfs/1024K/arm;mksquashfs/1024K/arm":           0xd40a31cc,
		"xz@1 mksquashfs/512K/arm;mksquashfs/512K/arm":             0xd40a31cc,
		"xz@1 mksquashfs/64K/arm;mksquashfs/64K/arm":               0x48106779,
		"xz@1 mksquashfs/128K/armthumb;mksquashfs/128K/armthumb":   0x0497f912,
		"xz@1 mksquashfs/256K/armthumb;mksquashfs/256K/armthumb":   0x0497f912,
		"xz@1 mksquashfs/1024K/armthumb;mksquashfs/1024K/armthumb": 0x0497f912,
		"xz@1 mksquashfs/512K/armthumb;mksquashfs/512K/armthumb":   0x0497f912,
		"xz@1 mksquashfs/64K/armthumb;mksquashfs/64K/armthumb":     0x483628e9,
		"xz@1 mksquashfs/128K/powerpc;mksquashfs/128K/powerpc":     0x1caa9d90,
		"xz@1 mksquashfs/256K/powerpc;mksquashfs/256K/powerpc":     0x1caa9d90,
		"xz@1 mksquashfs/1024K/powerpc;mksquashfs/1024K/powerpc":   0x1caa9d90,
		"xz@1 mksquashfs/512K/powerpc;mksquashfs/512K/powerpc":     0x1caa9d90,
		"xz@1 mksquashfs/64K/powerpc;mksquashfs/64K/powerpc":       0x31aab4d9,
		"lzma@1 ulikunitz/marker;ulikunitz/marker":                 0x4c732a0f,
		"lzma@1 xz/9;xz/9":                                         0xae444bee,
		"lzma@1 xz/9e;xz/9e":                                       0xcab912da,
		"lzma@1 xz/6e;xz/6e":                                       0x15c91b33,
		"lzma@1 xz/8;xz/8":                                         0x6a0b52f3,
		"lzma@1 xz/7;xz/7":                                         0xe5945d5d,
		"lzma@1 xz/3;xz/3":                                         0xcdec8f51,
		"lzma@1 xz/2;xz/2":                                         0x5b3fa543,
		"lzma@1 xz/1;xz/1":                                         0x078d4c75,
		"lzma@1 xz/0;xz/0":                                         0x059c4bf4,
		"lzma@1 mksquashfs/128K;mksquashfs/128K":                   0xb351f295,
		"lzma@1 mksquashfs/8K;mksquashfs/8K":                       0x7165cecb,
		"lzma@1 mksquashfs/256K;mksquashfs/256K":                   0x0d4f8249,
		"lzma@1 mksquashfs/1024K;mksquashfs/1024K":                 0x3fe8ac03,
		"lzma@1 mksquashfs/512K;mksquashfs/512K":                   0xaa0265b0,
		"lzma@1 mksquashfs/64K;mksquashfs/64K":                     0x924d9258,
		"zlib@1 go-zlib/6":                                         0xc166d81f,
		"zlib@1 go-zlib/9":                                         0xefef2168,
		"zlib@1 go-zlib/1":                                         0xf6edc887,
		"zstd@1 klauspost/default;klauspost/default":               0x0c46a6ab,
		"zstd@1 klauspost/fastest;klauspost/fastest":               0x6a090898,
		"zstd@1 klauspost/better;klauspost/better":                 0xf0f99e5d,
		"zstd@1 klauspost/best;klauspost/best":                     0x102fc205,
		"lz4@1 pierrec;pierrec":                                    0x0eab515d,
		"lz4@1 pierrec/9;pierrec":                                  0x2335d534,
	}
	for _, c := range All(roomy) {
		for _, setting := range c.Settings() {
			h := crc32.NewIEEE()
			for _, data := range [][]byte{nil, text(100_000), noise(70_000), make([]byte, 100_000)} {
				h.Write(encoded(t, c.Name(), setting, data))
			}
			name := c.Name() + " " + setting
			if got := h.Sum32(); got != want[name] {
				t.Errorf("%q: 0x%08x,", name, got)
			}
			delete(want, name)
		}
	}
	for name := range want {
		t.Errorf("%s is gone", name)
	}
}

func TestFindSetting(t *testing.T) {
	data := text(20_000)
	for _, c := range All(roomy) {
		for _, want := range c.Settings() {
			if variation.MatchString(want) {
				continue
			}
			enc := encoded(t, c.Name(), want, data)
			got, ok, err := FindSetting(t.Context(), c.Name(), bytes.NewReader(enc), int64(len(enc)), bytes.NewReader(data), int64(len(data)))
			if err != nil || !ok {
				t.Fatalf("%s: %s is not found: %v", c.Name(), want, err)
			}
			if got != want && !bytes.Equal(encoded(t, c.Name(), got, data), enc) {
				t.Errorf("%s: %s is found for %s", c.Name(), got, want)
			}
			if want != c.Settings()[0] {
				continue
			}
			for name, other := range map[string][]byte{
				"one byte more":       append(bytes.Clone(enc), 0),
				"one byte less":       enc[:len(enc)-1],
				"another last byte":   append(bytes.Clone(enc[:len(enc)-1]), enc[len(enc)-1]^1),
				"another middle byte": append(append(bytes.Clone(enc[:len(enc)/2]), enc[len(enc)/2]^1), enc[len(enc)/2+1:]...),
				"nothing":             {},
			} {
				got, ok, err := FindSetting(t.Context(), c.Name(), bytes.NewReader(other), int64(len(other)), bytes.NewReader(data), int64(len(data)))
				if ok || err != nil {
					t.Errorf("%s: %s: %s is found: %v", c.Name(), name, got, err)
				}
			}
		}
	}
}

// A setting that is wrong must cost little: it stops at the first block.
func TestFindSettingStopsEarly(t *testing.T) {
	data := text(1 << 20)
	r := &countingAt{r: bytes.NewReader(data)}
	enc := append([]byte{0xff}, encoded(t, "deflate@1", "go-flate/6", data)...)
	_, ok, err := FindSetting(t.Context(), "deflate@1", bytes.NewReader(enc), int64(len(enc)), r, int64(len(data)))
	if ok || err != nil {
		t.Fatal(ok, err)
	}
	if limit := int64(len(Settings("deflate@1"))) * 256 << 10; r.n > limit {
		t.Errorf("read %d bytes of %d", r.n, len(data))
	}
}

// countingAt counts what is read.
type countingAt struct {
	r io.ReaderAt
	n int64
}

func (c *countingAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

func TestContext(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, c := range All(roomy) {
		enc, data := encoding(t, c.Name())
		walk := walks[c.Name()]
		for name, run := range map[string]func(context.Context) error{
			"decode": func(ctx context.Context) error { return c.Decode(ctx, io.Discard, bytes.NewReader(enc)) },
			"encode": func(ctx context.Context) error {
				if len(c.Settings()) == 0 {
					return alive(ctx)
				}
				return c.Encode(ctx, c.Settings()[0], io.Discard, bytes.NewReader(data))
			},
			"walk": func(ctx context.Context) error {
				if walk == nil {
					return alive(ctx)
				}
				_, err := walk(ctx, bytes.NewReader(enc), int64(len(enc)), roomy)
				return err
			},
		} {
			if err := run(gone); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %s: canceled: %v", c.Name(), name, err)
			}
			err := run(late)
			isLimit(t, err, "time")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %s: late: %v", c.Name(), name, err)
			}
		}
	}
}

// walks are the walkers of what codecs decode, giving fields and extent.
var walks = map[string]func(context.Context, io.ReaderAt, int64, Limits) (Frames, error){
	"deflate@1": func(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
		d, err := WalkDeflate(ctx, r, size, lim)
		return Frames{Extent: d.Extent, Fields: []Field{{"data", -1, -1, Range{0, d.Extent}}}}, err
	},
	"xz@1": func(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
		x, err := WalkXZ(ctx, r, size, lim)
		return Frames{Extent: x.Extent, Fields: x.Fields}, err
	},
	"lzma@1": func(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
		l, err := WalkLZMA(ctx, r, size, lim)
		return Frames{Extent: l.Extent, Fields: l.Fields}, err
	},
	"zlib@1": func(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
		z, err := WalkZlib(ctx, r, size, lim)
		return Frames{Extent: z.Extent, Fields: z.Fields}, err
	},
	"zstd@1":  WalkZstd,
	"lz4@1":   WalkLZ4,
	"bzip2@1": WalkBzip2,
	"lzip@1":  WalkLzip,
}

func TestCheckOutput(t *testing.T) {
	for _, c := range []struct {
		lim     Limits
		out, in int64
		limit   string
	}{
		{Limits{}, 0, 0, ""},
		{Limits{}, 1, 1, "expanded"},
		{Limits{MaxExpanded: 10}, 10, 1, ""},
		{Limits{MaxExpanded: 10}, 11, 1, "expanded"},
		{Limits{MaxExpanded: math.MaxInt64}, RatioFloor, 1, ""},
		{Limits{MaxExpanded: math.MaxInt64}, RatioFloor + 1, 1, "ratio"},
		{Limits{MaxExpanded: math.MaxInt64, MaxRatio: 1024}, RatioFloor * 1024, RatioFloor, ""},
		{Limits{MaxExpanded: math.MaxInt64, MaxRatio: 1024}, RatioFloor*1024 + 1, RatioFloor, "ratio"},
		{Limits{MaxExpanded: math.MaxInt64, MaxRatio: math.MaxInt64}, math.MaxInt64, 1, ""},
		{Limits{MaxExpanded: math.MaxInt64, MaxRatio: math.MaxInt64}, RatioFloor + 1, 0, "ratio"},
	} {
		err := c.lim.checkOutput(c.out, c.in)
		if c.limit == "" {
			if err != nil {
				t.Errorf("%+v: %d of %d: %v", c.lim, c.out, c.in, err)
			}
			continue
		}
		isLimit(t, err, c.limit)
	}
}
