package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFetch fetches from a server with a certificate of an authority of its own.
func TestFetch(t *testing.T) {
	data := bytes.Repeat([]byte("firmware"), 1000)
	asked := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/silent" {
			<-r.Context().Done()
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer s.Close()
	dir := t.TempDir()
	t.Setenv("ASSAY_CACHE", filepath.Join(dir, "cache"))
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	pin := hex.EncodeToString(sum[:])
	out := filepath.Join(dir, "fw.bin")
	for _, c := range []struct {
		args []string
		code int
		want string // on either output
		asks int
	}{
		{[]string{"/fw.bin", "--sha256", pin}, 2, "name the authority with --ca-file", 0},
		{[]string{"/fw.bin", "--ca-file", ca}, 2, "--sha256 " + pin, 1},
		{[]string{"/fw.bin", "--ca-file", ca, "--sha256", strings.Repeat("0", 64)}, 1, "its sha256 is " + pin, 1},
		{[]string{"/fw.bin", "--sha256", pin, "--out", out}, 0, "sha256:" + pin + " 8000 fw.bin\n", 0}, // the second try kept it
		{[]string{"/silent", "--ca-file", ca, "--sha256", strings.Repeat("0", 64), "--timeout", "10ms"}, 3, "not fetched within 10ms", 1},
	} {
		before := asked
		var stdout, stderr bytes.Buffer
		code := run(append([]string{"assay", "fetch", s.URL + c.args[0]}, c.args[1:]...), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String()+stderr.String(), c.want) {
			t.Errorf("%q: exit code %d\n%s%s", c.args, code, &stdout, &stderr)
		}
		if c.asks != asked-before && c.code != 3 { // silence may end before it is asked
			t.Errorf("%q: %d requests", c.args, asked-before)
		}
	}
	if b, err := os.ReadFile(out); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// On a file system without links nothing is replaced either.
func TestMoveNew(t *testing.T) {
	none := func(string, string) error { return errors.ErrUnsupported }
	for name, link := range map[string]func(string, string) error{"links": os.Link, "no links": none} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		if err := errors.Join(os.WriteFile(from, []byte("new"), 0o600), os.WriteFile(to, []byte("old"), 0o600)); err != nil {
			t.Fatal(err)
		}
		err := moveNew(from, to, link)
		if b, _ := os.ReadFile(to); err == nil || !strings.Contains(err.Error(), "exists already") || string(b) != "old" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
		err = moveNew(from, to, link)
		if b, _ := os.ReadFile(to); err != nil || string(b) != "new" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if err := moveNew(from, filepath.Join(dir, "none", "to"), link); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
