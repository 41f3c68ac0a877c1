package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/signature"
)

// vectors is the folder of vectors from elsewhere, or a reason why there is none.
func vectors(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("ASSAY_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "sigstore-conformance", "bundle-verify")); err != nil {
		t.Skip("the vectors of sigstore-conformance are absent: set ASSAY_VECTORS to the folder that holds them")
	}
	return dir
}

// TestConformance runs the cases of sigstore-conformance through the program as
// people run it, each with the file and with its digest, without a network.
func TestConformance(t *testing.T) {
	suite := filepath.Join(vectors(t), "sigstore-conformance")
	dir := filepath.Join(suite, "bundle-verify")
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("unshare is not installed")
	}
	program := filepath.Join(t.TempDir(), "assay")
	if text, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	if text, err := exec.Command(unshare, "-rn", program, "version").CombinedOutput(); err != nil {
		t.Skipf("SKIP-NAMESPACE: the machine lets nobody run a program without a network: %v: %s", err, text)
	}
	cases, err := filepath.Glob(filepath.Join(dir, "*", "bundle.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	runs, right := 0, 0
	for _, bundle := range cases {
		c := filepath.Dir(bundle)
		name := filepath.Base(c)
		own := func(file, other string) string {
			if _, err := os.Stat(filepath.Join(c, file)); err == nil {
				return filepath.Join(c, file)
			}
			return other
		}
		line := func(file, other string) string {
			b, err := os.ReadFile(filepath.Join(c, file))
			if err != nil {
				return other
			}
			return strings.TrimSpace(string(b))
		}
		args := []string{"-rn", program, "verify", "-o", "json", "--bundle", bundle}
		args = append(args, "--trusted-root", own("trusted_root.json", filepath.Join(suite, "production-trusted-root.json")))
		if key := own("key.pub", ""); key != "" {
			args = append(args, "--key", key)
		} else {
			args = append(args,
				"--certificate-identity", line("identity", "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"),
				"--certificate-oidc-issuer", line("issuer", "https://token.actions.githubusercontent.com"))
		}
		artifact := own("artifact", filepath.Join(dir, "a.txt"))
		content, err := os.ReadFile(artifact)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []struct{ how, arg string }{{"file", artifact}, {"digest", fmt.Sprintf("sha256:%x", sha256.Sum256(content))}} {
			runs++
			t.Run(name+"/"+a.how, func(t *testing.T) {
				cmd := exec.Command(unshare, append(args, a.arg)...)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				cmd.Env = []string{"HOME=" + t.TempDir()}
				code := 0
				var exit *exec.ExitError
				if err := cmd.Run(); errors.As(err, &exit) {
					code = exit.ExitCode()
				} else if err != nil {
					t.Fatal(err)
				}
				var res signature.Result
				if err := json.Unmarshal(stdout.Bytes(), &res); err != nil || len(res.Steps) != 9 {
					t.Fatalf("%v: %s%s", err, stdout.Bytes(), stderr.Bytes())
				}
				if strings.HasSuffix(name, "_fail") != (code == 1 || code == 2) || (code == 0) != res.OK || (code == 2) != (stderr.Len() > 0) {
					t.Errorf("exit code %d\n%s%s", code, stdout.Bytes(), stderr.Bytes())
					return
				}
				right++
			})
		}
	}
	t.Logf("%d of %d runs right", right, runs)
	if runs < 140 {
		t.Errorf("%d runs, want 140", runs)
	}
}
