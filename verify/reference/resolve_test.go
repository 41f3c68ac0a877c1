package reference

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const commit40 = "0123456789abcdef0123456789abcdef01234567"

const remote = `version: 1
sources:
  - {url: "https://example.org/dir/a.tar.xz?x=1", sha256: %[1]s, at: /a}
  - {git: "https://example.org/b.git", commit: 0123456789abcdef0123456789abcdef01234567, at: /b}
  - {oci: "docker://example.org/c/d:1@sha256:%[1]s", at: /c, trust: true}
  - {debian: hello, version: "1:2.10-3", sha256: %[1]s, at: /d}
  - {path: p, sha256: %[1]s, at: /p, revision: 0123456789abcdef0123456789abcdef01234567}
toolchain: {oci: "oci:layout@sha256:%[1]s", tools: [make]}
steps: [[make]]
outputs: [{path: fw.bin}]
`

// shelf is a fetcher that has files by the names of sources.
type shelf map[string]string

func (f shelf) Fetch(_ context.Context, s *Source) (Fetched, error) {
	path, ok := f[s.String()]
	if !ok {
		return Fetched{}, fmt.Errorf("there is no %s", s)
	}
	return Fetched{Path: path}, nil
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	r, err := LoadRecipe(write(t, filepath.Join(dir, "recipe.yaml"), fmt.Sprintf(remote, abc256)))
	if err != nil {
		t.Fatal(err)
	}
	var names, pins, files []string
	for _, s := range r.inputs() {
		names, pins, files = append(names, s.String()), append(pins, s.Pin), append(files, s.FileName())
	}
	const image = "sha256:" + abc256
	want := "https://example.org/dir/a.tar.xz?x=1 https://example.org/b.git@" + commit40 + " docker://example.org/c/d:1@" + image + " hello=1:2.10-3 p oci:layout@" + image
	if got := strings.Join(names, " "); got != want {
		t.Errorf("names\n%s\nwant\n%s", got, want)
	}
	if got, want := strings.Join(files, " "), "a.tar.xz b.tar d.tar hello_2.10-3.tar p layout.tar"; got != want {
		t.Errorf("files %s, want %s", got, want)
	}
	if got, want := strings.Join(pins, " "), strings.Join([]string{abc256, commit40, image, abc256, abc256, image}, " "); got != want {
		t.Errorf("pins %s", got)
	}
	if r.Sources[1].Revision != commit40 || r.Sources[3].SHA256 != "" || r.Toolchain.Programs()[0] != "make" {
		t.Errorf("got %+v", r)
	}
	if len(r.Remote()) != 5 {
		t.Errorf("%d sources to fetch", len(r.Remote()))
	}
	// Nothing is built of what was not brought.
	if _, err := Rebuild(t.Context(), r, Options{OutDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "has not been fetched") {
		t.Errorf("got %v", err)
	}
	at := func(line string) string { return filepath.Join(dir, "recipe.yaml") + line }
	if err := r.Resolve(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), at(":3: the source https://example.org/dir/a.tar.xz?x=1 is not on this machine")) {
		t.Errorf("got %v", err)
	}
	abc, xyz := write(t, filepath.Join(dir, "abc"), "abc"), write(t, filepath.Join(dir, "xyz"), "xyz")
	have := shelf{names[0]: xyz, names[1]: xyz, names[2]: abc, names[3]: abc, names[5]: abc}
	var mismatch *MismatchError
	if err := r.Resolve(t.Context(), have); !errors.As(err, &mismatch) || mismatch.Want != abc256 || !strings.HasPrefix(err.Error(), at(":3: ")) {
		t.Errorf("another file: %v", err)
	}
	have[names[0]] = abc
	delete(have, names[3])
	if err := r.Resolve(t.Context(), have); err == nil || err.Error() != at(":6: there is no hello=1:2.10-3") {
		t.Errorf("got %v", err)
	}
	have[names[3]] = abc
	if err := r.Resolve(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	if len(r.Remote()) != 0 || r.Sources[1].Path != xyz || r.Sources[1].SHA256 == "" || r.Toolchain.Rootfs.SHA256 != abc256 {
		t.Errorf("got %+v", r)
	}
	// What was brought and changed since is not what is built of.
	os.WriteFile(xyz, []byte("other"), 0o644)
	if _, _, err := r.Sources[1].open(); !errors.As(err, &mismatch) {
		t.Errorf("got %v", err)
	}
}

func TestRootfsByURL(t *testing.T) {
	for _, toolchain := range []string{
		`{rootfs: {url: "https://example.org/r.tar", sha256: ` + abc256 + `}, tools: [make]}`,
		`{rootfs: {path: r.tar, sha256: ` + abc256 + `}}`,
		`{rootfs: {oci: "docker://example.org/x@sha256:` + abc256 + `"}}`,
	} {
		old := "{rootfs: r.tar, sha256: " + abc256 + "}"
		if !strings.Contains(least, old) {
			t.Fatal("the recipe is another")
		}
		r, err := load(t, strings.Replace(least, old, toolchain, 1))
		if err != nil || r.Toolchain.Rootfs == nil || !strings.Contains(r.Toolchain.Rootfs.Pin, abc256) {
			t.Errorf("%s: %+v, %v", toolchain, r, err)
		}
	}
}
