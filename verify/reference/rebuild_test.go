//go:build linux && (amd64 || arm64)

package reference

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// recipe writes a recipe that runs a script on a small source, and loads it.
func recipe(t *testing.T, dir, script, more string) *Recipe {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range []string{"main.txt", "many/b", "many/d", "many/a", "many/c"} {
		text := "source\n"
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1e9, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "src.tar"), archive.String())
	write(t, filepath.Join(dir, "blob.bin"), "abc")
	pin, err := digestOf(&archive)
	if err != nil {
		t.Fatal(err)
	}
	indented := strings.ReplaceAll(strings.TrimSpace(script), "\n", "\n      ")
	text := fmt.Sprintf(`version: 1
sources:
  - {path: src.tar, sha256: %s, at: /src}
  - {path: blob.bin, sha256: %s, at: /src/blob.bin, trust: true}
toolchain: {host: [ls]}
steps:
  - sh: |
      %s
outputs: [{path: out/fw.bin, symbols: out/fw.elf}]
limits: {time: 1m, memory: 1GiB, output: 16MiB, processes: 64}
%s`, pin.sha256, abc256, indented, more)
	r, err := LoadRecipe(write(t, filepath.Join(dir, "recipe.yaml"), text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rebuild(t *testing.T, r *Recipe, o Options) (*Result, error) {
	t.Helper()
	result, err := Rebuild(t.Context(), r, o)
	var none *sandbox.UnavailableError
	if errors.As(err, &none) {
		t.Skip("SKIP-NAMESPACE: " + err.Error())
	}
	return result, err
}

const honest = `
times=$(stat -c '%Y %a %n' . main.txt)
mkdir out
cat main.txt blob.bin >out/fw.bin
echo "$SOURCE_DATE_EPOCH $TZ $LC_ALL $HOME $USER" >>out/fw.bin
{ echo $times; ls -f; umask; uname -n; id; pwd; } >>out/fw.bin
echo symbols >out/fw.elf
echo built`

func TestBuildsAgree(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	var said []string
	result, err := rebuild(t, recipe(t, dir, honest, ""), Options{
		OutDir: filepath.Join(out, "out"), LogDir: filepath.Join(out, "log"), Progress: func(s string) { said = append(said, s) },
	})
	if err != nil {
		t.Fatal(err, Tail(err))
	}
	b := result.Build
	if !result.Agree() || b.Agree != 2 || b.Builds != 2 || len(result.Differences) != 0 {
		t.Errorf("got %+v", result)
	}
	if strings.Join(said, "; ") != "build 1 of 2; build 2 of 2; 2 of 2 builds agree" {
		t.Errorf("said %q", said)
	}
	if len(b.Sources) != 2 || b.Sources[0].Name != "src.tar" || b.Sources[0].Trust || !b.Sources[1].Trust || b.Sources[1].SHA256 != abc256 || b.Sources[1].At != "/src/blob.bin" {
		t.Errorf("sources: %+v", b.Sources)
	}
	if len(b.Tools) != 1 || b.Tools[0].Name != "ls" || !strings.Contains(b.Tools[0].Version, "ls") {
		t.Errorf("tools: %+v", b.Tools)
	}
	if l := result.Logs; len(l) != 2 || l[0].Name != "build-1.log" || l[0].SHA256 != l[1].SHA256 || l[0].Size < 100 {
		t.Errorf("logs: %+v", l)
	}
	log, err := os.ReadFile(filepath.Join(out, "log", "build-2.log"))
	if err != nil || !strings.HasSuffix(string(log), "\nbuilt\n") {
		t.Errorf("log: %q, %v", log, err)
	}
	for _, name := range []string{"fw.bin", "out/fw.bin"} {
		ref, err := result.Reference(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(ref.Path)
		if err != nil || !strings.HasPrefix(string(text), "source\nabc315532800 UTC C.UTF-8 /home/build build\n") {
			t.Errorf("got %q, %v", text, err)
		}
		if symbols, err := os.ReadFile(ref.Symbols); err != nil || !strings.HasPrefix(string(symbols), "symbols") {
			t.Errorf("symbols: %q, %v", symbols, err)
		}
		if ref.Origin.Kind != KindRebuilt || ref.Origin.SHA256 != b.Outputs[0].Builds[0].SHA256 || ref.Origin.Build.Agree != 2 || !filepath.IsAbs(ref.Path) {
			t.Errorf("origin: %+v", ref.Origin)
		}
	}
	if _, err := result.Reference("other"); err == nil || !strings.Contains(err.Error(), "out/fw.bin") {
		t.Errorf("an unknown output: %v", err)
	}
	// The record is the same wherever and whenever it is made, and tells no place.
	dir2, out2 := t.TempDir(), t.TempDir()
	again, err := rebuild(t, recipe(t, dir2, honest, ""), Options{OutDir: out2})
	if err != nil {
		t.Fatal(err)
	}
	one, _ := json.Marshal(result.Build)
	two, _ := json.Marshal(again.Build)
	if !bytes.Equal(one, two) || bytes.Contains(one, []byte(dir)) || bytes.Contains(one, []byte(out)) {
		t.Errorf("records differ or tell a place:\n%s\n%s", one, two)
	}
	// A reference that is changed after it was built is noticed.
	ref, err := again.Reference("fw.bin")
	if err != nil {
		t.Fatal(err)
	}
	write(t, ref.Path, "changed")
	if _, err := again.Reference("fw.bin"); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v", err)
	}
	// Files of an earlier run are not written over.
	if _, err := rebuild(t, recipe(t, dir, honest, ""), Options{OutDir: filepath.Join(out, "out")}); err == nil {
		t.Error("an old output is replaced")
	}
}

func TestBuildsDisagree(t *testing.T) {
	for _, c := range []struct {
		name, script string
	}{
		{"content", `mkdir out; { echo head; head -c 8 /dev/urandom; } >out/fw.bin; : >out/fw.elf`},
		{"length", `mkdir out; { head -c 70000 /dev/zero; echo; head -c $(($(od -An -N4 -tu4 /dev/urandom) % 4000037)) /dev/zero; } >out/fw.bin; : >out/fw.elf`},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, err := rebuild(t, recipe(t, t.TempDir(), c.script, ""), Options{OutDir: t.TempDir(), Builds: 3})
			if err != nil {
				t.Fatal(err)
			}
			b := result.Build
			if result.Agree() || b.Agree != 1 || b.Builds != 3 || len(result.Differences) != 2 {
				t.Fatalf("got %+v", result)
			}
			d := result.Differences[1]
			if d.Output != "out/fw.bin" || d.Build != 3 || d.Bytes == 0 || d.Offset < 5 {
				t.Errorf("got %+v", d)
			}
			short, long := min(d.Sizes[0], d.Sizes[1]), max(d.Sizes[0], d.Sizes[1])
			if c.name == "length" && (d.Offset != short || d.Bytes != long-short) {
				t.Errorf("got %+v", d)
			}
			_, err = result.Reference("fw.bin")
			var disagree *DisagreeError
			if !errors.As(err, &disagree) || !strings.Contains(err.Error(), "out/fw.bin: build 1 and build 2 differ in ") {
				t.Errorf("got %v", err)
			}
			if len(b.Outputs[0].Builds) != 3 || b.Outputs[0].Builds[0].SHA256 == b.Outputs[0].Builds[1].SHA256 {
				t.Errorf("digests: %+v", b.Outputs)
			}
		})
	}
}

// Symbols name places of a report; that they differ is recorded, and no reason to refuse.
func TestSymbolsNeedNotAgree(t *testing.T) {
	result, err := rebuild(t, recipe(t, t.TempDir(), `mkdir out; echo x >out/fw.bin; head -c 8 /dev/urandom >out/fw.elf`, ""), Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := result.Build.Outputs[0].Symbols
	if !result.Agree() || len(s) != 2 || s[0].SHA256 == s[1].SHA256 {
		t.Errorf("got %+v", result.Build)
	}
}

func TestBuildFails(t *testing.T) {
	out, logs := t.TempDir(), t.TempDir()
	_, err := rebuild(t, recipe(t, t.TempDir(), `echo compiling; echo "no such header" >&2; exit 2`, ""), Options{OutDir: out, LogDir: logs})
	if !Undecided(err) || !strings.Contains(err.Error(), "build 1 of 2: step 1 of 1") {
		t.Fatalf("got %v", err)
	}
	if tail := Tail(err); len(tail) < 2 || tail[len(tail)-1] != "no such header" {
		t.Errorf("tail %q", tail)
	}
	log, _ := os.ReadFile(filepath.Join(logs, "build-1.log"))
	if !strings.Contains(string(log), "no such header") {
		t.Errorf("log %q", log)
	}
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("half a build is left: %v", left)
	}
	// What a build fetches is not there.
	_, err = rebuild(t, recipe(t, t.TempDir(), `exec 3<>/dev/tcp/192.0.2.1/80`, ""), Options{OutDir: t.TempDir()})
	if !Undecided(err) {
		t.Errorf("got %v", err)
	}
	r := recipe(t, t.TempDir(), `while :; do :; done`, "")
	r.Limits.Time = time.Second
	_, err = rebuild(t, r, Options{OutDir: t.TempDir()})
	var limit *sandbox.LimitError
	if !Undecided(err) || !errors.As(err, &limit) || limit.Limit != "time" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Rebuild(ctx, recipe(t, t.TempDir(), honest, ""), Options{OutDir: t.TempDir()}); !errors.Is(err, context.Canceled) || Undecided(err) {
		t.Errorf("got %v", err)
	}
}

func TestWrongSource(t *testing.T) {
	dir := t.TempDir()
	r := recipe(t, dir, honest, "")
	write(t, filepath.Join(dir, "blob.bin"), "abd")
	_, err := Rebuild(t.Context(), r, Options{OutDir: t.TempDir()})
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || mismatch.Want != abc256 || Undecided(err) {
		t.Fatalf("got %v", err)
	}
	os.Remove(filepath.Join(dir, "blob.bin"))
	if _, err := Rebuild(t.Context(), r, Options{OutDir: t.TempDir()}); !errors.Is(err, os.ErrNotExist) || Undecided(err) {
		t.Errorf("got %v", err)
	}
}

// A build cannot find the deployed image, wherever it lies: an output of its own making is all it can give.
func TestDeployedImageIsOutOfSight(t *testing.T) {
	dir := t.TempDir()
	deployed := write(t, filepath.Join(dir, "deployed.bin"), "the deployed image")
	script := fmt.Sprintf(`mkdir out; : >out/fw.elf
{ cat %s /proc/1/root%s /proc/1/fd/* /proc/1/cwd/deployed.bin 2>/dev/null || true; find / -name deployed.bin 2>/dev/null || true; } >out/fw.bin`, deployed, deployed)
	result, err := rebuild(t, recipe(t, dir, script, ""), Options{OutDir: t.TempDir(), Builds: 1})
	if err != nil {
		t.Fatal(err)
	}
	if size := result.Build.Outputs[0].Builds[0].Size; size != 0 {
		t.Errorf("the build found %d bytes", size)
	}
}
