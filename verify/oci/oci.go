// Package oci finds what was signed of an OCI image, and the signature material
// beside it, in a layout on disk or in a registry. It hashes every blob and decides
// nothing about signatures: package signature does.
//
// # What is read
//
// A [Ref] names an image by the sha256 of its manifest or index, never by a tag: a
// tag is a promise of whoever keeps the registry. [Open] reads the manifest and all
// that it reaches (the manifests of an index, nested ones too, their configs and
// layers), and compares size and digest of each with the descriptor that names it.
// A signature covers the manifest alone; only this binds the layers to it.
//
// Formats: OCI image specification 1.1 (manifest, index, image layout), OCI
// distribution specification 1.1 (manifests, blobs, referrers), Docker image
// manifest version 2, schema 2; cosign's tags and its layout ("cosign save").
//
// # What is refused
//
// Anything wrong with the image is a line in [Image].Problems, and an image with
// problems is refused: a blob that is missing, is of another size or digest, is a
// link or a FIFO; a manifest that cannot be read, has a key twice or in another
// letter case, is an index and an image at once, or is of another media type than
// its descriptor or its registry says; a foreign layer that is fetched from
// elsewhere. In a layout every file under blobs/ must hash to its name, whoever it
// belongs to: somebody changed this layout.
//
// # Signature material
//
// Candidates are the layers of a known media type (see [Kind]) of, in this order,
//
//  1. the manifest at the tag sha256-HEX.sig,
//  2. the manifest at the tag sha256-HEX.att,
//  3. each manifest whose own subject is the image, by digest: what the referrers
//     API and the fallback tag sha256-HEX list. What the list says of an entry
//     besides its digest, size and media type is not believed.
//
// In a layout tags are annotations org.opencontainers.image.ref.name, or the kinds
// that "cosign save" writes beside an image; referrers are looked for among all
// manifests of index.json and of the indexes inside it.
//
// Anyone who can push to a repository can put material beside an image. So material
// that is missing, tampered with or about another image does not refuse the image:
// it is no candidate, and a line in [Image].Notes says so. An image whose only
// signature is lost that way has no signature, and whoever requires one refuses it.
// The same holds for other images in the same layout, unless a blob is there and is
// not what its name says.
//
// # Network
//
// An image in a layout is read without network. In a registry the connection is
// anonymous unless [Options].Keychain is set, and HTTPS unless the registry is on a
// loopback address or [Options].PlainHTTP is set. Bodies are bounded, redirects and
// retries are few, and none leads from a public host to a private address; a
// connection on which nothing comes for a minute is given up. Proxies are those of
// the environment (HTTPS_PROXY and its like).
//
// # Errors
//
// [*Error]: the image cannot be read or is not there. [*LimitError]: a limit below
// leaves the question open. What ctx ended is ctx's error. In each case there is no
// Image.
package oci

import (
	"context"
	"fmt"
)

// Limits. More of anything is a [*LimitError].
const (
	MaxManifest    = 4 << 20   // bytes of a manifest, an index, or a page of a list
	MaxManifests   = 16 << 20  // bytes of all manifests
	MaxDepth       = 8         // indexes inside each other, the innermost manifest included
	MaxDescriptors = 10_000    // descriptors in all manifests; also files of a layout
	MaxCandidates  = 256       // signatures
	MaxPayload     = 16 << 20  // bytes of a signature's payload
	MaxPayloads    = 128 << 20 // bytes of all payloads
	MaxBytes       = 64 << 30  // bytes hashed
)

// Options say what a registry may be asked. The zero value is the strictest, and
// right for a layout.
type Options struct {
	// Keychain allows credentials: those of Docker's and Podman's configuration
	// files in the home directory and at $DOCKER_CONFIG and $REGISTRY_AUTH_FILE,
	// whose credential helpers are programs that then run.
	Keychain bool
	// PlainHTTP allows a connection without TLS to a registry that is not on a
	// loopback address. Digests still bind the content; credentials are exposed.
	PlainHTTP bool
}

// An Image is what a [Ref] names, read whole. The same image has the same Digest,
// MediaType, Manifests, Blobs and Size in a layout and in a registry.
type Image struct {
	Ref        string      `json:"ref"`        // as [Ref.Name] gives it
	Digest     string      `json:"digest"`     // sha256:HEX
	MediaType  string      `json:"media_type"` // of the manifest or index that Digest names
	Manifests  int         `json:"manifests"`  // read and found right, indexes among them
	Blobs      int         `json:"blobs"`      // configs and layers, each counted once, found right
	Size       int64       `json:"size"`       // bytes of both
	Problems   []string    `json:"problems,omitempty"`
	Notes      []string    `json:"notes,omitempty"`
	Signatures []Signature `json:"signatures,omitempty"`
}

// OK says that the image is whole: everything it reaches is there, and is what its
// descriptor says. It says nothing about signatures. The zero Image is not OK.
func (i *Image) OK() bool { return i.Manifests > 0 && len(i.Problems) == 0 }

// A Kind says how a [Signature] is written.
type Kind string

const (
	// SimpleSigning: Payload is the signed JSON (application/vnd.dev.cosign.simplesigning.v1+json,
	// whose critical.image.docker-manifest-digest names the image). The signature and
	// what vouches for it are annotations: dev.cosignproject.cosign/signature and
	// dev.sigstore.cosign/{certificate,chain,bundle,rfc3161timestamp}.
	SimpleSigning Kind = "simplesigning"
	// Envelope: Payload is a DSSE envelope (application/vnd.dsse.envelope.v1+json), as
	// a rule with an in-toto statement; annotations as for SimpleSigning.
	Envelope Kind = "dsse"
	// Bundle: Payload is a sigstore bundle of any version (application/vnd.dev.sigstore.bundle…).
	Bundle Kind = "bundle"
)

// A Signature is a candidate: material that somebody put beside an image. Nothing
// of it has been verified but that Payload has Digest.
type Signature struct {
	Name        string            `json:"name"` // where it was found
	Kind        Kind              `json:"kind"`
	MediaType   string            `json:"media_type"`
	Digest      string            `json:"digest"` // of Payload
	Payload     []byte            `json:"-"`      // at most MaxPayload bytes
	Annotations map[string]string `json:"-"`      // of the layer's descriptor
}

// Open reads the image that ref names, and the signature material beside it. An
// image that is not what it should be is no error: see [Image.OK].
func Open(ctx context.Context, ref Ref, opts Options) (*Image, error) {
	if ref.registry == nil && ref.dir == "" {
		return nil, trouble(refHint, "no image is named")
	}
	src, err := open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	defer src.close()
	r := newReader(src, ref)
	if err := r.read(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reading %s: %w", ref.Name(), ctx.Err())
		}
		return nil, err
	}
	return r.done(), nil
}

func open(ctx context.Context, ref Ref, opts Options) (source, error) {
	if ref.registry != nil {
		return openRegistry(ctx, ref, opts)
	}
	return openLayout(ref)
}
