package ext_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/internal/ext"
)

// many makes a directory of n entries.
func many(t *testing.T, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("entry number %d of a large directory", i))
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func script(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func count(fs image, kind ext.Kind) (blocks int64) {
	for _, c := range fs.Claims {
		if c.Kind == kind {
			blocks += c.Count
		}
	}
	return blocks
}

// A directory of 5,000 entries, in order and in hash trees of one and two levels.
func TestLargeDirectory(t *testing.T) {
	need(t, "mke2fs", "debugfs", "e2fsck")
	tree := filepath.Join(t.TempDir(), "tree")
	many(t, filepath.Join(tree, "large"), 5000)
	for _, args := range []string{"-t ext4 -b 1024", "-t ext4 -b 4096", "-t ext2 -b 1024"} {
		img := filepath.Join(t.TempDir(), "image")
		run(t, "truncate", "-s", "32M", img)
		run(t, "mke2fs", append(append([]string{"-q", "-N", "6000"}, strings.Fields(args)...), "-d", tree, img)...)
		linear := open(t, img)
		sound(t, linear.FS)
		same(t, linear, img)
		e2fsck(t, "-fyD", img)
		hashed := open(t, img)
		sound(t, hashed.FS)
		same(t, hashed, img)
		if n := byPath(t, hashed.FS, "large"); n.Flags&ext.FlagIndex == 0 || len(hashed.Inodes) < 5000 {
			t.Errorf("%s: no hash tree: %+v", args, n)
		}
	}
}

// e2fsck says by its status that it changed something.
func e2fsck(t *testing.T, args ...string) {
	t.Helper()
	cmd := append([]string{"-c", `e2fsck "$@" >/dev/null 2>&1; test $? -lt 4`, "e2fsck"}, args...)
	run(t, "sh", cmd...)
}

// Blocks that are allocated but not written, or past the end of a file, and extents in
// more than one level.
func TestExtents(t *testing.T) {
	need(t, "mke2fs", "debugfs")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	plant(t, tree)
	img := filepath.Join(dir, "image")
	run(t, "truncate", "-s", "32M", img)
	run(t, "mke2fs", "-q", "-t", "ext4", "-b", "1024", "-d", tree, img)
	run(t, "debugfs", "-w", "-f", script(t,
		"fallocate /tail 100 199",    // within its hole
		"fallocate /sizes/1024 1 20", // past its end
		"fallocate /nothing 500 520", // of what has no other block
		"sif /sizes/14336 size 3000", // cut, with its blocks
		"symlink slow "+strings.Repeat("very/", 30),
		"mknod char c 4 65", "mknod block b 8 1", "mknod pipe p",
	), img)
	fs := open(t, img)
	tiles(t, fs.FS)
	for path, want := range map[string][2]int64{ // blocks unwritten, past the end
		"tail": {100, 0}, "sizes/1024": {0, 20}, "nothing": {21, 0}, "sizes/14336": {0, 11},
	} {
		n := byPath(t, fs.FS, path)
		var got [2]int64
		for _, c := range fs.Claims {
			switch {
			case c.Ino != n.Num:
			case c.Kind == ext.Unwritten:
				got[0] += c.Count
			case c.Kind == ext.Beyond:
				got[1] += c.Count
			}
		}
		if got != want || n.Broken {
			t.Errorf("%s: %v blocks, not %v; %s", path, got, want, n.Note)
		}
	}
	if count(fs, ext.Extents) == 0 {
		t.Error("no extent tree has a block")
	}
	same(t, fs, img)
}

func TestBlockMaps(t *testing.T) {
	need(t, "mke2fs", "debugfs")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	plant(t, tree)
	img := filepath.Join(dir, "image")
	run(t, "truncate", "-s", "16M", img)
	run(t, "mke2fs", "-q", "-t", "ext2", "-b", "1024", "-d", tree, img)
	fs := open(t, img)
	n := byPath(t, fs.FS, "triple")
	if [4]byte(n.Block[56:]) == [4]byte{} {
		t.Error("no triple indirect block")
	}
	indirect := int64(0)
	for _, c := range fs.Claims {
		if c.Ino == n.Num && c.Kind == ext.Indirect {
			indirect += c.Count
		}
	}
	if indirect != 1+2+3 { // for what stands at 20 KiB, 1 MiB and 66 MiB
		t.Errorf("%d indirect blocks", indirect)
	}
	same(t, fs, img)
}

func TestGenext2fs(t *testing.T) {
	need(t, "genext2fs", "debugfs")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	plant(t, tree)
	for block, n := range map[string]string{"1024": "20000", "4096": "6000"} {
		img := filepath.Join(dir, "image"+block)
		run(t, "genext2fs", "-z", "-B", block, "-b", n, "-d", tree, img)
		fs := open(t, img)
		tiles(t, fs.FS)
		same(t, fs, img)
	}
}

func TestTune2fs(t *testing.T) {
	need(t, "mke2fs", "debugfs", "tune2fs", "e2fsck", "resize2fs")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	plant(t, tree)
	img := filepath.Join(dir, "image")
	for _, steps := range [][]string{
		{"tune2fs -O ^has_journal", "tune2fs -U random", "tune2fs -L label"},
		{"tune2fs -O ^metadata_csum", "e2fsck -fy"},
		{"tune2fs -O ^64bit", "resize2fs -s", "e2fsck -fy"},
		{"resize2fs -M", "e2fsck -fy"},
		{"resize2fs -f IMAGE 40000", "e2fsck -fy"},
		{"tune2fs -O quota", "e2fsck -fy"},
		{"tune2fs -I 512", "e2fsck -fy"},
	} {
		run(t, "truncate", "-s", "0", img)
		run(t, "truncate", "-s", "24M", img)
		run(t, "mke2fs", "-q", "-t", "ext4", "-b", "1024", "-O", "^flex_bg", "-d", tree, img)
		for _, step := range steps {
			f := strings.Fields(step)
			for i := range f {
				if f[i] == "IMAGE" {
					f[i] = img
				}
			}
			if !strings.Contains(step, "IMAGE") {
				f = append(f, img)
			}
			// e2fsck and tune2fs of what is not so: what counts is what stands there after.
			run(t, "sh", append([]string{"-c", `"$@" >/dev/null 2>&1 </dev/null || true`, "sh"}, f...)...)
		}
		fs := open(t, img)
		tiles(t, fs.FS)
		for i := range fs.Inodes {
			if n := &fs.Inodes[i]; n.Note != "" {
				t.Errorf("%q: %s: %s", steps, n.Path, n.Note)
			}
		}
		for _, c := range fs.Claims {
			if c.Kind == ext.Unowned || c.MarkedFree {
				t.Errorf("%q: blocks %d+%d, %v of %d", steps, c.Block, c.Count, c.Kind, c.Ino)
			}
		}
		same(t, fs, img)
	}
}
