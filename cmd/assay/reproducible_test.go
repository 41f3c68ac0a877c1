package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReproducible builds assay from copies of its sources in two folders, as make build does, and
// compares the programs byte by byte. What the environment would add to the command line is
// cleared, except for CGO_ENABLED: with it, everything would be compiled anew for nothing, as
// the paths of the sources enter a program in the same way.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("links the program twice")
	}
	var first []byte
	for i := range 2 {
		dir := filepath.Join(t.TempDir(), strings.Repeat("deeper/", i), "assay")
		copySources(t, filepath.Join("..", ".."), dir)
		program := filepath.Join(t.TempDir(), "assay")
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/assay")
		build.Dir = dir
		build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOTOOLCHAIN=local", "GOPROXY=off", "PWD="+dir)
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", build, err, text)
		}
		data, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(dir)) {
			t.Errorf("the program holds the path of its sources")
		}
		if i == 0 {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Errorf("two folders, two programs: %d and %d bytes", len(first), len(data))
		}
	}
}

// copySources copies what the program is built of.
func copySources(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir() && rel != "." && (entry.Name() == "testdata" || entry.Name()[0] == '.'):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case !entry.Type().IsRegular() || strings.HasSuffix(name, "_test.go") || filepath.Dir(rel) == "." && !strings.HasPrefix(rel, "go."):
			return nil
		}
		data, err := os.ReadFile(name)
		return errors.Join(err, os.WriteFile(target, data, 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
}
