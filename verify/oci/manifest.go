package oci

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/assaylab/assay/verify/internal/strictjson"

	"github.com/assaylab/assay/verify/internal/plain"
)

// Media types of manifests.
const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

func isImage(mediaType string) bool    { return mediaType == ociManifest || mediaType == dockerManifest }
func isIndex(mediaType string) bool    { return mediaType == ociIndex || mediaType == dockerIndex }
func isManifest(mediaType string) bool { return isImage(mediaType) || isIndex(mediaType) }

// maxKeys bounds the keys of one JSON object: a map of annotations has some ten.
const maxKeys = 1000

// A digest is a content digest in its one spelling, lower-case hexadecimal.
type digest struct{ alg, hex string }

func (d digest) String() string { return d.alg + ":" + d.hex }

func (d digest) tag() string { return d.alg + "-" + d.hex }

func (d digest) hash() hash.Hash {
	if d.alg == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

func (d digest) of(h hash.Hash) digest { return digest{d.alg, hex.EncodeToString(h.Sum(nil))} }

func parseDigest(s string) (digest, error) {
	alg, digits, _ := strings.Cut(s, ":")
	want := 0
	switch alg {
	case "sha256":
		want = 64
	case "sha512":
		want = 128
	}
	if want == 0 || len(digits) != want || strings.Trim(digits, "0123456789abcdef") != "" {
		return digest{}, fmt.Errorf("%.150q is not sha256: and 64, or sha512: and 128 digits 0-9a-f", s)
	}
	return digest{alg, digits}, nil
}

// A descriptor names content (OCI image specification, descriptor.md).
type descriptor struct {
	mediaType   string
	digest      digest
	size        int64 // bytes; -1: not stated
	foreign     bool  // has urls: the content may be elsewhere
	annotations map[string]string

	artifactType string // of the manifest that it names, as whoever wrote the descriptor says
}

// A manifest is an image manifest or an index, with what assay needs of it.
type manifest struct {
	digest    digest
	size      int64
	mediaType string
	config    *descriptor  // of an image
	layers    []descriptor // of an image
	manifests []descriptor // of an index
	subject   *descriptor  // nil: none
	more      int          // descriptors left out, beyond MaxDescriptors

	artifactType string
}

// descriptors are all that m reaches: its config and layers, or its manifests.
func (m *manifest) descriptors() []descriptor {
	if m.config == nil {
		return m.manifests
	}
	return append([]descriptor{*m.config}, m.layers...)
}

// parseManifest reads an image manifest or an index. The media types are those that
// name it: of its descriptor, and of the reply of a registry. Empty ones and, from
// a registry, such as are of no manifest say nothing; the others and the manifest's
// own must agree. Errors are findings.
func parseManifest(raw []byte, described, served string) (*manifest, error) {
	m := &manifest{size: int64(len(raw))}
	if err := m.parse(raw, described, served); err != nil {
		return nil, found("it cannot be read as a manifest: %s", plain.Line(err.Error()))
	}
	return m, nil
}

func (m *manifest) parse(raw []byte, described, served string) error {
	if !utf8.Valid(raw) {
		return errors.New("it is not UTF-8")
	}
	n := 0 // descriptors
	list := func(into *[]descriptor) func([]byte) error {
		return func(v []byte) error {
			*into = []descriptor{} // there, if empty
			dec := json.NewDecoder(bytes.NewReader(v))
			return strictjson.ReadArray(dec, math.MaxInt, func() error {
				if n++; n > MaxDescriptors {
					m.more++
					return strictjson.Skip(dec)
				}
				var v json.RawMessage
				if err := dec.Decode(&v); err != nil {
					return err
				}
				d, err := parseDescriptor(v)
				if err != nil {
					return fmt.Errorf("entry %d: %w", len(*into)+1, err)
				}
				*into = append(*into, d)
				return nil
			})
		}
	}
	one := func(into **descriptor) func([]byte) error {
		return func(v []byte) error {
			d, err := parseDescriptor(v)
			*into = &d
			return err
		}
	}
	old := func([]byte) error {
		return errors.New("that is of a format without digests, or of none (Docker's schema 1, an early draft)")
	}
	version, own := 0, ""
	err := object(raw, map[string]func([]byte) error{
		"schemaVersion": func(v []byte) error { return json.Unmarshal(v, &version) },
		"mediaType":     func(v []byte) error { return json.Unmarshal(v, &own) },
		"config":        one(&m.config),
		"layers":        list(&m.layers),
		"manifests":     list(&m.manifests),
		"subject":       one(&m.subject),
		"artifactType":  func(v []byte) error { return json.Unmarshal(v, &m.artifactType) },
		"fsLayers":      old,
		"blobs":         old,
	})
	switch {
	case err != nil:
		return err
	case version != 2:
		return fmt.Errorf("its schemaVersion is %d, not 2", version)
	}
	if m.mediaType, err = agree(described, served, own); err != nil {
		return err
	}
	image := m.config != nil || m.layers != nil
	switch {
	case image && m.manifests != nil:
		return errors.New("it is an index and an image at once: one reader runs other content than the next")
	case m.mediaType == "" && image:
		m.mediaType = ociManifest
	case m.mediaType == "" && m.manifests != nil:
		m.mediaType = ociIndex
	}
	switch {
	case isImage(m.mediaType) && m.config != nil && m.layers != nil:
	case isIndex(m.mediaType) && m.manifests != nil:
	case isImage(m.mediaType):
		return fmt.Errorf("it is of type %s and has no config or no layers", m.mediaType)
	default:
		return fmt.Errorf("it is of type %.100q and has no manifests", m.mediaType)
	}
	return nil
}

// agree is the one media type that descriptor, registry and manifest name.
func agree(described, served, own string) (string, error) {
	if described != "" && !isManifest(described) {
		return "", fmt.Errorf("its descriptor says %.100q, which is not a manifest that assay reads", described)
	}
	if !isManifest(served) {
		served = "" // a file server does not know
	}
	mediaType, first := "", ""
	for _, s := range []struct{ who, says string }{{"its descriptor", described}, {"the registry", served}, {"the manifest itself", own}} {
		switch {
		case s.says == "":
		case mediaType == "":
			mediaType, first = s.says, s.who
		case mediaType != s.says:
			return "", fmt.Errorf("%s says media type %.100q, and %s says %.100q", first, mediaType, s.who, s.says)
		}
	}
	return mediaType, nil
}

func parseDescriptor(raw []byte) (descriptor, error) {
	d := descriptor{}
	sum, data := "", ""
	var size *int64
	err := object(raw, map[string]func([]byte) error{
		"mediaType":    func(v []byte) error { return json.Unmarshal(v, &d.mediaType) },
		"digest":       func(v []byte) error { return json.Unmarshal(v, &sum) },
		"size":         func(v []byte) error { return json.Unmarshal(v, &size) },
		"data":         func(v []byte) error { return json.Unmarshal(v, &data) },
		"artifactType": func(v []byte) error { return json.Unmarshal(v, &d.artifactType) },
		"urls": func(v []byte) error {
			dec := json.NewDecoder(bytes.NewReader(v))
			return strictjson.ReadArray(dec, maxKeys, func() error {
				d.foreign = true
				return strictjson.Skip(dec)
			})
		},
		"annotations": func(v []byte) (err error) {
			d.annotations, err = parseAnnotations(v)
			return err
		},
	})
	if err != nil {
		return d, err
	}
	if d.digest, err = parseDigest(sum); err != nil {
		return d, fmt.Errorf("its digest: %w", err)
	}
	switch {
	case d.mediaType == "":
		return d, errors.New("it has no mediaType")
	case size == nil:
		return d, errors.New("it has no size")
	case *size < 0:
		return d, fmt.Errorf("its size is %d", *size)
	}
	d.size = *size
	if data == "" {
		return d, nil
	}
	// A reader may take the content from here.
	b, err := base64.StdEncoding.Strict().DecodeString(data)
	h := d.digest.hash()
	h.Write(b)
	if err != nil || int64(len(b)) != d.size || d.digest.of(h) != d.digest {
		return d, errors.New("its data is not what its digest and size say")
	}
	return d, nil
}

func parseAnnotations(raw []byte) (map[string]string, error) {
	m := map[string]string{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		var value string
		if err := dec.Decode(&value); err != nil {
			return err
		}
		m[key] = value
		return nil
	})
	return m, err
}

// object reads one JSON object and nothing after it. Values that are null are
// absent. A known key in another letter case is refused: some readers take it.
func object(raw []byte, known map[string]func([]byte) error) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return err
		}
		read, ok := known[key]
		if !ok {
			for k := range known {
				if strings.EqualFold(k, key) {
					return fmt.Errorf("the key %.40q is %q in another letter case", key, k)
				}
			}
			return nil
		}
		if string(v) == "null" {
			return nil
		}
		if err := read(v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}
