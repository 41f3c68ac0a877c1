package signature_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

// FuzzInputs feeds foreign bytes to each parser in turn: bundle under an
// identity, bundle under a key, detached signature, public key, trusted root.
// Nothing panics, and every answer explains itself.
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
		switch foreign := put("foreign", b); which % 5 {
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
		}
		res, err := signature.Verify(t.Context(), req)
		checkTable(t, res, err)
	})
}
