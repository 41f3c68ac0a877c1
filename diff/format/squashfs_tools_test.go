package format_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

// squashTree makes a directory of everything that an image can hold and an ordinary
// user can make; root makes devices and attributes too. It returns the directory.
func squashTree(t *testing.T, files int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	r := rand.New(rand.NewSource(1))
	noise := make([]byte, 300_000)
	r.Read(noise)
	var text bytes.Buffer
	for i := range 60_000 {
		fmt.Fprintln(&text, i)
	}
	write := func(name string, b []byte) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write("bin/noise", noise)
	write("bin/text", text.Bytes())
	write("bin/text copy", text.Bytes())
	write("bin/exact", text.Bytes()[:1<<18])
	write("etc/one", []byte("1"))
	write("etc/two", []byte("two\n"))
	write("etc/two copy", []byte("two\n"))
	write("etc/empty file", nil)
	write("hole/inside", append(append(bytes.Repeat([]byte("a"), 1<<18), make([]byte, 1<<20)...), "end"...))
	write("hole/all", make([]byte, 1<<20))
	write("hole/odd", make([]byte, 1<<20+5))
	write("hole/start", append(make([]byte, 1<<20), noise[:100]...))
	for i := range files {
		write(fmt.Sprintf("many/file with a name of some length %d", i), fmt.Appendf(nil, "this is file %d\n", i))
	}
	must(os.MkdirAll(filepath.Join(dir, "empty/directory"), 0o755))
	must(os.Symlink("two", filepath.Join(dir, "etc/link")))
	must(os.Link(filepath.Join(dir, "etc/two"), filepath.Join(dir, "etc/hard")))
	must(os.Link(filepath.Join(dir, "bin/text"), filepath.Join(dir, "hard text")))
	return dir
}

// squashAttributes gives files what a user may not be allowed to give them.
func squashAttributes(t *testing.T, dir string) {
	for _, c := range [][]string{
		{"mknod", "dev-b", "b", "8", "1"},
		{"mknod", "dev-c", "c", "5", "1"},
		{"mkfifo", "fifo"},
		{"setfattr", "-n", "user.small", "-v", "x", "etc/one"},
		{"setfattr", "-n", "user.long", "-v", strings.Repeat("long ", 300), "etc/two"},
		{"setfattr", "-n", "user.long", "-v", strings.Repeat("long ", 300), "bin/text"},
		{"setfattr", "-n", "user.long", "-v", strings.Repeat("long ", 300), "empty"},
		{"setfattr", "-n", "user.more", "-v", "y", "empty"},
		{"setcap", "cap_net_raw+ep", "bin/noise"},
	} {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("without %v: %s", c, out)
		}
	}
}

// Images by mksquashfs with all that it can be told, and by gensquashfs, are laid
// out to the last byte, and hold what they were made of.
func TestSquashfsTools(t *testing.T) {
	difftest.Tools(t, "mksquashfs")
	small, large := squashTree(t, 50), squashTree(t, 5000)
	squashAttributes(t, small)
	for _, args := range []string{
		"-comp gzip", "-comp gzip -Xcompression-level 1 -Xwindow-size 12 -Xstrategy default,filtered,huffman_only",
		"-comp lzma", "-comp xz", "-comp xz -Xbcj x86,arm", "-comp xz -Xdict-size 50%",
		"-comp lzo", "-comp lzo -Xalgorithm lzo1x_1", "-comp lz4", "-comp lz4 -Xhc", "-comp zstd", "-comp zstd -Xcompression-level 19",
		"-b 4K", "-b 64K -comp lzo", "-b 1M", "-b 1M -comp xz", "-noI", "-noD", "-noF", "-noX", "-noId", "-noI -noD -noF -noX -noId",
		"-no-fragments", "-always-use-fragments", "-always-use-fragments -b 4K", "-no-exports", "-no-xattrs", "-no-sparse", "-no-duplicates",
		"-nopad", "-all-root -mkfs-time 0 -all-time 0", "-tailends", "-no-fragments -no-exports -no-xattrs -noI -noD",
	} {
		t.Run(args, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			run(t, "", "", "mksquashfs", append([]string{small, image, "-noappend", "-quiet", "-no-progress", "-processors", "1"}, strings.Fields(args)...)...)
			squashHolds(t, image, small, strings.HasPrefix(args, "-always-use") || args == "-tailends")
		})
	}
	for _, args := range []string{"-comp gzip", "-noI -noD -noF -noX -noId"} {
		t.Run("many files "+args, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			run(t, "", "", "mksquashfs", append([]string{large, image, "-noappend", "-quiet", "-no-progress"}, strings.Fields(args)...)...)
			squashHolds(t, image, large, false)
		})
	}
	t.Run("appended", func(t *testing.T) {
		image := filepath.Join(t.TempDir(), "image")
		run(t, "", "", "mksquashfs", filepath.Join(small, "etc"), filepath.Join(small, "hole"), image, "-quiet", "-no-progress")
		run(t, "", "", "mksquashfs", filepath.Join(small, "bin"), image, "-quiet", "-no-progress")
		squashHolds(t, image, "", false)
	})
	t.Run("empty", func(t *testing.T) {
		image := filepath.Join(t.TempDir(), "image")
		empty := filepath.Join(small, "empty", "directory")
		run(t, "", "", "mksquashfs", empty, image, "-quiet", "-no-progress")
		squashHolds(t, image, empty, false)
	})
	for _, args := range []string{"", "-c xz -b 65536", "-c zstd -x", "-c gzip -x -o", "-c lzo -T", "-c lz4 -e", "-c gzip -e -x -T"} {
		t.Run("gensquashfs "+args, func(t *testing.T) {
			difftest.Tools(t, "gensquashfs")
			image := filepath.Join(t.TempDir(), "image")
			run(t, "", "", "gensquashfs", append([]string{"--pack-dir", small, "-q", image}, strings.Fields(args)...)...)
			squashHolds(t, image, small, true)
		})
	}
}

// squashHolds checks that an image is laid out whole and that what its layout says is
// true, and the contents of files against those in dir.
//
// Where shared is set, a file may share its blocks with another and only its tail may
// be its own.
func squashHolds(t *testing.T, image, dir string, shared bool) {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if f := recognise(b); f == nil || f.Name != "squashfs" {
		t.Fatalf("recognised as %v", f)
	}
	c := newSquashCheck(t, b)
	if dir == "" {
		return
	}
	found := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if got, ok := c.contents[filepath.ToSlash(rel)]; ok {
			found++
			if !bytes.Equal(got, want) && (!shared || !bytes.HasSuffix(want, got)) {
				t.Errorf("%s: %d bytes, not those of the file, which has %d", rel, len(got), len(want))
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if found != len(c.contents) {
		t.Errorf("contents of %d files, of which %d are in the directory", len(c.contents), found)
	}
	t.Logf("%d bytes, %d sections, %d places, %d contents", len(b), c.sections, c.places, found)
}

// A squashCheck checks a layout to its last byte.
type squashCheck struct {
	t        *testing.T
	image    []byte
	codecs   map[string]ledger.Codec
	pieces   map[*diff.Stream][][]byte
	order    []*diff.Stream
	contents map[string][]byte // of files, by path
	sections int
	places   int
}

func newSquashCheck(t *testing.T, b []byte) *squashCheck {
	t.Helper()
	c := &squashCheck{t: t, image: b, codecs: map[string]ledger.Codec{}, pieces: map[*diff.Stream][][]byte{}, contents: map[string][]byte{}}
	for _, x := range format.Codecs(diff.Limits{}) {
		c.codecs[x.Name()] = x
	}
	f := recognise(b)
	ss, err := parse(f, b)
	if err != nil {
		t.Fatal(err)
	}
	c.tile("", ss, b, nil)
	names := map[string]bool{}
	for _, s := range c.order {
		if names[s.Name] {
			t.Errorf("two streams %q", s.Name)
		}
		names[s.Name] = true
		var whole []byte
		zeros := s.Zeros
		for n := range len(c.pieces[s]) + 1 {
			if len(zeros) > 0 && zeros[0].Before == n {
				whole = append(whole, make([]byte, zeros[0].Len)...)
				zeros = zeros[1:]
			}
			if n < len(c.pieces[s]) {
				if c.pieces[s][n] == nil {
					t.Errorf("stream %q has no piece %d", s.Name, n)
				}
				whole = append(whole, c.pieces[s][n]...)
			}
		}
		if len(zeros) > 0 {
			t.Errorf("stream %q has holes behind its end", s.Name)
		}
		if s.Open {
			c.contents[s.Name] = whole
		} else {
			c.tile(s.Name, s.Layout, whole, b)
		}
	}
	return c
}

// tile checks sections of b, which lie in outer if that is not nil: that they leave
// no byte out, and what their Specs say.
func (c *squashCheck) tile(path string, ss []diff.Section, b, outer []byte) {
	at := int64(0)
	for i := range ss {
		at = c.section(path+":"+ss[i].Name, &ss[i], b, outer, at)
	}
	if at != int64(len(b)) {
		c.t.Errorf("%s: laid out up to %d of %d", path, at, len(b))
	}
}

func (c *squashCheck) section(path string, s *diff.Section, b, outer []byte, at int64) int64 {
	c.sections++
	if s.Off != at || s.Len < 0 || s.Len > int64(len(b))-s.Off {
		c.t.Fatalf("%s at %d+%d, not %d, in %d bytes", path, s.Off, s.Len, at, len(b))
	}
	if s.Note != "" {
		c.t.Errorf("%s: %s", path, s.Note)
	}
	if s.Name == "" || s.Role == "" {
		c.t.Errorf("%s: a section without name or role", path)
	}
	if s.Spec != nil {
		c.places++
		if err := squashTrue(s, b, outer); err != nil {
			c.t.Errorf("%s: %v", path, err)
		}
	}
	content := b[s.Off:s.End()]
	if s.Codec != "" {
		var out bytes.Buffer
		if err := c.codecs[s.Codec].Decode(context.Background(), &out, bytes.NewReader(content)); err != nil {
			c.t.Fatalf("%s: %v", path, err)
		}
		content = out.Bytes()
		if s.Inner != nil {
			c.tile(path+">", s.Inner, content, b)
		}
	}
	switch {
	case s.Part != nil:
		of := s.Part.Of
		if c.pieces[of] == nil {
			c.order = append(c.order, of)
		}
		for len(c.pieces[of]) <= s.Part.N {
			c.pieces[of] = append(c.pieces[of], nil)
		}
		if c.pieces[of][s.Part.N] != nil {
			c.t.Errorf("%s: a second piece %d of %q", path, s.Part.N, of.Name)
		}
		c.pieces[of][s.Part.N] = content
	case s.Open || s.Codec != "" && s.Inner == nil:
		name := s.Name
		if name == "content" {
			name = strings.TrimSuffix(path[1:], ":content")
		}
		c.contents[name] = content
	}
	kids := s.Expand(nil)
	if len(kids) > 0 {
		in := s.Off
		for i := range kids {
			in = c.section(path+":"+kids[i].Name, &kids[i], b, outer, in)
		}
		if in != s.End() {
			c.t.Errorf("%s: laid out up to %d of %d", path, in, s.End())
		}
	}
	return s.End()
}

// squashTrue evaluates a Spec by its definition.
func squashTrue(s *diff.Section, b, outer []byte) error {
	if s.Spec.Op != ledger.OpNumber {
		return holdsIn(b, outer, s)
	}
	n := int64(0)
	for _, o := range s.Spec.Over {
		in := b
		if o.Outer {
			in = outer
		}
		if o.Off < 0 || o.Len <= 0 || o.End() > int64(len(in)) {
			return fmt.Errorf("measures %v of %d bytes", o.Range, len(in))
		}
		n += o.Len
	}
	v, width, err := integer(s.Spec.Enc, b[s.Off:s.End()])
	want := uint64(n*max(s.Spec.Scale, 1) + s.Spec.Add)
	if width < 64 {
		want &= 1<<width - 1
	}
	if err == nil && v != want {
		err = fmt.Errorf("says %d, is %d", v, want)
	}
	return err
}
