package reference

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

const full = `version: 1
sources:
  - {path: src.tar, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, at: /src}
  - path: blob.bin
    sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
    at: /src/blob.bin
    trust: true
toolchain: {host: [make, aarch64-linux-gnu-gcc, g++]}
env: {SOURCE_DATE_EPOCH: 1669357904, TZ: "UTC-1", V: "1"}
steps:
  - [make, -j, 4, PLAT=x]
  - sh: |
      true
outputs: [{path: out/fw.bin, symbols: out/fw.elf}, {path: /src/x}]
builds: 3
limits: {time: 90s, memory: 512MiB, output: 1024, processes: 7}
network: none
vary: []
replay: {max_rebuilds: 0}
`

func load(t *testing.T, text string) (*Recipe, error) {
	t.Helper()
	return LoadRecipe(write(t, filepath.Join(t.TempDir(), "recipe.yaml"), text))
}

func TestLoadRecipe(t *testing.T) {
	dir := t.TempDir()
	r, err := LoadRecipe(write(t, filepath.Join(dir, "recipe.yaml"), full))
	if err != nil {
		t.Fatal(err)
	}
	want := &Recipe{
		Name: "recipe.yaml", Size: int64(len(full)), SHA256: r.SHA256, file: filepath.Join(dir, "recipe.yaml"),
		Sources: []Source{
			{Kind: SourcePath, Name: "src.tar", Pin: abc256, Dir: dir, Path: filepath.Join(dir, "src.tar"), SHA256: abc256, At: "/src", line: 3},
			{Kind: SourcePath, Name: "blob.bin", Pin: abc256, Dir: dir, Path: filepath.Join(dir, "blob.bin"), SHA256: abc256, At: "/src/blob.bin", Trust: true, line: 4},
		},
		Toolchain: Toolchain{Host: []string{"make", "aarch64-linux-gnu-gcc", "g++"}},
		Env:       []string{"HOME=/home/build", "LC_ALL=C.UTF-8", "PATH=" + sandbox.Path, "SOURCE_DATE_EPOCH=1669357904", "TZ=UTC-1", "USER=build", "V=1"},
		Epoch:     1669357904,
		Steps:     []sandbox.Step{{"make", "-j", "4", "PLAT=x"}, {"/bin/sh", "-e", "-c", "true\n"}},
		Outputs:   []OutputSpec{{"out/fw.bin", "out/fw.elf"}, {"/src/x", ""}},
		Builds:    3,
		Limits:    sandbox.Limits{Time: 90 * time.Second, Memory: 512 << 20, Output: 1024, Processes: 7},
	}
	want.text = r.text
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got\n%+v\nwant\n%+v", r, want)
	}
}

const least = `version: 1
sources: [{path: s, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, at: /src}]
toolchain: {rootfs: r.tar, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}
steps: [[make]]
outputs: [{path: fw.bin}]
`

func TestRecipeDefaults(t *testing.T) {
	r, err := load(t, least)
	if err != nil {
		t.Fatal(err)
	}
	if r.Builds != 2 || r.Limits != (sandbox.Limits{Time: 10 * time.Minute, Memory: 4 << 30, Output: 1 << 30, Processes: 512}) || r.Epoch != 315532800 {
		t.Errorf("got %+v", r)
	}
	if r.Toolchain.Host != nil || r.Toolchain.Rootfs == nil || r.Toolchain.Rootfs.SHA256 != abc256 {
		t.Errorf("got %+v", r.Toolchain)
	}
}

func TestRecipeErrors(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(full, old) {
			t.Fatalf("the recipe has no %q", old)
		}
		return strings.Replace(full, old, new, 1)
	}
	source := func(keys string) string { return edit("{path: src.tar, sha256: "+abc256, "{"+keys) }
	const image = "docker://example.org/x@sha256:" + abc256
	cases := []struct {
		name, text string
		line       int
		want       string
	}{
		{"empty", "", 1, "empty"},
		{"a comment", "# nothing\n", 1, "empty"},
		{"not a mapping", "[1]", 1, "a recipe must be a mapping, this is a list"},
		{"nothing", "~", 1, "this is nothing"},
		{"syntax", "version: 1\nsources: [", 2, "did not find"},
		{"tab", "version: 1\n\tsources: 1", 2, ""},
		{"two documents", full + "---\nversion: 1\n", 20, "a second document"},
		{"unknown key", edit("builds: 3", "bilds: 3"), 15, `unknown key "bilds" in a recipe: the keys are version, sources,`},
		{"unknown key in a source", edit("trust: true", "turst: true"), 7, `unknown key "turst" in a source`},
		{"unknown key in an output", edit("symbols: out", "symbol: out"), 14, `unknown key "symbol"`},
		{"unknown key in limits", edit("processes: 7", "procs: 7"), 16, `unknown key "procs"`},
		{"unknown key in replay", edit("max_rebuilds", "rebuilds"), 19, `unknown key "rebuilds"`},
		{"unknown key in toolchain", edit("{host:", "{hosts:"), 8, `unknown key "hosts"`},
		{"unknown key in a step", edit("- sh: |", "- bash: |"), 12, `unknown key "bash"`},
		{"duplicate", edit("builds: 3", "builds: 3\nbuilds: 3"), 16, `key "builds" is there already, in line 15`},
		{"duplicate variable", edit(`V: "1"`, `V: "1", V: "2"`), 9, `key "V" is there already`},
		{"duplicate in a source", edit("trust: true", "trust: true\n    at: /src/x"), 8, `key "at" is there already, in line 6`},
		{"anchor", edit("builds: 3", "builds: &a 3"), 15, "anchors"},
		{"alias", edit("builds: 3", "builds: &a 3\nx: *a"), 15, "anchors"},
		{"merge", edit("replay: {max", "replay: {<<: {max_rebuilds: 0}, max"), 19, `unknown key "<<"`},
		{"tag", edit("builds: 3", "builds: !!int 3"), 15, "tag"},
		{"version", edit("version: 1", "version: 2"), 1, "version 2 is not known"},
		{"version text", edit("version: 1", `version: "1"`), 1, `must be a number, this is "1"`},
		{"no version", edit("version: 1\n", ""), 1, "version is missing"},
		{"no sources", edit("sources:", "sources: []\nx:"), 2, "1 to 1000 items"},
		{"sources wrong type", edit("sources:", "sources: 7\nx:"), 2, "sources must be a list, this is the number 7"},
		{"source wrong type", edit("  - {path: src.tar", "  - src.tar\n  - {path: src.tar"), 3, `a source must be a mapping, this is "src.tar"`},
		{"no toolchain", edit("toolchain: {host: [make, aarch64-linux-gnu-gcc, g++]}\n", ""), 1, "toolchain is missing"},
		{"two toolchains", edit("g++]}", "g++], rootfs: x}"), 8, "either host, or a root file system"},
		{"empty toolchain", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", "{}"), 8, "needs host"},
		{"no tools", edit("[make, aarch64-linux-gnu-gcc, g++]", "[]"), 8, "1 to 1000 items"},
		{"tool with a path", edit("g++]", "/bin/x]"), 8, "not the name of a program"},
		{"tool like an option", edit("g++]", "--version]"), 8, "not the name of a program"},
		{"tool twice", edit("g++]", "make]"), 8, "already"},
		{"oci toolchain", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", "{oci: x}"), 8, "not an image by digest"},
		{"oci toolchain by tag", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", `{oci: "docker://example.org/x:1"}`), 8, "not an image by digest"},
		{"oci and rootfs", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", `{oci: "`+image+`", rootfs: x}`), 8, "needs host, or rootfs"},
		{"rootfs pinned twice", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", `{rootfs: {url: "https://example.org/x", sha256: `+abc256+`}, sha256: `+abc256+`}`), 8, "one root file system, pinned in one place"},
		{"rootfs of git", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", `{rootfs: {git: "https://example.org/x"}}`), 8, `unknown key "git" in rootfs`},
		{"rootfs url without digest", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", `{rootfs: {url: "https://example.org/x"}}`), 8, "has no sha256"},
		{"tools of the host", edit("g++]}", "g++], tools: [make]}"), 8, "either host, or a root file system"},
		{"rootfs without digest", edit("{host: [make, aarch64-linux-gnu-gcc, g++]}", "{rootfs: x}"), 8, "x has no sha256"},
		{"two kinds", edit("path: src.tar", `path: src.tar, url: "https://example.org/x"`), 3, "this has path and url"},
		{"url without digest", source(`url: "https://example.org/x"`), 3, "has no sha256"},
		{"url of another scheme", source(`url: "ftp://example.org/x", sha256: ` + abc256), 3, "begins with https:// or http://"},
		{"url without host", source(`url: "https:///x", sha256: ` + abc256), 3, "names no host"},
		{"url with a password", source(`url: "https://me:secret@example.org/x", sha256: ` + abc256), 3, "a user or a password"},
		{"url with a fragment", source(`url: "https://example.org/x#y", sha256: ` + abc256), 3, "fragment"},
		{"url with a line end", source(`url: "https://example.org/x\ny", sha256: ` + abc256), 3, "control character"},
		{"empty url", source(`url: "", sha256: ` + abc256), 3, "url: it is empty"},
		{"git without commit", source(`git: "https://example.org/x"`), 3, "has no commit: a branch or a tag can be moved"},
		{"git branch", source(`git: "https://example.org/x", commit: main`), 3, "not a full git commit"},
		{"git path", source(`git: ../x, commit: ` + abc256), 3, "begins with"},
		{"git with revision", source(`git: "https://example.org/x", commit: ` + abc256 + `, revision: ` + abc256), 3, "revision is said by commit"},
		{"commit of a file", source(`path: x, commit: ` + abc256), 3, "commit is for a source by git"},
		{"oci without digest", source(`oci: "docker://example.org/x"`), 3, "not an image by digest"},
		{"oci without scheme", source(`oci: "example.org/x@sha256:` + abc256 + `"`), 3, "not an image by digest"},
		{"debian without version", source(`debian: hello, sha256: ` + abc256), 3, "has no version"},
		{"debian without digest", source(`debian: hello, version: 2.10-3`), 3, "that of its .dsc pins it"},
		{"debian name", source(`debian: "../hello", version: 2.10-3, sha256: ` + abc256), 3, "not the name of a Debian source package"},
		{"debian version", source(`debian: hello, version: "2.10/3", sha256: ` + abc256), 3, "not a version"},
		{"version of a file", source(`path: x, version: "1", sha256: ` + abc256), 3, "version is for a source by debian"},
		{"still to be filled in", edit("path: src.tar", `path: "FILL-IN: the archive"`), 3, "this is still to be filled in: the archive"},
		{"no path", edit("path: blob.bin\n    sha", "sha"), 4, "a source needs one of path, url, git, oci and debian, this has none"},
		{"empty path", edit("path: src.tar", `path: ""`), 3, "path: it is empty"},
		{"no place", edit(", at: /src}", "}"), 3, "has no at"},
		{"place", edit(", at: /src}", ", at: /usr/src}"), 3, "which the sandbox makes itself"},
		{"relative place", edit(", at: /src}", ", at: src}"), 3, "absolute"},
		{"escaping place", edit(", at: /src}", ", at: /src/../usr}"), 3, "absolute"},
		{"digest", edit("sha256: ba7816bf", "sha256: BA7816bf"), 3, "64 lower-case hexadecimal digits"},
		{"short digest", edit("20015ad, at", "20015a, at"), 3, "64 lower-case"},
		{"trust", edit("trust: true", "trust: yes"), 7, "must be true or false"},
		{"variable name", edit(`V: "1"`, `"V W": "1"`), 9, "not the name of a variable"},
		{"variable type", edit(`V: "1"`, `V: [1]`), 9, "the value of V must be a string, this is a list"},
		{"variable null", edit(`V: "1"`, `V: ~`), 9, "this is nothing"},
		{"variable with zero", edit(`V: "1"`, `V: "1\0"`), 9, "zero byte"},
		{"epoch", edit("1669357904", "now"), 1, "SOURCE_DATE_EPOCH must be a number"},
		{"env type", edit(`env: {SOURCE_DATE_EPOCH: 1669357904, TZ: "UTC-1", V: "1"}`, "env: [A=1]"), 9, "env must be a mapping"},
		{"step type", edit("- [make, -j, 4, PLAT=x]", "- make"), 11, `this is "make"`},
		{"step argument", edit("-j, 4", "-j, [4]"), 11, "an argument must be a string, this is a list"},
		{"empty step", edit("[make, -j, 4, PLAT=x]", "[]"), 11, "1 to 1000 items"},
		{"no program", edit("[make, -j", `["", -j`), 11, "names no program"},
		{"empty script", edit("      true\n", "\n"), 12, "the script is empty"},
		{"no steps", edit("steps:", "steps: []\nx:"), 10, "1 to 1000 items"},
		{"no outputs", edit("outputs: [{path: out/fw.bin, symbols: out/fw.elf}, {path: /src/x}]", "outputs: []"), 14, "1 to 1000 items"},
		{"output without path", edit("{path: /src/x}", "{}"), 14, "the output has no path"},
		{"escaping output", edit("{path: /src/x}", "{path: ../x}"), 14, "not a clean path"},
		{"escaping symbols", edit("symbols: out/fw.elf", "symbols: out/../../x"), 14, "not a clean path"},
		{"same last name", edit("{path: /src/x}", "{path: other/fw.elf}"), 14, "another file is called fw.elf already"},
		{"no builds", edit("builds: 3", "builds: 0"), 15, "between 1 and 16"},
		{"builds", edit("builds: 3", "builds: two"), 15, `must be a number, this is "two"`},
		{"huge builds", edit("builds: 3", "builds: 99999999999999999999"), 15, "builds must be"},
		{"time", edit("90s", "90"), 16, "time must be a duration"},
		{"negative time", edit("90s", "-90s"), 16, "time must be a duration"},
		{"memory", edit("512MiB", "512MB"), 16, "memory must be a size"},
		{"no output", edit("output: 1024", "output: 0"), 16, "output must be a size"},
		{"overflow", edit("output: 1024", "output: 9999999999GiB"), 16, "output must be a size"},
		{"processes", edit("processes: 7", "processes: -7"), 16, "processes must lie between"},
		{"network", edit("network: none", "network: host"), 17, "network must be none"},
		{"vary twice", edit("vary: []", "vary: [time, path, time]"), 18, "time is there already"},
		{"vary unknown", edit("vary: []", "vary: [mood]"), 18, `"mood" is not a factor`},
		{"vary type", edit("vary: []", "vary: {}"), 18, "vary must be a list"},
		{"replay values", edit("max_rebuilds: 0", "max_rebuilds: 4, values: [mood]"), 19, `"mood" is not a value that is replayed`},
		{"replay", edit("max_rebuilds: 0", "max_rebuilds: 1000"), 19, "max_rebuilds must lie between"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text)
			var e *RecipeError
			if !errors.As(err, &e) || e.Line != c.line || !strings.Contains(e.What, c.want) {
				t.Fatalf("got %v, want line %d and %q", err, c.line, c.want)
			}
		})
	}
	if _, err := load(t, strings.Repeat("#", 2<<20)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a huge recipe: %v", err)
	}
	if _, err := LoadRecipe("/dev/zero"); err == nil {
		t.Error("a device is read")
	}
}

// A source without a pin is not built from; the error says how to pin it.
func TestUnpinned(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "s"), "abc")
	_, err := LoadRecipe(write(t, filepath.Join(dir, "recipe.yaml"), strings.Replace(least, "sha256: "+abc256+", ", "", 1)))
	if err == nil || !strings.HasSuffix(err.Error(), "recipe.yaml:2: s has no sha256: to pin the file as it is now, write sha256: "+abc256) {
		t.Errorf("got %v", err)
	}
}

func FuzzLoadRecipe(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(least))
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "recipe.yaml")
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := LoadRecipe(name); err == nil && (len(r.Sources) == 0 || len(r.Steps) == 0 || len(r.Outputs) == 0 || r.Limits.Time <= 0) {
			t.Errorf("accepted: %+v", r)
		}
	})
}
