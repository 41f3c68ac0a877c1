package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/reference"
)

// Fetching says whether and how what is named by an address is brought.
type Fetching struct {
	Open    func() (*fetch.Fetcher, error) // called once something is to be fetched; nil: nothing is
	MaxSize int64                          // bytes of one file; 0 is fetch.DefaultMaxSize
	Timeout time.Duration                  // of all that a delivery or a recipe names; 0 is none
}

// fetcher opens what fetches, under the time limit. The caller calls stop.
func (f Fetching) fetcher(ctx context.Context) (_ *fetch.Fetcher, _ context.Context, stop func(), err error) {
	opened, err := f.Open()
	if err != nil {
		return nil, nil, nil, err
	}
	if f.Timeout <= 0 {
		return opened, ctx, func() {}, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.Timeout, &diff.LimitError{Limit: "fetch-timeout", Detail: fmt.Sprintf("not fetched within %v; what came is kept", f.Timeout)})
	return opened, ctx, cancel, nil
}

// ended is why fetching failed, where the time limit did it.
func ended(ctx context.Context, err error) error {
	var limit *diff.LimitError
	if err != nil && errors.As(context.Cause(ctx), &limit) {
		return limit
	}
	return mismatch(err)
}

// sources fetches what a recipe names.
type sources struct {
	*fetch.Fetcher
	maxSize int64
	say     func(string)
}

// Fetch implements reference.Fetcher.
func (f sources) Fetch(ctx context.Context, s *reference.Source) (reference.Fetched, error) {
	r := fetch.Request{SHA256: s.SHA256, MaxSize: f.maxSize}
	switch s.Kind {
	case reference.SourceURL:
		r.URL = s.Name
	case reference.SourceGit:
		r.Git, r.Commit = s.Name, s.Pin
	case reference.SourceOCI:
		r.OCI = s.String()
		if dir, ok := strings.CutPrefix(s.Name, "oci:"); ok && !filepath.IsAbs(dir) {
			r.OCI = "oci:" + filepath.Join(s.Dir, dir) + "@" + s.Pin
		}
	case reference.SourceDebian:
		r.Debian, r.Version, r.DSC = s.Name, s.Version, s.Pin
	default:
		return reference.Fetched{}, fmt.Errorf("a source of kind %q is not fetched", s.Kind)
	}
	a, err := f.Fetcher.Fetch(ctx, r)
	if err != nil {
		return reference.Fetched{}, ended(ctx, err)
	}
	for _, n := range a.Notes {
		f.say(fmt.Sprintf("note: %s: %s", s.FileName(), n))
	}
	return reference.Fetched{Path: a.Path, SHA256: a.SHA256, Notes: a.Notes}, nil
}

// mismatch is a fetcher's word for a file that is not the pinned one, as the reference's.
func mismatch(err error) error {
	var wrong *fetch.MismatchError
	if errors.As(err, &wrong) {
		return &reference.MismatchError{Name: wrong.Name, Want: wrong.Want, Seen: wrong.Seen}
	}
	return err
}

// fetched returns a delivery whose images are on this machine: what it names by an
// address is brought, and has the path and the name that it was kept under.
func (d *Delivery) fetched(ctx context.Context, f Fetching) (*Delivery, error) {
	out := *d
	for _, side := range []struct {
		what, address, pin string
		path               *string
		got                **fetch.Artifact
	}{
		{"deployed", d.Deployed.address(), d.Deployed.SHA256, &out.Deployed.Path, &out.Deployed.got},
		{"reference", d.Reference.Fetch, d.Reference.SHA256, &out.Reference.Path, &out.Reference.got},
	} {
		if side.address == "" {
			continue
		}
		r, err := fetch.ParseRequest(side.address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side.what, err)
		}
		r.SHA256, r.MaxSize = strings.ToLower(side.pin), f.MaxSize
		if r.File != "" {
			r.File = d.path(r.File)
		}
		if dir, ok := strings.CutPrefix(r.OCI, "oci:"); ok {
			r.OCI = "oci:" + d.path(dir)
		}
		if f.Open == nil {
			return nil, fmt.Errorf("%s: %w", side.what, &fetch.OfflineError{Name: r.Name()})
		}
		fetcher, limited, stop, err := f.fetcher(ctx)
		if err != nil {
			return nil, err
		}
		a, err := fetcher.Fetch(limited, r)
		err = ended(limited, err)
		stop()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side.what, err)
		}
		if *side.path, err = filepath.Abs(a.Path); err != nil {
			return nil, err
		}
		*side.got = a
	}
	return &out, nil
}

// pinOf is the digest that a side must have: the delivery's, and that of what was
// fetched, which may have changed since.
func pinOf(pin string, got *fetch.Artifact) string {
	if pin == "" && got != nil {
		return got.SHA256
	}
	return pin
}

// address is where an image is fetched from, or "".
func (s *Source) address() string {
	if s.OCI != "" {
		return s.OCI
	}
	return s.URL
}

// Resolve brings the sources of a recipe that are not on this machine.
func Resolve(ctx context.Context, recipe *reference.Recipe, f Fetching, say func(string)) error {
	if f.Open == nil || len(recipe.Remote()) == 0 {
		return recipe.Resolve(ctx, nil)
	}
	fetcher, limited, stop, err := f.fetcher(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return recipe.Resolve(limited, sources{fetcher, f.MaxSize, say})
}
