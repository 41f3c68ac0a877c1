package oci

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Names and media types by which cosign stores signatures.
const (
	signatureSuffix   = ".sig"
	attestationSuffix = ".att"

	simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelopeType      = "application/vnd.dsse.envelope.v1+json"
	// Of …bundle.v0.3+json, …bundle+json;version=0.2 and their like.
	bundlePrefix = "application/vnd.dev.sigstore.bundle"
)

// kindOf tells a signature by the media type of its layer, as cosign does: the
// artifactType of the manifest around it differs between versions of one tool.
func kindOf(mediaType string) Kind {
	switch {
	case mediaType == simpleSigningType:
		return SimpleSigning
	case mediaType == envelopeType:
		return Envelope
	case strings.HasPrefix(mediaType, bundlePrefix):
		return Bundle
	}
	return ""
}

// collect takes in the candidates of one manifest.
func (r *reader) collect(ctx context.Context, a attached) error {
	others := 0
	for i, d := range a.layers {
		kind := kindOf(d.mediaType)
		if kind == "" {
			others++
			continue
		}
		at := fmt.Sprintf("%s, layer %d", a.name, i+1)
		if len(r.out.Signatures) == MaxCandidates {
			return limit("there are more than %d signatures beside the image", MaxCandidates)
		}
		if d.size > MaxPayload {
			return limit("%s is said to have %d bytes, more than %d", at, d.size, MaxPayload)
		}
		if r.payloads += d.size; r.payloads > MaxPayloads {
			return limit("the signatures beside the image have more than %d bytes together", MaxPayloads)
		}
		var payload bytes.Buffer
		_, err := r.hash(ctx, d, false, &payload)
		if isFinding(err) {
			r.note("%s (%s) is no candidate: %v", at, d.digest, err)
			continue
		}
		if err != nil {
			return err
		}
		r.out.Signatures = append(r.out.Signatures, Signature{
			Name: at, Kind: kind, MediaType: d.mediaType, Digest: d.digest.String(),
			Payload: payload.Bytes(), Annotations: d.annotations,
		})
	}
	switch {
	case a.config == nil:
		r.note("%s (%s) is an index and holds no signature", a.name, a.digest)
	case others == len(a.layers) && !strings.HasPrefix(a.name, referrerName): // referrers may be anything
		r.note("%s (%s) holds no signature of a known media type", a.name, a.digest)
	}
	return nil
}

// referrerName begins the name of a referrer.
const referrerName = "referrer "

// referrers are those of list whose own subject is the image, by digest.
func (r *reader) referrers(ctx context.Context, list []descriptor) ([]attached, error) {
	var all []attached
	seen := map[digest]bool{r.image: true}
	for _, d := range list {
		if seen[d.digest] {
			continue
		}
		seen[d.digest] = true
		name := referrerName + d.digest.String()
		m, err := r.manifest(ctx, d, 1)
		switch {
		case isFinding(err):
			r.note("%s is no candidate: %v", name, err)
		case err != nil:
			return nil, err
		case m.subject == nil || m.subject.digest != r.image:
			r.note("%s is no candidate: its subject is not this image", name)
		default:
			all = append(all, attached{name, m})
		}
	}
	slices.SortFunc(all, func(a, b attached) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// distinct drops manifests that were found by an earlier name.
func distinct(all []attached) []attached {
	seen := map[digest]bool{}
	return slices.DeleteFunc(all, func(a attached) bool {
		was := seen[a.digest]
		seen[a.digest] = true
		return was
	})
}
