package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/assaylab/assay/verify/internal/plain"
)

// Annotations of the entries of an index (OCI image specification, annotations.md;
// the values of kind are those of "cosign save").
const (
	nameAnnotation = "org.opencontainers.image.ref.name"
	kindAnnotation = "kind"

	savedImage        = "dev.cosignproject.cosign/image"
	savedIndex        = "dev.cosignproject.cosign/imageIndex"
	savedSignatures   = "dev.cosignproject.cosign/sigs"
	savedAttestations = "dev.cosignproject.cosign/atts"
)

// A layout is a directory as the OCI image layout specification has it. No link is
// followed out of it, and only directories and regular files are read.
type layout struct {
	root     *os.Root
	name     string  // the directory's own name
	entries  []entry // of index.json and of the indexes inside it
	expanded map[digest]bool
	cut      bool // entries are not all
}

// An entry is a descriptor in an index of the layout.
type entry struct {
	descriptor
	depth int // of what it names; 1 in index.json
}

const layoutHint = "give a directory with oci-layout, index.json and blobs, as skopeo copy docker://… oci:DIR writes it"

func openLayout(ref Ref) (source, error) {
	name := filepath.Base(ref.dir)
	info, err := os.Stat(ref.dir)
	if err == nil && !info.IsDir() {
		return nil, trouble(layoutHint, "%.200q is not a directory", name)
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(ref.dir)
	}
	if err != nil {
		return nil, trouble(layoutHint, "cannot read the layout %.200q: %v", name, plain.Cause(err))
	}
	defer root.Close()
	return openRoot(root, ref)
}

// openRoot leaves root open, and needs it no longer.
func openRoot(root *os.Root, ref Ref) (source, error) {
	l := &layout{name: filepath.Base(ref.dir), expanded: map[digest]bool{}}
	var err error
	if l.root, err = root.OpenRoot("."); err != nil {
		return nil, trouble(layoutHint, "cannot read the layout %.200q: %v", l.name, plain.Cause(err))
	}
	if err := l.begin(); err != nil {
		l.close()
		return nil, trouble(layoutHint, "the layout %.200q cannot be read: %s", l.name, plain.Line(plain.Cause(err).Error()))
	}
	return l, nil
}

func (l *layout) close() { _ = l.root.Close() }

// begin checks that the directory says what it is.
func (l *layout) begin() error {
	const most = 4096
	b, err := l.small("oci-layout", most)
	if err != nil {
		return err
	}
	version := ""
	err = object(b, map[string]func([]byte) error{
		"imageLayoutVersion": func(v []byte) error { return json.Unmarshal(v, &version) },
	})
	if err == nil && version != "1.0.0" {
		err = fmt.Errorf("its imageLayoutVersion is %.40q, not 1.0.0", version)
	}
	if err != nil {
		return fmt.Errorf("oci-layout: %w", err)
	}
	return nil
}

// small reads a file of the layout itself.
func (l *layout) small(path string, most int64) ([]byte, error) {
	f, err := l.regular(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, plain.Cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, limit("%s has more than %d bytes", path, most)
	}
	return b, err
}

// regular opens a regular file that is reached through directories alone. Anything
// else is a finding; a FIFO does not block.
func (l *layout) regular(path string) (*os.File, error) {
	for i, c := range path + "/" {
		if c != '/' {
			continue
		}
		info, err := l.root.Lstat(path[:i])
		switch {
		case err != nil:
			return nil, err
		case i < len(path) && !info.IsDir():
			return nil, found("%s is %s, not a directory", path[:i], what(info.Mode()))
		case i == len(path) && !info.Mode().IsRegular():
			return nil, found("it is %s, not a file", what(info.Mode()))
		}
	}
	f, err := l.root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, found("it is not a file any more")
	}
	return f, nil
}

func what(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	}
	return "a device or socket"
}

func (l *layout) open(_ context.Context, d digest, _ bool) (io.ReadCloser, string, error) {
	f, err := l.regular("blobs/" + d.alg + "/" + d.hex)
	switch {
	case err == nil:
		return f, "", nil
	case isFinding(err):
		return nil, "", err
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", absent("it is not in the layout")
	}
	return nil, "", trouble("make it readable", "cannot read %s in the layout %.200q: %v", d, l.name, plain.Cause(err))
}

func (l *layout) named(ctx context.Context, r *reader) ([]descriptor, error) {
	r.paying = &r.others // the indexes inside index.json may be of anyone
	defer func() { r.paying = &r.own }()
	if err := l.index(r); err != nil {
		return nil, err
	}
	names := l.names(r.image)
	if len(names) == 0 {
		if err := l.expand(ctx, r); err != nil {
			return nil, err
		}
		names = l.names(r.image)
	}
	switch {
	case r.image == (digest{}):
		return nil, trouble(l.holds(), "the layout %.200q is named without the digest of an image", l.name)
	case len(names) > 0:
		return names, nil
	case l.cut: // by what others have put there
		body, _, err := l.open(ctx, r.image, true)
		if err == nil {
			body.Close()
			return []descriptor{{digest: r.image, size: -1}}, nil
		}
	}
	return nil, trouble(l.holds(), "the layout %.200q has no image %s", l.name, r.image)
}

// index reads index.json, or what of it is within the limits.
func (l *layout) index(r *reader) error {
	raw, err := l.small("index.json", MaxManifest)
	var over *LimitError
	if errors.As(err, &over) {
		l.missed(r, 1, "%s: what it names is not looked at", over.Msg)
		return nil
	}
	var index *manifest
	if err == nil {
		index, err = parseManifest(raw, "", "")
	}
	if err == nil && !isIndex(index.mediaType) {
		err = fmt.Errorf("it is of type %s", index.mediaType)
	}
	if err != nil {
		return trouble("write the layout anew", "the index.json of the layout %.200q cannot be read: %s", l.name, plain.Line(err.Error()))
	}
	if index.more > 0 {
		l.missed(r, index.more, "index.json has %d entries more than the %d that are looked at", index.more, MaxDescriptors)
	}
	l.add(index, 1)
	return nil
}

func (l *layout) missed(r *reader, n int, format string, args ...any) {
	l.cut = true
	r.missed(n, format, args...)
}

func (l *layout) add(index *manifest, depth int) {
	for _, d := range index.manifests {
		l.entries = append(l.entries, entry{d, depth})
	}
}

// names are the entries that name the image.
func (l *layout) names(image digest) (names []descriptor) {
	for _, e := range l.entries {
		if e.digest == image {
			names = append(names, e.descriptor)
		}
	}
	return names
}

// expand adds the entries of the indexes inside index.json. An index that cannot be
// read adds none; if it is of the image, the walk says so. The image itself is left
// to the walk, which has its own account.
func (l *layout) expand(ctx context.Context, r *reader) error {
	for i := 0; i < len(l.entries); i++ { // entries grows
		e := l.entries[i]
		if !isIndex(e.mediaType) || l.expanded[e.digest] || r.blamed[e.digest] || e.digest == r.image && !r.walked[e.digest] {
			continue
		}
		l.expanded[e.digest] = true
		m, err := r.manifest(ctx, descriptor{digest: e.digest, size: -1}, e.depth)
		switch {
		case err == nil:
			l.add(m, e.depth+1)
		case isAbsent(err): // the sweep says so
		case ofContent(err):
			l.missed(r, 1, "the index %s in the layout is not looked into: %v", e.digest, err)
		default:
			return err
		}
	}
	return nil
}

// holds names the images of the layout.
func (l *layout) holds() string {
	var b strings.Builder
	b.WriteString("name one of these by digest:")
	n := 0
	seen := map[digest]bool{}
	for _, d := range l.entries {
		kind := d.annotations[kindAnnotation]
		if !isManifest(d.mediaType) || seen[d.digest] || kind == savedSignatures || kind == savedAttestations {
			continue
		}
		seen[d.digest] = true
		if n++; n > maxNamed {
			continue
		}
		fmt.Fprintf(&b, " %s", d.digest)
		if name := d.annotations[nameAnnotation]; name != "" {
			fmt.Fprintf(&b, " (%s)", plain.Line(fmt.Sprintf("%.100q", name)))
		}
	}
	switch {
	case n == 0:
		return "index.json names no image"
	case n > maxNamed:
		fmt.Fprintf(&b, " and %d more", n-maxNamed)
	}
	return b.String()
}

func (l *layout) attached(ctx context.Context, r *reader) ([]attached, error) {
	if err := l.expand(ctx, r); err != nil {
		return nil, err
	}
	saved := false // by cosign, as one image and what belongs to it
	for _, e := range l.entries {
		kind := e.annotations[kindAnnotation]
		saved = saved || e.digest == r.image && (kind == savedImage || kind == savedIndex)
	}
	var all []attached
	for _, s := range []struct {
		suffix, saved string
		kind          Kind
	}{
		{signatureSuffix, savedSignatures, SimpleSigning},
		{attestationSuffix, savedAttestations, Envelope},
	} {
		tag := r.image.tag() + s.suffix
		for _, e := range l.entries {
			label := ""
			switch name := e.annotations[nameAnnotation]; {
			case name == tag || strings.HasSuffix(name, ":"+tag): // some tools write the whole name
				label = tag
			case saved && e.annotations[kindAnnotation] == s.saved:
				label = s.saved
			default:
				continue
			}
			m, err := r.beside(ctx, fmt.Sprintf("%s (%s)", label, e.digest), e.digest, 1)
			if err != nil {
				return nil, err
			}
			if m != nil {
				all = append(all, attached{label, s.kind, m})
			}
		}
	}
	var list []descriptor
	seen := map[digest]bool{r.image: true}
	for _, e := range l.entries {
		if !isManifest(e.mediaType) || seen[e.digest] || r.blamed[e.digest] {
			continue
		}
		seen[e.digest] = true
		m, err := r.manifest(ctx, descriptor{digest: e.digest, size: -1}, 1)
		switch {
		case err == nil && m.subject != nil && m.subject.digest == r.image:
			list = append(list, e.descriptor)
		case err == nil, isAbsent(err): // the sweep says so
		case ofContent(err):
			r.missed(1, "%s in the layout may refer to the image, and is not looked into: %v", e.digest, err)
		default:
			return nil, err
		}
	}
	refs, err := r.referrers(ctx, list)
	return append(all, refs...), err
}

// sweep hashes every file under blobs that was not read yet, whatever it belongs
// to, and counts what belongs to nothing: a payload could hide there.
func (l *layout) sweep(ctx context.Context, r *reader) error {
	belongs := map[digest]bool{}
	var order []digest
	for _, e := range l.entries {
		reached := []descriptor{e.descriptor}
		if m := r.parsed[e.digest]; m != nil {
			reached = append(reached, m.descriptors()...)
		}
		for _, d := range reached {
			if !belongs[d.digest] {
				belongs[d.digest] = true
				order = append(order, d.digest)
			}
		}
	}
	var strays, lost some
	present := map[digest]bool{}
	files := 0
	var over *LimitError
	err := fs.WalkDir(l.root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return trouble("make it readable", "cannot read %.200q in the layout %.200q: %v", path, l.name, plain.Cause(err))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if files++; files > MaxDescriptors {
			return limit("it has more than %d files", MaxDescriptors)
		}
		place := strings.Split(path, "/")
		switch {
		case place[0] != "blobs":
			if !entry.IsDir() && path != "oci-layout" && path != "index.json" {
				strays.add(fmt.Sprintf("%.200q", path))
			}
			return nil
		case len(place) == 1 && entry.IsDir():
			return nil
		case len(place) == 2 && entry.IsDir() && (place[1] == "sha256" || place[1] == "sha512"):
			return nil
		case len(place) == 3 && !entry.IsDir():
			sum, err := parseDigest(place[1] + ":" + place[2])
			if err != nil {
				break
			}
			present[sum] = true
			if !belongs[sum] {
				strays.add(sum.String())
			}
			return l.check(ctx, r, sum, entry)
		}
		r.problem("%.200q is %s under blobs, and no file with a digest for its name", path, what(entry.Type()))
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	switch {
	case errors.As(err, &over): // the image itself is read
		r.out.Notes = append(r.out.Notes, fmt.Sprintf("not every file of the layout is looked at: %v", over))
		order = nil
	case err != nil:
		return err
	}
	for _, d := range order {
		if !present[d] && !r.blamed[d] {
			lost.add(d.String())
		}
	}
	if strays.n > 0 {
		r.out.Notes = append(r.out.Notes, fmt.Sprintf("%d files of the layout belong to nothing that index.json names, and nothing vouches for them: %s", strays.n, &strays))
	}
	if lost.n > 0 {
		r.out.Notes = append(r.out.Notes, fmt.Sprintf("%d blobs that index.json names beside the image are not in the layout: %s", lost.n, &lost))
	}
	return nil
}

// check compares one file under blobs with its name.
func (l *layout) check(ctx context.Context, r *reader, name digest, entry fs.DirEntry) error {
	if r.blamed[name] || r.hashed[content{name, false}] > 0 || r.hashed[content{name, true}] > 0 {
		return nil
	}
	info, err := entry.Info()
	if err != nil {
		return trouble("try again", "cannot read %s in the layout %.200q: %v", name, l.name, plain.Cause(err))
	}
	body, _, err := l.open(ctx, name, false)
	if isFinding(err) {
		r.problem("the blob %s: %v", name, err)
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	_, sum, err := r.sum(ctx, body, name, info.Size(), nil)
	if err != nil {
		return err
	}
	if sum != name {
		r.problem("the blob %s is not what its name says: its digest is %s", name, sum)
	}
	return nil
}

// some are the first few of many names.
type some struct {
	n     int
	first bytes.Buffer
}

func (s *some) add(name string) {
	switch s.n++; {
	case s.n == 1:
		s.first.WriteString(name)
	case s.n <= maxNamed:
		s.first.WriteString(", " + name)
	case s.n == maxNamed+1:
		s.first.WriteString(", …")
	}
}

func (s *some) String() string { return s.first.String() }
