package reference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// A Lock is what a recipe came to once: every source and root file system by the digest of its file, every tool by its
// version and digest. It is a YAML file beside the recipe, written by program and read as strictly as a recipe:
//
//	version: 1            # of this format
//	recipe: {name: recipe.yaml, size: 300, sha256: ...}
//	sources:              # as the recipe has them, in its order
//	  - {kind: git, name: "https://example.org/b.git", pin: 5d1a..., size: 10240, sha256: ...}  # of the tar
//	rootfs: {kind: oci, name: ..., pin: ..., size: ..., sha256: ...}  # if tools come from one
//	tools:                # as the recipe names them, in its order
//	  - {name: make, version: "GNU Make 4.3", sha256: ...}
//
// The same recipe, sources and tools give the same bytes.
type Lock struct {
	Recipe  File
	Sources []LockedSource
	Rootfs  *LockedSource
	Tools   []sandbox.Tool

	file string // as it was named, for messages
}

// A LockedSource is a source and the file that it came to.
type LockedSource struct {
	Kind, Name, Version, Pin string // as in Source
	Size                     int64  // bytes
	SHA256                   string
}

// LockError says that a lock is of another recipe, or of other tools. It is not a verdict on anything: nothing can be
// said until the lock is made anew, or the tools are those of the lock.
type LockError struct {
	File string
	What []string // one or more
}

func (e *LockError) Error() string { return e.File + ": " + strings.Join(e.What, "; ") }

// Hint says what to do about it.
func (e *LockError) Hint() string {
	return "build with what the lock names, or see why it differs and write the lock anew with assay rebuild --lock"
}

// LockName is where the lock of a recipe lies: recipe.lock.yaml beside recipe.yaml.
func LockName(recipe string) string {
	return strings.TrimSuffix(strings.TrimSuffix(recipe, ".yml"), ".yaml") + ".lock.yaml"
}

// NewLock locks a resolved recipe to what a build of it used.
func NewLock(r *Recipe, b *Rebuilt) (*Lock, error) {
	l := &Lock{Recipe: b.Recipe, Tools: slices.Clone(b.Tools)}
	if b.Recipe.SHA256 != r.SHA256 || len(b.Sources) != len(r.Sources) || (b.Rootfs == nil) != (r.Toolchain.Rootfs == nil) {
		return nil, fmt.Errorf("%s: the build is of another recipe", r.file)
	}
	for i := range r.Sources {
		l.Sources = append(l.Sources, locked(&r.Sources[i], b.Sources[i].File))
	}
	if b.Rootfs != nil {
		s := locked(r.Toolchain.Rootfs, *b.Rootfs)
		l.Rootfs = &s
	}
	return l, nil
}

func locked(s *Source, f File) LockedSource {
	return LockedSource{s.Kind, s.Name, s.Version, s.Pin, f.Size, f.SHA256}
}

// Encode writes the lock.
func (l *Lock) Encode() []byte {
	var b bytes.Buffer
	b.WriteString("# Written by assay rebuild --lock: what the recipe came to. assay rebuild --locked demands it.\nversion: 1\n")
	fmt.Fprintf(&b, "recipe: {name: %s, size: %d, sha256: %s}\n", quoted(l.Recipe.Name), l.Recipe.Size, quoted(l.Recipe.SHA256))
	b.WriteString("sources:\n")
	for i := range l.Sources {
		fmt.Fprintf(&b, "  - %s\n", l.Sources[i].encode())
	}
	if l.Rootfs != nil {
		fmt.Fprintf(&b, "rootfs: %s\n", l.Rootfs.encode())
	}
	if len(l.Tools) == 0 {
		b.WriteString("tools: []\n")
		return b.Bytes()
	}
	b.WriteString("tools:\n")
	for _, t := range l.Tools {
		fmt.Fprintf(&b, "  - {name: %s, version: %s, sha256: %s}\n", quoted(t.Name), quoted(t.Version), quoted(t.SHA256))
	}
	return b.Bytes()
}

func (s *LockedSource) encode() string {
	version := ""
	if s.Version != "" {
		version = ", version: " + quoted(s.Version)
	}
	return fmt.Sprintf("{kind: %s, name: %s%s, pin: %s, size: %d, sha256: %s}", s.Kind, quoted(s.Name), version, quoted(s.Pin), s.Size, quoted(s.SHA256))
}

// quoted writes a string as YAML: a JSON string is one, but for what cannot be seen, or turns the text about it round,
// which is escaped.
func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""` // a string can be encoded
	}
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case !unicode.IsPrint(r) && r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// LoadLock reads a lock. What is wrong with it is a *[RecipeError].
func LoadLock(file string) (*Lock, error) {
	f, err := openFile(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLock+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxLock {
		return nil, &RecipeError{File: file, What: fmt.Sprintf("larger than %d bytes", maxLock)}
	}
	d, err := parse(file, text)
	if err != nil {
		return nil, err
	}
	l := &Lock{file: file}
	return l, l.read(d)
}

const maxLock = 16 << 20 // bytes of a lock

func (l *Lock) read(d *document) error {
	version := 0
	err := d.mapping(d.root, "a lock",
		field{"version", d.number("version", 1, math.MaxInt32, &version)},
		field{"recipe", func(n *yaml.Node) error {
			r := &l.Recipe
			return d.whole(n, "recipe", field{"name", d.text("name", &r.Name)}, field{"size", d.size(&r.Size)}, field{"sha256", d.digest(&r.SHA256)})
		}},
		field{"sources", func(n *yaml.Node) error {
			return d.items(n, "sources", func(n *yaml.Node) error {
				s, err := d.locked(n, "a source")
				l.Sources = append(l.Sources, s)
				return err
			})
		}},
		field{"rootfs", func(n *yaml.Node) error {
			s, err := d.locked(n, "rootfs")
			l.Rootfs = &s
			return err
		}},
		field{"tools", func(n *yaml.Node) error {
			l.Tools = []sandbox.Tool{}
			return d.list(n, "tools", func(_ int, n *yaml.Node) error {
				var t sandbox.Tool
				err := d.whole(n, "a tool", field{"name", d.text("name", &t.Name)}, field{"version", d.text("version", &t.Version)}, field{"sha256", d.digest(&t.SHA256)})
				l.Tools = append(l.Tools, t)
				return err
			})
		}},
	)
	switch {
	case err != nil:
		return err
	case version == 0:
		return d.at(d.root, "version is missing: this is version: 1")
	case version != 1:
		return d.at(d.root, "version %d of a lock is not known: this program reads version 1; write it anew with assay rebuild --lock", version)
	case l.Recipe.SHA256 == "" || l.Sources == nil || l.Tools == nil:
		return d.at(d.root, "recipe, sources or tools is missing")
	}
	return nil
}

// whole reads a mapping that has every one of its keys.
func (d *document) whole(n *yaml.Node, what string, fields ...field) error {
	if err := d.mapping(n, what, fields...); err != nil {
		return err
	}
	if len(n.Content) != 2*len(fields) {
		return d.at(n, "%s has %d keys of %d", what, len(n.Content)/2, len(fields))
	}
	return nil
}

func (d *document) size(to *int64) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		size := 0
		err := d.number("size", 0, math.MaxInt, &size)(n)
		*to = int64(size)
		return err
	}
}

func (d *document) locked(n *yaml.Node, what string) (LockedSource, error) {
	var s LockedSource
	fields := []field{
		{"kind", d.text("kind", &s.Kind)},
		{"name", d.text("name", &s.Name)},
		{"pin", d.text("pin", &s.Pin)},
		{"size", d.size(&s.Size)},
		{"sha256", d.digest(&s.SHA256)},
	}
	version := field{"version", d.text("version", &s.Version)}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == version.key {
			fields = append(fields, version)
			break
		}
	}
	return s, d.whole(n, what, fields...)
}

// Pin holds a recipe to the lock before it is resolved: it must be the one that was locked, and afterwards every source
// must come to the file that it came to then. The error is a *[LockError], or a *[MismatchError] where recipe and lock
// pin different files.
func (l *Lock) Pin(r *Recipe) error {
	if l.Recipe.SHA256 != r.SHA256 {
		return l.fails(fmt.Sprintf("it locks a recipe with the sha256 %s, and that of %s is %s: the recipe was changed, or the lock is of another",
			l.Recipe.SHA256, filepath.Base(r.file), r.SHA256))
	}
	all := slices.Clone(l.Sources)
	if l.Rootfs != nil {
		all = append(all, *l.Rootfs)
	}
	inputs := r.inputs()
	if len(all) != len(inputs) {
		return l.fails(fmt.Sprintf("it locks %d sources and root file systems, and the recipe has %d", len(all), len(inputs)))
	}
	for i, s := range inputs {
		was := all[i]
		if was.Kind != s.Kind || was.Name != s.Name || was.Version != s.Version || was.Pin != s.Pin {
			return l.fails(fmt.Sprintf("it does not lock the source %s of line %d", s, s.line))
		}
		if s.SHA256 != "" && s.SHA256 != was.SHA256 {
			return &MismatchError{Name: s.String(), Want: was.SHA256, Seen: s.SHA256}
		}
	}
	for i, s := range inputs {
		s.SHA256 = all[i].SHA256
	}
	return nil
}

func (l *Lock) fails(what ...string) error {
	return &LockError{File: filepath.Base(l.file), What: what}
}

// Differences says in which sources, root file system and tools a build of a recipe differs from the lock, one a line;
// none if in no one.
func (l *Lock) Differences(r *Recipe, b *Rebuilt) []string {
	return slices.Concat(l.sourceDifferences(r, b), l.toolDifferences(b.Tools))
}

func (l *Lock) sourceDifferences(r *Recipe, b *Rebuilt) []string {
	var out []string
	left, files := slices.Clone(l.Sources), make([]File, 0, len(b.Sources)+1)
	for _, s := range b.Sources {
		files = append(files, s.File)
	}
	if l.Rootfs != nil {
		left = append(left, *l.Rootfs)
	}
	if b.Rootfs != nil {
		files = append(files, *b.Rootfs)
	}
	inputs := r.inputs()
	if len(files) != len(inputs) {
		return []string{fmt.Sprintf("the build has %d sources and root file systems, and the recipe has %d", len(files), len(inputs))}
	}
	for i, s := range inputs {
		now := locked(s, files[i])
		at := slices.IndexFunc(left, func(was LockedSource) bool { return was.Kind == now.Kind && was.Name == now.Name })
		if at < 0 {
			out = append(out, fmt.Sprintf("the source %s is not in the lock", s))
			continue
		}
		was := left[at]
		left = slices.Delete(left, at, at+1)
		switch {
		case was.Version != now.Version:
			out = append(out, fmt.Sprintf("the source %s had the version %s when the recipe was locked", s, was.Version))
		case was.Pin != now.Pin:
			out = append(out, fmt.Sprintf("the source %s is pinned to %s, and was to %s when the recipe was locked", s, now.Pin, was.Pin))
		case was.SHA256 != now.SHA256:
			out = append(out, fmt.Sprintf("the source %s has the sha256 %s, and had %s when the recipe was locked", s, now.SHA256, was.SHA256))
		}
	}
	for _, was := range left {
		out = append(out, fmt.Sprintf("the source %s of the lock was not used", was.Name))
	}
	return out
}

func (l *Lock) toolDifferences(tools []sandbox.Tool) []string {
	var out []string
	find := func(in []sandbox.Tool, name string) *sandbox.Tool {
		if i := slices.IndexFunc(in, func(t sandbox.Tool) bool { return t.Name == name }); i >= 0 {
			return &in[i]
		}
		return nil
	}
	for _, now := range tools {
		was := find(l.Tools, now.Name)
		switch {
		case was == nil:
			out = append(out, fmt.Sprintf("the tool %s is not in the lock", now.Name))
		case was.Version != now.Version:
			out = append(out, fmt.Sprintf("the tool %s is %q, and was %q when the recipe was locked", now.Name, now.Version, was.Version))
		case was.SHA256 != now.SHA256:
			out = append(out, fmt.Sprintf("the tool %s has the sha256 %s, and had %s when the recipe was locked", now.Name, now.SHA256, was.SHA256))
		}
	}
	for _, was := range l.Tools {
		if find(tools, was.Name) == nil {
			out = append(out, fmt.Sprintf("the tool %s of the lock was not used", was.Name))
		}
	}
	return out
}

// Hold is Differences as a *[LockError], or nil.
func (l *Lock) Hold(r *Recipe, b *Rebuilt) error {
	if what := l.Differences(r, b); what != nil {
		return l.fails(what...)
	}
	return nil
}
