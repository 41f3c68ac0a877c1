// Package fetch brings files that are pinned by digest, and keeps them.
//
// # What is fetched
//
// A [Request] names one thing: a file behind an https address, a file of this machine, an OCI artifact by digest, the
// tree of a git commit, a Debian source package. The answer is an [Artifact], one file whose sha256 is known:
//
//   - of a URL and of a path, that very file;
//   - of what is no single file, one that is made of it, the same bytes from the same thing every time.
//
// No pin, no fetch: an address or a path without a sha256 gives an [*UnpinnedError], which holds the digest that was
// seen and says how to pin it. A file that is not the pinned one gives a [*MismatchError]. Where no connection is
// allowed ([Fetcher.Network]) only the cache and this machine's files are looked at.
//
// # The adversary
//
// Whoever answers for an address is not trusted: not for content, which is digested here, nor for sizes, ranges,
// validators or redirects. The worst they can do is to withhold. What they send is bounded ([Request.MaxSize]) with all
// that has to come anew, and so are the connections for it; silence ends a connection, and less than 64 KiB in a minute
// ends the fetch; failures are tried again a few times only. A redirect is followed a few times, never from https to
// http, never from the public network to a private address, and nothing that was meant for the one host goes to the
// other. Plain http will do for what is pinned: it cannot be tampered with, only read and withheld.
//
// Whoever can write the cache's folder is the user, as far as this package knows; what lies there is digested on every
// read all the same, as disks fail.
//
// # The cache
//
// A [Cache] is a folder that any number of processes use at once. Names within it are digests:
//
//	sha256/ab/abcd…      a file, under the sha256 of its content
//	alias/ab/abcd…       that a file was made of something: see Alias
//	partial/HEX          what came so far of an address, whose sha256 is HEX; HEX.json says of which file
//	partial/new-…        a file that is being made
//	lock                 held for the moment in which a file enters or leaves
//
// A file is written elsewhere, synced, and renamed into its place: under a digest there is the whole file or nothing,
// whenever a process is killed. Whoever writes a partial file holds a lock (flock) on it, which ends with the process:
// so the leftovers of the dead are told from the work of the living, a download goes on where a killed one stopped, and
// two processes that want one address do not fetch it twice. A download is kept under the digest that it has, whatever
// was asked for: that name claims nothing but the content.
package fetch

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// DefaultMaxSize is the most bytes of a file that are taken, where a request says nothing else.
const DefaultMaxSize = 16 << 30

// A Request names one thing to fetch: exactly one of URL, File, OCI, Git and Debian is set. [ParseRequest] reads one.
type Request struct {
	URL  string // https://… or http://…
	File string // a path of this machine
	OCI  string // docker://HOST/REPOSITORY@sha256:HEX or oci:DIR@sha256:HEX, see package oci

	Git    string // address of a repository
	Commit string // the full id of a commit in it, 40 or 64 digits 0-9a-f

	Debian  string // name of a source package
	Version string // of it, with epoch if it has one
	DSC     string // sha256 of its .dsc, which pins it
	Mirror  string // address of an archive; "" is those of this machine

	// SHA256 is the pin: the sha256 of the file that is to come out, 64 digits 0-9a-f. URL and File need one; beside
	// what pins the others it may be given too.
	SHA256  string
	MaxSize int64 // bytes; 0 is DefaultMaxSize
}

// An Artifact is a file that was fetched. It was digested, and may change after that: whoever reads it later digests
// what they read, or takes it from [Cache.Get].
type Artifact struct {
	Path   string `json:"-"`      // of this machine, absolute; in the cache, unless File was asked for
	Name   string `json:"name"`   // what to call it, one element of a path
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // 64 digits 0-9a-f
	From   string `json:"from"`   // the request, as [Request.Name] shows it
	Cached bool   `json:"cached"` // it was there already, and no connection was made

	// Notes are what else is to be known of it, such as which platform of an image it is of. Of one artifact they are
	// the same, whether it was cached or not.
	Notes []string `json:"notes,omitempty"`
}

// A Fetcher fetches. It may be used by several goroutines.
type Fetcher struct {
	Cache    *Cache         // must be set, unless a File is asked for
	Network  bool           // connections are allowed
	Progress func(string)   // told what happens, one line at a time; nil for nobody
	CAs      *x509.CertPool // authorities to believe; nil for the system's (SSL_CERT_FILE)

	// For tests; zero is what the constants say.
	idle    time.Duration
	backoff time.Duration
	now     func() time.Time
}

// Fetch brings what is asked for. The error may be an [*UnpinnedError], a [*MismatchError], a [*LimitError], an
// [*OfflineError], or an [*Error] for all other trouble; a context that ends is none of them.
func (f *Fetcher) Fetch(ctx context.Context, r Request) (*Artifact, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.MaxSize == 0 {
		r.MaxSize = DefaultMaxSize
	}
	switch {
	case r.URL != "":
		return f.fetchURL(ctx, r)
	case r.File != "":
		return f.fetchFile(ctx, r)
	case r.OCI != "":
		return f.fetchOCI(ctx, r)
	case r.Git != "":
		return f.fetchGit(ctx, r)
	}
	return f.fetchDebian(ctx, r)
}

// derive brings the file that is made of what alias names: the cached one, or the one that fill makes. fill must write
// the same bytes for the same alias always, and nothing that it has not held against the alias's key. It is called only
// if the file is not there; where it needs a connection, online says so.
func (f *Fetcher) derive(ctx context.Context, r Request, alias Alias, name string, online bool, fill func(io.Writer) ([]string, error)) (*Artifact, error) {
	a := &Artifact{Name: name, From: r.Name(), Cached: true}
	file, record, err := f.Cache.lookup(ctx, alias)
	switch {
	case err == nil:
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return nil, trouble("", "%s: %v", a.From, cause(err))
		}
		a.Path, a.Size, a.SHA256, a.Notes = file.Name(), info.Size(), record.SHA256, record.Notes
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	case online && !f.Network:
		return nil, &OfflineError{a.From}
	default:
		var notes []string
		entry, err := f.Cache.Put(ctx, "", r.MaxSize, func(w io.Writer) (err error) {
			notes, err = fill(w)
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := f.Cache.link(alias, entry.SHA256, notes); err != nil {
			return nil, err
		}
		a.Path, a.Size, a.SHA256, a.Notes, a.Cached = f.Cache.path(entry.SHA256), entry.Size, entry.SHA256, notes, false
	}
	switch {
	case a.Size > r.MaxSize:
		return nil, tooLarge(a.From, r.MaxSize)
	case r.SHA256 != "" && r.SHA256 != a.SHA256:
		return nil, &MismatchError{Name: a.From, Want: r.SHA256, Seen: a.SHA256}
	}
	return a, nil
}

// client speaks HTTP to the host of first and to where it leads, guarded (see guard), and is closed when done with.
func (f *Fetcher) client(first *url.URL) (c *http.Client, done func()) {
	g := newGuard(first.Hostname(), f.CAs, f.patience())
	if f.now != nil {
		g.now = f.now
	}
	return &http.Client{Transport: g, CheckRedirect: redirect}, g.CloseIdleConnections
}

func (f *Fetcher) say(format string, args ...any) {
	if f.Progress != nil {
		f.Progress(fmt.Sprintf(format, args...))
	}
}

// fetchFile takes a file where it lies.
func (f *Fetcher) fetchFile(ctx context.Context, r Request) (*Artifact, error) {
	file, err := openRegular(r.File)
	if err != nil {
		if hint := meant(r.File); hint != "" && errors.Is(err, fs.ErrNotExist) {
			return nil, trouble(hint, "there is no file %.200q", r.File)
		}
		return nil, err
	}
	defer file.Close()
	path, err := filepath.Abs(r.File)
	if err != nil {
		return nil, trouble("name it by an absolute path", "cannot say where %s is: %s", r.File, cause(err))
	}
	sum, size, err := digestOf(ctx, file, r.MaxSize)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, tooLarge(r.File, r.MaxSize)
	case err != nil:
		return nil, reading(ctx, r.File, err)
	case r.SHA256 == "":
		return nil, &UnpinnedError{Name: r.File, Seen: sum, Size: size}
	case r.SHA256 != sum:
		return nil, &MismatchError{Name: r.File, Want: r.SHA256, Seen: sum}
	}
	return &Artifact{Path: path, Name: filepath.Base(path), Size: size, SHA256: sum, From: Request{File: path}.Name(), Cached: true}, nil
}
