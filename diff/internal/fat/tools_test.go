package fat_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"

	"github.com/assaylab/assay/diff/internal/fat"
)

// tool runs a tool, in UTC and with no check of mtools' own.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return out
}

func need(t *testing.T, names ...string) {
	t.Helper()
	difftest.Tools(t, names...)
}

// A made is an image with what was put in.
type made struct {
	path  string
	files map[string][]byte
	dirs  []string
}

// populate fills an image: long names, deep directories, a big one, files of sizes
// around clusters, and files in pieces, in the room that others left.
func (m *made) populate(t *testing.T, seed uint64) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(seed, 1))
	m.files = map[string][]byte{}
	mkdir := func(path string) {
		m.dirs = append(m.dirs, path)
		tool(t, "mmd", "-i", m.path, "::/"+path)
	}
	put := func(path string, n int) {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		from := filepath.Join(dir, "content")
		if err := os.WriteFile(from, b, 0o600); err != nil {
			t.Fatal(err)
		}
		tool(t, "mcopy", "-i", m.path, from, "::/"+path)
		m.files[path] = b
	}
	remove := func(path string) {
		tool(t, "mdel", "-i", m.path, "::/"+path)
		delete(m.files, path)
	}
	mkdir("boot")
	mkdir("boot/a deep directory")
	mkdir("boot/a deep directory/and deeper")
	for i, n := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 9000} {
		put(fmt.Sprintf("SIZE%d.BIN", i), n)
		put(fmt.Sprintf("boot/size %d of several.bin", n), n)
	}
	put("boot/a deep directory/and deeper/"+strings.Repeat("long name ", 20)+"end.txt", 100)
	put("boot/Ünïcødé ☃.txt", 77)
	put("lower.txt", 5)
	put("Mixed.Txt", 6)
	for i := range 6 {
		put(fmt.Sprintf("hole%d", i), 5000)
	}
	mkdir("big")
	for i := range 6 {
		if i%2 == 0 {
			remove(fmt.Sprintf("hole%d", i))
		}
		for k := range 6 {
			put(fmt.Sprintf("big/entry number %d of a directory that grows", 6*i+k), 10)
		}
	}
	remove("SIZE8.BIN")
	put("in pieces.bin", 40000)
	tool(t, "mattrib", "-i", m.path, "+r", "+h", "::/lower.txt")
}

// contents returns what a file holds, piece by piece.
func contents(v *fat.Volume, f *fat.File, image []byte) []byte {
	var out []byte
	for _, r := range v.Pieces(f) {
		out = append(out, image[r.Off:r.End()]...)
	}
	return out[:min(int64(len(out)), f.Size)]
}

func parse(b []byte) (*fat.Volume, error) {
	return fat.Parse(context.Background(), bytes.NewReader(b), int64(len(b)), func(int64) error { return nil })
}

// What is found is what was put in, and what mtools lists and reads, whatever mkfs.fat
// is asked for; every byte of the clusters is of one area, and fsck.fat has nothing
// to say.
func TestTools(t *testing.T) {
	need(t, "mkfs.fat", "fsck.fat", "mmd", "mcopy", "mdel", "mdir", "mattrib")
	for i, args := range []string{
		"-F 12 -s 1 -C 1440", "-F 12 -s 4 -f 1 -C 2880", "-F 12 -r 512 -R 8 -C 1440",
		"-F 16 -s 1 -C 8192 --invariant", "-F 16 -s 2 -n LABEL -i 1234abcd -C 16384",
		"-F 16 -S 1024 -s 1 -C 16384", "-F 16 -S 4096 -s 1 -C 32768",
		"-F 32 -s 1 -C 40960 -n DATA", "-F 32 -s 2 -R 40 -b 8 -f 1 -C 70000", "-F 32 -S 1024 -s 1 -C 70000",
	} {
		t.Run(args, func(t *testing.T) {
			m := &made{path: filepath.Join(t.TempDir(), "image")}
			words := strings.Fields(args)
			k := slices.Index(words, "-C")
			size := words[k+1]
			words = append(slices.Delete(words, k+1, k+2), m.path, size)
			tool(t, "mkfs.fat", words...)
			m.populate(t, uint64(i))
			tool(t, "fsck.fat", "-n", m.path)
			image, err := os.ReadFile(m.path)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parse(image)
			if err != nil {
				t.Fatal(err)
			}
			if bits := words[1]; fmt.Sprint(v.Bits) != bits {
				t.Errorf("FAT%d", v.Bits)
			}
			files := map[string][]byte{}
			var dirs []string
			pieces := 0
			for i := range v.Files {
				f := &v.Files[i]
				if f.Note != "" {
					t.Errorf("%s: %s", f.Path, f.Note)
				}
				pieces = max(pieces, len(f.Runs))
				if !f.Dir {
					files[f.Path] = contents(v, f, image)
				} else if i > 0 {
					dirs = append(dirs, f.Path)
				}
			}
			slices.Sort(dirs)
			slices.Sort(m.dirs)
			if !slices.Equal(dirs, m.dirs) {
				t.Errorf("directories %q, not %q", dirs, m.dirs)
			}
			for _, name := range slices.Sorted(maps.Keys(m.files)) {
				if got, ok := files[name]; !ok {
					t.Errorf("%q was not found", name)
				} else if !bytes.Equal(got, m.files[name]) {
					t.Errorf("%q holds something else", name)
				}
				delete(files, name)
			}
			if len(files) > 0 {
				t.Errorf("found as well: %q", slices.Sorted(maps.Keys(files)))
			}
			if pieces < 2 {
				t.Error("no file stands in pieces")
			}
			whole := strings.Split(strings.TrimSpace(string(tool(t, "mdir", "-b", "-/", "-a", "-i", m.path, "::/"))), "\n")
			if want := len(m.files) + len(m.dirs); len(whole) != want {
				t.Errorf("mdir lists %d, not %d:\n%s", len(whole), want, strings.Join(whole, "\n"))
			}
			next, free := uint32(2), int64(0)
			for _, a := range v.Areas {
				if a.First != next || a.N == 0 {
					t.Fatalf("an area of %d clusters at %d, not %d", a.N, a.First, next)
				}
				next += a.N
				switch a.Kind {
				case fat.Free:
					free += int64(a.N)
				case fat.Bad, fat.Lost:
					t.Errorf("clusters %d+%d are of kind %d", a.First, a.N, a.Kind)
				}
			}
			if int64(next) != v.Clusters+2 {
				t.Errorf("areas end at %d, clusters at %d", next, v.Clusters+2)
			}
			said := string(tool(t, "fsck.fat", "-n", "-v", m.path))
			if want := fmt.Sprintf("%d/%d clusters", v.Clusters-free, v.Clusters); !strings.Contains(said, want) {
				t.Errorf("not %s:\n%s", want, said)
			}
		})
	}
}
