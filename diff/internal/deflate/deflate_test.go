package deflate

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
)

var update = flag.Bool("update", false, "write testdata/golden.txt from what zlib and gzip write")

// A setting is one set of options by name.
type setting struct {
	name string
	o    Options
}

// samples are those that the setting is tried on: all, where people use it.
func (s setting) samples() []sample {
	return samples(s.o.Flavour == Zlib && (s.o.MemLevel != 8 || s.o.WindowBits != 15 || s.o.Strategy == Fixed))
}

// settings are those that the golden file holds.
func settings() []setting {
	var s []setting
	zlib := func(o Options) {
		s = append(s, setting{fmt.Sprintf("zlib level=%d memLevel=%d windowBits=%d strategy=%d", max(o.Level, 0), o.MemLevel, o.WindowBits, o.Strategy), o})
	}
	zlib(Options{Level: Stored, MemLevel: 8, WindowBits: 15})
	for level := 1; level <= 9; level++ {
		for memLevel := 8; memLevel <= 9; memLevel++ {
			zlib(Options{Level: level, MemLevel: memLevel, WindowBits: 15})
		}
		zlib(Options{Level: level, MemLevel: 8, WindowBits: 15, Strategy: Filtered})
		zlib(Options{Level: level, MemLevel: 8, WindowBits: 15, Strategy: Fixed})
	}
	for _, strategy := range []Strategy{HuffmanOnly, RLE} {
		for memLevel := 8; memLevel <= 9; memLevel++ {
			zlib(Options{Level: 9, MemLevel: memLevel, WindowBits: 15, Strategy: strategy})
		}
	}
	for bits := 9; bits <= 14; bits++ {
		for _, level := range []int{1, 6, 9} {
			zlib(Options{Level: level, MemLevel: 8, WindowBits: bits})
		}
		zlib(Options{Level: 9, MemLevel: 9, WindowBits: bits, Strategy: HuffmanOnly})
	}
	for memLevel := 1; memLevel <= 7; memLevel++ {
		zlib(Options{Level: 3, MemLevel: memLevel, WindowBits: 15})
		zlib(Options{Level: 6, MemLevel: memLevel, WindowBits: 15})
	}
	for level := 1; level <= 9; level++ {
		s = append(s, setting{fmt.Sprintf("gzip -%d", level), Options{Flavour: Gzip, Level: level}})
	}
	return s
}

func deflated(t testing.TB, o Options, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, o)
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

// digest is of what a setting makes of all samples: of the digest of each.
func digest(all []sample, make func(sample) []byte) string {
	h := sha256.New()
	for _, s := range all {
		one := sha256.Sum256(make(s))
		h.Write(one[:])
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

const goldenFile = "testdata/golden.txt"

// The golden file was written from the output of zlib 1.2.13 (through Python's
// zlib.compressobj, and compress2 at level 0) and gzip 1.12, never from ours.
func TestGolden(t *testing.T) {
	if *update {
		t.Skip("being written")
	}
	f, err := os.Open(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, sum, found := strings.Cut(lines.Text(), ": "); found {
			want[name] = sum
		}
	}
	for _, s := range settings() {
		if want[s.name] == "" {
			t.Errorf("%s: not in %s", s.name, goldenFile)
			continue
		}
		if got := digest(s.samples(), func(x sample) []byte { return deflated(t, s.o, x.data) }); got != want[s.name] {
			t.Errorf("%s: other bytes than the program's", s.name)
		}
	}
}

// script compresses files with one setting of zlib and writes each result with its
// length before it.
const script = `
import ctypes, sys, zlib
level, bits, mem, strategy = map(int, sys.argv[1:5])
for name in sys.argv[5:]:
    data = open(name, 'rb').read()
    if level == 0: # Python gives little room for output, compress2 enough
        size = ctypes.c_ulong(len(data) + 1000)
        dest = ctypes.create_string_buffer(size.value)
        ctypes.CDLL('libz.so.1').compress2(dest, ctypes.byref(size), data, ctypes.c_ulong(len(data)), 0)
        out = dest.raw[2:size.value-4]
    else:
        c = zlib.compressobj(level, zlib.DEFLATED, -bits, mem, strategy)
        out = c.compress(data) + c.flush()
    sys.stdout.buffer.write(len(out).to_bytes(8, 'little') + out)
`

// original returns what the program itself makes of the files.
func original(t *testing.T, o Options, files []string) [][]byte {
	t.Helper()
	var all [][]byte
	if o.Flavour == Gzip {
		for _, f := range files {
			out, err := exec.Command("gzip", "-nc", fmt.Sprintf("-%d", o.Level), f).Output()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, out[10:len(out)-8]) // without header and trailer
		}
		return all
	}
	args := []string{"-c", script}
	for _, n := range []int{max(o.Level, 0), o.WindowBits, o.MemLevel, int(o.Strategy)} {
		args = append(args, fmt.Sprint(n))
	}
	out, err := exec.Command("python3", append(args, files...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for len(out) > 0 {
		n := int(out[0]) | int(out[1])<<8 | int(out[2])<<16 | int(out[3])<<24
		all = append(all, out[8:8+n])
		out = out[8+n:]
	}
	return all
}

func TestAgainstPrograms(t *testing.T) {
	difftest.Tools(t, "python3", "gzip")
	dir := t.TempDir()
	write := func(s sample) string {
		name := filepath.Join(dir, s.name)
		if err := os.WriteFile(name, s.data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, s := range samples(false) {
		write(s)
	}
	big := []sample{{"big", bytes.Join([][]byte{text(5, 2<<20), echo(2 << 20), table(1 << 20)}, nil)}}
	if exe, err := os.ReadFile("/bin/bash"); err == nil {
		big = append(big, sample{"elf", exe})
	}
	for _, s := range big {
		write(s)
	}
	var golden strings.Builder
	for _, s := range settings() {
		all := s.samples()
		few := len(all)
		if s.o.Flavour == Gzip || s.o == (Options{Level: 6, MemLevel: 9, WindowBits: 15}) || s.o == (Options{Level: 9, MemLevel: 8, WindowBits: 15}) {
			all = append(all, big...)
		}
		var files []string
		for _, x := range all {
			files = append(files, filepath.Join(dir, x.name))
		}
		want := original(t, s.o, files)
		if len(want) != len(all) {
			t.Fatalf("%s: %d results of %d", s.name, len(want), len(all))
		}
		wrong := 0
		for i, x := range all {
			got := deflated(t, s.o, x.data)
			if !bytes.Equal(got, want[i]) {
				at := 0
				for at < min(len(got), len(want[i])) && got[at] == want[i][at] {
					at++
				}
				if wrong++; wrong < 4 {
					t.Errorf("%s: %s: %d bytes, want %d; first difference at %d", s.name, x.name, len(got), len(want[i]), at)
				}
			}
		}
		if wrong > 3 {
			t.Errorf("%s: %d samples differ", s.name, wrong)
		}
		i := -1
		fmt.Fprintf(&golden, "%s: %s\n", s.name, digest(all[:few], func(sample) []byte { i++; return want[i] }))
	}
	if *update {
		if err := os.WriteFile(goldenFile, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	all := samples(true)
	for _, s := range settings() {
		for _, x := range all {
			got, err := io.ReadAll(flate.NewReader(bytes.NewReader(deflated(t, s.o, x.data))))
			if err != nil || !bytes.Equal(got, x.data) {
				t.Fatalf("%s: %s: does not come back: %v", s.name, x.name, err)
			}
		}
	}
}

var errStop = errors.New("stop")

// A stopper takes n bytes and fails from then on.
type stopper struct{ n, calls int }

func (s *stopper) Write(p []byte) (int, error) {
	if s.n -= len(p); s.n < 0 {
		s.calls++
		return 0, errStop
	}
	return len(p), nil
}

// The same bytes come out however they are cut into writes.
func TestCuts(t *testing.T) {
	data := bytes.Join([][]byte{echo(150000), noise(20000), text(9, 100000)}, nil)
	for _, o := range []Options{
		{Level: 6},
		{Level: 1, MemLevel: 9},
		{Level: 9, WindowBits: 9},
		{Level: 6, Strategy: RLE},
		{Level: 6, Strategy: HuffmanOnly},
		{Level: Stored},
		{Level: 2, Flavour: Gzip},
		{Level: 9, Flavour: Gzip},
	} {
		want := deflated(t, o, data)
		for _, cut := range []int{1, 7, 261, 4096, 32768, 65275, 65536, 100000} {
			var b bytes.Buffer
			w, err := NewWriter(&b, o)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(data); at += cut {
				if _, err := w.Write(data[at:min(at+cut, len(data))]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%+v: cut into %d: other bytes", o, cut)
			}
		}
	}
}

// After the first error nothing more is written, and nothing more is read.
func TestStops(t *testing.T) {
	for _, o := range []Options{{Level: 6}, {Level: 1}, {Level: Stored}, {Level: 9, Flavour: Gzip}, {Level: 9, Strategy: RLE}, {Level: 9, Strategy: HuffmanOnly}} {
		s := &stopper{n: 40000}
		w, err := NewWriter(s, o)
		if err != nil {
			t.Fatal(err)
		}
		n, err := w.Write(noise(1 << 20))
		if !errors.Is(err, errStop) || n > 200000 {
			t.Errorf("%+v: took %d bytes and said %v", o, n, err)
		}
		if n, err := w.Write([]byte{1}); n != 0 || !errors.Is(err, errStop) {
			t.Errorf("%+v: after the error took %d bytes and said %v", o, n, err)
		}
		if err := w.Close(); !errors.Is(err, errStop) {
			t.Errorf("%+v: closing said %v", o, err)
		}
		if s.calls != 1 {
			t.Errorf("%+v: %d writes after the error", o, s.calls-1)
		}
	}
}

func TestClosed(t *testing.T) {
	for _, o := range []Options{{Level: 6}, {Level: Stored}} {
		w, err := NewWriter(io.Discard, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte{1}); err == nil {
			t.Errorf("%+v: a closed writer takes bytes", o)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%+v: closes twice", o)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, o := range []Options{
		{},
		{Level: 10},
		{Level: -2},
		{Level: 6, MemLevel: 10},
		{Level: 6, MemLevel: -1},
		{Level: 6, WindowBits: 7},
		{Level: 6, WindowBits: 16},
		{Level: 6, Strategy: 5},
		{Level: 6, Strategy: -1},
		{Level: 6, Flavour: 2},
		{Level: 6, Flavour: Gzip, MemLevel: 9},
		{Level: 6, Flavour: Gzip, WindowBits: 14},
		{Level: 6, Flavour: Gzip, Strategy: Fixed},
		{Level: Stored, Flavour: Gzip},
	} {
		if _, err := NewWriter(io.Discard, o); err == nil {
			t.Errorf("%+v: accepted", o)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, x := range samples(true) {
		if len(x.data) < 5000 {
			f.Add(x.data, byte(len(x.data)), uint16(len(x.data)))
		}
	}
	all := settings()
	f.Fuzz(func(t *testing.T, seed []byte, which byte, cut uint16) {
		// Far matches take more than a fuzzer's input holds.
		data := bytes.Repeat(seed, 1+min(len(seed), 90000)/max(len(seed), 1))
		data = append(append(data, text(uint64(which), 40000)...), seed...)
		s := all[int(which)%len(all)]
		got := deflated(t, s.o, data)
		back, err := io.ReadAll(flate.NewReader(bytes.NewReader(got)))
		if err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%s: does not come back: %v", s.name, err)
		}
		var b bytes.Buffer
		w, err := NewWriter(&b, s.o)
		if err != nil {
			t.Fatal(err)
		}
		for rest := data; len(rest) > 0; {
			k := min(1+int(cut), len(rest))
			if _, err := w.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), got) {
			t.Fatalf("%s: cut into %d: other bytes", s.name, 1+int(cut))
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	data := bytes.Join([][]byte{text(5, 1<<20), table(1 << 20)}, nil)
	for _, o := range []Options{{Level: 1}, {Level: 6}, {Level: 9}, {Level: 6, Flavour: Gzip}, {Level: 9, Flavour: Gzip}} {
		b.Run(fmt.Sprintf("flavour=%d/level=%d", o.Flavour, o.Level), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				w, err := NewWriter(io.Discard, o)
				if err != nil {
					b.Fatal(err)
				}
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
