package verify_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

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
		"image of a file":         {"{path: fw.bin}", strings.ReplaceAll(vendorIn, "DIGEST", digest), "is not a directory"},
		"another image":           {"{path: dep}", strings.ReplaceAll(vendorIn, "DIGEST", "sha256:"+strings.Repeat("0", 64)), "has no image"},
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
