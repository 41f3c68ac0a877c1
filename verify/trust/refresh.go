package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"

	"github.com/assaylab/assay/verify/internal/strictjson"
	"github.com/assaylab/assay/verify/trust/anchor"
)

// Defaults of [Options].
const (
	DefaultTarget     = "trusted_root.json"
	DefaultRepository = tuf.DefaultMirror // sigstore's public instance
	DefaultTimeout    = 2 * time.Minute
)

// Options say what is fetched, and where it goes. The zero value of a field is
// its default.
type Options struct {
	Out        string // path of the file; its folder exists
	Repository string // base URL of the TUF repository
	Root       string // path of the root.json to start from; by default, and for the default repository only, the one built in
	Target     string // name of the trusted root in the repository
	PlainHTTP  bool   // allow http to hosts other than this one
	Timeout    time.Duration
}

// A Change is what a refresh did.
type Change struct {
	Schema    string               `json:"schema"`             // assay.dev/trust-refresh/v1
	Previous  string               `json:"previous,omitempty"` // SHA-256 of the file before, hex
	Unchanged bool                 `json:"unchanged"`          // the file is as it was; only its receipt is new
	Added     []anchor.Fingerprint `json:"added"`              // against the file before
	Removed   []anchor.Fingerprint `json:"removed"`
	Now       *Listing             `json:"now"` // with its receipt
}

const changeSchema = "assay.dev/trust-refresh/v1"

// Refresh fetches the trusted root, verifies it, and only then replaces the file
// at opts.Out, and after it the receipt. Each is replaced at once: whatever fails
// or is killed, a reader finds the old file or the new one, whole. A name that is
// taken by anything but a regular file that holds a trusted root is refused, and
// so is a symbolic link: give the name that it leads to. Folders are not made.
// Two refreshes of one file at a time do no harm, but may leave the receipt of
// the one beside the file of the other, which then counts as none.
//
// Errors are of type [Error]; there is no change then.
func Refresh(ctx context.Context, opts Options) (*Change, error) {
	if opts.Target == "" {
		opts.Target = DefaultTarget
	}
	if opts.Out == "" {
		opts.Out = DefaultTarget
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	src, err := opts.source()
	if err != nil {
		return nil, err
	}
	old, err := existing(opts.Out)
	if err != nil {
		return nil, err
	}
	last, err := lastReceipt(opts.Out, src)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeoutCause(ctx, opts.Timeout, fmt.Errorf("it all took longer than %v (--timeout)", opts.Timeout))
	defer cancel()
	got, err := src.fetch(within, last)
	if err != nil {
		return nil, err
	}
	now, err := list(opts.Out, got.data)
	if err != nil {
		return nil, refused("is --target right? A trusted root of type application/vnd.dev.sigstore.trustedroot+json;version=0.1 is wanted", "the target %q of %s is not a trusted root: %v", src.target, src.url, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, trouble("", "nothing was written: %w", err)
	}
	got.receipt.SHA256 = now.SHA256
	got.receipt.FetchedAt = time.Now().UTC().Truncate(time.Second)
	now.Receipt = &got.receipt
	receipt, err := got.receipt.Encode()
	if err != nil {
		return nil, trouble("", "cannot write the receipt: %w", err)
	}
	c := compare(old, now)
	if !c.Unchanged {
		if err := replace(opts.Out, got.data, os.Rename); err != nil {
			return nil, err
		}
	}
	if err := replace(anchor.ReceiptPath(opts.Out), receipt, os.Rename); err != nil {
		return nil, err
	}
	return c, nil
}

// source settles what is fetched, without network.
func (o Options) source() (source, error) {
	address := o.Repository
	if address == "" {
		address = DefaultRepository
	}
	if o.Root == "" && strings.TrimRight(address, "/") != DefaultRepository {
		return source{}, trouble("give --root FILE: the root.json to start from, as the repository's operator handed it to you; nothing is trusted on first use",
			"--mirror needs --root: %q is not sigstore's public instance, and no TUF root for it is given", address)
	}
	if o.Timeout < 0 {
		return source{}, trouble("", "a timeout of %v is not positive", o.Timeout)
	}
	u, err := repository(address, o.PlainHTTP)
	if err != nil {
		return source{}, err
	}
	s := source{url: u, root: tuf.DefaultRoot(), target: o.Target, plainHTTP: o.PlainHTTP}
	if o.Root == "" {
		return s, nil
	}
	if s.root, err = read("TUF root", o.Root); err != nil {
		return source{}, err
	}
	if err := strictjson.CheckShape(s.root); err != nil {
		return source{}, trouble("give the root.json that the repository's operator handed you", "the TUF root %q cannot be read: %v", filepath.Base(o.Root), err)
	}
	return s, nil
}

// existing is the trusted root that is to be replaced; nil if there is none.
func existing(path string) (*Listing, error) {
	if err := replaceable(path); err != nil {
		return nil, err
	}
	b, err := read("file", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l, err := list(path, b)
	if err != nil {
		return nil, trouble("give another name with --out, or move that file away", "%q is there already and is not a trusted root: %v", filepath.Base(path), err)
	}
	return l, nil
}

// lastReceipt is what was seen at the last fetch; nil if there was none. Its
// versions bind also when the file was changed since.
func lastReceipt(path string, src source) (*anchor.Receipt, error) {
	if err := replaceable(anchor.ReceiptPath(path)); err != nil {
		return nil, err
	}
	r, err := anchor.LoadReceipt(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, badReceipt(err)
	case strings.TrimRight(r.Repository, "/") != strings.TrimRight(src.url.String(), "/"):
		return nil, trouble("give another name with --out; or move that file and its receipt away, if it is to be replaced by another repository's",
			"%q was fetched from %q, whose versions say nothing of %q", filepath.Base(path), r.Repository, src.url)
	}
	return &r, nil
}

func compare(old, now *Listing) *Change {
	c := &Change{Schema: changeSchema, Added: now.Names, Removed: []anchor.Fingerprint{}, Now: now}
	if old != nil {
		c.Previous, c.Unchanged = old.SHA256, old.SHA256 == now.SHA256
		c.Added, c.Removed = without(now.Names, old.Names), without(old.Names, now.Names)
	}
	return c
}

func without(list, others []anchor.Fingerprint) []anchor.Fingerprint {
	out := []anchor.Fingerprint{}
	for _, f := range list {
		if !slices.Contains(others, f) {
			out = append(out, f)
		}
	}
	return out
}
