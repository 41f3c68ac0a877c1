package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/assaylab/assay/verify/trust"
	"github.com/assaylab/assay/verify/trust/anchor"
)

// A repository whose files do not verify is an answer, not trouble: 1, with a hint.
func TestTrustRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer server.Close()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "script", "trust.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start, out := filepath.Join(dir, "root.json"), filepath.Join(dir, "trusted_root.json")
	for _, f := range archive.Files {
		if f.Name == "root.json" {
			if err := os.WriteFile(start, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var stdout, stderr bytes.Buffer
	code := run([]string{"assay", "trust", "refresh", "--mirror", server.URL, "--root", start, "--out", out}, &stdout, &stderr)
	if code != 1 || stdout.Len() != 0 || !strings.Contains(stderr.String(), "does not verify") || !strings.Contains(stderr.String(), "assay: hint: ") {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
}

func TestShowChange(t *testing.T) {
	at := time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)
	kept := anchor.Fingerprint{Kind: anchor.CTLog, Name: "https://ct.example", SHA256: "c0", Start: at}
	added := anchor.Fingerprint{Kind: anchor.CertificateAuthority, Name: "https://ca.example", Subject: "CN=ca", SHA256: "c1", Start: at, End: at.AddDate(1, 0, 0)}
	removed := anchor.Fingerprint{Kind: anchor.TransparencyLog, Name: "https://log.example", SHA256: "c2"}
	now := &trust.Listing{File: "f.json", Size: 7, SHA256: "b2", Names: []anchor.Fingerprint{added, kept}}
	const listing = `file       f.json  7 bytes
sha256     b2
dated      unknown: nothing in it has a start of validity
fetched    unknown: no receipt about this file beside it
names      certificate authority  https://ca.example  from 2024-06-01 to 2025-06-01
             certificate of CN=ca
             sha256:c1
names      certificate log  https://ct.example  from 2024-06-01 on
             sha256:c0
`
	for _, c := range []struct {
		change trust.Change
		want   string
	}{
		{trust.Change{Now: now, Added: now.Names}, "new        sha256:b2\n"},
		{trust.Change{Now: now, Previous: "b2", Unchanged: true}, "unchanged  sha256:b2\n"},
		{trust.Change{Now: now, Previous: "b1"}, "before     sha256:b1\nnow        sha256:b2\nnames      the same as before, written otherwise\n"},
		{trust.Change{Now: now, Previous: "b1", Added: now.Names[:1], Removed: []anchor.Fingerprint{removed}}, `before     sha256:b1
now        sha256:b2
added      certificate authority  https://ca.example  from 2024-06-01 to 2025-06-01
             certificate of CN=ca
             sha256:c1
removed    transparency log  https://log.example  from any time on
             sha256:c2
`},
	} {
		var b bytes.Buffer
		if err := showChange(&b, &c.change); err != nil || b.String() != c.want+listing {
			t.Errorf("%v\n%s", err, &b)
		}
	}
}
