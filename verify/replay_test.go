//go:build linux && (amd64 || arm64)

package verify_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
)

// mycc is a compiler that says who it is; build.sh is a build that shows what it was
// built by, among bytes that move with the length of that.
const mycc = `#!/bin/sh
case "$*" in *--version*) echo "mycc (Debian 12.2.0-14+deb12u1) 12.2.0"; exit 0;; esac
echo "compiled $*"
`

const honestBuild = `version=$(mycc --version | head -n 1)
code=hardened
%s
printf 'firmware\000built by %%s\000by %%s@%%s in %%s\000on %%s\000' "$version" "$(id -un)" "$(uname -n)" "$(pwd -P)" "$(date -u -d @$SOURCE_DATE_EPOCH '+%%b %%e %%Y %%H:%%M:%%S')"
printf 'code %%s\000' "$code"
for i in $(seq 200); do printf 'line %%d of the table\000' $i; done
`

// A shop is a folder with a source and the recipe of it.
type shop struct {
	dir    string
	tools  string // a folder with mycc, as the machine's
	recipe *reference.Recipe
	builds int
}

// newShop writes a source whose build does something besides, and its recipe.
func newShop(t *testing.T, besides string) *shop {
	t.Helper()
	s := &shop{dir: t.TempDir()}
	// Of all users, as root's builds run as nobody: t.TempDir is closed to him.
	var err error
	if s.tools, err = os.MkdirTemp("", "assay-tools-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.tools) })
	if err := os.Chmod(s.tools, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.tools, "mycc"), []byte(mycc), 0o755); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range []struct{ name, text string }{
		{"build.sh", fmt.Sprintf(honestBuild, besides)},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.text)), ModTime: time.Unix(1e9, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s.write(t, "src.tar", archive.Bytes())
	s.write(t, "recipe.yaml", fmt.Appendf(nil, `version: 1
sources: [{path: src.tar, sha256: %x, at: /src}]
toolchain: {host: [sh, mycc]}
env: {PATH: "%s:/usr/bin:/bin", SOURCE_DATE_EPOCH: "1700000000"}
steps: [{sh: "sh -e ./build.sh > fw.bin"}]
outputs: [{path: fw.bin}]
builds: 1
limits: {time: 1m, memory: 1GiB, output: 16MiB, processes: 64}
replay: {max_rebuilds: 8}
`, sha256.Sum256(archive.Bytes()), s.tools))
	if s.recipe, err = reference.LoadRecipe(filepath.Join(s.dir, "recipe.yaml")); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shop) write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// build is what the vendor's machine makes of the source.
func (s *shop) build(t *testing.T, settings ...string) []byte {
	t.Helper()
	var set []reference.Setting
	for _, text := range settings {
		one, err := reference.ParseSetting(text)
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, one)
	}
	s.builds++
	out := filepath.Join(s.dir, fmt.Sprint("vendor-", s.builds))
	r, err := reference.Rebuild(t.Context(), s.recipe, reference.Options{OutDir: out, Set: set, ToolDirs: []string{s.tools}})
	var none *sandbox.UnavailableError
	if errors.As(err, &none) {
		t.Skip("SKIP-NAMESPACE: " + err.Error())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(reference.Tail(err), "\n"))
	}
	image, err := os.ReadFile(r.First().Output(0))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// check checks an image that was delivered, and rechecks the evidence.
func (s *shop) check(t *testing.T, image []byte, more ...string) (*verify.Report, string) {
	t.Helper()
	s.write(t, "deployed.bin", image)
	s.write(t, "delivery.yaml", []byte("version: 1\nname: fw\ndeployed: {path: deployed.bin}\nreference: {rebuild: recipe.yaml, output: fw.bin}\n"+strings.Join(more, "\n")))
	d, err := verify.LoadDelivery(filepath.Join(s.dir, "delivery.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	evidence := t.TempDir()
	var said []string
	out, err := verify.Check(t.Context(), d, verify.CheckOptions{WorkDir: evidence, ToolDirs: []string{s.tools}, Say: func(text string) { said = append(said, text) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := verify.WriteEvidence(evidence, out); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", strings.Join(said, "\n"), out.Report.Verdict)
	if out.Report.Replay != nil {
		t.Logf("replay: %+v", *out.Report.Replay)
	}
	if _, err := s.recheck(t, evidence, out.Report); err != nil {
		t.Errorf("recheck: %v", err)
	}
	return out.Report, evidence
}

// recheck replays evidence, with the reference that it holds.
func (s *shop) recheck(t *testing.T, evidence string, r *verify.Report) (*verify.Report, error) {
	t.Helper()
	var name string
	found, err := filepath.Glob(filepath.Join(evidence, "rebuild", "*", "fw.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%x", sha256.Sum256(b)) == r.Reference.SHA256 {
			name = f
		}
	}
	ref, err := verify.OpenImage(name)
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	dep, err := verify.OpenImage(filepath.Join(s.dir, "deployed.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer dep.Close()
	return verify.Recheck(t.Context(), evidence, ref, dep, r.Policy.Name, verify.Options{})
}

func values(r *verify.Report) string {
	if r.Replay == nil {
		return "no search"
	}
	var out []string
	for _, p := range r.Replay.Values {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}

// What the vendor's machine was called and had installed is found in the image, and
// nothing else of it is free.
func TestReplay(t *testing.T) {
	s := newShop(t, "")
	for _, c := range []struct {
		name string
		set  []string
		bits int64 // by hand: see the grammars of package ledger
	}{
		{"version", []string{"version:mycc=12.2.0-14"}, 3*6 + 5},
		{"a longer version", []string{"version:mycc=12.2.0-37ubuntu1~22.04"}, 16*6 + 5},
		{"host", []string{"host=buildd-04"}, 9*6 + 6},
		{"user", []string{"user=jenkins"}, 7*6 + 5},
		{"path", []string{"path=/build/fw-1.0"}, 13*7 + 7},
		{"a path at home", []string{"path=/home/jenkins/fw"}, 16*7 + 7},
		{"a path in /tmp", []string{"path=/tmp/fw"}, 7*7 + 7},
		{"all of them", []string{"version:mycc=12.2.0-14", "host=alpha", "user=root7", "path=/build/fw", "epoch=1669357904"}, 23 + 36 + 35 + 9*7 + 7 + 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := s.build(t, c.set...)
			r, _ := s.check(t, image)
			if r.Verdict != verify.Explained || r.FreeBits != c.bits || r.Totals.Identical != int64(len(image)) {
				t.Errorf("%s with %d free bits, want %d; %s; %v", r.Verdict, r.FreeBits, c.bits, values(r), r.Reasons)
			}
			for _, set := range c.set {
				if !strings.Contains(values(r), set) {
					t.Errorf("%s is not among %s", set, values(r))
				}
			}
			r, _ = s.check(t, image, "policy: identical")
			if r.Verdict != verify.Rejected {
				t.Errorf("policy identical: %s", r.Verdict)
			}
		})
	}
}

// One byte that no value accounts for stays, and stays alone.
func TestReplayNearest(t *testing.T) {
	s := newShop(t, "")
	image := s.build(t, "version:mycc=12.2.0-14", "host=alpha")
	weak := bytes.Replace(image, []byte("hardened"), []byte("hardenee"), 1)
	r, _ := s.check(t, weak)
	if r.Verdict != verify.Rejected || r.Totals.Unexplained+r.Totals.Moved+r.Totals.Missing > 2 || len(r.Replay.Values) != 2 {
		t.Errorf("%s, %+v, %s", r.Verdict, r.Totals, values(r))
	}
}

// A value that does more than stand in the image is not taken, though a build with it
// gives the image to the last byte.
func TestReplayNotInert(t *testing.T) {
	for _, c := range []struct {
		name, besides string
		set           string
	}{
		{"a version drops a flag", `case $version in *deb12u9*) code=weakened;; esac`, "version:mycc=12.2.0-14+deb12u9"},
		{"a small version drops a flag", `v=${version##*-}; [ "${v%%[!0-9]*}" -ge 10 ] || code=weakened`, "version:mycc=12.2.0-04"},
		{"a host drops a flag", `[ "$(uname -n)" != evil ] || code=weakened`, "host=evil"},
		{"a user drops a flag", `[ "$(id -un)" != evil ] || code=weakened`, "user=evil"},
		{"a date drops a flag", `[ $SOURCE_DATE_EPOCH -lt 2000000000 ] || code=weakened`, "epoch=2100000000"},
		{"an early date drops a flag", `[ $SOURCE_DATE_EPOCH -gt 900000000 ] || code=weakened`, "epoch=1000000"},
		// What the value looks like, rather than what it says.
		{"dates of a weekday", `[ $(date -u -d @$SOURCE_DATE_EPOCH +%u) != 3 ] || code=weakened`, "epoch=1668585600"},
		{"hosts with two dots", `case $(uname -n) in *.*.*) code=weakened;; esac`, "host=a.evil.org"},
		{"hosts with a digit", `case $(uname -n) in *[0-9]*) code=weakened;; esac`, "host=b2"},
		{"deep paths", `case $(pwd -P) in /*/*/*) code=weakened;; esac`, "path=/a/b/c"},
		{"user is host", `[ "$(id -un)" != "$(uname -n)" ] || code=weakened`, "user=devbox host=devbox"},
		{"dates that are not the recipe's", `[ $SOURCE_DATE_EPOCH = 1700000000 ] || code=weakened`, "epoch=1669357904"},
		// How it is put in.
		{"a link in place of the source", `[ ! -L /src ] || code=weakened`, "path=/build/fw"},
		{"a tool that is elsewhere", `case $(command -v mycc) in /shim*) code=weakened;; esac`, "version:mycc=12.2.0-14"},
		{"a value is shown twice over", `code=$(uname -n | tr a-z b-za)`, "host=alpha"},
		{"a value is counted", `code=$(uname -n | cksum)`, "host=alpha"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t, c.besides)
			r, _ := s.check(t, s.build(t, strings.Fields(c.set)...))
			if r.Verdict != verify.Rejected || len(r.Replay.Values) > 0 || r.Totals.Unexplained+r.Totals.Moved == 0 {
				t.Errorf("%s by %s, %+v", r.Verdict, values(r), r.Totals)
			}
			if len(r.Replay.Notes) == 0 {
				t.Error("nothing says why")
			}
		})
	}
}

// What stands where a value stood is never anything but text.
func TestReplayHostile(t *testing.T) {
	s := newShop(t, "")
	image := s.build(t, "version:mycc=12.2.0-14", "host=alpha")
	for _, c := range []struct{ old, now string }{
		{"12.2.0-14)", "12.2.0-1;touch /tmp/x)"},
		{"12.2.0-14)", "12.2.0-$(id))"},
		{"12.2.0-14)", "12.2.0-14' -O0)"},
		{"12.2.0-14)", "11.2.0-14)"},
		{"12.2.0-14)", "12.2.0-rc)"},
		{"12.2.0-14)", "12.2.0~14)"},
		{"12.2.0-14)", "12.2.0)"},
		{"12.2.0-14)", "12.2.0-" + strings.Repeat("1", 64) + ")"},
		{"@alpha in", "@al;pha in"},
		{"@alpha in", "@$(reboot) in"},
		{"@alpha in", "@../../etc/passwd in"},
		{"@alpha in", "@ALPHA in"},
		{"in /src", "in /src/../../etc"},
		{"in /src", "in /usr"},
		{"in /src", "in /dev/shm"},
		{"by build@", "by -c id@"},
	} {
		t.Run(c.now, func(t *testing.T) {
			bad := bytes.Replace(image, []byte(c.old), []byte(c.now), 1)
			if bytes.Equal(bad, image) {
				t.Fatalf("%q is not there", c.old)
			}
			r, _ := s.check(t, bad)
			if r.Verdict != verify.Rejected {
				t.Errorf("%s by %s", r.Verdict, values(r))
			}
		})
	}
}

// The limit on rebuilds holds, and too small a one looks for nothing.
func TestReplayLimit(t *testing.T) {
	s := newShop(t, "")
	image := s.build(t, "version:mycc=12.2.0-14", "host=alpha")
	for rebuilds := range 9 {
		d, err := verify.LoadDelivery(s.delivery(t, image))
		if err != nil {
			t.Fatal(err)
		}
		out, err := verify.Check(t.Context(), d, verify.CheckOptions{WorkDir: t.TempDir(), ToolDirs: []string{s.tools}, Rebuilds: &rebuilds})
		if err != nil {
			t.Fatal(err)
		}
		r := out.Report
		if want := rebuilds >= 5; (r.Verdict == verify.Explained) != want || r.Replay != nil && r.Replay.Rebuilds > rebuilds {
			t.Errorf("%d rebuilds: %s, %+v", rebuilds, r.Verdict, r.Replay)
		}
	}
}

func (s *shop) delivery(t *testing.T, image []byte) string {
	t.Helper()
	s.write(t, "deployed.bin", image)
	s.write(t, "delivery.yaml", []byte("version: 1\nname: fw\ndeployed: {path: deployed.bin}\nreference: {rebuild: recipe.yaml, output: fw.bin}\n"))
	return filepath.Join(s.dir, "delivery.yaml")
}

// relistAll lists the digests of every file of an evidence folder anew.
func relistAll(t *testing.T, dir string) {
	t.Helper()
	var sums []string
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == verify.SumsFile {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		sums = append(sums, fmt.Sprintf("%x  %s\n", sha256.Sum256(b), rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(sums, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	write(t, filepath.Join(dir, verify.SumsFile), []byte(strings.Join(sums, "")))
}

// Evidence whose proof of inertness was changed does not hold.
func TestReplayForged(t *testing.T) {
	s := newShop(t, "")
	image := s.build(t, "version:mycc=12.2.0-14")
	_, evidence := s.check(t, image)
	edit := func(change func(r *verify.Report)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			r, err := verify.ReadReport(dir)
			if err != nil {
				t.Fatal(err)
			}
			change(r)
			b, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, verify.ReportFile), append(b, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"no inert build", edit(func(r *verify.Report) { r.Replay.Inert = nil })},
		{"one inert build", edit(func(r *verify.Report) { r.Replay.Inert = r.Replay.Inert[:1] })},
		{"no control", edit(func(r *verify.Report) { r.Replay.Control = nil })},
		{"another control", edit(func(r *verify.Report) { r.Replay.Control.Values[0] = "12.2.0-14+deb12u1" })},
		{"another plain build", edit(func(r *verify.Report) { r.Replay.Plain = r.Reference.SHA256 })},
		{"fewer rebuilds than that", edit(func(r *verify.Report) { r.Replay.Rebuilds = 1 })},
		{"the same twice", edit(func(r *verify.Report) { r.Replay.Inert[1] = r.Replay.Inert[0] })},
		{"no replay", edit(func(r *verify.Report) { r.Replay = nil })},
		{"no values", edit(func(r *verify.Report) { r.Replay.Values = nil })},
		{"other values", edit(func(r *verify.Report) { r.Replay.Values[0].Value = "12.2.0-15" })},
		{"other thirds", edit(func(r *verify.Report) { r.Replay.Inert[0].Values[0] = "12.2.0-05" })},
		{"the value as third", edit(func(r *verify.Report) { r.Replay.Inert[0].Values[0] = "12.2.0-14" })},
		{"an identical verdict", edit(func(r *verify.Report) { r.Verdict = verify.Identical })},
		{"a name that climbs", edit(func(r *verify.Report) { r.Reference.Name = "../../fw.bin" })},
		{"no ledger of an inert build", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "inert-2.jsonl")); err != nil {
				t.Fatal(err)
			}
		}},
		{"no ledger of the control", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "control-1.jsonl")); err != nil {
				t.Fatal(err)
			}
		}},
		{"another inert build", func(t *testing.T, dir string) {
			name := filepath.Join(dir, "rebuild", "inert-1", "fw.bin")
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.Replace(b, []byte("hardened"), []byte("hardenee"), 1)
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(evidence)); err != nil {
				t.Fatal(err)
			}
			r, err := verify.ReadReport(dir)
			if err != nil {
				t.Fatal(err)
			}
			c.change(t, dir)
			relistAll(t, dir)
			if got, err := s.recheck(t, dir, r); !errors.Is(err, verify.ErrEvidence) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
