package signature_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

var v01 = sigtest.Making{Version: "0.1", NoProof: true}

// legacy changes a v0.1 bundle's legacy form before it is written.
func (l *lab) legacy(bundle []byte, err error, alter func(map[string]any)) string {
	l.t.Helper()
	text, err := sigtest.Legacy(bundle, err)
	if err == nil && alter != nil {
		var m map[string]any
		if err = json.Unmarshal(text, &m); err == nil {
			alter(m)
			text, err = json.Marshal(m)
		}
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return l.write("legacy.json", text)
}

func (l *lab) signLegacy(m sigtest.Making, alter func(map[string]any)) string {
	l.t.Helper()
	m.Version, m.NoProof = "0.1", true
	b, err := l.Sign(l.artifact, m)
	return l.legacy(b, err, alter)
}

func TestLegacyBundles(t *testing.T) {
	l := newLab(t)
	t.Run("identity", func(t *testing.T) {
		req := l.request(l.signLegacy(v01, nil))
		res := wantOK(t, req)
		if res.Signed.Kind != "legacy cosign bundle" || !strings.Contains(step(t, res, signature.StepLog).Reason, "SET only") || res.SignedAt != "2024-06-01T12:00:00Z" {
			t.Errorf("%+v\n%s", res.Signed, table(res))
		}
		req.Artifact = signature.Digest(sha256.Sum256(l.artifact))
		wantOK(t, req)
		req.Artifact = signature.File(l.write("other.bin", []byte("other")))
		wantFail(t, req, signature.StepSignature, "over something else")
	})
	t.Run("certificate not in base64", func(t *testing.T) {
		wantOK(t, l.request(l.signLegacy(v01, func(m map[string]any) { m["cert"] = decoded(t, m["cert"]) })))
	})
	t.Run("key", func(t *testing.T) {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		pub, err := sigtest.PublicPEM(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.SignWithKey(l.artifact, key, v01)
		for name, alter := range map[string]func(map[string]any){
			"logged":         nil,
			"not logged":     func(m map[string]any) { delete(m, "rekorBundle") },
			"null log":       func(m map[string]any) { m["rekorBundle"] = nil },
			"the key itself": func(m map[string]any) { m["cert"] = pub },
		} {
			t.Run(name, func(t *testing.T) {
				req := signature.Request{Artifact: signature.File(l.path("fw.bin")), Bundle: l.legacy(b, err, alter), Key: l.write("key.pub", pub)}
				wantOK(t, req)
				req.Artifact = signature.File(l.write("other.bin", []byte("other")))
				wantFail(t, req, signature.StepSignature, "")
				req.Artifact = signature.File(l.path("fw.bin"))
				req.TrustedRoot = l.path("root.json") // makes the log required
				if strings.HasSuffix(name, "log") || strings.HasPrefix(name, "not") {
					wantFail(t, req, signature.StepLog, "none")
				} else {
					wantOK(t, req)
				}
				req.TrustedRoot = ""
				other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				pub, _ := sigtest.PublicPEM(other.Public())
				req.Key = l.write("other.pub", pub)
				wantFail(t, req, signature.StepSignature, "another key")
				req = l.request(req.Bundle)
				wantFail(t, req, signature.StepIdentity, "bare key")
			})
		}
	})
	t.Run("attestation", func(t *testing.T) {
		b, err := l.Attest(statement(l.sha256()), v01)
		req := l.request(l.legacy(b, err, nil))
		wantOK(t, req)
		req.Artifact = signature.File(l.write("other.bin", []byte("other")))
		wantFail(t, req, signature.StepSubject, "about something else")
	})
	t.Run("stamp beside it", func(t *testing.T) {
		b, err := l.Sign(l.artifact, sigtest.Making{Version: "0.1", NoProof: true, Stamp: true})
		_, _, stamp, err2 := sigtest.Loose(b, err)
		if err2 != nil {
			t.Fatal(err2)
		}
		req := l.request(l.legacy(b, err, nil))
		req.Timestamp = l.write("stamp.tsr", stamp)
		if res := wantOK(t, req); !strings.Contains(step(t, res, signature.StepTime).Reason, "RFC 3161") {
			t.Errorf("\n%s", table(res))
		}
		other, err := l.Sign([]byte("other"), sigtest.Making{Version: "0.1", NoProof: true, Stamp: true})
		_, _, stamp, err = sigtest.Loose(other, err)
		if err != nil {
			t.Fatal(err)
		}
		req.Timestamp = l.write("stamp.tsr", stamp)
		wantFail(t, req, signature.StepTime, "no RFC 3161 time stamp in the bundle verifies")
		for name, text := range map[string]string{"empty": "", "JSON of another": `{"x":1}`, "deep": strings.Repeat("[", 1000) + "{", "null": `{"SignedRFC3161Timestamp":null}`} {
			req.Timestamp = l.write("stamp.tsr", []byte(text))
			if name == "deep" {
				req.Timestamp = l.write("stamp.tsr", []byte(`{"SignedRFC3161Timestamp":`+strings.Repeat("[", 1000)))
			}
			wantTrouble(t, req, "time stamp")
		}
	})
}

func decoded(t *testing.T, v any) string {
	t.Helper()
	var b []byte
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDishonestLegacyBundles(t *testing.T) {
	l := newLab(t)
	payload := func(change func(p map[string]any)) func(map[string]any) {
		return func(m map[string]any) { change(m["rekorBundle"].(map[string]any)["Payload"].(map[string]any)) }
	}
	for name, c := range map[string]struct {
		making       sigtest.Making
		alter        func(map[string]any)
		step, reason string // step "": trouble
	}{
		"no log":            {v01, func(m map[string]any) { delete(m, "rekorBundle") }, signature.StepLog, "none"},
		"null log":          {v01, func(m map[string]any) { m["rekorBundle"] = nil }, signature.StepLog, "none"},
		"null body":         {v01, payload(func(p map[string]any) { p["body"] = nil }), signature.StepLog, "its body is null"},
		"no body":           {v01, payload(func(p map[string]any) { delete(p, "body") }), signature.StepLog, "its body is null"},
		"body null in JSON": {v01, payload(func(p map[string]any) { p["body"] = []byte("null") }), signature.StepLog, "not a JSON object"},
		"body an object":    {v01, payload(func(p map[string]any) { p["body"] = map[string]any{} }), signature.StepLog, "cannot be read"},
		"null payload":      {v01, func(m map[string]any) { m["rekorBundle"].(map[string]any)["Payload"] = nil }, signature.StepLog, "cannot be read"},
		"no promise":        {v01, func(m map[string]any) { delete(m["rekorBundle"].(map[string]any), "SignedEntryTimestamp") }, signature.StepLog, "no promise"},
		"empty promise":     {v01, func(m map[string]any) { m["rekorBundle"].(map[string]any)["SignedEntryTimestamp"] = "" }, signature.StepLog, ""},
		"other promise":     {v01, func(m map[string]any) { m["rekorBundle"].(map[string]any)["SignedEntryTimestamp"] = "AAAA" }, signature.StepLog, ""},
		"other time":        {v01, payload(func(p map[string]any) { p["integratedTime"] = p["integratedTime"].(float64) + 1 }), signature.StepLog, "SET"},
		"negative index":    {v01, payload(func(p map[string]any) { p["logIndex"] = -1 }), signature.StepLog, ""},
		"other log":         {v01, payload(func(p map[string]any) { p["logID"] = strings.Repeat("0", 64) }), signature.StepLog, "does not know the log"},
		"short log ID":      {v01, payload(func(p map[string]any) { p["logID"] = "00" }), signature.StepLog, "logID"},
		"unknown key":       {v01, payload(func(p map[string]any) { p["x"] = 1 }), signature.StepLog, "unknown key"},
		"other person":      {sigtest.Making{Identity: "mallory@x"}, nil, signature.StepIdentity, "mallory"},
		"no SCT":            {sigtest.Making{NoSCT: true}, nil, signature.StepSCT, ""},
		"empty signature":   {v01, func(m map[string]any) { m["base64Signature"] = "" }, signature.StepSignature, "absent"},
		"other signature":   {v01, func(m map[string]any) { m["base64Signature"] = "AAAA" }, signature.StepSignature, "does not verify"},
		"no certificate":    {v01, func(m map[string]any) { delete(m, "cert") }, signature.StepIdentity, "bare key"},
		"null certificate":  {v01, func(m map[string]any) { m["cert"] = nil }, signature.StepIdentity, "bare key"},

		"certificate of junk":     {v01, func(m map[string]any) { m["cert"] = "junk" }, "", "cert cannot be read"},
		"certificate a number":    {v01, func(m map[string]any) { m["cert"] = 1 }, "", "cannot be read"},
		"certificate of another":  {v01, func(m map[string]any) { m["cert"] = "-----BEGIN X-----\n-----END X-----\n" }, "", "cert cannot be read"},
		"signature not in base64": {v01, func(m map[string]any) { m["base64Signature"] = "!" }, "", "base64Signature cannot be read"},
		"unknown field":           {v01, func(m map[string]any) { m["Cert2"] = "x" }, "", "unknown key"},
		"field in another case":   {v01, func(m map[string]any) { m["Cert"] = "x" }, "", "unknown key"},
		"envelope of junk":        {v01, func(m map[string]any) { m["base64Signature"] = []byte(`{"payload":1}`) }, "", "envelope"},
		"envelope unsigned": {v01, func(m map[string]any) {
			m["base64Signature"] = []byte(`{"payload":"e30=","payloadType":"x","signatures":[]}`)
		}, "", "no signature"},
	} {
		t.Run(name, func(t *testing.T) {
			req := l.request(l.signLegacy(c.making, c.alter))
			if c.step == "" {
				wantTrouble(t, req, c.reason)
				return
			}
			wantFail(t, req, c.step, c.reason)
		})
	}
	t.Run("a second signature", func(t *testing.T) {
		b, err := l.Attest(statement(l.sha256()), v01)
		req := l.request(l.legacy(b, err, func(m map[string]any) {
			env := map[string]any{}
			if err := json.Unmarshal([]byte(decoded(t, m["base64Signature"])), &env); err != nil {
				t.Fatal(err)
			}
			env["signatures"] = append(env["signatures"].([]any), map[string]any{"sig": "AAAA"})
			m["base64Signature"], _ = json.Marshal(env)
		}))
		res, err := verify(t, req)
		if res.OK {
			t.Fatalf("accepted; %v\n%s", err, table(res))
		}
	})
}

func TestPrivatePKI(t *testing.T) {
	l := newLab(t)
	pem := l.write("ca.pem", l.PEM())
	private := func(m sigtest.Making) signature.Request {
		req := l.request(l.bundle(l.Sign(l.artifact, m)))
		req.TrustedRoot, req.PrivatePKI = pem, true
		return req
	}
	res := wantOK(t, private(sigtest.Making{NoSCT: true, NoLog: true, Stamp: true}))
	for name, want := range map[string]string{signature.StepSCT: "--private-pki", signature.StepLog: "--private-pki"} {
		if s := step(t, res, name); s.Outcome != signature.NotChecked || !strings.Contains(s.Reason, want) {
			t.Errorf("%s", table(res))
		}
	}
	t.Run("logged all the same", func(t *testing.T) { wantOK(t, private(sigtest.Making{Stamp: true})) })
	t.Run("no stamp", func(t *testing.T) {
		wantFail(t, private(sigtest.Making{NoSCT: true, NoLog: true}), signature.StepTime, "nobody attests the time")
		wantFail(t, private(sigtest.Making{}), signature.StepTime, "nobody attests the time")
	})
	t.Run("stamped late", func(t *testing.T) {
		wantFail(t, private(sigtest.Making{Stamp: true, StampAt: 1 << 50}), signature.StepChain, "valid from")
	})
	t.Run("not said", func(t *testing.T) {
		req := private(sigtest.Making{Stamp: true})
		req.PrivatePKI = false
		wantTrouble(t, req, "is PEM")
	})
	t.Run("other PKI", func(t *testing.T) {
		req := private(sigtest.Making{NoSCT: true, NoLog: true, Stamp: true})
		req.TrustedRoot = l.write("other.pem", newLab(t).PEM())
		wantFail(t, req, signature.StepTime, "")
	})
	t.Run("a root that names logs asks for them", func(t *testing.T) {
		req := private(sigtest.Making{NoSCT: true, Stamp: true})
		req.TrustedRoot = l.path("root.json")
		wantFail(t, req, signature.StepSCT, "no SCT")
		req = private(sigtest.Making{NoLog: true, Stamp: true})
		req.TrustedRoot = l.path("root.json")
		wantFail(t, req, signature.StepLog, "none")
	})
	t.Run("detached, with certificate and stamp", func(t *testing.T) {
		_, ed, _ := ed25519.GenerateKey(rand.Reader)
		for name, m := range map[string]sigtest.Making{"P-256": {}, "Ed25519ph": {Key: ed}} {
			m.Version, m.NoProof, m.Stamp = "0.1", true, true
			b, err := l.Sign(l.artifact, m)
			sig, cert, stamp, err := sigtest.Loose(b, err)
			if err != nil {
				t.Fatal(err)
			}
			req := l.request("")
			req.Signature, req.Certificate, req.Timestamp = l.write("fw.sig", sig), l.write("fw.crt", cert), l.write("fw.tsr", stamp)
			req.TrustedRoot, req.PrivatePKI = pem, true
			wantOK(t, req)
			req.Artifact = signature.File(l.write("other.bin", []byte("x")))
			wantFail(t, req, signature.StepSignature, "over something else")
			req.Artifact = signature.File(l.path("fw.bin"))
			req.TrustedRoot, req.PrivatePKI = l.path("root.json"), false
			wantFail(t, req, signature.StepLog, "none")
			if name == "Ed25519ph" {
				req.TrustedRoot, req.PrivatePKI = pem, true
				req.Artifact = signature.Digest(sha256.Sum256(l.artifact))
				wantLimit(t, req)
			}
		}
	})
	t.Run("junk", func(t *testing.T) {
		req := private(sigtest.Making{Stamp: true})
		leafOnly, err := l.Sign(l.artifact, v01)
		_, cert, _, err := sigtest.Loose(leafOnly, err)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{cert, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN X-----\n-----END X-----\n")} {
			req.TrustedRoot = l.write("junk.pem", text)
			wantTrouble(t, req, "trusted root")
		}
	})
}
