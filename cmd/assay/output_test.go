package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/assaylab/assay/verify/signature/sigtest"
)

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestReportLost: an answer that nobody can read is no answer.
func TestReportLost(t *testing.T) {
	a, err := sigtest.New()
	p := newTrapper(t, a, err)
	fw := p.file("fw.bin", []byte("firmware\n"), nil)
	args := []string{
		"assay", "verify", fw, "--bundle", p.bundle(p.Sign([]byte("firmware\n"), sigtest.Making{})), "--trusted-root", p.root(),
		"--certificate-identity", sigtest.Identity, "--certificate-oidc-issuer", sigtest.Issuer,
	}
	for _, more := range [][]string{nil, {"-o", "json"}} {
		var stderr bytes.Buffer
		if code := run(append(args, more...), fullDisk{}, &stderr); code != 2 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%q: exit code %d\n%s", more, code, &stderr)
		}
	}
	if code := run(append(args, "-q"), fullDisk{}, &bytes.Buffer{}); code != 0 {
		t.Errorf("nothing to write: exit code %d", code)
	}
}

// TestTerminal: nothing from outside reaches a terminal that it could command, or
// whose lines it could reorder.
func TestTerminal(t *testing.T) {
	a, err := sigtest.New()
	p := newTrapper(t, a, err)
	const evil = "x\x1b[31m\u202e\u009b2J\u007f\ufeff"
	fw, root := p.file("fw.bin", []byte("firmware\n"), nil), p.root()
	who := []string{"--certificate-identity", sigtest.Identity, "--certificate-oidc-issuer", sigtest.Issuer, "--trusted-root", root}
	alter := func(change func(map[string]any)) string {
		return p.bundle(p.Sign([]byte("firmware\n"), sigtest.Making{Alter: change}))
	}
	block := []byte("-----BEGIN PRIVATE KEY \x1b[31m\u202e-----\nAAAA\n-----END PRIVATE KEY \x1b[31m\u202e-----\n")
	for name, args := range map[string]func() []string{
		"media type": func() []string {
			return append(who, "--bundle", alter(func(b map[string]any) { b["mediaType"] = evil }))
		},
		"unknown field": func() []string { return append(who, "--bundle", alter(func(b map[string]any) { b[evil] = 1 })) },
		"identity": func() []string {
			return append(who, "--bundle", p.bundle(p.Sign([]byte("firmware\n"), sigtest.Making{Identity: "x\x1b[31m@x"})))
		},
		"predicate type": func() []string {
			return append(who, "--bundle", p.bundle(p.Attest([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x\u001b\u202e\u009b\u007f"}`), sigtest.Making{})))
		},
		"statement type": func() []string {
			return append(who, "--bundle", p.bundle(p.Attest([]byte(`{"_type":"x\u001b\u202e\u009b\u007f"}`), sigtest.Making{})))
		},
		"PEM type": func() []string { return []string{"--key", p.file("evil.pem", block, nil), "--signature", fw} },
		"PEM root": func() []string {
			return append(who[:4:4], "--trusted-root", p.file("evil.pem", block, nil), "--bundle", fw)
		},
		"file name": func() []string { return append(who, "--bundle", filepath.Join(p.dir, evil)) },
		"artifact":  func() []string { return append(who, "--bundle", alter(nil), "--as-of", evil) },
	} {
		for _, more := range [][]string{nil, {"-o", "json"}} {
			stdout, stderr, code := assay(append(append([]string{"verify", fw}, args()...), more...)...)
			if code == 0 {
				t.Errorf("%s: accepted", name)
			}
			for _, r := range stdout + stderr {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%s: %U in\n%q%q", name, r, stdout, stderr)
					break
				}
			}
		}
	}
}

// TestSpecialArtifacts: what is no file with an end is refused, and waited for no
// longer than it takes to see that.
func TestSpecialArtifacts(t *testing.T) {
	a, err := sigtest.New()
	p := newTrapper(t, a, err)
	fifo := filepath.Join(p.dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); errors.Is(err, syscall.EPERM) {
		t.Skip("no FIFO can be made here")
	} else if err != nil {
		t.Fatal(err)
	}
	nothing := p.bundle(p.Sign(nil, sigtest.Making{})) // an honest signature over no bytes
	for _, path := range []string{fifo, "/dev/zero", "/dev/null", p.dir} {
		stdout, stderr, code := assay("verify", path, "--bundle", nothing, "--trusted-root", p.root(),
			"--certificate-identity", sigtest.Identity, "--certificate-oidc-issuer", sigtest.Issuer)
		if code != 2 || stdout != "" || !strings.Contains(stderr, "assay: hint: ") {
			t.Errorf("%s: exit code %d\n%s%s", path, code, stdout, stderr)
		}
	}
}
