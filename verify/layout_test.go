package verify_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/oci"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

// signedLayout makes dep/ and ref/, the same OCI layout of an image that these
// keys signed.
func (v *vendor) signedLayout(keys ...string) (digest v1.Hash) {
	v.t.Helper()
	must := func(err error) {
		v.t.Helper()
		if err != nil {
			v.t.Fatal(err)
		}
	}
	img, err := random.Image(2048, 2)
	must(err)
	img = mutate.MediaType(img, types.OCIManifestSchema1)
	digest, err = img.Digest()
	must(err)
	document := sigtest.SimpleSigning(digest.String())
	sigs := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for _, name := range keys {
		sum := sha256.Sum256(document)
		sig, err := v.keys[name].Sign(rand.Reader, sum[:], crypto.SHA256)
		must(err)
		const mediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
		sigs, err = mutate.Append(sigs, mutate.Addendum{
			Layer: static.NewLayer(document, mediaType), MediaType: mediaType,
			Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)},
		})
		must(err)
	}
	for _, side := range []string{"dep", "ref"} {
		dir := filepath.Join(v.dir, side)
		must(os.RemoveAll(dir))
		l, err := layout.Write(dir, empty.Index)
		must(err)
		must(l.AppendImage(img))
		if len(keys) > 0 {
			must(l.AppendImage(sigs, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "sha256-" + digest.Hex + ".sig"})))
		}
	}
	return digest
}

// TestSignedLayout: a deployed OCI layout, signed by what lies in it.
func TestSignedLayout(t *testing.T) {
	v := newVendor(t)
	const (
		vendorIn = "  - {over: deployed, image: \"DIGEST\", key: vendor.pub}\n"
		ciIn     = "  - {over: deployed, image: \"DIGEST\", key: ci.pub}\n"
	)
	for name, c := range map[string]struct {
		keys                []string
		signatures, signers string
		alter               func(dir string)
		rejected            string
	}{
		"one":                    {[]string{"vendor"}, vendorIn, "", nil, ""},
		"two":                    {[]string{"vendor", "ci"}, vendorIn + ciIn, "{deployed: {exactly: [vendor, ci]}}", nil, ""},
		"none":                   {nil, vendorIn, "", nil, `"vendor" over the deployed image does not hold`},
		"another":                {[]string{"author"}, vendorIn, "", nil, `"vendor" over`},
		"one more, all":          {[]string{"vendor", "author"}, vendorIn, "", nil, ""},
		"one more, exactly":      {[]string{"vendor", "author"}, vendorIn, "{deployed: {exactly: [vendor]}}", nil, "of nobody who is listed"},
		"listed, not in exactly": {[]string{"vendor", "ci"}, vendorIn + ciIn, "{deployed: {exactly: [vendor]}}", nil, `"ci" signed the deployed image too`},
		"one of two":             {[]string{"vendor"}, vendorIn + ciIn, "", nil, `"ci" over`},
		"any":                    {[]string{"vendor"}, vendorIn + ciIn, "{deployed: {any: [ci, vendor]}}", nil, ""},
		"a blob changed": {[]string{"vendor"}, vendorIn, "", func(dir string) {
			blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range blobs {
				text, err := os.ReadFile(b)
				if err != nil {
					t.Fatal(err)
				}
				if len(text) > 1024 && text[0] != '{' { // a layer
					text[100] ^= 1
					if err := os.WriteFile(b, text, 0o600); err != nil {
						t.Fatal(err)
					}
					return
				}
			}
			t.Fatal("no layer")
		}, `"vendor" over`},
	} {
		t.Run(name, func(t *testing.T) {
			digest := v.signedLayout(c.keys...)
			if c.alter != nil { // on both sides: only the signature can tell
				c.alter(filepath.Join(v.dir, "dep"))
				c.alter(filepath.Join(v.dir, "ref"))
			}
			r, err := v.deliver("{path: dep}", "{path: ref}", strings.ReplaceAll(c.signatures, "DIGEST", digest.String()), c.signers)
			if err != nil {
				t.Fatal(err)
			}
			wantSigned(t, r, c.rejected)
		})
	}
	digest := v.signedLayout("vendor").String()
	for name, c := range map[string]struct{ deployed, signatures, want string }{
		"not a digest":            {"{path: dep}", strings.ReplaceAll(vendorIn, "DIGEST", "latest"), "is not sha256:"},
		"a file beside the image": {"{path: dep}", strings.ReplaceAll(strings.Replace(vendorIn, "key", "signature: vendor.fw.bin.sig, key", 1), "DIGEST", digest), "an image excludes"},
		"a directory":             {"{path: dep}", vendorFW, "a directory bears no signature"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := v.deliver(c.deployed, "{path: ref}", c.signatures, ""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestSwappedLayout: what is verified is the directory that is compared, wherever
// its path leads once the work has begun.
func TestSwappedLayout(t *testing.T) {
	v := newVendor(t)
	digest := v.signedLayout("vendor").String()
	signed, link := filepath.Join(v.dir, "signed"), filepath.Join(v.dir, "link")
	if err := os.Rename(filepath.Join(v.dir, "dep"), signed); err != nil {
		t.Fatal(err)
	}
	v.signedLayout() // another image, which nobody signed
	to := func(dir string) {
		_ = os.Remove(link)
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
	}
	to(filepath.Join(v.dir, "dep"))
	v.write("delivery.yaml", []byte("version: 1\nname: x\ndeployed: {path: link}\nreference: {path: ref}\nsignatures:\n  - {over: deployed, image: \""+digest+"\", key: vendor.pub}\n"))
	d, err := verify.LoadDelivery(filepath.Join(v.dir, "delivery.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := verify.Check(t.Context(), d, verify.CheckOptions{WorkDir: t.TempDir(), Say: func(string) { to(signed) }})
	if err != nil {
		t.Fatal(err)
	}
	wantSigned(t, out.Report, `"vendor" over`)
}

// TestUnreadSigners: of more signatures than are read nobody knows whose they are.
func TestUnreadSigners(t *testing.T) {
	v := newVendor(t)
	keys := slices.Repeat([]string{"vendor"}, oci.MaxCandidates)
	digest := v.signedLayout(append(keys, "author")...).String()
	entry := "  - {name: NAME, over: deployed, image: \"" + digest + "\", key: vendor.pub}\n"
	text := strings.Replace(entry, "NAME", "a", 1) + strings.Replace(entry, "NAME", "b", 1)
	for signers, why := range map[string]string{"{deployed: {exactly: [a, b]}}": "which were not read", "{deployed: {all: [a, b]}}": ""} {
		r, err := v.deliver("{path: dep}", "{path: dep}", text, signers)
		if err != nil {
			t.Fatal(err)
		}
		wantSigned(t, r, why)
		unread := 0
		for _, s := range r.Signatures {
			if s.Stranger {
				unread++
			}
		}
		if unread != 1 {
			t.Errorf("%s: %d strangers listed, want 1", signers, unread)
		}
	}
}

// TestHiddenSigners: `exactly` sees every signature that another verifier would
// take, however it is put beside the image.
func TestHiddenSigners(t *testing.T) {
	v := newVendor(t)
	const signatures = "  - {over: deployed, image: \"DIGEST\", key: vendor.pub}\n"
	layer := func(digest v1.Hash, key, mediaType string) v1.Image {
		t.Helper()
		document := sigtest.SimpleSigning(digest.String())
		sum := sha256.Sum256(document)
		sig, err := v.keys[key].Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
			Layer: static.NewLayer(document, types.MediaType(mediaType)), MediaType: types.MediaType(mediaType),
			Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	for name, mediaType := range map[string]string{
		"a second manifest at the tag":             "application/vnd.dev.cosign.simplesigning.v1+json",
		"a second manifest, of another media type": "text/plain",
	} {
		t.Run(name, func(t *testing.T) {
			digest := v.signedLayout("vendor")
			for _, side := range []string{"dep", "ref"} {
				l, err := layout.FromPath(filepath.Join(v.dir, side))
				if err != nil {
					t.Fatal(err)
				}
				tag := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "sha256-" + digest.Hex + ".sig"})
				if err := l.AppendImage(layer(digest, "author", mediaType), tag); err != nil {
					t.Fatal(err)
				}
			}
			text := strings.ReplaceAll(signatures, "DIGEST", digest.String())
			r, err := v.deliver("{path: dep}", "{path: dep}", text, "{deployed: {exactly: [vendor]}}")
			if err != nil {
				t.Fatal(err)
			}
			wantSigned(t, r, "of nobody who is listed")
			if r, err = v.deliver("{path: dep}", "{path: dep}", text, "{deployed: {all: [vendor]}}"); err != nil {
				t.Fatal(err)
			}
			wantSigned(t, r, "")
		})
	}
}
