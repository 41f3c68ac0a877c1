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

// inputs are what codecs are tried on.
func inputs() map[string][]byte {
	return map[string][]byte{
		"empty": {}, "byte": {7}, "text": text(100_000), "noise": noise(100_000),
		"zeros": make([]byte, 100_000), "mixed": append(append(text(40_000), noise(40_000)...), make([]byte, 40_000)...),
	}
}

func TestRoundTripEverySetting(t *testing.T) {
	for _, c := range All(roomy) {
		for _, setting := range c.Settings() {
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
	data := text(80_000)
	for _, c := range All(roomy) {
		for _, setting := range c.Settings() {
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
	data := text(100_000)
	for _, c := range All(roomy) {
		enc := encoded(t, c.Name(), c.Settings()[0], data)
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
		"deflate@1 go-flate/6":        0x9de353be,
		"deflate@1 go-flate/9":        0xf5bc4979,
		"deflate@1 go-flate/1":        0x0c31bc34,
		"deflate@1 go-flate/5":        0xd1bbe77a,
		"deflate@1 go-flate/7":        0x084a8695,
		"deflate@1 go-flate/8":        0xf5bc4979,
		"deflate@1 go-flate/4":        0x137c476a,
		"deflate@1 go-flate/3":        0x2f5eaa91,
		"deflate@1 go-flate/2":        0xd0de16e3,
		"deflate@1 go-flate/-2":       0xf8427392,
		"deflate@1 go-flate/0":        0x551d1ec2,
		"deflate@1 klauspost-flate/5": 0x0aa5f39b,
		"deflate@1 klauspost-flate/9": 0x0f5b508d,
		"deflate@1 klauspost-flate/6": 0x483d7770,
		"deflate@1 klauspost-flate/1": 0xa6748743,
		"deflate@1 klauspost-flate/7": 0x80e42c79,
		"deflate@1 klauspost-flate/8": 0x4b9a0130,
		"deflate@1 klauspost-flate/4": 0xf0341798,
		"deflate@1 klauspost-flate/3": 0x35cb0773,
		"deflate@1 klauspost-flate/2": 0x8fdd06c0,
		"xz@1 ulikunitz/crc64":        0x6b5961fc,
		"xz@1 ulikunitz/crc32":        0x378b4ba0,
		"xz@1 ulikunitz/sha256":       0x894c35f3,
		"lzma@1 ulikunitz/marker":     0x7f423233,
	}
	for _, c := range All(roomy) {
		for _, setting := range c.Settings() {
			h := crc32.NewIEEE()
			for _, data := range [][]byte{nil, text(200_000), noise(70_000), make([]byte, 100_000)} {
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
	data := text(60_000)
	for _, c := range All(roomy) {
		for _, want := range c.Settings() {
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
	data := text(100_000)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, c := range All(roomy) {
		setting := c.Settings()[0]
		enc := encoded(t, c.Name(), setting, data)
		for name, run := range map[string]func(context.Context) error{
			"decode": func(ctx context.Context) error { return c.Decode(ctx, io.Discard, bytes.NewReader(enc)) },
			"encode": func(ctx context.Context) error {
				return c.Encode(ctx, setting, io.Discard, bytes.NewReader(data))
			},
			"walk": func(ctx context.Context) (err error) {
				switch c.Name() {
				case "deflate@1":
					_, err = WalkDeflate(ctx, bytes.NewReader(enc), int64(len(enc)), roomy)
				case "xz@1":
					_, err = WalkXZ(ctx, bytes.NewReader(enc), int64(len(enc)), roomy)
				case "lzma@1":
					_, err = WalkLZMA(ctx, bytes.NewReader(enc), int64(len(enc)), roomy)
				}
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
