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
// Candidates are layers of, in this order,
//
//  1. the manifest at the tag sha256-HEX.sig,
//  2. the manifest at the tag sha256-HEX.att,
//  3. each manifest that refers to the image: in a registry what the referrers API
//     and the fallback tag sha256-HEX list, in a layout those whose own subject is
//     the image. Of what a list says of an entry its digest is used, and an
//     artifactType that says signature.
//
// An index in one of these places stands for every manifest inside it. A layer of a
// known media type (see [Kind]) is a candidate of that kind wherever it is found.
// cosign takes a layer of any type at its tags, and so every other layer is a
// candidate there too: [SimpleSigning] at .sig and in a referrer of the type
// application/vnd.dev.cosign.artifact.sig.v1+json, [Envelope] at .att and in one of
// ….att.v1+json. Referrers of other types (SBOMs) are counted in a note.
//
// In a layout tags are annotations org.opencontainers.image.ref.name, or the kinds
// that "cosign save" writes beside an image; referrers are looked for among all
// manifests of index.json and of the indexes inside it.
//
// Anyone who can push to a repository can put material beside an image. So nothing
// of it refuses the image or leaves it undecided, and nothing of it is passed over
// in silence: a candidate whose payload is missing, tampered with or over a limit is
// among [Image].Signatures with the reason why it is Unread; what is left out there,
// and each manifest that is there and cannot be read, is counted in [Image].More; a
// manifest that is not there is a line in [Image].Notes. Who demands one signature
// looks at the payloads; who demands that nobody else has signed must see none
// Unread and no More. In a layout, other images are beside the image too; but a blob
// that is there and is not what its name says refuses the layout.
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
// leaves the question open whether the image is whole. What ctx ended is ctx's
// error. In each case there is no Image.
package oci

import (
	"context"
	"fmt"
	"os"
)

// Limits. More of anything in what the digest itself reaches is a [*LimitError]. The
// manifests beside the image have the same limits once more, for all of them
// together; more than those is counted in [Image].More.
const (
	MaxManifest    = 4 << 20  // bytes of a manifest, an index, or a page of a list
	MaxManifests   = 16 << 20 // bytes of all manifests
	MaxDepth       = 8        // indexes inside each other, the innermost manifest included
	MaxDescriptors = 10_000   // descriptors in all manifests; also files of a layout that are hashed
	MaxBytes       = 64 << 30 // bytes hashed
)

// Limits on signature material. No error comes of them.
const (
	MaxCandidates = 256       // signatures; the others are counted in [Image].More
	MaxPayload    = 16 << 20  // bytes of a signature's payload; of a larger one [Signature].Unread says so
	MaxPayloads   = 128 << 20 // bytes read of all payloads; likewise
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
	// More is how many signatures, and manifests that may hold some, lie beside the
	// image and are not among Signatures; 0: all are.
	More int `json:"more,omitempty"`
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
	// Envelope: Payload is a DSSE envelope (application/vnd.dsse.envelope.v1+json or
	// application/vnd.in-toto+json), as a rule with an in-toto statement; annotations
	// as for SimpleSigning.
	Envelope Kind = "dsse"
	// Other: a signature of another tool. It is Unread.
	Other Kind = "other"
	// Bundle: Payload is a sigstore bundle of any version (application/vnd.dev.sigstore.bundle…).
	Bundle Kind = "bundle"
)

// A Signature is a candidate: material that somebody put beside an image. Nothing
// of it has been verified but that Payload has Digest, unless it is Unread.
type Signature struct {
	Name        string            `json:"name"`             // where it was found; no two of an image have the same
	Kind        Kind              `json:"kind"`             // never empty
	MediaType   string            `json:"media_type"`       // of the layer, which says any; one line
	Digest      string            `json:"digest"`           // of Payload
	Unread      string            `json:"unread,omitempty"` // why there is no Payload
	Payload     []byte            `json:"-"`                // at most MaxPayload bytes; nil if Unread
	Annotations map[string]string `json:"-"`                // of the layer's descriptor
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
	return read(ctx, src, ref)
}

func open(ctx context.Context, ref Ref, opts Options) (source, error) {
	if ref.registry != nil {
		return openRegistry(ctx, ref, opts)
	}
	return openLayout(ref)
}

// OpenRoot is [Open] for a layout that is open already: root is its directory,
// whatever the path in ref leads to by now, and stays open. ref, which names a
// layout, says which image, and names the layout in the answer.
func OpenRoot(ctx context.Context, root *os.Root, ref Ref) (*Image, error) {
	if ref.dir == "" {
		return nil, trouble(refHint, "no image in a layout is named")
	}
	src, err := openRoot(root, ref)
	if err != nil {
		return nil, err
	}
	return read(ctx, src, ref)
}

func read(ctx context.Context, src source, ref Ref) (*Image, error) {
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
