package signature_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

// hugeKey is an RSA key whose verification would take minutes: a modulus of a
// million bits, and the largest exponent that there is.
func hugeKey() *rsa.PublicKey {
	n := new(big.Int).SetBit(big.NewInt(1), 1<<18, 1)
	return &rsa.PublicKey{N: n, E: 1<<31 - 1}
}

// TestHugeKeys: what whoever made a bundle can choose does not decide how long
// this takes. The key sizes are told apart by the reason, not by a clock.
func TestHugeKeys(t *testing.T) {
	l := newLab(t)
	spki, err := x509.MarshalPKIXPublicKey(hugeKey())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	cert := hugeCertificate(t, l)
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	b64 := base64.StdEncoding.EncodeToString
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	bodies := map[string]string{
		"hashedrekord":              fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":"AAAA","publicKey":{"content":%q}}}}`, sha256.Sum256(l.artifact), b64(text)),
		"hashedrekord, certificate": fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":"AAAA","publicKey":{"content":%q}}}}`, sha256.Sum256(l.artifact), b64(certText)),
		"hashedrekord, behind another block": fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"signature":{"publicKey":{"content":%q}}}}`,
			b64(append([]byte("-----BEGIN X-----\nAAAA\n-----END X-----\n"), text...))),
		"dsse, proposed":      fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"{}","verifiers":[%q]}}}`, b64(text)),
		"intoto":              fmt.Sprintf(`{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"signatures":[{"publicKey":%q}]}}}}`, b64(text)),
		"v2, base64 for URLs": fmt.Sprintf(`{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"signature":{"verifier":{"publicKey":{"rawBytes":%q}}}}}}`, base64.RawURLEncoding.EncodeToString(spki)),
		"v2":                  fmt.Sprintf(`{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"signature":{"verifier":{"publicKey":{"rawBytes":%q}}}}}}`, b64(spki)),
	}
	for name, body := range bodies {
		t.Run("log/"+name, func(t *testing.T) {
			why := "more than a key has use for"
			if strings.Contains(name, "proposed") { // refused for that alone, where it is seen first
				why = "cannot be read"
			}
			if len(body) > 64<<10 {
				t.Fatalf("a body of %d bytes shows nothing", len(body))
			}
			wantFail(t, l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Alter: logBody(body)}))), signature.StepLog, why)
			pub, err := sigtest.PublicPEM(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			req := signature.Request{Artifact: signature.File(l.path("fw.bin")), Key: l.write("key.pub", pub), Bundle: l.bundle(l.SignWithKey(l.artifact, key, sigtest.Making{Alter: logBody(body)}))}
			wantFail(t, req, signature.StepLog, why)
			legacy, err := l.Sign(l.artifact, v01)
			req = l.request(l.legacy(legacy, err, func(m map[string]any) {
				m["rekorBundle"].(map[string]any)["Payload"].(map[string]any)["body"] = []byte(body)
			}))
			wantFail(t, req, signature.StepLog, why)
		})
	}
	t.Run("log/large", func(t *testing.T) {
		body := `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":"` + strings.Repeat("x", 64<<10) + `"}`
		wantFail(t, l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Alter: logBody(body)}))), signature.StepLog, "larger than")
	})
	t.Run("chain", func(t *testing.T) {
		m := sigtest.Making{Version: "0.1", Alter: func(b map[string]any) {
			chain := material(b)["x509CertificateChain"].(map[string]any)
			chain["certificates"] = append(chain["certificates"].([]any), map[string]any{"rawBytes": b64(cert)})
		}}
		wantTrouble(t, l.request(l.bundle(l.Sign(l.artifact, m))), "more than a key has use for")
	})
	t.Run("leaf", func(t *testing.T) {
		m := sigtest.Making{Alter: func(b map[string]any) { material(b)["certificate"] = map[string]any{"rawBytes": b64(cert)} }}
		wantTrouble(t, l.request(l.bundle(l.Sign(l.artifact, m))), "more than a key has use for")
	})
	t.Run("many certificates", func(t *testing.T) {
		m := sigtest.Making{Version: "0.1", Alter: func(b map[string]any) {
			chain := material(b)["x509CertificateChain"].(map[string]any)
			first := chain["certificates"].([]any)[0]
			for range 40 {
				chain["certificates"] = append(chain["certificates"].([]any), first)
			}
		}}
		wantTrouble(t, l.request(l.bundle(l.Sign(l.artifact, m))), "41 certificates")
	})
	t.Run("time stamp", func(t *testing.T) {
		for name, stamp := range map[string][]byte{
			"bare":         cert,
			"in a string":  append([]byte{0x04, 0x82, byte(len(cert) >> 8), byte(len(cert))}, cert...),
			"large":        append([]byte{0x04, 0x83, 1, 0, 1}, make([]byte, 1<<16+1)...),
			"of no length": append([]byte{0x30, 0x80}, append(cert, 0, 0)...),
		} {
			m := sigtest.Making{Alter: func(b map[string]any) {
				material(b)["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": b64(stamp)}}}
			}}
			want := map[string]string{"large": "larger than", "of no length": "not DER"}[name]
			wantTrouble(t, l.request(l.bundle(l.Sign(l.artifact, m))), or(want, "more than a key has use for"))
		}
	})
}

// TestProposals: what only a proposed log entry holds is refused, for the libraries
// verify each of its signatures with each of its keys.
func TestProposals(t *testing.T) {
	l := newLab(t)
	for _, body := range []string{
		`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"{}","verifiers":["AAAA"]}}}`,
		`{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[],"PROPOSEDcontent":{}}}`,
		`{"apiVersion":"0.0.1","kind":"dsse","Spec":{"propo\u017fedContent":{}}}`,
		`{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"payload":"e30=","signatures":[{},{}]}}}}`,
		`{"apiVersion":"0.0.2","kind":"intoto","spec":{"Content":{"hash":{},"Envelope":{"\u017fignatures":[{},{}]}}}}`,
		`{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"signatures":[{}],"Signatures":[{},{}]}}}}`,
	} {
		why := "no log keeps"
		if strings.Contains(body, "intoto") {
			why = "cannot be read"
		}
		wantFail(t, l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Alter: logBody(body)}))), signature.StepLog, why)
		legacy, err := l.Sign(l.artifact, v01)
		wantFail(t, l.request(l.legacy(legacy, err, func(m map[string]any) {
			m["rekorBundle"].(map[string]any)["Payload"].(map[string]any)["body"] = []byte(body)
		})), signature.StepLog, why)
	}
}

// TestStampSigners: a time stamp has one signer, and a bundle few time stamps.
func TestStampSigners(t *testing.T) {
	l := newLab(t)
	seq := func(tag byte, parts ...string) string {
		s := strings.Join(parts, "")
		return string([]byte{tag, byte(len(s))}) + s
	}
	const oid = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	message := func(signers ...string) string {
		return seq(0x30, oid, seq(0xa0, seq(0x30, "\x02\x01\x03", seq(0x31), seq(0x30), seq(0x31, signers...))))
	}
	signer := seq(0x30, "\x02\x01\x01")
	req := l.request(l.signLegacy(v01, nil))
	for _, stamp := range []string{
		message(), message(signer, signer), seq(0x30, seq(0x30), message(signer, signer)), seq(0x04, message(signer, signer)),
		seq(0x30, oid, seq(0xa0, "\x05\x00")), seq(0x30, oid),
	} {
		req.Timestamp = l.write("x.tsr", []byte(stamp))
		wantTrouble(t, req, "time stamp")
	}
	req.Timestamp = l.write("x.tsr", []byte(message(signer))) // as far as its shape goes
	wantFail(t, req, signature.StepTime, "")
	many := sigtest.Making{Stamp: true, Alter: func(b map[string]any) {
		stamps := material(b)["timestampVerificationData"].(map[string]any)
		first := stamps["rfc3161Timestamps"].([]any)[0]
		for range 8 {
			stamps["rfc3161Timestamps"] = append(stamps["rfc3161Timestamps"].([]any), first)
		}
	}}
	wantTrouble(t, l.request(l.bundle(l.Sign(l.artifact, many))), "9 time stamps")
}

// hugeCertificate is one of the huge key, with a signature of junk.
func hugeCertificate(t *testing.T, l *lab) []byte {
	t.Helper()
	b, err := l.Sign(l.artifact, v01)
	_, text, _, err := sigtest.Loose(b, err)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	template, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template.PublicKey = nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, hugeKey(), ca)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestOpen: only what is right in everything else is left open by an artifact of
// which the SHA-256 alone is known; junk is rejected as with the file.
func TestOpen(t *testing.T) {
	l := newLab(t)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	pub := l.publicKey("p384.pub", p384.Public())
	digest := signature.Digest(sha256.Sum256(l.artifact))
	sum := sha512.Sum384(l.artifact)
	good, err := p384.Sign(rand.Reader, sum[:], crypto.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	for name, sig := range map[string][]byte{"empty": nil, "a byte": {1}, "random": make([]byte, 100), "zeros": {0x30, 6, 2, 1, 0, 2, 1, 0}} {
		t.Run("detached/"+name, func(t *testing.T) {
			req := signature.Request{Artifact: digest, Key: pub, Signature: l.write("x.sig", sig)}
			res, err := verify(t, req)
			if err != nil || res.OK {
				t.Errorf("%v\n%s", err, table(res))
			}
		})
	}
	wantLimit(t, signature.Request{Artifact: digest, Key: pub, Signature: l.write("x.sig", good)})

	other512 := sha512.Sum512([]byte("x"))
	junk := sigtest.Making{Alter: func(b map[string]any) {
		content("messageDigest", map[string]any{"algorithm": "SHA2_512", "digest": other512[:]})(b)
	}}
	req := l.request(l.bundle(l.Sign(l.artifact, junk)))
	req.Artifact = digest
	wantFail(t, req, signature.StepSignature, "")
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	req = l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Key: ed})))
	req.Artifact = digest
	wantLimit(t, req)
	req.Identity.Subject = "somebody@else.example"
	wantFail(t, req, signature.StepIdentity, "")

	// A certificate of somebody else's, with a key whose digest is not known.
	loose, err := l.Sign(l.artifact, sigtest.Making{Version: "0.1", NoProof: true, Stamp: true, Key: p384})
	sig, cert, stamp, err := sigtest.Loose(loose, err)
	if err != nil {
		t.Fatal(err)
	}
	req = l.request("")
	req.Artifact, req.Signature, req.Certificate, req.Timestamp = digest, l.write("p.sig", sig), l.write("p.crt", cert), l.write("p.tsr", stamp)
	wantLimit(t, req)
	req.Identity.Subject = "somebody@else.example"
	wantFail(t, req, signature.StepIdentity, "")

	// A bundle for an Ed25519 key that says itself that it is about something else,
	// or whose log entry is junk.
	_, pure, _ := ed25519.GenerateKey(rand.Reader)
	keyed := func(alter func(map[string]any)) signature.Request {
		return signature.Request{
			Artifact: digest, Key: l.publicKey("pure.pub", pure.Public()), TrustedRoot: l.path("root.json"),
			Bundle: l.bundle(l.SignWithKey(l.artifact, p384, sigtest.Making{Alter: func(b map[string]any) {
				content("signature", make([]byte, 64))(b)
				alter(b)
			}})),
		}
	}
	zeros := content("messageDigest", map[string]any{"algorithm": "SHA2_256", "digest": make([]byte, 32)})
	wantFail(t, keyed(zeros), signature.StepSignature, "")
	wantFail(t, keyed(func(b map[string]any) { logBody("{}")(b) }), signature.StepLog, "")

	// A statement without sha256.
	sum512 := sha512.Sum512(l.artifact)
	text := statement(`"sha512":"` + hex.EncodeToString(sum512[:]) + `"`)
	req = l.request(l.bundle(l.Attest([]byte(strings.Replace(string(text), "slsa.dev/provenance", "example.com", 1)), sigtest.Making{})))
	wantOK(t, req)
	req.Artifact = digest
	wantLimit(t, req)
	if res, _ := verify(t, req); step(t, res, signature.StepSignature).Outcome != signature.Pass || !strings.Contains(step(t, res, signature.StepSubject).Reason, "without sha256") {
		t.Errorf("what is open hides what passed:\n%s", table(res))
	}
	req.Identity.Subject = "somebody@else.example"
	wantFail(t, req, signature.StepIdentity, "")
}

// TestStopped: a verification that is stopped is no answer, and blames nobody.
func TestStopped(t *testing.T) {
	l := newLab(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	res, err := signature.Verify(ctx, l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{}))))
	if res.OK || !errors.Is(err, context.Canceled) || step(t, res, signature.StepParse).Outcome != signature.Pass {
		t.Errorf("%v\n%s", err, table(res))
	}
}
