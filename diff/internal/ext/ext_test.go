package ext_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"

	"github.com/assaylab/assay/diff/internal/ext"
)

// makers are the options of mke2fs under which a tree of files must read as it was
// written. The size is in MiB.
var makers = []struct {
	name string
	size int
	args string
}{
	{"ext2", 8, "-t ext2"},
	{"ext2 revision 0", 8, "-t ext2 -r 0"},
	{"ext2 blocks of 2048", 8, "-t ext2 -b 2048"},
	{"ext2 blocks of 4096", 16, "-t ext2 -b 4096"},
	{"ext3", 16, "-t ext3"},
	{"ext4", 16, "-t ext4"},
	{"blocks of 1024", 16, "-t ext4 -b 1024"},
	{"blocks of 4096", 32, "-t ext4 -b 4096"},
	{"blocks of 65536", 256, "-t ext4 -F -b 65536"},
	{"inodes of 128", 16, "-t ext4 -I 128"},
	{"inodes of 512", 16, "-t ext4 -I 512"},
	{"inodes of 1024", 16, "-t ext4 -I 1024"},
	{"inline data", 16, "-t ext4 -O inline_data"},
	{"inline data, inodes of 1024", 16, "-t ext4 -O inline_data -I 1024"},
	{"no checksums", 16, "-t ext4 -O ^metadata_csum"},
	{"uninit_bg", 48, "-t ext4 -O ^metadata_csum,uninit_bg -b 1024"},
	{"32 bits", 16, "-t ext4 -O ^64bit"},
	{"bigalloc", 64, "-t ext4 -O bigalloc -C 16384"},
	{"bigalloc of 1024", 64, "-t ext4 -O bigalloc -b 1024 -C 8192"},
	{"meta_bg", 64, "-t ext4 -b 1024 -O meta_bg,^resize_inode -g 1024"},
	{"meta_bg without 64bit", 64, "-t ext4 -b 1024 -O meta_bg,^resize_inode,^64bit -g 512 -N 4096"},
	{"sparse_super2", 64, "-t ext4 -b 1024 -O sparse_super2"},
	{"all backups", 64, "-t ext4 -b 1024 -O ^sparse_super,^resize_inode"},
	{"no flex_bg", 64, "-t ext4 -b 1024 -O ^flex_bg"},
	{"orphan file", 16, "-t ext4 -O orphan_file"},
	{"quota", 16, "-t ext4 -O quota,project -I 256"},
	{"mmp", 16, "-t ext4 -O mmp"},
	{"checksum seed", 16, "-t ext4 -O metadata_csum_seed"},
	{"ea_inode", 16, "-t ext4 -O ea_inode"},
	{"casefold", 16, "-t ext4 -O casefold -E encoding=utf8"},
	{"no journal", 16, "-t ext4 -O ^has_journal"},
	{"block maps", 16, "-t ext4 -O ^extent,^64bit"},
	{"no filetype", 16, "-t ext2 -O ^filetype"},
	{"stride", 64, "-t ext4 -b 1024 -E stride=4,stripe_width=8,lazy_itable_init=0,nodiscard"},
	{"large groups", 300, "-t ext4 -b 4096"},
}

func TestMakers(t *testing.T) {
	need(t, "mke2fs", "debugfs")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	plant(t, tree)
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "image")
			run(t, "truncate", "-s", strconv.Itoa(m.size)+"M", img)
			run(t, "mke2fs", append(append([]string{"-q"}, strings.Fields(m.args)...), "-d", tree, img)...)
			fs := open(t, img)
			sound(t, fs.FS)
			same(t, fs, img)
		})
	}
}

// plant makes a tree with every way that content can be laid out.
func plant(t *testing.T, root string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	write := func(name string, b []byte) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32() | 1)
		}
		return b
	}
	sparse := func(name string, size int64, at ...int64) {
		write(name, nil)
		f, err := os.OpenFile(filepath.Join(root, name), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, off := range at {
			if _, err := f.WriteAt(noise(1000), off); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
	write("empty", nil)
	write("small", []byte("hello\n"))
	write("inline", noise(100))
	for _, n := range []int{59, 60, 61, 1023, 1024, 1025, 4096, 4097, 14 << 10, 300 << 10} {
		write(fmt.Sprintf("sizes/%d", n), noise(n))
	}
	for i := range 150 {
		write(fmt.Sprintf("many/a file with quite a long name %d", i), []byte(strconv.Itoa(i)))
	}
	write("deep/er/and/deeper/file", noise(3000))
	var holes []int64
	for i := range int64(60) {
		holes = append(holes, i*131072)
	}
	sparse("holes", 60*131072, holes...)
	sparse("triple", 68<<20, 0, 20<<10, 1<<20, 66<<20)
	sparse("nothing", 1<<20)
	sparse("tail", 1<<20+5, 0)
	for name, to := range map[string]string{"short": "small", "long": strings.Repeat("x/", 100), "59": strings.Repeat("y", 59), "60": strings.Repeat("z", 60)} {
		if err := os.Symlink(to, filepath.Join(root, "link "+name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(root, "small"), filepath.Join(root, "sizes/hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "sizes/61"), 0o4755); err != nil {
		t.Fatal(err)
	}
}

func need(t *testing.T, tools ...string) {
	t.Helper()
	difftest.Tools(t, tools...)
}

func run(t *testing.T, tool string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tool, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String()
}

// An image is a file with a filesystem in it.
type image struct {
	*ext.FS
	*os.File
}

func open(t *testing.T, name string) image {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	fs, err := ext.Parse(f, st.Size(), func(int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return image{fs, f}
}

// sound checks that the claims tile the blocks and that nothing is odd.
func sound(t *testing.T, fs *ext.FS) {
	t.Helper()
	tiles(t, fs)
	for _, c := range fs.Claims {
		if c.Kind == ext.Unowned && fs.Cluster == 1 {
			t.Errorf("blocks %d+%d are in use, and nobody's", c.Block, c.Count)
		}
		if c.MarkedFree {
			t.Errorf("blocks %d+%d (%v of inode %d, group %d) are marked free", c.Block, c.Count, c.Kind, c.Ino, c.Group)
		}
	}
	for i := range fs.Inodes {
		if n := &fs.Inodes[i]; n.Note != "" || n.Broken {
			t.Errorf("%s: %s", n.Path, n.Note)
		}
	}
}

func tiles(t *testing.T, fs *ext.FS) {
	t.Helper()
	at := int64(0)
	for _, c := range fs.Claims {
		if c.Block != at || c.Count < 1 {
			t.Fatalf("claim %+v after block %d", c, at)
		}
		at += c.Count
	}
	if at != fs.Blocks {
		t.Fatalf("%d of %d blocks are claimed", at, fs.Blocks)
	}
}

// content returns what a file holds.
func (fs image) content(t *testing.T, n *ext.Inode) []byte {
	t.Helper()
	if n.Broken || n.Size > 1<<28 {
		t.Fatalf("%s: %d bytes, %s", n.Path, n.Size, n.Note)
	}
	read := func(off, size int64) []byte {
		b := make([]byte, size)
		if _, err := fs.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		return b
	}
	switch {
	case n.FastSymlink():
		return n.Block[:n.Size]
	case n.Inline():
		b := append([]byte(nil), n.Block[:]...)
		inode := read(n.Off, fs.InodeSize)
		for _, a := range ext.InodeAttributes(inode, n.Extra) {
			if a.String() == "system.data" {
				b = append(b, inode[a.Value.Off:a.Value.End()]...)
			}
		}
		return resized(b, n.Size)
	}
	pieces := make([]ext.Claim, n.Pieces)
	for _, c := range fs.Claims {
		if c.Ino == n.Num && c.Kind == ext.Data {
			pieces[c.Piece] = c
		}
	}
	var b []byte
	holes := n.Holes
	for i := range len(pieces) + 1 {
		for len(holes) > 0 && holes[0].Before == i {
			b = append(b, make([]byte, holes[0].Len)...)
			holes = holes[1:]
		}
		if i < len(pieces) {
			c := pieces[i]
			if c.Count == 0 || c.Logical*fs.BlockSize != int64(len(b)) {
				t.Fatalf("%s: piece %d is %+v after %d bytes", n.Path, i, c, len(b))
			}
			b = append(b, read(c.Block*fs.BlockSize, min(c.Count*fs.BlockSize, n.Size-int64(len(b))))...)
		}
	}
	if int64(len(b)) != n.Size {
		t.Fatalf("%s: %d bytes in pieces, %d in all", n.Path, len(b), n.Size)
	}
	return b
}

// dumped says whether a file's content is compared.
func dumped(n *ext.Inode) bool { return n.Type() == ext.TypeRegular && n.Size > 0 }

func resized(b []byte, n int64) []byte {
	return append(b, make([]byte, max(0, n-int64(len(b))))...)[:n]
}

// same compares the files with what debugfs finds in the image.
func same(t *testing.T, fs image, img string) {
	t.Helper()
	out := t.TempDir()
	var dirs, paths []string
	byPath := map[string]*ext.Inode{}
	for i := range fs.Inodes {
		n := &fs.Inodes[i]
		if strings.HasPrefix(n.Path, "[") {
			continue
		}
		byPath[n.Path] = n
		paths = append(paths, n.Path)
		if n.Type() == ext.TypeDir {
			dirs = append(dirs, n.Path)
		}
	}
	sort.Strings(paths)
	var script strings.Builder
	for _, d := range dirs {
		fmt.Fprintf(&script, "ls -p \"/%s\"\n", d)
	}
	for i, p := range paths {
		if dumped(byPath[p]) {
			fmt.Fprintf(&script, "dump \"/%s\" %s/%d\n", p, out, i)
		}
	}
	file := filepath.Join(out, "script")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	listing := run(t, "debugfs", "-f", file, img)
	seen, dir := 0, ""
	for line := range strings.Lines(listing) {
		line = strings.TrimSuffix(line, "\n")
		if d, ok := strings.CutPrefix(line, "debugfs: ls -p \"/"); ok {
			dir = strings.TrimSuffix(d, "\"")
			continue
		}
		f := strings.Split(line, "/") // "", inode, mode, uid, gid, name, size, ""
		if len(f) != 8 || f[0] != "" || f[5] == "." || f[5] == ".." || f[1] == "0" {
			continue
		}
		path := f[5]
		if dir != "." {
			path = dir + "/" + path
		}
		ino, _ := strconv.ParseUint(f[1], 10, 32)
		n := fs.Inode(uint32(ino))
		if n == nil {
			t.Errorf("%s: no inode %d", path, ino)
			continue
		}
		if n.Path == path {
			seen++
		} else if n.Links < 2 {
			t.Errorf("inode %d is %q, for debugfs %q", ino, n.Path, path)
		}
		if got := fmt.Sprintf("%06o/%d/%d", n.Mode, n.UID, n.GID); got != strings.Join(f[2:5], "/") {
			t.Errorf("%s: %s, for debugfs %s", path, got, strings.Join(f[2:5], "/"))
		}
		if f[6] != "" && f[6] != strconv.FormatInt(n.Size, 10) {
			t.Errorf("%s: %d bytes, for debugfs %s", path, n.Size, f[6])
		}
	}
	if seen != len(paths)-1 { // the root is in no directory
		t.Errorf("debugfs lists %d of %d files", seen, len(paths)-1)
	}
	for i, p := range paths {
		if n := byPath[p]; dumped(n) {
			want, err := os.ReadFile(filepath.Join(out, strconv.Itoa(i)))
			if err != nil {
				t.Fatal(err)
			}
			if n.Inline() {
				want = resized(want, n.Size) // debugfs gives all that the inode has room for
			}
			if !bytes.Equal(fs.content(t, n), want) {
				t.Errorf("%s: other content than debugfs's", p)
			}
		}
	}
}
