package signature_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/signature"
)

// TestConformance runs the cases of sigstore-conformance, each with the file
// and with its digest. They are looked for in $ASSAY_VECTORS, else beside the
// repository.
func TestConformance(t *testing.T) {
	vectors := os.Getenv("ASSAY_VECTORS")
	if vectors == "" {
		vectors = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	suite := filepath.Join(vectors, "sigstore-conformance")
	dir := filepath.Join(suite, "bundle-verify")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no conformance vectors in %s: set ASSAY_VECTORS to the folder that holds sigstore-conformance", vectors)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	runs, right := 0, 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		c := filepath.Join(dir, e.Name())
		has := func(name string) bool { _, err := os.Stat(filepath.Join(c, name)); return err == nil }
		text := func(name, other string) string {
			b, err := os.ReadFile(filepath.Join(c, name))
			if err != nil {
				return other
			}
			return strings.TrimSpace(string(b))
		}
		req := signature.Request{
			Bundle:      filepath.Join(c, "bundle.sigstore.json"),
			TrustedRoot: filepath.Join(suite, "production-trusted-root.json"),
		}
		if has("trusted_root.json") {
			req.TrustedRoot = filepath.Join(c, "trusted_root.json")
		}
		if has("key.pub") {
			req.Key = filepath.Join(c, "key.pub")
		} else {
			req.Identity.Subject = text("identity", "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main")
			req.Identity.Issuer = text("issuer", "https://token.actions.githubusercontent.com")
		}
		artifact := filepath.Join(dir, "a.txt")
		if has("artifact") {
			artifact = filepath.Join(c, "artifact")
		}
		content, err := os.ReadFile(artifact)
		if err != nil {
			t.Fatal(err)
		}
		for how, a := range map[string]signature.Artifact{
			"file":   signature.File(artifact),
			"digest": signature.Digest(sha256.Sum256(content)),
		} {
			runs++
			t.Run(e.Name()+"/"+how, func(t *testing.T) {
				req.Artifact = a
				res, err := signature.Verify(t.Context(), req)
				checkTable(t, res, err)
				if want := !strings.HasSuffix(e.Name(), "_fail"); res.OK != want {
					t.Errorf("OK = %v, want %v; %v\n%s", res.OK, want, err, table(res))
					return
				}
				right++
				t.Logf("%v\n%s", err, table(res))
			})
		}
	}
	t.Logf("%d of %d runs right", right, runs)
	if runs < 140 {
		t.Errorf("%d runs, want 140", runs)
	}
}
