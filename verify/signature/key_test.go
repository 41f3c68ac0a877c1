package signature_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

func (l *lab) publicKey(name string, pub crypto.PublicKey) string {
	l.t.Helper()
	b, err := sigtest.PublicPEM(pub)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.write(name, b)
}

// weakKey is an RSA key of 1024 bits, which crypto/rsa refuses to make.
func weakKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	e := big.NewInt(65537)
	for {
		p, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			t.Fatal(err)
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		n := new(big.Int).Mul(p, q)
		if d == nil || p.Cmp(q) == 0 || n.BitLen() != 1024 {
			continue
		}
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}, D: d, Primes: []*big.Int{p, q}}
		k.Precompute()
		return k
	}
}

type signer struct {
	scheme       string
	onlyWithFile bool // a SHA-256 digest is not enough
	key          crypto.Signer
	opts         crypto.SignerOpts
}

func (s signer) sign(t *testing.T, message []byte) []byte {
	t.Helper()
	digest := message
	if h := s.opts.HashFunc(); h != 0 {
		w := h.New()
		w.Write(message)
		digest = w.Sum(nil)
	}
	sig, err := s.key.Sign(rand.Reader, digest, s.opts)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func signers(t *testing.T) []signer {
	t.Helper()
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, p384, p521 := ec(elliptic.P256()), ec(elliptic.P384()), ec(elliptic.P521())
	return []signer{
		{"ECDSA P-256 with SHA-256", false, p256, crypto.SHA256},
		{"ECDSA P-384 with SHA-384", true, p384, crypto.SHA384},
		{"ECDSA P-384 with SHA-256", false, p384, crypto.SHA256},
		{"ECDSA P-521 with SHA-512", true, p521, crypto.SHA512},
		{"ECDSA P-521 with SHA-256", false, p521, crypto.SHA256},
		{"RSA-2048 PKCS #1 v1.5 with SHA-256", false, r, crypto.SHA256},
		{"RSA-2048 PSS with SHA-256", false, r, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash}},
		{"Ed25519ph", true, ed, crypto.SHA512},
		{"Ed25519", true, ed, crypto.Hash(0)},
	}
}

func (l *lab) detached(key crypto.PublicKey, sig []byte) signature.Request {
	return signature.Request{
		Artifact: signature.File(l.path("fw.bin")), Key: l.publicKey("vendor.pub", key), Signature: l.write("fw.bin.sig", sig),
	}
}

func TestDetached(t *testing.T) {
	l := newLab(t)
	all := signers(t)
	for _, s := range all {
		t.Run(s.scheme, func(t *testing.T) {
			sig := s.sign(t, l.artifact)
			b64 := base64.StdEncoding.EncodeToString(sig)
			for form, file := range map[string][]byte{
				"raw": sig, "base64": []byte(b64), "base64 and newline": []byte(b64 + "\n"),
				"wrapped base64": []byte(b64[:40] + "\r\n" + b64[40:] + "\n"),
			} {
				res := wantOK(t, l.detached(s.key.Public(), file))
				if res.Scheme != s.scheme {
					t.Errorf("%s: scheme %q, want %q", form, res.Scheme, s.scheme)
				}
				der, _ := x509.MarshalPKIXPublicKey(s.key.Public())
				sum := sha256.Sum256(der)
				if len(res.Trust) != 1 || res.Trust[0].SHA256 != hex.EncodeToString(sum[:]) || res.Trust[0].Name != "vendor.pub" {
					t.Errorf("%s: trust %+v", form, res.Trust)
				}
			}
			req := l.detached(s.key.Public(), sig)
			req.Artifact = signature.Digest(sha256.Sum256(l.artifact))
			if s.onlyWithFile {
				wantLimit(t, req)
			} else {
				wantOK(t, req)
			}
			req.Artifact = signature.File(l.write("other.bin", []byte("firmware 1.1\n")))
			wantFail(t, req, signature.StepSignature, "does not verify")
			req.Artifact = signature.File(l.write("empty.bin", nil))
			wantFail(t, req, signature.StepSignature, "does not verify")
			for i := 0; i < len(sig); i += 1 + len(sig)/100*4 { // every byte of short ones
				bad := bytes.Clone(sig)
				bad[i] ^= 1
				wantFail(t, l.detached(s.key.Public(), bad), signature.StepSignature, "does not verify")
			}
			wantFail(t, l.detached(s.key.Public(), nil), signature.StepSignature, "absent")
			wantFail(t, l.detached(s.key.Public(), []byte(b64[:len(b64)/8*4])), signature.StepSignature, "does not verify")
			for _, other := range all {
				if other.key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(s.key.Public()) {
					continue
				}
				wantFail(t, l.detached(other.key.Public(), sig), signature.StepSignature, "does not verify")
			}
		})
	}
}

// TestRawSignatureOfAnyForm: raw bytes that begin or end like text are raw.
func TestRawSignatureOfAnyForm(t *testing.T) {
	l := newLab(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[byte]bool{}
	for n := 0; len(seen) < 4; n++ {
		message := fmt.Appendf(nil, "firmware %d", n)
		sig := ed25519.Sign(key, message)
		if first := sig[0]; strings.IndexByte("{ \n-", first) >= 0 && !seen[first] {
			seen[first] = true
			l.write("fw.bin", message)
			wantOK(t, l.detached(key.Public(), sig))
		}
	}
}

// TestEmptyArtifact: nothing can be signed too, and only by its own signature.
func TestEmptyArtifact(t *testing.T) {
	l := newLab(t)
	l.write("fw.bin", nil)
	for _, s := range signers(t) {
		wantOK(t, l.detached(s.key.Public(), s.sign(t, nil)))
		wantFail(t, l.detached(s.key.Public(), s.sign(t, []byte("x"))), signature.StepSignature, "does not verify")
	}
}

// TestLargeArtifact: only a pure Ed25519 signature needs the message.
func TestLargeArtifact(t *testing.T) {
	l := newLab(t)
	message := make([]byte, signature.MaxMessage+1)
	l.write("fw.bin", message)
	for _, s := range signers(t) {
		if strings.HasPrefix(s.scheme, "ECDSA P-") && s.scheme != "ECDSA P-256 with SHA-256" {
			continue // as P-256
		}
		req := l.detached(s.key.Public(), s.sign(t, message))
		for _, a := range []signature.Artifact{
			signature.File(l.path("fw.bin")),
			signature.Reader("fw.bin", bytes.NewReader(message), int64(len(message))),
		} {
			req.Artifact = a
			if s.scheme == "Ed25519" {
				wantLimit(t, req)
			} else {
				wantOK(t, req)
			}
		}
		if s.scheme == "Ed25519" { // no Ed25519 signature has 63 bytes
			wantFail(t, l.detached(s.key.Public(), make([]byte, 63)), signature.StepSignature, "does not verify")
			exact := message[:signature.MaxMessage]
			req := l.detached(s.key.Public(), s.sign(t, exact))
			req.Artifact = signature.Reader("fw.bin", bytes.NewReader(exact), int64(len(exact)))
			wantOK(t, req)
		}
	}
}

// TestPipe: a pipe has no size to look at beforehand.
func TestPipe(t *testing.T) {
	l := newLab(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{signature.MaxMessage + 1, 1000} {
		message := make([]byte, size)
		req := l.detached(key.Public(), ed25519.Sign(key, message))
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("/proc/self/fd/%d", r.Fd())
		if _, err := os.Stat(path); err != nil {
			t.Skip("no /proc/self/fd here")
		}
		go func() { w.Write(message); w.Close() }()
		if req.Artifact = signature.File(path); size > signature.MaxMessage {
			wantLimit(t, req)
		} else {
			wantOK(t, req)
		}
		r.Close()
	}
}

// TestPanic: a panic in a reader or a parser is no answer, and does not spread.
func TestPanic(t *testing.T) {
	l := newLab(t)
	req := l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{})))
	req.Artifact = signature.Reader("fw.bin", panicking{}, 1)
	wantTrouble(t, req, "panicked")
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("as a parser might") }

func TestUnusableKeys(t *testing.T) {
	l := newLab(t)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(ec)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	public := func(k any) string { b, _ := sigtest.PublicPEM(k); return string(b) }
	weak := weakKey(t)
	good := signer{key: ec, opts: crypto.SHA256}
	for name, c := range map[string]struct{ pem, reason string }{
		"empty":             {"", "not PEM"},
		"DER":               {string(pkcs8), "not PEM"},
		"garbage":           {block("PUBLIC KEY", []byte("garbage")), "cannot be read"},
		"cut":               {public(ec.Public())[:60], "not PEM"},
		"private":           {block("PRIVATE KEY", pkcs8), "private key"},
		"cosign private":    {block("ENCRYPTED SIGSTORE PRIVATE KEY", pkcs8), "private key"},
		"certificate":       {block("CERTIFICATE", pkcs8), "certificate"},
		"two keys":          {public(ec.Public()) + public(ec.Public()), "more than one"},
		"RSA-1024":          {public(weak.Public()), "too weak"},
		"RSA-1024, PKCS #1": {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&weak.PublicKey)), "too weak"},
		"P-224":             {public(p224.Public()), "too weak"},
		"huge":              {strings.Repeat("A", signature.MaxKey+1), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			req := l.detached(ec.Public(), good.sign(t, l.artifact))
			req.Key = l.write("bad.pub", []byte(c.pem))
			wantTrouble(t, req, c.reason)
		})
	}
	t.Run("RSA PUBLIC KEY", func(t *testing.T) {
		r, _ := rsa.GenerateKey(rand.Reader, 2048)
		req := l.detached(ec.Public(), signer{key: r, opts: crypto.SHA256}.sign(t, l.artifact))
		req.Key = l.write("rsa.pub", []byte(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey))))
		wantOK(t, req)
	})
}

func TestUnreadableInputs(t *testing.T) {
	l := newLab(t)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sig := signer{key: ec, opts: crypto.SHA256}.sign(t, l.artifact)
	for name, c := range map[string]struct {
		change func(*signature.Request)
		reason string
	}{
		"no artifact":      {func(r *signature.Request) { r.Artifact = signature.File(l.path("no.bin")) }, "no such file"},
		"folder":           {func(r *signature.Request) { r.Artifact = signature.File(l.dir) }, "directory"},
		"no signature":     {func(r *signature.Request) { r.Signature = l.path("no.sig") }, "no such file"},
		"no key":           {func(r *signature.Request) { r.Key = l.path("no.pub") }, "no such file"},
		"bundle for .sig":  {func(r *signature.Request) { r.Signature = l.write("b", []byte(" {}")) }, "JSON"},
		"armour":           {func(r *signature.Request) { r.Signature = l.write("b", []byte("-----BEGIN PGP SIGNATURE-----\n")) }, "armour"},
		"artifact as .sig": {func(r *signature.Request) { r.Signature = l.write("b", make([]byte, signature.MaxSignature+1)) }, "larger than"},
		"short reader": {func(r *signature.Request) {
			r.Artifact = signature.Reader("fw", bytes.NewReader(l.artifact), int64(len(l.artifact)+1))
		}, "yields"},
		"long reader": {func(r *signature.Request) {
			r.Artifact = signature.Reader("fw", bytes.NewReader(l.artifact), int64(len(l.artifact)-1))
		}, "yields more"},
		"broken reader": {func(r *signature.Request) {
			r.Artifact = signature.Reader("fw", io.MultiReader(bytes.NewReader(l.artifact), broken{}), int64(len(l.artifact)))
		}, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			req := l.detached(ec.Public(), sig)
			c.change(&req)
			wantTrouble(t, req, c.reason)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		res, err := signature.Verify(ctx, l.detached(ec.Public(), sig))
		if res.OK || !errors.Is(err, context.Canceled) {
			t.Errorf("OK %v, error %v", res.OK, err)
		}
	})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestParseArtifact(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for arg, ok := range map[string]bool{
		"fw.bin": true, "sha256:" + hash: true, "sha256:" + strings.ToUpper(hash): true, "./sha256:x": true,
		"": false, "sha256:": false, "sha256:" + hash[1:]: false, "sha256:" + hash + "00": false, "sha256:x": false,
	} {
		if _, err := signature.ParseArtifact(arg); (err == nil) != ok || err != nil && !isTrouble(err) {
			t.Errorf("%q: %v", arg, err)
		}
	}
}

// TestZeroAccuses: nothing that was forgotten is a pass.
func TestZeroAccuses(t *testing.T) {
	var res signature.Result
	var step signature.Step
	if res.OK || step.Outcome != signature.Fail || signature.Outcome(7).String() != "fail" {
		t.Error("a zero value passes")
	}
	if res, err := signature.Verify(t.Context(), signature.Request{}); res.OK || err == nil {
		t.Error("the zero request passes")
	}
}

// TestDeterministic: the JSON does not depend on where the files lie.
func TestDeterministic(t *testing.T) {
	l := newLab(t)
	bundle, err := l.Attest(statement(l.sha256()+","+l.sha512()), sigtest.Making{Stamp: true, Identity: "x@y"})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for range 2 {
		l2 := *l
		l2.dir = t.TempDir()
		root, _ := l.TrustedRoot(true)
		l2.write("root.json", root)
		l2.write("fw.bin", l.artifact)
		res, _ := verify(t, l2.request(l2.write("bundle.json", bundle)))
		b, err := json.Marshal(res)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), l2.dir) {
			t.Errorf("absolute path in %s", b)
		}
		texts = append(texts, string(b))
		var back signature.Result
		if err := json.Unmarshal(b, &back); err != nil || table(back) != table(res) {
			t.Errorf("does not read back: %v", err)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("differ:\n%s\n%s", texts[0], texts[1])
	}
}

func TestOptions(t *testing.T) {
	values := map[string]string{
		signature.FlagPrivatePKI: "true", signature.FlagMaxTrustAge: "7", signature.FlagAsOf: "2026-01-31",
		signature.FlagDependency: "sha256:" + strings.Repeat("0", 64),
	}
	seen := map[string]bool{fmt.Sprintf("%+v", signature.Request{}): true}
	for _, o := range signature.Options() {
		if o.Name == "" || o.Usage == "" || (o.Value == "") != (o.Name == signature.FlagPrivatePKI) {
			t.Errorf("incomplete: %+v", o)
		}
		value, ok := values[o.Name]
		if !ok {
			value = "x"
		}
		var req signature.Request
		if err := o.Set(&req, value); err != nil {
			t.Errorf("--%s=%s: %v", o.Name, value, err)
		}
		if text := fmt.Sprintf("%+v", req); seen[text] {
			t.Errorf("--%s sets nothing, or the field of another option", o.Name)
		} else {
			seen[text] = true
		}
	}
	for _, bad := range []struct{ name, value string }{
		{signature.FlagMaxTrustAge, "0"},
		{signature.FlagMaxTrustAge, "-1"},
		{signature.FlagMaxTrustAge, "x"},
		{signature.FlagAsOf, "yesterday"},
		{signature.FlagDependency, "sha256:12"},
		{signature.FlagPrivatePKI, "maybe"},
	} {
		for _, o := range signature.Options() {
			if o.Name == bad.name && o.Set(&signature.Request{}, bad.value) == nil {
				t.Errorf("--%s=%s is taken", bad.name, bad.value)
			}
		}
	}
	for _, name := range stepNames {
		if !strings.Contains(signature.Help, "\n  "+name+" ") {
			t.Errorf("step %q is not in the help", name)
		}
	}
}
