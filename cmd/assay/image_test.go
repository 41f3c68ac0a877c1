package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assaylab/assay/verify/signature/sigtest"
)

const (
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	dsseEnvelope  = "application/vnd.dsse.envelope.v1+json"
	bundleV03     = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// beside is an image of one layer, as cosign puts signatures beside another.
func beside(t *testing.T, mediaType types.MediaType, payload []byte, annotations map[string]string) v1.Image {
	t.Helper()
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer: static.NewLayer(payload, mediaType), Annotations: annotations, MediaType: mediaType,
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// signedImage is an image, and what an authority signed of it.
type signedImage struct {
	image       v1.Image
	digest      v1.Hash
	simple      v1.Image // at the tag sha256-HEX.sig
	attestation v1.Image // at the tag sha256-HEX.att, of a vulnerability scan
	bundle      v1.Image // a referrer
}

func (p *trapper) image() signedImage {
	p.t.Helper()
	must := func(err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
	}
	img, err := random.Image(4096, 3)
	must(err)
	img = mutate.MediaType(img, types.OCIManifestSchema1)
	digest, err := img.Digest()
	must(err)
	old := sigtest.Making{Version: "0.1", NoProof: true}
	document := sigtest.SimpleSigning(digest.String())
	b, err := p.Sign(document, old)
	payload, annotations, err := sigtest.Layer(document, b, err)
	must(err)
	out := signedImage{image: img, digest: digest, simple: beside(p.t, simpleSigning, payload, annotations)}
	statement := func(predicate string) []byte {
		return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fw","digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, digest.Hex, predicate)
	}
	b, err = p.Attest(statement("https://cosign.sigstore.dev/attestation/vuln/v1"), old)
	payload, annotations, err = sigtest.Layer(nil, b, err)
	must(err)
	out.attestation = beside(p.t, dsseEnvelope, payload, annotations)
	b, err = p.Attest(statement("https://sigstore.dev/cosign/sign/v1"), sigtest.Making{})
	must(err)
	size, err := img.Size()
	must(err)
	referrer := mutate.ConfigMediaType(beside(p.t, bundleV03, b, nil), bundleV03)
	out.bundle, _ = mutate.Subject(referrer, v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: size, Digest: digest}).(v1.Image)
	return out
}

func (p *trapper) layout(images map[string]v1.Image) string {
	p.t.Helper()
	dir, err := os.MkdirTemp(p.dir, "layout")
	if err != nil {
		p.t.Fatal(err)
	}
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, ref := range []string{"fw", "sig", "att", "bundle"} {
		img := images[ref]
		if img == nil {
			continue
		}
		var options []layout.Option
		if ref == "sig" || ref == "att" {
			digest, err := images["fw"].Digest()
			if err != nil {
				p.t.Fatal(err)
			}
			options = append(options, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "sha256-" + digest.Hex + "." + ref}))
		}
		if err := l.AppendImage(img, options...); err != nil {
			p.t.Fatal(err)
		}
	}
	return dir
}

func TestImage(t *testing.T) {
	a, err := sigtest.New()
	p := newTrapper(t, a, err)
	signed := p.image()
	other := p.image()
	trust := []string{"--certificate-identity", sigtest.Identity, "--certificate-oidc-issuer", sigtest.Issuer, "--trusted-root", p.root()}
	layers, err := signed.image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := func(dir string, h v1.Hash) string { return filepath.Join(dir, "blobs", "sha256", h.Hex) }
	for name, c := range map[string]struct {
		images map[string]v1.Image
		alter  func(dir string)
		args   []string
		code   int
		want   string
	}{
		"simple signing":        {map[string]v1.Image{"fw": signed.image, "sig": signed.simple}, nil, nil, 0, "the signed document names the image"},
		"bundle":                {map[string]v1.Image{"fw": signed.image, "bundle": signed.bundle}, nil, nil, 0, "the statement names the artifact"},
		"all of it":             {map[string]v1.Image{"fw": signed.image, "sig": signed.simple, "att": signed.attestation, "bundle": signed.bundle}, nil, nil, 0, "statement  https://cosign.sigstore.dev/attestation/vuln/v1\nstatement  https://sigstore.dev/cosign/sign/v1\n"},
		"no signature":          {map[string]v1.Image{"fw": signed.image}, nil, nil, 1, "no signature of the image was found"},
		"an attestation alone":  {map[string]v1.Image{"fw": signed.image, "att": signed.attestation}, nil, nil, 1, "no signature of the image: ask for it with --type"},
		"the attestation asked": {map[string]v1.Image{"fw": signed.image, "att": signed.attestation}, nil, []string{"--type", "vuln"}, 0, "attestation/vuln/v1"},
		"another attestation":   {map[string]v1.Image{"fw": signed.image, "att": signed.attestation}, nil, []string{"--type", "spdxjson"}, 1, "verdict    rejected"},
		"signature of another":  {map[string]v1.Image{"fw": signed.image, "sig": other.simple}, nil, nil, 1, "another image"},
		"by another signer":     {map[string]v1.Image{"fw": signed.image, "sig": signed.simple}, nil, []string{"--certificate-identity", "x@x"}, 1, "--certificate-identity='" + sigtest.Identity + "'"},
		"by another instance":   {map[string]v1.Image{"fw": signed.image, "sig": signed.simple}, nil, []string{"--trusted-root", newTrapper(t, mustNew(t), nil).root()}, 1, "does not know the log"},
		"a layer with another byte": {map[string]v1.Image{"fw": signed.image, "sig": signed.simple}, func(dir string) {
			b, err := os.ReadFile(blob(dir, layer))
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(blob(dir, layer), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, layer.Hex},
		"a layer less": {map[string]v1.Image{"fw": signed.image, "sig": signed.simple}, func(dir string) {
			if err := os.Remove(blob(dir, layer)); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, layer.Hex},
		"a blob of nobody": {map[string]v1.Image{"fw": signed.image, "sig": signed.simple}, func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", "payload"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := p.layout(c.images)
			if c.alter != nil {
				c.alter(dir)
			}
			args := []string{"verify", "oci:" + dir + "@" + signed.digest.String()}
			for i := 0; i < len(trust); i += 2 { // what the case gives stands in the place of it
				if len(c.args) == 0 || c.args[0] != trust[i] {
					args = append(args, trust[i:i+2]...)
				}
			}
			args = append(args, c.args...)
			stdout, stderr, code := assay(args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.want) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, c.code, c.want, stdout, stderr)
			}
			stdout, _, code = assay(append(args, "-o", "json")...)
			var res struct {
				OK         bool
				Reasons    []string
				Image      struct{ Digest string }
				Signatures []struct {
					OK    bool
					Steps []struct{ Name string }
				}
			}
			if err := json.Unmarshal([]byte(stdout), &res); err != nil || code != c.code || res.OK != (code == 0) || res.OK != (len(res.Reasons) == 0) || res.Image.Digest != signed.digest.String() {
				t.Errorf("JSON: exit code %d, %v\n%s", code, err, stdout)
			}
		})
	}
	t.Run("not by digest", func(t *testing.T) {
		dir := p.layout(map[string]v1.Image{"fw": signed.image})
		for _, arg := range []string{"oci:" + dir, "oci:" + dir + "@sha256:" + other.digest.Hex} {
			stdout, stderr, code := assay(append([]string{"verify", arg}, trust...)...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, "assay: hint: ") || !strings.Contains(stderr, signed.digest.String()) {
				t.Errorf("%s: exit code %d\n%s%s", arg, code, stdout, stderr)
			}
		}
	})
	t.Run("registry", func(t *testing.T) {
		server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
		defer server.Close()
		repo, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/vendor/fw")
		if err != nil {
			t.Fatal(err)
		}
		ref := "docker://" + repo.Name() + "@" + signed.digest.String()
		for _, push := range []struct {
			ref name.Reference
			img v1.Image
		}{{repo.Tag("latest"), signed.image}, {repo.Tag("sha256-" + signed.digest.Hex + ".sig"), signed.simple}, {repo.Tag("x"), signed.bundle}} {
			if err := remote.Write(push.ref, push.img); err != nil {
				t.Fatal(err)
			}
		}
		args := append([]string{"verify", ref}, trust...)
		if _, stderr, code := assay(args...); code != 2 || !strings.Contains(stderr, "--network") {
			t.Errorf("without --network: exit code %d\n%s", code, stderr)
		}
		stdout, stderr, code := assay(append(args, "--network")...)
		if code != 0 || strings.Count(stdout, "this signature holds") != 2 {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}

func mustNew(t *testing.T) *sigtest.Authority {
	t.Helper()
	a, err := sigtest.New()
	if err != nil {
		t.Fatal(err)
	}
	return a
}
