//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify"
)

// What was rebuilt is stated, signed, verified, made a recipe of, and rebuilt again:
// the same bytes.
func TestProvenanceRoundTrip(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(in(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	put("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	put("key.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	put("a", []byte("abc"))
	put("recipe.yaml", []byte(`version: 1
sources: [{path: a, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, at: /src/a}]
toolchain: {host: [cat]}
env: {FLAVOUR: "dark \"chocolate\""}
steps:
  - sh: |
      cat a >fw.bin
      echo "$FLAVOUR" >>fw.bin
outputs: [{path: fw.bin}]
`))
	do := func(want int, args ...string) string {
		t.Helper()
		stdout, stderr, code := assay(args...)
		if strings.Contains(stderr, "no sandbox works here") {
			t.Skip("SKIP-NAMESPACE: " + stderr)
		}
		if code != want {
			t.Fatalf("%q: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout
	}
	do(0, "rebuild", "-q", in("recipe.yaml"), "--out", in("one"))
	image := filepath.Join(in("one"), "build-1", "fw.bin")
	bundle := in("provenance.sigstore.json")
	do(0, "sign", "-q", "--key", in("key.pem"), "--out", bundle, filepath.Join(in("one"), verify.ProvenanceFile))
	do(0, "verify", "-q", "--key", in("key.pub"), "--bundle", bundle, "--type", "slsaprovenance1", image)

	recipe := do(0, "rebuild", "-q", "--from-provenance", bundle, "--subject", image, "--key", in("key.pub"))
	put("again.yaml", []byte(recipe))
	do(0, "rebuild", "-q", in("again.yaml"), "--out", in("two"))
	first, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(in("two"), "build-1", "fw.bin"))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("%q became %q, %v\n%s", first, second, err, recipe)
	}

	// Nobody's word makes no recipe.
	put("other.bin", []byte("other bytes"))
	if out := do(1, "rebuild", "-q", "--from-provenance", bundle, "--subject", in("other.bin"), "--key", in("key.pub")); out != "" {
		t.Errorf("a recipe of what is not the subject: %s", out)
	}

	// The evidence of a delivery states the same, and sign --provenance signs that.
	put("delivery.yaml", []byte("version: 1\nname: fw\ndeployed: {path: one/build-1/fw.bin}\nreference: {rebuild: recipe.yaml, output: fw.bin}\n"))
	do(0, "check", "-q", in("delivery.yaml"), "--evidence", in("evidence"))
	do(0, "sign", "-q", "--provenance", "--key", in("key.pem"), "--out", in("again.sigstore.json"), in("evidence"))
	do(0, "verify", "-q", "--key", in("key.pub"), "--bundle", in("again.sigstore.json"), image)
	do(2, "sign", "-q", "--provenance", "--key", in("key.pem"), filepath.Join(in("evidence"), verify.ProvenanceFile))
}
