package lzmaexact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/mikelolasagasti/xz"
	"github.com/ulikunitz/xz/lzma"
)

// decompress decodes with decoders that share nothing with this package. Raw LZMA2
// needs the dictionary.
func decompress(t testing.TB, o Options, b []byte) []byte {
	t.Helper()
	tun, err := o.tuning()
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader
	switch o.Format {
	case Alone:
		r, err = lzma.NewReader(bytes.NewReader(b))
	case LZMA2:
		r, err = lzma.Reader2Config{DictCap: int(tun.dict)}.NewReader2(bytes.NewReader(b))
	default:
		r, err = xz.NewReader(bytes.NewReader(b), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// formats are all containers and parsers, of small dictionaries.
func formats() []Options {
	return []Options{
		{Format: XZ, Preset: 6, Check: CRC64, Dict: 1 << 16},
		{Format: XZ, Preset: 0, Check: SHA256, BlockSize: 5000, BCJ: X86},
		{Format: XZThreaded, Preset: 1, Check: CRC32, BlockSize: 7001, Dict: minDict, BCJ: ARMThumb},
		{Format: XZBuffer, Preset: 4, Check: CRC32, Dict: 1 << 13, BCJ: IA64},
		{Format: Alone, Preset: 5, Dict: minDict, Props: &Props{LC: 0, LP: 2, PB: 1}},
		{Format: Alone, Preset: 3, Dict: 1 << 17},
		{Format: LZMA2, Preset: 6, Finder: BT2, Nice: 3, Dict: minDict},
		{Format: LZMA2, Preset: 6, Finder: BT3, Depth: 2, Dict: 1 << 15},
		{Format: LZMA2, Preset: 6, Finder: HC3, Dict: 3 << 13},
	}
}

func TestRoundTrip(t *testing.T) {
	in := inputs()
	for _, o := range formats() {
		for _, name := range []string{"empty", "one", "four", "zeros", "text", "code", "patches", "noise-65536", "period-4097"} {
			if got := decompress(t, o, compress(t, o, in[name])); !bytes.Equal(got, in[name]) {
				t.Errorf("%s with %+v: decodes to %d other bytes", name, o, len(got))
			}
		}
	}
}

// TestCuts: how the input is cut does not show; nor that the writer was used before.
func TestCuts(t *testing.T) {
	data := patches(600_000) // longer than the windows of small dictionaries
	for _, o := range formats() {
		want := compress(t, o, data)
		var out bytes.Buffer
		w, err := NewWriter(&out, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{1, 8192, 70_001} {
			out.Reset()
			w.Reset(&out)
			for at, n := 0, step; at < len(data); at += n {
				n = min(step, len(data)-at)
				if step == 1 && at > 8_000 {
					n = len(data) - at
				}
				if m, err := w.Write(data[at : at+n]); m != n || err != nil {
					t.Fatal(m, err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("%+v: in writes of %d bytes it comes out otherwise", o, step)
			}
		}
	}
}

// TestRebase: that positions begin anew every 4 GiB does not show.
func TestRebase(t *testing.T) {
	data := patches(600_000)
	for _, o := range []Options{
		{Format: LZMA2, Preset: 6, Dict: 1 << 16},
		{Format: LZMA2, Preset: 1, Dict: 1 << 19},
		{Format: Alone, Preset: 6, Finder: BT2, Dict: minDict},
	} {
		want := compress(t, o, data)
		for _, before := range []uint32{1, 300_000, 599_999} {
			var out bytes.Buffer
			w, err := NewWriter(&out, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(nil); err != nil {
				t.Fatal(err)
			}
			w.chain.e.base = math.MaxUint32 - before
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("%+v: with 4 GiB reached after %d bytes it comes out otherwise", o, before)
			}
			if w.chain.e.base > math.MaxUint32/2 && w.chain.e.base < math.MaxUint32-before {
				t.Errorf("%+v: positions did not begin anew", o)
			}
		}
	}
}

// A failing writer takes left bytes.
type failing struct{ left, calls int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	f.calls++
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestStop: an error of the writer below ends the work at once, and for good.
func TestStop(t *testing.T) {
	data := patches(3 << 20)
	for _, o := range formats() {
		if o.Format == XZBuffer {
			continue // writes when it is closed
		}
		for _, left := range []int{0, 5, 20, 40_000} {
			f := &failing{left: left}
			w, err := NewWriter(f, o)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for err == nil && n < len(data) {
				var m int
				m, err = w.Write(data[n:min(n+8192, len(data))])
				n += m
			}
			calls := f.calls
			if !errors.Is(err, errFull) {
				t.Fatalf("%+v: %v", o, err)
			}
			if n > len(data)/2 {
				t.Errorf("%+v: went on for %d bytes when %d were taken", o, n, left)
			}
			if _, err := w.Write(data); !errors.Is(err, errFull) {
				t.Errorf("%+v: the next write says %v", o, err)
			}
			if err := w.Close(); !errors.Is(err, errFull) {
				t.Errorf("%+v: Close says %v", o, err)
			}
			if f.calls != calls {
				t.Errorf("%+v: it wrote on", o)
			}
		}
	}
	f := &failing{left: 100}
	w, err := NewWriter(f, Options{Format: XZBuffer, Preset: 6})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[:10_000]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close says %v", err)
	}
}

func TestClose(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Options{Preset: 6, Check: CRC64})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if out.Len() != 32 {
		t.Errorf("an empty stream of %d bytes", out.Len())
	}
	if n, err := w.Write([]byte("a")); n != 0 || err == nil {
		t.Errorf("a closed writer takes %d bytes, %v", n, err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Preset: -1},
		{Preset: 10},
		{Dict: minDict - 1},
		{Dict: maxDict + 1},
		{Props: &Props{LC: 3, LP: 2}},
		{Props: &Props{LC: -1}},
		{Props: &Props{LP: -1, LC: 4}},
		{Props: &Props{PB: 5}},
		{Props: &Props{PB: -1}},
		{Mode: 3},
		{Finder: 6},
		{Nice: 1},
		{Nice: 274},
		{Depth: -1},
		{Format: 5},
		{Check: 2},
		{BCJ: 3},
		{BCJ: 11},
		{Format: Alone, BCJ: X86},
		{BlockSize: -1},
		{BlockSize: math.MaxInt64},
		{Format: XZBuffer, BlockSize: 1},
		{Format: Alone, Size: -1},
		{Size: 1},
	} {
		if _, err := NewWriter(io.Discard, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// TestMemory: it grows with the input, and ends as Memory says.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		o    Options
		size int
	}{
		{Options{Preset: 6}, 100},
		{Options{Preset: 6}, 1 << 20},
		{Options{Preset: 6, Dict: 1 << 16}, 8 << 20},
		{Options{Preset: 0, Dict: maxDict}, 1000},
		{Options{Preset: 9, Format: Alone}, 1 << 20},
	} {
		want, err := c.o.Memory(int64(c.size))
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, c.size)
		var before, after runtime.MemStats
		w, err := NewWriter(io.Discard, c.o)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&before)
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > want {
			t.Errorf("%+v holds %d bytes for %d, Memory says %d", c.o, got, c.size, want)
		}
		runtime.KeepAlive(w)
	}
}

// FuzzWriter: what comes out decodes to what went in, and does not depend on cuts.
func FuzzWriter(f *testing.F) {
	for i := range formats() {
		f.Add(uint8(i), uint16(100), []byte("abcabcabcabcabcdefdefdef"))
		f.Add(uint8(i), uint16(1), code(3000))
		f.Add(uint8(i), uint16(4000), patches(9000))
	}
	all := formats()
	writers := make([]*Writer, len(all))
	f.Fuzz(func(t *testing.T, format uint8, cut uint16, data []byte) {
		i := int(format) % len(all)
		if writers[i] == nil {
			w, err := NewWriter(io.Discard, all[i])
			if err != nil {
				t.Fatal(err)
			}
			writers[i] = w
		}
		var outs [2]bytes.Buffer
		for j, step := range []int{len(data) + 1, int(cut) + 1} {
			w := writers[i]
			w.Reset(&outs[j])
			for rest := data; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				if _, err := w.Write(rest[:min(step, len(rest))]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(outs[0].Bytes(), outs[1].Bytes()) {
			t.Errorf("cut every %d bytes it comes out otherwise", int(cut)+1)
		}
		if got := decompress(t, all[i], outs[0].Bytes()); !bytes.Equal(got, data) {
			t.Errorf("%d bytes decode to %d others", len(data), len(got))
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	data := patches(1 << 20)
	for _, preset := range []int{1, 6} {
		b.Run(fmt.Sprint(preset), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			w, err := NewWriter(io.Discard, Options{Preset: preset})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				w.Reset(io.Discard)
				if _, err := w.Write(data); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
