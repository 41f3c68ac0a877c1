//go:build linux && (amd64 || arm64)

package derive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/statement"
)

func TestMain(m *testing.M) {
	if sandbox.IsInit(os.Args) {
		os.Exit(sandbox.Init())
	}
	os.Exit(m.Run())
}

// pack writes files as a tar archive and returns its sha256.
func pack(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, file := range slices.Sorted(func(yield func(string) bool) {
		for k := range files {
			if !yield(k) {
				return
			}
		}
	}) {
		if err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(files[file])), ModTime: time.Unix(1e9, 0)}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[file])
	}
	w.Close()
	write(t, name, b.String())
	return sum(b.Bytes())
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, name, text string) *reference.Recipe {
	t.Helper()
	r, err := reference.LoadRecipe(write(t, name, text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r
}

func rebuild(t *testing.T, r *reference.Recipe, o reference.Options) *reference.Result {
	t.Helper()
	o.OutDir = t.TempDir()
	res, err := reference.Rebuild(t.Context(), r, o)
	var none *sandbox.UnavailableError
	if errors.As(err, &none) {
		t.Skip("SKIP-NAMESPACE: " + err.Error())
	}
	if err != nil {
		t.Fatal(err, strings.Join(reference.Tail(err), "\n"))
	}
	return res
}

// one is a fetcher that has one file for every source.
type one string

func (f one) Fetch(context.Context, *reference.Source) (reference.Fetched, error) {
	return reference.Fetched{Path: string(f)}, nil
}

const tiny = `version: 1
sources:
  - {git: "https://example.org/fw.git", commit: 0123456789abcdef0123456789abcdef01234567, at: /src}
  - {path: blob.bin, sha256: %s, at: /src/blob.bin, trust: true}
toolchain: {host: [cat]}
env: {SOURCE_DATE_EPOCH: 1669357904, GREETING: "a \"b\" \\ c é"}
steps:
  - sh: |
      mkdir out
      { cat main.txt blob.bin; echo "$SOURCE_DATE_EPOCH $GREETING"; uname -n; } >out/fw.bin
  - sh: "echo 'two  lines'\n\n  echo symbols >out/fw.elf"
outputs: [{path: out/fw.bin, symbols: out/fw.elf}]
limits: {time: 90s, memory: 1GiB, output: 16MiB, processes: 64}
`

// A rebuild is stated; of the statement a recipe is made, which rebuilds the same bytes and gives the same statement.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree.tar")
	pack(t, tree, map[string]string{"main.txt": "source\n"})
	blob := write(t, filepath.Join(dir, "blob.bin"), "blob\n")
	r := load(t, filepath.Join(dir, "recipe.yaml"), fmt.Sprintf(tiny, sum([]byte("blob\n"))))
	if err := r.Resolve(t.Context(), one(tree)); err != nil {
		t.Fatal(err)
	}
	res := rebuild(t, r, reference.Options{Set: []reference.Setting{{Factor: "epoch", Value: "1700000000"}}})
	s, err := State(r, res, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := Agrees(s, r, &res.Build); err != nil {
		t.Error(err)
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(dir)) {
		t.Errorf("the statement tells a place: %s", b)
	}
	decoded, err := statement.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromProvenance(decoded.PredicateType, decoded.Predicate, decoded.Subject)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Complete || len(got.Unmapped) != 0 || len(got.Set) != 1 || got.Outputs[0].SHA256 != res.Build.Outputs[0].Builds[0].SHA256 {
		t.Errorf("got %+v", got)
	}
	dir2 := t.TempDir()
	if err := os.Rename(blob, filepath.Join(dir2, "blob.bin")); err != nil {
		t.Fatal(err)
	}
	r2 := load(t, filepath.Join(dir2, "recipe.yaml"), string(got.Recipe))
	if r2.Sources[0].SHA256 == "" {
		t.Error("the tar of the commit is not pinned")
	}
	if err := r2.Resolve(t.Context(), one(tree)); err != nil {
		t.Fatal(err)
	}
	res2 := rebuild(t, r2, reference.Options{Set: got.Set})
	if a, b := res.Build.Outputs[0].Builds[0], res2.Build.Outputs[0].Builds[0]; a != b {
		t.Errorf("rebuilt %+v, and was %+v", b, a)
	}
	s2, err := State(r2, res2, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := s.Rebuild()
	p2, _ := s2.Rebuild()
	p2.BuildDefinition.ResolvedDependencies[0] = p.BuildDefinition.ResolvedDependencies[0] // the recipe, whose text is another
	first, _ := json.Marshal(p)
	second, _ := json.Marshal(p2)
	if !bytes.Equal(first, second) {
		t.Errorf("stated\n%s\nand again\n%s", first, second)
	}
	// Without the setting it is another image, so it is the recipe and the setting that make it.
	if plain := rebuild(t, r2, reference.Options{Builds: 1}); plain.Build.Outputs[0].Builds[0] == res.Build.Outputs[0].Builds[0] {
		t.Error("the setting changes nothing")
	}
	// A statement of one rebuild does not agree with the record of another.
	for _, c := range []struct {
		name   string
		change func(*reference.Rebuilt)
	}{
		{"output", func(b *reference.Rebuilt) { b.Outputs[0].Builds[0].SHA256 = strings.Repeat("0", 64) }},
		{"path", func(b *reference.Rebuilt) { b.Outputs[0].Path = "fw.bin" }},
		{"source", func(b *reference.Rebuilt) { b.Sources[1].SHA256 = strings.Repeat("0", 64) }},
		{"trust", func(b *reference.Rebuilt) { b.Sources[1].Trust = false }},
		{"place", func(b *reference.Rebuilt) { b.Sources[1].At = "/x" }},
		{"tool", func(b *reference.Rebuilt) { b.Tools[0].SHA256 = strings.Repeat("0", 64) }},
		{"no tool", func(b *reference.Rebuilt) { b.Tools = nil }},
		{"recipe", func(b *reference.Rebuilt) { b.Recipe.SHA256 = strings.Repeat("0", 64) }},
		{"setting", func(b *reference.Rebuilt) { b.Set[0].Value = "1" }},
		{"no setting", func(b *reference.Rebuilt) { b.Set = nil }},
		{"environment", func(b *reference.Rebuilt) { b.Env = b.Env[1:] }},
		{"disagreement", func(b *reference.Rebuilt) { b.Agree = 1 }},
	} {
		text, _ := json.Marshal(res.Build)
		var other reference.Rebuilt
		if err := json.Unmarshal(text, &other); err != nil {
			t.Fatal(err)
		}
		if err := Agrees(s, r, &other); err != nil {
			t.Fatal(err)
		}
		c.change(&other)
		if Agrees(s, r, &other) == nil {
			t.Errorf("it agrees with another %s", c.name)
		}
	}
}

func TestShell(t *testing.T) {
	for word, want := range map[string]string{"host=a": "host=a", "": "''", "a b": "'a b'", "a';$(x)": `'a'\'';$(x)'`} {
		if got := Shell(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

func TestDisagreementIsNotStated(t *testing.T) {
	dir := t.TempDir()
	text := `version: 1
sources: [{path: s, sha256: ` + sum([]byte("s")) + `, at: /src/s}]
toolchain: {host: [cat]}
steps: [{sh: "head -c 8 /dev/urandom >fw.bin"}]
outputs: [{path: fw.bin}]
`
	write(t, filepath.Join(dir, "s"), "s")
	r := load(t, filepath.Join(dir, "recipe.yaml"), text)
	_, err := State(r, rebuild(t, r, reference.Options{}), "1.0")
	var disagree *reference.DisagreeError
	if !errors.As(err, &disagree) {
		t.Errorf("got %v", err)
	}
}

const (
	hash = "9e2ba52487d945504d250de186cb4fe2e3ba023ed2921dd6ac8b97ed43e76af9"
)

func TestFromProvenance(t *testing.T) {
	subjects := []statement.Subject{{Name: "fw.bin", Digest: map[string]string{"sha256": hash}}}
	container := func(image, glob string) string {
		return `{"buildDefinition": {"buildType": "https://slsa.dev/container-based-build/v0.1?draft", "externalParameters": {
			"source": {"uri": "git+https://example.org/fw@refs/heads/main", "digest": {"sha1": "` + commit + `"}},
			"builderImage": {"uri": "` + image + `@sha256:` + hash + `", "digest": {"sha256": "` + hash + `"}},
			"configPath": ".github/config.toml", "buildConfig": {"ArtifactPath": "` + glob + `", "Command": ["make", "a b"]}},
			"resolvedDependencies": [{"uri": "git+https://example.org/fw@refs/heads/main", "digest": {"sha1": "` + commit + `"}},
				{"uri": "git+https://example.org/generator@refs/tags/v1", "digest": {"sha256": "` + hash + `"}}]},
			"runDetails": {"builder": {"id": "https://example.org/builder"}}}`
	}
	workflow := `{"buildDefinition": {"buildType": "https://actions.github.io/buildtypes/workflow/v1", "externalParameters": {
			"workflow": {"ref": "refs/heads/main", "repository": "https://example.org/fw", "path": ".github/workflows/build.yml"}, "inputs": {"target": "x\u2028\n}"}},
			"resolvedDependencies": [{"uri": "git+https://example.org/fw@refs/heads/main", "digest": {"gitCommit": "` + commit + `"}}]},
			"runDetails": {"builder": {"id": "https://example.org/\nversion: 2"}}}`
	generic := func(dep string) string {
		return `{"buildDefinition": {"buildType": "https://example.org/make", "externalParameters": {"level": 2}, "resolvedDependencies": [` + dep + `]},
			"runDetails": {"builder": {"id": "https://example.org/builder"}}}`
	}
	for _, c := range []struct {
		name, predicate string
		complete        bool
		recipe          []string // lines that are in it
		unmapped        []string // parts of what is said
	}{
		{"container", container("ghcr.io/example/bash", "bin/*.bin"), true, []string{
			`  - {git: "https://example.org/fw", commit: "` + commit + `", at: "/src"}`,
			`toolchain: {rootfs: {oci: "docker://ghcr.io/example/bash@sha256:` + hash + `"}}`,
			`  - ["make", "a b"]`, `  - {path: "bin/fw.bin"}`,
		}, []string{"/workspace", "https://example.org/generator"}},
		{"container without registry", container("bash", "bin/**"), false, []string{
			`toolchain: {rootfs: {oci: "FILL-IN: host/bash@sha256:` + hash + `"}}`,
		}, []string{"its name says none", `below "bin/**"`}},
		{"container and an escaping path", container("ghcr.io/bash", "../*"), false, nil, []string{`below "../*"`}},
		{"container and another name", container("ghcr.io/bash", "out.bin"), false, nil, []string{`"out.bin" says`}},
		{"workflow", workflow, false, []string{
			`  - {git: "https://example.org/fw", commit: "` + commit + `", at: "/src"}`,
			`  - {path: "FILL-IN: where the steps put fw.bin"}`,
		}, []string{"the steps and the tools", ".github/workflows/build.yml", `"inputs": {"target"`}},
		{"generic with an archive", generic(`{"uri": "https://example.org/fw.tar#x", "digest": {"sha256": "` + hash + `"}}`), false, []string{
			`  - {url: "https://example.org/fw.tar", sha256: "` + hash + `", at: "/src"}`,
		}, []string{`"level": 2`}},
		{"generic with a file", generic(`{"name": "../fw.tar", "digest": {"sha256": "` + hash + `"}}`), false, []string{
			`  - {path: "fw.tar", sha256: "` + hash + `", at: "/src"}`,
		}, nil},
		{
			"generic with a weak digest", generic(`{"uri": "https://example.org/fw.tar", "digest": {"sha1": "` + commit + `"}}`), false, nil,
			[]string{"neither a gitCommit nor a sha256"},
		},
		{
			"generic with a password", generic(`{"uri": "git+https://a:b@example.org/fw", "digest": {"gitCommit": "` + commit + `"}}`), false, nil,
			[]string{"its address is not one"},
		},
		{
			"generic without source", generic(``), false,
			[]string{`  - {path: "FILL-IN: an archive beside this file", sha256: "FILL-IN: its sha256", at: "/src"}`},
			[]string{"the source: "},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := FromProvenance(statement.ProvenanceType, []byte(c.predicate), subjects)
			if err != nil {
				t.Fatal(err)
			}
			text := string(d.Recipe)
			if d.Complete != c.complete {
				t.Errorf("complete: %t\n%s", d.Complete, text)
			}
			for _, line := range c.recipe {
				if !strings.Contains(text, "\n"+line+"\n") {
					t.Errorf("no line %s in\n%s", line, text)
				}
			}
			for _, part := range c.unmapped {
				if !strings.Contains(strings.Join(d.Unmapped, "\n"), part) {
					t.Errorf("%q is not said: %q", part, d.Unmapped)
				}
			}
			_, err = reference.LoadRecipe(write(t, filepath.Join(t.TempDir(), "recipe.yaml"), text))
			var e *reference.RecipeError
			if c.complete && err != nil || !c.complete && (!errors.As(err, &e) || !strings.Contains(e.What, "still to be filled in")) {
				t.Errorf("reading it: %v\n%s", err, text)
			}
		})
	}
	for _, c := range []struct{ predicate, want string }{
		{`[]`, ""},
		{`{"buildDefinition": {"buildType": "` + statement.RebuildType + `"}}`, "none that assay states"},
		{strings.Replace(container("ghcr.io/bash", "x"), `["make", "a b"]`, `"make"`, 1), "Command"},
		{strings.Replace(container("ghcr.io/bash", "x"), `["make", "a b"]`, `[]`, 1), "names no program"},
		{strings.Replace(container("ghcr.io/bash", "x"), `".github/config.toml"`, `7`, 1), "configPath: is not a string"},
	} {
		if _, err := FromProvenance(statement.ProvenanceType, []byte(c.predicate), subjects); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// run runs a program of Debian's in a directory.
func run(t *testing.T, dir string, env []string, words ...string) {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", words[0], err, out)
	}
}

// A package that dpkg-buildpackage built is rebuilt of its .buildinfo, byte for byte.
func TestBuildinfo(t *testing.T) {
	for _, tool := range []string{"dpkg-buildpackage", "dpkg-source", "dpkg-genbuildinfo", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	dir := t.TempDir()
	work := filepath.Join(dir, "hello-1.2")
	for name, text := range map[string]string{
		"debian/control": `Source: hello
Maintainer: A Builder <builder@example.org>
Section: misc
Priority: optional
Standards-Version: 4.6.2
Rules-Requires-Root: no

Package: hello-firmware
Architecture: all
Description: a small firmware
 It greets.
`,
		"debian/changelog": `hello (1.2) unstable; urgency=low

  * First.

 -- A Builder <builder@example.org>  Fri, 25 Nov 2022 09:05:04 +0000
`,
		"debian/source/format": "3.0 (native)\n",
		"debian/rules": `#!/usr/bin/make -f
clean:
	rm -rf debian/tmp debian/files
build build-arch build-indep:
binary-arch:
binary binary-indep:
	mkdir -p debian/tmp/DEBIAN debian/tmp/lib/firmware
	sed s/@/$(SOURCE_DATE_EPOCH)/ fw.in >debian/tmp/lib/firmware/hello.bin
	echo "$(CFLAGS) $(DEB_BUILD_OPTIONS)" >>debian/tmp/lib/firmware/hello.bin
	dpkg-gencontrol -phello-firmware
	find debian/tmp -exec touch -h -d @$(SOURCE_DATE_EPOCH) {} +
	dpkg-deb --root-owner-group --build debian/tmp ..
.PHONY: clean build build-arch build-indep binary binary-arch binary-indep
`,
		"fw.in": "greetings of @\n",
	} {
		name = filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, name, text)
		if filepath.Base(name) == "rules" {
			if err := os.Chmod(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(t, work, []string{"LC_ALL=C.UTF-8", "TZ=UTC", "CFLAGS=-O2 \"x\"", "DEB_BUILD_OPTIONS=nocheck"},
		"dpkg-buildpackage", "--build=full", "--no-check-builddeps", "-us", "-uc", "--buildinfo-option=--always-include-path")
	const deb = "hello-firmware_1.2_all.deb"
	was, err := os.ReadFile(filepath.Join(dir, deb))
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.buildinfo"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	info, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.Open("/var/lib/dpkg/status")
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	d, err := FromBuildinfo(info, "", status)
	if err != nil {
		t.Fatalf("%v\n%s", err, info)
	}
	if !d.Complete || len(d.Outputs) != 1 || d.Outputs[0] != (reference.File{Name: deb, Size: int64(len(was)), SHA256: sum(was)}) {
		t.Fatalf("got %+v\n%s", d, d.Recipe)
	}
	out := t.TempDir()
	r := load(t, filepath.Join(out, "recipe.yaml"), string(d.Recipe))
	if s := &r.Sources[0]; s.Kind != reference.SourceDebian || s.String() != "hello=1.2" || s.Pin == "" {
		t.Errorf("source %+v", s)
	}
	// What a fetcher makes of the package: a tar of its files.
	tree := map[string]string{}
	for _, name := range []string{"hello_1.2.dsc", "hello_1.2.tar.xz"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		tree[name] = string(b)
	}
	if got := sum([]byte(tree["hello_1.2.dsc"])); got != r.Sources[0].Pin {
		t.Errorf("the .dsc is %s, pinned is %s", got, r.Sources[0].Pin)
	}
	pack(t, filepath.Join(out, "source.tar"), tree)
	if err := r.Resolve(t.Context(), one(filepath.Join(out, "source.tar"))); err != nil {
		t.Fatal(err)
	}
	res := rebuild(t, r, reference.Options{})
	if got := res.Build.Outputs[0].Builds; got[0] != d.Outputs[0] || got[1] != d.Outputs[0] {
		t.Errorf("rebuilt %+v, and was %+v\n%s", got, d.Outputs[0], d.Recipe)
	}
	// With another environment it is another package: what was recorded is what was built with.
	other := strings.Replace(string(info), `CFLAGS="-O2`, `CFLAGS="-O3`, 1)
	if d, err = FromBuildinfo([]byte(other), "", nil); err != nil {
		t.Fatal(err)
	}
	r = load(t, filepath.Join(out, "other.yaml"), string(d.Recipe))
	if err := r.Resolve(t.Context(), one(filepath.Join(out, "source.tar"))); err != nil {
		t.Fatal(err)
	}
	if res := rebuild(t, r, reference.Options{Builds: 1}); res.Build.Outputs[0].Builds[0].SHA256 == d.Outputs[0].SHA256 {
		t.Error("the environment does not reach the build")
	}
}
