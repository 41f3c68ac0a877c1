package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/reference"
)

// Sources fetches what recipes name, through a fetcher.
type Sources struct{ *fetch.Fetcher }

// Fetch implements reference.Fetcher.
func (f Sources) Fetch(ctx context.Context, s *reference.Source) (string, error) {
	r := fetch.Request{SHA256: s.SHA256}
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
		return "", fmt.Errorf("a source of kind %q is not fetched", s.Kind)
	}
	a, err := f.Fetcher.Fetch(ctx, r)
	if err != nil {
		return "", mismatch(err)
	}
	return a.Path, nil
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
func (d *Delivery) fetched(ctx context.Context, open func() (*fetch.Fetcher, error)) (*Delivery, error) {
	out := *d
	for _, side := range []struct {
		what, address, pin string
		path, name, from   *string
	}{
		{"deployed", d.Deployed.address(), d.Deployed.SHA256, &out.Deployed.Path, &out.Deployed.name, &out.Deployed.from},
		{"reference", d.Reference.Fetch, d.Reference.SHA256, &out.Reference.Path, &out.Reference.name, &out.Reference.from},
	} {
		if side.address == "" {
			continue
		}
		r, err := fetch.ParseRequest(side.address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side.what, err)
		}
		r.SHA256 = strings.ToLower(side.pin)
		if r.File != "" {
			r.File = d.path(r.File)
		}
		if dir, ok := strings.CutPrefix(r.OCI, "oci:"); ok {
			r.OCI = "oci:" + d.path(dir)
		}
		if open == nil {
			return nil, fmt.Errorf("%s: %w", side.what, &fetch.OfflineError{Name: r.String()})
		}
		f, err := open()
		if err != nil {
			return nil, err
		}
		a, err := f.Fetch(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side.what, mismatch(err))
		}
		*side.path, *side.name, *side.from = a.Path, a.Name, a.From
	}
	return &out, nil
}

// address is where an image is fetched from, or "".
func (s *Source) address() string {
	if s.OCI != "" {
		return s.OCI
	}
	return s.URL
}

// Resolve brings the sources of a recipe that are not on this machine. open is called if
// there are any.
func Resolve(ctx context.Context, recipe *reference.Recipe, open func() (*fetch.Fetcher, error)) error {
	if open == nil || len(recipe.Remote()) == 0 {
		return recipe.Resolve(ctx, nil)
	}
	f, err := open()
	if err != nil {
		return err
	}
	return recipe.Resolve(ctx, Sources{f})
}
