package reference

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.IsInit(os.Args) {
		os.Exit(sandbox.Init())
	}
	os.Exit(m.Run())
}

// Digests of "abc" from FIPS 180-2, B.1 and C.1.
const (
	abc256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	abc512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFromPath(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "fw.bin"), "abc")
	r, err := FromPath(file)
	if err != nil {
		t.Fatal(err)
	}
	want := Origin{Kind: "path", Name: "fw.bin", Size: 3, SHA256: abc256, SHA512: abc512}
	if r.Origin != want || r.Path != file {
		t.Errorf("got %+v", r)
	}
	text, err := json.Marshal(r.Origin)
	if err != nil || strings.Contains(string(text), dir) {
		t.Errorf("the origin tells the place: %s, %v", text, err)
	}
	r, err = FromPath(dir)
	if err != nil || r.Origin != (Origin{Kind: "path", Name: filepath.Base(dir)}) {
		t.Errorf("a directory: %+v, %v", r, err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{filepath.Join(dir, "missing"), fifo, "/dev/zero"} {
		if _, err := FromPath(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestFromPinned(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "fw.bin"), "abc")
	for _, pin := range []string{abc256, strings.ToUpper(abc256)} {
		r, err := FromPinned(file, pin)
		if err != nil || r.Origin.Kind != "pinned" || r.Origin.SHA256 != abc256 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	other := strings.Repeat("0", 64)
	_, err := FromPinned(file, other)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || mismatch.Seen != abc256 || mismatch.Want != other {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), abc256) || !strings.Contains(mismatch.Hint(), "sha256: "+abc256) {
		t.Errorf("the error does not say how to pin: %v, %s", err, mismatch.Hint())
	}
	for _, c := range []struct{ path, pin string }{{file, ""}, {file, abc256[1:]}, {file, abc256 + "0"}, {file, "g" + abc256[1:]}, {dir, abc256}} {
		if _, err := FromPinned(c.path, c.pin); err == nil || errors.As(err, &mismatch) {
			t.Errorf("FromPinned(%s, %q): %v", c.path, c.pin, err)
		}
	}
}
