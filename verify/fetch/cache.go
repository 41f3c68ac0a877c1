package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// A Cache is a folder of files under their digests; see the package for its layout. It holds no state but the folder,
// which is made when something is first put there: any number of processes and goroutines use it at once.
type Cache struct{ dir string }

// An Entry is a file of the cache.
type Entry struct {
	SHA256 string    `json:"sha256"` // its name
	Size   int64     `json:"size"`   // bytes
	Used   time.Time `json:"used"`   // when it was last handed out, or put there
}

// DefaultDir is where the cache lies if nothing else is said: $ASSAY_CACHE, else assay in the user's folder of caches.
func DefaultDir() (string, error) {
	dir := os.Getenv("ASSAY_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", trouble("set ASSAY_CACHE to a folder", "there is no place for the cache: %s", cause(err))
		}
		dir = filepath.Join(base, "assay")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", trouble("set ASSAY_CACHE to a folder", "there is no place for the cache: %s", cause(err))
	}
	return abs, nil
}

// Open opens the cache in a folder, that of [DefaultDir] if dir is "". It makes nothing.
func Open(dir string) (*Cache, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir) // what is handed out is found from everywhere
	if err != nil {
		return nil, unusable(err)
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, unusable(err)
	case !info.IsDir():
		return nil, unusable(errors.New("it is no folder"))
	}
	return &Cache{dir}, nil
}

func unusable(err error) error {
	return trouble("see assay cache dir; ASSAY_CACHE names another folder", "the cache cannot be used: %s", cause(err))
}

// Dir is the folder, an absolute path.
func (c *Cache) Dir() string { return c.dir }

func (c *Cache) path(sum string) string { return filepath.Join(c.dir, "sha256", sum[:2], sum) }

var isDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Get opens the file of a digest, at its beginning, after it was read and has that digest. One that has not is removed.
// The error is [fs.ErrNotExist] if there is none, or no more.
func (c *Cache) Get(ctx context.Context, sum string) (*os.File, error) {
	if !isDigest.MatchString(sum) {
		return nil, trouble("", "%.100q is not a sha256: 64 digits 0-9a-f", sum)
	}
	f, err := c.open(sum)
	if err != nil {
		return nil, err
	}
	seen, _, err := digestOf(ctx, f, -1)
	switch {
	case err != nil:
		err = reading(ctx, "sha256:"+sum+" of the cache", err)
	case seen != sum:
		err = errors.Join(fs.ErrNotExist, c.remove(f))
	default:
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// open opens a file and marks it as used, in one moment as far as Prune knows: it is gone before, or stays for a while.
func (c *Cache) open(sum string) (f *os.File, err error) {
	name, held := c.path(sum), false
	err = c.locked(func() (err error) {
		held = true
		if f, err = openRegular(name); err == nil {
			touch(name)
		}
		return err
	})
	if !held && !errors.Is(err, fs.ErrNotExist) { // a cache that only others may write is read all the same
		return openRegular(name)
	}
	return f, err
}

// touch marks a file as used now, where that can be written.
func touch(name string) {
	now := time.Now()
	_ = os.Chtimes(name, now, now)
}

// remove takes away the file that is open, and not another that came into its place.
func (c *Cache) remove(f *os.File) error {
	return c.locked(func() error {
		same, err := still(f)
		if err == nil && same {
			err = os.Remove(f.Name())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unusable(err)
		}
		return nil
	})
}

// still says that a file which is open has its name still.
func still(f *os.File) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, there), err
}

// Put takes what fill writes, at most limit bytes of it, and puts it under its digest. If want is not "", that must be the digest:
// else nothing is kept, and the error is a [*MismatchError]. More than limit bytes are a [*LimitError]. What fill
// returns as an error is returned.
func (c *Cache) Put(ctx context.Context, want string, limit int64, fill func(io.Writer) error) (Entry, error) {
	f, err := c.create()
	if err != nil {
		return Entry{}, err
	}
	defer f.Close() // ends the lock
	kept := false
	defer func() {
		if !kept {
			os.Remove(f.Name())
		}
	}()
	w := &sink{ctx: ctx, file: f, sum: sha256.New(), left: limit}
	if err := fill(w); err != nil {
		if w.err != nil { // fill may have said it in its own words
			err = w.err
		}
		return Entry{}, err
	}
	if w.err != nil {
		return Entry{}, w.err
	}
	e := Entry{hex.EncodeToString(w.sum.Sum(nil)), w.size, time.Now()}
	if want != "" && want != e.SHA256 {
		return Entry{}, &MismatchError{Name: "what was to be put into the cache", Want: want, Seen: e.SHA256}
	}
	if err := c.enter(f, e.SHA256); err != nil {
		return Entry{}, err
	}
	kept = true
	return e, nil
}

// enter gives a finished file of the partial folder its place. What stood beside it goes in the same moment.
func (c *Cache) enter(f *os.File, sum string, beside ...string) error {
	to := c.path(sum)
	err := f.Sync()
	if err == nil {
		err = c.locked(func() error {
			if err := makeDir(filepath.Dir(to)); err != nil {
				return err
			}
			if err := os.Rename(f.Name(), to); err != nil {
				return err
			}
			touch(to) // its last byte may have come long ago
			// Not before: who is killed here leaves a partial file that can be written still.
			if err := f.Chmod(0o444); err != nil {
				return err
			}
			for _, name := range beside {
				if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			return syncDir(filepath.Dir(to)) // here, as a prune may take the folder with the file
		})
	}
	if err != nil {
		return unusable(err)
	}
	return nil
}

// sink digests and counts what it writes, and stops at the limit and with the context.
type sink struct {
	ctx  context.Context
	file *os.File
	sum  hash.Hash
	size int64
	left int64
	err  error // the first, which stays
}

var errTooLarge = errors.New("too large")

func (s *sink) Write(b []byte) (int, error) {
	switch {
	case s.err != nil:
		return 0, s.err
	case s.ctx.Err() != nil:
		s.err = context.Cause(s.ctx)
		return 0, s.err
	case int64(len(b)) > s.left:
		s.err = tooLarge("what was to be put into the cache", s.size+s.left)
		return 0, s.err
	}
	n, err := s.file.Write(b)
	s.sum.Write(b[:n])
	s.size += int64(n)
	s.left -= int64(n)
	if err != nil {
		s.err = unusable(err)
		err = s.err
	}
	return n, err
}

// create makes a file of the partial folder, and locks it.
func (c *Cache) create() (*os.File, error) {
	dir := filepath.Join(c.dir, "partial")
	if err := makeDir(dir); err != nil {
		return nil, unusable(err)
	}
	for {
		f, err := os.CreateTemp(dir, "new-")
		if err != nil {
			return nil, unusable(err)
		}
		mine, err := own(f)
		if mine {
			return f, nil
		}
		// Between the two calls it looked like a leftover, and somebody looked.
		os.Remove(f.Name())
		f.Close()
		if err != nil {
			return nil, unusable(err)
		}
	}
}

// own locks a file, if nobody has locked it, and says whether it has its name still: what has not was taken away before
// it was locked.
func own(f *os.File) (bool, error) {
	if ok, err := tryLock(f); !ok || err != nil {
		return false, err
	}
	return still(f)
}

// locked does something while no other process does something under that lock. It is held for moments only.
func (c *Cache) locked(do func() error) error {
	f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lock(f); err != nil {
		return err
	}
	return do()
}

// makeDir makes a folder of the cache; what is fetched may be nobody else's business.
func makeDir(dir string) error { return os.MkdirAll(dir, 0o700) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// openRegular opens a regular file; a FIFO or a device would block or never end.
func openRegular(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, trouble("name a file", "%s is not a regular file", name)
	}
	return os.Open(name)
}

// digestOf reads to the end, at most limit bytes; less than 0 is no limit.
func digestOf(ctx context.Context, r io.Reader, limit int64) (sum string, size int64, err error) {
	h := sha256.New()
	buf := make([]byte, 1<<16)
	for {
		if ctx.Err() != nil {
			return "", 0, context.Cause(ctx)
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		switch {
		case limit >= 0 && size > limit:
			return "", 0, errTooLarge
		case err == io.EOF:
			return hex.EncodeToString(h.Sum(nil)), size, nil
		case err != nil:
			return "", 0, err
		}
	}
}
