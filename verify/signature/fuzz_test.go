package signature_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

// FuzzInputs feeds foreign bytes to each parser in turn: bundle (of either kind)
// under an identity, bundle under a key, detached signature, public key, trusted
// root, certificate roots, certificate, time stamp, and each part of what is
// found beside an image. Nothing panics, and every answer explains itself.
func FuzzInputs(f *testing.F) {
	a, err := sigtest.New()
	if err != nil {
		f.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	artifact := []byte("firmware")
	seed := func(which byte) func([]byte, error) {
		return func(b []byte, err error) {
			if err != nil {
				f.Fatal(err)
			}
			f.Add(which, b)
		}
	}
	for _, m := range []sigtest.Making{{}, {Version: "0.1", NoProof: true}, {Stamp: true}} {
		seed(0)(a.Sign(artifact, m))
		seed(0)(a.Attest(statement(""), m))
		seed(1)(a.SignWithKey(artifact, key, m))
	}
	old := sigtest.Making{Version: "0.1", NoProof: true, Stamp: true}
	seed(0)(sigtest.Legacy(a.Sign(artifact, old)))
	seed(0)(sigtest.Legacy(a.Attest(statement(""), old)))
	seed(1)(sigtest.Legacy(a.SignWithKey(artifact, key, old)))
	seed(5)(a.PEM(), nil)
	sig, cert, stamp, err := sigtest.Loose(a.Sign(artifact, old))
	seed(6)(cert, err)
	seed(7)(stamp, err)
	var image [32]byte
	document := sigtest.SimpleSigning("sha256:" + strings.Repeat("0", 64))
	signed, err := a.Sign(document, old)
	_, annotations, err := sigtest.Layer(document, signed, err)
	seed(8)(document, err)
	seed(9)([]byte(annotations["dev.sigstore.cosign/bundle"]), err)
	seed(10)([]byte(annotations["dev.sigstore.cosign/rfc3161timestamp"]), err)
	attested, err := a.Attest(statement(""), old)
	envelope, _, err := sigtest.Layer(nil, attested, err)
	seed(11)(envelope, err)
	seed(12)(a.Attest(statement(""), sigtest.Making{}))
	seed(2)([]byte("MEUC"), nil)
	seed(3)(sigtest.PublicPEM(key.Public()))
	seed(4)(a.TrustedRoot(true))
	root, err := a.TrustedRoot(true)
	if err != nil {
		f.Fatal(err)
	}
	pub, err := sigtest.PublicPEM(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	bundle, err := a.Sign(artifact, sigtest.Making{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		dir := t.TempDir()
		put := func(name string, b []byte) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		byKey := signature.Request{Artifact: signature.File(put("fw.bin", artifact)), Key: put("key.pub", pub)}
		byName := signature.Request{
			Artifact: byKey.Artifact, Bundle: put("bundle.json", bundle), TrustedRoot: put("root.json", root),
			Identity: signature.Identity{Subject: sigtest.Identity, Issuer: sigtest.Issuer},
		}
		var req signature.Request
		foundWith := func(kind string, payload []byte, key string) {
			f := signature.Found{Name: "found", Kind: kind, Payload: payload, Annotations: maps.Clone(annotations)}
			if key != "" {
				f.Annotations[key] = string(b)
			}
			asked := byName
			asked.Bundle, asked.Artifact = "", signature.Artifact{}
			results, err := signature.VerifyFound(t.Context(), asked, image, []signature.Found{f})
			for _, res := range results {
				checkTable(t, res, err)
			}
			if len(results) != 1 || err != nil && !isLimit(err) {
				t.Errorf("%d results, %v", len(results), err)
			}
		}
		switch foreign := put("foreign", b); which % 13 {
		case 0:
			req = byName
			req.Bundle = foreign
		case 1:
			req = byKey
			req.Bundle, req.TrustedRoot = foreign, byName.TrustedRoot
		case 2:
			req = byKey
			req.Signature = foreign
		case 3:
			req = byKey
			req.Key, req.Signature = foreign, byKey.Key
			req.Signature = put("sig", []byte("AAAA"))
		case 4:
			req = byName
			req.TrustedRoot = foreign
		case 5:
			req = byName
			req.TrustedRoot, req.PrivatePKI = foreign, true
		case 6, 7:
			req = byName
			req.Bundle, req.Signature, req.Certificate, req.Timestamp = "", put("fw.sig", sig), put("fw.crt", cert), put("fw.tsr", stamp)
			if which%13 == 6 {
				req.Certificate = foreign
			} else {
				req.Timestamp = foreign
			}
		case 8:
			foundWith(signature.KindSimple, b, "")
			return
		case 9:
			foundWith(signature.KindSimple, document, "dev.sigstore.cosign/bundle")
			return
		case 10:
			foundWith(signature.KindSimple, document, "dev.sigstore.cosign/rfc3161timestamp")
			return
		case 11:
			foundWith(signature.KindEnvelope, b, "")
			return
		case 12:
			foundWith(signature.KindBundle, b, "")
			return
		}
		res, err := signature.Verify(t.Context(), req)
		checkTable(t, res, err)
	})
}
