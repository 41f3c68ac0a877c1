package provenance

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Policy is what a provenance has to say. An empty field asks for nothing.
type Policy struct {
	BuilderID string // equal to the builder's id, byte by byte
	BuildType string // equal to the build type, byte by byte

	// Source is the URI of every source. "git+" before it, and "/" or ".git" behind
	// the path, make no difference, nor does the case of the scheme and the host. At
	// "@refs/..." or "@COMMIT" it is the source at that ref, otherwise at any ref.
	Source string

	// Revision is the full commit of every source, 40 or 64 hex digits, or the
	// SHA-256 (64) or SHA-512 (128) of its archive.
	Revision string

	// Dependencies have to be among the dependencies, each by its digest and, where it
	// has one, its URI; their names are not compared.
	Dependencies []Resource
}

// Asked reports whether the policy asks for anything.
func (p Policy) Asked() bool {
	return p.BuilderID != "" || p.BuildType != "" || p.Source != "" || p.Revision != "" || len(p.Dependencies) > 0
}

// Validate says why a policy cannot be asked, and what to ask instead.
func (p Policy) Validate() error {
	if p.BuilderID != "" && !isPlain(p.BuilderID) {
		return fmt.Errorf("the builder id %s holds a character that a URI does not", quote(p.BuilderID))
	}
	if p.BuildType != "" && !isPlain(p.BuildType) {
		return fmt.Errorf("the build type %s holds a character that a URI does not", quote(p.BuildType))
	}
	if p.Source != "" {
		if err := validSource(p.Source); err != nil {
			return fmt.Errorf("the source %s: %w; name it as in https://host/path, with @refs/tags/NAME for a tag", quote(p.Source), err)
		}
	}
	if p.Revision != "" {
		if _, err := hex.DecodeString(p.Revision); err != nil || !slices.Contains(revisionSizes[:], len(p.Revision)) {
			return fmt.Errorf("the revision %s is not a full commit (40 or 64 hex digits), SHA-256 or SHA-512", quote(p.Revision))
		}
	}
	for _, d := range p.Dependencies {
		if d.URI != "" && !isPlain(d.URI) {
			return fmt.Errorf("the dependency %s holds a character that a URI does not", quote(d.URI))
		}
		if len(d.Digest) == 0 {
			return fmt.Errorf("the dependency %s needs a digest, as in %s", quote(d.URI), dependencyForm)
		}
		for _, alg := range slices.Sorted(maps.Keys(d.Digest)) {
			if !slices.Contains(strong[:], alg) {
				return fmt.Errorf("the dependency %s: digests are %s, not %s", quote(d.URI), strings.Join(strong[:], ", "), quote(alg))
			}
			if _, err := canonical(alg, d.Digest[alg]); err != nil {
				return fmt.Errorf("the dependency %s: %w", quote(d.URI), err)
			}
		}
	}
	return nil
}

// validSource takes a URI without a host too, such as a package URL: it is compared
// byte by byte.
func validSource(s string) error {
	scheme, rest, ok := strings.Cut(s, ":")
	if ok && rest != "" && !strings.HasPrefix(rest, "/") && isPlain(s) && !strings.ContainsAny(scheme, "@/.") {
		return nil
	}
	_, err := locate(s)
	return err
}

var revisionSizes = [...]int{40, 64, 128}

// Check returns every reason why the provenance is not what the policy asks for, in
// words; none means that it is. A policy that is not valid does not hold.
func (p Policy) Check(v *Provenance) (failures []string) {
	if !p.Asked() {
		return nil
	}
	if err := p.Validate(); err != nil {
		return []string{err.Error()}
	}
	if v == nil {
		return []string{"there is no provenance"}
	}
	fail := func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
	switch {
	case p.BuilderID == "" || p.BuilderID == v.BuilderID:
	case v.BuilderID == "":
		fail("the provenance names no builder, and %q is wanted", p.BuilderID)
	default:
		fail("the builder is %s, not %q", quote(v.BuilderID), p.BuilderID)
	}
	switch {
	case p.BuildType == "" || p.BuildType == v.BuildType:
	case v.BuildType == "":
		fail("the provenance names no build type, and %q is wanted", p.BuildType)
	default:
		fail("the build type is %s, not %q", quote(v.BuildType), p.BuildType)
	}
	if p.Source != "" || p.Revision != "" {
		if len(v.Sources) == 0 || v.SourceUnknown != "" {
			why := v.SourceUnknown
			if why == "" {
				why = "the provenance names none"
			}
			fail("the source is unknown: %s", why)
		}
		for _, s := range v.Sources {
			if p.Source != "" && !sameURI(p.Source, s.URI) {
				fail("the source is %s, not %q", s.describe(), p.Source)
			}
			if p.Revision != "" && !s.isAt(p.Revision) {
				fail("the revision of the source %s is %s, not %s", s.describe(), s.digests(), strings.ToLower(p.Revision))
			}
		}
	}
	for _, want := range p.Dependencies {
		if why := v.lacks(want); why != "" {
			fail("%s", why)
		}
	}
	return failures
}

// isAt reports whether the source is at a revision: every digest that can be the
// revision is, and there is one. A commit in the URI is no evidence, but it must not
// be another one.
func (r Resource) isAt(revision string) bool {
	revision = strings.ToLower(revision)
	found := false
	for _, alg := range [...]string{gitCommitDigest, sha1Digest, "sha256", "sha512"} {
		if sum := r.Digest[alg]; len(sum) == len(revision) {
			if sum != revision {
				return false
			}
			found = true
		}
	}
	if l, err := locate(r.URI); err == nil && isCommit(l.ref) && len(l.ref) == len(revision) && l.ref != revision {
		return false
	}
	return found
}

// lacks says why a wanted dependency is not among the dependencies; "" if it is. All
// dependencies of a wanted URI have to be the wanted one.
func (v *Provenance) lacks(want Resource) string {
	found := false
	var other *Resource
	for i, d := range v.Dependencies {
		switch {
		case want.URI != "" && !sameURI(want.URI, d.URI) && !sameURI(want.URI, d.unpinned()):
		case d.agrees(want.Digest):
			found = true
		case want.URI != "" && other == nil:
			other = &v.Dependencies[i]
		}
	}
	switch {
	case other != nil:
		return fmt.Sprintf("the dependency %s has %s, not %s", quote(other.URI), other.digests(), want.digests())
	case found:
		return ""
	}
	name := want.digests()
	if want.URI != "" {
		name = want.URI + "@" + name
	}
	return fmt.Sprintf("the dependency %s is not among the dependencies: %s", name, v.list())
}

// unpinned returns the URI without digests behind it that repeat those of r, as in
// references to images: "host/name@sha256:...".
func (r Resource) unpinned() string {
	uri := r.URI
	for _, alg := range strong {
		if sum := r.Digest[alg]; sum != "" {
			for strings.HasSuffix(uri, "@"+alg+":"+sum) {
				uri = strings.TrimSuffix(uri, "@"+alg+":"+sum)
			}
		}
	}
	return uri
}

// HasSource reports whether every source has one of the digests and contradicts none.
// Only sha256, sha384, sha512 and gitCommit count, in hex.
func (v *Provenance) HasSource(digests map[string]string) bool {
	if v == nil || len(v.Sources) == 0 || v.SourceUnknown != "" {
		return false
	}
	want := map[string]string{}
	for _, alg := range strong {
		digits, ok := digests[alg]
		if !ok {
			continue
		}
		sum, err := canonical(alg, digits)
		if err != nil {
			return false
		}
		want[alg] = sum
	}
	return !slices.ContainsFunc(v.Sources, func(s Resource) bool { return !s.agrees(want) })
}

const dependencyForm = "[URI@]sha256:HEX"

// ParseDependency reads a dependency for a [Policy]: [URI@]ALGORITHM:HEX, where the
// algorithm is sha256, sha384, sha512 or gitCommit.
func ParseDependency(s string) (Resource, error) {
	var r Resource
	digest := s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		r.URI, digest = s[:i], s[i+1:]
		if !isPlain(r.URI) {
			return Resource{}, fmt.Errorf("%s: the URI before the @ is empty or holds a character that a URI does not", quote(s))
		}
	}
	alg, digits, ok := strings.Cut(digest, ":")
	if !ok || !slices.Contains(strong[:], alg) {
		return Resource{}, fmt.Errorf("%s is not a dependency, %s with %s as the algorithm", quote(s), dependencyForm, strings.Join(strong[:], ", "))
	}
	sum, err := canonical(alg, digits)
	if err != nil {
		return Resource{}, fmt.Errorf("%s: %w", quote(s), err)
	}
	r.Digest = map[string]string{alg: sum}
	return r, nil
}
