package oci_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"

	"github.com/assaylab/assay/verify/oci"
)

const (
	inTotoType = "application/vnd.in-toto+json"
	sigType    = "application/vnd.dev.cosign.artifact.sig.v1+json"
	attType    = "application/vnd.dev.cosign.artifact.att.v1+json"
	otherType  = "text/plain"
)

// newBare is a bench with an image of one layer and nothing beside it.
func newBare(t testing.TB) *bench {
	t.Helper()
	b := &bench{t, filepath.Join(t.TempDir(), "layout"), randomImage(t, 1)}
	path := must(layout.Write(b.dir, empty.Index))(t)
	check(t, path.AppendImage(b.image))
	return b
}

// tag is that of the image, with a suffix.
func (b *bench) tag(suffix string) string {
	return strings.Replace(b.digest(), ":", "-", 1) + suffix
}

// tagged is an entry for index.json.
func (b *bench) tagged(d map[string]any, suffix string) map[string]any {
	return annotated(d, "org.opencontainers.image.ref.name", b.tag(suffix))
}

// signed writes a manifest of layers that are "mediaType payload".
func (b *bench) signed(fields map[string]any, layers ...string) map[string]any {
	b.t.Helper()
	all := map[string]any{"config": b.put("{}", "application/vnd.oci.image.config.v1+json"), "layers": b.layers(layers...)}
	for k, v := range fields {
		all[k] = v
	}
	return b.putManifest(manifestType, all)
}

func (b *bench) layers(layers ...string) []any {
	list := []any{}
	for _, l := range layers {
		mediaType, payload, _ := strings.Cut(l, " ")
		list = append(list, b.put(payload, mediaType))
	}
	return list
}

func (b *bench) subject() map[string]any {
	return map[string]any{"mediaType": manifestType, "digest": b.digest(), "size": must(b.image.Size())(b.t)}
}

// What cosign takes for a signature of the image is a candidate, whatever its
// layers call themselves.
func TestCandidates(t *testing.T) {
	type fields = map[string]any
	digestOf := func(d map[string]any) string { return d["digest"].(string) }
	refers := func(b *bench, artifactType, configType string, layers ...string) map[string]any {
		f := fields{"subject": b.subject(), "config": b.put("{}", configType)}
		if artifactType != "" {
			f["artifactType"] = artifactType
		}
		return b.signed(f, layers...)
	}
	cases := []struct {
		name string
		put  func(b *bench) (want []string) // the candidates; SIG, ATT for the tags
		want string                         // the outcome; "" for "ok"
	}{
		{"any type at .sig", func(b *bench) []string {
			b.addIndex(b.tagged(b.signed(nil, otherType+" one", simpleType+" two", dsseType+" three", inTotoType+" four", bundleType+" five", simpleType+";x=y six", simpleType+" "), ".sig"))
			return []string{"simplesigning SIG, layer 1 one", "simplesigning SIG, layer 2 two", "dsse SIG, layer 3 three", "dsse SIG, layer 4 four", "bundle SIG, layer 5 five", "simplesigning SIG, layer 6 six", "simplesigning SIG, layer 7 "}
		}, ""},
		{"any type at .att", func(b *bench) []string {
			b.addIndex(b.tagged(b.signed(nil, otherType+" one", simpleType+" two", dsseType+" three", inTotoType+" four", bundleType+" five"), ".att"))
			return []string{"dsse ATT, layer 1 one", "simplesigning ATT, layer 2 two", "dsse ATT, layer 3 three", "dsse ATT, layer 4 four", "bundle ATT, layer 5 five"}
		}, ""},
		{"one manifest at both tags", func(b *bench) []string {
			d := b.signed(nil, otherType+" one", bundleType+" two")
			again := fields{"mediaType": d["mediaType"], "digest": d["digest"], "size": d["size"]}
			b.addIndex(b.tagged(d, ".sig"), b.tagged(again, ".att"))
			return []string{"simplesigning SIG, layer 1 one", "bundle SIG, layer 2 two", "dsse ATT, layer 1 one"}
		}, ""},
		{"one tag twice", func(b *bench) []string {
			one, two := b.signed(nil, otherType+" one"), b.signed(nil, otherType+" two")
			b.addIndex(b.tagged(one, ".sig"), b.tagged(two, ".sig"), b.tagged(one, ".sig"))
			return []string{"simplesigning SIG (" + digestOf(one) + "), layer 1 one", "simplesigning SIG (" + digestOf(two) + "), layer 1 two"}
		}, ""},
		{"index at .sig", func(b *bench) []string { // cosign takes the manifest for its platform
			one, two := b.signed(nil, otherType+" one"), b.signed(nil, simpleType+" two")
			inner := b.putManifest(indexType, fields{"manifests": []any{two, one}})
			b.addIndex(b.tagged(b.putManifest(indexType, fields{"manifests": []any{one, inner, inner}}), ".sig"))
			return []string{"simplesigning SIG (" + digestOf(one) + "), layer 1 one", "simplesigning SIG (" + digestOf(two) + "), layer 1 two"}
		}, ""},
		{"index at .sig that leads nowhere", func(b *bench) []string {
			b.addIndex(b.tagged(b.putManifest(indexType, fields{"manifests": []any{describe([]byte("lost"), manifestType)}}), ".sig"))
			return nil
		}, "ok: SIG (sha256:"},
		{"index at .sig, too deep", func(b *bench) []string {
			d := b.signed(nil, otherType+" one")
			for range oci.MaxDepth {
				d = b.putManifest(indexType, fields{"manifests": []any{d}})
			}
			b.addIndex(b.tagged(d, ".sig"))
			return nil
		}, "ok (0 unread, 1 more): SIG (sha256:"},
		{"no layers at .sig", func(b *bench) []string {
			b.addIndex(b.tagged(b.signed(nil), ".sig"))
			return nil
		}, "ok: SIG (sha256:"},
		{"signatures that refer by the type of their config", func(b *bench) []string {
			d := refers(b, "", sigType, otherType+" one")
			b.addIndex(d)
			return []string{"simplesigning referrer " + digestOf(d) + ", layer 1 one"}
		}, ""},
		{"signatures that refer by artifactType", func(b *bench) []string {
			d := refers(b, sigType, "a/b", otherType+" one", inTotoType+" two")
			b.addIndex(d)
			return []string{"simplesigning referrer " + digestOf(d) + ", layer 1 one", "dsse referrer " + digestOf(d) + ", layer 2 two"}
		}, ""},
		{"attestations that refer", func(b *bench) []string {
			d := refers(b, attType, "a/b", otherType+" one", simpleType+" two")
			b.addIndex(d)
			return []string{"dsse referrer " + digestOf(d) + ", layer 1 one", "simplesigning referrer " + digestOf(d) + ", layer 2 two"}
		}, ""},
		{"signatures that refer by the type of their entry", func(b *bench) []string {
			d := refers(b, "", "a/b", otherType+" one")
			d["artifactType"] = sigType
			b.addIndex(d)
			return []string{"simplesigning referrer " + digestOf(d) + ", layer 1 one"}
		}, ""},
		{"index of signatures that refers", func(b *bench) []string {
			inner := b.signed(nil, bundleType+" one", otherType+" none")
			d := b.putManifest(indexType, fields{"manifests": []any{inner}, "subject": b.subject()})
			b.addIndex(d)
			return []string{"bundle referrer " + digestOf(d) + ", layer 1 one"}
		}, ""},
		{"signatures of the Notary Project", func(b *bench) []string {
			d := refers(b, "application/vnd.cncf.notary.signature", "application/vnd.cncf.notary.signature", "application/jose+json one")
			b.addIndex(d)
			return []string{"other referrer " + digestOf(d) + ", layer 1 unread: it is of the Notary Project, whose signatures are not verified here"}
		}, "ok (1 unread, 0 more)"},
		{"other things that refer", func(b *bench) []string {
			b.addIndex(refers(b, "application/spdx+json", "a/b", "application/spdx+json {}"), refers(b, "", "a/b", otherType+" one"))
			return nil
		}, "ok: 2 referrers of the image are of other types, and are not looked into: sha256:"},

		{"manifest that others read", func(b *bench) []string {
			text := strings.Replace(encode(b.t, manifestType, fields{"config": b.put("{}", "a/b"), "layers": b.layers(simpleType + " one")}), "layers", "Layers", 1)
			b.addIndex(b.tagged(b.put(text, manifestType), ".sig"))
			return nil
		}, "ok (0 unread, 2 more): SIG (sha256:"}, // it may refer to the image, too
		{"referrer that others read", func(b *bench) []string {
			text := strings.Replace(encode(b.t, manifestType, fields{"config": b.put("{}", "a/b"), "layers": b.layers(bundleType + " one"), "subject": b.subject()}), "layers", "Layers", 1)
			b.addIndex(b.put(text, manifestType))
			return nil
		}, "ok (0 unread, 1 more): sha256:"},
		{"manifest of another size than its entry says", func(b *bench) []string {
			d := b.tagged(b.signed(nil, simpleType+" one"), ".sig")
			d["size"] = 1
			b.addIndex(d)
			return []string{"simplesigning SIG, layer 1 one"}
		}, ""},
		{"manifest that is not there", func(b *bench) []string {
			b.addIndex(b.tagged(describe([]byte("lost"), manifestType), ".sig"))
			return nil
		}, "ok: SIG (sha256:"},
		{"large manifest", func(b *bench) []string {
			d := b.put(encode(b.t, manifestType, fields{"config": b.put("{}", "a/b"), "layers": []any{}})+strings.Repeat(" ", oci.MaxManifest), manifestType)
			b.addIndex(b.tagged(d, ".sig"), b.tagged(b.signed(nil, simpleType+" one"), ".sig"))
			return []string{"simplesigning SIG, layer 1 one"}
		}, "ok (0 unread, 2 more): SIG (sha256:"},

		{"payload too large", func(b *bench) []string {
			layer := b.put("x", bundleType)
			layer["size"] = oci.MaxPayload + 1
			b.addIndex(b.tagged(b.signed(fields{"layers": []any{layer, b.put("two", bundleType)}}), ".sig"))
			return []string{"bundle SIG, layer 1 unread: it is said to have 16777217 bytes, more than 16777216", "bundle SIG, layer 2 two"}
		}, "ok (1 unread, 0 more)"},
		{"payloads too large together", func(b *bench) []string {
			large := b.put("x", bundleType)
			large["digest"] = "sha256:080acf35a507ac9849cfcba47dc2ad83e01b75663a516279c8b9d243b719643e" // of zeros
			large["size"] = oci.MaxPayload
			check(b.t, os.WriteFile(b.path(digestOf(large)), nil, 0o644))
			check(b.t, os.Truncate(b.path(digestOf(large)), oci.MaxPayload))
			small := b.put("small", bundleType)
			all := []any{small}
			for range oci.MaxPayloads / oci.MaxPayload {
				all = append(all, large)
			}
			b.addIndex(b.tagged(b.signed(fields{"layers": append(all, small)}), ".sig"))
			want := []string{"bundle SIG, layer 1 small"}
			for i := range oci.MaxPayloads/oci.MaxPayload - 1 {
				want = append(want, fmt.Sprintf("bundle SIG, layer %d ", i+2)+strings.Repeat("\x00", oci.MaxPayload))
			}
			return append(want, "bundle SIG, layer 9 unread: with it the signatures beside the image have more than 134217728 bytes together", "bundle SIG, layer 10 small")
		}, "ok (1 unread, 0 more)"},
		{"payloads that lie cost what was read", func(b *bench) []string {
			liar := b.put("x", bundleType)
			liar["size"] = oci.MaxPayload
			all := []any{}
			want := []string{}
			for i := range 20 {
				all = append(all, liar)
				want = append(want, fmt.Sprintf("bundle SIG, layer %d unread: it has 1 bytes, and its descriptor says 16777216", i+1))
			}
			b.addIndex(b.tagged(b.signed(fields{"layers": append(all, b.put("good", bundleType))}), ".sig"))
			return append(want, "bundle SIG, layer 21 good")
		}, "ok (20 unread, 0 more)"},
		{"indexes too deep beside the image", func(b *bench) []string {
			d := b.signed(nil)
			for range oci.MaxDepth + 3 {
				d = b.putManifest(indexType, fields{"manifests": []any{d}})
			}
			b.addIndex(d, b.tagged(b.signed(nil, simpleType+" one"), ".sig"))
			return []string{"simplesigning SIG, layer 1 one"}
		}, "ok (0 unread, 1 more): the index sha256:"},
		{"large indexes beside the image", func(b *bench) []string {
			lost := make([]any, oci.MaxDescriptors*2/3)
			for i := range lost {
				lost[i] = describe(fmt.Append(nil, i), "a/b")
			}
			for i := range 2 {
				b.addIndex(b.putManifest(indexType, fields{"manifests": lost, "annotations": map[string]string{"n": fmt.Sprint(i)}}))
			}
			b.addIndex(b.tagged(b.signed(nil, simpleType+" one"), ".sig"))
			return []string{"simplesigning SIG, layer 1 one"}
		}, "ok (0 unread, 2 more): the index sha256:"}, // nor is its own subject known
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBare(t)
			want := strings.Join(append(c.put(b), ""), "\n")
			tags := strings.NewReplacer("SIG", b.tag(".sig"), "ATT", b.tag(".att"))
			img, err := b.open()
			got := outcome(img, err)
			if head := tags.Replace(c.want); head == "" && got != "ok" || !strings.HasPrefix(got, head) {
				t.Fatalf("got  %.600s\nwant %s…", got, head)
			}
			if got, want := names(img), tags.Replace(want); got != want {
				t.Errorf("candidates:\n%.3000s\nwant:\n%.3000s", got, want)
			}
			for _, s := range img.Signatures {
				if s.Kind == "" || s.MediaType == "" || (s.Unread == "") != (s.Payload != nil) {
					t.Errorf("%.300q", fmt.Sprintf("%+v", s))
				}
			}
		})
	}
}

// Each layer that cosign reads at its tag is a candidate here.
func TestCandidatesAreCosigns(t *testing.T) {
	odd := piece{mediaType: otherType, payload: "odd"}.image(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: odd})
	for name, put := range map[string]func(d *depot, tag string){
		"of another media type": func(d *depot, tag string) { d.write(odd, tag) },
		"in an index":           func(d *depot, tag string) { check(t, remote.WriteIndex(d.repo.Tag(tag), index)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDepot(t, true, nil)
			image := randomImage(t, 1)
			d.push(image)
			tag := strings.Replace(must(image.Digest())(t).String(), ":", "-", 1) + ".sig"
			put(d, tag)
			cosigns := must(must(ociremote.Signatures(d.repo.Tag(tag)))(t).Get())(t)
			img, err := d.open(image)
			if got, want := outcome(img, err)+names(img), "oksimplesigning "+tag+", layer 1 odd\n"; got != want || len(cosigns) != 1 {
				t.Errorf("got %q, want %q; cosign finds %d", got, want, len(cosigns))
			}
		})
	}
}

// What others put into index.json does not hide the image.
func TestLargeIndex(t *testing.T) {
	for name, pad := range map[string]func(b *bench){
		"bytes": func(b *bench) {
			path := filepath.Join(b.dir, "index.json")
			text := must(os.ReadFile(path))(b.t)
			check(b.t, os.WriteFile(path, append(text, strings.Repeat(" ", oci.MaxManifest)...), 0o644))
		},
		"entries": func(b *bench) {
			var all []any
			for range oci.MaxDescriptors {
				all = append(all, describe(nil, "a/b"))
			}
			b.setIndex(append(all, b.index()...)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBare(t)
			pad(b)
			img, err := b.open()
			if got := outcome(img, err); !strings.HasPrefix(got, "ok (0 unread, 1 more): index.json has ") || img.Blobs != 2 {
				t.Error(got)
			}
			check(t, os.Remove(b.path(b.digest())))
			if got := outcome(b.open()); !strings.Contains(got, "has no image "+b.digest()) {
				t.Errorf("without the image: %.300s", got)
			}
		})
	}
}

// The image and what lies beside it do not eat each other's limits.
func TestAccounts(t *testing.T) {
	type fields = map[string]any
	many := func(d any, n int) []any {
		all := make([]any, n)
		for i := range all {
			all[i] = d
		}
		return all
	}
	for _, c := range []struct {
		name string
		put  func(b *bench) (image map[string]any)
		want string
	}{
		{"image of many layers", func(b *bench) map[string]any {
			d := b.signed(fields{"layers": many(b.put("layer", "a/b"), oci.MaxDescriptors-1)})
			b.addIndex(d)
			return d
		}, "ok"},
		{"image of too many layers", func(b *bench) map[string]any {
			d := b.signed(fields{"layers": many(b.put("layer", "a/b"), oci.MaxDescriptors)})
			b.addIndex(d)
			return d
		}, "limit: the manifests name more than 10000 descriptors together"},
		{"image of too many manifests", func(b *bench) map[string]any {
			d := b.putManifest(indexType, fields{"manifests": many(b.signed(nil), oci.MaxDescriptors+1)})
			b.addIndex(d)
			return d
		}, "limit: a manifest has more than 10000 descriptors"},
		{"large image inside an index", func(b *bench) map[string]any {
			d := b.putManifest(indexType, fields{"manifests": many(b.signed(nil), oci.MaxDescriptors-1)})
			b.addIndex(b.putManifest(indexType, fields{"manifests": []any{d}}))
			return d
		}, "ok"},
		{"image inside an index, after large ones", func(b *bench) map[string]any {
			d := b.signed(nil)
			for i := range 2 {
				b.addIndex(b.putManifest(indexType, fields{"manifests": many(d, oci.MaxDescriptors*2/3), "annotations": map[string]string{"n": fmt.Sprint(i)}}))
			}
			b.addIndex(b.putManifest(indexType, fields{"manifests": []any{d}}))
			return d
		}, "ok (0 unread, 2 more): the index sha256:"},
		{"image inside an index that is not looked into", func(b *bench) map[string]any {
			d := b.signed(nil)
			for range oci.MaxDepth + 1 {
				d = b.putManifest(indexType, fields{"manifests": []any{d}})
			}
			b.addIndex(d)
			return b.signed(nil)
		}, "ok (0 unread, 1 more): the index sha256:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBare(t)
			digest := c.put(b)["digest"].(string)
			b.addIndex(annotated(b.signed(nil, simpleType+" one"), "org.opencontainers.image.ref.name", strings.Replace(digest, ":", "-", 1)+".sig"))
			img, err := b.openAs(digest)
			got := outcome(img, err)
			if c.want == "ok" && got != "ok" || !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %.600s\nwant %s…", got, c.want)
			}
			if err == nil && len(img.Signatures) != 1 {
				t.Errorf("candidates: %s", names(img))
			}
		})
	}
}

// What a registry lists is looked at by digest alone, as cosign does.
func TestListedReferrers(t *testing.T) {
	image, other := randomImage(t, 1), randomImage(t, 1)
	tag := strings.Replace(must(image.Digest())(t).String(), ":", "-", 1)
	plain := refer(t, piece{mediaType: otherType, payload: "one"}.image(t), image)
	foreign := refer(t, bundlePiece.image(t), other)
	entry := func(of partial, size int, artifactType string) map[string]any {
		return map[string]any{"mediaType": indexType, "digest": must(of.Digest())(t).String(), "size": size, "artifactType": artifactType}
	}
	list := encode(t, indexType, map[string]any{"manifests": []any{
		entry(plain, 1, "a/b"), entry(plain, 2, sigType), entry(foreign, 3, ""), entry(image, 4, ""),
	}})
	payload := describe([]byte("one"), "")["digest"].(string)
	for _, c := range []struct {
		name  string
		wrap  func(http.Handler) http.Handler
		want  string
		count int
	}{
		{"in the tag", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/manifests/"+tag) {
					text(indexType, list)(w, r)
					return
				}
				h.ServeHTTP(w, r)
			})
		}, "ok: ", 2},
		{"by the API", serve("/referrers/", text(indexType, list)), "ok: ", 2},
		{"payload that the registry refuses", func(h http.Handler) http.Handler {
			return serve("/blobs/"+payload, status(400))(serve("/referrers/", text(indexType, list))(h))
		}, "ok (1 unread, 0 more): ", 2},
		{"manifest that the registry refuses", func(h http.Handler) http.Handler {
			return serve("/manifests/"+must(plain.Digest())(t).String(), status(412))(serve("/referrers/", text(indexType, list))(h))
		}, "ok (0 unread, 1 more): ", 1},
		{"manifest that only others may read", func(h http.Handler) http.Handler {
			return serve("/manifests/"+must(plain.Digest())(t).String(), status(403))(serve("/referrers/", text(indexType, list))(h))
		}, "error: ", 0},
		{"too many", serve("/referrers/", func(w http.ResponseWriter, r *http.Request) {
			var all []any
			for range oci.MaxDescriptors/2 + 1 {
				all = append(all, entry(plain, 1, ""))
			}
			w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, r.URL.Path))
			text(indexType, encode(t, indexType, map[string]any{"manifests": all}))(w, r)
		}), "ok (0 unread, 2 more): the list of referrers has more than 10000 entries", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDepot(t, false, c.wrap)
			for _, img := range []partial{image, plain, foreign} {
				d.push(img)
			}
			img, err := d.open(image)
			got := outcome(img, err)
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %.600s\nwant %s…", got, c.want)
			}
			if err == nil && len(img.Signatures) != c.count {
				t.Errorf("%d candidates, want %d:\n%s", len(img.Signatures), c.count, names(img))
			}
		})
	}
}

// A layout that is open already is read through what was opened.
func TestOpenRoot(t *testing.T) {
	b := newBench(t)
	want, err := b.open()
	check(t, err)
	ref := parse(t, "oci:"+b.dir+"@"+b.digest())
	root := must(os.OpenRoot(b.dir))(t)
	defer root.Close()
	check(t, os.Rename(b.dir, b.dir+".moved"))
	other := newBench(t)
	check(t, os.Rename(other.dir, b.dir))
	for range 2 { // it stays open
		img, err := oci.OpenRoot(t.Context(), root, ref)
		if got := outcome(img, err); got != "ok" || names(img) != names(want) || img.Ref != want.Ref {
			t.Errorf("%s\n%s", got, names(img))
		}
	}
	if got := outcome(oci.OpenRoot(t.Context(), root, parse(t, "oci:"+b.dir+"@"+other.digest()))); !strings.Contains(got, "has no image") {
		t.Errorf("the image that is at the path now: %s", got)
	}
	for _, ref := range []oci.Ref{{}, parse(t, "docker://registry.example/router@"+b.digest())} {
		if got := outcome(oci.OpenRoot(t.Context(), root, ref)); !strings.HasPrefix(got, "error: no image in a layout is named") {
			t.Errorf("%q: %s", ref, got)
		}
	}
}
