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
	"time"
)

// A partial is what came so far of the file at an address. Whoever has one is the only one that writes it.
type partial struct {
	cache *Cache
	file  *os.File
	sum   hash.Hash // of the first at bytes
	at    int64     // bytes in the file
	mark  mark
}

// A mark says of which file of its address a partial is. It is there before the first byte is, so that no byte is ever
// taken for one of another file.
type mark struct {
	URL       string `json:"url"`
	Validator string `json:"validator,omitempty"` // strong entity tag, else date of change, as in If-Range
	Total     int64  `json:"total"`               // bytes of the whole; -1 where unknown
}

// polling is how often to look whether another process is done.
const polling = 100 * time.Millisecond

// claim waits until nobody else writes the partial of an address, and takes it. It gives up, with nothing and no error,
// once settled says so. waiting is called once if there is somebody to wait for.
func (c *Cache) claim(ctx context.Context, url string, settled func() bool, waiting func()) (*partial, error) {
	key := sha256.Sum256([]byte(url))
	name := filepath.Join(c.dir, "partial", hex.EncodeToString(key[:]))
	if err := makeDir(filepath.Dir(name)); err != nil {
		return nil, unusable(err)
	}
	for first := true; ; first = false {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, unusable(err)
		}
		mine, err := own(f)
		switch {
		case err != nil:
			f.Close()
			return nil, unusable(err)
		case mine:
			return &partial{cache: c, file: f, sum: sha256.New(), mark: mark{URL: url, Total: -1}}, nil
		}
		f.Close()
		if settled() {
			return nil, nil
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(polling):
		}
	}
}

// resume reads what an earlier process left, if it is of this address.
func (p *partial) resume(ctx context.Context) error {
	var m mark
	err := readJSON(p.markName(), &m)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.reset(mark{URL: p.mark.URL, Total: -1})
	case err != nil:
		return err
	}
	info, err := p.file.Stat()
	if err != nil {
		return unusable(err)
	}
	if m.URL != p.mark.URL || m.Total < -1 || m.Total >= 0 && info.Size() > m.Total {
		return p.reset(mark{URL: p.mark.URL, Total: -1})
	}
	p.mark = m
	buf := make([]byte, 1<<16)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := p.file.Read(buf)
		p.sum.Write(buf[:n])
		p.at += int64(n)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return unusable(err)
		}
	}
}

// reset throws away what there is, and begins with the file that the mark says.
func (p *partial) reset(m mark) error {
	if err := p.file.Truncate(0); err != nil {
		return unusable(err)
	}
	p.mark, p.at = m, 0
	p.sum.Reset()
	return p.cache.locked(func() error { return p.cache.writeJSON(p.markName(), m) })
}

func (p *partial) markName() string { return p.file.Name() + ".json" }

func (p *partial) Write(b []byte) (int, error) {
	n, err := p.file.WriteAt(b, p.at)
	p.sum.Write(b[:n])
	p.at += int64(n)
	if err != nil {
		return n, unusable(err)
	}
	return n, nil
}

// complete says that all is there, as far as anybody said how much that is.
func (p *partial) complete() bool { return p.mark.Total >= 0 && p.at == p.mark.Total }

// digest is the sha256 of what there is.
func (p *partial) digest() string { return hex.EncodeToString(p.sum.Sum(nil)) }

// finish gives the file its place under its digest.
func (p *partial) finish() (Entry, error) {
	e := Entry{p.digest(), p.at, time.Now()}
	return e, p.cache.enter(p.file, e.SHA256, p.markName())
}

// drop throws the partial away: nobody needs it any more.
func (p *partial) drop() {
	_ = p.cache.locked(func() error { return errors.Join(os.Remove(p.file.Name()), os.Remove(p.markName())) })
}

// close ends the claim. What came stays, for whoever fetches this address next.
func (p *partial) close() { p.file.Close() }
