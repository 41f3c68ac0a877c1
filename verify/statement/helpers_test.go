package statement_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/assaylab/assay/verify/statement"
)

var deployed = []byte("firmware 1.0\n")

func digests(b []byte) map[string]string {
	s256, s512 := sha256.Sum256(b), sha512.Sum512(b)
	return map[string]string{"sha256": hex.EncodeToString(s256[:]), "sha512": hex.EncodeToString(s512[:])}
}

// account is an honest PASS over deployed.
func account() *statement.ByteAccounting {
	n := int64(len(deployed))
	return &statement.ByteAccounting{
		Tool:    statement.Tool{Name: "assay", Version: "1.0"},
		Verdict: statement.Pass, Reasons: []string{},
		Reference: statement.Image{Name: "ref.bin", Kind: "file", Size: n, Digest: digests([]byte("firmware 0.9\n")), Origin: []byte(`{"kind":"pinned"}`)},
		Deployed:  statement.Image{Name: "fw.bin", Kind: "file", Size: n, Digest: digests(deployed)},
		Policy:    statement.Policy{Name: "standard", Explained: true, FreeBits: 1024},
		Totals:    statement.Totals{Identical: n - 3, Explained: 3},
		FreeBits:  8,
		Rules:     []statement.Rule{{Name: "version-text", Differences: 1, Bytes: 3, FreeBits: 8}},
		Signatures: []statement.Signature{{
			Name: "vendor", Over: "deployed", Holds: true, Signed: statement.Input{Kind: "bundle v0.3", Name: "fw.json", Digest: digests([]byte("b"))},
			Trust: []statement.Input{}, Steps: passed(),
		}},
		Signers:  statement.Signers{Deployed: &statement.SignerRule{All: []string{"vendor"}}},
		Evidence: statement.Evidence{Sums: strings.Repeat("ab", 32), Ledger: strings.Repeat("cd", 32)},
	}
}

// passed are the steps of a verification that passed.
func passed() []statement.Step {
	var steps []statement.Step
	for _, name := range []string{"parse", "chain", "SCT", "log", "time", "signature", "subject", "identity", "predicate"} {
		steps = append(steps, statement.Step{Name: name, Outcome: "pass", Reason: "it is"})
	}
	steps[2].Outcome = "not checked"
	return steps
}

func encoded(t testing.TB, a *statement.ByteAccounting) []byte {
	t.Helper()
	s, err := a.Statement()
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantError demands an Error that says want, has a hint and names no folder.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	var e *statement.Error
	switch {
	case !errors.As(err, &e):
		t.Errorf("error %v of type %T, want an Error that says %q", err, err, want)
	case !strings.Contains(e.Msg, want):
		t.Errorf("error %q, want %q", e.Msg, want)
	case e.Hint == "":
		t.Errorf("%q has no hint", e.Msg)
	case strings.Contains(e.Msg, os.TempDir()+"/"):
		t.Errorf("%q names a folder", e.Msg)
	}
}

type kind struct {
	scheme string
	key    crypto.Signer
}

func ec(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	once, ok := rsaOnce[bits]
	if !ok {
		once = func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) }
	}
	k, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rsaOnce is made once: a key of 4096 bits takes seconds.
var rsaOnce = map[int]func() (*rsa.PrivateKey, error){
	2048: sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }),
	3072: sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 3072) }),
	4096: sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 4096) }),
}

// kinds are keys of every kind.
func kinds(t *testing.T) []kind {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []kind{
		{"ECDSA P-256 with SHA-256", ec(t, elliptic.P256())},
		{"ECDSA P-384 with SHA-384", ec(t, elliptic.P384())},
		{"ECDSA P-521 with SHA-512", ec(t, elliptic.P521())},
		{"RSA-2048 PKCS #1 v1.5 with SHA-256", rsaKey(t, 2048)},
		{"RSA-3072 PKCS #1 v1.5 with SHA-256", rsaKey(t, 3072)},
		{"RSA-4096 PKCS #1 v1.5 with SHA-256", rsaKey(t, 4096)},
		{"Ed25519", ed},
	}
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func block(kind string, b []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
}
