package squashfs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/diff/difftest"

	"github.com/assaylab/assay/diff/internal/codec"
	"github.com/assaylab/assay/diff/internal/squashfs"
)

// The tree and all contents are those that unsquashfs finds.
func TestUnsquashfs(t *testing.T) {
	difftest.Tools(t, "mksquashfs", "unsquashfs")
	dir := filepath.Join(t.TempDir(), "tree")
	plant(t, dir)
	for _, c := range []string{
		"mksquashfs", "mksquashfs -comp lzo -b 4K", "mksquashfs -comp xz -always-use-fragments", "mksquashfs -comp lz4 -no-fragments",
		"mksquashfs -comp zstd -noI -b 1M", "mksquashfs -comp lzma -noF", "gensquashfs -c gzip", "gensquashfs -c xz -b 65536", "gensquashfs -c zstd -e",
	} {
		t.Run(c, func(t *testing.T) {
			args := strings.Fields(c)
			difftest.Tools(t, args[0])
			image := filepath.Join(t.TempDir(), "image")
			if args[0] == "mksquashfs" {
				args = append([]string{dir, image, "-quiet", "-no-progress"}, args[1:]...)
				command(t, "mksquashfs", args...)
			} else {
				command(t, "gensquashfs", append([]string{"--pack-dir", dir, "-q", image}, args[1:]...)...)
			}
			b, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			im, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			got, want := list(t, im), command(t, "unsquashfs", "-lln", "-UTC", image)
			if want := lines(want); !slices.Equal(got, want) {
				t.Errorf("%d files:\n%s\nnot %d:\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
			}
			out := filepath.Join(t.TempDir(), "out")
			command(t, "unsquashfs", "-quiet", "-no-progress", "-ignore-errors", "-no-xattrs", "-d", out, image)
			files, fragments := 0, map[uint32][]byte{}
			for i := range im.Nodes {
				n := &im.Nodes[i]
				f, ok := im.File(n)
				if !ok {
					continue
				}
				files++
				want, err := os.ReadFile(filepath.Join(out, filepath.FromSlash(n.Name)))
				if err != nil {
					t.Fatal(err)
				}
				if got := content(t, b, im, &f, fragments); !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, not the %d that unsquashfs has", n.Name, len(got), len(want))
				}
			}
			t.Logf("%d inodes, contents of %d", len(im.Nodes), files)
		})
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// plant makes a tree of everything that who runs the test may make.
func plant(t *testing.T, dir string) {
	t.Helper()
	text := []byte(strings.Repeat("some text of no interest, over and over\n", 8000))
	for name, b := range map[string][]byte{
		"bin/program": text, "bin/copy": text, "bin/start": text[:1<<18], "etc/small": text[:100], "etc/same": text[:100],
		"etc/empty": nil, "etc/hole": append(make([]byte, 1<<20), "end"...), "etc/nothing": make([]byte, 300_000),
	} {
		plantFile(t, filepath.Join(dir, name), b)
	}
	for i := range 700 {
		plantFile(t, filepath.Join(dir, "many", fmt.Sprintf("number %d of many files with a long name", i)), fmt.Appendf(nil, "%d\n", i))
	}
	for _, err := range []error{
		os.Symlink("program", filepath.Join(dir, "bin/sh")), os.Mkdir(filepath.Join(dir, "void"), 0o700),
		os.Link(filepath.Join(dir, "bin/program"), filepath.Join(dir, "hard")), os.Chmod(filepath.Join(dir, "etc/small"), 0o711|os.ModeSetuid),
		os.Chtimes(filepath.Join(dir, "etc/small"), time.Unix(1, 0), time.Unix(86400*365, 0)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"b", "8", "1"}, {"c", "5", "1"}, {"p"}} { // not everyone may
		_ = exec.Command("mknod", append([]string{filepath.Join(dir, "node "+args[0])}, args...)...).Run()
	}
}

func plantFile(t *testing.T, name string, b []byte) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lines puts the listing of unsquashfs into a form without blanks for columns.
func lines(s string) []string {
	var out []string
	for l := range strings.Lines(s) {
		f := strings.Fields(l)
		if len(f) >= 5 && len(f[0]) == 10 && strings.Contains(f[1], "/") {
			out = append(out, strings.Join(f, " "))
		}
	}
	slices.Sort(out)
	return out
}

// list lists an image as unsquashfs does.
func list(t *testing.T, im *squashfs.Image) []string {
	t.Helper()
	le := binary.LittleEndian
	root, ok := im.RootNode()
	if !ok {
		t.Fatal("no root")
	}
	listings := map[int]*squashfs.Listing{}
	for i := range im.Listings {
		listings[im.Listings[i].Node] = &im.Listings[i]
	}
	var out []string
	var visit func(i int, path string)
	visit = func(i int, path string) {
		n := &im.Nodes[i]
		b := im.Bytes(n)
		kind, wide := n.Type, n.Type >= squashfs.LDir
		if wide {
			kind -= squashfs.LDir - squashfs.Dir
		}
		size, after := fmt.Sprint(0), ""
		switch kind {
		case squashfs.Dir:
			l, _ := im.Listed(n)
			size = fmt.Sprint(l.Size + 3)
		case squashfs.Reg:
			f, _ := im.File(n)
			size = fmt.Sprint(f.Size)
		case squashfs.Symlink:
			target := string(b[24 : 24+le.Uint32(b[20:])])
			size, after = fmt.Sprint(len(target)), " -> "+target
		case squashfs.Blkdev, squashfs.Chrdev:
			dev := le.Uint32(b[20:])
			size = fmt.Sprintf("%d, %d", dev>>8&0xfff, dev&0xff|dev>>12&0xfff00)
		}
		mode := le.Uint16(b[2:])
		rwx := []byte(" drwxrwxrwx")[1:]
		rwx[0] = "?d-lbcps"[kind]
		for bit := range 9 {
			if mode>>(8-bit)&1 == 0 {
				rwx[1+bit] = '-'
			}
		}
		if mode&0o4000 != 0 {
			rwx[3] = 's'
		}
		id := func(at int) uint32 { return le.Uint32(im.IDs.Data[4*le.Uint16(b[at:]):]) }
		when := time.Unix(int64(le.Uint32(b[8:])), 0).UTC().Format("2006-01-02 15:04")
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %d/%d %s %s %s%s", rwx, id(4), id(6), size, when, path, after)), " "))
		if l := listings[i]; l != nil {
			im.Runs(l, func(r squashfs.Run) bool {
				im.Entries(&r, func(e squashfs.Entry) bool {
					c, ok := im.Node(uint64(r.Start), uint32(e.Offset))
					if !ok {
						t.Errorf("%s/%s leads nowhere", path, e.Name)
						return true
					}
					visit(c, path+"/"+e.Name)
					return true
				})
				return true
			})
		}
	}
	visit(root, "squashfs-root")
	slices.Sort(out)
	return out
}

// content reads a file, and keeps the fragment that its tail is in.
func content(t *testing.T, b []byte, im *squashfs.Image, f *squashfs.File, fragments map[uint32][]byte) []byte {
	t.Helper()
	var out []byte
	im.Blocks(f, func(i int64, x squashfs.DataBlock) bool {
		if x.Len == 0 {
			out = append(out, make([]byte, im.BlockLen(f, i))...)
		} else {
			out = append(out, decode(t, b, im, x)...)
		}
		return true
	})
	if n := im.Tail(f); n > 0 {
		if fragments[f.Fragment] == nil {
			fragments[f.Fragment] = decode(t, b, im, im.Fragments[f.Fragment].DataBlock)
		}
		out = append(out, fragments[f.Fragment][f.Offset:int64(f.Offset)+n]...)
	}
	return out
}

func decode(t *testing.T, b []byte, im *squashfs.Image, x squashfs.DataBlock) []byte {
	t.Helper()
	data := b[x.Off:x.End()]
	if x.Stored {
		return data
	}
	for _, c := range codec.All(codec.Limits{MaxExpanded: 1 << 20, MaxDict: 1 << 20}) {
		if c.Name() == im.Codec() {
			var out bytes.Buffer
			if err := c.Decode(context.Background(), &out, bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
	}
	t.Fatalf("no decoder %q", im.Codec())
	return nil
}

func parse(b []byte) (*squashfs.Image, error) {
	return squashfs.Parse(context.Background(), bytes.NewReader(b), int64(len(b)), func(int64) error { return nil })
}
