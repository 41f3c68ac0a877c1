package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/signature/sigtest"
)

// A trapper makes files of an authority for the command line.
type trapper struct {
	*sigtest.Authority
	t   *testing.T
	dir string
}

func newTrapper(t *testing.T, a *sigtest.Authority, err error) *trapper {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return &trapper{a, t, t.TempDir()}
}

func (p *trapper) file(name string, b []byte, err error) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p *trapper) root() string {
	b, err := p.TrustedRoot(true)
	return p.file("root.json", b, err)
}

func (p *trapper) bundle(b []byte, err error) string { return p.file("bundle.json", b, err) }

// TestTraps: every way in which a verifier built on the same libraries has been
// seen to accept, or to fall, as a command line and its exit code.
func TestTraps(t *testing.T) {
	a, err := sigtest.New()
	p := newTrapper(t, a, err)
	artifact := []byte("firmware\n")
	fw, root := p.file("fw.bin", artifact, nil), p.root()
	identity := []string{"--certificate-identity", sigtest.Identity, "--certificate-oidc-issuer", sigtest.Issuer}
	about := func(sum [32]byte) []byte {
		return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fw.bin","digest":{"sha256":"%x"}}],"predicateType":"https://example.com/x","predicate":{}}`, sum)
	}
	signed := func(m sigtest.Making) string { return p.bundle(p.Sign(artifact, m)) }
	legacy := func(change func(map[string]any)) string {
		b, err := p.Sign(artifact, sigtest.Making{Version: "0.1", NoProof: true})
		text, err := sigtest.Legacy(b, err)
		var m map[string]any
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err == nil {
			change(m)
			text, err = json.Marshal(m)
		}
		return p.bundle(text, err)
	}
	expired, err := sigtest.NewExpired(sigtest.Time().Add(-time.Hour))
	late := newTrapper(t, expired, err)
	for name, c := range map[string]struct {
		args func() []string // beside the artifact
		code int
		want string // in what is printed
	}{
		"honest": {func() []string { return append(identity, "--bundle", signed(sigtest.Making{}), "--trusted-root", root) }, 0, "verdict    accepted"},
		"no identity": {func() []string {
			return []string{"--bundle", signed(sigtest.Making{}), "--trusted-root", root, "--certificate-oidc-issuer", sigtest.Issuer}
		}, 2, "--certificate-identity "},
		"empty identity": {func() []string {
			return []string{"--bundle", signed(sigtest.Making{}), "--trusted-root", root, "--certificate-identity", "", "--certificate-oidc-issuer", sigtest.Issuer}
		}, 2, "--certificate-identity\" flag: it must not be empty"},
		"empty provenance": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{}), "--trusted-root", root, "--provenance-source=")
		}, 2, "it must not be empty"},
		"empty type": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{}), "--trusted-root", root, "--type", "")
		}, 2, "it must not be empty"},
		"two identities": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{}), "--trusted-root", root, "--certificate-identity", "x@x")
		}, 2, "it is given twice"},
		"subject without issuer": {func() []string {
			return []string{"--bundle", signed(sigtest.Making{}), "--trusted-root", root, "--certificate-identity", sigtest.Identity}
		}, 2, "--certificate-oidc-issuer "},
		"everything missing at once": {func() []string { return nil }, 2, "--trusted-root"},
		"issuer and issuer regexp": {func() []string {
			return append(identity, "--certificate-oidc-issuer-regexp", ".*", "--bundle", signed(sigtest.Making{Issuer: "https://evil.example"}), "--trusted-root", root)
		}, 2, "exclude each other"},
		"unanchored regexp": {func() []string {
			return []string{
				"--certificate-identity-regexp", `release@vendor\.example`, "--certificate-oidc-issuer", sigtest.Issuer,
				"--bundle", signed(sigtest.Making{Identity: "mallory+release@vendor.example.evil"}), "--trusted-root", root,
			}
		}, 1, "identity   fail"},
		"unanchored issuer regexp": {func() []string {
			return []string{
				"--certificate-identity", sigtest.Identity, "--certificate-oidc-issuer-regexp", `https://accounts\.vendor\.example`,
				"--bundle", signed(sigtest.Making{Issuer: "https://accounts.vendor.example.evil"}), "--trusted-root", root,
			}
		}, 1, "identity   fail"},
		"the flags that would name the signer": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{Identity: "other@vendor.example"}), "--trusted-root", root)
		}, 1, "--certificate-identity='other@vendor.example' --certificate-oidc-issuer='" + sigtest.Issuer + "'"},
		"no roots": {func() []string { return append(identity, "--bundle", signed(sigtest.Making{})) }, 2, "--trusted-root"},
		"empty roots": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{}), "--trusted-root", p.file("empty.json", []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), nil))
		}, 1, "does not know the log"},
		"another subject": {func() []string {
			return append(identity, "--bundle", p.bundle(p.Attest(about(sha256.Sum256([]byte("other"))), sigtest.Making{})), "--trusted-root", root)
		}, 1, "subject    fail"},
		"a second signature of junk": {func() []string {
			return append(identity, "--trusted-root", root, "--bundle", p.bundle(p.Attest(about(sha256.Sum256(artifact)), sigtest.Making{Alter: func(b map[string]any) {
				env := b["dsseEnvelope"].(map[string]any)
				env["signatures"] = append(env["signatures"].([]any), map[string]any{"sig": "AAAA"})
			}})))
		}, 1, "signature  fail"},
		"an intermediate certificate that expired": {func() []string {
			return append(identity, "--bundle", late.bundle(late.Sign(artifact, sigtest.Making{})), "--trusted-root", late.root())
		}, 1, "chain      fail"},
		"null body of a legacy log entry": {func() []string {
			return append(identity, "--trusted-root", root, "--bundle", legacy(func(m map[string]any) {
				m["rekorBundle"].(map[string]any)["Payload"].(map[string]any)["body"] = nil
			}))
		}, 1, "its body is null"},
		"null legacy log entry": {func() []string {
			return append(identity, "--trusted-root", root, "--bundle", legacy(func(m map[string]any) { m["rekorBundle"] = nil }))
		}, 1, "log        fail"},
		"null in base64 as the body": {func() []string {
			return append(identity, "--trusted-root", root, "--bundle", legacy(func(m map[string]any) {
				m["rekorBundle"].(map[string]any)["Payload"].(map[string]any)["body"] = base64.StdEncoding.EncodeToString([]byte("null"))
			}))
		}, 1, "log        fail"},
		"RSA-1024 key": {func() []string {
			pub, err := sigtest.PublicPEM(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})
			return []string{"--key", p.file("weak.pub", pub, err), "--signature", p.file("fw.sig", make([]byte, 128), nil)}
		}, 2, "too weak"},
		"time stamp over another signature": {func() []string {
			b, err := p.Sign([]byte("other"), sigtest.Making{Version: "0.1", NoProof: true, Stamp: true})
			_, _, stamp, err := sigtest.Loose(b, err)
			return append(identity, "--trusted-root", root, "--bundle", legacy(func(map[string]any) {}), "--rfc3161-timestamp", p.file("other.tsr", stamp, err))
		}, 1, "time       fail"},
		"private PKI without a time": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{NoSCT: true, NoLog: true}), "--trusted-root", p.file("ca.pem", p.PEM(), nil), "--private-pki")
		}, 1, "time       fail"},
		"private PKI": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{NoSCT: true, NoLog: true, Stamp: true}), "--trusted-root", p.file("ca.pem", p.PEM(), nil), "--private-pki")
		}, 0, "none asked for: a private PKI"},
		"an old trusted root": {func() []string {
			return append(identity, "--bundle", signed(sigtest.Making{}), "--trusted-root", root, "--as-of", "2026-01-01")
		}, 0, "warning    the trusted root \"root.json\" is 2192 days old"},
		"a registry, not allowed": {nil, 2, "--network"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"verify", fw}
			if c.args == nil {
				args = []string{"verify", "docker://127.0.0.1:1/fw@sha256:" + strings.Repeat("0", 64)}
			} else {
				args = append(args, c.args()...)
			}
			stdout, stderr, code := assay(args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.want) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, c.code, c.want, stdout, stderr)
			}
			if code == 2 && (!strings.Contains(stderr, "assay: hint: ") || stdout != "") {
				t.Errorf("no hint, or an answer:\n%s%s", stdout, stderr)
			}
			args = append(args, "-o", "json")
			stdout, _, code = assay(args...)
			var res struct {
				OK    bool
				Steps []struct{ Name, Outcome, Reason string }
			}
			if err := json.Unmarshal([]byte(stdout), &res); code != c.code || (code < 2 || stdout != "") && (err != nil || res.OK != (code == 0) || len(res.Steps) != 9) {
				t.Errorf("JSON: exit code %d, %v\n%s", code, err, stdout)
			}
		})
	}
}

// TestUnreadable: truncated, huge, deep and foreign files give 2, the place and
// a hint.
func TestUnreadable(t *testing.T) {
	a, err := sigtest.New()
	p := newTrapper(t, a, err)
	artifact := []byte("firmware\n")
	fw, root := p.file("fw.bin", artifact, nil), p.root()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := sigtest.PublicPEM(key.Public())
	good := p.file("key.pub", pub, err)
	text, err := p.Sign(artifact, sigtest.Making{})
	bundle := p.bundle(text, err)
	rootText, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	huge := func(head string, size int64) string {
		path := p.file("huge", []byte(head), nil)
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	deep := strings.Repeat(`{"a":`, 100_000)
	wide := "[" + strings.Repeat("[],", 100_000) + "[]]"
	inputs := map[string]func() string{
		"empty":    func() string { return p.file("x", nil, nil) },
		"huge":     func() string { return huge("{", 1<<40) },
		"deep":     func() string { return p.file("x", []byte(deep), nil) },
		"wide":     func() string { return p.file("x", []byte(wide), nil) },
		"null":     func() string { return p.file("x", []byte("null"), nil) },
		"binary":   func() string { return p.file("x", []byte{0x7f, 'E', 'L', 'F', 0, 0xff}, nil) },
		"a folder": func() string { return p.dir },
		"absent":   func() string { return filepath.Join(p.dir, "none") },
		"PEM of another": func() string {
			return p.file("x", []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n"), nil)
		},
		"half the PEM":    func() string { return p.file("x", pub[:len(pub)/2], nil) },
		"half the bundle": func() string { return p.file("x", text[:len(text)/2], nil) },
		"half the root":   func() string { return p.file("x", rootText[:len(rootText)/2], nil) },
	}
	identity := []string{"--certificate-identity", sigtest.Identity, "--certificate-oidc-issuer", sigtest.Issuer}
	for place, args := range map[string]func(string) []string{
		"key":    func(f string) []string { return []string{"--key", f, "--bundle", bundle} },
		"bundle": func(f string) []string { return append(identity, "--trusted-root", root, "--bundle", f) },
		"root":   func(f string) []string { return append(identity, "--trusted-root", f, "--bundle", bundle) },
		"PEM root": func(f string) []string {
			return append(identity, "--trusted-root", f, "--bundle", bundle, "--private-pki")
		},
	} {
		for name, input := range inputs {
			t.Run(place+"/"+name, func(t *testing.T) {
				file := input()
				stdout, stderr, code := assay(append([]string{"verify", fw}, args(file)...)...)
				if code != 2 || stdout != "" || !strings.Contains(stderr, filepath.Base(file)) || !strings.Contains(stderr, "assay: hint: ") || len(stderr) > 2000 {
					t.Errorf("exit code %d\n%s%.3000s", code, stdout, stderr)
				}
			})
		}
	}
	for name, args := range map[string][]string{
		"a signature as the key":  {"--key", bundle, "--signature", bundle},
		"a key as the signature":  {"--key", good, "--signature", good},
		"a bundle as a signature": {"--key", good, "--signature", bundle},
		"a root as a bundle":      {"--key", good, "--bundle", root},
		"a bundle as the root":    append(identity, "--trusted-root", bundle, "--bundle", bundle),
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := assay(append([]string{"verify", fw}, args...)...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, "assay: hint: ") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}
