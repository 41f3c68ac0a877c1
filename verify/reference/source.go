package reference

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// Where a source comes from.
const (
	SourcePath   = "path"   // a file beside the recipe
	SourceURL    = "url"    // a file of a server
	SourceGit    = "git"    // a commit
	SourceOCI    = "oci"    // an image or artifact, of a registry or a layout
	SourceDebian = "debian" // a Debian source package
)

// A Source is a file that a build needs.
type Source struct {
	Kind    string // SourcePath, SourceURL, SourceGit, SourceOCI or SourceDebian
	Name    string // what of that kind, without its pin: path as written, URL, repository, docker://HOST/NAME or oci:DIR, package
	Version string // of a Debian package
	// Pin is what the recipe demands: the sha256 of the file (path and url), the full commit (git), sha256:HEX of the
	// manifest (oci), the sha256 of the .dsc (debian).
	Pin string

	Dir    string // of the recipe: relative names start there
	Path   string // on this machine; "" before Recipe.Resolve, unless it lies beside the recipe
	SHA256 string // of the file at Path: of the tar, where one is made; "" while unknown
	At     string // in the sandbox
	Trust  bool   // prebuilt, taken on trust

	// Revision is the git commit that the source is of, or "". Of a git source it is Pin; of any other it is the word of
	// whoever wrote the recipe: provenance that names a commit is held against it.
	Revision string

	line int
}

// String names the source and its pin.
func (s *Source) String() string {
	switch s.Kind {
	case SourceGit, SourceOCI:
		return s.Name + "@" + s.Pin
	case SourceDebian:
		return s.Name + "=" + s.Version
	}
	return s.Name
}

// FileName is the name under which records list the source: the last element of a path or URL; of a tar that is made of
// a commit, an image or a package, the last element of its name with .tar behind it.
func (s *Source) FileName() string {
	base := path.Base(filepath.ToSlash(s.Name))
	switch s.Kind {
	case SourceURL:
		if u, err := url.Parse(s.Name); err == nil {
			base = path.Base(u.Path)
		}
		if base == "." || base == "/" {
			base = "download"
		}
	case SourceGit:
		base = strings.TrimSuffix(base, ".git") + ".tar"
	case SourceOCI:
		base = path.Base(strings.TrimPrefix(s.Name, "oci:"))
		base, _, _ = strings.Cut(base, ":")
		base += ".tar"
	case SourceDebian:
		_, upstream, ok := strings.Cut(s.Version, ":") // an epoch is no part of file names
		if !ok {
			upstream = s.Version
		}
		base = s.Name + "_" + upstream + ".tar"
	default:
		return filepath.Base(s.Path)
	}
	return base
}

// open opens the file of a source and checks its digest.
func (s *Source) open() (*os.File, digest, error) {
	if s.Path == "" {
		return nil, digest{}, fmt.Errorf("the source %s has not been fetched", s)
	}
	f, err := openFile(s.Path)
	if err != nil {
		return nil, digest{}, err
	}
	d, err := digestOf(f)
	if err == nil && d.sha256 != s.SHA256 {
		err = &MismatchError{Name: s.Path, Want: s.SHA256, Seen: d.sha256}
	}
	if err != nil {
		f.Close()
		return nil, digest{}, err
	}
	return f, d, nil
}

// A written source is one as a recipe has it, key by key.
type written struct {
	kinds                     []string // the keys that say where it is
	name                      string   // the value of the last of them
	commit, version, revision string
	sha256, at                string
	trust                     bool
}

// where are the fields that say which file it is, for the kinds that are allowed.
func (w *written) where(d *document, kinds ...string) []field {
	fields := make([]field, 0, len(kinds)+3)
	for _, kind := range kinds {
		fields = append(fields, field{kind, w.of(d, kind)})
	}
	fields = append(fields, field{"sha256", d.digest(&w.sha256)})
	if slices.Contains(kinds, SourceGit) {
		fields = append(fields, field{"commit", d.commit("commit", &w.commit)})
	}
	if slices.Contains(kinds, SourceDebian) {
		fields = append(fields, field{"version", d.text("version", &w.version)})
	}
	return fields
}

func (w *written) of(d *document, kind string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		w.kinds = append(w.kinds, kind)
		if err := d.text(kind, &w.name)(n); err != nil {
			return err
		}
		if err := checkName(kind, w.name); err != nil {
			return d.at(n, "%s: %v", kind, err)
		}
		return nil
	}
}

// source reads a source and its place.
func (d *document) source(n *yaml.Node) (Source, error) {
	var w written
	fields := append(w.where(d, SourcePath, SourceURL, SourceGit, SourceOCI, SourceDebian),
		field{"at", func(n *yaml.Node) error {
			if err := d.text("at", &w.at)(n); err != nil {
				return err
			}
			if err := sandbox.CheckPlace(w.at); err != nil {
				return d.at(n, "at: %v", err)
			}
			return nil
		}},
		field{"trust", d.truth("trust", &w.trust)},
		field{"revision", d.commit("revision", &w.revision)},
	)
	if err := d.mapping(n, "a source", fields...); err != nil {
		return Source{}, err
	}
	s, err := d.settle(n, &w)
	if err == nil && s.At == "" {
		err = d.at(n, "source %s has no at: say where the build finds it, such as /src", &s)
	}
	return s, err
}

// settle makes a source of what is written, which must pin it.
func (d *document) settle(n *yaml.Node, w *written) (Source, error) {
	s := Source{
		Dir: filepath.Dir(d.file), SHA256: w.sha256, Pin: w.sha256, Name: w.name, Version: w.version,
		At: w.at, Trust: w.trust, Revision: w.revision, line: n.Line,
	}
	if len(w.kinds) != 1 {
		return s, d.at(n, "a source needs one of path, url, git, oci and debian, this has %s", orNone(w.kinds))
	}
	s.Kind = w.kinds[0]
	switch {
	case w.commit != "" && s.Kind != SourceGit:
		return s, d.at(n, "commit is for a source by git; of any other, revision says which commit it is of")
	case w.version != "" && s.Kind != SourceDebian:
		return s, d.at(n, "version is for a source by debian")
	}
	switch s.Kind {
	case SourcePath:
		s.Path = s.Name
		if filepath.IsAbs(s.Name) {
			s.Name = filepath.Base(s.Name)
		} else {
			s.Path = filepath.Join(s.Dir, s.Name)
		}
		if s.Pin == "" {
			return s, d.unpinned(n, s.Path)
		}
	case SourceURL:
		if s.Pin == "" {
			return s, d.at(n, "%s has no sha256: assay fetch shows the digest of what is there now, and that pins it", &s)
		}
	case SourceGit:
		s.Pin = w.commit
		switch {
		case w.revision != "":
			return s, d.at(n, "revision is said by commit already")
		case s.Pin == "":
			return s, d.at(n, "%s has no commit: a branch or a tag can be moved, so name the commit in full", s.Name)
		}
		s.Revision = s.Pin
	case SourceOCI:
		name, pin, _ := strings.Cut(s.Name, "@")
		s.Name, s.Pin = name, pin
	case SourceDebian:
		s.SHA256 = "" // that of the .dsc is not that of the tar
		switch {
		case s.Version == "":
			return s, d.at(n, "the package %s has no version", s.Name)
		case !debianVersion.MatchString(s.Version):
			return s, d.at(n, "%.80q is not a version of a Debian package", s.Version)
		case s.Pin == "":
			return s, d.at(n, "%s has no sha256: that of its .dsc pins it", &s)
		}
	}
	return s, nil
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " and ")
}

var (
	fullCommit    = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	debianPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)
	debianVersion = regexp.MustCompile(`^([0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]{0,127}$`)
	imageName     = regexp.MustCompile(`^(docker://[A-Za-z0-9][A-Za-z0-9._:/-]*|oci:[^@]+)@sha256:[0-9a-f]{64}$`)
)

const maxName = 4096 // bytes of the name of a source

// checkName says why a name is none of its kind, or nil.
func checkName(kind, name string) error {
	if name == "" {
		return fmt.Errorf("it is empty")
	}
	if len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%.80q is too long, or holds a control character", name)
	}
	switch kind {
	case SourceURL:
		return checkURL(name, "https", "http")
	case SourceGit:
		return checkURL(name, "https", "http", "ssh", "file")
	case SourceOCI:
		if !imageName.MatchString(name) {
			return fmt.Errorf("%.200q is not an image by digest: docker://HOST/NAME@sha256:HEX, or oci:DIR@sha256:HEX for a layout", name)
		}
	case SourceDebian:
		if !debianPackage.MatchString(name) {
			return fmt.Errorf("%.80q is not the name of a Debian source package", name)
		}
	}
	return nil
}

// checkURL wants a plain address: no credentials, which would end up in records, and no fragment.
func checkURL(name string, schemes ...string) error {
	u, err := url.Parse(name)
	switch {
	case err != nil || u.Opaque != "" || !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("%.200q is not an address that begins with %s://", name, strings.Join(schemes, ":// or "))
	case u.Scheme != "file" && u.Hostname() == "":
		return fmt.Errorf("%.200q names no host", name)
	case u.User != nil && (u.Scheme != "ssh" || hasPassword(u.User)):
		return fmt.Errorf("the address holds a user or a password, and a recipe is for everybody to read: leave them out")
	case u.Fragment != "" || strings.HasSuffix(name, "#"):
		return fmt.Errorf("%.200q has a fragment", name)
	}
	return nil
}

func hasPassword(u *url.Userinfo) bool {
	_, has := u.Password()
	return has
}

// commit reads the name of a git commit, in full.
func (d *document) commit(what string, to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if err := d.text(what, to)(n); err != nil {
			return err
		}
		if !fullCommit.MatchString(*to) {
			return d.at(n, "%s: %.80q is not a full git commit, 40 or 64 lower-case hexadecimal digits", what, *to)
		}
		return nil
	}
}

// unpinned says how to pin a file.
func (d *document) unpinned(n *yaml.Node, name string) error {
	if f, err := openFile(name); err == nil {
		defer f.Close()
		if seen, err := digestOf(f); err == nil {
			return d.at(n, "%s has no sha256: to pin the file as it is now, write sha256: %s", filepath.Base(name), seen.sha256)
		}
	}
	return d.at(n, "%s has no sha256", filepath.Base(name))
}
