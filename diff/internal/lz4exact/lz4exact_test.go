package lz4exact

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"

	"github.com/pierrec/lz4/v4"
)

var update = flag.Bool("update", false, "write testdata/golden.txt from what liblz4 and lz4 write")

// A setting is one set of options, and the arguments of lz4 for the same; a block
// has none.
type setting struct {
	name string
	o    Options
	args []string
}

// samples are those that the setting is tried on. The tool itself fails where a file
// lacks one byte of a block of 64 KiB.
func (s setting) samples() []sample {
	few := s.args != nil && s.o.BlockSize == 0 && s.o.Level != 1 && s.o.Level != 9 && s.o.Level != 12
	return slices.DeleteFunc(slices.Clone(samples(few)), func(x sample) bool {
		return s.o.BlockSize == 64<<10 && len(x.data) == 64<<10-1
	})
}

func settings() []setting {
	var s []setting
	for level := 1; level <= 12; level++ {
		s = append(s, setting{fmt.Sprintf("block level=%d", level), Options{Level: level}, nil})
	}
	s = append(s, setting{"block level=1 acceleration=9", Options{Level: 1, Acceleration: 9}, nil})
	frame := func(o Options, args ...string) {
		o.Format = Frame
		s = append(s, setting{"lz4 " + strings.Join(args, " "), o, args})
	}
	for level := 1; level <= 12; level++ {
		frame(Options{Level: level}, fmt.Sprintf("-%d", level))
	}
	frame(Options{Level: 1, BlockSize: 64 << 10}, "-1", "-B4")
	frame(Options{Level: 9, BlockSize: 64 << 10}, "-9", "-B4")
	frame(Options{Level: 1, BlockSize: 64 << 10, BlockChecksum: true}, "-1", "-B4", "-BX")
	frame(Options{Level: 1, BlockSize: 64 << 10, NoChecksum: true}, "-1", "-B4", "--no-frame-crc")
	frame(Options{Level: 1, Acceleration: 6}, "--fast=5")
	for _, level := range []int{1, 3, 6, 9, 10, 12} {
		frame(Options{Level: level, BlockSize: 64 << 10, Linked: true}, fmt.Sprintf("-%d", level), "-B4", "-BD")
	}
	frame(Options{Level: 1, BlockSize: 256 << 10, Linked: true}, "-1", "-B5", "-BD")
	for _, level := range []int{1, 9, 12} {
		s = append(s, setting{fmt.Sprintf("lz4 -l -%d", level), Options{Format: Legacy, Level: level}, []string{"-l", fmt.Sprintf("-%d", level)}})
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
func digest256(all []sample, make func(sample) []byte) string {
	h := sha256.New()
	for _, s := range all {
		one := sha256.Sum256(make(s))
		h.Write(one[:])
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

const goldenFile = "testdata/golden.txt"

// The golden file was written from the output of liblz4 1.9.4 (blocks) and of its
// tool, never from ours.
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
		if got := digest256(s.samples(), func(x sample) []byte { return compressed(t, s.o, x.data) }); got != want[s.name] {
			t.Errorf("%s: other bytes than the program's", s.name)
		}
	}
}

// script compresses files as blocks and writes each result with its length before
// it. With a third argument that is not 0 the room is what the data takes less one.
const script = `
import ctypes, sys
lz4 = ctypes.CDLL('liblz4.so.1')
level, accel, tight = map(int, sys.argv[1:4])
for name in sys.argv[4:]:
    data = open(name, 'rb').read()
    room = len(data) - 1 if tight else len(data) + len(data)//255 + 16
    dest = ctypes.create_string_buffer(max(room, 1))
    if level < 3:
        n = lz4.LZ4_compress_fast(data, dest, len(data), room, accel)
    else:
        n = lz4.LZ4_compress_HC(data, dest, len(data), room, level)
    sys.stdout.buffer.write(n.to_bytes(8, 'little') + dest.raw[:n])
`

// original returns what the library or the tool makes of the files.
func original(t *testing.T, s setting, tight bool, files []string) [][]byte {
	t.Helper()
	var all [][]byte
	if s.args != nil {
		for _, f := range files {
			out, err := exec.Command("lz4", append(append([]string{"-qzc"}, s.args...), f)...).Output()
			if err != nil {
				t.Fatalf("lz4 %v %s: %v", s.args, f, err)
			}
			all = append(all, out)
		}
		return all
	}
	mode := "0"
	if tight {
		mode = "1"
	}
	args := []string{"-c", script, fmt.Sprint(s.o.Level), fmt.Sprint(max(s.o.Acceleration, 1)), mode}
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

func written(t *testing.T, all []sample) []string {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for _, s := range all {
		name := filepath.Join(dir, s.name)
		if err := os.WriteFile(name, s.data, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}

func needPrograms(t *testing.T) {
	t.Helper()
	difftest.Tools(t, "python3", "lz4")
	if exec.Command("python3", "-c", "import ctypes; ctypes.CDLL('liblz4.so.1')").Run() != nil {
		t.Skip("liblz4 is not installed")
	}
}

func TestAgainstPrograms(t *testing.T) {
	needPrograms(t)
	dir := written(t, samples(false))
	var more []sample
	more = append(more, sample{"big", bytes.Join([][]byte{text(5, 3<<20), echo(3 << 20), table(3 << 20)}, nil)})
	more = append(more, sample{"full", append(text(6, 2<<20), echo(2<<20)...)})
	if exe, err := os.ReadFile("/bin/bash"); err == nil {
		more = append(more, sample{"elf", exe})
	}
	moreFiles := written(t, more)
	var golden strings.Builder
	for _, s := range settings() {
		all := s.samples()
		few := len(all)
		var files []string
		for _, x := range all {
			files = append(files, filepath.Join(filepath.Dir(dir[0]), x.name))
		}
		if s.args != nil && (s.o.Level == 1 || s.o.Level == 9) {
			all, files = append(all, more...), append(files, moreFiles...)
		}
		want := original(t, s, false, files)
		if len(want) != len(all) {
			t.Fatalf("%s: %d results of %d", s.name, len(want), len(all))
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
		fmt.Fprintf(&golden, "%s: %s\n", s.name, digest256(all[:few], func(sample) []byte { i++; return want[i] }))
	}
	if *update {
		if err := os.WriteFile(goldenFile, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The library gives up where a block might not fit, and only there.
func TestRoom(t *testing.T) {
	needPrograms(t)
	var all []sample
	for n := 13; n < 3000; n += 1 + n/7 {
		for i := range 8 {
			// Hardly compressible: the room decides.
			data := append(noise(n), noise(n)[n-min(n, 4+2*i):]...)
			all = append(all, sample{fmt.Sprintf("%d-%d", n, i), append(data, noise(i)...)})
		}
	}
	files := written(t, all)
	gaveUp := 0
	for level := 1; level <= 12; level += 2 {
		want := original(t, setting{o: Options{Level: level}}, true, files)
		for i, x := range all {
			var b bytes.Buffer
			w, err := NewWriter(&b, Options{Level: level, Room: len(x.data) - 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(x.data); err != nil {
				t.Fatal(err)
			}
			err = w.Close()
			if len(want[i]) == 0 {
				gaveUp++
			}
			if errors.Is(err, ErrRoom) != (len(want[i]) == 0) || !bytes.Equal(b.Bytes(), want[i]) {
				t.Errorf("level %d: %s: %d bytes and %v, want %d", level, x.name, b.Len(), err, len(want[i]))
			}
		}
	}
	if gaveUp == 0 {
		t.Error("no block was too large for its room")
	}
}

func unpacked(o Options, data []byte, size int) ([]byte, error) {
	if o.Format != Block {
		return io.ReadAll(lz4.NewReader(bytes.NewReader(data)))
	}
	out := make([]byte, size)
	n, err := lz4.UncompressBlock(data, out)
	if err != nil {
		return nil, err
	}
	return out[:n], nil
}

func TestRoundTrip(t *testing.T) {
	for _, s := range settings() {
		for _, x := range samples(true) {
			if len(x.data) == 0 && s.o.Format == Block {
				continue // the decoder wants more than nothing
			}
			got, err := unpacked(s.o, compressed(t, s.o, x.data), len(x.data))
			if err != nil || !bytes.Equal(got, x.data) {
				t.Fatalf("%s: %s: does not come back: %v", s.name, x.name, err)
			}
		}
	}
}

// The same bytes come out however they are cut into writes.
func TestCuts(t *testing.T) {
	data := bytes.Join([][]byte{echo(40000), noise(40000), text(9, 60000)}, nil)
	for _, s := range settings() {
		want := compressed(t, s.o, data)
		for _, cut := range []int{999, 100000} {
			var b bytes.Buffer
			w, err := NewWriter(&b, s.o)
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
				t.Errorf("%s: cut into %d: other bytes", s.name, cut)
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

// After the first error nothing more is written, and nothing more is read.
func TestStops(t *testing.T) {
	for _, o := range []Options{
		{Level: 1, Format: Frame, BlockSize: 64 << 10},
		{Level: 9, Format: Frame, BlockSize: 64 << 10, Linked: true},
	} {
		s := &stopper{n: 100000}
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

func TestTooLong(t *testing.T) {
	w, err := NewWriter(io.Discard, Options{Level: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(make([]byte, MaxBlock+1)); err == nil || n > MaxBlock {
		t.Errorf("took %d bytes and said %v", n, err)
	}
}

// Indices start over where a stream is longer than they can count.
func TestRebase(t *testing.T) {
	for _, level := range []int{1, 9, 12} {
		o := Options{Level: level, Format: Frame, BlockSize: 64 << 10, Linked: true}
		data := append(echo(140001), text(1, 100000)...)
		want := compressed(t, o, data)
		var b bytes.Buffer
		w, err := NewWriter(&b, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data[:131072]); err != nil {
			t.Fatal(err)
		}
		blocks := &w.(*encoder).blocks
		// As if far more had been there before.
		if level == 1 {
			for i := range blocks.fast.table {
				blocks.fast.table[i] += far
			}
			blocks.end += far
		} else {
			for i := range blocks.high.head {
				blocks.high.head[i] += far
			}
			blocks.high.next += far
			blocks.high.base += far
			blocks.high.low += far
			blocks.high.start += far
		}
		if _, err := w.Write(data[131072:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("level %d: other bytes", level)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, o := range []Options{
		{},
		{Level: 13},
		{Level: -1},
		{Level: 2, Acceleration: 2},
		{Level: 1, Acceleration: -1},
		{Level: 1, Acceleration: 65538},
		{Level: 1, Format: 3},
		{Level: 1, Format: Frame, BlockSize: 65537},
		{Level: 1, Format: Frame, BlockSize: 16 << 20},
		{Level: 1, Format: Frame, Room: 5},
		{Level: 1, Room: -1},
		{Level: 1, Format: Frame, ContentSize: -1},
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
		// Linked blocks take more than a fuzzer's input holds.
		data := bytes.Repeat(seed, 1+min(len(seed), 90000)/max(len(seed), 1))
		data = append(append(data, text(uint64(which), 66000)...), seed...)
		s := all[int(which)%len(all)]
		got := compressed(t, s.o, data)
		back, err := unpacked(s.o, got, len(data))
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
