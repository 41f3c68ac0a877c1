package reference

import (
	"context"
	"errors"
	"fmt"
)

// A Fetched is a file that a fetcher brought.
type Fetched struct {
	Path   string   // on this machine
	SHA256 string   // that the fetcher saw; "" if it did not look
	Notes  []string // what else is to be known of it
}

// A Fetcher brings a source that does not lie beside the recipe.
//
// Of a url that is the file with the sha256 Pin. Of git, oci and debian it is a tar that the fetcher makes, the same one
// for the same pin: that it is of what Pin names is for the fetcher to see to. Where the source has a SHA256, only the
// file of that digest will do.
type Fetcher interface {
	Fetch(ctx context.Context, s *Source) (Fetched, error)
}

// Remote are the sources, the root file system among them, that Resolve has still to bring.
func (r *Recipe) Remote() []*Source {
	var remote []*Source
	for _, s := range r.inputs() {
		if s.Path == "" {
			remote = append(remote, s)
		}
	}
	return remote
}

// inputs are the sources in their order, and the root file system.
func (r *Recipe) inputs() []*Source {
	inputs := make([]*Source, 0, len(r.Sources)+1)
	for i := range r.Sources {
		inputs = append(inputs, &r.Sources[i])
	}
	if r.Toolchain.Rootfs != nil {
		inputs = append(inputs, r.Toolchain.Rootfs)
	}
	return inputs
}

// Resolve brings every source that is not on this machine yet: afterwards each has a Path and a SHA256. An error names
// the line of the recipe. A file that is not the pinned one is a *[MismatchError].
func (r *Recipe) Resolve(ctx context.Context, f Fetcher) error {
	for _, s := range r.Remote() {
		if err := s.resolve(ctx, f); err != nil {
			return fmt.Errorf("%s:%d: %w", r.file, s.line, err)
		}
	}
	return nil
}

func (s *Source) resolve(ctx context.Context, f Fetcher) error {
	if f == nil {
		return fmt.Errorf("the source %s is not on this machine, and nothing may fetch it here", s)
	}
	got, err := f.Fetch(ctx, s)
	if err != nil {
		return err
	}
	if got.Path == "" {
		return errors.New("the fetcher brought no file")
	}
	file, err := openFile(got.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	d, err := digestOf(file)
	if err != nil {
		return err
	}
	if s.SHA256 != "" && d.sha256 != s.SHA256 {
		return &MismatchError{Name: s.String(), Want: s.SHA256, Seen: d.sha256}
	}
	if got.SHA256 != "" && d.sha256 != got.SHA256 {
		return &MismatchError{Name: s.String(), Want: got.SHA256, Seen: d.sha256} // it changed since
	}
	s.Path, s.SHA256 = got.Path, d.sha256
	return nil
}
