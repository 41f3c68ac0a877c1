package signature_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/provenance"
	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

// imageLab is a lab whose artifact is an image's manifest.
type imageLab struct {
	*lab
	digest [32]byte
}

func newImageLab(t *testing.T) imageLab {
	l := newLab(t)
	return imageLab{l, sha256.Sum256(l.artifact)}
}

func (l imageLab) name() string { return "sha256:" + hex.EncodeToString(l.digest[:]) }

func (l imageLab) identity() signature.Request {
	req := l.request("")
	req.Artifact = signature.Artifact{}
	return req
}

// simple is cosign's signature of document in a layer.
func (l imageLab) simple(document []byte, m sigtest.Making) signature.Found {
	l.t.Helper()
	m.Version, m.NoProof = "0.1", true
	b, err := l.Sign(document, m)
	payload, annotations, err := sigtest.Layer(document, b, err)
	if err != nil {
		l.t.Fatal(err)
	}
	return signature.Found{Name: "simple", Kind: signature.KindSimple, Payload: payload, Annotations: annotations}
}

func (l imageLab) attestation(statement []byte, m sigtest.Making) signature.Found {
	l.t.Helper()
	m.Version, m.NoProof = "0.1", true
	b, err := l.Attest(statement, m)
	payload, annotations, err := sigtest.Layer(nil, b, err)
	if err != nil {
		l.t.Fatal(err)
	}
	return signature.Found{Name: "attestation", Kind: signature.KindEnvelope, Payload: payload, Annotations: annotations}
}

func (l imageLab) inBundle(b []byte, err error) signature.Found {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	return signature.Found{Name: "bundle", Kind: signature.KindBundle, Payload: b}
}

// signedStatement is what cosign signs of an image in a bundle.
func (l imageLab) signedStatement() []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%x"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`, l.digest)
}

// found verifies one candidate.
func (l imageLab) found(req signature.Request, f signature.Found) signature.Result {
	l.t.Helper()
	res, err := signature.VerifyFound(l.t.Context(), req, l.digest, []signature.Found{f})
	if err != nil || len(res) != 1 {
		l.t.Fatalf("%d results, %v", len(res), err)
	}
	return res[0]
}

func TestFound(t *testing.T) {
	l := newImageLab(t)
	good := l.simple(sigtest.SimpleSigning(l.name()), sigtest.Making{})
	for name, f := range map[string]signature.Found{
		"simple":              good,
		"simple, stamped":     l.simple(sigtest.SimpleSigning(l.name()), sigtest.Making{Stamp: true}),
		"bundle, statement":   l.inBundle(l.Attest(l.signedStatement(), sigtest.Making{})),
		"bundle, message":     l.inBundle(l.Sign(l.artifact, sigtest.Making{})),
		"envelope in a layer": l.attestation(l.signedStatement(), sigtest.Making{}),
	} {
		t.Run(name, func(t *testing.T) {
			res := l.found(l.identity(), f)
			checkTable(t, res, nil)
			if !res.OK {
				t.Fatalf("refused\n%s", table(res))
			}
			if want := hex.EncodeToString(l.digest[:]); res.Artifact.SHA256 != want {
				t.Errorf("about %s, want the image %s", res.Artifact.SHA256, want)
			}
			other := imageLab{l.lab, sha256.Sum256([]byte("another image"))}
			if res := other.found(l.identity(), f); res.OK || step(t, res, signature.StepSubject).Outcome == signature.Pass {
				t.Errorf("it signs another image too\n%s", table(res))
			}
		})
	}
	t.Run("one good among junk", func(t *testing.T) {
		junk := signature.Found{Name: "junk", Kind: signature.KindSimple, Payload: []byte("{")}
		res, err := signature.VerifyFound(t.Context(), l.identity(), l.digest, []signature.Found{junk, good, junk})
		if err != nil || len(res) != 3 || res[0].OK || !res[1].OK || res[2].OK {
			t.Errorf("%v %+v", err, res)
		}
	})
	t.Run("none", func(t *testing.T) {
		res, err := signature.VerifyFound(t.Context(), l.identity(), l.digest, nil)
		if err != nil || len(res) != 0 {
			t.Errorf("%v %+v", err, res)
		}
	})
}

func TestDishonestFound(t *testing.T) {
	l := newImageLab(t)
	document := string(sigtest.SimpleSigning(l.name()))
	good := l.simple([]byte(document), sigtest.Making{})
	annotated := func(key, value string) signature.Found {
		f := good
		f.Annotations = maps.Clone(good.Annotations)
		f.Annotations[key] = value
		return f
	}
	of := func(old, new string) signature.Found {
		changed := strings.Replace(document, old, new, 1)
		if changed == document {
			t.Fatalf("%q is not in the document", old)
		}
		return l.simple([]byte(changed), sigtest.Making{})
	}
	swapped := good
	swapped.Payload = sigtest.SimpleSigning("sha256:" + strings.Repeat("0", 64))
	vuln := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%x"}}],"predicateType":"https://cosign.sigstore.dev/attestation/vuln/v1","predicate":{"result":"failed"}}`, l.digest)
	for name, c := range map[string]struct {
		f            signature.Found
		step, reason string
	}{
		"document of another image":   {of(l.name(), "sha256:"+strings.Repeat("0", 64)), signature.StepSubject, "another image"},
		"digest in upper case":        {of(l.name(), strings.ToUpper(l.name())), signature.StepSubject, "another image"},
		"document changed":            {swapped, signature.StepSignature, "does not verify"},
		"document of another type":    {of("cosign container image signature", "note"), signature.StepParse, "not an image signature"},
		"digest twice":                {of(`"image":{`, `"image":{"docker-manifest-digest":"sha256:0",`), signature.StepParse, "occurs twice"},
		"critical twice":              {of(`"optional":null`, `"critical":{}`), signature.StepParse, "occurs twice"},
		"critical in another case":    {of(`"optional":null`, `"CRITICAL":{}`), signature.StepParse, "occurs twice"},
		"something critical more":     {of(`"critical":{`, `"critical":{"expires":"2020",`), signature.StepParse, "unknown key"},
		"data after the document":     {l.simple([]byte(document+"{}"), sigtest.Making{}), signature.StepParse, "after the document"},
		"null":                        {l.simple([]byte("null"), sigtest.Making{}), signature.StepParse, ""},
		"empty document":              {l.simple([]byte("{}"), sigtest.Making{}), signature.StepParse, "not an image signature"},
		"no signature":                {annotated("dev.cosignproject.cosign/signature", ""), signature.StepSignature, "absent"},
		"signature not in base64":     {annotated("dev.cosignproject.cosign/signature", "!"), signature.StepParse, "cosign/signature"},
		"no certificate":              {annotated("dev.sigstore.cosign/certificate", ""), signature.StepIdentity, "bare key"},
		"certificate of junk":         {annotated("dev.sigstore.cosign/certificate", "junk"), signature.StepParse, "cosign/certificate"},
		"no log":                      {annotated("dev.sigstore.cosign/bundle", ""), signature.StepLog, "none"},
		"null log":                    {annotated("dev.sigstore.cosign/bundle", "null"), signature.StepLog, "none"},
		"null log body":               {annotated("dev.sigstore.cosign/bundle", `{"SignedEntryTimestamp":"AAAA","Payload":{"body":null,"integratedTime":1,"logIndex":1,"logID":"00"}}`), signature.StepLog, "null"},
		"stamp of junk":               {annotated("dev.sigstore.cosign/rfc3161timestamp", "{}"), signature.StepParse, ""},
		"stamp that does not verify":  {annotated("dev.sigstore.cosign/rfc3161timestamp", `{"SignedRFC3161Timestamp":"MAA="}`), signature.StepTime, ""},
		"other person":                {l.simple([]byte(document), sigtest.Making{Identity: "mallory@x"}), signature.StepIdentity, "mallory"},
		"attestation as a signature":  {l.attestation(vuln, sigtest.Making{}), signature.StepPredicate, "no signature of the image"},
		"attestation in a bundle":     {l.inBundle(l.Attest(vuln, sigtest.Making{})), signature.StepPredicate, "no signature of the image"},
		"envelope of junk":            {signature.Found{Kind: signature.KindEnvelope, Payload: []byte("[]")}, signature.StepParse, ""},
		"bundle of junk":              {signature.Found{Kind: signature.KindBundle, Payload: []byte("[]")}, signature.StepParse, ""},
		"legacy bundle":               {signature.Found{Kind: signature.KindBundle, Payload: []byte(`{"base64Signature":""}`)}, signature.StepParse, ""},
		"unknown kind":                {signature.Found{Kind: "text"}, signature.StepParse, "kind"},
		"not read":                    {signature.Found{Kind: signature.KindSimple, Payload: good.Payload, Annotations: good.Annotations, Unread: "too large"}, signature.StepParse, "too large"},
		"message of another manifest": {l.inBundle(l.Sign([]byte("another"), sigtest.Making{})), signature.StepSubject, "something else"},
	} {
		t.Run(name, func(t *testing.T) {
			res := l.found(l.identity(), c.f)
			if s := step(t, res, c.step); res.OK || s.Outcome != signature.Fail || !strings.Contains(s.Reason, c.reason) {
				t.Errorf("OK %v; step %s does not fail for %q\n%s", res.OK, c.step, c.reason, table(res))
			}
		})
	}
	t.Run("asked for, the attestation holds and the signature does not", func(t *testing.T) {
		req := l.identity()
		req.PredicateType = "vuln"
		if res := l.found(req, l.attestation(vuln, sigtest.Making{})); !res.OK {
			t.Errorf("\n%s", table(res))
		}
		if res := l.found(req, good); res.OK {
			t.Errorf("\n%s", table(res))
		}
		req.PredicateType = "spdxjson"
		if res := l.found(req, l.attestation(vuln, sigtest.Making{})); res.OK {
			t.Errorf("\n%s", table(res))
		}
	})
	t.Run("trust that cannot be read is trouble", func(t *testing.T) {
		req := l.identity()
		req.TrustedRoot = l.write("junk.json", []byte("{"))
		if _, err := signature.VerifyFound(t.Context(), req, l.digest, []signature.Found{good}); !isTrouble(err) {
			t.Errorf("%v", err)
		}
		req.TrustedRoot = ""
		if _, err := signature.VerifyFound(t.Context(), req, l.digest, nil); !isTrouble(err) {
			t.Errorf("%v", err)
		}
		req = l.identity()
		req.Bundle = "x"
		if _, err := signature.VerifyFound(t.Context(), req, l.digest, nil); !isTrouble(err) {
			t.Errorf("%v", err)
		}
	})
}

func TestFoundByKey(t *testing.T) {
	l := newImageLab(t)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	pub, err := sigtest.PublicPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	req := signature.Request{Key: l.write("key.pub", pub)}
	document := sigtest.SimpleSigning(l.name())
	sum := sha256.Sum256(document)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	f := signature.Found{Name: "x", Kind: signature.KindSimple, Payload: document, Annotations: map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig),
	}}
	if res := l.found(req, f); !res.OK || res.Identity != "" {
		t.Errorf("\n%s", table(res))
	}
	other := imageLab{l.lab, sha256.Sum256([]byte("another image"))}
	if res := other.found(req, f); res.OK {
		t.Errorf("\n%s", table(res))
	}
	f.Payload = append([]byte(" "), document...)
	if res := l.found(req, f); res.OK {
		t.Errorf("\n%s", table(res))
	}
}

// TestProvenance: what a statement says of the build is held against what was
// asked, and only a signed statement is believed.
func TestProvenance(t *testing.T) {
	l := newLab(t)
	commit := strings.Repeat("5d", 20)
	text := func(source, builder string) []byte {
		return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fw.bin","digest":{%s}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"https://builder.example/type/v1","externalParameters":{"source":"git+%s"},"resolvedDependencies":[{"uri":"git+%s","digest":{"gitCommit":%q}}]},"runDetails":{"builder":{"id":%q}}}}`,
			l.sha256(), source, source, commit, builder)
	}
	const repo, builder = "https://git.vendor.example/fw", "https://builder.example/v1"
	asked := provenance.Policy{BuilderID: builder, BuildType: "https://builder.example/type/v1", Source: repo, Revision: commit}
	req := l.request(l.bundle(l.Attest(text(repo, builder), sigtest.Making{})))
	req.Provenance = asked
	res := wantOK(t, req)
	if s := step(t, res, signature.StepPredicate); s.Outcome != signature.Pass || !strings.Contains(s.Reason, repo) || res.Provenance == nil {
		t.Errorf("%+v", s)
	}
	req.PredicateType = "slsaprovenance1"
	wantOK(t, req)
	req.PredicateType = "slsaprovenance02"
	wantFail(t, req, signature.StepPredicate, "provenance/v1")
	req.PredicateType = ""
	for name, c := range map[string]struct {
		policy provenance.Policy
		want   string
	}{
		"builder":    {provenance.Policy{BuilderID: builder + "x"}, builder},
		"build type": {provenance.Policy{BuildType: "x"}, "builder.example/type"},
		"source":     {provenance.Policy{Source: repo + "-fork"}, repo},
		"revision":   {provenance.Policy{Revision: strings.Repeat("00", 20)}, commit},
		"dependency": {provenance.Policy{Dependencies: []provenance.Resource{{Digest: map[string]string{"sha256": strings.Repeat("0", 64)}}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req.Provenance = c.policy
			wantFail(t, req, signature.StepPredicate, c.want)
		})
	}
	req.Provenance = asked
	t.Run("a message signature has none", func(t *testing.T) {
		r := req
		r.Bundle = l.bundle(l.Sign(l.artifact, sigtest.Making{}))
		wantFail(t, r, signature.StepPredicate, "no provenance")
	})
	t.Run("another type", func(t *testing.T) {
		r := req
		r.Bundle = l.bundle(l.Attest([]byte(strings.Replace(string(text(repo, builder)), "slsa.dev/provenance/v1", "example.com/x", 1)), sigtest.Making{}))
		wantFail(t, r, signature.StepPredicate, "no SLSA provenance")
	})
	t.Run("unreadable", func(t *testing.T) {
		r := req
		r.Bundle = l.bundle(l.Attest([]byte(strings.Replace(string(statement(l.sha256())), `{"x":[1,2]}`, "[]", 1)), sigtest.Making{}))
		wantFail(t, r, signature.StepPredicate, "cannot be read")
	})
	t.Run("by somebody else", func(t *testing.T) {
		r := req
		r.Bundle = l.bundle(l.Attest(text(repo, builder), sigtest.Making{Identity: "mallory@x"}))
		wantFail(t, r, signature.StepIdentity, "mallory")
	})
	t.Run("an abbreviated revision is no question", func(t *testing.T) {
		r := req
		r.Provenance.Revision = commit[:12]
		wantTrouble(t, r, "")
	})
}

// TestVerdictStatements: a statement that exists to say whether the artifact
// passed is an approval only if it says so.
func TestVerdictStatements(t *testing.T) {
	l := newLab(t)
	of := func(predicateType, predicate string) signature.Request {
		return l.request(l.bundle(l.Attest(fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fw.bin","digest":{%s}}],"predicateType":%q,"predicate":%s}`,
			l.sha256(), predicateType, predicate), sigtest.Making{})))
	}
	const summary, accounting = "https://slsa.dev/verification_summary/v1", "https://assay.dev/attestation/byte-accounting/v0.1"
	wantOK(t, of(summary, `{"verificationResult":"PASSED"}`))
	wantOK(t, of("https://slsa.dev/verification_summary/v0.2", `{"verification_result":"PASSED"}`))
	wantFail(t, of("https://slsa.dev/verification_summary/v0.2", `{"verification_result":"FAILED"}`), signature.StepPredicate, "FAILED")
	wantFail(t, of("HTTPS://slsa.dev/Verification_Summary/v9", `{}`), signature.StepPredicate, "PASSED")
	wantFail(t, of(summary, `{"verificationResult":"PASSED","verification_result":"FAILED"}`), signature.StepPredicate, "PASSED")
	const result = "https://in-toto.io/attestation/test-result/v0.1"
	wantOK(t, of(result, `{"result":"PASSED"}`))
	wantFail(t, of(result, `{"result":"FAILED"}`), signature.StepPredicate, "FAILED")
	wantFail(t, of(result, `{"result":"WARNED"}`), signature.StepPredicate, "WARNED")
	for predicate, why := range map[string]string{
		`{"verificationResult":"FAILED"}`: `"FAILED"`,
		`{}`:                              `does not say PASSED`,
		`null`:                            `does not say PASSED`,
		`{"verificationResult":"PASSED","VerificationResult":"FAILED"}`: `does not say PASSED`,
		`{"verificationResult":["PASSED"]}`:                             `does not say PASSED`,
	} {
		wantFail(t, of(summary, predicate), signature.StepPredicate, why)
	}
	for _, predicate := range []string{`{}`, `{"verdict":"PASS"}`, `null`} {
		wantFail(t, of(accounting, predicate), signature.StepPredicate, "no verdict that can be read")
	}
}
