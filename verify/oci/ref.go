package oci

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/assaylab/assay/verify/internal/plain"
)

const (
	layoutScheme   = "oci:"
	registryScheme = "docker://"

	refHint = "name it by digest, as oci:DIR@sha256:HEX or docker://HOST[:PORT]/REPOSITORY@sha256:HEX"
)

// A Ref names an image by digest, in a layout or in a registry. The zero Ref names
// nothing.
type Ref struct {
	dir      string           // of a layout
	registry *name.Repository // nil: a layout
	sum      digest           // zero: a layout whose images are to be listed
}

// ParseRef reads an image's name, written as skopeo writes it:
//
//	oci:DIR@sha256:HEX
//	docker://HOST[:PORT]/REPOSITORY@sha256:HEX
//
// is tells whether arg is meant as one, that is, begins with oci: or docker://; err
// is an [*Error]. A tag is refused, beside a digest too. oci:DIR alone is read, and
// [Open] then answers with the images of that layout.
func ParseRef(arg string) (ref Ref, is bool, err error) {
	if rest, ok := strings.CutPrefix(arg, layoutScheme); ok {
		ref, err = parseLayout(arg, rest)
		return ref, true, err
	}
	if rest, ok := strings.CutPrefix(arg, registryScheme); ok {
		ref, err = parseRegistry(arg, rest)
		return ref, true, err
	}
	return Ref{}, false, nil
}

func parseLayout(arg, rest string) (Ref, error) {
	dir, sum, err := splitDigest(arg, rest)
	switch {
	case err != nil:
		return Ref{}, err
	case dir == "":
		return Ref{}, trouble(refHint, "%.200q names no directory", arg)
	case strings.Contains(dir, ":"):
		return Ref{}, trouble("leave the tag out: the digest says which image; a directory with a colon in its name is given another one", "%.200q has a tag", arg)
	}
	return Ref{dir: dir, sum: sum}, nil
}

func parseRegistry(arg, rest string) (Ref, error) {
	base, sum, err := splitDigest(arg, rest)
	if err != nil {
		return Ref{}, err
	}
	if sum == (digest{}) {
		return Ref{}, trouble(refHint+"; skopeo inspect tells the digest of a tag", "%.200q has no digest", arg)
	}
	host, path, ok := strings.Cut(base, "/")
	if !ok || path == "" || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return Ref{}, trouble(refHint, "%.200q does not name the registry's host and a repository in it", arg)
	}
	if strings.ContainsRune(path, ':') {
		return Ref{}, trouble("leave the tag out: the digest says which image", "%.200q has a tag", arg)
	}
	repo, err := name.NewRepository(base, name.WeakValidation)
	if err == nil && !repository.MatchString(path) {
		err = errors.New("a repository's name is of a-z and 0-9, with . _ - between them")
	}
	if err != nil {
		return Ref{}, trouble(refHint, "%.200q cannot be read: %s", arg, plain.Line(err.Error()))
	}
	return Ref{registry: &repo, sum: sum}, nil
}

// A repository's name, as the OCI distribution specification has it.
var repository = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

func splitDigest(arg, rest string) (string, digest, error) {
	i := strings.LastIndexByte(rest, '@')
	if i < 0 {
		return rest, digest{}, nil
	}
	sum, err := parseDigest(rest[i+1:])
	if err != nil || sum.alg != "sha256" {
		return "", digest{}, trouble(refHint, "%.200q does not end in sha256: and 64 digits 0-9a-f", arg)
	}
	return rest[:i], sum, nil
}

// String is the name as [ParseRef] reads it, or "" for the zero Ref.
func (r Ref) String() string {
	switch {
	case r.registry != nil:
		return registryScheme + r.registry.Name() + "@" + r.sum.String()
	case r.dir == "":
		return ""
	case r.sum == (digest{}):
		return layoutScheme + r.dir
	}
	return layoutScheme + r.dir + "@" + r.sum.String()
}

// Name is String without the folders above a layout, for reports.
func (r Ref) Name() string {
	if r.dir != "" {
		r.dir = filepath.Base(r.dir)
	}
	return r.String()
}

// Digest is the sha256 of the manifest or index, zero where none was given.
func (r Ref) Digest() (sum [32]byte) {
	_, _ = hex.Decode(sum[:], []byte(r.sum.hex))
	return sum
}

// Network says whether [Open] talks to a registry.
func (r Ref) Network() bool { return r.registry != nil }
