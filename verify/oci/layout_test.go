package oci_test

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	cosignlayout "github.com/sigstore/cosign/v2/pkg/oci/layout"
	cosignmutate "github.com/sigstore/cosign/v2/pkg/oci/mutate"
	"github.com/sigstore/cosign/v2/pkg/oci/signed"
	cosignstatic "github.com/sigstore/cosign/v2/pkg/oci/static"

	"github.com/assaylab/assay/verify/oci"
)

func TestLayout(t *testing.T) {
	b := newBench(t)
	img, err := b.open()
	if got := outcome(img, err); got != "ok" {
		t.Fatal(got)
	}
	m := b.manifest()
	size := must(b.image.Size())(t) + m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	if img.Manifests != 1 || img.Blobs != 4 || img.Size != size || img.MediaType != manifestType || img.Digest != b.digest() {
		t.Errorf("got %+v, want 1 manifest, 4 blobs, %d bytes", img, size)
	}
	if img.Ref != "oci:layout@"+b.digest() {
		t.Errorf("Ref is %q", img.Ref)
	}
	tag := strings.Replace(b.digest(), ":", "-", 1)
	refs := []string{
		fmt.Sprintf("bundle referrer %s, layer 1 %s\n", must(refer(t, bundlePiece.image(t), b.image).Digest())(t), bundlePiece.payload),
		fmt.Sprintf("simplesigning referrer %s, layer 1 %s\n", must(refer(t, sigReferrer.image(t), b.image).Digest())(t), sigReferrer.payload),
	}
	if strings.SplitN(refs[0], "sha256:", 2)[1] > strings.SplitN(refs[1], "sha256:", 2)[1] { // by digest
		refs[0], refs[1] = refs[1], refs[0]
	}
	want := "simplesigning " + tag + ".sig, layer 1 " + sigPiece.payload + "\n" +
		"dsse " + tag + ".att, layer 1 " + attPiece.payload + "\n" + refs[0] + refs[1]
	if got := names(img); got != want {
		t.Errorf("candidates:\n%swant:\n%s", got, want)
	}
	if s := img.Signatures[0]; s.MediaType != simpleType || s.Annotations["dev.cosignproject.cosign/signature"] != "MEUC" {
		t.Errorf("the first is %+v", s)
	}
	if (&oci.Image{}).OK() {
		t.Error("the zero Image is OK")
	}
	again := must(b.open())(t)
	if a, b := must(json.Marshal(img))(t), must(json.Marshal(again))(t); string(a) != string(b) {
		t.Errorf("two readings differ:\n%s\n%s", a, b)
	}
}

// An index in an index: every manifest below is read.
func TestNestedIndex(t *testing.T) {
	b := newBench(t)
	idx := must(random.Index(500, 2, 3))(t)
	check(t, layout.Path(b.dir).AppendIndex(idx))
	digest := must(idx.Digest())(t).String()
	img, err := b.openAs(digest)
	if got := outcome(img, err); got != "ok" || img.Manifests != 4 || img.Blobs != 9 {
		t.Errorf("got %s, %+v", got, img)
	}
	child := must(idx.IndexManifest())(t).Manifests[1]
	img, err = b.openAs(child.Digest.String())
	if got := outcome(img, err); got != "ok" || img.Manifests != 1 {
		t.Errorf("a manifest of the index: %s, %+v", got, img)
	}
	check(t, os.Remove(b.path(child.Digest.String())))
	want := fmt.Sprintf("refused: manifest 2 of the index %s (%s): it is not in the layout", digest, child.Digest)
	if got := outcome(b.openAs(digest)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := outcome(b.open()); !strings.HasPrefix(got, "ok: ") || !strings.Contains(got, "1 blobs that index.json names beside the image are not in the layout: "+child.Digest.String()) {
		t.Errorf("the image beside: %s", got)
	}
}

// What cosign itself saves.
func TestCosignSave(t *testing.T) {
	image := randomImage(t, 2)
	sig := must(cosignstatic.NewSignature([]byte(sigPiece.payload), "MEUC"))(t)
	att := must(cosignstatic.NewAttestation([]byte(attPiece.payload), cosignstatic.WithLayerMediaType(dsseType)))(t)
	si := must(cosignmutate.AttachSignatureToImage(signed.Image(image), sig))(t)
	si = must(cosignmutate.AttachAttestationToImage(si, att))(t)
	b := &bench{t, filepath.Join(t.TempDir(), "saved"), image}
	check(t, cosignlayout.WriteSignedImage(b.dir, si))
	img, err := b.open()
	want := "simplesigning dev.cosignproject.cosign/sigs, layer 1 " + sigPiece.payload + "\n" +
		"dsse dev.cosignproject.cosign/atts, layer 1 " + attPiece.payload + "\n"
	if got := outcome(img, err); got != "ok" || names(img) != want {
		t.Errorf("got %s\n%swant\n%s", got, names(img), want)
	}
	// They belong to the image that was saved, not to any other beside it.
	other := randomImage(t, 1)
	check(t, layout.Path(b.dir).AppendImage(other))
	img, err = b.openAs(must(other.Digest())(t).String())
	if got := outcome(img, err); got != "ok" || len(img.Signatures) > 0 {
		t.Errorf("the other image: %s\n%s", got, names(img))
	}
}

func TestHostileLayout(t *testing.T) {
	image := func(b *bench) map[string]any { return b.index()[0].(map[string]any) }
	rest := func(b *bench, entry any) { b.setIndex(append([]any{entry}, b.index()[1:]...)...) }
	type fields = map[string]any
	cases := []struct {
		name   string
		attack func(b *bench) (digest string) // "" for the image's
		want   string
		count  int // of candidates
	}{
		{"flipped layer", func(b *bench) string {
			flip(b.t, b.layer(1), 700)
			return ""
		}, "refused: layer 2 of sha256:", 4},
		{"flipped config", func(b *bench) string {
			flip(b.t, b.path(b.manifest().Config.Digest.String()), 7)
			return ""
		}, "refused: the config of sha256:", 4},
		{"flipped manifest", func(b *bench) string {
			flip(b.t, b.path(b.digest()), 7)
			return ""
		}, "refused: the image (sha256:", 4},
		{"missing layer", func(b *bench) string {
			check(b.t, os.Remove(b.layer(0)))
			return ""
		}, "it is not in the layout", 4},
		{"truncated layer", func(b *bench) string {
			check(b.t, os.Truncate(b.layer(0), 10))
			return ""
		}, "it has 10 bytes, and its descriptor says 3", 4},
		{"layer with a tail", func(b *bench) string {
			f := must(os.OpenFile(b.layer(0), os.O_APPEND|os.O_WRONLY, 0))(b.t)
			must(f.WriteString("tail"))(b.t)
			check(b.t, f.Close())
			return ""
		}, "it has more bytes than", 4},
		{"size lies", func(b *bench) string {
			config := b.put("{}", "application/vnd.oci.image.config.v1+json")
			layer := b.put("layer", "application/vnd.oci.image.layer.v1.tar")
			layer["size"] = 4
			d := b.putManifest(manifestType, fields{"config": config, "layers": []any{layer}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "it has more bytes than the 4 that its descriptor says", 0},
		{"size lies in the index", func(b *bench) string {
			d := image(b)
			d["size"] = 1
			rest(b, d)
			return ""
		}, "it has more bytes than the 1", 4},
		{"one layer, two sizes", func(b *bench) string {
			config := b.put("{}", "application/vnd.oci.image.config.v1+json")
			right, wrong := b.put("layer", "a/b"), b.put("layer", "a/b")
			wrong["size"] = 6
			d := b.putManifest(manifestType, fields{"config": config, "layers": []any{right, wrong}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "it has 5 bytes, and its descriptor says 6", 0},
		{"negative size", func(b *bench) string {
			d := b.put("{}", "a/b")
			d["size"] = -1
			d = b.putManifest(manifestType, fields{"config": d, "layers": []any{}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "its size is -1", 0},
		{"layer is a link inside", func(b *bench) string {
			check(b.t, os.Rename(b.layer(0), b.layer(0)+".x"))
			check(b.t, os.Symlink(filepath.Base(b.layer(0))+".x", b.layer(0)))
			return ""
		}, "it is a symbolic link, not a file", 4},
		{"layer is a link outside", func(b *bench) string {
			out := filepath.Join(b.t.TempDir(), "out")
			check(b.t, os.Rename(b.layer(0), out))
			check(b.t, os.Symlink(out, b.layer(0)))
			return ""
		}, "it is a symbolic link, not a file", 4},
		{"layer is a named pipe", func(b *bench) string {
			check(b.t, os.Remove(b.layer(0)))
			check(b.t, syscall.Mkfifo(b.layer(0), 0o644))
			return ""
		}, "it is a named pipe, not a file", 4},
		{"layer is a directory", func(b *bench) string {
			check(b.t, os.Remove(b.layer(0)))
			check(b.t, os.Mkdir(b.layer(0), 0o755))
			return ""
		}, "it is a directory, not a file", 4},
		{"blobs is a link", func(b *bench) string {
			out := filepath.Join(b.t.TempDir(), "out")
			check(b.t, os.Rename(filepath.Join(b.dir, "blobs"), out))
			check(b.t, os.Symlink(out, filepath.Join(b.dir, "blobs")))
			return ""
		}, "blobs is a symbolic link, not a directory", 0},
		{"index.json is a named pipe", func(b *bench) string {
			check(b.t, os.Remove(filepath.Join(b.dir, "index.json")))
			check(b.t, syscall.Mkfifo(filepath.Join(b.dir, "index.json"), 0o644))
			return ""
		}, "error: the index.json of the layout \"layout\" cannot be read", 0},
		{"index.json is a link", func(b *bench) string {
			check(b.t, os.Rename(filepath.Join(b.dir, "index.json"), filepath.Join(b.dir, "i")))
			check(b.t, os.Symlink("i", filepath.Join(b.dir, "index.json")))
			return ""
		}, "it is a symbolic link, not a file", 0},
		{"no oci-layout", func(b *bench) string {
			check(b.t, os.Remove(filepath.Join(b.dir, "oci-layout")))
			return ""
		}, "error: the layout \"layout\" cannot be read: oci-layout: no such file", 0},
		{"another version", func(b *bench) string {
			check(b.t, os.WriteFile(filepath.Join(b.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"2.0.0"}`), 0o644))
			return ""
		}, "imageLayoutVersion is \"2.0.0\"", 0},
		{"image not there", func(b *bench) string {
			return "sha256:" + strings.Repeat("0", 64)
		}, "error: the layout \"layout\" has no image sha256:0000", 0},

		{"duplicate key", func(b *bench) string {
			text := encode(b.t, manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{}})
			d := b.put(strings.Replace(text, `"layers":[]`, `"layers":[],"layers":[]`, 1), manifestType)
			b.addIndex(d)
			return d["digest"].(string)
		}, `the key "layers" occurs twice`, 0},
		{"duplicate key in index.json", func(b *bench) string {
			check(b.t, os.WriteFile(filepath.Join(b.dir, "index.json"), []byte(`{"schemaVersion":2,"manifests":[],"Manifests":[]}`), 0o644))
			return ""
		}, `error: the index.json of the layout "layout" cannot be read`, 0},
		{"key in another case", func(b *bench) string {
			text := encode(b.t, manifestType, fields{"config": b.put("{}", "a/b"), "Layers": []any{}})
			d := b.put(text, manifestType)
			b.addIndex(d)
			return d["digest"].(string)
		}, `the key "Layers" is "layers" in another letter case`, 0},
		{"index and image at once", func(b *bench) string {
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{}, "manifests": []any{}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "an index and an image at once", 0},
		{"media type of the descriptor", func(b *bench) string {
			d := image(b)
			d["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
			rest(b, d)
			return ""
		}, "its descriptor says media type \"application/vnd.docker.distribution.manifest.v2+json\", and the manifest itself says", 4},
		{"named twice, as manifest and as blob", func(b *bench) string {
			d := image(b)
			d["mediaType"] = "application/octet-stream"
			b.addIndex(d)
			return ""
		}, "its descriptor says media type \"application/octet-stream\"", 4},
		{"other digest algorithm", func(b *bench) string {
			d := b.put("{}", "a/b")
			d["digest"] = "md5:" + strings.Repeat("0", 32)
			d = b.putManifest(manifestType, fields{"config": d, "layers": []any{}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "is not sha256: and 64", 0},
		{"digest leads out", func(b *bench) string {
			b.addIndex(map[string]any{"mediaType": manifestType, "size": 2, "digest": "sha256:../../../../../../../../../../../../../../../../../../../../x"})
			return ""
		}, "error: the index.json of the layout", 0},
		{"schema 1", func(b *bench) string {
			d := b.put(`{"schemaVersion":1,"fsLayers":[]}`, manifestType)
			b.addIndex(d)
			return d["digest"].(string)
		}, "schema 1", 0},
		{"another schema version", func(b *bench) string {
			d := b.putManifest(manifestType, fields{"schemaVersion": 3, "config": b.put("{}", "a/b"), "layers": []any{}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "its schemaVersion is 3, not 2", 0},
		{"something follows", func(b *bench) string {
			d := b.put(encode(b.t, manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{}})+"{}", manifestType)
			b.addIndex(d)
			return d["digest"].(string)
		}, "something follows the JSON object", 0},
		{"data is other content", func(b *bench) string {
			d := b.put("{}", "a/b")
			d["data"] = "e30K"
			d = b.putManifest(manifestType, fields{"config": d, "layers": []any{}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "its data is not what its digest and size say", 0},
		{"foreign layer", func(b *bench) string {
			layer := describe([]byte("elsewhere"), "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
			layer["urls"] = []string{"https://elsewhere.example/layer"}
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{layer}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "it is not in the layout; it is a foreign layer", 0},
		{"index of something else", func(b *bench) string {
			d := b.putManifest(indexType, fields{"manifests": []any{b.put("wasm", "application/wasm")}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "ok: manifest 1 of the index", 0},

		{"tampered stray", func(b *bench) string {
			d := b.put("stray", "a/b")
			flip(b.t, b.path(d["digest"].(string)), 2)
			return ""
		}, "is not what its name says: its digest is sha256:", 4},
		{"stray", func(b *bench) string {
			b.put("stray", "a/b")
			return ""
		}, "ok: 1 files of the layout belong to nothing that index.json names, and nothing vouches for them: sha256:", 4},
		{"stray beside blobs", func(b *bench) string {
			check(b.t, os.MkdirAll(filepath.Join(b.dir, "boot", "deep"), 0o755))
			check(b.t, os.WriteFile(filepath.Join(b.dir, "boot", "deep", "payload\n"), nil, 0o644))
			return ""
		}, `ok: 1 files of the layout belong to nothing that index.json names, and nothing vouches for them: "boot/deep/payload\n"`, 4},
		{"many strays", func(b *bench) string {
			for i := range 30 {
				b.put(fmt.Sprint("stray", i), "a/b")
			}
			return ""
		}, "ok: 30 files of the layout", 4},
		{"blob without a digest", func(b *bench) string {
			check(b.t, os.WriteFile(b.path("sha256:x"), nil, 0o644))
			return ""
		}, `refused: "blobs/sha256/x" is a file under blobs, and no file with a digest for its name`, 4},
		{"blob of another algorithm", func(b *bench) string {
			check(b.t, os.Mkdir(filepath.Join(b.dir, "blobs", "md5"), 0o755))
			check(b.t, os.WriteFile(filepath.Join(b.dir, "blobs", "md5", "x"), nil, 0o644))
			return ""
		}, `refused: "blobs/md5" is a directory under blobs`, 4},
		{"stray link", func(b *bench) string {
			check(b.t, os.Symlink(b.layer(0), b.path("sha256:"+strings.Repeat("0", 64))))
			return ""
		}, "it is a symbolic link, not a file", 4},

		{"payload tampered", func(b *bench) string {
			flip(b.t, b.path(describe([]byte(attPiece.payload), "")["digest"].(string)), 3)
			return ""
		}, "is not what its name says", 4},
		{"payload missing", func(b *bench) string {
			check(b.t, os.Remove(b.path(describe([]byte(attPiece.payload), "")["digest"].(string))))
			return ""
		}, "ok (1 unread, 0 more)", 4},
		{"referrer of another image", func(b *bench) string {
			check(b.t, layout.Path(b.dir).AppendImage(refer(b.t, bundlePiece.image(b.t), randomImage(b.t, 1))))
			return ""
		}, "ok", 4},
		{"subject forged in the index", func(b *bench) string {
			other := describe([]byte("another image"), manifestType)
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{b.put("forged", bundleType)}, "subject": other})
			d["subject"], d["artifactType"] = image(b), bundleType
			b.addIndex(d)
			return ""
		}, "ok", 4},
		{"image signs itself", func(b *bench) string {
			tag := strings.Replace(b.digest(), ":", "-", 1)
			b.addIndex(annotated(image(b), "org.opencontainers.image.ref.name", tag+".sig"))
			return ""
		}, "ok", 7}, // its three layers: cosign would take them for signatures
		{"image whose subject is itself, in words", func(b *bench) string {
			// A digest cannot contain itself; the nearest is a referrer that is its own attachment.
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{b.put("own", bundleType)}})
			b.addIndex(d, annotated(b.putManifest(indexType, fields{"manifests": []any{d}}), "org.opencontainers.image.ref.name", strings.Replace(d["digest"].(string), ":", "-", 1)+".sig"))
			return d["digest"].(string)
		}, "ok", 1},

		{"index that names itself", func(b *bench) string {
			digest := "sha256:" + strings.Repeat("5", 64)
			text := encode(b.t, indexType, fields{"manifests": []any{map[string]any{"mediaType": indexType, "digest": digest, "size": 300}}})
			check(b.t, os.WriteFile(b.path(digest), []byte(text+strings.Repeat(" ", 300-len(text))), 0o644))
			b.addIndex(map[string]any{"mediaType": indexType, "digest": digest, "size": 300})
			return digest
		}, "its bytes are other ones", 0},
		{"layer by sha512", func(b *bench) string {
			sum := sha512.Sum512([]byte("layer"))
			digest := "sha512:" + hex.EncodeToString(sum[:])
			check(b.t, os.Mkdir(filepath.Join(b.dir, "blobs", "sha512"), 0o755))
			check(b.t, os.WriteFile(b.path(digest), []byte("layer"), 0o644))
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{map[string]any{"mediaType": "a/b", "digest": digest, "size": 5}}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "ok", 0},
		{"other layer by sha512", func(b *bench) string {
			sum := sha512.Sum512([]byte("layer"))
			digest := "sha512:" + hex.EncodeToString(sum[:])
			check(b.t, os.Mkdir(filepath.Join(b.dir, "blobs", "sha512"), 0o755))
			check(b.t, os.WriteFile(b.path(digest), []byte("LAYER"), 0o644))
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{map[string]any{"mediaType": "a/b", "digest": digest, "size": 5}}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "refused: layer 1 of ", 0},
		{"many manifests", func(b *bench) string {
			config := b.put("{}", "a/b")
			for i := range 6 {
				b.addIndex(b.put(encode(b.t, manifestType, fields{"config": config, "layers": []any{}})+strings.Repeat(" ", oci.MaxManifest-1000+i), manifestType))
			}
			return ""
		}, "ok (0 unread, 2 more): sha256:", 4},
		{"many files", func(b *bench) string {
			for i := range oci.MaxDescriptors {
				check(b.t, os.WriteFile(filepath.Join(b.dir, fmt.Sprint(i)), nil, 0o644))
			}
			return ""
		}, "ok: not every file of the layout is looked at: it has more than 10000 files", 4},

		{"deep", func(b *bench) string {
			d := image(b)
			for range oci.MaxDepth - 1 {
				d = b.putManifest(indexType, fields{"manifests": []any{d}})
			}
			b.addIndex(d)
			return d["digest"].(string)
		}, "ok", 0},
		{"too deep", func(b *bench) string {
			d := image(b)
			for range oci.MaxDepth {
				d = b.putManifest(indexType, fields{"manifests": []any{d}})
			}
			b.addIndex(d)
			return d["digest"].(string)
		}, "limit: indexes are nested deeper than 8", 0},
		{"deep and wide", func(b *bench) string { // 5^7 paths, 7 indexes
			d := image(b)
			for range oci.MaxDepth - 1 {
				d = b.putManifest(indexType, fields{"manifests": []any{d, d, d, d, d}})
			}
			b.addIndex(d)
			return d["digest"].(string)
		}, "ok", 0},
		{"many descriptors", func(b *bench) string {
			var all []any
			for range oci.MaxDescriptors + 1 {
				all = append(all, image(b))
			}
			b.setIndex(all...)
			return ""
		}, "ok (0 unread, 1 more): index.json has 1 entries more than the 10000", 0},
		{"many descriptors in many manifests", func(b *bench) string {
			config := b.put("{}", "a/b")
			for i := range 3 {
				var all []any
				for range oci.MaxDescriptors / 3 {
					all = append(all, config)
				}
				b.addIndex(b.putManifest(manifestType, fields{"config": config, "layers": all, "annotations": map[string]string{"n": fmt.Sprint(i)}}))
			}
			return ""
		}, "ok (0 unread, 1 more): sha256:", 4},
		{"large manifest", func(b *bench) string {
			d := b.put(encode(b.t, manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{}})+strings.Repeat(" ", oci.MaxManifest), manifestType)
			b.addIndex(d)
			return d["digest"].(string)
		}, "limit: the manifest sha256:", 0},
		{"large index.json", func(b *bench) string {
			check(b.t, os.Truncate(filepath.Join(b.dir, "index.json"), oci.MaxManifest+1))
			return ""
		}, "ok (0 unread, 1 more): index.json has more than 4194304 bytes: what it names is not looked at", 0},
		{"large layer that is a hole", func(b *bench) string {
			layer := b.put("", "a/b")
			layer["size"] = int64(oci.MaxBytes)
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{layer}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "limit: there are more than", 0},
		{"size beyond all", func(b *bench) string {
			layer := b.put("", "a/b")
			layer["size"] = int64(1<<63 - 1)
			d := b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{layer}})
			b.addIndex(d)
			return d["digest"].(string)
		}, "limit: there are more than", 0},
		{"many candidates", func(b *bench) string {
			layer := b.put("x", dsseType)
			var all []any
			for range oci.MaxCandidates + 1 {
				all = append(all, layer)
			}
			b.addIndex(b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": all, "subject": image(b)}))
			return ""
		}, "ok (0 unread, 5 more): there are 5 more signatures beside the image than the 256 that are looked at", 256},
		{"large payload", func(b *bench) string {
			layer := b.put("x", dsseType)
			layer["size"] = oci.MaxPayload + 1
			b.addIndex(b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{layer}, "subject": image(b)}))
			return ""
		}, "ok (1 unread, 0 more)", 5},
		{"large payloads", func(b *bench) string {
			layer := b.put("x", dsseType)
			layer["size"] = oci.MaxPayload
			b.addIndex(b.putManifest(manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{layer, layer, layer, layer, layer, layer, layer, layer, layer}, "subject": image(b)}))
			return ""
		}, "ok (9 unread, 0 more)", 13},
		{"deep JSON", func(b *bench) string {
			d := b.put(`{"schemaVersion":2,"x":`+strings.Repeat("[", 1<<20), manifestType)
			b.addIndex(d)
			return d["digest"].(string)
		}, "it cannot be read as a manifest", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			digest := c.attack(b)
			if digest == "" {
				digest = b.digest()
			}
			img, err := b.openAs(digest)
			got := outcome(img, err)
			if kind, _, ok := strings.Cut(c.want, ": "); ok && (strings.HasPrefix(kind, "ok") || kind == "refused" || kind == "limit" || kind == "error") {
				if !strings.HasPrefix(got, c.want) {
					t.Errorf("got  %.600s\nwant %s…", got, c.want)
				}
			} else if c.want == "ok" && got != "ok" || !strings.Contains(got, c.want) {
				t.Errorf("got  %.600s\nwant …%s…", got, c.want)
			}
			if err == nil && len(img.Signatures) != c.count {
				t.Errorf("%d candidates, want %d:\n%s", len(img.Signatures), c.count, names(img))
			}
			if c.name == "many files" && strings.Contains(got, "are not in the layout") {
				t.Errorf("what was not looked for is not there: %.600s", got)
			}
			if c.name == "deep and wide" && img.Manifests != oci.MaxDepth {
				t.Errorf("%d manifests are counted", img.Manifests)
			}
			if strings.Contains(got, filepath.Dir(b.dir)) {
				t.Errorf("a path of this machine: %s", got)
			}
		})
	}
}

// One bad blob is one problem, and many are counted.
func TestProblemsAreCounted(t *testing.T) {
	b := newBench(t)
	flip(t, b.layer(1), 700)
	if img := must(b.open())(t); len(img.Problems) != 1 {
		t.Errorf("one flipped byte: %q", img.Problems)
	}
	for i := range 40 {
		check(t, os.WriteFile(b.path(fmt.Sprintf("sha256:%064x", i)), nil, 0o644))
	}
	img := must(b.open())(t)
	if n := len(img.Problems); n != 21 || img.Problems[20] != "and 21 more" {
		t.Errorf("%d problems, %q", n, img.Problems[n-1])
	}
}

func TestLayoutWithoutDigest(t *testing.T) {
	b := newBench(t)
	_, err := oci.Open(t.Context(), parse(t, "oci:"+b.dir), oci.Options{})
	got := outcome(nil, err)
	if !strings.HasPrefix(got, `error: the layout "layout" is named without the digest of an image (name one of these by digest: `+b.digest()) {
		t.Error(got)
	}
	if got := outcome(oci.Open(t.Context(), oci.Ref{}, oci.Options{})); !strings.HasPrefix(got, "error: no image is named") {
		t.Error(got)
	}
	if got := outcome(oci.Open(t.Context(), parse(t, "oci:"+b.layer(0)), oci.Options{})); !strings.Contains(got, "is not a directory") {
		t.Error(got)
	}
}
