package lzoexact

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
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

	"github.com/anchore/go-lzo"
)

var update = flag.Bool("update", false, "write testdata/golden.txt from what liblzo2 writes")

// A setting is one set of options by name.
type setting struct {
	name string
	o    Options
}

func settings() []setting {
	s := []setting{
		{"lzo1x_1", Options{}},
		{"lzo1x_1_11", Options{Method: LZO1X111}},
		{"lzo1x_1_12", Options{Method: LZO1X112}},
		{"lzo1x_1_15", Options{Method: LZO1X115}},
	}
	for level := 1; level <= 9; level++ {
		o := Options{Method: LZO1X999, Level: level}
		s = append(s, setting{fmt.Sprintf("lzo1x_999 level=%d", level), o})
		if level >= 7 {
			o.Optimize = true
			s = append(s, setting{fmt.Sprintf("lzo1x_999 level=%d optimized", level), o})
		}
	}
	return s
}

func compressed(t testing.TB, o Options, data []byte) []byte {
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

// The golden file was written from the output of liblzo2 2.10, never from ours.
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
		if got := digest(samples(false), func(x sample) []byte { return compressed(t, s.o, x.data) }); got != want[s.name] {
			t.Errorf("%s: other bytes than the library's", s.name)
		}
	}
}

// script compresses files and writes each result with its length before it.
const script = `
import ctypes, sys
lzo = ctypes.CDLL('liblzo2.so.2')
method, level, optimize = sys.argv[1], int(sys.argv[2]), sys.argv[3] == '1'
work = ctypes.create_string_buffer(1 << 20)
for name in sys.argv[4:]:
    data = open(name, 'rb').read()
    dest = ctypes.create_string_buffer(len(data) + len(data)//16 + 100)
    n = ctypes.c_ulong(len(dest))
    if level:
        r = lzo.lzo1x_999_compress_level(data, ctypes.c_ulong(len(data)), dest, ctypes.byref(n), work, None, ctypes.c_ulong(0), None, level)
    else:
        r = getattr(lzo, method + '_compress')(data, ctypes.c_ulong(len(data)), dest, ctypes.byref(n), work)
    if r == 0 and optimize:
        back = ctypes.create_string_buffer(len(data) + 1)
        r = lzo.lzo1x_optimize(dest, n, back, ctypes.byref(ctypes.c_ulong(len(data))), None)
    if r != 0:
        sys.exit('liblzo2 says %d' % r)
    sys.stdout.buffer.write(n.value.to_bytes(8, 'little') + dest.raw[:n.value])
`

func TestAgainstLibrary(t *testing.T) {
	difftest.Tools(t, "python3")
	if exec.Command("python3", "-c", "import ctypes; ctypes.CDLL('liblzo2.so.2')").Run() != nil {
		t.Skip("liblzo2 is not installed")
	}
	all := samples(false)
	few := len(all)
	all = append(all, sample{"big", bytes.Join([][]byte{text(5, 1<<20), echo(1 << 20), table(1 << 20)}, nil)})
	if exe, err := os.ReadFile("/bin/bash"); err == nil {
		all = append(all, sample{"elf", exe})
	}
	dir := t.TempDir()
	var files []string
	for _, s := range all {
		name := filepath.Join(dir, s.name)
		if err := os.WriteFile(name, s.data, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	var golden strings.Builder
	for _, s := range settings() {
		method, _, _ := strings.Cut(s.name, " ")
		optimized := "0"
		if s.o.Optimize {
			optimized = "1"
		}
		out, err := exec.Command("python3", append([]string{"-c", script, method, fmt.Sprint(s.o.Level), optimized}, files...)...).Output()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		var want [][]byte
		for len(out) > 0 {
			n := binary.LittleEndian.Uint64(out)
			want = append(want, out[8:8+n])
			out = out[8+n:]
		}
		wrong := 0
		for i, x := range all {
			got := compressed(t, s.o, x.data)
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

// The blocks of lzop are blocks of the library.
func TestAgainstLzop(t *testing.T) {
	difftest.Tools(t, "lzop")
	data := bytes.Join([][]byte{text(5, 300000), echo(300000), table(200000)}, nil)
	name := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for level, o := range map[int]Options{
		1: {Method: LZO1X115},
		3: {Method: LZO1X1},
		7: {Method: LZO1X999, Level: 7, Optimize: true},
		8: {Method: LZO1X999, Level: 8, Optimize: true},
		9: {Method: LZO1X999, Level: 9, Optimize: true},
	} {
		file, err := exec.Command("lzop", "-c", fmt.Sprintf("-%d", level), name).Output()
		if err != nil {
			t.Fatal(err)
		}
		file = file[9+6+2+4+12:] // magic, versions, method and level, flags, mode and times
		file = file[1+int(file[0])+4:]
		rest := data
		for {
			size := binary.BigEndian.Uint32(file)
			if size == 0 {
				break
			}
			n := binary.BigEndian.Uint32(file[4:])
			if n >= size {
				t.Fatalf("lzop -%d: a stored block", level)
			}
			file = file[12:] // both sizes, a checksum of the data
			if got := compressed(t, o, rest[:size]); !bytes.Equal(got, file[:n]) {
				t.Errorf("lzop -%d: other bytes", level)
			}
			rest, file = rest[size:], file[n:]
		}
		if len(rest) > 0 {
			t.Errorf("lzop -%d: %d bytes left", level, len(rest))
		}
	}
}

func unpacked(data []byte, size int) ([]byte, error) {
	out := make([]byte, size)
	n, err := lzo.Decompress(data, out)
	if err != nil {
		return nil, err
	}
	return out[:n], nil
}

func TestRoundTrip(t *testing.T) {
	for _, s := range settings() {
		for _, x := range samples(true) {
			got, err := unpacked(compressed(t, s.o, x.data), len(x.data))
			if err != nil || !bytes.Equal(got, x.data) {
				t.Fatalf("%s: %s: does not come back: %v", s.name, x.name, err)
			}
		}
	}
}

var errStop = errors.New("stop")

// A stopper fails.
type stopper struct{ calls int }

func (s *stopper) Write(p []byte) (int, error) {
	s.calls++
	return 0, errStop
}

func TestErrors(t *testing.T) {
	s := &stopper{}
	w, err := NewWriter(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(); !errors.Is(err, errStop) {
			t.Errorf("closing said %v", err)
		}
	}
	if _, err := w.Write([]byte{1}); !errors.Is(err, errStop) {
		t.Errorf("writing after the error said %v", err)
	}
	if s.calls != 1 {
		t.Errorf("%d writes", s.calls)
	}

	w, err = NewWriter(io.Discard, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(make([]byte, MaxBlock+1)); err == nil || n != MaxBlock {
		t.Errorf("of a block too long %d bytes were taken, with %v", n, err)
	}
	if err := w.Close(); err == nil {
		t.Error("a block too long was written")
	}
}

func TestRefused(t *testing.T) {
	for _, o := range []Options{
		{Method: -1},
		{Method: 5},
		{Method: LZO1X999},
		{Method: LZO1X999, Level: 10},
		{Method: LZO1X1, Level: 1},
		{Method: LZO1X1, Optimize: true},
	} {
		if _, err := NewWriter(io.Discard, o); err == nil {
			t.Errorf("%+v: accepted", o)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, x := range samples(true) {
		if len(x.data) > 0 && len(x.data) < 5000 {
			f.Add(x.data, byte(len(x.data)), uint16(len(x.data)))
		}
	}
	all := settings()
	f.Fuzz(func(t *testing.T, seed []byte, which byte, cut uint16) {
		// Far matches take more than a fuzzer's input holds.
		data := bytes.Clone(seed)
		if cut&1 > 0 {
			data = append(append(data, text(uint64(which), 60000)...), seed...)
		}
		s := all[int(which)%len(all)]
		got := compressed(t, s.o, data)
		back, err := unpacked(got, len(data))
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
