package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/report"
)

// nested is an archive in a compressed archive, and a name that needs escaping.
func nested(t *testing.T) []byte {
	t.Helper()
	pack := func(names []string, data ...[]byte) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i, name := range names {
			if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data[i])), Mode: 0o644}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(data[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(pack([]string{"a", "<b>\x1b\u202e"}, []byte("one\n"), []byte("two\n"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return pack([]string{"inner.tar.gz", "empty", "last"}, z.Bytes(), nil, bytes.Repeat([]byte("three "), 99))
}

// What inspect writes node by node is the tree as a whole.
func TestInspectStreams(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	for name, data := range map[string][]byte{"nested": nested(t), "raw": []byte("nothing that is known\n"), "empty": nil} {
		if err := os.WriteFile(image, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, more := range [][]string{nil, {"-v"}} {
			tree, err := diff.Inspect(context.Background(), diff.Image{ReaderAt: bytes.NewReader(data), Size: int64(len(data))}, more != nil, verify.Options{}.Engine())
			if err != nil {
				t.Fatal(err)
			}
			var want, got, stderr bytes.Buffer
			err = report.JSON(&want, struct {
				Name   string     `json:"name"`
				Size   int64      `json:"size"`
				SHA256 string     `json:"sha256"`
				Root   *diff.Node `json:"root"`
			}{"image", int64(len(data)), tree.SHA256, tree})
			if err != nil {
				t.Fatal(err)
			}
			if code := run(append([]string{"assay", "inspect", "-o", "json", image}, more...), &got, &stderr); code != 0 || got.String() != want.String() {
				t.Errorf("%s %q: exit code %d, %s\n%s\nnot\n%s", name, more, code, &stderr, &got, &want)
			}
		}
	}
}

// A layer that a limit kept closed makes the outcome undecided, however deep it is and
// whatever is shown; what cannot be written is trouble.
func TestInspectOutcome(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nested(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"-q"}, {"-o", "json"}} {
		var out bytes.Buffer
		args := append([]string{"assay", "inspect", image}, more...)
		if code := run(append(args, "--max-depth", "2"), &out, &bytes.Buffer{}); code != 3 {
			t.Errorf("%q: exit code %d", more, code)
		}
		if quiet := len(more) == 1; quiet != (out.Len() == 0) {
			t.Errorf("%q: %q", more, &out)
		} else if code := run(args, fullDisk{}, &bytes.Buffer{}); !quiet && code != 2 {
			t.Errorf("%q, nowhere to write: exit code %d", more, code)
		}
	}
}
