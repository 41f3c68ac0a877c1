package oci

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify/internal/plain"
)

// Names and media types by which cosign stores signatures.
const (
	signatureSuffix   = ".sig"
	attestationSuffix = ".att"

	signatureArtifact   = "application/vnd.dev.cosign.artifact.sig.v1+json"
	attestationArtifact = "application/vnd.dev.cosign.artifact.att.v1+json"

	simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelopeType      = "application/vnd.dsse.envelope.v1+json"
	inTotoType        = "application/vnd.in-toto+json" // an envelope too
	// Of …bundle.v0.3+json, …bundle+json;version=0.2 and their like.
	bundlePrefix = "application/vnd.dev.sigstore.bundle"
)

// kindOf tells a signature by the media type of its layer, or is empty.
func kindOf(mediaType string) Kind {
	switch {
	case mediaType == simpleSigningType:
		return SimpleSigning
	case mediaType == envelopeType, mediaType == inTotoType:
		return Envelope
	case strings.HasPrefix(mediaType, bundlePrefix):
		return Bundle
	}
	return ""
}

// kindOfArtifact is the kind of the layers of a referrer for which any of the types
// is named. cosign verifies such signatures; such attestations it only writes.
func kindOfArtifact(types ...string) Kind {
	switch {
	case slices.Contains(types, signatureArtifact):
		return SimpleSigning
	case slices.Contains(types, attestationArtifact):
		return Envelope
	}
	return ""
}

// isNotary says whether a layer is a signature of the Notary Project (its
// specification, signature-specification.md): others verify it.
func (m *manifest) isNotary(layer descriptor) bool {
	return slices.Contains(m.types(), "application/vnd.cncf.notary.signature") ||
		layer.mediaType == "application/jose+json" || layer.mediaType == "application/cose"
}

// readable is m, or nil if err says that m cannot be read. Whatever is there could
// hold signatures for a reader that is less strict.
func (r *reader) readable(name string, m *manifest, err error) (*manifest, error) {
	switch {
	case err == nil:
		return m, nil
	case isAbsent(err):
		r.note("%s is no candidate: %v", name, err)
	case ofContent(err):
		r.missed(1, "%s is there and is not looked into: %v", name, err)
	default:
		return nil, err
	}
	return nil, nil
}

// beside reads a manifest beside the image, or none. Only its digest is believed.
func (r *reader) beside(ctx context.Context, name string, sum digest, depth int) (*manifest, error) {
	m, err := r.manifest(ctx, descriptor{digest: sum, size: -1}, depth)
	return r.readable(name, m, err)
}

// referrers are the manifests of list, by digest.
func (r *reader) referrers(ctx context.Context, list []descriptor) ([]attached, error) {
	var order []digest
	types := map[digest][]string{} // as the list says, which cosign believes
	for _, d := range list {
		if types[d.digest] == nil {
			order = append(order, d.digest)
		}
		types[d.digest] = append(types[d.digest], d.artifactType)
	}
	slices.SortFunc(order, func(a, b digest) int { return strings.Compare(a.String(), b.String()) })
	var all []attached
	for _, sum := range order {
		name := "referrer " + sum.String()
		m, err := r.beside(ctx, name, sum, 1)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		if m.subject == nil || m.subject.digest != r.image {
			r.note("%s is listed, and its subject is not this image", name)
		}
		all = append(all, attached{name, kindOfArtifact(append(types[sum], m.types()...)...), m})
	}
	return all, nil
}

// types are what a referrer says it is.
func (m *manifest) types() []string {
	if m.config == nil {
		return []string{m.artifactType}
	}
	return []string{m.artifactType, m.config.mediaType}
}

// images are a itself, or the images inside it if it is an index: cosign takes the
// one for its platform.
func (r *reader) images(ctx context.Context, a attached, depth int, seen map[digest]bool) ([]attached, error) {
	if a.config != nil {
		return []attached{a}, nil
	}
	var all []attached
	for _, d := range a.manifests {
		if seen[d.digest] {
			continue
		}
		seen[d.digest] = true
		m, err := r.beside(ctx, fmt.Sprintf("%s (%s)", a.name, d.digest), d.digest, depth+1)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		kind := a.kind
		if kind == "" {
			kind = kindOfArtifact(append(m.types(), d.artifactType)...)
		}
		inside, err := r.images(ctx, attached{a.name, kind, m}, depth+1, seen)
		if err != nil {
			return nil, err
		}
		all = append(all, inside...)
	}
	return all, nil
}

// collect takes in the candidates of all that is attached to the image.
func (r *reader) collect(ctx context.Context, beside []attached) error {
	var all []attached
	names := map[string]map[digest]bool{}
	for _, a := range beside {
		inside, err := r.images(ctx, a, 1, map[digest]bool{})
		if err != nil {
			return err
		}
		if len(inside) == 0 {
			r.note("%s (%s) is an index without a manifest to look into", a.name, a.digest)
		}
		for _, a := range inside {
			if names[a.name] == nil {
				names[a.name] = map[digest]bool{}
			}
			names[a.name][a.digest] = true
			all = append(all, a)
		}
	}
	type place struct {
		manifest digest
		layer    int
		kind     Kind
	}
	seen := map[place]bool{}
	looked := map[digest]bool{}
	var others some
	more := 0
	for _, a := range all {
		name := a.name
		if len(names[name]) > 1 {
			name = fmt.Sprintf("%s (%s)", name, a.digest)
		}
		n := 0
		for i, d := range a.layers {
			kind := kindOf(d.mediaType)
			if kind == "" {
				kind = a.kind
			}
			if kind == "" && a.isNotary(d) {
				kind = Other
			}
			if kind == "" {
				continue
			}
			n++
			at := place{a.digest, i, kind}
			switch {
			case seen[at]:
				continue
			case len(r.out.Signatures) == MaxCandidates:
				more++
			default:
				s := Signature{MediaType: plain.Line(d.mediaType), Digest: d.digest.String(), Unread: "it is of the Notary Project, whose signatures are not verified here"}
				if kind != Other {
					var err error
					if s, err = r.signature(ctx, d); err != nil {
						return err
					}
				}
				s.Name, s.Kind = fmt.Sprintf("%s, layer %d", name, i+1), kind
				r.out.Signatures = append(r.out.Signatures, s)
			}
			seen[at] = true
		}
		switch {
		case n > 0 || looked[a.digest]:
		case a.kind == "":
			others.add(a.digest.String())
		default:
			r.note("%s (%s) has no layers, and so no signature", name, a.digest)
		}
		looked[a.digest] = true
	}
	if more > 0 {
		r.missed(more, "there are %d more signatures beside the image than the %d that are looked at", more, MaxCandidates)
	}
	if others.n > 0 {
		r.note("%d referrers of the image are of other types, and are not looked into: %s", others.n, &others)
	}
	return nil
}

// signature reads the payload of a candidate.
func (r *reader) signature(ctx context.Context, d descriptor) (Signature, error) {
	s := Signature{MediaType: plain.Line(d.mediaType), Digest: d.digest.String(), Annotations: d.annotations}
	switch {
	case d.size > MaxPayload:
		s.Unread = fmt.Sprintf("it is said to have %d bytes, more than %d", d.size, MaxPayload)
		return s, nil
	case d.size > MaxPayloads-r.payloads:
		s.Unread = fmt.Sprintf("with it the signatures beside the image have more than %d bytes together", MaxPayloads)
		return s, nil
	}
	payload := bytes.NewBuffer([]byte{}) // not nil if it is empty
	_, err := r.hash(ctx, d, false, payload)
	r.payloads += int64(payload.Len())
	switch {
	case err == nil:
		s.Payload = payload.Bytes()
	case ofContent(err):
		s.Unread = plain.Line(err.Error())
	default:
		return s, err
	}
	return s, nil
}
