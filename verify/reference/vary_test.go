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
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// leaks are scripts that let one factor into the output, behind a head of 4 bytes, in a way that nothing but this factor
// changes.
var leaks = []struct{ factor, script string }{
	{"time", `date +%Y`},
	{"time", `date +%s; sleep 0.1; date +%s`},
	{"timezone", `date -d @0 +%H%M%z`},
	{"timezone", `echo "$TZ"`},
	{"host", `uname -n`},
	{"host", `hostname`},
	{"host", `cat /proc/sys/kernel/hostname`},
	{"user", `id -un`},
	{"user", `echo "$USER"`},
	{"path", `pwd -P`},
	{"path", `readlink -f main.txt`},
	{"locale", `echo "$LC_ALL"`},
	{"locale", `printf 'a\303\244' | wc -m`},
	{"umask", `umask`},
	{"umask", `: >made; stat -c %a made`},
	{"cpus", `nproc`},
	{"fileorder", `ls -U many`},
	{"home", `echo "$HOME"`},
	{"home", `getent passwd "$(id -u)" | cut -d: -f6`},
	{"environment", `env | grep -v -E '^(TZ|LC_ALL|USER|HOME|PWD|OLDPWD|_|SHLVL|LD_PRELOAD|DONT_FAKE.*|NO_FAKE.*|FAKETIME.*)=' | LC_ALL=C sort`},
}

// leaky is a recipe whose output holds what the scripts print.
func leaky(t *testing.T, more string, scripts ...string) *Recipe {
	t.Helper()
	script := "mkdir out; : >out/fw.elf; printf head >out/fw.bin\n"
	for _, s := range scripts {
		script += "{ " + s + "; } >>out/fw.bin\n"
	}
	return recipe(t, t.TempDir(), script, more)
}

const varyAll = "vary: [time, timezone, host, user, path, locale, umask, cpus, fileorder, home, environment]"

// canVary leaves a test out where a factor cannot be varied.
func canVary(t *testing.T, r *Result, factor string) {
	t.Helper()
	for _, o := range r.Build.Omitted {
		if o.Factor == factor {
			t.Skipf("SKIP-VARY: %s: %s", factor, o.Why)
		}
	}
}

// blamed lists the factors of each blame.
func blamed(b *Bisection) []string {
	var out []string
	for _, x := range b.Blames {
		out = append(out, x.Factors())
	}
	return out
}

func TestLeakIsBisected(t *testing.T) {
	for _, c := range leaks {
		t.Run(c.factor+" "+c.script, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			result, err := rebuild(t, leaky(t, varyAll, c.script), Options{OutDir: out, LogDir: filepath.Join(out, "logs")})
			if err != nil {
				t.Fatal(err, Tail(err))
			}
			canVary(t, result, c.factor)
			b := result.Bisection
			if result.Agree() || b == nil {
				t.Fatalf("the builds agree: %+v", result.Build)
			}
			if got := blamed(b); !slices.Equal(got, []string{c.factor}) || b.Unsteady || b.Stopped != "" {
				t.Fatalf("blamed %v: %s", got, strings.Join(b.Lines(), "\n"))
			}
			d := b.Blames[0].Outputs
			if len(d) != 1 || d[0].Output != "out/fw.bin" || d[0].Offset < 4 || d[0].Bytes == 0 || d[0].Build != 0 {
				t.Errorf("got %+v", d)
			}
			for _, f := range d[0].Files {
				if text, err := os.ReadFile(f); err != nil || !strings.HasPrefix(string(text), "head") {
					t.Errorf("%s: %q, %v", f, text, err)
				}
			}
			_, err = result.Reference("fw.bin")
			if want := "the builds do not agree: " + c.factor + " leaks into out/fw.bin"; err == nil || err.Error() != want {
				t.Errorf("got %v", err)
			}
			if len(result.Logs) != 2+b.Builds {
				t.Errorf("%d logs of %d builds", len(result.Logs), 2+b.Builds)
			}
			// Only what shows the blame is kept.
			if kept, _ := filepath.Glob(filepath.Join(out, "bisect-*")); len(kept) == 0 || len(kept) > 2 {
				t.Errorf("kept %v", kept)
			}
		})
	}
}

func TestTwoLeaks(t *testing.T) {
	result, err := rebuild(t, leaky(t, "builds: 3\n"+varyAll, `echo "$LC_ALL"`, `echo fixed`, `echo "$TZ"`), Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err, Tail(err))
	}
	if got := blamed(result.Bisection); !slices.Equal(got, []string{"timezone", "locale"}) || result.Build.Agree != 1 {
		t.Errorf("blamed %v", got)
	}
	lines := result.Bisection.Lines()
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "locale: leaks into out/fw.bin: ") || !strings.Contains(lines[1], " bytes, first at 0x5 (sizes ") {
		t.Errorf("got %q", lines)
	}
}

func TestChanceIsNotBlamed(t *testing.T) {
	for name, scripts := range map[string][]string{
		"alone": {`head -c 8 /dev/urandom`}, "beside a leak": {`echo "$TZ"`, `head -c 8 /dev/urandom`},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			result, err := rebuild(t, leaky(t, varyAll, scripts...), Options{OutDir: out})
			if err != nil {
				t.Fatal(err, Tail(err))
			}
			b := result.Bisection
			if b == nil || len(b.Blames) != 0 || !b.Unsteady || b.Builds > 3 {
				t.Fatalf("got %+v", b)
			}
			if _, err := result.Reference("fw.bin"); err == nil || !strings.Contains(err.Error(), "build 1 and build 2 differ in ") ||
				!strings.HasSuffix(err.Error(), "no factor that was varied is to blame for that") {
				t.Errorf("got %v", err)
			}
			if kept, _ := filepath.Glob(filepath.Join(out, "bisect-*")); len(kept) != 0 {
				t.Errorf("kept %v", kept)
			}
		})
	}
}

func TestVariedBuildsAgree(t *testing.T) {
	var records [2][]byte
	for i := range records {
		out := t.TempDir()
		result, err := rebuild(t, leaky(t, "builds: 4\n"+varyAll, `cat main.txt`, `cd "$HOME"; : >x; ls`), Options{OutDir: out})
		if err != nil {
			t.Fatal(err, Tail(err))
		}
		b := result.Build
		if !result.Agree() || b.Agree != 4 || result.Bisection != nil {
			t.Fatalf("got %+v, %+v", b, result.Bisection)
		}
		if len(b.Settings) != 4 || len(b.Settings[0]) != 0 || len(b.Vary)+len(b.Omitted) != len(Factors) {
			t.Errorf("got %+v", b)
		}
		for _, s := range b.Settings[1:] {
			if len(s) != len(b.Vary) {
				t.Errorf("%d settings of %d factors", len(s), len(b.Vary))
			}
		}
		if _, err := result.Reference("fw.bin"); err != nil {
			t.Error(err)
		}
		if records[i], err = json.Marshal(b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(records[i]), out) {
			t.Errorf("the record tells a place: %s", records[i])
		}
	}
	if string(records[0]) != string(records[1]) {
		t.Errorf("records differ:\n%s\n%s", records[0], records[1])
	}
}

// Differences between plain builds are not bisected: no factor was varied.
func TestNothingToBisect(t *testing.T) {
	result, err := rebuild(t, leaky(t, "", `head -c 8 /dev/urandom`), Options{OutDir: t.TempDir()})
	if err != nil || result.Agree() || result.Bisection != nil || result.Build.Settings != nil {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestVaryTakesTwoBuilds(t *testing.T) {
	r := leaky(t, "vary: [host]", "echo")
	_, err := Rebuild(t.Context(), r, Options{OutDir: t.TempDir(), Builds: 1})
	var wrong *RecipeError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "2 builds") {
		t.Errorf("got %v", err)
	}
}

// A build that fails only where it is varied says how it was.
func TestVariedBuildFails(t *testing.T) {
	_, err := rebuild(t, leaky(t, "vary: [timezone]", `test "$TZ" = UTC`), Options{OutDir: t.TempDir()})
	if !Undecided(err) || !strings.Contains(err.Error(), "build 2 of 2, with timezone=EST5EDT") {
		t.Errorf("got %v", err)
	}
}

func TestSettingsOfVariation(t *testing.T) {
	env := []string{"LC_ALL=C", "TZ=EST5EDT,M3.2.0,M11.1.0", "A3=x"}
	b := &Builder{
		recipe: &Recipe{Name: "recipe.yaml", Env: env, Vary: []string{"host", "path", "locale", "timezone", "cpus", "environment"}}, say: func(string) {},
		options: Options{Set: []Setting{{Factor: "host", Value: "there"}}},
		config: sandbox.Config{
			Env:     env,
			Sources: []sandbox.Source{{At: "/build-varied/x"}},
			Limits:  sandbox.Limits{Time: time.Minute, Memory: 1 << 30, Output: 1 << 20, Processes: 64},
		},
	}
	plans, err := b.plan(t.Context(), maxBuilds)
	var none *sandbox.UnavailableError
	if errors.As(err, &none) {
		t.Skip("SKIP-NAMESPACE: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(b.record.Omitted) == 0 || b.record.Omitted[0] != (Omission{"host", "it is set for every build"}) {
		t.Errorf("omitted %+v", b.record.Omitted)
	}
	if one := runtime.NumCPU() == 1; one == slices.Contains(b.record.Vary, "cpus") {
		t.Errorf("vary %v with %d processors", b.record.Vary, runtime.NumCPU())
	}
	for i, plan := range plans {
		if i == 0 {
			if len(plan) != 0 {
				t.Errorf("the first build has %v", plan)
			}
			continue
		}
		for _, s := range plan {
			if err := s.Check(); err != nil {
				t.Error(err)
			}
			if slices.Contains([]string{"C", "EST5EDT,M3.2.0,M11.1.0", "A3=1"}, s.Value) || strings.HasPrefix(s.Value, "/build-varied/") {
				t.Errorf("build %d: %s is what a plain build has", i+1, s)
			}
		}
	}
}

// A factor that this toolchain cannot vary is left out of every build, and the record says so.
func TestFactorThatCannotVary(t *testing.T) {
	list, err := exec.Command("ldd", "/bin/sh").Output()
	if err != nil {
		t.Skip("ldd is not here to say what a shell needs")
	}
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	for _, name := range append([]string{"/bin/sh"}, strings.Fields(string(list))...) {
		if !strings.HasPrefix(name, "/") {
			continue
		}
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name[1:], Mode: 0o755, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := recipe(t, dir, `echo fixed >main.txt; echo "$HOME" >symbols`, "vary: [time, timezone]")
	r.Outputs = []OutputSpec{{Path: "main.txt"}}
	d, err := digestOf(bytes.NewReader(root.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	r.Toolchain = Toolchain{Rootfs: &Source{Path: write(t, filepath.Join(dir, "root.tar"), root.String()), SHA256: d.sha256}}
	result, err := rebuild(t, r, Options{OutDir: t.TempDir(), Sandbox: sandbox.Native})
	if err != nil {
		t.Fatal(err, Tail(err))
	}
	b := result.Build
	if got := b.Agreement(); got != "2 of 2 builds agree, varied in timezone; not varied in time" {
		t.Errorf("got %q", got)
	}
	if !slices.Equal(b.Vary, []string{"timezone"}) || len(b.Settings[1]) != 1 || len(b.Omitted) != 1 || b.Omitted[0].Factor != "time" || b.Omitted[0].Why == "" {
		t.Errorf("vary %v, omitted %+v, settings %v", b.Vary, b.Omitted, b.Settings)
	}
}

// Every value of every factor is one that can be set, and builds differ in their names and places.
func TestVariedValues(t *testing.T) {
	b := &Builder{recipe: &Recipe{}}
	for _, factor := range Factors {
		seen := map[string]int{}
		lengths := map[int]bool{}
		for build := 2; build <= maxBuilds; build++ {
			v := b.varied(factor, build)
			if err := (Setting{Factor: factor, Value: v}).Check(); err != nil {
				t.Error(err)
			}
			seen[v]++
			lengths[len(v)] = true
		}
		switch factor {
		case "time", "host", "user", "path", "home", "environment":
			if len(seen) != maxBuilds-1 || factor != "time" && len(lengths) < 3 {
				t.Errorf("%s: %v", factor, seen)
			}
		}
	}
}

// A world is what a build makes of its settings, for a search without a sandbox.
type world func(settings map[string]string, build int) string

func (w world) search(t *testing.T, builds int, factors ...string) (*search, error) {
	t.Helper()
	s := &search{outputs: []OutputSpec{{Path: "out/fw.bin"}}}
	dir, count := t.TempDir(), 0
	s.make = func(_ context.Context, settings []Setting) (*Build, error) {
		count++
		set := map[string]string{}
		for _, x := range settings {
			set[x.Factor] = x.Value
		}
		text := w(set, count)
		if text == "fails" {
			return nil, &sandbox.FailedError{What: "step 1 of 1 failed"}
		}
		made := &Build{dir: filepath.Join(dir, fmt.Sprint(count)), Symbols: []File{{}}}
		if err := os.Mkdir(made.dir, 0o755); err != nil {
			return nil, err
		}
		write(t, filepath.Join(made.dir, "fw.bin"), text)
		d, err := digestOf(strings.NewReader(text))
		made.Outputs = []File{{"fw.bin", d.size, d.sha256}}
		return made, err
	}
	for i := range builds {
		var plan []Setting
		for _, f := range factors {
			if i > 0 {
				plan = append(plan, Setting{Factor: f, Value: fmt.Sprint(i + 1)})
			}
		}
		made, err := s.make(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		s.builds, s.plans = append(s.builds, made), append(s.plans, plan)
	}
	return s, s.run(t.Context())
}

func TestSearch(t *testing.T) {
	every := []string{"time", "timezone", "host", "user", "path", "locale", "umask", "cpus", "fileorder", "home", "environment"}
	for _, c := range []struct {
		name   string
		w      world
		builds int
		want   []string
		steady bool
		most   int // builds
	}{
		{"one", func(s map[string]string, _ int) string { return s["host"] }, 2, []string{"host"}, true, 15},
		{"all", func(s map[string]string, _ int) string { return fmt.Sprint(s) }, 2, every, true, 35},
		{"one that only the third build shows", func(s map[string]string, _ int) string { return s["host"] + fmt.Sprint(s["umask"] == "3") }, 3, []string{"host", "umask"}, true, 30},
		{"two, and neither alone", func(s map[string]string, _ int) string {
			if s["host"] == "" || s["home"] == "" {
				return "plain"
			}
			return s["host"] + s["home"]
		}, 2, []string{"host and home together"}, true, 30},
		{"one alone and two together", func(s map[string]string, _ int) string {
			return s["path"] + fmt.Sprint(s["user"] != "" && s["cpus"] != "")
		}, 2, []string{"path", "user and cpus together"}, true, 40},
		{"passing time", func(s map[string]string, build int) string {
			if s["time"] != "" {
				return s["time"]
			}
			return fmt.Sprint(build)
		}, 3, []string{"time"}, true, 5},
		{"passing time and a host", func(s map[string]string, build int) string {
			if s["time"] != "" {
				return s["time"] + s["host"]
			}
			return fmt.Sprint(build) + s["host"]
		}, 2, []string{"time", "host"}, true, 20},
		{"chance", func(_ map[string]string, build int) string { return fmt.Sprint(build) }, 2, nil, false, 3},
		{"chance in the first build", func(s map[string]string, build int) string { return s["home"] + fmt.Sprint(build == 1) }, 2, nil, false, 3},
		{"a time that only the third build shows", func(s map[string]string, _ int) string { return fmt.Sprint(s["time"] == "3") }, 3, []string{"time"}, true, 30},
		{"chance in the second build", func(_ map[string]string, build int) string { return fmt.Sprint(build == 2) }, 2, nil, false, 15},
		{"chance in the bisection", func(s map[string]string, build int) string { return s["home"] + fmt.Sprint(build == 5) }, 2, nil, false, 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := c.w.search(t, c.builds, every...)
			if err != nil {
				t.Fatal(err)
			}
			got := blamed(&s.found)
			if !slices.Equal(got, c.want) || s.found.Unsteady == c.steady || s.found.Stopped != "" || s.found.Builds > c.most {
				t.Errorf("got %v, %+v", got, s.found)
			}
		})
	}
}

// What time brings about, where the clock cannot be set, is not blamed on the factor that was tried meanwhile.
func TestTimePassesInASearch(t *testing.T) {
	for change := 3; change < 12; change++ {
		s, err := world(func(s map[string]string, build int) string { return s["home"] + fmt.Sprint(build >= change) }).
			search(t, 2, "host", "user", "home", "path")
		if err != nil {
			t.Fatal(err)
		}
		if got := blamed(&s.found); len(got) > 1 || len(got) == 1 && got[0] != "home" || len(got) == 0 && !s.found.Unsteady {
			t.Errorf("change in build %d: got %v, %+v", change, got, s.found)
		}
	}
}

// However a search ends, it keeps what it found, and says that it is not complete.
func TestSearchStops(t *testing.T) {
	s, err := world(func(s map[string]string, build int) string {
		if s["host"] != "" && s["timezone"] == "" {
			return "fails"
		}
		return s["timezone"]
	}).search(t, 2, "timezone", "host", "user")
	if err != nil || !slices.Equal(blamed(&s.found), []string{"timezone"}) || !strings.Contains(s.found.Stopped, "build with host=2: step 1 of 1 failed") {
		t.Errorf("got %+v, %v", s.found, err)
	}
	if lines := s.found.Lines(); len(lines) != 2 || !strings.HasPrefix(lines[1], "the bisection is not complete: build with host=2") {
		t.Errorf("got %q", lines)
	}
	// Five pairs that make a difference only together take more builds than there may be.
	s, err = world(func(s map[string]string, _ int) string {
		var both []bool
		for i := range 5 {
			both = append(both, s[Factors[2*i]] != "" && s[Factors[2*i+1]] != "")
		}
		return fmt.Sprint(both)
	}).search(t, 2, Factors...)
	if err != nil || s.found.Builds != maxBisection || !strings.Contains(s.found.Stopped, "48 more builds") || len(s.found.Blames) < 2 || s.found.Unsteady {
		t.Errorf("got %+v, %v", s.found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.make = func(ctx context.Context, _ []Setting) (*Build, error) { return nil, context.Cause(ctx) }
	s.found = Bisection{}
	if err := s.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A difference names no more sections than a line holds.
func TestSectionsInWords(t *testing.T) {
	d := Difference{Output: "fw.elf", Sections: []string{".text", ".rodata", ".data", ".bss", ".comment", ".debug"}}
	b := &Bisection{Blames: []Blame{{Settings: []Setting{{Factor: "host", Value: "v2"}}, Outputs: []Difference{d, {Output: "b"}}}}}
	if got, want := b.summary(), "host leaks into fw.elf (.text, .rodata, .data, .bss and 2 more), b"; got != want {
		t.Errorf("got %q", got)
	}
}
