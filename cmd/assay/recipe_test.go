//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A lock is what the recipe came to: the same build holds to it, one with other tools
// is noted, and with --locked not decided.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("a", "abc")
	recipe := put("recipe.yaml", `version: 1
sources: [{path: a, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, at: /src/a}]
toolchain: {host: [cat]}
steps: [{sh: "cat a >fw.bin"}]
outputs: [{path: fw.bin}]
builds: 1
`)
	rebuild := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		code := run(append([]string{"assay", "rebuild", recipe}, args...), &out, &errs)
		if strings.Contains(errs.String(), "no sandbox works here") {
			t.Skip("SKIP-NAMESPACE: " + errs.String())
		}
		if code != want {
			t.Fatalf("%q: exit code %d, want %d\n%s", args, code, want, errs.String())
		}
		return errs.String()
	}
	rebuild(0, "--lock")
	lock := filepath.Join(dir, "recipe.lock.yaml")
	b, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	if said := rebuild(0); strings.Contains(said, "note") {
		t.Errorf("said %s", said)
	}
	rebuild(0, "--locked")
	rebuild(0, "--lock") // it replaces the old one
	if again, _ := os.ReadFile(lock); !bytes.Equal(again, b) {
		t.Errorf("another lock:\n%s\nwas\n%s", again, b)
	}
	at := bytes.Index(b, []byte(`version: "cat`))
	if at < 0 {
		t.Fatalf("no version of cat:\n%s", b)
	}
	put("recipe.lock.yaml", string(b[:at])+`version: "dog`+string(b[at+len(`version: "cat`):]))
	if said := rebuild(0); !strings.Contains(said, "note: the tool cat is ") {
		t.Errorf("said %s", said)
	}
	if said := rebuild(3, "--locked"); !strings.Contains(said, `and was "dog`) || !strings.Contains(said, "hint: build with what the lock names") {
		t.Errorf("said %s", said)
	}
	put("recipe.lock.yaml", "version: 1\n")
	if said := rebuild(2); !strings.Contains(said, "recipe.lock.yaml:1: recipe, sources or tools is missing") {
		t.Errorf("said %s", said)
	}
}
