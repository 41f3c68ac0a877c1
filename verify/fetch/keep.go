package fetch

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Leftover is a file of the cache that is not whole.
type Leftover struct {
	Name string `json:"name"`          // in the folder partial
	URL  string `json:"url,omitempty"` // which address it is of; "" where unknown
	Size int64  `json:"size"`          // bytes
	Live bool   `json:"live"`          // a process writes it
}

// A Listing is what a cache holds.
type Listing struct {
	Entries   []Entry    `json:"entries"`   // by digest
	Leftovers []Leftover `json:"leftovers"` // by name
	Aliases   int        `json:"aliases"`   // how many records there are
}

// Size is the bytes of all entries.
func (l *Listing) Size() (n int64) {
	for _, e := range l.Entries {
		n += e.Size
	}
	return n
}

// List says what the cache holds, and reads none of it. What is no file of a cache is passed over.
func (c *Cache) List() (*Listing, error) {
	l := &Listing{Entries: []Entry{}, Leftovers: []Leftover{}}
	err := c.each("sha256", func(name string, info fs.FileInfo) error {
		l.Entries = append(l.Entries, Entry{filepath.Base(name), info.Size(), info.ModTime().UTC().Truncate(time.Second)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := c.each("alias", func(string, fs.FileInfo) error { l.Aliases++; return nil }); err != nil {
		return nil, err
	}
	return l, c.partials(func(left Leftover, _ *os.File) error {
		l.Leftovers = append(l.Leftovers, left)
		return nil
	})
}

// each calls do for each file of a folder that is named by digest, in order.
func (c *Cache) each(folder string, do func(name string, info fs.FileInfo) error) error {
	top := filepath.Join(c.dir, folder)
	dirs, err := readDir(top)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		files, err := readDir(filepath.Join(top, d.Name()))
		if err != nil {
			return err
		}
		for _, entry := range files {
			if !isDigest.MatchString(entry.Name()) || entry.Name()[:2] != d.Name() || !entry.Type().IsRegular() {
				continue
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return unusable(err)
			}
			if err := do(filepath.Join(top, d.Name(), entry.Name()), info); err != nil {
				return err
			}
		}
	}
	return nil
}

// readDir lists a folder in order; one that is none, or no more, is empty.
func readDir(name string) ([]fs.DirEntry, error) {
	if info, err := os.Lstat(name); err == nil && !info.IsDir() {
		return nil, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unusable(err)
	}
	return entries, nil
}

var isPartial = regexp.MustCompile(`^([0-9a-f]{64}|new-[0-9]+)$`)

// partials calls do for each file that is not whole, in order. It is locked, unless it is live: then it is nil.
func (c *Cache) partials(do func(Leftover, *os.File) error) error {
	dir := filepath.Join(c.dir, "partial")
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !isPartial.MatchString(entry.Name()) || !entry.Type().IsRegular() {
			continue
		}
		if err := c.partial(filepath.Join(dir, entry.Name()), do); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) partial(name string, do func(Leftover, *os.File) error) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unusable(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return unusable(err)
	}
	free, err := tryLock(f)
	if err != nil {
		return unusable(err)
	}
	if free {
		if there, err := still(f); err != nil || !there {
			return err
		}
	}
	left := Leftover{Name: filepath.Base(name), Size: info.Size(), Live: !free}
	var m mark
	if readJSON(name+".json", &m) == nil {
		left.URL = shown(m.URL)
	}
	if left.Live {
		f = nil
	}
	return do(left, f)
}

// Verify reads every file, removes those that are not what their name says, and returns these. entry, if not nil, is
// called before each. Aliases are not verified, as nothing but making the file anew would: see Forget.
func (c *Cache) Verify(ctx context.Context, entry func(Entry)) (corrupt []Entry, err error) {
	l, err := c.List()
	if err != nil {
		return nil, err
	}
	corrupt = []Entry{}
	for _, e := range l.Entries {
		if entry != nil {
			entry(e)
		}
		bad, err := c.verify(ctx, e)
		if err != nil {
			return corrupt, err
		}
		if bad {
			corrupt = append(corrupt, e)
		}
	}
	return corrupt, nil
}

func (c *Cache) verify(ctx context.Context, e Entry) (bad bool, err error) {
	f, err := openRegular(c.path(e.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // somebody pruned it
	}
	if err != nil {
		return false, unusable(err)
	}
	defer f.Close()
	seen, _, err := digestOf(ctx, f, -1)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err == nil && seen == e.SHA256:
		return false, nil
	}
	return true, c.remove(f) // a file that cannot be read is worth as little as a wrong one
}

// Pruning says what to remove from a cache, beside what nobody can use: aliases that lead nowhere, and leftovers of
// processes that are gone, what they downloaded included.
type Pruning struct {
	All     bool      // everything
	Before  time.Time // what was last used before that, unless it is zero
	MaxSize int64     // what was used longest ago, until no more bytes are left; 0 is no limit
	Force   bool      // also what was used a moment ago (see InUse), which somebody may be about to open
}

// InUse is how long a file stays after it was handed out or put there, unless [Pruning.Force] is set: an [Artifact] is a
// path, and nothing tells when whoever has it opens it.
const InUse = 10 * time.Minute

// Pruned is what was removed.
type Pruned struct {
	Entries   []Entry    `json:"entries"`   // by digest
	Leftovers []Leftover `json:"leftovers"` // by name
	Aliases   int        `json:"aliases"`
	Live      int        `json:"live"`   // how many files other processes are writing: they stay
	Recent    int        `json:"recent"` // how many entries stay only as they were used within InUse
	Kept      int64      `json:"kept"`   // bytes of the entries that stay
}

// Size is the bytes that were removed.
func (p *Pruned) Size() (n int64) {
	for _, e := range p.Entries {
		n += e.Size
	}
	for _, l := range p.Leftovers {
		n += l.Size
	}
	return n
}

// Prune removes what is not wanted any more. What other processes are writing stays, and so does what was used within
// [InUse]; what they have open can be read on.
func (c *Cache) Prune(ctx context.Context, what Pruning) (*Pruned, error) {
	done := &Pruned{Entries: []Entry{}, Leftovers: []Leftover{}}
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return done, nil
	}
	l, err := c.List()
	if err != nil {
		return nil, err
	}
	done.Kept = l.Size()
	oldest := slices.SortedStableFunc(slices.Values(l.Entries), func(a, b Entry) int { return a.Used.Compare(b.Used) })
	for _, e := range oldest {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !what.All && !e.Used.Before(what.Before) && (what.MaxSize == 0 || done.Kept <= what.MaxSize) {
			continue
		}
		gone, err := c.discard(c.path(e.SHA256), what.Force)
		if err != nil {
			return nil, err
		}
		if !gone {
			done.Recent++
			continue
		}
		done.Entries = append(done.Entries, e)
		done.Kept -= e.Size
	}
	slices.SortFunc(done.Entries, func(a, b Entry) int { return cmp.Compare(a.SHA256, b.SHA256) })
	if err := c.pruneLeftovers(done); err != nil {
		return nil, err
	}
	return done, c.pruneAliases(done)
}

// discard removes a file, and its folder if nothing else is in it. One that was used within InUse stays unless forced.
func (c *Cache) discard(name string, force bool) (gone bool, err error) {
	err = c.locked(func() error {
		if info, err := os.Lstat(name); err == nil && !force && time.Since(info.ModTime()) < InUse {
			return nil
		}
		gone = true
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unusable(err)
		}
		_ = os.Remove(filepath.Dir(name)) // fails on one that is not empty
		return nil
	})
	return gone, err
}

func (c *Cache) pruneLeftovers(done *Pruned) error {
	err := c.partials(func(left Leftover, f *os.File) error {
		if left.Live {
			done.Live++
			return nil
		}
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) { // who had just begun it lets it go
			return unusable(err)
		}
		done.Leftovers = append(done.Leftovers, left)
		return nil
	})
	if err != nil {
		return err
	}
	// Marks without a file: who writes one has the file, and writes it under the lock.
	dir := filepath.Join(c.dir, "partial")
	return c.locked(func() error {
		entries, err := readDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			of, ok := strings.CutSuffix(entry.Name(), ".json")
			if !ok || !isDigest.MatchString(of) {
				continue
			}
			if _, err := os.Lstat(filepath.Join(dir, of)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return unusable(err)
			}
		}
		return nil
	})
}

func (c *Cache) pruneAliases(done *Pruned) error {
	return c.each("alias", func(name string, _ fs.FileInfo) error {
		r, err := readRecord(name)
		if err == nil {
			_, err = os.Stat(c.path(r.SHA256))
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		done.Aliases++
		_, err = c.discard(name, true)
		return err
	})
}

// Forget removes all aliases, and says how many: what they name is made anew when it is next asked for. The files stay.
// Nothing verifies an alias, so that is what to do with a cache whose writer is not to be trusted.
func (c *Cache) Forget() (n int, err error) {
	err = c.each("alias", func(name string, _ fs.FileInfo) error {
		n++
		_, err := c.discard(name, true)
		return err
	})
	return n, err
}
