package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/verify/reference/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.IsInit(os.Args) {
		os.Exit(sandbox.Init())
	}
	testscript.Main(m, map[string]func(){
		"assay": func() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			return writeImages(filepath.Join(env.WorkDir, "img"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"flip":  flip,
		},
	})
}

// exits runs a program and demands an exact exit code: exits N program args…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N program args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// flip copies a file with one byte changed: flip from to offset; a negative
// offset counts from the end.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: flip from to offset")
	}
	b := []byte(ts.ReadFile(args[0]))
	off, err := strconv.Atoi(args[2])
	ts.Check(err)
	if off < 0 {
		off += len(b)
	}
	b[off] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o644))
}

// writeImages puts the sample images where scripts find them, under names
// without blanks, and the two hostile ones that are too large for a script.
func writeImages(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range difftest.Samples() {
		name := string(bytes.ReplaceAll([]byte(s.Name), []byte(" "), []byte("-")))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), s.Data, 0o644); err != nil {
			return err
		}
	}
	b, err := bomb()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bomb.gz"), b, 0o644); err != nil {
		return err
	}
	// 13 bytes of header that ask for a dictionary of 2 GiB, and 64 of data.
	lzma := append([]byte{0x5d, 0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 64)...)
	return os.WriteFile(filepath.Join(dir, "dict.lzma"), lzma, 0o644)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bomb is a gzip member of 128 MiB of zeros, a thousandth of that in size.
var bomb = sync.OnceValues(func() ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(w, zeros{}, 128<<20); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
})
