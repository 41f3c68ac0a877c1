package reference

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// lockedRecipe is a resolved recipe with a source of every kind, and the lock of a build of it.
func lockedRecipe(t *testing.T) (file string, have shelf, l *Lock) {
	t.Helper()
	dir := t.TempDir()
	file = write(t, filepath.Join(dir, "recipe.yaml"), fmt.Sprintf(remote, abc256))
	r, err := LoadRecipe(file)
	if err != nil {
		t.Fatal(err)
	}
	abc, xyz := write(t, filepath.Join(dir, "abc"), "abc"), write(t, filepath.Join(dir, "xyz"), "xyz")
	have = shelf{}
	for _, s := range r.Remote() {
		have[s.String()] = abc
	}
	have[r.Sources[1].String()] = xyz
	if err := r.Resolve(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	b := &Rebuilt{
		Recipe: File{r.Name, r.Size, r.SHA256}, Rootfs: &File{"layout.tar", 3, abc256},
		Tools: []sandbox.Tool{{Name: "make", Version: "GNU \"Make\" 4.3 \u0080\ufeff\u2028<&>", SHA256: abc256}},
	}
	for _, s := range r.Sources {
		b.Sources = append(b.Sources, SourceFile{File: File{s.FileName(), 3, s.SHA256}, At: s.At})
	}
	l, err = NewLock(r, b)
	if err != nil {
		t.Fatal(err)
	}
	b.Recipe.SHA256 = strings.Repeat("0", 64)
	if _, err := NewLock(r, b); err == nil {
		t.Error("a build of another recipe is locked")
	}
	return file, have, l
}

func TestLock(t *testing.T) {
	file, have, l := lockedRecipe(t)
	if got := LockName(file); filepath.Base(got) != "recipe.lock.yaml" {
		t.Errorf("it lies at %s", got)
	}
	text := l.Encode()
	if strings.Contains(string(text), filepath.Dir(file)) {
		t.Errorf("the lock tells a place:\n%s", text)
	}
	write(t, LockName(file), string(text))
	back, err := LoadLock(LockName(file))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	l.file = back.file
	if !reflect.DeepEqual(l, back) {
		t.Errorf("got\n%+v\nwant\n%+v", back, l)
	}
	// A recipe that is locked comes to the same files, or to none.
	r, _ := LoadRecipe(file)
	if err := l.Pin(r); err != nil {
		t.Fatal(err)
	}
	git := r.Sources[1].String()
	was := have[git]
	have[git] = have[r.Sources[2].String()]
	var mismatch *MismatchError
	if err := r.Resolve(t.Context(), have); !errors.As(err, &mismatch) || mismatch.Name != git {
		t.Errorf("another tar of the commit: %v", err)
	}
	have[git] = was
	if err := r.Resolve(t.Context(), have); err != nil {
		t.Error(err)
	}
	// Of another recipe it is no lock, be it a comment that differs.
	old, _ := os.ReadFile(file)
	write(t, file, string(old)+"# more\n")
	r, _ = LoadRecipe(file)
	var e *LockError
	if err := l.Pin(r); !errors.As(err, &e) || !strings.Contains(err.Error(), "the recipe was changed") {
		t.Errorf("got %v", err)
	}
	// Sources and tools that differ are named, each with what differs.
	tool := l.Tools[0]
	for _, c := range []struct {
		name   string
		change func(*Rebuilt, *Lock)
		want   string
	}{
		{"nothing", func(*Rebuilt, *Lock) {}, ""},
		{"version", func(b *Rebuilt, _ *Lock) { b.Tools[0].Version = "4.4" }, `the tool make is "4.4", and was`},
		{"digest", func(b *Rebuilt, _ *Lock) { b.Tools[0].SHA256 = "ff" }, "the tool make has the sha256 ff"},
		{"no tool", func(b *Rebuilt, _ *Lock) { b.Tools = nil }, "the tool make of the lock was not used"},
		{"one more tool", func(b *Rebuilt, _ *Lock) { b.Tools = append(b.Tools, sandbox.Tool{Name: "cc"}) }, "the tool cc is not in the lock"},
		{"tar of a commit", func(b *Rebuilt, _ *Lock) { b.Sources[1].SHA256 = "ff" }, "the source " + git + " has the sha256 ff, and had"},
		{"rootfs", func(b *Rebuilt, _ *Lock) { b.Rootfs.SHA256 = "ee" }, "has the sha256 ee, and had " + abc256},
		{"pin", func(_ *Rebuilt, l *Lock) { l.Sources[1].Pin = "1" }, "the source " + git + " is pinned to "},
		{"version of a package", func(_ *Rebuilt, l *Lock) { l.Sources[3].Version = "2.10-4" }, "had the version 2.10-4"},
		{"kind", func(_ *Rebuilt, l *Lock) { l.Sources[1].Kind = SourcePath }, "the source " + git + " is not in the lock; the source https://example.org/b.git of the lock was not used"},
		{"no rootfs", func(b *Rebuilt, _ *Lock) { b.Rootfs = nil }, "the build has 5 sources and root file systems, and the recipe has 6"},
	} {
		other := *l
		other.Sources = slices.Clone(l.Sources)
		b := &Rebuilt{Rootfs: &File{"layout.tar", 3, abc256}, Tools: []sandbox.Tool{tool}}
		for _, s := range l.Sources {
			b.Sources = append(b.Sources, SourceFile{File: File{"x", s.Size, s.SHA256}})
		}
		c.change(b, &other)
		got := strings.Join(other.Differences(r, b), "; ")
		if err := other.Hold(r, b); (err != nil) != (c.want != "") || (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestLockErrors(t *testing.T) {
	_, _, l := lockedRecipe(t)
	good := string(l.Encode())
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the lock has no %q:\n%s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"empty", "", 1, "empty"},
		{"a list", "[]", 1, "a lock must be a mapping"},
		{"another version", edit("version: 1", "version: 2"), 2, "version 2 of a lock is not known"},
		{"no version", edit("version: 1\n", ""), 2, "version is missing"},
		{"unknown key", edit("tools:", "tolls:"), 11, `unknown key "tolls"`},
		{"twice", good + "version: 1\n", 13, "there already"},
		{"two documents", good + "---\n{}\n", 13, "a second document"},
		{"anchor", edit("sources:", "sources: &a"), 4, "anchors"},
		{"no tools", good[:strings.Index(good, "tools:")], 2, "recipe, sources or tools is missing"},
		{"no recipe", edit(good[strings.Index(good, "recipe:"):strings.Index(good, "sources:")], ""), 2, "is missing"},
		{"half a source", edit(`kind: url, `, ""), 5, "has 4 keys of 5"},
		{"half a tool", edit(`name: "make", `, ""), 12, "has 2 keys of 3"},
		{"short digest", edit(`sha256: "ba78`, `sha256: "ba7`), 5, "64 lower-case"},
		{"negative size", edit("size: 3", "size: -3"), 5, "size must lie between"},
		{"huge size", edit("size: 3", "size: 99999999999999999999"), 5, "size must"},
		{"not UTF-8", edit("make", "\xff"), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := LoadLock(write(t, filepath.Join(t.TempDir(), "recipe.lock.yaml"), c.text))
			var e *RecipeError
			if !errors.As(err, &e) || e.Line != c.line || !strings.Contains(e.What, c.want) {
				t.Errorf("got %v, want line %d and %q", err, c.line, c.want)
			}
		})
	}
	if _, err := LoadLock("/dev/zero"); err == nil {
		t.Error("a device is read")
	}
}

// A lock whose sources were exchanged does not pass for that of the recipe.
func TestForgedLock(t *testing.T) {
	file, _, _ := lockedRecipe(t)
	for _, c := range []struct {
		name   string
		change func(*Lock)
		want   string
	}{
		{"another pin", func(l *Lock) { l.Sources[1].Pin = strings.Repeat("1", 40) }, "does not lock the source https://example.org/b.git@"},
		{"another kind", func(l *Lock) { l.Sources[0].Kind = SourcePath }, "does not lock"},
		{"another version", func(l *Lock) { l.Sources[3].Version = "2.10-4" }, "does not lock the source hello="},
		{"another order", func(l *Lock) { l.Sources[0], l.Sources[1] = l.Sources[1], l.Sources[0] }, "does not lock"},
		{"no root file system", func(l *Lock) { l.Rootfs = nil }, "locks 5 sources"},
		{"a source fewer", func(l *Lock) { l.Sources = l.Sources[:4] }, "locks 5 sources"},
		{"another file", func(l *Lock) { l.Sources[0].SHA256 = strings.Repeat("0", 64) }, "pinned is 0000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, l := lockedRecipe(t)
			c.change(l)
			r, err := LoadRecipe(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Pin(r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if r.Sources[1].SHA256 != "" {
				t.Error("half of it is taken over")
			}
		})
	}
}
