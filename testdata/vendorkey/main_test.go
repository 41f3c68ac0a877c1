package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/assaylab/assay/verify/signature"
)

func TestSignsWhatVerifies(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, b := write("a.bin", "firmware a"), write("b.bin", "firmware b")
	out := filepath.Join(dir, "new", "out")
	if code := run([]string{"-out", out, a, b}, io.Discard, t.Output()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, c := range []struct {
		file, sig string
		ok        bool
	}{{a, "a.bin.sig", true}, {b, "b.bin.sig", true}, {a, "b.bin.sig", false}} {
		res, err := signature.Verify(t.Context(), signature.Request{
			Artifact: signature.File(c.file), Key: filepath.Join(out, "vendor.pub"), Signature: filepath.Join(out, c.sig),
		})
		if err != nil || res.OK != c.ok {
			t.Errorf("%s with %s: OK %v, %v", filepath.Base(c.file), c.sig, res.OK, err)
		}
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"a.bin.sig", "b.bin.sig", "vendor.pub"}; !slices.Equal(names, want) {
		t.Errorf("wrote %v, want %v", names, want)
	}
}

func TestTrouble(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		nil,
		{"-out", dir},
		{"x"},
		{"-nonsense"},
		{"-out", dir, filepath.Join(dir, "absent")},
		{"-out", dir, "a/x", "b/x"},
	} {
		if code := run(args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: exit code %d, want 2", args, code)
		}
	}
}
