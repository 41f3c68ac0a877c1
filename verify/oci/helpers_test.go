package oci_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assaylab/assay/verify/oci"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	simpleType   = "application/vnd.dev.cosign.simplesigning.v1+json"
	dsseType     = "application/vnd.dsse.envelope.v1+json"
	bundleType   = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A piece is signature material: a manifest of one layer.
type piece struct {
	mediaType, payload string
	artifactType       string
	annotations        map[string]string
}

func (p piece) image(t testing.TB) v1.Image {
	t.Helper()
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer: static.NewLayer([]byte(p.payload), types.MediaType(p.mediaType)), MediaType: types.MediaType(p.mediaType), Annotations: p.annotations,
	})
	check(t, err)
	if p.artifactType != "" {
		img = mutate.ConfigMediaType(img, types.MediaType(p.artifactType))
	}
	return img
}

var (
	sigPiece    = piece{mediaType: simpleType, payload: `{"critical":{}}`, annotations: map[string]string{"dev.cosignproject.cosign/signature": "MEUC"}}
	attPiece    = piece{mediaType: dsseType, payload: `{"payloadType":"application/vnd.in-toto+json"}`}
	bundlePiece = piece{mediaType: bundleType, payload: `{"mediaType":"` + bundleType + `"}`, artifactType: bundleType}
	sigReferrer = piece{mediaType: simpleType, payload: `{"critical":{"by":"referrer"}}`, artifactType: "application/vnd.dev.cosign.artifact.sig.v1+json"}
)

// refer makes img a referrer of the image.
func refer(t testing.TB, img v1.Image, to partial) v1.Image {
	t.Helper()
	mediaType := must(to.MediaType())(t)
	size := must(to.Size())(t)
	d := must(to.Digest())(t)
	return mutate.Subject(img, v1.Descriptor{MediaType: mediaType, Size: size, Digest: d}).(v1.Image)
}

type partial interface {
	MediaType() (types.MediaType, error)
	Size() (int64, error)
	Digest() (v1.Hash, error)
}

func randomImage(t testing.TB, layers int64) v1.Image {
	t.Helper()
	return mutate.MediaType(must(random.Image(3000, layers))(t), types.OCIManifestSchema1)
}

// A bench is a layout to work on.
type bench struct {
	t     testing.TB
	dir   string
	image v1.Image
}

// newBench writes an image of three layers, with a signature, an attestation and two
// referrers.
func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t, filepath.Join(t.TempDir(), "layout"), randomImage(t, 3)}
	path := must(layout.Write(b.dir, empty.Index))(t)
	check(t, path.AppendImage(b.image))
	tag := strings.Replace(b.digest(), ":", "-", 1)
	for suffix, p := range map[string]piece{".sig": sigPiece, ".att": attPiece} {
		check(t, path.AppendImage(p.image(t), layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag + suffix})))
	}
	check(t, path.AppendImage(refer(t, bundlePiece.image(t), b.image)))
	check(t, path.AppendImage(refer(t, sigReferrer.image(t), b.image)))
	return b
}

func (b *bench) digest() string { return must(b.image.Digest())(b.t).String() }

func (b *bench) manifest() *v1.Manifest { return must(b.image.Manifest())(b.t) }

// path is that of the file of a blob.
func (b *bench) path(digest string) string {
	return filepath.Join(b.dir, "blobs", filepath.FromSlash(strings.Replace(digest, ":", "/", 1)))
}

func (b *bench) layer(n int) string { return b.path(b.manifest().Layers[n].Digest.String()) }

// put writes a blob and returns its descriptor.
func (b *bench) put(content, mediaType string) map[string]any {
	b.t.Helper()
	d := describe([]byte(content), mediaType)
	check(b.t, os.WriteFile(b.path(d["digest"].(string)), []byte(content), 0o644))
	return d
}

// putManifest writes a manifest and returns its descriptor.
func (b *bench) putManifest(mediaType string, fields map[string]any) map[string]any {
	b.t.Helper()
	return b.put(encode(b.t, mediaType, fields), mediaType)
}

func encode(t testing.TB, mediaType string, fields map[string]any) string {
	t.Helper()
	all := map[string]any{"schemaVersion": 2, "mediaType": mediaType}
	for k, v := range fields {
		all[k] = v
	}
	return string(must(json.Marshal(all))(t))
}

func describe(content []byte, mediaType string) map[string]any {
	sum := sha256.Sum256(content)
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + hex.EncodeToString(sum[:]), "size": len(content)}
}

func annotated(d map[string]any, key, value string) map[string]any {
	d["annotations"] = map[string]string{key: value}
	return d
}

// setIndex replaces index.json.
func (b *bench) setIndex(entries ...any) {
	b.t.Helper()
	check(b.t, os.WriteFile(filepath.Join(b.dir, "index.json"), []byte(encode(b.t, indexType, map[string]any{"manifests": entries})), 0o644))
}

// addIndex adds entries to index.json.
func (b *bench) addIndex(entries ...any) {
	b.t.Helper()
	b.setIndex(append(b.index(), entries...)...)
}

func (b *bench) index() []any {
	b.t.Helper()
	var index struct{ Manifests []any }
	check(b.t, json.Unmarshal(must(os.ReadFile(filepath.Join(b.dir, "index.json")))(b.t), &index))
	return index.Manifests
}

// flip changes one bit of a file.
func flip(t testing.TB, path string, at int) {
	t.Helper()
	content := must(os.ReadFile(path))(t)
	content[at] ^= 1
	check(t, os.WriteFile(path, content, 0o644))
}

func parse(t testing.TB, arg string) oci.Ref {
	t.Helper()
	ref, is, err := oci.ParseRef(arg)
	if !is || err != nil {
		t.Fatalf("ParseRef(%q) = %v, %v", arg, is, err)
	}
	return ref
}

func (b *bench) open() (*oci.Image, error) { return b.openAs(b.digest()) }

func (b *bench) openAs(digest string) (*oci.Image, error) {
	b.t.Helper()
	return oci.Open(b.t.Context(), parse(b.t, "oci:"+b.dir+"@"+digest), oci.Options{})
}

// names are the kinds and payloads of the candidates, in order.
func names(img *oci.Image) string {
	var b strings.Builder
	for _, s := range img.Signatures {
		payload := string(bytes.TrimSpace(s.Payload))
		switch {
		case s.Unread != "":
			payload = "unread: " + s.Unread
		case !utf8.ValidString(payload):
			payload = "binary"
		}
		b.WriteString(string(s.Kind) + " " + s.Name + " " + payload + "\n")
	}
	return b.String()
}

// outcome is what a test says of an answer: "ok", or where it went and the words.
// An image beside which not everything was read is "ok (1 unread, 0 more)".
func outcome(img *oci.Image, err error) string {
	var trouble *oci.Error
	var limit *oci.LimitError
	switch {
	case errors.As(err, &limit):
		return "limit: " + limit.Msg
	case errors.As(err, &trouble):
		return "error: " + trouble.Msg + " (" + trouble.Hint + ")"
	case err != nil:
		return "other: " + err.Error()
	case !img.OK():
		return "refused: " + strings.Join(img.Problems, "\n")
	}
	ok, unread := "ok", 0
	for _, s := range img.Signatures {
		if s.Unread != "" {
			unread++
		}
	}
	if unread > 0 || img.More > 0 {
		ok = fmt.Sprintf("ok (%d unread, %d more)", unread, img.More)
	}
	if len(img.Notes) > 0 {
		ok += ": " + strings.Join(img.Notes, "\n")
	}
	return ok
}
