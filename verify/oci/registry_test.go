package oci_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"

	"github.com/assaylab/assay/verify/oci"
)

// A depot is a repository in a registry on a loopback address.
type depot struct {
	t    testing.TB
	repo name.Repository
}

// newDepot serves the API of a registry in memory, behind wrap.
func newDepot(t *testing.T, referrersAPI bool, wrap func(http.Handler) http.Handler) *depot {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrersAPI))
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &depot{t, must(name.NewRepository(strings.TrimPrefix(s.URL, "http://") + "/firmware/router"))(t)}
}

func (d *depot) write(img v1.Image, tag string) {
	d.t.Helper()
	var ref name.Reference = d.repo.Digest(must(img.Digest())(d.t).String())
	if tag != "" {
		ref = d.repo.Tag(tag)
	}
	check(d.t, remote.Write(ref, img))
}

// push pushes an image by digest.
func (d *depot) push(img partial) { d.t.Helper(); d.write(img.(v1.Image), "") }

// fill pushes the image with all the material of newBench.
func (d *depot) fill(img v1.Image) {
	d.t.Helper()
	d.write(img, "latest")
	tag := strings.Replace(must(img.Digest())(d.t).String(), ":", "-", 1)
	d.write(sigPiece.image(d.t), tag+".sig")
	d.write(attPiece.image(d.t), tag+".att")
	d.write(refer(d.t, bundlePiece.image(d.t), img), "")
	d.write(refer(d.t, sigReferrer.image(d.t), img), "")
}

func (d *depot) open(img v1.Image) (*oci.Image, error) {
	d.t.Helper()
	return d.openAs(must(img.Digest())(d.t).String())
}

func (d *depot) openAs(digest string) (*oci.Image, error) {
	d.t.Helper()
	return oci.Open(d.t.Context(), parse(d.t, "docker://"+d.repo.Name()+"@"+digest), oci.Options{})
}

// The same image, with the same material, gives the same answer wherever it lies.
func TestRegistry(t *testing.T) {
	b := newBench(t)
	inLayout := must(b.open())(t)
	for _, api := range []bool{true, false} {
		d := newDepot(t, api, nil)
		d.fill(b.image)
		img, err := d.open(b.image)
		if got := outcome(img, err); got != "ok" {
			t.Fatal(got)
		}
		img.Ref = inLayout.Ref
		want, got := must(json.MarshalIndent(inLayout, "", " "))(t), must(json.MarshalIndent(img, "", " "))(t)
		if string(got) != string(want) || names(img) != names(inLayout) {
			t.Errorf("referrers API %v:\n%s\nin a layout:\n%s", api, got, want)
		}
	}
}

// Bundles as cosign pushes them.
func TestCosignBundle(t *testing.T) {
	for _, api := range []bool{true, false} {
		d := newDepot(t, api, nil)
		img := randomImage(t, 1)
		d.write(img, "latest")
		digest := d.repo.Digest(must(img.Digest())(t).String())
		check(t, ociremote.WriteAttestationNewBundleFormat(digest, []byte("a bundle"), "https://slsa.dev/provenance/v1"))
		got, err := d.open(img)
		if o := outcome(got, err); o != "ok" || len(got.Signatures) != 1 || got.Signatures[0].Kind != oci.Bundle || string(got.Signatures[0].Payload) != "a bundle" {
			t.Errorf("referrers API %v: %s, %+v", api, o, got)
		}
	}
}

func TestRegistryHasNoImage(t *testing.T) {
	d := newDepot(t, true, nil)
	d.write(randomImage(t, 1), "v1.0")
	got := outcome(d.openAs("sha256:" + strings.Repeat("0", 64)))
	if !strings.HasPrefix(got, "error: ") || !strings.Contains(got, "/firmware/router has no image sha256:0000") || !strings.Contains(got, `its tags are "v1.0"`) {
		t.Error(got)
	}
}

// serve answers paths that contain a text, and leaves the others to the registry.
func serve(path string, answer http.HandlerFunc) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, path) {
				answer(w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	b := make([]byte, 64<<10)
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func text(contentType, s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, s)
	}
}

func TestHostileRegistry(t *testing.T) {
	image := randomImage(t, 2)
	digest := must(image.Digest())(t).String()
	m := must(image.Manifest())(t)
	layer := m.Layers[1].Digest.String()
	tag := strings.Replace(digest, ":", "-", 1)
	other := randomImage(t, 1)
	sizes := func(n int) string { return fmt.Sprintf("its descriptor says %d", n) }
	loop := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }
	away := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	payload := describe([]byte(sigPiece.payload), "")["digest"].(string)
	forged := encode(t, indexType, map[string]any{"manifests": []any{map[string]any{
		"mediaType": manifestType, "artifactType": bundleType,
		"digest": must(refer(t, bundlePiece.image(t), other).Digest())(t).String(), "size": must(refer(t, bundlePiece.image(t), other).Size())(t),
	}}})
	cases := []struct {
		name  string
		wrap  func(http.Handler) http.Handler
		want  string
		count int // of candidates
	}{
		{"other bytes", serve("/blobs/"+layer, text("", "other")), "refused: layer 2 of " + digest, 4},
		{"other bytes of the same size", serve("/blobs/"+layer, text("", strings.Repeat("x", int(m.Layers[1].Size)))), "refused: layer 2 of " + digest, 4},
		{"other manifest", serve("/manifests/"+digest, text(manifestType, string(must(other.RawManifest())(t)))), "refused: the image (" + digest, 4},
		{"other media type", serve("/manifests/"+digest, text(indexType, string(must(image.RawManifest())(t)))), "refused: the image (" + digest + "): it cannot be read as a manifest: the registry says", 4},
		{"layer missing", serve("/blobs/"+layer, status(404)), "the registry does not have it", 4},
		{"layer cannot be had", serve("/blobs/"+layer, status(500)), "error: the registry 127.0.0.1:", 0},
		{"endless layer", serve("/blobs/"+layer, endless), "it has more bytes than", 4},
		{"endless manifest", serve("/manifests/"+digest, endless), "limit: the manifest " + digest, 0},
		{"endless referrers", serve("/referrers/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", indexType)
			endless(w, r)
		}), "ok (0 unread, 1 more): a list of referrers is not looked at: it has more than", 2},
		{"endless signature manifest", serve("/manifests/"+tag+".sig", endless), "ok (0 unread, 1 more): " + tag + ".sig is there and is not looked into: it has more than", 3},
		{"endless handshake", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" && strings.HasPrefix(r.Header.Get("User-Agent"), "assay") {
					endless(w, r)
					return
				}
				h.ServeHTTP(w, r)
			})
		}, "ok", 4},
		{"empty layer", serve("/blobs/"+layer, status(200)), sizes(int(m.Layers[1].Size)), 4},
		{"redirect loop", serve("/blobs/"+layer, loop), "redirects more than 5 times", 0},
		{"redirect without TLS", serve("/blobs/"+layer, away("http://blobs.example/")), "error: blobs.example would be read without TLS", 0},
		{"redirect to a file", serve("/blobs/"+layer, away("file:///etc/passwd")), `error: the registry 127.0.0.1 leads to an address that begins with "file:", not with https:`, 0},
		{"redirect to another protocol", serve("/manifests/"+digest, away("ftp://blobs.example/")), `leads to an address that begins with "ftp:"`, 0},
		{"no referrers", serve("/referrers/", status(404)), "ok", 2},
		{"referrers not understood", serve("/referrers/", status(405)), "ok", 2},
		{"referrers of another type", serve("/referrers/", text("text/html", "<html>")), "ok", 2},
		{"referrers broken", serve("/referrers/", text(indexType, "{")), "error: the list of referrers", 0},
		{"referrers cannot be had", serve("/referrers/", status(503)), "answers 503", 0},
		{"referrers not allowed", serve("/referrers/", status(403)), "is access restricted?", 0},
		{"referrers lie about the subject", serve("/referrers/", text(indexType, forged)), "ok: referrer sha256:", 3},
		{"referrers of referrers", serve("/referrers/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", fmt.Sprintf(`<%s?page=%s1>; rel="next"`, r.URL.Path, r.URL.Query().Get("page")))
			text(indexType, encode(t, indexType, map[string]any{"manifests": []any{}}))(w, r)
		}), "ok (0 unread, 1 more): the list of referrers has more than 100 pages", 2},
		{"referrers elsewhere", serve("/referrers/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<https://elsewhere.example/v2/x>; rel="next"`)
			text(indexType, encode(t, indexType, map[string]any{"manifests": []any{}}))(w, r)
		}), "goes on elsewhere", 0},
		{"payload tampered", serve("/blobs/"+payload, text("", strings.ToUpper(sigPiece.payload))), "ok (1 unread, 0 more)", 4},
		{"payload missing", serve("/blobs/"+payload, status(404)), "ok (1 unread, 0 more)", 4},
		{"tag is junk", serve("/manifests/"+tag+".sig", text(manifestType, "junk")), "ok (0 unread, 1 more): " + tag + ".sig (sha256:", 3},
		{"tag is the image", serve("/manifests/"+tag+".sig", text(manifestType, string(must(image.RawManifest())(t)))), "ok", 5}, // its two layers: cosign would take them for signatures
		{"token from a private address", func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://169.254.169.254/token",service="x"`)
				w.WriteHeader(401)
			})
		}, "error: ", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var on atomic.Bool
			d := newDepot(t, true, func(h http.Handler) http.Handler {
				hostile := c.wrap(h)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if on.Load() {
						hostile.ServeHTTP(w, r)
						return
					}
					h.ServeHTTP(w, r)
				})
			})
			d.fill(image)
			d.write(refer(t, bundlePiece.image(t), other), "")
			on.Store(true)
			img, err := d.open(image)
			got := outcome(img, err)
			if c.want == "ok" && got != "ok" || !strings.Contains(got, c.want) {
				t.Errorf("got  %.600s\nwant %s", got, c.want)
			}
			if err == nil && len(img.Signatures) != c.count {
				t.Errorf("%d candidates, want %d:\n%s", len(img.Signatures), c.count, names(img))
			}
		})
	}
}

// A list on two pages is read whole.
func TestReferrersOnPages(t *testing.T) {
	image := randomImage(t, 1)
	one, two := refer(t, bundlePiece.image(t), image), refer(t, sigReferrer.image(t), image)
	page := func(img v1.Image) string {
		return encode(t, indexType, map[string]any{"manifests": []any{map[string]any{
			"mediaType": manifestType, "digest": must(img.Digest())(t).String(), "size": must(img.Size())(t),
		}}})
	}
	d := newDepot(t, true, serve("/referrers/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("last") == "" {
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=x>; rel="next"`, r.URL.Path))
			text(indexType, page(one))(w, r)
			return
		}
		text(indexType, page(two))(w, r)
	}))
	d.fill(image)
	img, err := d.open(image)
	if got := outcome(img, err); got != "ok" || len(img.Signatures) != 4 {
		t.Errorf("%s\n%s", got, names(img))
	}
}

func TestEndOfContext(t *testing.T) {
	image := randomImage(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	d := newDepot(t, true, serve("/blobs/", func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	d.fill(image)
	ref := parse(t, "docker://"+d.repo.Name()+"@"+must(image.Digest())(t).String())
	if _, err := oci.Open(ctx, ref, oci.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b := newBench(t)
	if _, err := oci.Open(ctx, parse(t, "oci:"+b.dir+"@"+b.digest()), oci.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Credentials are read from the user's files when that is allowed, and not before.
func TestKeychain(t *testing.T) {
	image := randomImage(t, 1)
	var on atomic.Bool
	d := newDepot(t, true, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); on.Load() && (user != "me" || password != "secret") {
				w.Header().Set("WWW-Authenticate", `Basic realm="firmware"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	d.fill(image)
	on.Store(true)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", dir)
	check(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"`+d.repo.RegistryStr()+`":{"username":"me","password":"secret"}}}`), 0o600))
	if got := outcome(d.open(image)); !strings.Contains(got, "answers 401") || !strings.Contains(got, "--registry-credentials") {
		t.Errorf("anonymous: %s", got)
	}
	ref := parse(t, "docker://"+d.repo.Name()+"@"+must(image.Digest())(t).String())
	if got := outcome(oci.Open(t.Context(), ref, oci.Options{Keychain: true, PlainHTTP: true})); got != "ok" {
		t.Errorf("with credentials: %s", got)
	}
}
