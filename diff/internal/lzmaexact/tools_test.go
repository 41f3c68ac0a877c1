package lzmaexact

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"

	"github.com/mikelolasagasti/xz"
	"github.com/ulikunitz/xz/lzma"
)

// needXZ skips unless that version line is installed: others may encode otherwise.
func needXZ(t *testing.T) {
	t.Helper()
	difftest.Tools(t, "xz")
	out, err := exec.CommandContext(t.Context(), "xz", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "liblzma 5.4.") {
		t.Skipf("xz is not of version 5.4: %s", out)
	}
}

// TestTool compares with the xz that is installed, on its own program.
func TestTool(t *testing.T) {
	needXZ(t)
	path, err := exec.LookPath("xz")
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]setting{presets(), filters(), containers()} {
		for _, s := range list {
			same(t, s, in)
		}
	}
}

// TestToolStored: so many chunks that do not compress, each of less than 64 KiB, come
// to more than if they were stored, which a threaded encoder then does.
func TestToolStored(t *testing.T) {
	needXZ(t)
	got := same(t, setting{
		"xz -T2 --check=sha256 --block-size=12000000 --lzma2=preset=0,depth=1,nice=3",
		Options{Format: XZThreaded, Depth: 1, Nice: 3, Check: SHA256, BlockSize: 12_000_000},
	}, noise(12_000_000))
	if head := (blockHead{dict: minDict, compressed: storedLen(12_000_000), size: 12_000_000}).bytes(0); !bytes.HasPrefix(got[12:], head) {
		t.Error("the block is not stored")
	}
}

// same compresses with the command and with the options, and returns what the
// options make.
func same(t *testing.T, s setting, in []byte) []byte {
	t.Helper()
	got, want := compress(t, s.o, in), run(t, s.args, in)
	if !bytes.Equal(got, want) {
		t.Errorf("%s of %d bytes: %d bytes, want %d; they part at %d", s.args, len(in), len(got), len(want), common(got, want))
	}
	return got
}

func common(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// image makes a squashfs of some files of 300 kB.
func image(t *testing.T, args ...string) []byte {
	t.Helper()
	needXZ(t)
	difftest.Tools(t, "mksquashfs")
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "image")
	for _, name := range []string{"text", "code", "patches", "noise", "one"} {
		if err := os.WriteFile(filepath.Join(dir, name), inputs()[name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{dir, file, "-quiet", "-no-progress", "-no-exports"}, args...)
	if out, err := exec.CommandContext(t.Context(), "mksquashfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSquashfsXZ makes every compressed block of an image again, metadata included.
func TestSquashfsXZ(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		dict  uint32
		bcjs  []BCJ
		least int // blocks
	}{
		{"default", []string{"-comp", "xz"}, 1 << 17, []BCJ{NoBCJ}, 8},
		{"1 MiB", []string{"-comp", "xz", "-b", "1M"}, 1 << 20, []BCJ{NoBCJ}, 2},
		{"bcj", []string{"-comp", "xz", "-b", "256K", "-Xbcj", "x86,arm,armthumb,powerpc,sparc,ia64"}, 1 << 18, []BCJ{NoBCJ, X86, ARM, ARMThumb, PowerPC, SPARC, IA64}, 5},
		{"dict", []string{"-comp", "xz", "-b", "128K", "-Xdict-size", "50%"}, 1 << 16, []BCJ{NoBCJ}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := image(t, c.args...)
			blocks, metadata, filtered := 0, 0, 0
			for at := 0; ; {
				i := bytes.Index(b[at:], []byte(xzMagic))
				if i < 0 {
					break
				}
				at += i
				r, err := xz.NewReader(bytes.NewReader(b[at:]), 0)
				if err != nil {
					t.Fatal(err)
				}
				r.Multistream(false)
				data, err := io.ReadAll(r)
				if err != nil {
					t.Fatalf("block at %d: %v", at, err)
				}
				o := Options{Format: XZBuffer, Preset: 6, Check: CRC32}
				if !slices.ContainsFunc(c.bcjs, func(bcj BCJ) bool {
					return slices.ContainsFunc([]uint32{c.dict, 8192}, func(dict uint32) bool {
						o.Dict, o.BCJ = dict, bcj
						return bytes.HasPrefix(b[at:], compress(t, o, data))
					})
				}) {
					t.Errorf("no setting makes the block at %d, of %d bytes", at, len(data))
				}
				if o.Dict == 8192 {
					metadata++
				}
				if o.BCJ != NoBCJ {
					filtered++
				}
				blocks++
				at++
			}
			if blocks < c.least || metadata < 1 || len(c.bcjs) > 1 && filtered == 0 {
				t.Errorf("%d blocks, %d of them metadata, %d filtered", blocks, metadata, filtered)
			}
		})
	}
}

// TestSquashfsLZMA does so for the older format.
func TestSquashfsLZMA(t *testing.T) {
	b := image(t, "-comp", "lzma", "-b", "256K")
	blocks := map[uint32]int{}
	for at := 0; at+13 < len(b); at++ {
		dict := binary.LittleEndian.Uint32(b[at+1:])
		size := binary.LittleEndian.Uint64(b[at+5:])
		if b[at] != 0x5D || dict != 1<<18 && dict != 8192 || size == 0 || size > uint64(dict) {
			continue
		}
		r, err := lzma.NewReader(bytes.NewReader(b[at:]))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("block at %d: %v", at, err)
		}
		out := compress(t, Options{Format: Alone, Preset: 5, Dict: dict, Size: int64(size)}, data)
		if !bytes.HasPrefix(b[at:], out) {
			t.Errorf("the block at %d comes out otherwise from byte %d on", at, common(b[at:], out))
		}
		blocks[dict]++
	}
	if blocks[8192] < 1 || blocks[1<<18] < 3 {
		t.Errorf("blocks by dictionary: %v", blocks)
	}
}
