// Package trust brings trusted roots up to date: it is the only part of the
// program that fetches trust, and it does so only when asked to.
//
// A trusted root (trusted_root.json) names the authorities and logs that a
// signature may lead to. Its publisher serves it from a repository of The Update
// Framework (TUF, https://theupdateframework.github.io/specification/), whose
// metadata is signed: root.json names the keys of four roles, and each newer
// root.json is signed by the keys of the one before it. Starting from a root.json
// that the caller has, [Refresh] follows that chain to the newest and verifies
// timestamp, snapshot, targets and the trusted root itself. There is no trust on
// first use, and none in TLS, names or addresses: they only bring bytes.
//
// The adversary is whoever answers instead of the repository, or serves an old
// state of it. Against the second the metadata expires, and the receipt beside
// the file ([anchor.Receipt]) holds the versions seen last, which may not go back.
//
// What is fetched is bounded in size, shape, redirects and time. Nothing is
// cached, nothing is read from or written to a home directory, and no environment
// variable changes what is trusted; HTTP_PROXY, HTTPS_PROXY and NO_PROXY say how
// to reach the network, SSL_CERT_FILE and SSL_CERT_DIR which servers TLS accepts.
//
// Only the repository's top-level targets are searched, not delegated ones.
package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/assaylab/assay/verify/internal/strictjson"
	"github.com/assaylab/assay/verify/trust/anchor"

	"github.com/assaylab/assay/verify/internal/plain"
)

// MaxFile is the size that a trusted root or a file of a repository may have, in
// bytes.
const MaxFile = 4 << 20

// An Error says why there is no trusted root, and what would bring one.
type Error struct {
	// Refused: what the repository offers does not verify. Else it was not
	// reached, or a file or option of the caller's does not do.
	Refused bool
	Msg     string // what, and where
	Hint    string // what to do
	err     error
}

func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.err }

func trouble(hint, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Msg: err.Error(), Hint: hint, err: errors.Unwrap(err)}
}

func refused(hint, format string, args ...any) *Error {
	e := trouble(hint, format, args...)
	e.Refused = true
	return e
}

// A Listing is what a trusted root file holds.
type Listing struct {
	Schema  string               `json:"schema"`         // assay.dev/trust/v1
	File    string               `json:"file"`           // last element of the path
	Size    int64                `json:"size"`           // bytes
	SHA256  string               `json:"sha256"`         // hex
	Dated   time.Time            `json:"dated,omitzero"` // see [anchor.Dated]
	Receipt *anchor.Receipt      `json:"receipt"`        // null when none beside the file is about these bytes
	Names   []anchor.Fingerprint `json:"names"`          // never empty
}

const listingSchema = "assay.dev/trust/v1"

// Load lists the trusted root at path, without network. A file that is not a
// trusted root, or one that names nothing, is an [Error].
func Load(path string) (*Listing, error) {
	b, err := read("trusted root", path)
	if err != nil {
		return nil, err
	}
	l, err := list(path, b)
	if err != nil {
		return nil, trouble("give a trusted_root.json; `assay trust refresh` fetches one", "%q is not a trusted root: %v", filepath.Base(path), err)
	}
	switch r, err := anchor.LoadReceipt(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, badReceipt(err)
	case r.SHA256 == l.SHA256:
		l.Receipt = &r
	}
	return l, nil
}

func badReceipt(err error) error {
	return trouble("move it away, or fetch the trusted root anew under another name: an honest receipt is only ever written by assay", "%v", err)
}

// list parses the trusted root b.
func list(path string, b []byte) (*Listing, error) {
	if err := strictjson.CheckShape(b); err != nil {
		return nil, err
	}
	tr, err := root.NewTrustedRootFromJSON(b)
	if err != nil {
		return nil, oneLine(err)
	}
	names := anchor.Fingerprints(tr)
	if len(names) == 0 {
		return nil, errors.New("it names no authority and no log")
	}
	sum := sha256.Sum256(b)
	return &Listing{
		Schema: listingSchema, File: filepath.Base(path), Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:]),
		Dated: anchor.Dated(tr), Names: names,
	}, nil
}

// read reads a file of at most MaxFile bytes whole. A FIFO that nobody writes to
// is empty; it does not block.
func read(kind, path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, trouble("give a readable file", "cannot read the %s %q: %w", kind, filepath.Base(path), plain.Cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, trouble("give a readable file", "cannot read the %s %q: %w", kind, filepath.Base(path), plain.Cause(err))
	}
	if len(b) > MaxFile {
		return nil, trouble("is it another file?", "the %s %q is larger than %d bytes", kind, filepath.Base(path), MaxFile)
	}
	return b, nil
}

// oneLine makes a library's error, which may quote hostile bytes, fit to show.
func oneLine(err error) error { return errors.New(plain.Bounded(err.Error(), 300)) }
