package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func newCache(t *testing.T) *Cache {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "a", "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c *Cache, data []byte) string {
	t.Helper()
	e, err := c.Put(t.Context(), "", int64(len(data)), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil || e.SHA256 != hexSum(data) || e.Size != int64(len(data)) {
		t.Fatalf("%+v, %v", e, err)
	}
	return e.SHA256
}

// used sets when an entry was last used.
func used(t *testing.T, c *Cache, sum string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(c.path(sum), at, at); err != nil {
		t.Fatal(err)
	}
}

// spoil changes a byte of an entry on the disk.
func spoil(t *testing.T, c *Cache, sum string) {
	t.Helper()
	name := c.path(sum)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Chmod(name, 0o600), os.WriteFile(name, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, c *Cache, sum string) bool {
	t.Helper()
	f, err := c.Get(t.Context(), sum)
	if err == nil {
		f.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestPutGet(t *testing.T) {
	c := newCache(t)
	if _, err := os.Stat(c.Dir()); err == nil {
		t.Error("opening makes it")
	}
	for _, data := range [][]byte{nil, []byte("abc"), noise(1<<20, 1)} {
		sum := put(t, c, data)
		put(t, c, data) // as often as one likes
		f, err := c.Get(t.Context(), sum)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err != nil || !bytes.Equal(b, data) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		info, err := os.Stat(c.path(sum))
		if err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	nothingPartial(t, c)
	if has(t, c, strings.Repeat("0", 64)) {
		t.Error("what was never put is there")
	}
	for _, bad := range []string{"", "abc", strings.Repeat("A", 64), "../../../etc/passwd", strings.Repeat("0", 63) + "/"} {
		var e *Error
		if _, err := c.Get(t.Context(), bad); !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPutRefuses(t *testing.T) {
	c := newCache(t)
	data := []byte("abc")
	all := func(w io.Writer) error { _, err := w.Write(data); return err }
	ended, stop := context.WithCancelCause(t.Context())
	why := errors.New("why")
	stop(why)
	var mismatch *MismatchError
	var limit *LimitError
	for name, err := range map[string]error{
		"want":  func() error { _, err := c.Put(t.Context(), hexSum(nil), 100, all); return err }(),
		"limit": func() error { _, err := c.Put(t.Context(), "", 2, all); return err }(),
		"swallowed": func() error {
			_, err := c.Put(t.Context(), "", 2, func(w io.Writer) error { _, _ = w.Write(data); return nil })
			return err
		}(),
		"fill": func() error {
			_, err := c.Put(t.Context(), "", 100, func(w io.Writer) error { _ = all(w); return why })
			return err
		}(),
		"context": func() error { _, err := c.Put(ended, "", 100, all); return err }(),
	} {
		ok := map[string]bool{
			"want": errors.As(err, &mismatch), "limit": errors.As(err, &limit), "swallowed": errors.As(err, &limit),
			"fill": errors.Is(err, why), "context": errors.Is(err, why),
		}[name]
		if !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if has(t, c, hexSum(data)) || has(t, c, hexSum(data[:2])) {
		t.Error("it was kept")
	}
	nothingPartial(t, c)
}

// A spoilt file is never handed out, and makes room for the right one.
func TestSpoilt(t *testing.T) {
	c := newCache(t)
	sum := put(t, c, noise(100, 1))
	spoil(t, c, sum)
	if has(t, c, sum) {
		t.Error("it is handed out")
	}
	if _, err := os.Lstat(c.path(sum)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it is there still")
	}
	put(t, c, noise(100, 1))
	if !has(t, c, sum) {
		t.Error("the right one is not there")
	}
	// Who read the spoilt one does not take away the right one that came meanwhile.
	spoil(t, c, sum)
	f, err := os.Open(c.path(sum))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put(t, c, noise(100, 1))
	if err := c.remove(f); err != nil || !has(t, c, sum) {
		t.Errorf("it took the right one: %v", err)
	}
	// What is no file is none of the cache.
	if err := errors.Join(os.Remove(c.path(sum)), os.Mkdir(c.path(sum), 0o700)); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := c.Get(t.Context(), sum); !errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}

func TestVerify(t *testing.T) {
	c := newCache(t)
	if bad, err := c.Verify(t.Context(), nil); err != nil || len(bad) != 0 {
		t.Errorf("of nothing: %v, %v", bad, err)
	}
	var sums []string
	for i := range 5 {
		sums = append(sums, put(t, c, noise(100, uint64(i))))
	}
	spoil(t, c, sums[1])
	spoil(t, c, sums[3])
	n := 0
	bad, err := c.Verify(t.Context(), func(Entry) { n++ })
	if err != nil || n != 5 || len(bad) != 2 {
		t.Fatalf("%v, %v", bad, err)
	}
	for i, sum := range sums {
		if has(t, c, sum) != (i != 1 && i != 3) {
			t.Errorf("file %d", i)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.Verify(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPrune(t *testing.T) {
	day := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		what Pruning
		kept []int
	}{
		{"leftovers only", Pruning{}, []int{0, 1, 2, 3}},
		{"all", Pruning{All: true}, nil},
		{"by age", Pruning{Before: day.AddDate(0, 0, 2)}, []int{0, 1}},
		{"by size", Pruning{MaxSize: 250}, []int{0, 1}},
		{"by size, all fit", Pruning{MaxSize: 400}, []int{0, 1, 2, 3}},
		{"by size, none fits", Pruning{MaxSize: 99}, nil},
		{"both", Pruning{MaxSize: 300, Before: day.AddDate(0, 0, 3)}, []int{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCache(t)
			if p, err := c.Prune(t.Context(), tc.what); err != nil || p.Size() != 0 {
				t.Fatalf("of nothing: %+v, %v", p, err)
			}
			var sums []string
			for i := range 4 { // the last one is the oldest
				sum := put(t, c, noise(100, uint64(i)))
				used(t, c, sum, day.AddDate(0, 0, 3-i))
				sums = append(sums, sum)
				if err := c.link(Alias{"test/v1", fmt.Sprint(i)}, sum, nil); err != nil {
					t.Fatal(err)
				}
			}
			partial := filepath.Join(c.Dir(), "partial")
			live, err := c.create()
			if err != nil {
				t.Fatal(err)
			}
			defer live.Close()
			dead := strings.Repeat("1", 64)
			for _, name := range []string{dead, dead + ".json", strings.Repeat("2", 64) + ".json", "new-7"} {
				if err := os.WriteFile(filepath.Join(partial, name), []byte("{}"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(c.Dir(), "mine.txt"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := c.Prune(t.Context(), tc.what)
			if err != nil {
				t.Fatal(err)
			}
			gone := 4 - len(tc.kept)
			if p.Live != 1 || len(p.Leftovers) != 2 || len(p.Entries) != gone || p.Aliases != gone || p.Kept != int64(100*len(tc.kept)) || p.Size() != int64(100*gone+4) {
				t.Errorf("%+v", p)
			}
			l, err := c.List()
			if err != nil || len(l.Entries) != len(tc.kept) || l.Aliases != len(tc.kept) || len(l.Leftovers) != 1 || l.Size() != p.Kept {
				t.Errorf("%+v, %v", l, err)
			}
			for _, i := range tc.kept {
				if !has(t, c, sums[i]) {
					t.Errorf("file %d is gone", i)
				}
			}
			left, err := os.ReadDir(partial)
			if err != nil || len(left) != 1 || left[0].Name() != filepath.Base(live.Name()) {
				t.Errorf("left %v, %v", left, err)
			}
			if _, err := os.Stat(filepath.Join(c.Dir(), "mine.txt")); err != nil {
				t.Error("it removes what is not its own")
			}
		})
	}
}

// Many that put, read and prune at once disturb nobody.
func TestTogether(t *testing.T) {
	c := newCache(t)
	data := noise(50_000, 1)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for range 20 {
				switch i {
				case 0:
					if _, err := c.Prune(t.Context(), Pruning{All: true, Force: true}); err != nil {
						t.Error(err)
					}
				case 1:
					if bad, err := c.Verify(t.Context(), nil); err != nil || len(bad) != 0 {
						t.Error(bad, err)
					}
				default:
					_, err := c.Put(t.Context(), hexSum(data), 1<<20, func(w io.Writer) error { _, err := w.Write(data); return err })
					if err == nil {
						err = c.link(Alias{"test/v1", "x"}, hexSum(data), nil)
					}
					if err != nil {
						t.Error(err)
					}
					has(t, c, hexSum(data))
				}
			}
		})
	}
	wg.Wait()
	nothingPartial(t, c)
}

func TestAlias(t *testing.T) {
	f := newFetcher(t)
	c := f.Cache
	r := Request{Git: "https://git.example/x", Commit: strings.Repeat("a", 40), MaxSize: 1 << 20}
	alias := Alias{"git-test/v1", r.Commit}
	made := 0
	fill := func(w io.Writer) ([]string, error) {
		made++
		_, err := w.Write([]byte("tree"))
		return []string{"a note"}, err
	}
	derive := func() (*Artifact, error) { return f.derive(t.Context(), r, alias, "x.tar", true, fill) }
	first, err := derive()
	if err != nil || first.Cached || made != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	holds(t, f, first, []byte("tree"))
	f.Network = false
	again, err := derive()
	if err != nil || !again.Cached || made != 1 {
		t.Fatalf("%+v, %v", again, err)
	}
	if again.Cached = false; !reflect.DeepEqual(first, again) {
		t.Errorf("%+v is not %+v", again, first)
	}
	// A pin beside it counts too.
	r.SHA256 = hexSum(nil)
	var mismatch *MismatchError
	if _, err := derive(); !errors.As(err, &mismatch) || mismatch.Seen != hexSum([]byte("tree")) {
		t.Errorf("got %v", err)
	}
	r.SHA256, r.MaxSize = "", 3
	var limit *LimitError
	if _, err := derive(); !errors.As(err, &limit) {
		t.Errorf("got %v", err)
	}
	r.MaxSize = 100
	// Whatever becomes of the record or of the file, the worst is that it is made anew.
	name := c.aliasPath(alias)
	other := put(t, c, []byte("other"))
	for what, spoilIt := range map[string]func() error{
		"no record":    func() error { return os.Remove(name) },
		"no JSON":      func() error { return os.WriteFile(name, []byte("\x00\x00"), 0o600) },
		"empty":        func() error { return os.WriteFile(name, nil, 0o600) },
		"large":        func() error { return os.WriteFile(name, bytes.Repeat([]byte(" "), maxRecord+1), 0o600) },
		"of another":   func() error { return c.writeJSON(name, record{Alias{"git-test/v1", "b"}, other, nil}) },
		"a path":       func() error { return c.writeJSON(name, record{alias, "../../../../etc/passwd", nil}) },
		"nowhere":      func() error { return c.writeJSON(name, record{alias, hexSum([]byte("none")), nil}) },
		"no file":      func() error { return os.Remove(c.path(first.SHA256)) },
		"spoilt":       func() error { spoil(t, c, first.SHA256); return nil },
		"a folder":     func() error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o700), os.Remove(name)) },
		"another kind": func() error { return c.writeJSON(name, record{Alias{"git-test/v2", r.Commit}, other, nil}) },
	} {
		if err := spoilIt(); err != nil {
			t.Fatal(what, err)
		}
		before := made
		f.Network = false
		var offline *OfflineError
		if a, err := derive(); !errors.As(err, &offline) {
			t.Errorf("%s: offline: %+v, %v", what, a, err)
		}
		f.Network = true
		a, err := derive()
		if err != nil || made != before+1 {
			t.Fatalf("%s: %+v, %v", what, a, err)
		}
		holds(t, f, a, []byte("tree"))
	}
	// Half a file is none.
	alias.Key = "broken"
	why := errors.New("why")
	if _, err := f.derive(t.Context(), r, alias, "x", true, func(w io.Writer) ([]string, error) {
		_, _ = w.Write([]byte("tr"))
		return nil, why
	}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(c.aliasPath(alias)); err == nil {
		t.Error("there is a record of it")
	}
	nothingPartial(t, c)
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("ASSAY_CACHE", "x")
	dir, err := DefaultDir()
	if err != nil || !filepath.IsAbs(dir) || filepath.Base(dir) != "x" {
		t.Errorf("%s, %v", dir, err)
	}
	t.Setenv("ASSAY_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/nowhere/cache")
	t.Setenv("HOME", "/nowhere")
	if dir, err = DefaultDir(); err != nil || filepath.Base(dir) != "assay" {
		t.Errorf("%s, %v", dir, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := Open(file); !errors.As(err, &e) || !strings.Contains(e.Hint, "ASSAY_CACHE") {
		t.Errorf("got %v", err)
	}
}

// What was put there or handed out a moment ago stays: whoever has its path opens it later.
func TestPruneInUse(t *testing.T) {
	c := newCache(t)
	old := time.Now().Add(-2 * InUse)
	fresh, handed, idle := put(t, c, noise(100, 1)), put(t, c, noise(100, 2)), put(t, c, noise(100, 3))
	used(t, c, handed, old)
	used(t, c, idle, old)
	if !has(t, c, handed) {
		t.Fatal("it is not there")
	}
	for _, what := range []Pruning{{Before: time.Now().Add(time.Hour)}, {All: true}, {MaxSize: 1}} {
		p, err := c.Prune(t.Context(), what)
		if err != nil || p.Recent != 2 || p.Kept != 200 {
			t.Errorf("%+v: %+v, %v", what, p, err)
		}
	}
	for sum, want := range map[string]bool{fresh: true, handed: true, idle: false} {
		if has(t, c, sum) != want {
			t.Errorf("%s: want %t", sum, want)
		}
	}
	p, err := c.Prune(t.Context(), Pruning{All: true, Force: true})
	if err != nil || p.Recent != 0 || p.Kept != 0 || has(t, c, fresh) {
		t.Errorf("%+v, %v", p, err)
	}
	// A file is put there when it is done, however long its last byte was there.
	f, err := c.create()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(os.Chtimes(f.Name(), old, old), c.enter(f, hexSum(nil))); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Prune(t.Context(), Pruning{All: true}); err != nil || p.Recent != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// A cache that only others may write serves all the same.
func TestReadOnly(t *testing.T) {
	c := newCache(t)
	sum := put(t, c, noise(100, 1))
	lock := filepath.Join(c.Dir(), "lock")
	if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil { // which root cannot write either
		t.Fatal(err)
	}
	if !has(t, c, sum) || has(t, c, hexSum(nil)) {
		t.Error("it does not tell what is there")
	}
}

func TestForget(t *testing.T) {
	c := newCache(t)
	if n, err := c.Forget(); n != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", n, err)
	}
	sum := put(t, c, noise(100, 1))
	for i := range 3 {
		if err := c.link(Alias{"test/v1", fmt.Sprint(i)}, sum, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Forget(); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, _, err := c.lookup(t.Context(), Alias{"test/v1", "0"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if l, err := c.List(); err != nil || l.Aliases != 0 || !has(t, c, sum) {
		t.Errorf("%+v, %v", l, err)
	}
}

// Wherever a process goes, it finds what it was handed.
func TestAbsolute(t *testing.T) {
	t.Chdir(t.TempDir())
	data := noise(100, 1)
	if err := os.WriteFile("fw.bin", data, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open("cache")
	if err != nil || !filepath.IsAbs(c.Dir()) {
		t.Fatalf("%v, %v", c, err)
	}
	sum := put(t, c, data)
	f := &Fetcher{Cache: c}
	for _, r := range []Request{{URL: "https://fw.example/x", SHA256: sum}, {File: "fw.bin", SHA256: sum}} {
		if a, err := f.Fetch(t.Context(), r); err != nil || !filepath.IsAbs(a.Path) {
			t.Errorf("%+v, %v", a, err)
		}
	}
	f.Cache = nil // a file of this machine needs none
	if a, err := f.Fetch(t.Context(), Request{File: "fw.bin", SHA256: sum}); err != nil || a.From != "file:fw.bin" {
		t.Errorf("%+v, %v", a, err)
	}
}
