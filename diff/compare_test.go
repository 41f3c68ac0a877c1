package diff_test

import (
	"archive/tar"
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

type file struct {
	name, body string
	mode       int64
}

func tarOf(t *testing.T, when time.Time, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.body)), Mode: f.mode, ModTime: when, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func options() diff.Options {
	return diff.Options{Formats: format.All(), Rules: explain.All()}
}

func image(b []byte) diff.Image {
	return diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
}

func compare(t *testing.T, ref, dep []byte) *ledger.Ledger {
	t.Helper()
	res, err := diff.Compare(context.Background(), image(ref), image(dep), options())
	if err != nil {
		t.Fatal(err)
	}
	return res.Ledger
}

func TestTarTimes(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	files := []file{{"bin/a", "hello 2022-11-25 06:31:44 hi", 0o644}, {"bin/b", "world", 0o755}}
	ref := tarOf(t, day, files...)
	files[0].body = "hello 2022-12-25 06:31:44 hi"
	dep := tarOf(t, day.Add(time.Hour), files...)
	l := compare(t, ref, dep)
	for _, e := range l.Entries {
		t.Logf("%+v", e)
	}
	t.Logf("%+v %d %+v", l.Totals, l.FreeBits, l.Missing)
}
