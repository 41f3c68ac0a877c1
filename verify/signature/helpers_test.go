package signature_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

var stepNames = []string{
	signature.StepParse, signature.StepChain, signature.StepSCT, signature.StepLog, signature.StepTime,
	signature.StepSignature, signature.StepSubject, signature.StepIdentity, signature.StepPredicate,
}

// checkTable asserts what holds of every Result: all steps in order, a reason
// for each, and an outcome that agrees with them.
func checkTable(t *testing.T, res signature.Result, err error) {
	t.Helper()
	var names []string
	failed := false
	for _, s := range res.Steps {
		names = append(names, s.Name)
		failed = failed || s.Outcome == signature.Fail
		if s.Reason == "" || strings.ContainsAny(s.Reason, "\n\r\x1b") {
			t.Errorf("step %s: reason %q", s.Name, s.Reason)
		}
	}
	if !slices.Equal(names, stepNames) {
		t.Errorf("steps %v", names)
	}
	if res.OK && (failed || err != nil) {
		t.Errorf("OK with a failed step or an error %v\n%s", err, table(res))
	}
	if !res.OK && !failed && !isLimit(err) {
		t.Errorf("refused, and no step says why: %v\n%s", err, table(res))
	}
	var e *signature.Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("error of type %T: %v", err, err)
	}
}

func isLimit(err error) bool {
	var e *signature.Error
	return errors.As(err, &e) && e.Kind == signature.Limit
}

func isTrouble(err error) bool {
	var e *signature.Error
	return errors.As(err, &e) && e.Kind == signature.Trouble
}

func table(res signature.Result) string {
	var b strings.Builder
	for _, s := range res.Steps {
		fmt.Fprintf(&b, "%-10s %-12s %s\n", s.Name, s.Outcome, s.Reason)
	}
	return b.String()
}

func step(t *testing.T, res signature.Result, name string) signature.Step {
	t.Helper()
	for _, s := range res.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step %q", name)
	return signature.Step{}
}

// lab is a folder with an authority's files.
type lab struct {
	*sigtest.Authority
	t        *testing.T
	dir      string
	artifact []byte
}

func newLab(t *testing.T) *lab {
	t.Helper()
	a, err := sigtest.New()
	return labOf(t, a, err)
}

func labOf(t *testing.T, a *sigtest.Authority, err error) *lab {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Authority: a, t: t, dir: t.TempDir(), artifact: []byte("firmware 1.0\n")}
	for name, stamps := range map[string]bool{"root.json": true, "root-without-tsa.json": false} {
		b, err := a.TrustedRoot(stamps)
		if err != nil {
			t.Fatal(err)
		}
		l.write(name, b)
	}
	l.write("fw.bin", l.artifact)
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name string, b []byte) string {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), b, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return l.path(name)
}

// bundle writes what Sign or Attest made.
func (l *lab) bundle(b []byte, err error) string {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	return l.write("bundle.json", b)
}

// request asks for the lab's artifact and the authority's usual identity.
func (l *lab) request(bundle string) signature.Request {
	return signature.Request{
		Artifact: signature.File(l.path("fw.bin")), Bundle: bundle, TrustedRoot: l.path("root.json"),
		Identity: signature.Identity{Subject: sigtest.Identity, Issuer: sigtest.Issuer},
	}
}

// statement is an in-toto statement about a digest set.
func statement(digests string) []byte {
	return []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fw.bin","digest":{` + digests +
		`}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"x":[1,2]}}`)
}

func (l *lab) sha256() string { return fmt.Sprintf(`"sha256":"%x"`, sha256.Sum256(l.artifact)) }
func (l *lab) sha512() string { return fmt.Sprintf(`"sha512":"%x"`, sha512.Sum512(l.artifact)) }

func verify(t *testing.T, req signature.Request) (signature.Result, error) {
	t.Helper()
	res, err := signature.Verify(t.Context(), req)
	checkTable(t, res, err)
	return res, err
}

func wantOK(t *testing.T, req signature.Request) signature.Result {
	t.Helper()
	res, err := verify(t, req)
	if err != nil || !res.OK {
		t.Fatalf("refused: %v\n%s", err, table(res))
	}
	return res
}

// wantFail asserts a rejection in the named step, for the reason given.
func wantFail(t *testing.T, req signature.Request, name, reason string) signature.Result {
	t.Helper()
	res, err := verify(t, req)
	if err != nil || res.OK {
		t.Fatalf("OK %v, error %v; want a rejection\n%s", res.OK, err, table(res))
	}
	if s := step(t, res, name); s.Outcome != signature.Fail || !strings.Contains(s.Reason, reason) {
		t.Fatalf("step %s does not fail for %q:\n%s", name, reason, table(res))
	}
	return res
}

func wantTrouble(t *testing.T, req signature.Request, reason string) {
	t.Helper()
	res, err := verify(t, req)
	if res.OK || !isTrouble(err) || !strings.Contains(err.Error(), reason) {
		t.Fatalf("OK %v, error %v; want trouble with %q\n%s", res.OK, err, reason, table(res))
	}
	if e := err.(*signature.Error); e.Hint == "" {
		t.Errorf("no hint with %v", err)
	}
	if strings.Contains(err.Error(), os.TempDir()) {
		t.Errorf("absolute path in %v", err)
	}
}

func wantLimit(t *testing.T, req signature.Request) {
	t.Helper()
	res, err := verify(t, req)
	if res.OK || !isLimit(err) {
		t.Fatalf("OK %v, error %v; want a limit\n%s", res.OK, err, table(res))
	}
}
