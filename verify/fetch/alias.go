package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// An Alias names something that pins a file otherwise than by the file's own sha256: a git commit pins the archive that
// is made of its tree. The cache remembers which file was made of it, after everything that went into the file was held
// against the key. Kind says of what the file was made and how; another way of making it is another kind. So no word of
// any server is in an alias, but it is a hint all the same: one that is lost, or leads to a file that is lost, costs
// making the file anew and nothing else.
//
// One that is forged leads to a file of the forger's choice. Whoever can write the cache is the user, so a cache is
// copied only from whom the user trusts as much; [Cache.Forget] drops all aliases.
type Alias struct {
	Kind string `json:"kind"` // such as "git-tar/v1"
	Key  string `json:"key"`  // such as a commit id
}

// A record is the file of an alias. It names what it is of, so that no other takes its place unnoticed.
type record struct {
	Alias
	SHA256 string   `json:"sha256"`
	Notes  []string `json:"notes,omitempty"`
}

const maxRecord = 64 << 10 // bytes

func (c *Cache) aliasPath(a Alias) string {
	sum := sha256.Sum256([]byte(a.Kind + "\n" + a.Key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(c.dir, "alias", name[:2], name)
}

// lookup opens the file that was made of an alias, as Get does; the error is [fs.ErrNotExist] if there is none.
func (c *Cache) lookup(ctx context.Context, a Alias) (*os.File, record, error) {
	r, err := readRecord(c.aliasPath(a))
	if err != nil {
		return nil, r, err
	}
	if r.Alias != a {
		return nil, r, fs.ErrNotExist
	}
	f, err := c.Get(ctx, r.SHA256)
	return f, r, err
}

// readRecord reads a record; one that cannot be understood is none.
func readRecord(name string) (record, error) {
	var r record
	if err := readJSON(name, &r); err != nil {
		return r, err
	}
	if !isDigest.MatchString(r.SHA256) {
		return r, fs.ErrNotExist
	}
	return r, nil
}

// link remembers that the file of a digest was made of an alias.
func (c *Cache) link(a Alias, sum string, notes []string) error {
	return c.locked(func() error { return c.writeJSON(c.aliasPath(a), record{a, sum, notes}) })
}

// readJSON reads a small file of the cache. One that is no such file, as a disk that was full may leave it, counts as
// absent: what it says can be found out again.
func readJSON(name string, v any) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		return unusable(err)
	case !info.Mode().IsRegular() || info.Size() > maxRecord:
		return fs.ErrNotExist
	}
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		return unusable(err)
	case json.Unmarshal(b, v) != nil:
		return fs.ErrNotExist
	}
	return nil
}

// writeJSON writes a small file of the cache, whole or not at all. The cache must be locked.
func (c *Cache) writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := c.create()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = makeDir(filepath.Dir(name))
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return unusable(err)
	}
	return nil
}
