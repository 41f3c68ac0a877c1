package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// What verifying a detached signature is held to, against a bare hash of the file.
const (
	maxHashing  = 1.3      // times as long …
	startup     = 0.05     // … and this many seconds more
	maxVerifier = 64 << 20 // bytes resident
)

// verifyJobs times the verification of a signature over 512 MiB in each kind of scheme
// that streams.
func (b *bench) verifyJobs() error {
	const size = 512 << 20
	file := filepath.Join(b.dir, "large")
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	if err := noise(f, 7, size, -1); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return err
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	for _, j := range []struct {
		scheme string
		key    crypto.Signer
		hash   crypto.Hash
		tool   string // of openssl dgst
	}{
		{"ECDSA P-256", ec, crypto.SHA256, "sha256"},
		{"RSA-3072 PKCS #1 v1.5", rsaKey, crypto.SHA256, "sha256"},
		{"Ed25519ph", ed, crypto.SHA512, "sha512"},
	} {
		if err := b.verifyJob(j.scheme, file, j.key, j.hash, j.tool); err != nil {
			return fmt.Errorf("%s: %w", j.scheme, err)
		}
	}
	return nil
}

func (b *bench) verifyJob(scheme, file string, key crypto.Signer, hash crypto.Hash, tool string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	h := hash.New()
	if _, err := io.Copy(h, in); err != nil {
		return err
	}
	sig, err := key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	pub, signed := filepath.Join(b.dir, "key.pub"), filepath.Join(b.dir, "large.sig")
	if err := os.WriteFile(pub, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(signed, sig, 0o600); err != nil {
		return err
	}
	bare := []string{tool + "sum", file}
	if openssl, err := exec.LookPath("openssl"); err == nil {
		bare = []string{openssl, "dgst", "-" + tool, file}
	}
	own := &contender{name: "assay verify", commands: [][]string{{b.assay, "verify", file, "--key", pub, "--signature", signed}}, same: true}
	other := &contender{name: filepath.Base(bare[0]) + " " + tool, commands: [][]string{bare}, same: true}
	fmt.Fprintf(b.out, "\nverify: 512 MiB under a detached signature, %s\n", scheme)
	for range b.runs {
		for _, c := range []*contender{own, other} {
			if err := c.run(b.dir); err != nil {
				return err
			}
		}
	}
	for _, c := range []*contender{own, other} {
		fmt.Fprintf(b.out, "  %-20s %9.3f s  (median of %d)  %4d MiB", c.name, c.median(), len(c.times), c.resident>>20)
		if c == own {
			fmt.Fprintf(b.out, ", at most %d: %s", maxVerifier>>20, met(c.resident < maxVerifier))
		} else {
			fmt.Fprintf(b.out, "   assay takes %.2f times as long, at most %.1f and %.2f s: %s", own.median()/c.median(), maxHashing, startup,
				met(own.median() <= maxHashing*c.median()+startup))
		}
		fmt.Fprintln(b.out)
	}
	return nil
}
