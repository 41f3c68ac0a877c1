package verify_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/reference"
)

// Images that a delivery names by an address are brought, pinned, and named without
// saying where they lie here.
func TestFetchedDelivery(t *testing.T) {
	const body = "the firmware\n"
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
	defer server.Close()
	dir := t.TempDir()
	t.Chdir(dir)
	sub := filepath.Join(dir, "sub")
	for name, text := range map[string]string{
		"ref.bin": body, "other.bin": "other\n", "x.bin": body,
		// Beside the delivery lies what a cache of the same relative name would hold.
		filepath.Join("cache", "sha256", sum[:2], sum): "planted\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(sub, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(sub, name), []byte(text))
	}
	check := func(deployed, reference string, network bool) (*verify.Report, error) {
		t.Helper()
		write(t, filepath.Join(sub, "d.yaml"), []byte("version: 1\nname: fw\ndeployed: "+deployed+"\nreference: "+reference+"\n"))
		d, err := verify.LoadDelivery("sub/d.yaml")
		if err != nil {
			return nil, err
		}
		out, err := verify.Check(t.Context(), d, verify.CheckOptions{WorkDir: t.TempDir(), Fetching: verify.Fetching{
			Open: func() (*fetch.Fetcher, error) {
				c, err := fetch.Open("cache")
				return &fetch.Fetcher{Cache: c, Network: network}, err
			},
		}})
		if err != nil {
			return nil, err
		}
		return out.Report, nil
	}
	url := fmt.Sprintf("{url: %q, sha256: %s}", server.URL+"/fw.bin?token=secret", sum)
	if _, err := check(url, "{path: ref.bin}", false); !errors.As(err, new(*fetch.OfflineError)) {
		t.Errorf("offline: %v", err)
	}
	for range 2 { // from the server, then from the cache
		r, err := check(url, "{path: ref.bin}", true)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != verify.Identical || !r.Deployed.Pinned || r.Deployed.Name != "fw.bin" {
			t.Errorf("%s: %+v", r.Verdict, r.Deployed)
		}
		for _, n := range r.Notes {
			if strings.Contains(n.Text, "secret") || strings.Contains(n.Text, dir) {
				t.Errorf("note %q", n.Text)
			}
		}
	}
	r, err := check("{path: ref.bin}", fmt.Sprintf("{fetch: x.bin, sha256: %s}", sum), false)
	if err != nil || r.Verdict != verify.Identical {
		t.Errorf("a reference beside the delivery: %v, %v", r, err)
	}
	var mismatch *reference.MismatchError
	if _, err := check("{path: ref.bin}", fmt.Sprintf("{fetch: other.bin, sha256: %s}", sum), false); !errors.As(err, &mismatch) {
		t.Errorf("another reference: %v", err)
	}
	for _, bad := range []string{
		fmt.Sprintf("{url: %q}", server.URL), "{url: ref.bin, sha256: " + sum + "}", "{oci: https://host/x, sha256: " + sum + "}",
		"{path: ref.bin, url: https://host/x, sha256: " + sum + "}", "{sha256: " + sum + "}",
	} {
		if _, err := check(bad, "{path: ref.bin}", true); err == nil || strings.Contains(err.Error(), dir) {
			t.Errorf("deployed: %s: %v", bad, err)
		}
	}
}

// A file that changes between fetching and building is not built.
func TestChangedSource(t *testing.T) {
	dir := t.TempDir()
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("abc")))
	write(t, filepath.Join(dir, "recipe.yaml"), fmt.Appendf(nil, `version: 1
sources: [{git: "https://host.example/r.git", commit: %s, at: /src}]
toolchain: {host: [cat]}
steps: [[cat]]
outputs: [{path: x}]
`, sum[:40]))
	write(t, filepath.Join(dir, "made.tar"), []byte("changed"))
	r, err := reference.LoadRecipe(filepath.Join(dir, "recipe.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var mismatch *reference.MismatchError
	if err := r.Resolve(t.Context(), brought{filepath.Join(dir, "made.tar"), sum}); !errors.As(err, &mismatch) {
		t.Errorf("%v", err)
	}
}

// brought is a fetcher that brings one file.
type brought struct{ path, sum string }

func (b brought) Fetch(context.Context, *reference.Source) (reference.Fetched, error) {
	return reference.Fetched{Path: b.path, SHA256: b.sum}, nil
}
