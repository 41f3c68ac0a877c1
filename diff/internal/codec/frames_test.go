package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
)

// tails are what may follow the extent of a container.
var tails = []string{"", "\x00", "x", strings.Repeat("\x00", 10_000), strings.Repeat("\xff", 100), string(noise(70_000))}

// checkExtent fails unless the walk finds that b is all there is of a container,
// whatever follows it, and the codec that it decodes to want.
func checkExtent(t *testing.T, codec string, b, want []byte, tails []string) Frames {
	t.Helper()
	var f Frames
	for _, tail := range slices.Backward(tails) {
		var err error
		d := append(bytes.Clone(b), tail...)
		f, err = walks[codec](t.Context(), bytes.NewReader(d), int64(len(d)), roomy)
		if err != nil {
			t.Fatalf("with tail %.10q: %v", tail, err)
		}
		if f.Extent != int64(len(b)) {
			t.Errorf("with tail %.10q: extent %d of %d: %v", tail, f.Extent, len(b), f.Rest)
		}
		tiles(t, f.Fields, f.Extent, int64(len(b)))
	}
	if got := decoded(t, codec, b); !bytes.Equal(got, want) {
		t.Errorf("decodes to %d bytes, not %d: %.40q", len(got), len(want), got)
	}
	return f
}

// codecOf is the codec of a fixture by its extension.
var codecOf = map[string]string{".zst": "zstd@1", ".lz4": "lz4@1", ".bz2": "bzip2@1", ".lz": "lzip@1", ".zz": "zlib@1"}

func TestWalkFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/text*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(file)
		codec := codecOf[filepath.Ext(name)]
		if codec == "" {
			continue
		}
		seen[codec] = true
		t.Run(name, func(t *testing.T) {
			b := fixture(t, name)
			checkExtent(t, codec, b, fixtureText(name), tails)
			for n := range b {
				if name == "text-legacy.lz4" && n == 4 {
					continue // an empty frame
				}
				if _, err := walks[codec](t.Context(), bytes.NewReader(b[:n]), int64(n), roomy); err == nil {
					t.Errorf("%d bytes of %d are accepted", n, len(b))
				}
			}
		})
	}
	if len(seen) != len(codecOf) {
		t.Errorf("fixtures of %v only", seen)
	}
}

// No byte can be changed without one of these: the walk fails, decoding fails, or
// what comes out is still the same.
func TestFrameFlips(t *testing.T) {
	for _, name := range []string{"text.zst", "text-checked.lz4", "text.lz4", "text.bz2", "text.lz", "text.zz"} {
		b, codec, want := fixture(t, name), codecOf[filepath.Ext(name)], fixtureText(name)
		for i := range b {
			if codec == "lzip@1" && i > 6 && i%8 != 0 {
				continue // its dictionary takes long to make
			}
			d := bytes.Clone(b)
			d[i] ^= 0x10
			f, err := walks[codec](t.Context(), bytes.NewReader(d), int64(len(d)), roomy)
			if err != nil {
				continue
			}
			tiles(t, f.Fields, f.Extent, int64(len(d)))
			var got bytes.Buffer
			err = Decode(t.Context(), codec, roomy, &got, bytes.NewReader(d))
			if err == nil && !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: decodes to other bytes with a flip at %d", name, i)
			}
		}
	}
}

func TestFramesFollow(t *testing.T) {
	skip := func(n int) []byte {
		b := binary.LittleEndian.AppendUint32([]byte{0x5e, 0x2a, 0x4d, 0x18}, uint32(n))
		return append(b, noise(n)...)
	}
	two := append(fixtureText("text"), fixtureText("text")...)
	for codec, names := range map[string][2]string{
		"zstd@1": {"text.zst", "text-single.zst"}, "lz4@1": {"text.lz4", "text-legacy.lz4"},
		"bzip2@1": {"text.bz2", "text.bz2"}, "lzip@1": {"text.lz", "text.lz"},
	} {
		a, b := fixture(t, names[0]), fixture(t, names[1])
		f := checkExtent(t, codec, slices.Concat(a, b), two, tails)
		if want := []Frame{{Range: Range{0, int64(len(a))}}, {Range: Range{int64(len(a)), int64(len(b))}}}; !slices.Equal(f.Frames, want) {
			t.Errorf("%s: %v", codec, f.Frames)
		}
		if last := f.Fields[len(f.Fields)-1]; last.Stream != 1 {
			t.Errorf("%s: the last field is %s", codec, last.Path())
		}

		// The second is damaged where nothing but it can tell.
		broken := bytes.Clone(a)
		broken[len(a)/2] ^= 0xff
		d := append(bytes.Clone(a), broken[:len(a)-3]...)
		f, err := walks[codec](t.Context(), bytes.NewReader(d), int64(len(d)), roomy)
		if err != nil || f.Extent != int64(len(a)) || f.Rest == nil {
			t.Errorf("%s: second damaged: extent %d of %d, rest %v, %v", codec, f.Extent, len(a), f.Rest, err)
		}
		tiles(t, f.Fields, f.Extent, int64(len(d)))

		if codec != "zstd@1" && codec != "lz4@1" {
			continue
		}
		for _, n := range []int{0, 1, 100_000} {
			for i, d := range [][]byte{slices.Concat(skip(n), a), slices.Concat(a, skip(n))} {
				f, err := walks[codec](t.Context(), bytes.NewReader(d), int64(len(d)), roomy)
				if err != nil || f.Extent != int64(len(d)) || len(f.Frames) != 2 || !f.Frames[i].Skippable || f.Frames[1-i].Skippable {
					t.Fatalf("%s: %d bytes skippable: %+v %v", codec, n, f.Frames, err)
				}
				tiles(t, f.Fields, f.Extent, int64(len(d)))
				if err := Decode(t.Context(), codec, roomy, io.Discard, bytes.NewReader(d)); err == nil {
					t.Errorf("%s: %d bytes that decode to nothing are decoded", codec, n)
				}
			}
		}
		if _, err := walks[codec](t.Context(), bytes.NewReader(skip(50)[:57]), 57, roomy); err == nil {
			t.Errorf("%s: a truncated skippable frame is accepted", codec)
		}
	}
}

// A reader that fails is no damage that ends the frames.
func TestWalkReadErrors(t *testing.T) {
	disk := errors.New("disk")
	for codec, name := range map[string]string{"zstd@1": "text.zst", "lz4@1": "text.lz4", "bzip2@1": "text.bz2", "lzip@1": "text.lz"} {
		b := fixture(t, name)
		// Frames enough that the first lies in one read and the last in another.
		d := bytes.Repeat(b, 1+3*bufferSize/len(b))
		_, err := walks[codec](t.Context(), failingAt{bytes.NewReader(d), 2 * bufferSize, disk}, int64(len(d)), roomy)
		if !errors.Is(err, disk) {
			t.Errorf("%s: %v", codec, err)
		}
	}
}

// failingAt fails to read at n or beyond.
type failingAt struct {
	io.ReaderAt
	n   int64
	err error
}

func (f failingAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.n {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestFrameParts(t *testing.T) {
	one := []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}
	b := bytes.Repeat(one, MaxParts)
	for _, codec := range []string{"zstd@1", "lz4@1"} {
		f, err := walks[codec](t.Context(), bytes.NewReader(b), int64(len(b)), roomy)
		if err != nil || f.Extent != int64(len(b)) {
			t.Errorf("%s: %d %v", codec, f.Extent, err)
		}
		_, err = walks[codec](t.Context(), bytes.NewReader(append(b, one...)), int64(len(b)+8), roomy)
		isLimit(t, err, "parts")
	}
}

// Blocks beyond those that are listed are one field.
func TestManyBlocks(t *testing.T) {
	const blocks = 3 * MaxParts
	z := binary.LittleEndian.AppendUint32(nil, zstdMagic)
	z = append(z, 0, 0)
	for range blocks {
		z = append(z, 1<<3, 0, 0, 'a') // one byte, stored
	}
	z = append(z, 1, 0, 0)
	l := []byte{4, 0x22, 0x4d, 0x18, 0x60, 0x40}
	sum := newXXH32()
	sum.Write(l[4:])
	l = append(l, byte(sum.Sum32()>>8))
	for range blocks {
		l = append(l, 1, 0, 0, 0x80, 'a')
	}
	l = append(l, 0, 0, 0, 0)
	for codec, b := range map[string][]byte{"zstd@1": z, "lz4@1": l} {
		f := checkExtent(t, codec, b, bytes.Repeat([]byte{'a'}, blocks), tails[:2])
		if len(f.Fields) > 2*MaxParts+16 {
			t.Errorf("%s: %d fields", codec, len(f.Fields))
		}
	}
}

// toolRuns are ways to compress standard input.
var toolRuns = map[string][]string{
	"zstd@1": {
		"zstd -1 -c", "zstd -3 -c", "zstd -9 -c", "zstd -19 -c", "zstd --fast=5 -c", "zstd --no-check -c",
		"zstd -T2 -B65536 -c", "zstd --no-compress-literals -c", "zstd --long=24 -c", "zstd --rsyncable -T2 -c", "zstd FILE -c",
	},
	"lz4@1": {
		"lz4 -c", "lz4 -9 -c", "lz4 -12 -B4 -c", "lz4 -B5 -BD -c", "lz4 -B6 -BX -c", "lz4 -BX -BD -B4 -c", "lz4 --no-frame-crc -c",
		"lz4 --fast=9 -c", "lz4 --content-size FILE -c", "lz4 -l -c", "lz4 -l -9 -c",
	},
	"bzip2@1": {"bzip2 -1 -c", "bzip2 -5 -c", "bzip2 -9 -c"},
	"lzip@1":  {"lzip -0 -c", "lzip -6 -c", "lzip -9 -c", "lzip -b 100000 -c", "lzip -s 64KiB -c"},
	"zlib@1":  {"pigz -z -1 -c", "pigz -z -6 -c", "pigz -z -9 -c", "pigz -z -p 4 -b 128 -c"},
	"lzop@1":  {"lzop -1 -c", "lzop -3 -c", "lzop -9 -c"},
	"":        {"lzop --crc32 -c", "lzop -F -9 -c", "lzop -N FILE -c", "lzop -P FILE -c"},
}

func TestAgainstTools(t *testing.T) {
	contents := inputs()
	contents["large"] = slices.Concat(text(9<<20), noise(1<<20), make([]byte, 2<<20))
	contents["blocks"] = text(8 << 20)
	// The large contents are there for block sizes, and are not small for everyone.
	large := []string{"zstd -3 -c", "zstd FILE -c", "zstd --long=24 -c", "lz4 -c", "lz4 -B6 -BX -c", "lz4 -BX -BD -B4 -c", "lz4 -l -c", "bzip2 -9 -c", "lzop -1 -c"}
	for codec, runs := range toolRuns {
		for _, run := range runs {
			t.Run(run, func(t *testing.T) {
				difftest.Tools(t, strings.Fields(run)[0])
				for name, data := range contents {
					if len(data) > 1<<20 && !slices.Contains(large, run) {
						continue
					}
					if len(data) == 0 && strings.HasPrefix(run, "lz4 -l") {
						continue // nothing but a magic: what follows could be its block
					}
					tails := tails
					if len(data) > 1<<20 {
						tails = tails[len(tails)-1:]
					}
					enc := toolOutput(t, run, data)
					if strings.HasPrefix(run, "lzop") {
						checkLzop(t, enc, data, tails)
						continue
					}
					f := checkExtent(t, codec, enc, data, tails)
					t.Logf("%s: %d bytes from %d, %d frames, %d fields", name, len(enc), len(data), len(f.Frames), len(f.Fields))
				}
			})
		}
	}
}

// toolOutput runs a command on data, given as its input or as FILE.
func toolOutput(t *testing.T, run string, data []byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	args := strings.Fields(strings.ReplaceAll(run, "FILE", file))
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	if !strings.Contains(run, "FILE") {
		cmd.Stdin = bytes.NewReader(data)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", run, err))
	}
	return out
}

func checkLzop(t *testing.T, b, want []byte, tails []string) {
	t.Helper()
	for _, tail := range tails {
		d := append(bytes.Clone(b), tail...)
		l, err := WalkLzop(t.Context(), bytes.NewReader(d), int64(len(d)), roomy)
		if err != nil {
			t.Fatalf("with tail %.10q: %v", tail, err)
		}
		if l.Extent != int64(len(b)) || l.Decoded != int64(len(want)) {
			t.Errorf("with tail %.10q: extent %d of %d, %d of %d bytes", tail, l.Extent, len(b), l.Decoded, len(want))
		}
		tiles(t, l.Fields, l.Extent, int64(len(b)))
		if got := decoded(t, l.Codec, b[l.Blocks.Off:l.Blocks.End()]); !bytes.Equal(got, want) {
			t.Errorf("%s: decodes to %d bytes, not %d", l.Codec, len(got), len(want))
		}
	}
}
