package signature_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

func TestHonestBundles(t *testing.T) {
	l := newLab(t)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for name, c := range map[string]struct {
		making       sigtest.Making
		log, time    string
		scheme       string
		onlyWithFile bool
	}{
		"v0.1 SET":        {making: sigtest.Making{Version: "0.1", NoProof: true}, log: "SET only"},
		"v0.1 proof":      {making: sigtest.Making{Version: "0.1"}},
		"v0.2":            {making: sigtest.Making{Version: "0.2"}},
		"v0.3":            {},
		"stamp":           {making: sigtest.Making{Stamp: true}, time: "by an RFC 3161 time stamp"},
		"stamp, no SET":   {making: sigtest.Making{Stamp: true, NoPromise: true}, time: "by an RFC 3161 time stamp"},
		"P-384":           {making: sigtest.Making{Key: p384}, scheme: "ECDSA P-384 with SHA-384", onlyWithFile: true},
		"Ed25519ph":       {making: sigtest.Making{Key: ed}, scheme: "Ed25519ph", onlyWithFile: true},
		"another issuer?": {making: sigtest.Making{Issuer: sigtest.Issuer}},
	} {
		t.Run(name, func(t *testing.T) {
			req := l.request(l.bundle(l.Sign(l.artifact, c.making)))
			res := wantOK(t, req)
			for where, want := range map[string]string{
				signature.StepLog: or(c.log, "Merkle proof"), signature.StepTime: or(c.time, "by the log's signed promise"),
			} {
				if s := step(t, res, where); !strings.Contains(s.Reason, want) {
					t.Errorf("%s: %q, want %q", where, s.Reason, want)
				}
			}
			if want := or(c.scheme, "ECDSA P-256 with SHA-256"); res.Scheme != want {
				t.Errorf("scheme %q, want %q", res.Scheme, want)
			}
			if res.Identity != sigtest.Identity || res.Issuer != sigtest.Issuer || res.SignedAt != "2024-06-01T12:00:00Z" {
				t.Errorf("found %q, %q, %q", res.Identity, res.Issuer, res.SignedAt)
			}
			req.Artifact = signature.Digest(sha256.Sum256(l.artifact))
			if c.onlyWithFile {
				wantLimit(t, req)
			} else {
				wantOK(t, req)
			}
			req.Artifact = signature.File(l.write("other.bin", []byte("firmware 1.1\n")))
			wantFail(t, req, signature.StepSubject, "signed is something else")
		})
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// TestDishonestBundles: what the authority must not get away with.
func TestDishonestBundles(t *testing.T) {
	l := newLab(t)
	rsa1024 := weakKey(t)
	for name, c := range map[string]struct {
		making       sigtest.Making
		step, reason string
	}{
		"no SCT":                    {sigtest.Making{NoSCT: true}, signature.StepSCT, "no SCT"},
		"no log":                    {sigtest.Making{NoLog: true}, signature.StepLog, "none"},
		"no log, stamp":             {sigtest.Making{NoLog: true, Stamp: true}, signature.StepLog, "none"},
		"proof without time":        {sigtest.Making{NoPromise: true}, signature.StepTime, "nobody attests the time"},
		"promise alone in v0.3":     {sigtest.Making{NoProof: true}, signature.StepLog, "inclusion proof missing"},
		"logged after the end":      {sigtest.Making{Validity: 30 * time.Second}, signature.StepLog, "not valid"},
		"stamped after the end":     {sigtest.Making{Stamp: true, StampAt: time.Hour}, signature.StepChain, "valid from"},
		"root in the chain":         {sigtest.Making{Version: "0.1", WithRoot: true}, signature.StepChain, "root certificate"},
		"other person":              {sigtest.Making{Identity: "mallory@vendor.example"}, signature.StepIdentity, "--certificate-identity='mallory@vendor.example' --certificate-oidc-issuer='https://accounts.vendor.example'"},
		"other issuer":              {sigtest.Making{Issuer: "https://accounts.vendor.example.evil"}, signature.StepIdentity, "the issuer is not"},
		"identity with a quote":     {sigtest.Making{Identity: "a';reboot;'@x"}, signature.StepIdentity, `--certificate-identity='a'\''`},
		"identity with an escape":   {sigtest.Making{Identity: "a\x1b[2J@x"}, signature.StepIdentity, `"a\x1b[2J@x"`},
		"RSA-1024 certificate":      {sigtest.Making{Key: rsa1024}, signature.StepSignature, "too weak"},
		"signature empty":           {sigtest.Making{Alter: content("signature", "")}, signature.StepSignature, "absent"},
		"signature of other length": {sigtest.Making{Alter: content("signature", "AAAA")}, signature.StepSignature, "does not verify"},
		"other digest":              {sigtest.Making{Alter: content("messageDigest", map[string]any{"algorithm": "SHA2_512", "digest": make([]byte, 64)})}, signature.StepSignature, "states a SHA-512 digest"},
		"log entry twice": {sigtest.Making{Alter: func(b map[string]any) {
			m := material(b)
			m["tlogEntries"] = append(m["tlogEntries"].([]any), m["tlogEntries"].([]any)[0])
		}}, signature.StepLog, "given twice"},
		"null log body":          {sigtest.Making{Alter: logBody("null")}, signature.StepLog, "cannot be read"},
		"empty log body":         {sigtest.Making{Alter: logBody("{}")}, signature.StepLog, "cannot be read"},
		"array log body":         {sigtest.Making{Alter: logBody("[]")}, signature.StepLog, "cannot be read"},
		"deep log body":          {sigtest.Making{Alter: logBody(strings.Repeat("[", 1000))}, signature.StepLog, "nested deeper"},
		"log body with a URL":    {sigtest.Making{Alter: logBody(`{"apiVersion":"0.0.1","kind":"rekord","spec":{"data":{"url":"http://127.0.0.1:1/"}}}`)}, signature.StepLog, "binds no signature"},
		"log body, null spec":    {sigtest.Making{Alter: logBody(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":null}`)}, signature.StepLog, ""},
		"log body, null dsse":    {sigtest.Making{Alter: logBody(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[null]}}`)}, signature.StepLog, ""},
		"log body, null intoto":  {sigtest.Making{Alter: logBody(`{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":null}}}`)}, signature.StepLog, ""},
		"log body of v2, null":   {sigtest.Making{Alter: logBody(`{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"signature":null}}}`)}, signature.StepLog, ""},
		"log body, key repeated": {sigtest.Making{Alter: logBody(`{"apiVersion":"0.0.1","kind":"dsse","kind":"hashedrekord","spec":{}}`)}, signature.StepLog, "occurs twice"},
	} {
		t.Run(name, func(t *testing.T) {
			wantFail(t, l.request(l.bundle(l.Sign(l.artifact, c.making))), c.step, c.reason)
		})
	}
}

func material(b map[string]any) map[string]any { return b["verificationMaterial"].(map[string]any) }

func content(key string, value any) func(map[string]any) {
	return func(b map[string]any) { b["messageSignature"].(map[string]any)[key] = value }
}

// logBody replaces the log entry's body, and says the kind that the body has.
func logBody(body string) func(map[string]any) {
	return func(b map[string]any) {
		entry := material(b)["tlogEntries"].([]any)[0].(map[string]any)
		entry["canonicalizedBody"] = base64.StdEncoding.EncodeToString([]byte(body))
		var head struct{ Kind, APIVersion string }
		if json.Unmarshal([]byte(body), &head) == nil && head.Kind != "" {
			entry["kindVersion"] = map[string]any{"kind": head.Kind, "version": head.APIVersion}
		}
	}
}

// TestOtherRoots: the roots that decide are those of the file, whatever the
// environment says.
func TestOtherRoots(t *testing.T) {
	l, other := newLab(t), newLab(t)
	for _, name := range []string{"SIGSTORE_ROOT_FILE", "SIGSTORE_REKOR_PUBLIC_KEY", "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", "SIGSTORE_TSA_CERTIFICATE_FILE", "SSL_CERT_FILE"} {
		t.Setenv(name, l.path("root.json"))
	}
	t.Setenv("TUF_ROOT", l.path("tuf"))
	t.Setenv("HOME", l.dir)

	req := l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Stamp: true})))
	req.TrustedRoot = other.path("root.json")
	res := wantFail(t, req, signature.StepLog, "does not know the log")
	if s := step(t, res, signature.StepTime); s.Outcome != signature.Fail {
		t.Errorf("time: %v", s)
	}
	// The stamp is not used where the root names no authority: the log's time is.
	req.TrustedRoot = l.path("root-without-tsa.json")
	res = wantOK(t, req)
	if s := step(t, res, signature.StepTime); !strings.Contains(s.Reason, "not used") {
		t.Errorf("time: %v", s)
	}
	if _, err := os.Stat(l.path(".sigstore")); err == nil {
		t.Error("wrote to the home directory")
	}
}

// TestExpiredIntermediate: CVE-2026-24122 on the library's other path.
func TestExpiredIntermediate(t *testing.T) {
	a, err := sigtest.NewExpired(sigtest.Time().Add(-time.Hour))
	l := labOf(t, a, err)
	wantFail(t, l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{}))), signature.StepChain, "expired")
	wantFail(t, l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Stamp: true}))), signature.StepChain, "expired")
}

func TestIdentity(t *testing.T) {
	l := newLab(t)
	bundle := l.bundle(l.Sign(l.artifact, sigtest.Making{}))
	for name, c := range map[string]struct {
		id signature.Identity
		ok bool
	}{
		"exact":            {signature.Identity{Subject: sigtest.Identity, Issuer: sigtest.Issuer}, true},
		"regexps":          {signature.Identity{SubjectRegexp: `release@vendor\.example`, IssuerRegexp: `https://accounts\..*`}, true},
		"mixed":            {signature.Identity{SubjectRegexp: `.*@vendor\.example`, Issuer: sigtest.Issuer}, true},
		"alternation":      {signature.Identity{SubjectRegexp: `x|release@vendor\.example`, Issuer: sigtest.Issuer}, true},
		"own anchors":      {signature.Identity{SubjectRegexp: `^release@vendor\.example$`, Issuer: sigtest.Issuer}, true},
		"prefix":           {signature.Identity{Subject: "release@vendor", Issuer: sigtest.Issuer}, false},
		"letter case":      {signature.Identity{Subject: "Release@vendor.example", Issuer: sigtest.Issuer}, false},
		"part of subject":  {signature.Identity{SubjectRegexp: `vendor\.example`, Issuer: sigtest.Issuer}, false},
		"head of subject":  {signature.Identity{SubjectRegexp: `release@vendor`, Issuer: sigtest.Issuer}, false},
		"part of either":   {signature.Identity{SubjectRegexp: `release|example`, Issuer: sigtest.Issuer}, false},
		"part of issuer":   {signature.Identity{Subject: sigtest.Identity, IssuerRegexp: `vendor`}, false},
		"multi-line flag":  {signature.Identity{SubjectRegexp: `(?m)release$`, Issuer: sigtest.Issuer}, false},
		"other issuer":     {signature.Identity{Subject: sigtest.Identity, Issuer: "https://other.example"}, false},
		"issuer with path": {signature.Identity{Subject: sigtest.Identity, Issuer: sigtest.Issuer + "/"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			req := l.request(bundle)
			req.Identity = c.id
			if c.ok {
				wantOK(t, req)
			} else {
				wantFail(t, req, signature.StepIdentity, `the certificate holds identity "release@vendor.example" and issuer "https://accounts.vendor.example"`)
			}
		})
	}
	t.Run("a line of the identity", func(t *testing.T) {
		req := l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Identity: "mallory@x\nrelease@vendor.example"})))
		req.Identity = signature.Identity{SubjectRegexp: `(?m)^release@vendor\.example$`, Issuer: sigtest.Issuer}
		wantFail(t, req, signature.StepIdentity, "")
	})
}

func TestMissingOptions(t *testing.T) {
	l := newLab(t)
	full := l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{})))
	for name, c := range map[string]struct {
		change func(*signature.Request)
		want   []string
	}{
		"everything":      {func(r *signature.Request) { *r = signature.Request{} }, []string{"artifact", "--bundle or --signature", "--certificate-identity ", "--certificate-oidc-issuer ", "--trusted-root"}},
		"identity":        {func(r *signature.Request) { r.Identity.Subject = "" }, []string{"--certificate-identity "}},
		"blank identity":  {func(r *signature.Request) { r.Identity.Subject = " " }, []string{"--certificate-identity "}},
		"issuer":          {func(r *signature.Request) { r.Identity.Issuer = "" }, []string{"--certificate-oidc-issuer "}},
		"both":            {func(r *signature.Request) { r.Identity = signature.Identity{} }, []string{"--certificate-identity ", "--certificate-oidc-issuer "}},
		"root":            {func(r *signature.Request) { r.TrustedRoot = "" }, []string{"--trusted-root"}},
		"key":             {func(r *signature.Request) { *r = signature.Request{Artifact: r.Artifact, Signature: "x"} }, []string{"--key"}},
		"signature":       {func(r *signature.Request) { *r = signature.Request{Artifact: r.Artifact, Key: "x"} }, []string{"--bundle or --signature"}},
		"key + identity":  {func(r *signature.Request) { r.Key = "x" }, []string{"--key excludes"}},
		"two signatures":  {func(r *signature.Request) { r.Signature = "x" }, []string{"exclude each other"}},
		"two identities":  {func(r *signature.Request) { r.Identity.SubjectRegexp = "x" }, []string{"exclude each other"}},
		"two issuers":     {func(r *signature.Request) { r.Identity.IssuerRegexp = "x" }, []string{"exclude each other"}},
		"regexp":          {func(r *signature.Request) { r.Identity.Issuer, r.Identity.IssuerRegexp = "", "(" }, []string{"--certificate-oidc-issuer-regexp"}},
		"regexp breakout": {func(r *signature.Request) { r.Identity.Subject, r.Identity.SubjectRegexp = "", "a)|(?:.*" }, []string{"--certificate-identity-regexp"}},
		"signature + root": {func(r *signature.Request) {
			*r = signature.Request{Artifact: r.Artifact, Signature: "x", Key: "x", TrustedRoot: "x"}
		}, []string{"--trusted-root has nothing to verify"}},
		"signature + identity": {func(r *signature.Request) { r.Bundle, r.Signature = "", "x" }, []string{"--signature alone is verified by a key"}},
		"signature + predicate": {func(r *signature.Request) {
			*r = signature.Request{Artifact: r.Artifact, Signature: "x", Key: "x", PredicateType: "x"}
		}, []string{"no predicate"}},
	} {
		t.Run(name, func(t *testing.T) {
			req := full
			c.change(&req)
			for _, want := range c.want {
				wantTrouble(t, req, want)
			}
		})
	}
}

func TestStatements(t *testing.T) {
	l := newLab(t)
	foreign := `"sha256":"` + strings.Repeat("0", 64) + `"`
	foreign512 := `"sha512":"` + strings.Repeat("0", 128) + `"`
	for name, c := range map[string]struct {
		statement string
		reason    string // of the failed subject step; empty: accepted
	}{
		"sha256":           {string(statement(l.sha256())), ""},
		"sha512":           {string(statement(l.sha512())), ""},
		"both":             {string(statement(l.sha256() + "," + l.sha512())), ""},
		"with sha1":        {string(statement(`"sha1":"00",` + l.sha256())), ""},
		"second subject":   {strings.Replace(string(statement(foreign)), `"subject":[`, `"subject":[{"digest":{`+l.sha256()+`}},`, 1), ""},
		"v0.1":             {strings.Replace(string(statement(l.sha256())), "Statement/v1", "Statement/v0.1", 1), ""},
		"foreign":          {string(statement(foreign)), "about something else"},
		"foreign sha512":   {string(statement(foreign512)), "about something else"},
		"contradiction":    {string(statement(l.sha256() + "," + foreign512)), "about something else"},
		"contradiction 2":  {string(statement(l.sha512() + "," + foreign)), "about something else"},
		"no digest":        {string(statement("")), "about something else"},
		"sha1 alone":       {string(statement(`"sha1":"00"`)), "about something else"},
		"no subject":       {`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x"}`, "no subject"},
		"two digests":      {string(statement(l.sha256() + "," + foreign)), "occurs twice"},
		"two letter cases": {string(statement(l.sha256() + "," + strings.ToUpper(foreign))), "occurs twice"},
		"subjects twice":   {strings.Replace(string(statement(foreign)), `"predicateType"`, `"Subject":[{"digest":{`+l.sha256()+`}}],"predicateType"`, 1), "occurs twice"},
		"Subject":          {strings.Replace(string(statement(l.sha256())), `"subject"`, `"Subject"`, 1), "no subject"},
		"not hexadecimal":  {string(statement(`"sha256":"xyz"`)), "not a digest"},
		"short digest":     {string(statement(`"sha256":"00"`)), "not a digest"},
		"other type":       {strings.Replace(string(statement(l.sha256())), "Statement/v1", "Statement/v9", 1), "_type"},
		"null":             {"null", "can be read: expected"},
		"array":            {"[]", "can be read: expected"},
		"cut":              {string(statement(l.sha256())[:100]), "can be read: unexpected EOF"},
		"two statements":   {string(statement(l.sha256())) + "{}", "after the statement"},
		"null subject":     {strings.Replace(string(statement(foreign)), `"subject":[`, `"subject":[null,`, 1), "can be read: expected"},
		"many subjects":    {strings.Replace(string(statement(l.sha256())), `"subject":[`, `"subject":[`+strings.Repeat(`{},`, 1<<16), 1), "more than 1024"},
		"deep predicate":   {strings.Replace(string(statement(l.sha256())), `"x":[1,2]`, `"x":`+strings.Repeat("[", 1<<15)+strings.Repeat("]", 1<<15), 1), "max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			req := l.request(l.bundle(l.Attest([]byte(c.statement), sigtest.Making{})))
			if c.reason != "" {
				wantFail(t, req, signature.StepSubject, c.reason)
				return
			}
			res := wantOK(t, req)
			if res.PredicateType != "https://slsa.dev/provenance/v1" {
				t.Errorf("predicate type %q", res.PredicateType)
			}
		})
	}
	t.Run("by digest", func(t *testing.T) {
		req := l.request(l.bundle(l.Attest(statement(l.sha256()), sigtest.Making{Stamp: true})))
		req.Artifact = signature.Digest(sha256.Sum256(l.artifact))
		wantOK(t, req)
		req.Artifact = signature.Digest(sha256.Sum256(nil))
		wantFail(t, req, signature.StepSubject, "about something else")
		req.Bundle = l.bundle(l.Attest(statement(l.sha512()), sigtest.Making{}))
		wantLimit(t, req)
	})
	t.Run("predicate type", func(t *testing.T) {
		req := l.request(l.bundle(l.Attest(statement(l.sha256()), sigtest.Making{})))
		req.PredicateType = "https://slsa.dev/provenance/v1"
		wantOK(t, req)
		req.PredicateType = "https://slsa.dev/provenance/v0.2"
		wantFail(t, req, signature.StepPredicate, "not \"https://slsa.dev/provenance/v0.2\"")
		req.Bundle = l.bundle(l.Sign(l.artifact, sigtest.Making{}))
		wantFail(t, req, signature.StepPredicate, "no statement")
	})
	t.Run("signatures", func(t *testing.T) {
		for n, want := range map[int]string{0: "0 signatures", 2: "2 signatures"} {
			req := l.request(l.bundle(l.Attest(statement(l.sha256()), sigtest.Making{Alter: func(b map[string]any) {
				env := b["dsseEnvelope"].(map[string]any)
				sigs := append(env["signatures"].([]any), map[string]any{"sig": "anVuaw=="})
				env["signatures"] = sigs[:n]
			}})))
			wantFail(t, req, signature.StepSignature, want)
		}
	})
	t.Run("payload type", func(t *testing.T) {
		req := l.request(l.bundle(l.Attest(statement(l.sha256()), sigtest.Making{Alter: func(b map[string]any) {
			b["dsseEnvelope"].(map[string]any)["payloadType"] = "text/plain"
		}})))
		wantFail(t, req, signature.StepSubject, "text/plain")
	})
	t.Run("another envelope", func(t *testing.T) {
		req := l.request(l.bundle(l.Attest(statement(foreign), sigtest.Making{Alter: func(b map[string]any) {
			b["dsseEnvelope"].(map[string]any)["payload"] = statement(l.sha256())
		}})))
		wantFail(t, req, signature.StepSignature, "does not verify")
	})
}

func TestKeyAndBundle(t *testing.T) {
	l := newLab(t)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	byKey := func(m sigtest.Making) signature.Request {
		return signature.Request{
			Artifact: signature.File(l.path("fw.bin")), Key: l.publicKey("vendor.pub", key.Public()),
			Bundle: l.bundle(l.SignWithKey(l.artifact, key, m)),
		}
	}
	t.Run("no root", func(t *testing.T) {
		for _, m := range []sigtest.Making{{}, {NoLog: true}, {Stamp: true}} {
			res := wantOK(t, byKey(m))
			if s := step(t, res, signature.StepLog); s.Outcome != signature.NotChecked {
				t.Errorf("log: %v", s)
			}
		}
	})
	t.Run("with root", func(t *testing.T) {
		for _, m := range []sigtest.Making{{}, {Stamp: true}} {
			req := byKey(m)
			req.TrustedRoot = l.path("root.json")
			res := wantOK(t, req)
			if s := step(t, res, signature.StepLog); s.Outcome != signature.Pass {
				t.Errorf("log: %v", s)
			}
		}
		req := byKey(sigtest.Making{NoLog: true})
		req.TrustedRoot = l.path("root.json")
		wantFail(t, req, signature.StepLog, "none")
	})
	t.Run("other key", func(t *testing.T) {
		req := byKey(sigtest.Making{})
		req.Key = l.publicKey("other.pub", other.Public())
		wantFail(t, req, signature.StepSignature, "does not verify")
		req.TrustedRoot = l.path("root.json")
		wantFail(t, req, signature.StepLog, "another certificate or key")
	})
	t.Run("other artifact", func(t *testing.T) {
		req := byKey(sigtest.Making{})
		req.Artifact = signature.Digest([32]byte{})
		wantFail(t, req, signature.StepSubject, "signed is something else")
	})
	t.Run("null log body", func(t *testing.T) {
		wantFail(t, byKey(sigtest.Making{Alter: logBody("null")}), signature.StepLog, "cannot be read")
	})
	t.Run("certificate, not key", func(t *testing.T) {
		req := byKey(sigtest.Making{})
		req.Bundle = l.bundle(l.Sign(l.artifact, sigtest.Making{Key: key}))
		wantFail(t, req, signature.StepIdentity, "--certificate-identity='release@vendor.example'")
	})
	t.Run("key, not certificate", func(t *testing.T) {
		wantFail(t, l.request(l.bundle(l.SignWithKey(l.artifact, key, sigtest.Making{}))), signature.StepIdentity, "--key")
	})
}

func TestUnreadableBundles(t *testing.T) {
	l := newLab(t)
	good, err := l.Sign(l.artifact, sigtest.Making{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, reason string }{
		"empty":         {"", "cannot be read"},
		"null":          {"null", "cannot be read"},
		"empty object":  {"{}", "cannot be read"},
		"array":         {"[]", "cannot be read"},
		"cut":           {string(good[:len(good)/2]), "cannot be read"},
		"twice":         {string(good) + string(good), "cannot be read"},
		"unknown field": {`{"x":1,` + string(good[1:]), "cannot be read"},
		"v0.4":          {strings.Replace(string(good), "version=0.3", "version=0.4", 1), "cannot be read"},
		"deep":          {strings.Repeat("[", 1<<20), "nested deeper than 64"},
		"many values":   {`{"verificationMaterial":{"tlogEntries":[` + strings.Repeat("{},", 1<<20), "more than 32768 values"},
		"huge":          {strings.Repeat(" ", signature.MaxInput+1), "larger than"},
		"legacy":        {`{"base64Signature":"AAAA","cert":"AAAA","rekorBundle":null}`, "legacy cosign bundle"},
		"a certificate": {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"},
		"escapes":       {`{"mediaType":"\u001b[2J\u009b1m","verificationMaterial":{}}`, "?[2J?1m"},
		"SHA-3":         {strings.Replace(string(good), "SHA2_256", "SHA3_256", 1), "SHA3_256"},
		"short digest":  {`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AAAA"},"signature":"AAAA"}}`, "has 3 bytes"},
		"no material":   {`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{}}`, "cannot be read"},
		"empty message": {`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"messageSignature":{}}`, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			wantTrouble(t, l.request(l.write("bundle.json", []byte(c.text))), c.reason)
		})
	}
	t.Run("absent", func(t *testing.T) { wantTrouble(t, l.request(l.path("no.json")), "no such file") })
	t.Run("folder", func(t *testing.T) { wantTrouble(t, l.request(l.dir), "directory") })
	for name, c := range map[string]struct{ text, reason string }{
		"root empty":       {"", "cannot be read"},
		"root null":        {"null", "cannot be read"},
		"root PEM":         {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is PEM"},
		"root of TUF":      {`{"signed":{"_type":"root"},"signatures":[]}`, "cannot be read"},
		"root deep":        {strings.Repeat("[", 1<<20), "nested deeper"},
		"root huge":        {strings.Repeat(" ", signature.MaxInput+1), "larger than"},
		"root without key": {`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{}]}`, "cannot be read"},
		"root, CA empty":   {`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","certificateAuthorities":[{"certChain":{"certificates":[{}]}}]}`, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			req := l.request(l.write("bundle.json", good))
			req.TrustedRoot = l.write("bad-root.json", []byte(c.text))
			wantTrouble(t, req, c.reason)
		})
	}
}

// TestEmptyRoot: a root that names nobody trusts nobody.
func TestEmptyRoot(t *testing.T) {
	l := newLab(t)
	req := l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{})))
	req.TrustedRoot = l.write("empty.json", []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	wantFail(t, req, signature.StepLog, "does not know the log")
}
