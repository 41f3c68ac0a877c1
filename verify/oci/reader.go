package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/assaylab/assay/verify/internal/plain"
)

// A source is where an image lies: a layout or a registry.
type source interface {
	// open streams a manifest or another blob, and tells the media type that the
	// source states of it, or "". Absent content is a finding.
	open(ctx context.Context, d digest, isManifest bool) (body io.ReadCloser, served string, err error)
	// named are the descriptors by which the source knows the image; none is an
	// *Error that tells what is there.
	named(ctx context.Context, r *reader) ([]descriptor, error)
	// attached are the manifests beside the image that may hold signatures, in
	// the order of Image.Signatures.
	attached(ctx context.Context, r *reader) ([]attached, error)
	// sweep looks at what is left.
	sweep(ctx context.Context, r *reader) error
	close()
}

// attached is a manifest that is said to hold signatures of the image.
type attached struct {
	name string
	kind Kind // of layers whose media type says nothing; "" if they are no signatures
	*manifest
}

// content is what a registry serves at one place: manifests and blobs are apart.
type content struct {
	digest
	manifest bool
}

// A reader reads one image of a source and keeps the accounts.
type reader struct {
	src   source
	image digest
	out   Image

	hashed  map[content]int64    // found right, with its size
	parsed  map[digest]*manifest // manifests found right
	walked  map[digest]bool      // manifests of the image
	counted map[digest]bool      // blobs of the image
	blamed  map[digest]bool      // named in a problem
	buf     []byte

	own, others account  // of the image, and of what lies beside it
	paying      *account // one of them
	payloads    int64    // bytes read
	bytes       int64    // hashed, whatever came of it
	problems    int
	notes       int
}

// An account is what manifests have cost.
type account struct {
	descriptors int
	manifests   int64 // bytes read
}

func newReader(src source, ref Ref) *reader {
	r := &reader{
		src: src, image: ref.sum,
		out:    Image{Ref: ref.Name(), Digest: ref.sum.String()},
		hashed: map[content]int64{}, parsed: map[digest]*manifest{}, walked: map[digest]bool{}, counted: map[digest]bool{}, blamed: map[digest]bool{},
		buf: make([]byte, 128<<10),
	}
	r.paying = &r.own
	return r
}

func (r *reader) read(ctx context.Context) error {
	names, err := r.src.named(ctx, r)
	if err != nil {
		return err
	}
	for _, d := range names {
		if err := r.walk(ctx, d, "the image", 1); err != nil {
			return err
		}
	}
	if m := r.parsed[r.image]; m != nil {
		r.out.MediaType = m.mediaType
	}
	r.paying = &r.others
	beside, err := r.src.attached(ctx, r)
	if err != nil {
		return err
	}
	if err := r.collect(ctx, beside); err != nil {
		return err
	}
	return r.src.sweep(ctx, r)
}

// maxNamed is how many problems, notes and strays are named; the rest is counted.
const maxNamed = 20

func (r *reader) problem(format string, args ...any) {
	if r.problems++; r.problems <= maxNamed {
		r.out.Problems = append(r.out.Problems, fmt.Sprintf(format, args...))
	}
}

// blame is a problem with what d names.
func (r *reader) blame(d descriptor, role string, err error) {
	r.blamed[d.digest] = true
	r.problem("%s (%s): %v", role, d.digest, err)
}

// note is about material beside the image. Anyone can cause many.
func (r *reader) note(format string, args ...any) {
	if r.notes++; r.notes <= maxNamed {
		r.out.Notes = append(r.out.Notes, fmt.Sprintf(format, args...))
	}
}

// missed is a note about n signatures, or manifests that may hold some, which are
// there and are not looked at.
func (r *reader) missed(n int, format string, args ...any) {
	r.out.More += n
	r.note(format, args...)
}

func (r *reader) done() *Image {
	if more := r.problems - maxNamed; more > 0 {
		r.out.Problems = append(r.out.Problems, fmt.Sprintf("and %d more", more))
	}
	if more := r.notes - maxNamed; more > 0 {
		r.out.Notes = append(r.out.Notes, fmt.Sprintf("and %d more about material beside the image", more))
	}
	return &r.out
}

// walk reads the manifest d of the image, and what it reaches.
func (r *reader) walk(ctx context.Context, d descriptor, role string, depth int) error {
	m, err := r.manifest(ctx, d, depth)
	switch {
	case isFinding(err):
		r.blame(d, role, err)
		return nil
	case err != nil:
		return err
	case r.walked[m.digest]:
		return nil
	}
	r.walked[m.digest] = true
	r.out.Manifests++
	r.out.Size += m.size
	for i, d := range m.manifests {
		role := fmt.Sprintf("manifest %d of the index %s", i+1, m.digest)
		if isManifest(d.mediaType) {
			err = r.walk(ctx, d, role, depth+1)
		} else {
			r.note("%s (%s) is of type %.100q: it was hashed, and what it names in turn was not", role, d.digest, d.mediaType)
			err = r.blob(ctx, d, role)
		}
		if err != nil {
			return err
		}
	}
	if m.config == nil {
		return nil
	}
	if err := r.blob(ctx, *m.config, fmt.Sprintf("the config of %s", m.digest)); err != nil {
		return err
	}
	for i, d := range m.layers {
		if err := r.blob(ctx, d, fmt.Sprintf("layer %d of %s", i+1, m.digest)); err != nil {
			return err
		}
	}
	return nil
}

// blob hashes a config, a layer or other content of the image.
func (r *reader) blob(ctx context.Context, d descriptor, role string) error {
	_, err := r.hash(ctx, d, false, nil)
	switch {
	case isAbsent(err) && isForeign(d):
		r.blame(d, role, fmt.Errorf("%w; it is a foreign layer, to be fetched from elsewhere", err))
	case isFinding(err):
		r.blame(d, role, err)
	case err != nil:
		return err
	case !r.counted[d.digest]:
		r.counted[d.digest] = true
		r.out.Blobs++
		r.out.Size += d.size
	}
	return nil
}

func isForeign(d descriptor) bool {
	return d.foreign || strings.Contains(d.mediaType, ".foreign.") || strings.Contains(d.mediaType, ".nondistributable.")
}

// manifest reads a manifest or an index once, however often it is named, and
// compares each descriptor with it. What is wrong with it is a finding.
func (r *reader) manifest(ctx context.Context, d descriptor, depth int) (*manifest, error) {
	if depth > MaxDepth {
		return nil, limit("indexes are nested deeper than %d at %s", MaxDepth, d.digest)
	}
	if m := r.parsed[d.digest]; m != nil {
		if d.size >= 0 && d.size != m.size {
			return nil, sizeFinding(m.size, d.size)
		}
		if d.mediaType != "" && d.mediaType != m.mediaType {
			return nil, found("its descriptor says media type %.100q, and it is of type %s", d.mediaType, m.mediaType)
		}
		return m, nil
	}
	if err := r.pay(0, 0); err != nil {
		return nil, err // before anything is read
	}
	var raw bytes.Buffer
	served, err := r.hash(ctx, d, true, &raw)
	if over := r.pay(0, raw.Len()); err == nil {
		err = over
	}
	if err != nil {
		return nil, err
	}
	return r.parse(raw.Bytes(), d.digest, d.mediaType, served)
}

// parse takes in a manifest whose digest is known to be right.
func (r *reader) parse(raw []byte, sum digest, described, served string) (*manifest, error) {
	if m := r.parsed[sum]; m != nil {
		return m, nil
	}
	m, err := parseManifest(raw, described, served)
	if err != nil {
		return nil, err
	}
	if m.more > 0 {
		return nil, limit("a manifest has more than %d descriptors", MaxDescriptors)
	}
	m.digest = sum
	if err := r.pay(len(m.descriptors()), 0); err != nil {
		return nil, err
	}
	r.parsed[sum] = m
	return m, nil
}

// pay is called for every manifest that is read, whatever comes of it. Descriptors
// that go beyond the limit are not taken in, and cost nothing.
func (r *reader) pay(descriptors, bytes int) error {
	a := r.paying
	a.manifests += int64(bytes)
	switch {
	case a.manifests > MaxManifests:
		return limit("the manifests hold more than %d bytes together", MaxManifests)
	case a.descriptors > MaxDescriptors-descriptors:
		return limit("the manifests name more than %d descriptors together", MaxDescriptors)
	}
	a.descriptors += descriptors
	return nil
}

// hash reads content to its end, compares it with its descriptor, and copies it to
// keep, if there is one. Another size or digest is a finding.
func (r *reader) hash(ctx context.Context, d descriptor, isManifest bool, keep io.Writer) (served string, err error) {
	key := content{d.digest, isManifest}
	if size, ok := r.hashed[key]; ok && keep == nil {
		if size != d.size {
			return "", sizeFinding(size, d.size)
		}
		return "", nil
	}
	most := d.size
	if isManifest {
		if d.size > MaxManifest {
			return "", limit("the manifest %s is said to have %d bytes, more than %d", d.digest, d.size, MaxManifest)
		}
		if d.size < 0 {
			most = MaxManifest
		}
	}
	body, served, err := r.src.open(ctx, d.digest, isManifest)
	if err != nil {
		return "", err
	}
	defer body.Close()
	n, sum, err := r.sum(ctx, body, d.digest, most, keep)
	switch {
	case err != nil:
		return "", err
	case d.size < 0 && n > most:
		return "", limit("the manifest %s has more than %d bytes", d.digest, most)
	case d.size >= 0 && n > d.size:
		return "", found("it has more bytes than the %d that its descriptor says", d.size)
	case d.size >= 0 && n < d.size:
		return "", sizeFinding(n, d.size)
	case sum != d.digest:
		return "", found("its bytes are other ones: their digest is %s", sum)
	}
	r.hashed[key] = n
	return served, nil
}

// sum reads at most one byte more than most, and hashes as like does.
func (r *reader) sum(ctx context.Context, body io.Reader, like digest, most int64, keep io.Writer) (int64, digest, error) {
	if r.bytes > MaxBytes-most {
		return 0, digest{}, limit("there are more than %d bytes to hash", int64(MaxBytes))
	}
	h := like.hash()
	to := io.Writer(h)
	if keep != nil {
		to = io.MultiWriter(h, keep)
	}
	n, err := io.CopyBuffer(to, io.LimitReader(&patient{ctx, body}, most+1), r.buf)
	r.bytes += n
	if err != nil {
		var own *Error
		if !errors.As(err, &own) {
			at := like.String()
			if like.hex == "" {
				at = "a manifest"
			}
			err = trouble("try again, or read another copy", "reading %s of %s ended early: %s", at, r.out.Ref, plain.Line(err.Error()))
		}
		return 0, digest{}, err
	}
	return n, like.of(h), nil
}

func sizeFinding(has, says int64) error {
	return found("it has %d bytes, and its descriptor says %d", has, says)
}

// patient reads until the context ends.
type patient struct {
	ctx context.Context
	r   io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}
