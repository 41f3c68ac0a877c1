package signature

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/signature/sigtest"
)

// TestLibraryDecides: were every step to pass, VerifyNewBundle alone would still
// refuse what it is there to refuse. The steps are a second opinion, not the
// only one.
func TestLibraryDecides(t *testing.T) {
	honest, err := sigtest.New()
	if err != nil {
		t.Fatal(err)
	}
	expired, err := sigtest.NewExpired(sigtest.Time().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	other, err := sigtest.New()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	artifact := []byte("firmware")
	foreign := []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + strings.Repeat("0", 64) + `"}}],"predicateType":"x"}`)
	const accepted = true
	for name, c := range map[string]struct {
		by     *sigtest.Authority
		root   *sigtest.Authority
		making sigtest.Making
		make   func(*sigtest.Authority, sigtest.Making) ([]byte, error)
		key    bool
		want   bool
	}{
		"honest":               {by: honest, want: accepted},
		"no SCT":               {by: honest, making: sigtest.Making{NoSCT: true}},
		"no log":               {by: honest, making: sigtest.Making{NoLog: true}},
		"no time":              {by: honest, making: sigtest.Making{NoPromise: true}},
		"late":                 {by: honest, making: sigtest.Making{Stamp: true, StampAt: time.Hour}},
		"other person":         {by: honest, making: sigtest.Making{Identity: "mallory@x"}},
		"longer identity":      {by: honest, making: sigtest.Making{Identity: sigtest.Identity + ".evil"}},
		"other issuer":         {by: honest, making: sigtest.Making{Issuer: "https://x"}},
		"expired intermediate": {by: expired},
		"other root":           {by: honest, root: other},
		"other artifact": {by: honest, make: func(a *sigtest.Authority, m sigtest.Making) ([]byte, error) {
			return a.Sign([]byte("other"), m)
		}},
		"foreign subject": {by: honest, make: func(a *sigtest.Authority, m sigtest.Making) ([]byte, error) { return a.Attest(foreign, m) }},
		"junk signature": {by: honest, make: func(a *sigtest.Authority, m sigtest.Making) ([]byte, error) { return a.Attest(foreign, m) }, making: sigtest.Making{Alter: func(b map[string]any) {
			env := b["dsseEnvelope"].(map[string]any)
			env["signatures"] = append(env["signatures"].([]any), map[string]any{"sig": "AAAA"})
		}}},
		"bare key": {by: honest, make: func(a *sigtest.Authority, m sigtest.Making) ([]byte, error) { return a.SignWithKey(artifact, key, m) }},
		"key":      {by: honest, key: true, want: accepted, make: func(a *sigtest.Authority, m sigtest.Making) ([]byte, error) { return a.SignWithKey(artifact, key, m) }},
		"key, no log": {by: honest, key: true, making: sigtest.Making{NoLog: true}, make: func(a *sigtest.Authority, m sigtest.Making) ([]byte, error) {
			return a.SignWithKey(artifact, key, m)
		}},
		"key, certificate": {by: honest, key: true, making: sigtest.Making{Key: key}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(name string, b []byte, err error) string {
				path := filepath.Join(dir, name)
				if err == nil {
					err = os.WriteFile(path, b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				return path
			}
			if c.root == nil {
				c.root = c.by
			}
			if c.make == nil {
				c.make = func(a *sigtest.Authority, m sigtest.Making) ([]byte, error) { return a.Sign(artifact, m) }
			}
			root, err := c.root.TrustedRoot(true)
			req := Request{Artifact: File(put("fw.bin", artifact, nil)), TrustedRoot: put("root.json", root, err)}
			bundle, err := c.make(c.by, c.making)
			req.Bundle = put("bundle.json", bundle, err)
			if c.key {
				pub, err := sigtest.PublicPEM(key.Public())
				req.Key = put("key.pub", pub, err)
			} else {
				req.Identity = Identity{SubjectRegexp: `release@vendor\.example`, Issuer: sigtest.Issuer}
			}
			res := Result{Steps: newSteps()}
			v := newVerification(req, &res)
			if err := v.prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			v.decide(t.Context())
			if res.OK != c.want {
				t.Errorf("OK = %v, want %v: %+v", res.OK, c.want, res.Steps)
			}
		})
	}
}
