//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestWorld(t *testing.T) {
	w := World{HostName: "builder7.example", User: "ci_user", Home: "/home/ci/deep", Umask: 0o027, CPUs: 1}
	script := `{ uname -n; cat /etc/hostname; grep -c builder7 /etc/hosts; id -un; id -gn; echo ~ci_user; grep -c ':1000:' /etc/passwd
		touch /home/ci/deep/x && stat -c %a /home/ci/deep/x; umask; nproc; ls /home; } >out`
	onBackends(t, func(t *testing.T, b Backend) {
		_, out := build{backend: b, world: w, script: script, outputs: []string{"out"}}.must(t)
		want := "builder7.example\nbuilder7.example\n1\nci_user\nci_user\n/home/ci/deep\n1\n640\n0027\n1\nci\n"
		if out["out"] != want {
			t.Errorf("got %q, want %q", out["out"], want)
		}
		_, out = build{backend: b, script: `nproc >out`, outputs: []string{"out"}}.must(t)
		if n := strings.TrimSpace(out["out"]); n != strconv.Itoa(runtime.NumCPU()) {
			t.Errorf("without a number it runs on %s processors of %d", n, runtime.NumCPU())
		}
		_, _, _, err := build{backend: b, world: World{CPUs: 1 << 12}, script: "true"}.run(t)
		wantFailed(t, err, "processors, and there are")
		// A login of a name that the system has already.
		_, out = build{backend: b, world: World{User: "root"}, script: `{ id -un; id -u root; } >out`, outputs: []string{"out"}}.must(t)
		if out["out"] != "root\n1000\n" {
			t.Errorf("got %q", out["out"])
		}
	})
}

func wantFailed(t *testing.T, err error, want string) {
	t.Helper()
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a failure with %q", err, want)
	}
}

func TestWorldsThatAreRefused(t *testing.T) {
	src := []Source{{Input{Name: "s"}, "/src/a/x"}}
	for _, c := range []struct {
		name  string
		world World
	}{
		{"host with a line", World{HostName: "a\nb"}},
		{"host with a space", World{HostName: "a b"}},
		{"host with an option", World{HostName: "-x"}},
		{"long host", World{HostName: strings.Repeat("h", 65)}},
		{"host with a command", World{HostName: "$(id)"}},
		{"user with a field", World{User: "a:0"}},
		{"user with a line", World{User: "a\nroot"}},
		{"user with a slash", World{User: "../a"}},
		{"home elsewhere", World{Home: "/root"}},
		{"home is all homes", World{Home: "/home"}},
		{"home with dots", World{Home: "/home/../etc"}},
		{"home with a field", World{Home: "/home/a:b"}},
		{"home with a line", World{Home: "/home/a\nb"}},
		{"mask", World{Umask: 0o1000}},
		{"negative mask", World{Umask: -1}},
		{"processors", World{CPUs: -1}},
		{"clock", World{Clock: -1}},
		{"shim of nothing", World{Shims: []Shim{{From: "a"}}}},
		{"shim without a text", World{Shims: []Shim{{Tool: "a"}}}},
		{"place in /usr", World{Dir: "/usr/src"}},
		{"place with dots", World{Dir: "/a/../b"}},
		{"place of shims", World{Dir: "/shims/0"}},
		{"place in itself", World{Dir: "/src/a/b"}},
		{"place around itself", World{Dir: "/src"}},
		{"its own place", World{Dir: "/src/a"}},
	} {
		if _, err := Run(t.Context(), Config{Limits: defaults, Sources: src, World: c.world}); err == nil || !strings.HasPrefix(err.Error(), "sandbox: ") {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := Run(t.Context(), Config{Limits: defaults, World: World{Dir: "/x"}}); err == nil {
		t.Error("no source is moved")
	}
	if _, err := Run(t.Context(), Config{Limits: defaults, World: World{Dir: "/x"}, Sources: []Source{{Input{Name: "s"}, "/src/x"}}, ToolDirs: []string{"/src/tool"}}); err == nil {
		t.Error("a tool directory below a link is accepted")
	}
}

func TestReverse(t *testing.T) {
	var entries []entry
	for _, name := range []string{"c", "a", "d/", "d/z", "d/x", "d/y/", "d/y/2", "d/y/1", "b", "e/implied"} {
		entries = append(entries, entry{name: name, body: map[bool]string{true: "", false: name}[strings.HasSuffix(name, "/")], mode: 0o755})
	}
	entries = append(entries, entry{name: "hard", hard: "d/z"}, entry{name: "link", link: "d"}, entry{name: "dangling", link: "/nowhere"})
	archive := tarOf(entries...)
	script := `cd /src; for d in . d d/y e extra; do ls -AU $d | tr '\n' ' '; echo; done >/build/order
		find . -printf '%P %m %T@ %y %n %l\n' | sort >/build/state; find . -type f | sort | xargs cat >>/build/state
		stat -c %i d/z hard | uniq | wc -l >/build/inodes`
	onBackends(t, func(t *testing.T, b Backend) {
		one := build{
			backend: b, script: script, outputs: []string{"/build/order", "/build/state", "/build/inodes"},
			sources: map[string][]byte{"/src": archive, "/src/extra/blob": []byte("blob"), "/src/extra/more": []byte("more")},
		}
		_, plain := one.must(t)
		one.world.Reverse = true
		_, reversed := one.must(t)
		if plain["/build/state"] != reversed["/build/state"] || plain["/build/inodes"] != "1\n" || reversed["/build/inodes"] != "1\n" {
			t.Errorf("not the same files:\n%s\n%s", plain, reversed)
		}
		a, z := strings.Split(plain["/build/order"], "\n"), strings.Split(reversed["/build/order"], "\n")
		if len(a) != 6 || len(z) != 6 {
			t.Fatalf("%q, %q", a, z)
		}
		for i := range 5 {
			names := strings.Fields(a[i])
			slices.Reverse(names)
			if len(names) == 0 || strings.Join(names, " ") != strings.Join(strings.Fields(z[i]), " ") {
				t.Errorf("plain %q, reversed %q", a[i], z[i])
			}
		}
	})
}

// On a file system that keeps no order of making, reverse says so rather than claim a variation.
func TestReverseIsChecked(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	before, _ := list(root)
	err = reverse(root)
	after, _ := list(root)
	if slices.Equal(after, reversedOf(before)) != (err == nil) {
		t.Errorf("error %v, before %q, after %q", err, before, after)
	}
}

func hasClock(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"/usr/lib/" + triplets[runtime.GOARCH], "/usr/lib", "/usr/lib64"} {
		if names, _ := filepath.Glob(dir + "/faketime/libfaketime*.so.1"); len(names) > 0 {
			return
		}
	}
	t.Skip("libfaketime is not installed")
}

func TestClock(t *testing.T) {
	const then = 1234567890
	w := World{Clock: then}
	onBackends(t, func(t *testing.T, b Backend) {
		t.Run("absent", func(t *testing.T) {
			if _, err := os.Stat("/usr/lib/faketime"); err == nil {
				t.Skip("libfaketime lies where it is found first")
			}
			if hosts, _ := filepath.Glob("/usr/lib/*/faketime"); len(hosts) > 0 {
				t.Skip("libfaketime is installed")
			}
			_, _, _, err := build{backend: b, world: w, script: "true"}.run(t)
			wantFailed(t, err, "install libfaketime")
		})
		t.Run("present", func(t *testing.T) {
			hasClock(t)
			// Each program starts at the time; files keep theirs; a file made later is newer.
			_, out := build{
				backend: b, world: w, outputs: []string{"out"}, sources: map[string][]byte{"/src/f": []byte("f")},
				script: `{ date +%s; date +%s; date -u +%Y; stat -c %Y /src/f; perl -e 'print time, "\n"'; touch new
					test new -nt f && echo newer; } >out`,
			}.must(t)
			lines := strings.Fields(out["out"])
			if len(lines) != 6 || lines[2] != "2009" || lines[3] != "315532800" || lines[5] != "newer" {
				t.Fatalf("got %q", out["out"])
			}
			for _, i := range []int{0, 1, 4} {
				if n, _ := strconv.Atoi(lines[i]); n < then || n > then+60 {
					t.Errorf("the clock says %d at the start of a program, want %d", n, then)
				}
			}
			// Tools are asked without it, and what they print does not depend on it.
			r, _, _, err := build{backend: b, world: w, tools: []string{"ls"}, script: "true"}.run(t)
			plain, _, _, err2 := build{backend: b, tools: []string{"ls"}, script: "true"}.run(t)
			if err != nil || err2 != nil || !slices.Equal(r.Tools, plain.Tools) {
				t.Errorf("%v %v, %v %v", r, err, plain, err2)
			}
		})
		t.Run("make", func(t *testing.T) {
			hasClock(t)
			if _, err := exec.LookPath("make"); err != nil {
				t.Skip("make is not installed")
			}
			makefile := "out: mid\n\tcp mid out\nmid: in\n\tcat in >mid; echo made >>log\n"
			build{
				backend: b, world: w, sources: map[string][]byte{"/src/Makefile": []byte(makefile), "/src/in": []byte("in")},
				script: "make; make; make -q; test $(wc -l <log) = 1; rm mid; make; test $(wc -l <log) = 2; cat out >/build/out",
			}.must(t)
		})
		t.Run("C", func(t *testing.T) {
			hasClock(t)
			needGCC(t)
			_, out := build{
				backend: b, world: w, outputs: []string{"/src/out"},
				sources: map[string][]byte{"/src/t.c": []byte("#include <stdio.h>\n#include <time.h>\nint main(void) { printf(\"%ld %s\", (long)time(0), __DATE__); }\n")},
				script:  "gcc -o t t.c; ./t >out",
			}.must(t)
			if !strings.HasPrefix(out["/src/out"], strconv.Itoa(then)[:9]) || !strings.HasSuffix(out["/src/out"], "Feb 13 2009") {
				t.Errorf("got %q", out["/src/out"])
			}
		})
	})
}

func needGCC(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is not installed")
	}
}

func TestMovedSource(t *testing.T) {
	archive := tarOf(entry{name: "d/", mode: 0o755}, entry{name: "d/f", body: "tarred"})
	onBackends(t, func(t *testing.T, b Backend) {
		for _, c := range []struct {
			at, dir, start string
			sources        map[string][]byte
		}{
			{"/src", "/build/moved/far/away", "/build/moved/far/away", map[string][]byte{"/src": archive, "/src/extra/blob": []byte("blob")}},
			{"/src", "/elsewhere", "/elsewhere", map[string][]byte{"/src": archive, "/src/extra/blob": []byte("blob")}},
			{"/build", "/src", "/src", map[string][]byte{"/build": archive, "/build/extra/blob": []byte("blob")}},
			{"/opt/a/b", "/opt/c", "/opt/c", map[string][]byte{"/opt/a/b": archive, "/opt/a/b/extra/blob": []byte("blob")}},
			{"/src", "/w/x", "/w/x", map[string][]byte{"/src/a": []byte("no archive"), "/src/d/f": []byte("tarred"), "/src/extra/blob": []byte("blob")}},
		} {
			abs := c.at + "/made/absolute"
			_, out := build{
				backend: b, sources: c.sources, world: World{Dir: c.dir, Reverse: true}, outputs: []string{"made/relative", abs, c.dir + "/made/relative"},
				script: `mkdir made; { pwd; readlink ` + c.at + `; cat ` + c.at + `/d/f extra/blob; } >made/relative; echo absolute >` + abs,
			}.must(t)
			if want := c.start + "\n" + c.dir + "\ntarredblob"; out["made/relative"] != want || out[c.dir+"/made/relative"] != want {
				t.Errorf("%s to %s: got %q, want %q", c.at, c.dir, out["made/relative"], want)
			}
			if out[abs] != "absolute\n" {
				t.Errorf("%s to %s: the absolute output is %q", c.at, c.dir, out[abs])
			}
		}
		// The link that the sandbox made is followed; one that the build made is not.
		_, _, _, err := build{
			backend: b, sources: map[string][]byte{"/src": archive}, world: World{Dir: "/w"}, outputs: []string{"/src/l/passwd"}, script: "ln -s /etc l",
		}.run(t)
		wantFailed(t, err, "symbolic link")
	})
}

// fakeTool is a program of several names: two symbolic links, a hard link, and one link too many.
func fakeTools(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tools-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tool := `#!/bin/sh
case $1 in
--version) echo "${0##*/} (Vendor 1.2-3) 1.2"; echo "second 'line' 1.2-3"; exit 4 ;;
esac
printf '<%s>' "$0" "$@"; echo
`
	// A compiler cache: it asks PATH for the next program of its name.
	cache := `#!/bin/sh
case $1 in --version) echo "cached 1.2-3"; exit ;; esac
echo "cache of ${0##*/}"
IFS=:; for d in $PATH; do
	case $d in */cache) ;; *) test ! -x "$d/${0##*/}" || exec "$d/${0##*/}" "$@" ;; esac
done
`
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "bin"), 0o755), os.Mkdir(filepath.Join(dir, "cache"), 0o755),
		os.WriteFile(filepath.Join(dir, "bin/tool-1.2"), []byte(tool), 0o755),
		os.Symlink("tool-1.2", filepath.Join(dir, "bin/tool")), os.Symlink("tool", filepath.Join(dir, "bin/t'l")),
		os.Link(filepath.Join(dir, "bin/tool-1.2"), filepath.Join(dir, "bin/arch-tool")),
		os.WriteFile(filepath.Join(dir, "bin/other"), []byte(tool), 0o755),
		os.WriteFile(filepath.Join(dir, "cache/cache"), []byte(cache), 0o755),
		os.Symlink("cache", filepath.Join(dir, "cache/other")), os.Symlink("cache", filepath.Join(dir, "cache/alone")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestShims(t *testing.T) {
	dir := fakeTools(t)
	hostile := "9.9-9$(touch /build/owned)`id`';\"\\n%s&x"
	path := "PATH=" + dir + "/bin:" + Path
	onBackends(t, func(t *testing.T, b Backend) {
		plain := build{backend: b, toolDirs: []string{dir}, env: []string{path}, tools: []string{"tool", "arch-tool"}, script: "true"}
		before, _, _, err := plain.run(t)
		if err != nil {
			t.Fatal(err)
		}
		one := plain
		one.world.Shims = []Shim{{Tool: "tool", From: "1.2-3", To: hostile}}
		one.outputs = []string{"out"}
		one.script = `{ for n in tool tool-1.2 "t'l" arch-tool other; do $n --version || echo "exit $?"; done
			tool a 'b  c' '' --version | head -n 1; tool 'x  y' '' '*'; arch-tool -c; echo $PATH; ` +
			`(echo x >/shims/0/tool) 2>/dev/null || echo refused; (chmod u+w /shims /shims/0 /shims/0/tool && rm -f /shims/0/tool) 2>/dev/null || echo refused; } >out; test ! -e /build/owned`
		after, out, log, err := one.run(t)
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		if !slices.Equal(before.Tools, after.Tools) {
			t.Errorf("the record of the tools depends on the shims: %+v, %+v", before.Tools, after.Tools)
		}
		var want strings.Builder
		for _, n := range []string{"tool", "tool-1.2", "t'l", "arch-tool"} {
			fmt.Fprintf(&want, "%s (Vendor %s) 1.2\nsecond 'line' %s\nexit 4\n", n, hostile, hostile)
		}
		want.WriteString("other (Vendor 1.2-3) 1.2\nsecond 'line' 1.2-3\nexit 4\n")
		fmt.Fprintf(&want, "tool (Vendor %s) 1.2\n<%s/bin/tool><x  y><><*>\n<%s/bin/arch-tool><-c>\n", hostile, dir, dir)
		fmt.Fprintf(&want, "/shims/0:%s/bin:%s\nrefused\nrefused\n", dir, Path)
		if out["out"] != want.String() {
			t.Errorf("got\n%s\nwant\n%s", out["out"], want.String())
		}
		// A step by name goes through the shim too; two tools, two replacements of one.
		log, _ = build{
			backend: b, toolDirs: []string{dir}, env: []string{path}, steps: []Step{{"tool", "y"}},
			world:  World{Shims: []Shim{{"tool", "1.2-3", "X"}, {"other", "Vendor", "Y"}, {"tool-1.2", "second", "Z"}}},
			script: `other --version x || true; tool --version || true; tool-1.2 --version || true; PATH=$PATH:/x tool a; env other --version`,
		}.runLog(t)
		for _, want := range []string{
			"\nother (Y 1.2-3) 1.2\nsecond 'line' 1.2-3\n", "\ntool (Vendor X) 1.2\nZ 'line' X\ntool-1.2 (Vendor X) 1.2\nZ 'line' X\n",
			"\n<" + dir + "/bin/tool><y>\n", "\n<" + dir + "/bin/tool><a>\n",
		} {
			if !strings.Contains(log, want) {
				t.Errorf("no %q in\n%s", want, log)
			}
		}
		// A text that the tool does not print.
		for _, s := range []Shim{{"tool", "7.7", "x"}, {"no-such-tool", "a", "x"}} {
			wrong := plain
			wrong.world.Shims = []Shim{s}
			_, _, _, err = wrong.run(t)
			wantFailed(t, err, "changing the version of")
		}
	})
}

// runLog runs a build whose end does not matter.
func (b build) runLog(t *testing.T) (string, map[string]string) {
	t.Helper()
	_, out, log, _ := b.run(t)
	return log, out
}

// A compiler cache before the compiler in PATH does not find the shim that called it.
func TestShimOfACompilerCache(t *testing.T) {
	dir := fakeTools(t)
	onBackends(t, func(t *testing.T, b Backend) {
		_, out := build{
			backend: b, toolDirs: []string{dir}, env: []string{"PATH=" + dir + "/cache:" + dir + "/bin:" + Path}, outputs: []string{"out"},
			world:  World{Shims: []Shim{{"other", "1.2-3", "X"}}},
			script: `{ other --version; other a; PATH=/x:$PATH:/y other b; alone c; } >out`,
		}.must(t)
		want := "cached X\ncache of other\n<" + dir + "/bin/other><a>\ncache of other\n<" + dir + "/bin/other><b>\ncache of alone\n"
		if out["out"] != want {
			t.Errorf("got\n%s\nwant\n%s", out["out"], want)
		}
	})
}

func TestShimOfGCC(t *testing.T) {
	needGCC(t)
	answer, err := exec.Command("gcc", "--version").Output()
	if err != nil {
		t.Skip("gcc does not say its version")
	}
	first, _, _ := strings.Cut(string(answer), "\n")
	version := first[strings.LastIndexByte(first, ' ')+1:]
	onBackends(t, func(t *testing.T, b Backend) {
		one := build{
			backend: b, outputs: []string{"/src/t.o", "/src/names"}, sources: map[string][]byte{"/src/t.c": []byte("int f(void) { return 7; }\n")},
			script: `gcc -O2 -c t.c; cc -print-prog-name=cc1 >names; test -x $(cat names); { cc --version; gcc --version; } | grep -v -e '^$' | cut -d' ' -f1,2- >>names`,
		}
		_, plain := one.must(t)
		one.world.Shims = []Shim{{"gcc", version, "77.7.7-vendor"}}
		_, changed := one.must(t)
		if plain["/src/t.o"] == "" || plain["/src/t.o"] != changed["/src/t.o"] {
			t.Error("the object depends on the shim")
		}
		if want := strings.ReplaceAll(plain["/src/names"], version, "77.7.7-vendor"); !strings.Contains(want, "77.7.7") || !strings.HasSuffix(changed["/src/names"], want[strings.Index(want, "\n"):]) {
			t.Errorf("got\n%s\nwant\n%s", changed["/src/names"], want)
		}
	})
}

// What the sandbox does to a World leaves no file of its own behind.
func TestWorldLeavesNoTrace(t *testing.T) {
	_, out := build{
		world: World{Reverse: true, Dir: "/w"}, sources: map[string][]byte{"/src": tarOf(entry{name: "a", body: "a"})}, outputs: []string{"/build/out"},
		script: `ls -A /w /build /tmp >/build/out`,
	}.must(t)
	if out["/build/out"] != "/build:\nout\n\n/tmp:\n\n/w:\na\n" {
		t.Errorf("got %q", out["/build/out"])
	}
}
